"""Compiles CUDA C with NVRTC as the program does when it runs, for the oldest cards it is built for, to NAME_STORED.ptx in a folder.

Arguments: LIBNVRTC FOLDER PRELUDE FILE...
"""

import ctypes
import pathlib
import sys

library, folder, prelude, *files = sys.argv[1:]
ctypes.CDLL(str(next(pathlib.Path(library).parent.glob("libnvrtc-builtins.so.*"))))  # NVRTC opens it by name
nvrtc = ctypes.CDLL(library)


def text(program, what):
    """`ProgramLog` or `PTX` of a program."""
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


failed = False
for file in map(pathlib.Path, files):
    source = pathlib.Path(prelude).read_text() + "\n" + file.read_text()
    for stored in ("float", "bf16"):
        program = ctypes.c_void_p()
        options = [b"--gpu-architecture=compute_80", b"--std=c++17", f"--define-macro=STORED={stored}".encode()]
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), file.name.encode(), 0, None, None)
        if nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)):
            failed = True
            print(f"{file.name} with images in {stored}:\n{text(program, 'ProgramLog')}", file=sys.stderr)
        else:
            (pathlib.Path(folder) / f"{file.stem}_{stored}.ptx").write_text(text(program, "PTX"))
sys.exit(failed)
