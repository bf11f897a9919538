//! Records of steps: words, and where a step's name stands.

use super::step::{Convolution, Copy, Function, Step, Tail, Windowed};
use crate::arithmetic::Sum;
use crate::layer::{FloatFunction, i32_at};

/// Bytes of a record: a kind, its words, and where its name stands.
pub(super) const STEP: usize = 4 * WORDS;

const WORDS: usize = 32;

/// A number that stands for no tensor and for no constant.
const NONE: u32 = u32::MAX;

/// Words of a record, read or written in order.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn word(&mut self) -> u32 {
        self.at += 1;
        i32_at(self.bytes, self.at - 1) as u32
    }

    fn pair(&mut self) -> [u32; 2] {
        [self.word(), self.word()]
    }

    fn float(&mut self) -> f32 {
        f32::from_bits(self.word())
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        u8::try_from(self.word()).map_err(|_| "a byte beyond 255")
    }

    fn flag(&mut self) -> Result<bool, &'static str> {
        match self.word() {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag that is neither 0 nor 1"),
        }
    }

    fn maybe(&mut self) -> Option<u32> {
        Some(self.word()).filter(|word| *word != NONE)
    }

    fn function(&mut self) -> Result<Function, &'static str> {
        let (kind, low, high) = (self.word(), self.word(), self.word());
        let [a, b] = [low, high].map(f32::from_bits);
        let byte = |word: u32| u8::try_from(word).map_err(|_| "a byte beyond 255");
        Ok(match kind {
            0 => Function::Bytes { low: byte(low)?, high: byte(high)? },
            1 => Function::Floats(FloatFunction::Clamp { low: a, high: b }),
            2 => Function::Floats(FloatFunction::HardSwish),
            3 => Function::Floats(FloatFunction::HardSigmoid),
            4 => Function::Floats(FloatFunction::Sigmoid),
            5 => Function::Floats(FloatFunction::Silu),
            6 => Function::Floats(FloatFunction::LeakyRelu { slope: a }),
            7 => Function::Floats(FloatFunction::Gelu),
            8 => Function::Floats(FloatFunction::GeluTanh),
            _ => return Err("a function that this engine does not know"),
        })
    }
}

#[cfg(feature = "alloc")]
struct Recorder {
    bytes: [u8; STEP],
    at: usize,
}

#[cfg(feature = "alloc")]
impl Recorder {
    fn words(mut self, words: &[u32]) -> Self {
        for word in words {
            self.bytes[4 * self.at..][..4].copy_from_slice(&word.to_le_bytes());
            self.at += 1;
        }
        self
    }

    fn function(self, function: Function) -> Self {
        let [a, b] = match function {
            Function::Bytes { low, high } => [u32::from(low), u32::from(high)],
            Function::Floats(FloatFunction::Clamp { low, high }) => [low.to_bits(), high.to_bits()],
            Function::Floats(FloatFunction::LeakyRelu { slope }) => [slope.to_bits(), 0],
            Function::Floats(_) => [0, 0],
        };
        let kind = match function {
            Function::Bytes { .. } => 0,
            Function::Floats(FloatFunction::Clamp { .. }) => 1,
            Function::Floats(FloatFunction::HardSwish) => 2,
            Function::Floats(FloatFunction::HardSigmoid) => 3,
            Function::Floats(FloatFunction::Sigmoid) => 4,
            Function::Floats(FloatFunction::Silu) => 5,
            Function::Floats(FloatFunction::LeakyRelu { .. }) => 6,
            Function::Floats(FloatFunction::Gelu) => 7,
            Function::Floats(FloatFunction::GeluTanh) => 8,
        };
        self.words(&[kind, a, b])
    }
}

/// Where the name of a step stands among the names, and its length.
pub(super) fn name_of(bytes: &[u8]) -> [u32; 2] {
    [i32_at(bytes, WORDS - 2) as u32, i32_at(bytes, WORDS - 1) as u32]
}

impl Step {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let r = &mut Reader { bytes, at: 0 };
        Ok(match r.word() {
            0 => Self::Load { output: r.word() },
            1 => Self::Store { input: r.word() },
            2 => Self::Convolution(Convolution {
                input: r.word(),
                output: r.word(),
                groups: r.word(),
                kernel: r.pair(),
                stride: r.pair(),
                dilation: r.pair(),
                padding: r.pair(),
                weights: r.word(),
                bias: r.word(),
                multipliers: r.word(),
                tail: Tail {
                    residual: r.maybe(),
                    function: r.function()?,
                    zero: r.byte()?,
                    table: r.maybe(),
                    sum: Sum { first: r.float(), second: r.float(), offset: r.float() },
                    swapped: r.flag()?,
                    range: [r.byte()?, r.byte()?],
                },
            }),
            3 => Self::Add { inputs: r.pair(), output: r.word(), end: r.function()? },
            4 => Self::Multiply { inputs: r.pair(), output: r.word(), end: r.function()? },
            5 => Self::Apply { input: r.word(), output: r.word(), function: r.function()?, table: r.word() },
            6 => Self::Max(Windowed::read(r)?),
            7 => Self::Mean(Windowed::read(r)?),
            8 => Self::Quantize { input: r.word(), output: r.word() },
            9 => Self::Dequantize { input: r.word(), output: r.word() },
            10 => Self::Copy(Copy {
                input: r.word(),
                output: r.word(),
                channels: r.word(),
                from: r.pair(),
                to: r.pair(),
                stride: r.pair(),
                at: r.pair(),
                fill: r.flag()?,
                table: r.maybe(),
            }),
            11 => {
                Self::Normalise { input: r.word(), output: r.word(), weights: r.word(), bias: r.word(), eps: r.float() }
            }
            12 => Self::Softmax { input: r.word(), output: r.word() },
            13 => Self::ApplyEach { input: r.word(), output: r.word(), constants: r.word() },
            14 => Self::Reshape { input: r.word(), output: r.word() },
            _ => return Err("a kind of step that this engine does not know"),
        })
    }

    /// A record; `name` is where the step's name stands among the names, and its length.
    #[cfg(feature = "alloc")]
    pub(super) fn write(&self, name: [u32; 2]) -> [u8; STEP] {
        let w = Recorder { bytes: [0; STEP], at: 0 };
        let none = |number: Option<u32>| number.unwrap_or(NONE);
        let done = match *self {
            Self::Load { output } => w.words(&[0, output]),
            Self::Store { input } => w.words(&[1, input]),
            Self::Convolution(Convolution {
                input,
                output,
                groups,
                kernel: [kh, kw],
                stride: [sh, sw],
                dilation: [dh, dw],
                padding: [top, left],
                weights,
                bias,
                multipliers,
                tail: Tail { residual, function, zero, table, sum, swapped, range },
            }) => w
                .words(&[2, input, output, groups, kh, kw, sh, sw, dh, dw, top, left, weights, bias, multipliers])
                .words(&[none(residual)])
                .function(function)
                .words(&[zero.into(), none(table), sum.first.to_bits(), sum.second.to_bits(), sum.offset.to_bits()])
                .words(&[swapped.into(), range[0].into(), range[1].into()]),
            Self::Add { inputs: [a, b], output, end } => w.words(&[3, a, b, output]).function(end),
            Self::Multiply { inputs: [a, b], output, end } => w.words(&[4, a, b, output]).function(end),
            Self::Apply { input, output, function, table } => {
                w.words(&[5, input, output]).function(function).words(&[table])
            }
            Self::Max(windowed) => windowed.write(w.words(&[6])),
            Self::Mean(windowed) => windowed.write(w.words(&[7])),
            Self::Quantize { input, output } => w.words(&[8, input, output]),
            Self::Dequantize { input, output } => w.words(&[9, input, output]),
            Self::Copy(Copy { input, output, channels, from, to, stride, at, fill, table }) => w
                .words(&[10, input, output, channels])
                .words(&[from, to, stride, at].concat())
                .words(&[fill.into(), none(table)]),
            Self::Normalise { input, output, weights, bias, eps } => {
                w.words(&[11, input, output, weights, bias, eps.to_bits()])
            }
            Self::Softmax { input, output } => w.words(&[12, input, output]),
            Self::ApplyEach { input, output, constants } => w.words(&[13, input, output, constants]),
            Self::Reshape { input, output } => w.words(&[14, input, output]),
        };
        let mut bytes = done.bytes;
        bytes[STEP - 8..STEP - 4].copy_from_slice(&name[0].to_le_bytes());
        bytes[STEP - 4..].copy_from_slice(&name[1].to_le_bytes());
        bytes
    }
}

impl Windowed {
    fn read(r: &mut Reader<'_>) -> Result<Self, &'static str> {
        Ok(Self {
            input: r.word(),
            output: r.word(),
            kernel: r.pair(),
            stride: r.pair(),
            padding: r.pair(),
            padding_end: r.pair(),
            count_padding: r.flag()?,
            end: r.function()?,
        })
    }

    #[cfg(feature = "alloc")]
    fn write(&self, w: Recorder) -> Recorder {
        let pairs = [self.kernel, self.stride, self.padding, self.padding_end].concat();
        w.words(&[self.input, self.output]).words(&pairs).words(&[self.count_padding.into()]).function(self.end)
    }
}
