"""The networks of the zoo in PyTorch, with torchvision's module names, answering with logits and the outputs of their stages;
and those that Attar gets as an ONNX file, which answer with logits alone.

CIFAR ResNets: depth 6n + 2, three stages of n basic blocks, 1x1 shortcuts where shapes change (He et al. 2015, section 4.2);
`...x4` have the channels 32 (stem), 64, 128, 256. The others are torchvision's; `stem = "cifar"` makes the first convolution of
a ResNet 3x3 with stride 1 and removes its pool, and gives `features.0` and `features.2` of MobileNetV2 the stride 1.
"""

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

CIFAR = {f"resnet{depth}": (depth, (16, 16, 32, 64)) for depth in (8, 14, 20, 32, 44, 56, 110)}
CIFAR |= {f"resnet{depth}x4": (depth, (32, 64, 128, 256)) for depth in (8, 32)}
# (expansion, channels, repeats, stride) of MobileNetV2 for small images: the 24-channel stage keeps its size
MOBILENET_CIFAR = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
MOBILENET_STAGES = (3, 6, 13, 17)
# Torchvision's that are exported for Attar, and how: nothing random is in their steps.
EXPORTED = {
    "mobilenet_v3_large": {"dropout": 0.0},
    "efficientnet_b0": {"dropout": 0.0, "stochastic_depth_prob": 0.0},
    "shufflenet_v2_x1_0": {},
}


class BasicBlock(nn.Module):
    def __init__(self, inside: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inside != planes:
            conv = nn.Conv2d(inside, planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(planes))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + shortcut)


class CifarResNet(nn.Module):
    def __init__(self, name: str, channels: int, classes: int):
        super().__init__()
        depth, widths = CIFAR[name]
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        for stage in range(3):
            inside, planes = widths[stage], widths[stage + 1]
            blocks = [BasicBlock(inside, planes, 1 if stage == 0 else 2)]
            blocks += [BasicBlock(planes, planes, 1) for _ in range((depth - 2) // 6 - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(widths[3], classes)


class Tapped(nn.Module):
    """A network that answers with its logits and the outputs of its stages."""

    def __init__(self, net: nn.Module, name: str):
        super().__init__()
        self.net = net
        self.whole = name in EXPORTED

    def forward(self, x):
        net, taps = self.net, []
        if self.whole:
            return net(x), taps
        if isinstance(net, torchvision.models.MobileNetV2):
            for i, block in enumerate(net.features):
                x = block(x)
                if i in MOBILENET_STAGES:
                    taps.append(x)
            x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
            return net.classifier(x), taps
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            if hasattr(net, name):
                x = getattr(net, name)(x)
                taps.append(x)
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        return net.fc(x), taps


def build(spec: dict) -> nn.Module:
    """The network of an attar `NetworkSpec`; shortcut `b` only."""
    name, classes, channels, cifar = spec["name"], spec["classes"], spec["input"][0], spec.get("stem") == "cifar"
    if name in CIFAR:
        return CifarResNet(name, channels, classes)
    if name == "mobilenet_v2":
        options = {"width_mult": spec.get("width") or 1.0, "dropout": spec.get("dropout", 0.2)}
        if cifar:
            options["inverted_residual_setting"] = MOBILENET_CIFAR
        net = torchvision.models.mobilenet_v2(num_classes=classes, **options)
        if cifar:
            net.features[0][0].stride = (1, 1)
        return net
    net = getattr(torchvision.models, name)(num_classes=classes, **EXPORTED.get(name, {}))
    if cifar:
        net.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
    return net


def load(net: nn.Module, weights: dict, prefix: str) -> None:
    """Takes the weights under `prefix`, all of them and no others."""
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    missing, unexpected = net.load_state_dict(own, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{prefix}: the file does not fit the network: missing {missing}, left over {unexpected}")


def fold(net: nn.Module) -> nn.Module:
    """Puts every batch norm of a network in evaluation mode into the convolution before it, as attar does with a teacher."""
    for module in net.modules():
        children = list(module.named_children())
        for (first, conv), (second, norm) in [(a, b) for a in children for b in children]:
            follows = first.replace("conv", "bn") == second
            if isinstance(module, nn.Sequential):
                follows = first.isdigit() and second == str(int(first) + 1)
            if follows and isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, nn.Identity())
    return net
