"""Attar and PyTorch in turn on the same training steps; a table of ratios.

    python benches/pytorch/run.py                          # every case on the CPU, f32
    python benches/pytorch/run.py --cases distill,resnet20 --rounds 5 --threads 1
    python benches/pytorch/run.py --device cuda --precisions f32,tf32,bf16 --json cuda.json

Each round runs attar, then PyTorch in each of its modes, every one in its own process, so that what slows the machine down
slows down both; of each program the best round counts. See README.md.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Name: what `attar bench-train` is told, images in a step, learning rate of the steps whose losses are compared. `FILE` is the
# ONNX file that export.py makes of torchvision's network of the case's name.
FILE = object()
CASES = {
    "distill": (["resnet8x4", "--teacher", "resnet32x4"], 64, 1e-3),
    "resnet20": (["resnet20"], 64, 1e-3),
    "resnet8x4": (["resnet8x4"], 64, 1e-3),
    "mobilenet_v2": (["mobilenet_v2", "--stem", "cifar", "--size", "32"], 64, 1e-5),
    "resnet18": (["resnet18", "--stem", "cifar", "--size", "32"], 64, 1e-3),
    "resnet50": (["resnet50", "--size", "224"], 16, 1e-6),
    "mobilenet_v3_large": ([FILE, "--size", "224"], 16, 1e-3),
    "efficientnet_b0": ([FILE, "--size", "224"], 16, 1e-4),
    "shufflenet_v2_x1_0": ([FILE, "--size", "224"], 16, 1e-6),
}
MODES = {
    "nchw": ["--layout", "nchw"],
    "channels_last": ["--layout", "channels_last"],
    "compile": ["--layout", "channels_last", "--compile"],
}
# Before anything is timed, the losses of the first steps must agree: largest relative difference. At the learning rate of the
# timed steps rounding alone moves the third loss by 1e-3 (PyTorch's own layouts differ as much), so these take smaller ones.
COMPARED = ["--steps", 5, "--warmup", 0, "--repeats", 1]
TOLERANCES = {"f32": 1e-4, "tf32": 2e-2, "bf16": 1e-1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--modes", default="nchw,channels_last", help=f"of PyTorch: {', '.join(MODES)}")
    parser.add_argument("--precisions", default="f32", help="of f32, tf32, bf16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, help="images in a step instead of each case's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="timed in each round")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--attar", type=pathlib.Path, help="the program; that of target/release without it")
    parser.add_argument("--json", type=pathlib.Path, help="write everything that was measured to this file")
    return parser.parse_args()


def chosen(text, known, what):
    names = text.split(",")
    for name in names:
        if name not in known:
            sys.exit(f"error: {what} `{name}`: there is none of this name\n  hint: use {', '.join(known)}")
    return names


def call(command):
    """The JSON that a program prints, or what it said instead."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout), None
    lines = [line for line in done.stderr.strip().splitlines() if line]
    said = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "said nothing")
    return None, said.removeprefix("error: ")


def output(command):
    """What a program prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine():
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    changed = "+changes" if output(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "gpu": output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]) or None,
        "load_before": round(os.getloadavg()[0], 2),
        "attar": output(["git", "rev-parse", "--short=12", "HEAD"]) + changed,
    }


def best(runs):
    """Speed of the fastest run; memory of the run that held least, since what else was resident only adds."""
    peaks = [run["peak_memory_bytes"] for run in runs if run["peak_memory_bytes"] is not None]
    return {
        "images_per_second": max(run["images_per_second"]["best"] for run in runs),
        "peak_memory_bytes": min(peaks) if peaks else None,
    }


def gaps(a, b):
    """Relative differences of the first losses, step by step."""
    return [abs(x - y) / max(abs(y), 1e-6) for x, y in zip(a, b, strict=True)]


def compare(ours, losses, precision):
    """Our first losses beside those of each mode of PyTorch. They agree within the tolerance, or where PyTorch's own modes have
    come apart up to that step, within twice as much: steps multiply rounding, and resnet50's more than others'."""
    apart = [max(step) for step in zip(*(gaps(a, b) for a in losses.values() for b in losses.values()))]
    allowed = [max(TOLERANCES[precision], 2 * max(apart[: step + 1])) for step in range(len(apart))]
    compared = {}
    for mode, theirs in losses.items():
        found = gaps(ours, theirs)
        agree = all(gap <= most for gap, most in zip(found, allowed, strict=True))
        compared[mode] = {"attar": ours, "pytorch": theirs, "gaps": found, "agree": agree}
    return compared


def measure(name, precision, args, program, folder):
    told, batch, rate = CASES[name]
    batch = args.batch or batch
    start, exported = folder / "start.safetensors", None
    if FILE in told:
        exported, said = call([sys.executable, HERE / "export.py", name, "--classes", 100, "--out", folder])
        if exported is None:
            sys.exit(f"error: cannot export `{name}`: {said}")
        told = [folder / "net.onnx" if word is FILE else word for word in told]
    common = ["--batch", batch, "--device", args.device, "--threads", args.threads, "--classes", 100]
    timing = ["--steps", args.steps, "--warmup", args.warmup, "--repeats", 1]
    # Weights and batches first, in a process of its own: writing them must not count as memory of the step.
    once = [program, "bench-train", *told, *common, "--steps", 1, "--warmup", 0, "--repeats", 1, "--json"]
    first, said = call([*once, "--save", start])
    if first is None:
        sys.exit(f"error: attar cannot start `{name}`: {said}")
    ours = [program, "bench-train", *told, *common, "--precision", precision, "--json"]
    twin = [sys.executable, HERE / "twin.py", "--start", start, "--student", json.dumps(exported or first["model"])]
    twin += ["--weights", folder / "weights.safetensors"] if exported else []
    twin += ["--teacher", json.dumps(first["teacher"])] if first["teacher"] else []
    twin += ["--device", args.device, "--threads", args.threads, "--precision", precision]
    programs = {"attar": ours} | {mode: [*twin, *MODES[mode]] for mode in chosen(args.modes, MODES, "mode")}
    runs, refused, losses = {who: [] for who in programs}, {}, {}
    for who, command in programs.items():
        print(f"{name} {precision}: first losses, {who}", file=sys.stderr, flush=True)
        result, said = call([*command, *COMPARED, "--lr", rate])
        if result is None:
            refused[who] = said
            print(f"  {who} is left out: {said}", file=sys.stderr)
        else:
            losses[who] = result["losses"]
    for round_ in range(args.rounds):
        for who, command in programs.items():
            if who in refused:
                continue
            print(f"{name} {precision}: round {round_ + 1}/{args.rounds}, {who}", file=sys.stderr, flush=True)
            result, said = call([*command, *timing])
            if result is None:
                refused[who] = said
                print(f"  {who} is left out: {said}", file=sys.stderr)
            else:
                runs[who].append(result)
    row = {"case": name, "precision": precision, "batch": batch, "refused": refused, "runs": runs}
    row["best"] = {who: best(results) for who, results in runs.items() if results}
    ours = losses.pop("attar", None)
    row["losses"] = compare(ours, losses, precision) if ours else {}
    modes = {who: speed for who, speed in row["best"].items() if who != "attar"}
    row["fastest"] = max(modes, key=lambda mode: modes[mode]["images_per_second"]) if modes else None
    return row


def ratio(row, what):
    """attar / PyTorch's fastest mode; None where one of them has nothing to say."""
    if row["fastest"] is None or "attar" not in row["best"]:
        return None
    ours, theirs = row["best"]["attar"][what], row["best"][row["fastest"]][what]
    return ours / theirs if ours and theirs else None


def table(rows, modes):
    head = ["case", "batch", "precision", "attar images/s", *[f"PyTorch {mode}" for mode in modes], "ratio"]
    head += ["attar peak MiB", "PyTorch peak MiB", "memory ratio", "largest loss gap"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        def speed(who):
            return f"{row['best'][who]['images_per_second']:.1f}" if who in row["best"] else "-"

        def peak(who):
            size = row["best"].get(who, {}).get("peak_memory_bytes")
            return f"{size / 2**20:.0f}" if size else "-"

        def number(value):
            return f"{value:.2f}" if value else "-"

        largest = [max(loss["gaps"]) for loss in row["losses"].values()]
        agree = all(loss["agree"] for loss in row["losses"].values())
        gap = (f"{max(largest):.1e}" + ("" if agree else " DISAGREES")) if largest else "-"
        cells = [row["case"], str(row["batch"]), row["precision"], speed("attar"), *map(speed, modes)]
        cells += [number(ratio(row, "images_per_second")), peak("attar"), peak(row["fastest"])]
        cells += [number(ratio(row, "peak_memory_bytes")), gap]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    args = arguments()
    cases, modes = chosen(args.cases, CASES, "case"), chosen(args.modes, MODES, "mode")
    precisions = chosen(args.precisions, TOLERANCES, "precision")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = args.attar or target / "release" / "attar"
    if not program.exists():
        sys.exit(f"error: {program}: there is no such program\n  hint: cargo build --release, or --attar PATH")
    facts = machine() | {"torch": None, "threads": args.threads, "device": args.device}
    facts |= {"rounds": args.rounds, "steps": args.steps}
    rows = []
    for precision in precisions:
        for name in cases:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(name, precision, args, program, pathlib.Path(folder)))
            versions = [run["torch"] for who, runs in rows[-1]["runs"].items() if who != "attar" for run in runs]
            facts |= {"torch": versions[0] if versions else facts["torch"], "load_after": round(os.getloadavg()[0], 2)}
            if args.json:  # after every row: a long comparison that is stopped keeps what it has
                args.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    where = facts["gpu"] if args.device == "cuda" else f"{facts['cpu']}, {facts['cores']} cores"
    print(f"attar {facts['attar']}, PyTorch {facts['torch']}, {where}, {args.threads} threads, best of {args.rounds} rounds")
    print(f"load of the machine: {facts['load_before']} before, {facts['load_after']} after\n")
    print(table(rows, modes))
    print("\nratio: images per second, attar / PyTorch's fastest mode here (higher is better); memory: lower is better")
    for row in rows:
        for who, said in row["refused"].items():
            print(f"* {row['case']} {row['precision']}: {who} is left out: {said}")
    if not all(loss["agree"] for row in rows for loss in row["losses"].values()):
        sys.exit("error: the losses of the first steps disagree: the two programs do not do the same work")


if __name__ == "__main__":
    main()
