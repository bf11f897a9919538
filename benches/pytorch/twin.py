"""The training step of `attar bench-train` in PyTorch: same weights, batches, losses, optimiser and threads.

Weights and batches come from the file that `attar bench-train ... --save FILE` writes; networks are named as its JSON names
them. Prints one JSON object. Usually called by run.py; alone:

    attar bench-train resnet20 --save start.safetensors --json > attar.json
    python twin.py --start start.safetensors --student "$(jq -c .model attar.json)"
"""

import argparse
import contextlib
import json
import pathlib
import re
import statistics
import sys
import time

import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

import networks

CD_WEIGHT, GKD_WEIGHT = 6.0, 0.1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", required=True, help="safetensors file of weights and batches")
    parser.add_argument("--student", type=json.loads, required=True, help="NetworkSpec as JSON")
    parser.add_argument("--weights", help="safetensors file of the student's weights; those of --start without it")
    parser.add_argument("--teacher", type=json.loads, help="NetworkSpec as JSON")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32", help="bf16 is autocast")
    parser.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    parser.add_argument("--compile", action="store_true", help="torch.compile of forward and losses")
    parser.add_argument("--unfolded-teacher", action="store_true", help="leave the teacher's batch norms in place")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def status(key):
    """Bytes of a line of /proc/self/status; None where there is none."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return None


def mark_memory():
    """Sets the kernel's high-water mark back and reads the resident set; None where the mark cannot be set back."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return status("VmRSS:")


class Connector(nn.Module):
    """What stands between a stage of the student and the channel loss."""

    def __init__(self, inside, outside):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 1, bias=False)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def channel_loss(own, other):
    """CD: squared error of the mean activation of each channel, summed over the stages."""
    means = [(a.float().mean((2, 3)), b.float().mean((2, 3))) for a, b in zip(own, other)]
    return sum(F.mse_loss(a, b) for a, b in means)


def guided_loss(student, teacher, labels):
    """GKD at temperature 1 over the samples that the teacher gets right."""
    right = (teacher.argmax(1) == labels).float()
    log_s, log_t = F.log_softmax(student, 1), F.log_softmax(teacher, 1)
    rows = F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(1)
    return (rows * right).sum() / right.sum().clamp(min=1.0)


class Step(nn.Module):
    """From a batch to the loss."""

    def __init__(self, args, weights):
        super().__init__()
        student = networks.build(args.student)
        networks.load(student, weights, "student.")
        self.student = networks.Tapped(student, args.student["name"]).train()
        self.teacher, self.connectors = None, nn.ModuleList()
        if args.teacher:
            teacher = networks.build(args.teacher)
            networks.load(teacher, weights, "teacher.")
            teacher = teacher.eval().requires_grad_(False)
            teacher = teacher if args.unfolded_teacher else networks.fold(teacher)
            self.teacher = networks.Tapped(teacher, args.teacher["name"])
            ends = [name for name in weights if name.startswith("losses.cd.") and name.endswith(".conv.weight")]
            # Named by stage: layer1, layer2, ..., or features.3, features.6, features.13, ...
            for name in sorted(ends, key=lambda name: int(re.findall(r"\d+", name)[-1])):
                outside, inside = weights[name].shape[:2]
                connector = Connector(inside, outside)
                networks.load(connector, weights, name.removesuffix("conv.weight"))
                self.connectors.append(connector)

    def trained(self):
        return [*self.student.parameters(), *self.connectors.parameters()]

    def forward(self, x, labels):
        known = None
        if self.teacher is not None:
            with torch.no_grad():
                known, aims = self.teacher(x)
        logits, taps = self.student(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels)
        if known is not None:
            own = [connector(tap) for connector, tap in zip(self.connectors, taps)]
            loss = loss + CD_WEIGHT * channel_loss(own, aims) + GKD_WEIGHT * guided_loss(logits, known.float(), labels)
        return loss


def read_batches(path, layout, device):
    """Copies of the batches, so that no page of the file counts as memory of the step."""
    batches = []
    with safe_open(path, "pt") as file:
        count = sum(name.endswith(".labels") for name in file.keys())
        for i in range(count):
            x = file.get_tensor(f"batch.{i}.pixels").clone()
            if layout == "channels_last":
                x = x.contiguous(memory_format=torch.channels_last)
            labels = file.get_tensor(f"batch.{i}.labels").to(torch.int64)
            batches.append((x.pin_memory(), labels.pin_memory()) if device == "cuda" else (x, labels))
    return batches


def read_weights(args):
    """By name under `student.`, `teacher.` and `losses.`; the student's are those of its own file where there is one."""
    with safe_open(args.start, "pt") as file:
        found = {name: file.get_tensor(name).clone() for name in file.keys() if not name.startswith("batch.")}
    if args.weights:
        found = {name: value for name, value in found.items() if not name.startswith("student.")}
        with safe_open(args.weights, "pt") as file:
            found |= {"student." + name: file.get_tensor(name).clone() for name in file.keys()}
    return found


def measure(args):
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    batches = read_batches(args.start, args.layout, args.device)
    before = mark_memory()

    step = Step(args, read_weights(args)).to(args.device)
    if args.layout == "channels_last":
        step = step.to(memory_format=torch.channels_last)
    trained = step.trained()
    # `fused` is the fastest of PyTorch's three.
    optimiser = torch.optim.SGD(trained, lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    forward = torch.compile(step) if args.compile else step
    autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
    losses, done = [], 0

    def round_(steps):
        nonlocal done
        begun = time.perf_counter()
        for _ in range(steps):
            x, labels = batches[done % len(batches)]
            if args.device == "cuda":
                x, labels = x.to("cuda", non_blocking=True), labels.to("cuda", non_blocking=True)
            optimiser.zero_grad(set_to_none=True)
            with autocast:
                loss = forward(x, labels)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            done += 1
        if args.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begun) / steps

    if args.warmup:
        round_(args.warmup)
    times = [round_(args.steps) for _ in range(args.repeats)]
    batch = batches[0][0].shape[0]
    best, median = min(times), statistics.median(times)
    peak = None if before is None else max(0, status("VmHWM:") - before)
    return {
        "images_per_second": {"best": batch / best, "median": batch / median},
        "step_ms": {"best": best * 1e3, "median": median * 1e3},
        "peak_memory_bytes": peak,
        "losses": losses,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def main():
    args = arguments()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: no CUDA device here\n  hint: --device cpu")
    if args.precision == "tf32" and args.device == "cpu":
        sys.exit("error: tf32 is a format of CUDA's tensor cores\n  hint: --precision f32")
    try:
        print(json.dumps(measure(args)))
    except Exception as error:
        if not args.compile:
            raise
        first = str(error).strip().splitlines()[0]
        sys.exit(f"error: torch.compile does not work here: {first}")


if __name__ == "__main__":
    main()
