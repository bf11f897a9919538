"""A network of torchvision as an ONNX file for `attar bench-train`, and the same weights for `twin.py`.

    python benches/pytorch/export.py efficientnet_b0 --out folder    # writes net.onnx, weights.safetensors; prints what it is

Batch norms stay what they are (`TrainingMode.PRESERVE`), and nothing in the network is random. Usually called by run.py.
"""

import argparse
import json
import pathlib
import warnings

import torch
from safetensors.torch import save_file

import networks


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=networks.EXPORTED)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--size", type=int, default=224, help="height and width of an image")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a folder")
    return parser.parse_args()


def main():
    args = arguments()
    torch.manual_seed(1)
    spec = {"name": args.name, "classes": args.classes, "input": [3, args.size, args.size]}
    net = networks.build(spec).eval()
    names = {"input_names": ["input"], "output_names": ["logits"]}
    names |= {"dynamic_axes": {"input": {0: "batch"}, "logits": {0: "batch"}}}
    warnings.simplefilter("ignore")  # of the exporter, that there is a newer one
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    image = torch.zeros(2, *spec["input"])
    torch.onnx.export(net, (image,), str(args.out / "net.onnx"), dynamo=False, opset_version=17, **names, **kept)
    weights = {name: value.contiguous() for name, value in net.state_dict().items() if "num_batches" not in name}
    save_file(weights, args.out / "weights.safetensors")
    print(json.dumps(spec))


if __name__ == "__main__":
    main()
