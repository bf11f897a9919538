"""The networks of docs/engines.md as ONNX files, f32 and quantised by ONNX Runtime's own tool.

    python make.py OUT

Writes OUT/NAME.onnx, OUT/NAME-qdq.onnx and OUT/NAME-qoperator.onnx (unsigned activations, signed weights, a scale a channel).
Weights are drawn from a seed, batch norms settled on random images: speed and bits are looked at, not accuracy. Needs torch
2.15.0, torchvision 0.30.0, timm 1.0.31, onnx 1.23.2 and onnxruntime 1.32.0.
"""

import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                                  nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.short = nn.Identity() if before == after else nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.end = nn.ReLU()

    def forward(self, x):
        return self.end(self.body(x) + self.short(x))


def resnet8():
    """The ResNet of MLPerf Tiny, for 32x32 images: 12.5 million products, 78 thousand parameters."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 16, 1), Block(16, 32, 2),
                         Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETWORKS = {
    "resnet8": (resnet8, 32),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, 224),
    "resnet18": (torchvision.models.resnet18, 224),
    "resnet50": (torchvision.models.resnet50, 224),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, 224),
    "mobilenetv4_conv_small": (lambda: timm.create_model("mobilenetv4_conv_small"), 224),
    "efficientnet_lite0": (lambda: timm.create_model("efficientnet_lite0"), 224),
}


class Images(CalibrationDataReader):
    """Eight images of noise."""

    def __init__(self, size):
        draw = np.random.default_rng(1)
        self.left = iter([draw.standard_normal((1, 3, size, size), np.float32) for _ in range(8)])

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"image": image}


def main(out, only):
    out.mkdir(parents=True, exist_ok=True)
    for name, (make, size) in NETWORKS.items():
        if only and name not in only:
            continue
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 0.5
            model.train()
            for _ in range(4):
                model(torch.randn(4, 3, size, size))
        model.eval()
        plain = out / f"{name}.onnx"
        torch.onnx.export(model, (torch.randn(1, 3, size, size),), plain, dynamo=False, opset_version=17,
                          input_names=["image"], output_names=["logits"])
        for word, form in {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}.items():
            try:
                quantize_static(plain, out / f"{name}-{word}.onnx", Images(size), quant_format=form,
                                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True)
            except AttributeError as error:  # 1.32 cannot write MobileNetV3 in operators
                print(f"{name}: the tool writes no {word}: {error}", flush=True)
        print(name, flush=True)


main(pathlib.Path(sys.argv[1]), sys.argv[2:])
