"""Makes demo/data from the full Fashion-MNIST: the first 600 training and 300 test images of each class, in file order.

    python3 demo/make_data.py FOLDER_WITH_THE_FOUR_OFFICIAL_GZ_FILES

Standard library only; the same input gives the same bytes.
"""

import gzip
import pathlib
import struct
import sys


def read(folder, prefix):
    images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
    return [(labels[8 + i], images[16 + 784 * i : 800 + 784 * i]) for i in range(len(labels) - 8)]


def first_of_each_class(samples, count):
    seen, kept = {}, []
    for label, pixels in samples:
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            kept.append((label, pixels))
    return kept


def write(folder, prefix, samples):
    images = struct.pack(">4I", 0x803, len(samples), 28, 28) + b"".join(pixels for _, pixels in samples)
    labels = struct.pack(">2I", 0x801, len(samples)) + bytes(label for label, _ in samples)
    for name, data in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(data, 9, mtime=0))


source, target = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent / "data"
target.mkdir(exist_ok=True)
for prefix, count in (("train", 600), ("t10k", 300)):
    write(target, prefix, first_of_each_class(read(source, prefix), count))
