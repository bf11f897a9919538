"""A kernel as C: its registers, its memory, its statements."""

import re
import sys

from instructions import BITWISE, FUNCTIONS, KNOWN, Instructions
from parse import C_TYPES, FLOATS, Module, Unsupported, bits, size, split

SPECIAL = {"%tid": "tid", "%ntid": "ntid", "%ctaid": "ctaid", "%nctaid": "nctaid"}


def register(name):
    return "r_" + re.sub(r"\W", "_", name.lstrip("%"))


class Kernel(Instructions):
    """One kernel on its way to C."""

    def __init__(self, module, name):
        if name not in module.kernels:
            raise Unsupported(f"there is no kernel {name}")
        parameters, self.body = module.kernels[name]
        self.parameters = re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.\w+\s+([\w$]+)", parameters)
        self.registers, self.lines, self.declared, self.waits = {}, [], [], False
        self.shared, self.shared_bytes = self.lay_out_shared(module.outside + self.body)
        self.data = {}
        for kind, name, count, values in re.findall(
            r"\.(?:global|const)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)\s*(?:\[(\d+)\])?\s*(?:=\s*(\{[^}]*\}|[^;]*))?;", module.outside
        ):
            values = values if values.startswith("{") else f"{{{values or 0}}}"
            self.data[name] = f"static {C_TYPES[kind]} {self.symbol(name)}[{count or 1}] = {values};"
        self.local = set()

    @staticmethod
    def symbol(name):
        return "s_" + name.replace("$", "_")

    @staticmethod
    def lay_out_shared(text):
        """Where each shared array begins; the one whose size the launch says comes last."""
        places, at, open_ended = {}, 0, None
        for align, kind, name, count in re.findall(r"\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)\s*(\[\d*\])?\s*;", text):
            if count == "[]":
                open_ended = name
                continue
            align = int(align or size(kind))
            at = -(-at // align) * align
            places[name] = at
            at += size(kind) * int(count.strip("[]") or 1)
        at = -(-at // 16) * 16
        if open_ended:
            places[open_ended] = at
        return places, at

    # Operands

    def read(self, kind, operand):
        """An operand as a C expression of a type."""
        if operand.startswith("-%"):
            return f"(-{self.read(kind, operand[1:])})"
        if operand.startswith("%") or operand in self.registers:
            return self.read_register(kind, operand)
        if found := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", operand):
            return f"as_float(0x{found.group(1)}u)" if kind == "f32" else f"0x{found.group(1)}u"
        if found := re.fullmatch(r"0[dD]([0-9A-Fa-f]{16})", operand):
            return f"as_double(0x{found.group(1)}ull)" if kind == "f64" else f"0x{found.group(1)}ull"
        if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+)U?", operand):
            number = operand.rstrip("U")
            return f"(({C_TYPES[kind]}){number}{'ll' if number.startswith('-') else 'ull'})"
        return self.address_of(operand)

    def read_register(self, kind, operand):
        if found := re.fullmatch(r"(%\w+)\.([xyz])", operand):
            return f"(({C_TYPES[kind]})t->{SPECIAL[found.group(1)]}[{'xyz'.index(found.group(2))}])"
        if operand in ("%laneid", "%warpid"):
            return f"(({C_TYPES[kind]})t->{operand[1:-2]})"
        if operand not in self.registers:
            raise Unsupported(f"register {operand}")
        name = register(operand)
        if kind in FLOATS:
            return f"as_{FLOATS[kind]}({name})"
        return name if kind == "pred" else f"(({C_TYPES[kind]}){name})"

    def address_of(self, name):
        if name in self.shared:
            return f"((uint64_t)(t->shared + {self.shared[name]}))"
        if name in self.local or name in self.data:
            return f"((uint64_t){self.symbol(name)})"
        if name in self.parameters:
            return f"((uint64_t)parameters[{self.parameters.index(name)}])"
        raise Unsupported(f"operand {name}")

    def memory(self, operand):
        """`[base + offset]` as a pointer to bytes."""
        found = re.fullmatch(r"\[\s*([^+\]]+?)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        base, offset = found.group(1), found.group(2) or "0"
        return f"((char *){self.read('u64', base) if base.startswith('%') else self.address_of(base)} + {offset})"

    def write(self, kind, target, value):
        if target == "_":
            return ""
        if kind in FLOATS:
            value = f"of_{FLOATS[kind]}({value})"
        elif kind != "pred":
            value = f"({C_TYPES[kind]})({value})"
        return f"{register(target)} = {value};"

    def widened(self, kind, operand):
        """A 16-bit float as a C float."""
        return f"of_{kind}({self.read('b16', operand)})"

    # Statements

    def statements(self):
        """Labels and statements, in order."""
        text = re.sub(r"([\w$]+):", r"\1:;", self.body)
        for statement in text.split(";"):
            statement = " ".join(statement.split()).strip()
            # Braces open a scope of registers, which have names of their own, or hold one instruction.
            statement = re.sub(r"^[{}\s]+", "", statement)
            if statement:
                yield statement

    def translate(self):
        for statement in self.statements():
            if statement.endswith(":"):
                self.lines.append(f"{self.symbol(statement[:-1])}: ;")
            elif statement.startswith("."):
                self.declare(statement)
            else:
                self.lines.append(self.instruction(statement))

    def declare(self, statement):
        if found := re.fullmatch(r"\.reg\s*\.(\w+)\s+(.*)", statement):
            for name in split(found.group(2)):
                several = re.fullmatch(r"(%\w+?)<(\d+)>", name)
                names = [f"{several.group(1)}{i}" for i in range(int(several.group(2)))] if several else [name]
                kind = found.group(1)
                for own in names:  # scopes may give one name to several registers: the widest holds them all
                    self.registers[own] = max(self.registers.get(own, kind), kind, key=bits)
        elif found := re.fullmatch(r"\.local\s+(?:\.align\s+\d+\s+)?\.b8\s+([\w$]+)\[(\d+)\]", statement):
            self.local.add(found.group(1))
            self.declared.append(f"char {self.symbol(found.group(1))}[{found.group(2)}] __attribute__((aligned(16)));")
        elif not statement.startswith((".shared", ".param", ".pragma", ".loc", ".file", ".extern")):
            raise Unsupported(statement)

    def instruction(self, statement):
        guard = ""
        if found := re.fullmatch(r"@(!?)(%\w+)\s+(.*)", statement):
            guard, statement = f"if ({found.group(1)}{register(found.group(2))}) ", found.group(3)
        name, _, operands = statement.partition(" ")
        name, *words = name.replace("::", "_").split(".")
        if name == "st" and words[0] == "param":
            return ""  # what an assertion would print
        operands = split(operands)
        count, known = KNOWN.get(name, (None, None))
        if known is None or set(words) - set(C_TYPES) - set(known.split()) or count not in (None, len(operands)):
            raise Unsupported(statement)
        if name in BITWISE:
            text = self.bitwise(words, operands, BITWISE[name])
        elif name in FUNCTIONS:
            text = self.function(words, operands, FUNCTIONS[name])
        else:
            text = getattr(self, f"do_{name}")(words, operands)
        return f"{guard}{{ {text} }}"

    def c(self):
        self.translate()
        text = "\n".join(self.lines)
        used = {name: kind for name, kind in self.registers.items() if re.search(rf"\b{register(name)}\b", text)}
        width = lambda kind: "int" if kind == "pred" else f"uint{bits(kind)}_t"
        registers = [f"{width(kind)} {register(name)} = 0;" for name, kind in used.items()]
        data = [line for name, line in self.data.items() if self.symbol(name) in text]
        facts = f"const int shared_bytes = {self.shared_bytes}, waits = {int(self.waits)};"
        opening = "void kernel_thread(struct Thread *t, void **parameters) {"
        return "\n".join(['#include "thread.h"', *data, opening, *registers, *self.declared, text, "}", facts]) + "\n"


def translated(module, name):
    """C, or nothing once it is said why not."""
    try:
        return Kernel(module, name).c()
    except Unsupported as error:
        print(f"{name}: not supported: {error}", file=sys.stderr)


def read(file):
    with open(file) as text:
        return Module(text.read())
