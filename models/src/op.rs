//! The operations a network is made of: their settings, the shapes they produce, the parameters they own.

use serde::Serialize;

/// Settings of a 2-D convolution (cross-correlation, as everywhere in this field). Pairs are `[height, width]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Zero padding on both sides.
    pub padding: [usize; 2],
    /// Dilation.
    pub dilation: [usize; 2],
    /// Groups; `in_channels` for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias `[out_channels]` is added.
    pub bias: bool,
}

impl Conv2d {
    /// A square convolution without bias, dilation or groups.
    pub fn square(in_channels: usize, out_channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// The same convolution in `groups` groups.
    #[must_use]
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Height and width of the output for an input of `size`, or `None` when the kernel does not fit.
    fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        window_output(size, self.kernel, self.stride, self.padding, self.dilation)
    }

    /// Shape of the weight: `[out_channels, in_channels / groups, kernel_h, kernel_w]`.
    pub fn weight_shape(&self) -> Vec<usize> {
        vec![self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }
}

/// Settings of a pooling window. Pairs are `[height, width]`; output sizes round down (PyTorch's `ceil_mode=False`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool2d {
    /// Window size.
    pub kernel: [usize; 2],
    /// Stride; smaller than the kernel when windows overlap.
    pub stride: [usize; 2],
    /// Padding on both sides: minus infinity for max, zeros that count for average (`count_include_pad=True`).
    pub padding: [usize; 2],
}

impl Pool2d {
    /// A square window.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    /// Height and width of the output for an input of `size`, or `None` when the window does not fit.
    fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        window_output(size, self.kernel, self.stride, self.padding, [1; 2])
    }
}

fn window_output(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> Option<[usize; 2]> {
    let axis = |i: usize| {
        let span = dilation[i].checked_mul(kernel[i].checked_sub(1)?)? + 1;
        let room = (size[i] + 2 * padding[i]).checked_sub(span)?;
        Some(room.checked_div(stride[i])? + 1)
    };
    Some([axis(0)?, axis(1)?])
}

/// One operation. Shapes below are per sample; a batch axis `N` comes first when a network runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Op {
    /// The network's input, `[C, H, W]`.
    Input {
        /// Shape of one sample.
        shape: Vec<usize>,
    },
    /// `[C, H, W] -> [C', H', W']`; parameters `weight` and, if set, `bias`.
    Conv2d(Conv2d),
    /// Batch normalisation over `N, H, W`; parameters `weight`, `bias`, buffers `running_mean`, `running_var`.
    BatchNorm2d {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
        /// Share of the new batch statistic in the running one (PyTorch's convention; 0.1 is usual).
        momentum: f64,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Sum of two inputs of equal shape.
    Add,
    /// Keeps every `stride`-th row and column, from the first: `x[:, ::stride, ::stride]` (option A shortcuts).
    Subsample {
        /// Step in both directions.
        stride: usize,
    },
    /// Adds channels of zeros before and after (option A shortcuts).
    PadChannels {
        /// Zero channels before.
        before: usize,
        /// Zero channels after.
        after: usize,
    },
    /// Maximum over a window.
    MaxPool2d(Pool2d),
    /// Mean over a window.
    AvgPool2d(Pool2d),
    /// Mean over height and width: `[C, H, W] -> [C]`.
    GlobalAvgPool,
    /// `[C, H, W] -> [C * H * W]`.
    Flatten,
    /// Zeroes each element with probability `p` in training and scales the rest by `1 / (1 - p)`; identity otherwise.
    Dropout {
        /// Probability of a zero.
        p: f64,
    },
    /// `[F] -> [F']`; parameters `weight [F', F]` and, if set, `bias [F']`.
    Linear {
        /// Features of the input.
        in_features: usize,
        /// Features of the output.
        out_features: usize,
        /// Whether a bias is added.
        bias: bool,
    },
}

/// What a parameter is for; decides initialisation, weight decay and whether it is trained at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Bias of a convolution or a linear layer.
    Bias,
    /// Scale of a norm.
    NormScale,
    /// Shift of a norm.
    NormShift,
    /// Running mean of a batch norm: a buffer, never trained.
    RunningMean,
    /// Running variance of a batch norm: a buffer, never trained.
    RunningVar,
}

impl Role {
    /// Whether an optimiser changes it (buffers follow the batches instead).
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// A named parameter or buffer of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Full name, torchvision's: `layer1.0.conv1.weight`.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

impl Op {
    /// The parameters and buffers this operation owns as `(suffix, shape, role)`, in PyTorch's order.
    pub fn params(&self) -> Vec<(&'static str, Vec<usize>, Role)> {
        match self {
            Self::Conv2d(conv) => {
                let mut params = vec![("weight", conv.weight_shape(), Role::Weight)];
                if conv.bias {
                    params.push(("bias", vec![conv.out_channels], Role::Bias));
                }
                params
            }
            Self::BatchNorm2d { channels, .. } => vec![
                ("weight", vec![*channels], Role::NormScale),
                ("bias", vec![*channels], Role::NormShift),
                ("running_mean", vec![*channels], Role::RunningMean),
                ("running_var", vec![*channels], Role::RunningVar),
            ],
            Self::Linear { in_features, out_features, bias } => {
                let mut params = vec![("weight", vec![*out_features, *in_features], Role::Weight)];
                if *bias {
                    params.push(("bias", vec![*out_features], Role::Bias));
                }
                params
            }
            _ => Vec::new(),
        }
    }

    /// Shape of one output sample from the shapes of the inputs, or what does not fit.
    pub(crate) fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let expected = match self {
            Self::Input { .. } => 0,
            Self::Add => 2,
            _ => 1,
        };
        if inputs.len() != expected {
            return Err(format!("takes {expected} inputs, was given {}", inputs.len()));
        }
        match self {
            Self::Input { shape } => match shape.as_slice() {
                [c, h, w] if c * h * w > 0 => Ok(shape.clone()),
                _ => Err(format!("an input is [C, H, W] without zeros, got {shape:?}")),
            },
            Self::Conv2d(conv) => conv_shape(conv, image(inputs[0])?),
            Self::BatchNorm2d { channels, .. } => {
                let [c, ..] = image(inputs[0])?;
                same_channels(*channels, c)?;
                Ok(inputs[0].to_vec())
            }
            Self::Relu | Self::Relu6 => Ok(inputs[0].to_vec()),
            Self::Dropout { p } if !(0.0..1.0).contains(p) => Err(format!("dropout probability {p} is not in [0, 1)")),
            Self::Dropout { .. } => Ok(inputs[0].to_vec()),
            Self::Add if inputs[0] != inputs[1] => Err(format!("cannot add {:?} and {:?}", inputs[0], inputs[1])),
            Self::Add => Ok(inputs[0].to_vec()),
            Self::Subsample { stride } => {
                let [c, h, w] = image(inputs[0])?;
                if *stride == 0 {
                    return Err("a stride of 0".to_owned());
                }
                Ok(vec![c, h.div_ceil(*stride), w.div_ceil(*stride)])
            }
            Self::PadChannels { before, after } => {
                let [c, h, w] = image(inputs[0])?;
                Ok(vec![c + before + after, h, w])
            }
            Self::MaxPool2d(pool) | Self::AvgPool2d(pool) => {
                let [c, h, w] = image(inputs[0])?;
                if (0..2).any(|i| 2 * pool.padding[i] > pool.kernel[i]) {
                    return Err(format!("pads {:?}, more than half of the window {:?}", pool.padding, pool.kernel));
                }
                let [oh, ow] = pool
                    .output_size([h, w])
                    .ok_or_else(|| format!("a {:?} window does not fit {h}x{w}", pool.kernel))?;
                Ok(vec![c, oh, ow])
            }
            Self::GlobalAvgPool => Ok(vec![image(inputs[0])?[0]]),
            Self::Flatten => Ok(vec![inputs[0].iter().product()]),
            Self::Linear { in_features, out_features, .. } => match inputs[0] {
                [f] if f == in_features => Ok(vec![*out_features]),
                other => Err(format!("expects [{in_features}], got {other:?}")),
            },
        }
    }

    /// Multiply-accumulates for one sample: convolutions and linear layers, as the field counts them.
    pub fn macs(&self, output: &[usize]) -> u64 {
        let positions: usize = output.iter().product();
        let per_output = match self {
            Self::Conv2d(conv) => conv.weight_shape()[1..].iter().product(),
            Self::Linear { in_features, .. } => *in_features,
            _ => 0,
        };
        (positions * per_output) as u64
    }
}

fn conv_shape(conv: &Conv2d, [c, h, w]: [usize; 3]) -> Result<Vec<usize>, String> {
    same_channels(conv.in_channels, c)?;
    let groups = conv.groups;
    if groups == 0 || !conv.in_channels.is_multiple_of(groups) || !conv.out_channels.is_multiple_of(groups) {
        return Err(format!("{groups} groups do not divide {} -> {} channels", conv.in_channels, conv.out_channels));
    }
    let [oh, ow] =
        conv.output_size([h, w]).ok_or_else(|| format!("a {:?} kernel does not fit {h}x{w}", conv.kernel))?;
    Ok(vec![conv.out_channels, oh, ow])
}

fn image(shape: &[usize]) -> Result<[usize; 3], String> {
    <[usize; 3]>::try_from(shape).map_err(|_| format!("expects [C, H, W], got {shape:?}"))
}

fn same_channels(expected: usize, got: usize) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("expects {expected} channels, got {got}"))
}
