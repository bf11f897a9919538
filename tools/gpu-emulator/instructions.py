"""What each instruction of PTX does, as a C statement. An instruction or a word of one that is not here is an error, never a guess.

Values follow the PTX ISA; `approx` is exact here and `ftz` is ignored.
"""

from parse import C_TYPES, FLOATS, INTEGERS, NARROW, Unsupported, bits, size, split

COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
SPACES = "global shared local param const"
# Each instruction: how many operands it has, and the words that it may have beside types.
KNOWN = {
    "mov": (2, ""), "cvta": (2, f"to {SPACES}"), "ld": (2, f"{SPACES} v2 v4 nc volatile"), "st": (2, f"{SPACES} v2 v4 volatile"),
    "add": (3, "rn rz ftz"), "sub": (3, "rn ftz"), "mul": (3, "rn ftz lo hi wide"), "mad": (4, "rn ftz lo wide"),
    # `rm` is how expf finds the whole part of its argument; to the nearest does as well, because the rest is what is left.
    "fma": (4, "rn rm ftz"), "div": (3, "rn ftz approx full"), "rem": (3, ""), "min": (3, "ftz NaN"), "max": (3, "ftz NaN"),
    "abs": (2, "ftz"), "neg": (2, "ftz"), "and": (3, ""), "or": (3, ""), "xor": (3, ""), "not": (2, ""), "shl": (3, ""), "shr": (3, ""),
    "prmt": (4, ""), "bfe": (4, ""), "bfi": (5, ""), "lop3": (5, ""), "shf": (4, "l r wrap clamp"), "clz": (2, ""), "popc": (2, ""),
    "setp": (None, "ftz and or xor eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan"), "selp": (4, ""),
    "cvt": (2, "rn rni rzi rmi rpi ftz sat"), "rcp": (2, "rn approx ftz"), "sqrt": (2, "rn approx ftz"), "rsqrt": (2, "approx ftz"),
    "ex2": (2, "approx ftz"), "lg2": (2, "approx ftz"), "sin": (2, "approx ftz"), "cos": (2, "approx ftz"), "tanh": (2, "approx"),
    "copysign": (3, ""), "testp": (2, "infinite finite number notanumber"), "bra": (1, "uni"), "ret": (0, "uni"), "exit": (0, ""),
    "trap": (0, ""), "call": (None, "uni"), "bar": (1, "sync warp"), "barrier": (1, "sync aligned"), "membar": (0, "gl cta sys"),
    "fence": (0, "acq_rel sc cta gpu sys"), "shfl": (5, "sync up down bfly idx"),
    "atom": (None, f"{SPACES} relaxed gpu add exch max min or and cas"), "red": (2, f"{SPACES} relaxed gpu add max min or and"),
}
BITWISE = {"and": "&", "or": "|", "xor": "^"}
# Of one float; {f} is C's suffix for a function of a float.
FUNCTIONS = {
    "rcp": "1 / {x}", "sqrt": "sqrt{f}({x})", "rsqrt": "1 / sqrt{f}({x})", "ex2": "exp2{f}({x})", "lg2": "log2{f}({x})",
    "sin": "sin{f}({x})", "cos": "cos{f}({x})", "tanh": "tanh{f}({x})",
}


class Instructions:
    """The instructions, for a kernel that knows its operands (`emit.Kernel`). Each takes the words behind its name and its operands."""

    def do_mov(self, words, a):
        kind = words[-1]
        if a[0].startswith("{"):
            parts = split(a[0][1:-1])
            width = bits(kind) // len(parts)
            return " ".join(self.write(f"b{width}", part, f"{self.read(kind, a[1])} >> {width * i}") for i, part in enumerate(parts))
        if a[1].startswith("{"):
            parts = split(a[1][1:-1])
            width = bits(kind) // len(parts)
            joined = " | ".join(f"((uint64_t){self.read(f'b{width}', part)} << {width * i})" for i, part in enumerate(parts))
            return self.write(f"b{bits(kind)}", a[0], joined)
        return self.write(kind, a[0], f"!!{self.flag(a[1])}" if kind == "pred" else self.read(kind, a[1]))

    def do_cvta(self, words, a):
        return self.write("u64", a[0], self.read("u64", a[1]))

    def do_ld(self, words, a):
        kind, place = words[-1], self.memory(a[1])
        targets = split(a[0][1:-1]) if a[0].startswith("{") else [a[0]]
        check = f"aligned({place}, {size(kind) * len(targets)}); "
        return check + " ".join(self.write(kind, to, f"*({C_TYPES[kind]} *)({place} + {i * size(kind)})") for i, to in enumerate(targets))

    def do_st(self, words, a):
        kind, place = words[-1], self.memory(a[0])
        values = split(a[1][1:-1]) if a[1].startswith("{") else [a[1]]
        check = f"aligned({place}, {size(kind) * len(values)}); "
        return check + " ".join(f"*({C_TYPES[kind]} *)({place} + {i * size(kind)}) = {self.read(kind, value)};" for i, value in enumerate(values))

    def arithmetic(self, words, a, in_float, in_integers=None, in_pairs=False):
        """A function of the operands in whatever type the instruction names."""
        kind, inputs = words[-1], a[1:]
        if kind in FLOATS:
            return self.write(kind, a[0], in_float(*[self.read(kind, x) for x in inputs]))
        if kind in NARROW:
            return self.write("b16", a[0], f"to_{kind}({in_float(*[self.widened(kind, x) for x in inputs])})")
        if kind == "bf16x2" and in_pairs:
            halves = [in_float(*[f"of_bf16({self.read('b32', x)} >> {shift})" for x in inputs]) for shift in (0, 16)]
            return self.write("b32", a[0], f"to_bf16({halves[0]}) | (uint32_t)to_bf16({halves[1]}) << 16")
        if in_integers is None or kind not in INTEGERS:
            raise Unsupported(" ".join(words))
        unsigned = kind.replace("s", "u")  # wraps, where C would not
        return self.write(unsigned, a[0], in_integers(*[self.read(unsigned, x) for x in inputs]))

    def do_add(self, words, a):
        if "rz" in words:
            if words[-1] != "f32":
                raise Unsupported(" ".join(words))
            return self.write("f32", a[0], f"toward_zero((double){self.read('f32', a[1])} + {self.read('f32', a[2])})")
        return self.arithmetic(words, a, "{} + {}".format, "{} + {}".format, in_pairs=True)

    def do_sub(self, words, a):
        return self.arithmetic(words, a, "{} - {}".format, "{} - {}".format, in_pairs=True)

    def do_mul(self, words, a):
        kind = words[-1]
        if "wide" in words:
            return self.wide(kind, a[0], "({}){} * ({}){}", a[1:])
        if "hi" in words:
            big = "__int128" if kind.startswith("s") else "unsigned __int128"
            return self.write(kind, a[0], f"(({big}){self.read(kind, a[1])} * ({big}){self.read(kind, a[2])}) >> {bits(kind)}")
        return self.arithmetic(words, a, "{} * {}".format, "{} * {}".format, in_pairs=True)

    def wide(self, kind, target, form, factors, added=""):
        double = f"{kind[0]}{2 * bits(kind)}"
        c = C_TYPES[double]
        return self.write(double, target, form.format(c, self.read(kind, factors[0]), c, self.read(kind, factors[1])) + added)

    def do_mad(self, words, a):
        if "wide" in words:
            kind = words[-1]
            return self.wide(kind, a[0], "({}){} * ({}){}", a[1:3], f" + {self.read(f'{kind[0]}{2 * bits(kind)}', a[3])}")
        return self.arithmetic(words, a, self.fused(words[-1]), "{} * {} + {}".format)

    def do_fma(self, words, a):
        return self.arithmetic(words, a, self.fused(words[-1]), in_pairs=True)

    @staticmethod
    def fused(kind):
        return ("fma({}, {}, {})" if kind == "f64" else "fmaf({}, {}, {})").format

    def do_div(self, words, a):
        kind = words[-1]
        if kind in FLOATS:
            return self.write(kind, a[0], f"{self.read(kind, a[1])} / {self.read(kind, a[2])}")
        return self.write(kind, a[0], f"{self.read(kind, a[2])} ? {self.read(kind, a[1])} / {self.read(kind, a[2])} : -1")

    def do_rem(self, words, a):
        kind = words[-1]
        return self.write(kind, a[0], f"{self.read(kind, a[2])} ? {self.read(kind, a[1])} % {self.read(kind, a[2])} : {self.read(kind, a[1])}")

    def extreme(self, words, a, name, sign):
        kind = words[-1]
        if kind in FLOATS or kind in NARROW:
            nan = "({0} != {0} || {1} != {1}) ? NAN : " if "NaN" in words else ""
            return self.arithmetic(words, a, (nan + name + ("" if kind == "f64" else "f") + "({0}, {1})").format)
        x, y = self.read(kind, a[1]), self.read(kind, a[2])
        return self.write(kind, a[0], f"{x} {sign} {y} ? {x} : {y}")

    def do_min(self, words, a):
        return self.extreme(words, a, "fmin", "<")

    def do_max(self, words, a):
        return self.extreme(words, a, "fmax", ">")

    def do_abs(self, words, a):
        kind = words[-1]
        if kind in INTEGERS:
            return self.write(kind, a[0], f"{self.read(kind, a[1])} < 0 ? -{self.read(kind, a[1])} : {self.read(kind, a[1])}")
        return self.arithmetic(words, a, "fabs({})".format)

    def do_neg(self, words, a):
        return self.arithmetic(words, a, "-{}".format, "-{}".format)

    def bitwise(self, words, a, sign):
        kind = words[-1]
        read = self.flag if kind == "pred" else lambda x: self.read(kind, x)
        return self.write(kind, a[0], f"{read(a[1])} {sign} {read(a[2])}")

    def flag(self, operand):
        return operand if operand in ("0", "1", "-1") else self.read("pred", operand)

    def do_not(self, words, a):
        kind = words[-1]
        return self.write(kind, a[0], f"{'!' if kind == 'pred' else '~'}{self.read(kind, a[1])}")

    def do_shl(self, words, a):
        kind = words[-1]
        by = self.read("u32", a[2])
        return self.write(kind, a[0], f"{by} >= {bits(kind)} ? 0 : {self.read(f'u{bits(kind)}', a[1])} << {by}")

    def do_shr(self, words, a):
        kind = words[-1]
        by, x = self.read("u32", a[2]), self.read(kind, a[1])
        return self.write(kind, a[0], f"{by} >= {bits(kind)} ? {f'({x} < 0 ? -1 : 0)' if kind.startswith('s') else '0'} : {x} >> {by}")

    def do_prmt(self, words, a):
        return self.write("b32", a[0], f"permuted({', '.join(self.read('u32', x) for x in a[1:4])})")

    def do_bfe(self, words, a):
        if words[-1].startswith("s"):
            raise Unsupported("bfe of a signed number")
        return self.write(words[-1], a[0], f"extracted({self.read(words[-1], a[1])}, {self.read('u32', a[2])}, {self.read('u32', a[3])})")

    def do_bfi(self, words, a):
        inputs = [self.read("u64", a[1]), self.read("u64", a[2]), self.read("u32", a[3]), self.read("u32", a[4])]
        return self.write(words[-1], a[0], f"inserted({', '.join(inputs)})")

    def do_lop3(self, words, a):
        return self.write("b32", a[0], f"by_table({', '.join(self.read('u32', x) for x in a[1:4])}, {a[4]})")

    def do_shf(self, words, a):
        left, wraps = int(words[0] == "l"), int("wrap" in words)
        return self.write("b32", a[0], f"funnel({left}, {wraps}, {', '.join(self.read('u32', x) for x in a[1:4])})")

    def do_clz(self, words, a):
        width = bits(words[-1])
        x = self.read(f"u{width}", a[1])
        return self.write("u32", a[0], f"{x} ? __builtin_clz{'ll' if width == 64 else ''}({x}) : {width}")

    def do_popc(self, words, a):
        return self.write("u32", a[0], f"__builtin_popcountll({self.read('u' + words[-1][1:], a[1])})")

    def do_setp(self, words, a):
        found = self.compared(words[0], words[-1], self.any(words[-1], a[1]), self.any(words[-1], a[2]))
        for word, sign in BITWISE.items():
            if word in words:
                negated = "!" if a[3].startswith("!") else ""
                found = f"{found} {sign} ({negated}{self.flag(a[3].lstrip('!'))})"
        return self.write("pred", a[0], found)

    def any(self, kind, operand):
        return self.widened(kind, operand) if kind in NARROW else self.read(kind, operand)

    @staticmethod
    def compared(how, kind, x, y):
        floating, unordered = kind in FLOATS or kind in NARROW, f"({x} != {x} || {y} != {y})"
        if how in ("nan", "num"):
            return unordered if how == "nan" else f"!{unordered}"
        if floating and how == "ne":
            return f"({x} < {y} || {x} > {y})"
        if floating and how.endswith("u"):
            return f"({x} {COMPARE[how[:-1]]} {y} || {unordered})"
        return f"({x} {COMPARE[how]} {y})"

    def do_selp(self, words, a):
        kind = words[-1]
        return self.write(kind, a[0], f"{self.read('pred', a[3])} ? {self.read(kind, a[1])} : {self.read(kind, a[2])}")

    def do_cvt(self, words, a):
        to, source = words[-2:]
        value = self.any(source, a[1])
        rounding = next((c for word, c in (("rni", "rint"), ("rzi", "trunc"), ("rmi", "floor"), ("rpi", "ceil")) if word in words), None)
        if to in INTEGERS and (source in FLOATS or source in NARROW):
            return self.write(to, a[0], self.saturated(to, source, f"{rounding}({value})"))
        if "sat" in words and to in INTEGERS:
            raise Unsupported("cvt.sat of integers")
        if rounding:
            value = f"{rounding}({value})"
        if "sat" in words:
            value = f"fmin(fmax({value}, 0.0), 1.0)"
        return self.write("b16", a[0], f"to_{to}({value})") if to in NARROW else self.write(to, a[0], value)

    @staticmethod
    def saturated(to, source, value):
        """A whole number in a float as an integer: the nearest that there is; NaN has a value of its own."""
        width, signed = bits(to), to.startswith("s")
        low, above = (-(2 ** (width - 1)), 2 ** (width - 1)) if signed else (0, 2**width)
        nan = f"1ull << {width - 1}" if width == 64 or source == "f64" else "0"
        lowest, highest = (f"INT{width}_MIN", f"INT{width}_MAX") if signed else ("0", f"UINT{width}_MAX")
        return f"{value} != {value} ? {nan} : {value} < {low}.0 ? {lowest} : {value} >= {above}.0 ? {highest} : ({C_TYPES[to]}){value}"

    def function(self, words, a, form):
        if words[-1] not in FLOATS:
            raise Unsupported(" ".join(words))
        suffix = "f" if words[-1] == "f32" else ""
        return self.write(words[-1], a[0], form.format(x=self.read(words[-1], a[1]), f=suffix))

    def do_copysign(self, words, a):
        return self.arithmetic(words, [a[0], a[2], a[1]], "copysign({}, {})".format)

    def do_testp(self, words, a):
        test = {"infinite": "isinf", "finite": "isfinite", "notanumber": "isnan", "number": "!isnan"}[words[0]]
        return self.write("pred", a[0], f"{test}({self.read(words[-1], a[1])})")

    def do_atom(self, words, a):
        """Threads of a block run one at a time, blocks too: what is read and written here is not torn."""
        kind, place = words[-1], self.memory(a[1])
        if kind in NARROW or kind.endswith("x2"):
            raise Unsupported(" ".join(words))
        c, value = C_TYPES[kind], self.read(kind, a[2])
        new = {"add": f"old + {value}", "exch": value, "max": f"old > {value} ? old : {value}", "min": f"old < {value} ? old : {value}"}
        new |= {"or": f"old | {value}", "and": f"old & {value}"}
        if "cas" in words:
            new["cas"] = f"old == {value} ? {self.read(kind, a[3])} : old"
        how = next(word for word in words if word in new)
        return f"{c} old = *({c} *){place}; *({c} *){place} = {new[how]}; {self.write(kind, a[0], 'old')}"

    def do_red(self, words, a):
        return self.do_atom(words, ["_", *a])

    # Control

    def do_bra(self, words, a):
        return f"goto {self.symbol(a[0])};"

    def do_ret(self, words, a):
        return "return;"

    do_exit = do_ret

    def do_trap(self, words, a):
        return "abort();"

    def do_call(self, words, a):
        """Only a failed assertion calls anything."""
        if "__assertfail" not in " ".join(a):
            raise Unsupported(f"call {a}")
        return "assertion_failed(t);"

    def do_bar(self, words, a):
        self.waits = True
        if "warp" in words:
            return "wait_for_warp(t);"
        if a != ["0"]:
            raise Unsupported(f"barrier {a}")
        return "wait_for_block(t);"

    do_barrier = do_bar

    def do_shfl(self, words, a):
        self.waits = True
        inputs = ", ".join(self.read("u32", x) for x in a[1:5])
        target, _, inside = a[0].partition("|")
        told = self.write("pred", inside, "inside") if inside else ""
        return f"int inside; {self.write('b32', target, f'shuffled(t, {words[1][0]!r}, {inputs}, &inside)')} {told}"

    def do_membar(self, words, a):
        return ""

    do_fence = do_membar
