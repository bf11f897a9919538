"""PTX to C: a kernel becomes a C function that is one thread of it. The driver beside this file calls it.

    python3 ptx.py MODULE.ptx KERNEL OUT.c      translate one kernel
    python3 ptx.py MODULE.ptx ...               try all kernels of all modules, print those that cannot be translated

What compilers make of kernels like Attar's and Candle's is covered, in the PTX ISA up to the version in `parse.ISA`. Registers
become unsigned integers of their width, and an instruction reads them as the type it names. Pointers are those of the process,
whatever their state space. `parse.py` reads a module, `instructions.py` says what each instruction does, `emit.py` writes the C,
`test_ptx.py` runs the instructions.
"""

import sys

from emit import read, translated
from parse import Unsupported


def main():
    if len(sys.argv) == 4 and not sys.argv[2].endswith(".ptx"):
        text = translated(read(sys.argv[1]), sys.argv[2])
        if text is None:
            sys.exit(1)
        with open(sys.argv[3], "w") as out:
            out.write(text)
        return
    failed = False
    for module in map(read, sys.argv[1:]):
        for name in module.kernels:
            failed |= translated(module, name) is None
    sys.exit(failed)


if __name__ == "__main__":
    try:
        main()
    except Unsupported as error:
        sys.exit(f"not supported: {error}")
