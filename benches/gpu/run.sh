#!/usr/bin/env bash
# Everything a machine with a GPU is asked, in one call: is each operation right, how fast is a training step.
#
#     OUT=results bash benches/gpu/run.sh target/dist/attar [precision ...]
#
# The program was built elsewhere with `--features cudnn` (or `cuda`). Precisions default to `tf32 bf16 f32`; one that the
# program cannot do is said and skipped. Written to $OUT (default: gpu-results): machine.txt, ops.txt, ops.err, bench.jsonl
# (one line a run of `attar bench-train`), bench.txt, and twin.json, twin.txt from PyTorch where a Python with it is there.
# Ends with the code of `doctor --ops`: 0 all right, 1 an operation is wrong, 2 there is no device.
# SECONDS_EACH (default 60) limits one bench run, SECONDS_TWIN (default 240) PyTorch.
set -u

program=$(realpath "${1:?the attar program}")
shift
precisions=("$@")
[ $# -gt 0 ] || precisions=(tf32 bf16 f32)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-gpu-results}
mkdir -p "$out"
out=$(realpath "$out")

# CUDA's libraries as Python packages bring them, if the system has none of its own.
wheels=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || true)
if [ -n "$wheels" ]; then
    for folder in "$wheels"/cu*/lib "$wheels"/*/lib; do
        [ -d "$folder" ] && LD_LIBRARY_PATH="$folder:${LD_LIBRARY_PATH:-}"
    done
    export LD_LIBRARY_PATH
    export ATTAR_CUDA_PATH="${LD_LIBRARY_PATH%:}"
fi

{
    nvidia-smi || echo "no nvidia-smi"
    "$program" --version
    "$program" doctor
} >"$out/machine.txt" 2>&1

echo "== operations =="
timeout 240 "$program" doctor --ops --device cuda >"$out/ops.txt" 2>"$out/ops.err"
code=$?
grep -E 'FAIL' "$out/ops.txt" | head -40
tail -n 45 "$out/ops.err"

bench() {
    local name=$1 precision=$2 line
    shift 2
    if line=$(timeout "${SECONDS_EACH:-60}" "$program" bench-train "$@" --device cuda --precision "$precision" \
        --steps 20 --warmup 5 --repeats 3 --json 2>"$out/last.err"); then
        printf '%s\n' "$line" | tr -d '\n' >>"$out/bench.jsonl"
        echo >>"$out/bench.jsonl"
        printf '%s\n' "$line" | python3 -c '
import json, sys
run = json.load(sys.stdin)
split = run["split_ms"]
parts = "  ".join(f"{name} {ms:.2f}" for name, ms in (split.items() if isinstance(split, dict) else split))
best, step = run["images_per_second"]["best"], run["step_ms"]["best"]
print(f"{sys.argv[1]:<24} {sys.argv[2]:<5} {best:>10.0f} images/s {step:>9.2f} ms   {parts}")
' "$name" "$precision" || echo "$name $precision: see bench.jsonl"
    else
        echo "$name $precision: $(head -n 1 "$out/last.err")"
    fi
    rm -f "$out/last.err"
}

echo "== training steps =="
: >"$out/bench.jsonl"
for precision in "${precisions[@]}"; do
    bench "resnet32x4>resnet8x4 64" "$precision" resnet8x4 --teacher resnet32x4 --batch 64
    bench "resnet32x4>resnet8x4 256" "$precision" resnet8x4 --teacher resnet32x4 --batch 256
    bench "resnet20 128" "$precision" resnet20 --batch 128
    bench "resnet8x4 128" "$precision" resnet8x4 --batch 128
    bench "mobilenet_v2 32px 128" "$precision" mobilenet_v2 --stem cifar --size 32 --batch 128
    bench "resnet18 32px 128" "$precision" resnet18 --stem cifar --size 32 --batch 128
    bench "resnet50 224px 64" "$precision" resnet50 --size 224 --batch 64
done | tee "$out/bench.txt"

twin=$here/../pytorch/run.py
if [ -f "$twin" ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    echo "== beside PyTorch =="
    list=$(IFS=,; echo "${precisions[*]}")
    timeout "${SECONDS_TWIN:-240}" python3 "$twin" --device cuda --precisions "$list" --rounds 1 --modes channels_last \
        --attar "$program" --json "$out/twin.json" >"$out/twin.txt" 2>&1 || echo "PyTorch's run ended with $?"
    tail -n 40 "$out/twin.txt"
fi
exit $code
