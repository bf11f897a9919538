"""The networks of make.py as TFLite files, f32 and of 8 bits, for compare.py's column of LiteRT.

    python tflite.py NETWORKS [NAME ...]

Writes NETWORKS/NAME.tflite and NETWORKS/NAME-int8.tflite (a scale a channel, floats at both ends as the quantised ONNX files
have them) of NETWORKS/NAME.onnx, quantised by eight images of noise. Needs a Python of its own: onnx2tf 1.29.24, tensorflow
2.19.0, tf_keras 2.19.0 and onnx 1.19.1.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import tensorflow as tf


def images(plain):
    """Eight images of noise, channels last."""
    [_, channels, height, width] = [axis.dim_value for axis in onnx.load(plain).graph.input[0].type.tensor_type.shape.dim]
    draw = np.random.default_rng(1)
    return [[draw.standard_normal((1, height, width, channels), np.float32)] for _ in range(8)]


def main(folder, only):
    for plain in sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_size):
        name = plain.stem
        if "-" in name or (only and name not in only):
            continue
        with tempfile.TemporaryDirectory() as made:
            # What it tries its own model with and would download.
            tried = np.random.default_rng(2).random((20, 128, 128, 3), np.float32)
            np.save(pathlib.Path(made) / "calibration_image_sample_data_20x128x128x3_float32.npy", tried)
            subprocess.run(["onnx2tf", "-i", plain.resolve(), "-o", made, "-osd", "-n"], check=True, cwd=made)
            (folder / f"{name}.tflite").write_bytes((pathlib.Path(made) / f"{name}_float32.tflite").read_bytes())
            converter = tf.lite.TFLiteConverter.from_saved_model(made)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: iter(images(plain))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            (folder / f"{name}-int8.tflite").write_bytes(converter.convert())
        print(name, flush=True)


main(pathlib.Path(sys.argv[1]), sys.argv[2:])
