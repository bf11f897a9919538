//! The operations that a network is made of, one file each: settings, shape rule, parameters and how they begin, cost.
//!
//! `operations!` is the only list. Rooms that walk over operations (executor, ONNX writer, checks) match on [`Op`]
//! without a catch-all, so that a new one does not compile before each of them has an answer; [`Op::examples`] lets
//! tests ask what the compiler cannot.

mod activation;
mod add;
mod batch_norm2d;
mod channel_shuffle;
mod concat;
mod conv2d;
mod dropout;
mod flatten;
mod global_avg_pool;
mod input;
mod layer_norm2d;
mod linear;
mod mul;
mod pad2d;
mod pad_channels;
mod param;
mod pool2d;
mod prelu;
mod quantize;
mod reshape;
mod scale;
mod slice_channels;
mod softmax;
mod stochastic_depth;
mod subsample;
#[cfg(test)]
mod tests;
mod window;

use serde::{Deserialize, Serialize};

pub use activation::{Activation, Slope};
pub use add::Add;
pub use batch_norm2d::BatchNorm2d;
pub use channel_shuffle::ChannelShuffle;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_avg_pool::GlobalAvgPool;
pub use input::Input;
pub use layer_norm2d::LayerNorm2d;
pub use linear::Linear;
pub use mul::Mul;
pub use pad_channels::PadChannels;
pub use pad2d::Pad2d;
pub use param::{Init, Param, ParamSpec, Role};
pub use pool2d::Pool2d;
pub use prelu::PRelu;
pub use quantize::{Dequantize, Quantize};
pub use reshape::Reshape;
pub use scale::Scale;
pub use slice_channels::SliceChannels;
pub use softmax::Softmax;
pub use stochastic_depth::StochasticDepth;
pub use subsample::Subsample;

/// What every operation says about itself. Shapes are per sample; a batch axis `N` comes first when a network runs.
trait Operation: Sized {
    /// How many values it reads.
    fn inputs(&self) -> usize;

    /// Shape of one output sample from the shapes of the inputs, of which there are [`inputs`](Self::inputs), or what
    /// does not fit. Settings may come from a file that somebody else wrote: they are checked here.
    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String>;

    /// Parameters and buffers, in PyTorch's order.
    fn params(&self) -> Vec<ParamSpec>;

    /// Multiply-accumulates for one sample of shape `output`: convolutions and linear layers, as the field counts.
    fn macs(&self, output: &[usize]) -> u64;

    /// One with settings that are not all alike, and shapes of inputs that fit it, for tests of every room.
    fn example() -> (Self, Vec<Vec<usize>>);
}

/// Declares [`Op`] and what goes through all of its variants.
macro_rules! operations {
    ($($(#[$doc:meta])* $kind:literal $variant:ident($settings:ident),)*) => {
        /// One operation with its settings. In files it is an object whose `kind` says which.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Op {
            $($(#[$doc])* #[serde(rename = $kind)] $variant($settings),)*
        }

        impl Op {
            /// The word for it in files, the same whatever the settings.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// How many values it reads.
            pub fn inputs(&self) -> usize {
                match self {
                    $(Self::$variant(op) => op.inputs(),)*
                }
            }

            /// The parameters and buffers it owns, in PyTorch's order.
            pub fn params(&self) -> Vec<ParamSpec> {
                match self {
                    $(Self::$variant(op) => op.params(),)*
                }
            }

            /// Multiply-accumulates for one sample: convolutions and linear layers, as the field counts them.
            pub fn macs(&self, output: &[usize]) -> u64 {
                match self {
                    $(Self::$variant(op) => op.macs(output),)*
                }
            }

            /// One of each kind with shapes of inputs that fit it: what tests of other rooms walk over.
            pub fn examples() -> Vec<(Self, Vec<Vec<usize>>)> {
                vec![$({
                    let (op, inputs) = <$settings as Operation>::example();
                    (Self::$variant(op), inputs)
                },)*]
            }

            fn shape_of_inputs(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
                match self {
                    $(Self::$variant(op) => op.output_shape(inputs),)*
                }
            }
        }
    };
}

operations! {
    /// The network's input, `[C, H, W]`.
    "input" Input(Input),
    /// `[C, H, W] -> [C', H', W']`; parameters `weight` and, if set, `bias`.
    "conv2d" Conv2d(Conv2d),
    /// Batch normalisation over `N, H, W`; parameters `weight`, `bias`, buffers `running_mean`, `running_var`.
    "batch-norm2d" BatchNorm2d(BatchNorm2d),
    /// A function of one element.
    "activation" Activation(Activation),
    /// Normalisation over channels at each position; parameters `weight`, `bias`.
    "layer-norm2d" LayerNorm2d(LayerNorm2d),
    /// A factor and perhaps a shift a channel; parameters `weight` and, if set, `bias`.
    "scale" Scale(Scale),
    /// A ReLU with a slope below 0; parameter `weight`.
    "prelu" PRelu(PRelu),
    /// Sum of two inputs, the second of the first's shape or 1 along some axes.
    "add" Add(Add),
    /// Product of two inputs, the second of the first's shape or 1 along some axes.
    "mul" Mul(Mul),
    /// Keeps every `stride`-th row and column, from the first: `x[:, ::stride, ::stride]`.
    "subsample" Subsample(Subsample),
    /// Adds channels of zeros before and after.
    "pad-channels" PadChannels(PadChannels),
    /// Maximum over a window.
    "max-pool2d" MaxPool2d(Pool2d),
    /// Mean over a window.
    "avg-pool2d" AvgPool2d(Pool2d),
    /// Mean over height and width: `[C, H, W] -> [C]`.
    "global-avg-pool" GlobalAvgPool(GlobalAvgPool),
    /// `[C, H, W] -> [C * H * W]`.
    "flatten" Flatten(Flatten),
    /// Zeroes elements at random in training; identity otherwise.
    "dropout" Dropout(Dropout),
    /// Zeroes whole samples at random in training; identity otherwise.
    "stochastic-depth" StochasticDepth(StochasticDepth),
    /// `[F] -> [F']`; parameters `weight [F', F]` and, if set, `bias [F']`.
    "linear" Linear(Linear),
    /// Channels of several inputs behind each other.
    "concat" Concat(Concat),
    /// A run of channels, or of features.
    "slice-channels" SliceChannels(SliceChannels),
    /// Channels as `[groups, C / groups]`, transposed.
    "channel-shuffle" ChannelShuffle(ChannelShuffle),
    /// Zeros around an image.
    "pad2d" Pad2d(Pad2d),
    /// The same elements in another shape, `[C, H, W]` or `[F]`.
    "reshape" Reshape(Reshape),
    /// Shares of a whole, over channels or features.
    "softmax" Softmax(Softmax),
    /// Values as whole numbers of 8 bits; buffers `scale`, `zero_point`.
    "quantize" Quantize(Quantize),
    /// The values that such numbers stand for; buffers `scale`, `zero_point`.
    "dequantize" Dequantize(Dequantize),
}

impl Op {
    /// Shape of one output sample from the shapes of the inputs, or what does not fit.
    pub(crate) fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let expected = self.inputs();
        if inputs.len() != expected {
            return Err(format!("takes {expected} inputs, was given {}", inputs.len()));
        }
        let shape = self.shape_of_inputs(inputs)?;
        countable("value", &shape)?;
        for param in self.params() {
            countable(param.suffix, &param.shape)?;
        }
        Ok(shape)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Largest single size: channels, features, edges, kernels, strides.
const MOST_SIZE: usize = 1 << 24;

/// Most elements of one value or parameter.
const MOST_ELEMENTS: usize = 1 << 40;

/// Refuses settings so large that computing with them could overflow.
fn bounded(what: &str, sizes: &[usize]) -> Result<(), String> {
    match sizes.iter().find(|size| **size > MOST_SIZE) {
        Some(size) => Err(format!("{what}: {size} is beyond {MOST_SIZE}")),
        None => Ok(()),
    }
}

/// Refuses shapes whose elements cannot be counted.
fn countable(what: &str, shape: &[usize]) -> Result<(), String> {
    let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    match elements {
        Some(elements) if elements <= MOST_ELEMENTS => Ok(()),
        _ => Err(format!("a {what} of shape {shape:?} has more than 2^40 elements")),
    }
}

fn image(shape: &[usize]) -> Result<[usize; 3], String> {
    <[usize; 3]>::try_from(shape).map_err(|_| format!("expects [C, H, W], got {shape:?}"))
}

/// Channels of `[C, H, W]`, features of `[F]`.
fn channels(shape: &[usize]) -> Result<usize, String> {
    match *shape {
        [count] | [count, _, _] if !shape.contains(&0) => Ok(count),
        _ => Err(format!("expects [C, H, W] or [F] without zeros, got {shape:?}")),
    }
}

fn same_channels(expected: usize, got: usize) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("expects {expected} channels, got {got}"))
}

/// Channels of an image `[C, H, W]`, features of a row `[F]`.
fn channels_of(shape: &[usize]) -> Result<usize, String> {
    match *shape {
        [channels] | [channels, _, _] => Ok(channels),
        _ => Err(format!("expects [C, H, W] or [F], got {shape:?}")),
    }
}
