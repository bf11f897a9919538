"""Compiles CUDA C with NVRTC as the program does when it runs, for the oldest cards it is built for: arguments LIBNVRTC PRELUDE FILE..."""

import ctypes
import pathlib
import sys

library, prelude, *files = sys.argv[1:]
ctypes.CDLL(str(next(pathlib.Path(library).parent.glob("libnvrtc-builtins.so.*"))))  # NVRTC opens it by name
nvrtc = ctypes.CDLL(library)


def log(program):
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, text)
    return text.value.decode()


failed = False
for file in map(pathlib.Path, files):
    source = pathlib.Path(prelude).read_text() + "\n" + file.read_text()
    for stored in ("float", "bf16"):
        program = ctypes.c_void_p()
        options = [b"--gpu-architecture=compute_80", b"--std=c++17", f"--define-macro=STORED={stored}".encode()]
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), file.name.encode(), 0, None, None)
        if nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)):
            failed = True
            print(f"{file.name} with images in {stored}:\n{log(program)}", file=sys.stderr)
sys.exit(failed)
