"""Attar's engine beside ONNX Runtime and OpenVINO, one thread, batch 1: the table of docs/engines.md.

    taskset -c 1 python compare.py NETWORKS ATTAR [NAME ...]

NETWORKS is a folder that make.py wrote, ATTAR the program. Each round gives every runtime half a second; told is the fastest call
of all rounds, in milliseconds, so that what disturbs one round disturbs none of the figures. Needs openvino 2026.4.1 and
onnxruntime 1.32.0.
"""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import openvino

ROUNDS, SECONDS = 6, 0.5


def fastest(call):
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return 1000 * best


def by_onnxruntime(file, image):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("image", image)
    binding.bind_output("logits")
    return lambda: session.run_with_iobinding(binding)


def by_openvino(file, image):
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(str(file), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(image))
    return request.infer


def by_attar(program, file):
    def measured():
        said = subprocess.run([program, "bench", file, "--engine", "attar", "--seconds", str(SECONDS), "--json"],
                              capture_output=True, text=True, check=True)
        return json.loads(said.stdout)["runtimes"][0]["latency_ms"]["min"]
    return measured


def main(folder, program, only):
    print(f"{'network':34} {'attar':>9} {'ort':>9} {'openvino':>9}   {'ort/attar':>9} {'openvino/attar':>14}")
    for plain in sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_size):
        name = plain.stem
        if "-" in name or (only and name not in only):
            continue
        for files in ([plain], [folder / f"{name}-qdq.onnx", folder / f"{name}-qoperator.onnx"]):
            files = [file for file in files if file.exists()]
            sizes = [axis.dim_value for axis in __import__("onnx").load(plain).graph.input[0].type.tensor_type.shape.dim]
            image = np.random.default_rng(0).standard_normal(sizes, np.float32)
            theirs = [by_onnxruntime(file, image) for file in files]
            openvinos = by_openvino(files[0], image)
            ours = by_attar(program, files[0])
            best = [float("inf")] * 3
            for _ in range(ROUNDS):
                best[0] = min(best[0], ours())
                best[1] = min([best[1]] + [fastest(call) for call in theirs])
                best[2] = min(best[2], fastest(openvinos))
            print(f"{files[0].stem:34} {best[0]:9.4f} {best[1]:9.4f} {best[2]:9.4f}   {best[1] / best[0]:9.2f} {best[2] / best[0]:14.2f}",
                  flush=True)


main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
