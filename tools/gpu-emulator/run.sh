#!/usr/bin/env bash
# Runs a program built with CUDA on a machine without a GPU: its kernels as NVRTC and nvcc compiled them, translated to C.
#
#     cargo xtask dist --cuda && bash tools/gpu-emulator/run.sh target/cuda/attar
#
# Needs a C++ compiler, Python 3 with pip (which brings NVRTC), x86-64 Linux. Written to $OUT
# (default: target/emulator): ops.txt, ops-own.txt (without cuDNN), recipes.txt. Ends with 0 where everything is as on the CPU.
# A first run translates some 150 kernels, and takes a quarter of an hour on two cores; $SKIP_RECIPES=1 leaves most of it out.
set -euo pipefail

program=$(realpath "${1:?the attar program}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$here/../../target/emulator}
mkdir -p "$out/lib"
out=$(realpath "$out")
# Kernels translated before are used again unless the translator has changed.
kernels=$out/kernels-$(cat "$here"/{ptx.py,parse.py,instructions.py,emit.py,thread.h,driver.cpp} | sha256sum | cut -c 1-12)
mkdir -p "$kernels"

# One library under all names, and NVIDIA's compiler.
c++ -std=c++17 -O1 -Wall -Wextra -shared -fPIC "-DSOURCES=\"$here\"" "-DKERNELS=\"$kernels\"" -o "$out/lib/emulator.so" "$here"/{driver,blocks,blas,cudnn}.cpp -ldl
for name in libcuda.so.1 libcublas.so.13 libcurand.so.10 libcudnn.so.9; do
    ln -sf emulator.so "$out/lib/$name"
done
nvrtc=$(cd "$here" && cargo xtask fetch-nvrtc)
export LD_LIBRARY_PATH=$out/lib:$nvrtc
unset ATTAR_CUDA_PATH

failed=0
echo "== operations =="
EMULATOR_CUDNN=1 "$program" doctor --ops --device cuda >"$out/ops.txt" || failed=1
EMULATOR_CUDNN=0 "$program" doctor --ops --device cuda >"$out/ops-own.txt" || failed=1
if [ -z "${SKIP_RECIPES:-}" ]; then
    echo "== recipes: loss on the CPU, on the card =="
    python3 "$here/recipes.py" "$program" "$out/runs" | tee "$out/recipes.txt" || failed=1
fi
exit $failed
