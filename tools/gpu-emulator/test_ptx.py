"""Runs the translator's instructions: each row is translated, compiled by the C compiler and executed.

    python3 test_ptx.py          needs a C compiler ($CC, or cc), nothing else

A row is (instruction, type of the result, operands, expected): an operand is a (type, value), or a text that stands in the
instruction as it is. What is expected follows the PTX ISA, not the translator. `nan` is any NaN.
"""

import ctypes
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import emit  # noqa: E402
from parse import ISA, Module, Unsupported  # noqa: E402

NAN, INF = math.nan, math.inf
B16, B32, B64, F32, F64, PRED, BF16, F16 = "b16", "b32", "b64", "f32", "f64", "pred", "bf16", "f16"


def b16(x):
    return (B16, x)


def b32(x):
    return (B32, x)


def b64(x):
    return (B64, x)


def f32(x):
    return (F32, x)


def f64(x):
    return (F64, x)


def pred(x):
    return (PRED, x)


ROWS = [
    # Whole numbers wrap.
    ("add.u32", B32, [b32(0xFFFFFFFF), b32(1)], 0),
    ("add.s32", B32, [b32(-5), b32(3)], -2),
    ("add.s64", B64, [b64(-1), b64(1 << 40)], (1 << 40) - 1),
    ("add.u16", B16, [b16(0xFFFF), b16(2)], 1),
    ("add.s32", B32, [b32(7), "-9"], -2),
    ("sub.u32", B32, [b32(0), b32(1)], 0xFFFFFFFF),
    ("sub.s64", B64, [b64(3), b64(5)], -2),
    ("mul.lo.s32", B32, [b32(-3), b32(7)], -21),
    ("mul.lo.u32", B32, [b32(0x10001), b32(0x10001)], 0x20001),
    ("mul.lo.u64", B64, [b64(1 << 33), b64(1 << 33)], 0),
    ("mul.hi.u32", B32, [b32(0xFFFFFFFF), b32(0xFFFFFFFF)], 0xFFFFFFFE),
    ("mul.hi.s32", B32, [b32(-2), b32(3)], -1),
    ("mul.hi.s32", B32, [b32(-1), b32(-1)], 0),
    ("mul.hi.u64", B64, [b64(1 << 63), b64(6)], 3),
    ("mul.wide.u32", B64, [b32(0xFFFFFFFF), b32(2)], 0x1FFFFFFFE),
    ("mul.wide.s32", B64, [b32(-1), b32(2)], -2),
    ("mul.wide.u16", B32, [b16(0xFFFF), b16(0xFFFF)], 0xFFFE0001),
    ("mul.wide.s16", B32, [b16(-2), b16(3)], -6),
    ("mad.lo.s32", B32, [b32(3), b32(-4), b32(5)], -7),
    ("mad.wide.u32", B64, [b32(0xFFFFFFFF), b32(2), b64(1 << 40)], (1 << 40) + 0x1FFFFFFFE),
    ("mad.wide.s32", B64, [b32(-3), b32(2), b64(1)], -5),
    ("div.s32", B32, [b32(-7), b32(2)], -3),
    ("div.u32", B32, [b32(7), b32(2)], 3),
    ("div.u64", B64, [b64(1 << 40), b64(3)], (1 << 40) // 3),
    ("rem.s32", B32, [b32(-7), b32(2)], -1),
    ("rem.u32", B32, [b32(7), b32(4)], 3),
    ("min.s32", B32, [b32(-1), b32(1)], -1),
    ("min.u32", B32, [b32(-1), b32(1)], 1),
    ("max.s32", B32, [b32(-1), b32(1)], 1),
    ("max.u64", B64, [b64(-1), b64(1)], -1),
    ("abs.s32", B32, [b32(-5)], 5),
    ("neg.s32", B32, [b32(5)], -5),
    ("neg.s32", B32, [b32(-(1 << 31))], -(1 << 31)),
    # Bits.
    ("and.b32", B32, [b32(0b1100), b32(0b1010)], 0b1000),
    ("or.b64", B64, [b64(1 << 40), b64(1)], (1 << 40) | 1),
    ("xor.b32", B32, [b32(0b1100), b32(0b1010)], 0b0110),
    ("not.b32", B32, [b32(0x0000FFFF)], 0xFFFF0000),
    ("not.b64", B64, [b64(0)], -1),
    ("and.pred", PRED, [pred(1), pred(0)], 0),
    ("or.pred", PRED, [pred(1), pred(0)], 1),
    ("xor.pred", PRED, [pred(1), pred(1)], 0),
    ("not.pred", PRED, [pred(0)], 1),
    ("shl.b32", B32, [b32(1), b32(31)], 1 << 31),
    ("shl.b32", B32, [b32(1), b32(32)], 0),
    ("shl.b64", B64, [b64(3), b32(40)], 3 << 40),
    ("shr.u32", B32, [b32(-1), b32(28)], 0xF),
    ("shr.u32", B32, [b32(-1), b32(33)], 0),
    ("shr.s32", B32, [b32(-8), b32(1)], -4),
    ("shr.s32", B32, [b32(-8), b32(40)], -1),
    ("shr.u64", B64, [b64(-1), b32(60)], 0xF),
    ("prmt.b32", B32, [b32(0x03020100), b32(0x07060504), "0x7531"], 0x07050301),
    ("prmt.b32", B32, [b32(0x80), b32(0), "0x0008"], 0x808080FF),
    ("bfe.u32", B32, [b32(0xABCD1234), b32(8), b32(8)], 0x12),
    ("bfe.u32", B32, [b32(0xABCD1234), b32(8), b32(0)], 0),
    ("bfe.u32", B32, [b32(0xABCD1234), b32(40), b32(8)], 0),
    ("bfe.u64", B64, [b64(0xAB << 40), b32(40), b32(8)], 0xAB),
    ("bfi.b32", B32, [b32(0xFF), b32(0x12345678), b32(8), b32(8)], 0x1234FF78),
    ("bfi.b32", B32, [b32(0x5), b32(0), b32(30), b32(8)], 0x40000000),
    ("lop3.b32", B32, [b32(0xF0F0F0F0), b32(0xCCCCCCCC), b32(0xAAAAAAAA), "0x96"], 0xF0F0F0F0 ^ 0xCCCCCCCC ^ 0xAAAAAAAA),
    ("lop3.b32", B32, [b32(0xF0F0F0F0), b32(0xCCCCCCCC), b32(0xAAAAAAAA), "0xea"], 0xF0F0F0F0 & 0xCCCCCCCC | 0xAAAAAAAA),
    ("shf.l.wrap.b32", B32, [b32(1 << 31), b32(1), b32(1)], 3),
    ("shf.l.wrap.b32", B32, [b32(1 << 31), b32(1), b32(33)], 3),
    ("shf.r.wrap.b32", B32, [b32(1 << 31), b32(1), b32(1)], 0xC0000000),
    ("shf.r.clamp.b32", B32, [b32(1 << 31), b32(1), b32(40)], 1),
    ("clz.b32", B32, [b32(1)], 31),
    ("clz.b32", B32, [b32(0)], 32),
    ("clz.b64", B32, [b64(1)], 63),
    ("popc.b32", B32, [b32(0xF0F0)], 8),
    ("popc.b64", B32, [b64(-1)], 64),
    # Comparisons and choices.
    ("setp.eq.s32", PRED, [b32(4), b32(4)], 1),
    ("setp.ne.s32", PRED, [b32(4), b32(4)], 0),
    ("setp.lt.s32", PRED, [b32(-1), b32(0)], 1),
    ("setp.lt.u32", PRED, [b32(-1), b32(0)], 0),
    ("setp.ge.s64", PRED, [b64(-1), b64(-1)], 1),
    ("setp.lo.u32", PRED, [b32(1), b32(2)], 1),
    ("setp.ls.u32", PRED, [b32(2), b32(2)], 1),
    ("setp.hi.u32", PRED, [b32(2), b32(2)], 0),
    ("setp.hs.u32", PRED, [b32(-1), b32(2)], 1),
    ("setp.lt.f32", PRED, [f32(NAN), f32(1.0)], 0),
    ("setp.ltu.f32", PRED, [f32(NAN), f32(1.0)], 1),
    ("setp.ne.f32", PRED, [f32(NAN), f32(1.0)], 0),
    ("setp.neu.f32", PRED, [f32(NAN), f32(1.0)], 1),
    ("setp.equ.f32", PRED, [f32(2.0), f32(1.0)], 0),
    ("setp.num.f32", PRED, [f32(2.0), f32(NAN)], 0),
    ("setp.nan.f32", PRED, [f32(2.0), f32(NAN)], 1),
    ("setp.gt.f64", PRED, [f64(1e300), f64(-1e300)], 1),
    ("setp.eq.f32", PRED, [f32(0.0), f32(-0.0)], 1),
    ("setp.lt.bf16", PRED, [(BF16, 0xBF80), (BF16, 0x3F80)], 1),
    ("setp.lt.and.s32", PRED, [b32(-1), b32(0), pred(0)], 0),
    ("setp.lt.or.s32", PRED, [b32(1), b32(0), pred(1)], 1),
    ("selp.b32", B32, [b32(7), b32(9), pred(1)], 7),
    ("selp.f32", F32, [f32(7.0), f32(9.0), pred(0)], 9.0),
    ("testp.infinite.f32", PRED, [f32(-INF)], 1),
    ("testp.finite.f32", PRED, [f32(NAN)], 0),
    ("testp.number.f64", PRED, [f64(-INF)], 1),
    ("testp.notanumber.f32", PRED, [f32(NAN)], 1),
    # Conversions.
    ("mov.b32", B32, [b32(0x89ABCDEF)], 0x89ABCDEF),
    ("mov.f32", F32, ["0f3FC00000"], 1.5),
    ("mov.f64", F64, ["0dBFF8000000000000"], -1.5),
    ("cvt.s32.s8", B32, [b16(0xFF)], -1),
    ("cvt.u32.u8", B32, [b16(0x1FF)], 0xFF),
    ("cvt.u64.u32", B64, [b32(-1)], 0xFFFFFFFF),
    ("cvt.s64.s32", B64, [b32(-1)], -1),
    ("cvt.u16.u32", B16, [b32(0x12345)], 0x2345),
    ("cvt.rzi.s32.f32", B32, [f32(-2.7)], -2),
    ("cvt.rzi.s32.f32", B32, [f32(NAN)], 0),
    ("cvt.rzi.s32.f32", B32, [f32(3e9)], (1 << 31) - 1),
    ("cvt.rzi.s32.f32", B32, [f32(-3e9)], -(1 << 31)),
    ("cvt.rzi.u32.f32", B32, [f32(-1.0)], 0),
    ("cvt.rzi.s64.f64", B64, [f64(-1e15)], -(10**15)),
    ("cvt.rni.s32.f32", B32, [f32(2.5)], 2),
    ("cvt.rmi.s32.f32", B32, [f32(-2.5)], -3),
    ("cvt.rpi.s32.f32", B32, [f32(2.1)], 3),
    ("cvt.rn.f32.s32", F32, [b32(16777217)], 16777216.0),
    ("cvt.rn.f32.u32", F32, [b32(-1)], 4294967296.0),
    ("cvt.rn.f64.s64", F64, [b64(-3)], -3.0),
    ("cvt.f64.f32", F64, [f32(0.5)], 0.5),
    ("cvt.rn.f32.f64", F32, [f64(1 + 2.0**-24)], 1.0),
    ("cvt.rn.bf16.f32", BF16, [f32(1 + 2.0**-8)], 0x3F80),
    ("cvt.rn.bf16.f32", BF16, [f32(1 + 3 * 2.0**-8)], 0x3F82),
    ("cvt.f32.bf16", F32, [(BF16, 0x3FC0)], 1.5),
    ("cvt.rn.f16.f32", F16, [f32(65520.0)], 0x7C00),
    ("cvt.f32.f16", F32, [(F16, 0x3C01)], 1 + 2.0**-10),
    ("cvt.rni.f32.f32", F32, [f32(-0.5)], -0.0),
    ("cvt.rzi.f32.f32", F32, [f32(-1.5)], -1.0),
    ("cvt.sat.f32.f32", F32, [f32(1.5)], 1.0),
    ("cvt.sat.f32.f32", F32, [f32(NAN)], 0.0),
    # Floats.
    ("add.rn.f32", F32, [f32(1.0), f32(1.5 * 2.0**-24)], 1 + 2.0**-23),
    ("add.rz.f32", F32, [f32(1.0), f32(1.5 * 2.0**-24)], 1.0),
    ("add.f64", F64, [f64(0.1), f64(0.2)], 0.1 + 0.2),
    ("sub.f32", F32, [f32(1.0), f32(INF)], -INF),
    ("mul.rn.f32", F32, [f32(-3.0), f32(0.5)], -1.5),
    ("fma.rn.f32", F32, [f32(1 + 2.0**-12), f32(1 + 2.0**-12), f32(-1 - 2.0**-11)], 2.0**-24),
    ("mad.rn.f32", F32, [f32(1 + 2.0**-12), f32(1 + 2.0**-12), f32(-1 - 2.0**-11)], 2.0**-24),
    ("fma.rn.f64", F64, [f64(1 + 2.0**-30), f64(1 + 2.0**-30), f64(-1 - 2.0**-29)], 2.0**-60),
    ("div.rn.f32", F32, [f32(1.0), f32(-0.0)], -INF),
    ("div.full.f32", F32, [f32(3.0), f32(4.0)], 0.75),
    ("rcp.rn.f64", F64, [f64(3.0)], 1 / 3),
    ("sqrt.rn.f32", F32, [f32(2.25)], 1.5),
    ("sqrt.rn.f64", F64, [f64(2.0)], math.sqrt(2.0)),
    ("rsqrt.approx.f32", F32, [f32(4.0)], 0.5),
    ("ex2.approx.f32", F32, [f32(-3.0)], 0.125),
    ("lg2.approx.f32", F32, [f32(8.0)], 3.0),
    ("sin.approx.f32", F32, [f32(0.0)], 0.0),
    ("cos.approx.f32", F32, [f32(0.0)], 1.0),
    ("tanh.approx.f32", F32, [f32(40.0)], 1.0),
    ("abs.f32", F32, [f32(-0.0)], 0.0),
    ("neg.f32", F32, [f32(0.0)], -0.0),
    ("min.f32", F32, [f32(NAN), f32(1.0)], 1.0),
    ("max.f32", F32, [f32(-2.0), f32(NAN)], -2.0),
    ("max.NaN.f32", F32, [f32(-2.0), f32(NAN)], NAN),
    ("max.f64", F64, [f64(-2.0), f64(3.0)], 3.0),
    ("copysign.f32", F32, [f32(-1.0), f32(3.0)], -3.0),
    ("add.rn.bf16", BF16, [(BF16, 0x3F80), (BF16, 0x3F80)], 0x4000),
    ("fma.rn.bf16", BF16, [(BF16, 0x4000), (BF16, 0x4040), (BF16, 0xBF80)], 0x40A0),
    ("max.bf16", BF16, [(BF16, 0xBF80), (BF16, 0x3F80)], 0x3F80),
    ("neg.bf16", BF16, [(BF16, 0x3F80)], 0xBF80),
    ("mul.f16", F16, [(F16, 0x3C00), (F16, 0x4200)], 0x4200),
    ("add.rn.bf16x2", B32, [b32(0x3F804000), b32(0x3F803F80)], 0x40004040),
    ("fma.rn.bf16x2", B32, [b32(0x40003F80), b32(0x40404000), b32(0xBF800000)], 0x40A04000),
    # The lanes of a warp: the driver is called with the operands in this order (see `shuffled` below).
    ("shfl.sync.down.b32", B32, [b32(100), b32(1), b32(31), b32(7)], 100 + 1 * 1000 + 31 * 10 + 7 + ord("d") * 100000),
]

# What takes several statements: name, statements from %at (a pointer to 64-bit words), words before, words after.
PROGRAMS = [
    ("a loop", """
        ld.global.u32 %r1, [%at]; mov.u32 %r2, 0;
        $again: add.u32 %r2, %r2, %r1; add.s32 %r1, %r1, -1; setp.ne.s32 %p1, %r1, 0; @%p1 bra $again;
        st.global.u32 [%at+8], %r2;""", [4, 0], [4, 10]),
    ("guards", """
        ld.global.u64 %rd1, [%at]; setp.gt.s64 %p1, %rd1, 5;
        @%p1 mov.u64 %rd2, 1; @!%p1 mov.u64 %rd2, 2; st.global.u64 [%at+8], %rd2;""", [6, 0], [6, 1]),
    ("vectors", """
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%at]; st.global.v2.u32 [%at+16], {%r4, %r1};""", [1 | 2 << 32, 3 | 4 << 32, 0],
     [1 | 2 << 32, 3 | 4 << 32, 4 | 1 << 32]),
    ("packed and taken apart", """
        ld.global.u64 %rd1, [%at]; mov.b64 {%r1, %r2}, %rd1; mov.b64 %rd2, {%r2, %r1}; st.global.u64 [%at+8], %rd2;""",
     [1 | 2 << 32, 0], [1 | 2 << 32, 2 | 1 << 32]),
    ("atomics tell what was there", """
        atom.global.add.u32 %r1, [%at], 5; atom.global.max.s32 %r2, [%at], 100; atom.global.cas.b32 %r3, [%at], 100, 7;
        atom.global.exch.b32 %r4, [%at], 9; red.global.min.u32 [%at], 3;
        st.global.u32 [%at+8], %r1; st.global.u32 [%at+12], %r2; st.global.u32 [%at+16], %r3; st.global.u32 [%at+20], %r4;""",
     [10, 0, 0], [3, 10 | 15 << 32, 100 | 7 << 32]),
    ("shared memory", """
        .shared .align 4 .b8 words[16]; mov.u64 %rd1, words; st.shared.u32 [words+4], 77; ld.shared.u32 %r1, [%rd1+4];
        st.global.u32 [%at], %r1;""", [0], [77]),
    ("local memory", """
        .local .align 8 .b8 own[16]; mov.u64 %rd1, own; cvta.local.u64 %rd2, %rd1; st.u32 [%rd2+8], 5; ld.local.u32 %r1, [%rd1+8];
        st.global.u32 [%at], %r1;""", [0], [5]),
    ("where a thread is", """
        mov.u32 %r1, %tid.x; mov.u32 %r2, %ntid.y; mov.u32 %r3, %ctaid.z; mov.u32 %r4, %laneid;
        st.global.v4.u32 [%at], {%r1, %r2, %r3, %r4};""", [0, 0], [1 | 5 << 32, 9 | 13 << 32]),
    ("a barrier", "bar.sync 0; st.global.u32 [%at], 1;", [0], [1]),
]

# Statements that must be refused, not guessed.
REFUSED = [
    "add.sat.s32 %r1, %r2, %r3;", "bfe.s32 %r1, %r2, %r3, %r4;", "wmma.load.a.sync.aligned.row.m16n16k16.f16 {%r1}, [%at];",
    "add.s32 %r1, %r2;", "mov.u32 %r1, %clock;", "call.uni (retval0), other, (param0);", "bar.sync 1;",
    "cvt.sat.u8.s32 %r1, %r2;", "atom.global.add.noftz.f16 %r1, [%at], %r2;", "add.rz.f64 %rd1, %rd2, %rd3;",
]

VERSION = ".".join(map(str, ISA))
SIZES = {B16: 2, BF16: 2, F16: 2, B32: 4, F32: 4, B64: 8, F64: 8}
REGISTER = {BF16: B16, F16: B16}
STUBS = """
#include "thread.h"
void wait_for_block(struct Thread *t) {}
void wait_for_warp(struct Thread *t) {}
uint32_t shuffled(struct Thread *t, char kind, uint32_t value, uint32_t b, uint32_t c, uint32_t members, int *inside) {
    *inside = 1;
    return value + 1000 * b + 10 * c + members + 100000 * kind;
}
void misaligned(const void *place, int bytes) { abort(); }
void assertion_failed(struct Thread *t) { abort(); }
"""


class Thread(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32 * 3) for name in ("tid", "ntid", "ctaid", "nctaid")]
    _fields_ += [("shared", ctypes.c_char_p), ("lane", ctypes.c_uint32), ("warp", ctypes.c_uint32)]


def module(body, version=VERSION):
    registers = ".reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .b64 %at;"
    load = "ld.param.u64 %at, [row_param_0];"
    return f".version {version}\n.target sm_80\n.visible .entry row(.param .u64 row_param_0)\n{{ {registers} {load} {body} ret; }}\n"


def row_body(instruction, result, operands):
    """Operand i is the 64-bit word i + 1, the result is word 0."""
    lines, names = [], []
    for at, operand in enumerate(operands):
        if isinstance(operand, str):
            names.append(operand)
            continue
        kind = operand[0]
        name = f"%in{at}"
        names.append(name)
        lines.append(f".reg .{REGISTER.get(kind, kind)} {name};")
        if kind == PRED:
            lines.append(f".reg .b32 %w{at}; ld.global.u32 %w{at}, [%at+{8 * at + 8}]; setp.ne.u32 {name}, %w{at}, 0;")
        else:
            lines.append(f"ld.global.{REGISTER.get(kind, kind)} {name}, [%at+{8 * at + 8}];")
    lines.append(f".reg .{REGISTER.get(result, result)} %out;")
    lines.append(f"{instruction} %out, {', '.join(names)};")
    if result == PRED:
        lines.append(".reg .b32 %told; selp.u32 %told, 1, 0, %out; st.global.u32 [%at], %told;")
    else:
        lines.append(f"st.global.{REGISTER.get(result, result)} [%at], %out;")
    return " ".join(lines)


def packed(kind, value):
    """A value as a 64-bit word."""
    if kind == F32:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    if kind == F64:
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    return value & (1 << 8 * SIZES.get(kind, 4)) - 1


def is_nan(kind, word):
    if kind not in (F32, F64):
        return False
    pattern = ("<I", "<f") if kind == F32 else ("<Q", "<d")
    return math.isnan(struct.unpack(pattern[1], struct.pack(pattern[0], word))[0])


def compiled(bodies, folder):
    """All kernels in one library, kernel i called row_i."""
    parts = [STUBS]
    for at, body in enumerate(bodies):
        text = emit.Kernel(Module(module(body)), "row").c()
        parts += [f"#define {name} {name}_{at}" for name in ("kernel_thread", "shared_bytes", "waits")]
        parts += [text, "#undef kernel_thread", "#undef shared_bytes", "#undef waits"]
    source, library = folder / "rows.c", folder / "rows.so"
    source.write_text("\n".join(parts))
    flags = ["-O1", "-w", "-fno-strict-aliasing", "-fwrapv", "-fPIC", "-shared", "-I", str(HERE)]
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", str(library), str(source), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def run(library, at, words):
    """The words after the kernel has run."""
    memory = (ctypes.c_uint64 * len(words))(*[word & (1 << 64) - 1 for word in words])
    shared = ctypes.create_string_buffer(256)
    thread = Thread((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12), ctypes.addressof(shared), 13, 14)
    place = ctypes.c_uint64(ctypes.addressof(memory))
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(place))
    getattr(library, f"kernel_thread_{at}")(ctypes.byref(thread), parameters)
    return list(memory)


def refused(what):
    try:
        what()
    except Unsupported:
        return True
    return False


def main():
    failed = []
    bodies = [row_body(*row[:3]) for row in ROWS] + [program[1] for program in PROGRAMS]
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(bodies, pathlib.Path(folder))
        for at, (instruction, result, operands, expected) in enumerate(ROWS):
            words = [0xAAAAAAAAAAAAAAAA] + [0 if isinstance(x, str) else packed(*x) for x in operands]
            mask = (1 << 8 * SIZES.get(result, 4)) - 1
            got, wanted = run(library, at, words)[0] & mask, packed(result, expected)
            if got != wanted and not (is_nan(result, got) and is_nan(result, wanted)):
                failed.append(f"{instruction} {operands}: {got:#x}, expected {wanted:#x}")
        for at, (name, _, before, after) in enumerate(PROGRAMS, len(ROWS)):
            got = run(library, at, before)
            if got != [word & (1 << 64) - 1 for word in after]:
                failed.append(f"{name}: {list(map(hex, got))}, expected {list(map(hex, after))}")
    for statement in REFUSED:
        if not refused(lambda: emit.Kernel(Module(module(statement)), "row").c()):
            failed.append(f"{statement} is not refused")
    newer = f"{ISA[0]}.{ISA[1] + 1}"
    if not refused(lambda: Module(module("", newer))) or not refused(lambda: Module(module("").replace(".version", ".versio"))):
        failed.append("a module of a newer or of no PTX ISA is not refused")
    print("\n".join(failed) or f"{len(ROWS)} instructions, {len(PROGRAMS)} programs, {len(REFUSED) + 2} refusals")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
