"""The text of PTX: its types, and a module taken apart into kernels and what stands beside them."""

import re

# The newest PTX ISA whose output has been read here; a newer module may say something else by the same words.
ISA = (9, 2)

INTEGERS = {f"{sign}{bits}": f"{c}{bits}_t" for sign, c in (("u", "uint"), ("s", "int"), ("b", "uint")) for bits in (8, 16, 32, 64)}
FLOATS = {"f32": "float", "f64": "double"}
NARROW = {"f16", "bf16"}  # computed in float, stored in 16 bits
C_TYPES = {**INTEGERS, **FLOATS, "pred": "int", "f16": "uint16_t", "bf16": "uint16_t", "bf16x2": "uint32_t", "f16x2": "uint32_t"}


class Unsupported(Exception):
    pass


def bits(kind):
    return 1 if kind == "pred" else int(re.search(r"\d+", kind).group())


def size(kind):
    return bits(kind) // 8


def split(text):
    """At commas outside of brackets."""
    parts, depth, part = [], 0, ""
    for letter in text:
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    return parts + [part.strip()] if part.strip() else parts


class Module:
    """The kernels of a module, and what stands beside them."""

    HEAD = re.compile(r"\.(entry|func)\s+(?:\([^)]*\)\s*)?([\w$]+)\s*(\([^)]*\))?")

    def __init__(self, text):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
        self.check_version(text)
        self.kernels, outside, at = {}, [], 0
        while found := self.HEAD.search(text, at):
            outside.append(text[at : found.start()])
            opened = re.compile(r"[{;]").search(text, found.end())
            at = opened.end()
            if opened.group() == ";":
                continue  # a declaration
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            if found.group(1) == "entry":
                self.kernels[found.group(2)] = (found.group(3) or "", text[opened.end() : at - 1])
        self.outside = "\n".join(outside + [text[at:]])

    @staticmethod
    def check_version(text):
        found = re.search(r"^\s*\.version\s+(\d+)\.(\d+)", text, flags=re.M)
        if not found:
            raise Unsupported("a module that does not say its .version")
        if tuple(map(int, found.groups())) > ISA:
            known = ".".join(map(str, ISA))
            raise Unsupported(f"PTX ISA {found.group(1)}.{found.group(2)}; up to {known} is known\n  hint: read what is new in it, run tools/gpu-emulator/run.sh, then raise ISA in parse.py")
