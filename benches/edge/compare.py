"""Attar's engine beside others, one thread, batch 1: the table of docs/engines.md.

    taskset -c 1 python compare.py NETWORKS ATTAR [NAME ...]

NETWORKS is a folder that make.py wrote, and tflite.py where LiteRT is to be among them; ATTAR the program. Each round gives every
runtime half a second; told is the fastest call of all rounds, in milliseconds, so that what disturbs one round disturbs none of
the figures. Needs openvino 2026.4.1, onnxruntime 1.32.0 and onnx; ai-edge-litert 2.3.0 for LiteRT; for rten its program of 0.27.0
(`cargo install rten-cli --version 0.27.0`) in $RTEN. A runtime that is not there has no figure.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
import openvino

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    Interpreter = None

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


def by_litert(file, image):
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1)))
    return interpreter.invoke


def by_rten(file):
    def measured():
        said = subprocess.run([os.environ["RTEN"], file, "-t", "1", "-k", "-n", "40"], capture_output=True, text=True, check=True)
        return float(re.search(r" min ([0-9.]+)ms", said.stdout)[1])
    return measured


def by_attar(program, file):
    def measured():
        said = subprocess.run([program, "bench", file, "--engine", "attar", "--seconds", str(SECONDS), "--json"],
                              capture_output=True, text=True, check=True)
        return json.loads(said.stdout)["runtimes"][0]["latency_ms"]["min"]
    return measured


def timed(call):
    return lambda: fastest(call)


def main(folder, program, only):
    others = ["ort", "openvino", "litert", "rten"]
    print(f"{'network':34} {'attar':>9} " + " ".join(f"{name:>9} {'times':>5}" for name in others))
    for plain in sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_size):
        name = plain.stem
        if "-" in name or (only and name not in only):
            continue
        sizes = [axis.dim_value for axis in onnx.load(plain).graph.input[0].type.tensor_type.shape.dim]
        image = np.random.default_rng(0).standard_normal(sizes, np.float32)
        for files, lite in (([plain], f"{name}.tflite"),
                            ([folder / f"{name}-qdq.onnx", folder / f"{name}-qoperator.onnx"], f"{name}-int8.tflite")):
            files, lite = [file for file in files if file.exists()], folder / lite
            runtimes = {"ort": [timed(by_onnxruntime(file, image)) for file in files],
                        "openvino": [timed(by_openvino(files[0], image))],
                        "litert": [timed(by_litert(lite, image))] if Interpreter and lite.exists() else [],
                        "rten": [by_rten(files[0])] if "RTEN" in os.environ else []}
            ours, best = float("inf"), {}
            measure = by_attar(program, files[0])
            for _ in range(ROUNDS):
                ours = min(ours, measure())
                for runtime, measures in runtimes.items():
                    best[runtime] = min([best.get(runtime, float("inf"))] + [measured() for measured in measures])
            row = " ".join(f"{best[runtime]:9.4f} {best[runtime] / ours:5.2f}" for runtime in others)
            print(f"{files[0].stem:34} {ours:9.4f} {row}", flush=True)


main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
