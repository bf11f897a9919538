//! What a plan does, step by step.

use super::Model;
use crate::arithmetic::Sum;
use crate::layer::{FloatFunction, Shape};
use crate::simple::Window;

/// One thing that a plan does. Tensors are numbers of the plan's; constants are offsets into its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// The image becomes a tensor: transposed to channels last, quantised where the tensor holds bytes.
    Load {
        /// The tensor.
        output: u32,
    },
    /// A tensor of one pixel becomes the logits, dequantised where it holds bytes.
    Store {
        /// The tensor.
        input: u32,
    },
    /// A convolution or linear layer, of bytes or floats as its input is. One of bytes makes bytes or floats.
    Convolution(Convolution),
    /// A sum, then `end`. Sizes of the second operand are those of the first, or 1.
    Add {
        /// First and second operand.
        inputs: [u32; 2],
        /// Their sum.
        output: u32,
        /// What becomes of it.
        end: Function,
    },
    /// A product, then `end`. Sizes of the second operand are those of the first, or 1.
    Multiply {
        /// First and second operand.
        inputs: [u32; 2],
        /// Their product.
        output: u32,
        /// What becomes of it.
        end: Function,
    },
    /// A function of each element: a table of 256 for bytes.
    Apply {
        /// Its input.
        input: u32,
        /// Its output.
        output: u32,
        /// The function.
        function: Function,
        /// Where the table of bytes stands; without meaning for floats.
        table: u32,
    },
    /// Maxima of windows.
    Max(Windowed),
    /// Means of windows, then `end`, for bytes.
    Mean(Windowed),
    /// Floats as bytes.
    Quantize {
        /// Floats.
        input: u32,
        /// Bytes.
        output: u32,
    },
    /// Bytes as floats.
    Dequantize {
        /// Bytes.
        input: u32,
        /// Floats.
        output: u32,
    },
    /// Elements from one tensor to places of another.
    Copy(Copy),
    /// A layer norm over the channels of each pixel, of floats.
    Normalise {
        /// Its input.
        input: u32,
        /// Its output.
        output: u32,
        /// Offset of what each channel is multiplied by, `f32 [channels]`.
        weights: u32,
        /// Offset of what is added to each, `f32 [channels]`.
        bias: u32,
        /// Added to the variance.
        eps: f32,
    },
    /// The channels of each pixel as shares of a whole, of floats.
    Softmax {
        /// Its input.
        input: u32,
        /// Its output.
        output: u32,
    },
    /// A function for each channel: of bytes a table, of floats a slope below 0.
    ApplyEach {
        /// Its input.
        input: u32,
        /// Its output.
        output: u32,
        /// Offset of tables, `u8 [channels][256]`, or of slopes, `f32 [channels]`.
        constants: u32,
    },
    /// The same elements in another size, both counted channel by channel, row by row.
    Reshape {
        /// Its input.
        input: u32,
        /// Its output.
        output: u32,
    },
}

/// What happens to values at the end of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Bytes are kept within these.
    Bytes {
        /// Least byte.
        low: u8,
        /// Largest byte.
        high: u8,
    },
    /// A function of floats.
    Floats(FloatFunction),
}

/// A convolution or linear layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    /// The image it reads; groups divide its channels.
    pub input: u32,
    /// What it makes; groups divide its channels.
    pub output: u32,
    /// Groups.
    pub groups: u32,
    /// Height and width of the kernel.
    pub kernel: [u32; 2],
    /// Vertical and horizontal stride.
    pub stride: [u32; 2],
    /// Vertical and horizontal distance of taps.
    pub dilation: [u32; 2],
    /// Rows above and columns left of the image where the first window begins.
    pub padding: [u32; 2],
    /// Offset of weights, `[channels][rows][columns][inputs]`.
    pub weights: u32,
    /// Offset of biases, `i32` or `f32 [channels]`.
    pub bias: u32,
    /// Offset of multipliers of a layer of bytes, `f32 [channels]`: of `arithmetic::requantize`, or of `arithmetic::scaled`
    /// where it makes floats.
    pub multipliers: u32,
    /// What becomes of sums.
    pub tail: Tail,
}

/// What becomes of the sums of a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// Another tensor that is added, as large as the output; none where bytes make floats.
    pub residual: Option<u32>,
    /// Of floats: applied last. Of bytes: applied to the requantised sum, before anything else.
    pub function: Function,
    /// Of bytes: zero point of the requantised sum.
    pub zero: u8,
    /// Of bytes: offset of a table of 256, applied before the residual.
    pub table: Option<u32>,
    /// Of bytes: the constants of the residual addition.
    pub sum: Sum,
    /// Of bytes: whether the residual is the sum's first operand.
    pub swapped: bool,
    /// Of bytes: the least and the largest sum.
    pub range: [u8; 2],
}

/// Windows that are moved over an image, channel by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windowed {
    /// The image.
    pub input: u32,
    /// A value for each window.
    pub output: u32,
    /// Height and width of the window.
    pub kernel: [u32; 2],
    /// Its steps.
    pub stride: [u32; 2],
    /// Rows above and columns left of the image where the first window begins.
    pub padding: [u32; 2],
    /// Rows below and columns right of it that a mean counts.
    pub padding_end: [u32; 2],
    /// Whether a mean counts padding.
    pub count_padding: bool,
    /// What becomes of means.
    pub end: Function,
}

/// `output[y + at[0]][x + at[1]][to + i * to_step] = input[y * stride[0]][x * stride[1]][from + i * from_step]` for every
/// pixel of the input that lies in the output and every `i` below `channels`. Several may make one tensor together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Copy {
    /// From here.
    pub input: u32,
    /// To here.
    pub output: u32,
    /// How many channels.
    pub channels: u32,
    /// First channel of the input, and steps.
    pub from: [u32; 2],
    /// First channel of the output, and steps.
    pub to: [u32; 2],
    /// Steps in the input.
    pub stride: [u32; 2],
    /// Where in the output its pixel `0, 0` goes.
    pub at: [u32; 2],
    /// Whether the whole output becomes its zero first.
    pub fill: bool,
    /// Of bytes: offset of a table of 256 that bytes go through.
    pub table: Option<u32>,
}

impl Step {
    /// The tensors it reads.
    pub fn inputs(&self) -> impl Iterator<Item = u32> {
        let [a, b] = match *self {
            Self::Load { .. } => [None, None],
            Self::Convolution(Convolution { input, tail: Tail { residual, .. }, .. }) => [Some(input), residual],
            Self::Add { inputs: [a, b], .. } | Self::Multiply { inputs: [a, b], .. } => [Some(a), Some(b)],
            Self::Max(Windowed { input, .. }) | Self::Mean(Windowed { input, .. }) => [Some(input), None],
            Self::Store { input } | Self::Apply { input, .. } => [Some(input), None],
            Self::Quantize { input, .. } | Self::Dequantize { input, .. } => [Some(input), None],
            Self::Copy(Copy { input, .. }) | Self::Normalise { input, .. } => [Some(input), None],
            Self::Softmax { input, .. } | Self::ApplyEach { input, .. } => [Some(input), None],
            Self::Reshape { input, .. } => [Some(input), None],
        };
        a.into_iter().chain(b)
    }

    /// The tensor it writes; the last step writes none.
    pub fn output(&self) -> Option<u32> {
        match *self {
            Self::Store { .. } => None,
            Self::Convolution(Convolution { output, .. }) | Self::Copy(Copy { output, .. }) => Some(output),
            Self::Max(Windowed { output, .. }) | Self::Mean(Windowed { output, .. }) => Some(output),
            Self::Load { output }
            | Self::Add { output, .. }
            | Self::Multiply { output, .. }
            | Self::Apply { output, .. }
            | Self::Quantize { output, .. }
            | Self::Dequantize { output, .. }
            | Self::Normalise { output, .. }
            | Self::Softmax { output, .. }
            | Self::ApplyEach { output, .. }
            | Self::Reshape { output, .. } => Some(output),
        }
    }

    /// What it is, in a word.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Store { .. } => "store",
            Self::Convolution(_) => "convolution",
            Self::Add { .. } => "add",
            Self::Multiply { .. } => "multiply",
            Self::Apply { .. } => "function",
            Self::Max(_) => "max-pool",
            Self::Mean(_) => "avg-pool",
            Self::Quantize { .. } => "quantize",
            Self::Dequantize { .. } => "dequantize",
            Self::Copy(_) => "copy",
            Self::Normalise { .. } => "layer-norm",
            Self::Softmax { .. } => "softmax",
            Self::ApplyEach { .. } => "function-each",
            Self::Reshape { .. } => "reshape",
        }
    }

    /// Multiply-accumulates of a convolution or linear layer.
    pub fn macs(&self, model: &Model<'_>) -> u64 {
        let Self::Convolution(convolution) = self else { return 0 };
        let output = model.tensor(convolution.output);
        (output.elements() as u64).saturating_mul(convolution.shape(model).depth() as u64)
    }
}

impl Convolution {
    /// Its geometry.
    pub(crate) fn shape(&self, model: &Model<'_>) -> Shape {
        let (input, output) = (model.tensor(self.input), model.tensor(self.output));
        let (two, groups) = (|pair: [u32; 2]| pair.map(|n| n as usize), self.groups.max(1));
        Shape {
            groups: groups as usize,
            inputs: (input.size[2] / groups) as usize,
            outputs: (output.size[2] / groups) as usize,
            kernel: two(self.kernel),
            stride: two(self.stride),
            dilation: two(self.dilation),
            size: [output.size[0] as usize, output.size[1] as usize],
        }
    }
}

impl Windowed {
    /// The window as the levels have it.
    pub(crate) fn window(&self, model: &Model<'_>) -> Window {
        let [height, width, _] = model.tensor(self.input).size;
        let two = |pair: [u32; 2]| pair.map(|n| n as usize);
        Window {
            kernel: two(self.kernel),
            stride: two(self.stride),
            padding: two(self.padding),
            padding_end: two(self.padding_end),
            input: two([height, width]),
            count_padding: self.count_padding,
        }
    }
}
