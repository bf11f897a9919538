//! Shapes of the kernels' operands: plain numbers, checked once, with the lengths of every slice.

use crate::error::{Result, ShapeError};

/// Shapes of a 2-D convolution: `x [N, H, W, C]`, `weight [O, C / groups, kh, kw]`, `y [N, out_h, out_w, O]`.
/// Pairs are `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Samples, `N`.
    pub batch: usize,
    /// Channels of the input, `C`.
    pub in_channels: usize,
    /// Height of the input.
    pub in_h: usize,
    /// Width of the input.
    pub in_w: usize,
    /// Channels of the output, `O`.
    pub out_channels: usize,
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Zero padding on both sides.
    pub padding: [usize; 2],
    /// Dilation.
    pub dilation: [usize; 2],
    /// Groups; equal to `in_channels` and `out_channels` for a depthwise convolution.
    pub groups: usize,
}

impl ConvShape {
    /// The same shape, once it is known to make sense: no zeros, groups divide both channel counts, the kernel fits.
    ///
    /// # Errors
    /// [`ShapeError`] says which number is wrong.
    pub fn checked(self) -> Result<Self> {
        not_zero("batch", self.batch)?;
        not_zero("in_channels", self.in_channels)?;
        not_zero("out_channels", self.out_channels)?;
        not_zero("groups", self.groups)?;
        let Self { in_channels, out_channels, groups, .. } = self;
        if !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            return Err(ShapeError::Groups { groups, in_channels, out_channels });
        }
        let out_h = window_output("height", self.in_h, self.axis(0))?;
        let out_w = window_output("width", self.in_w, self.axis(1))?;
        let [kh, kw] = self.kernel;
        countable("a convolution's input", &[self.batch, in_channels, self.in_h, self.in_w])?;
        countable("a convolution's output", &[self.batch, out_channels, out_h, out_w])?;
        countable("a convolution's weight", &[out_channels, in_channels / groups, kh, kw])?;
        countable("a convolution's unfolded image", &[in_channels / groups, kh, kw, out_h, out_w])?;
        Ok(self)
    }

    /// Height of the output.
    #[must_use]
    pub fn out_h(&self) -> usize {
        outputs(self.in_h, self.axis(0))
    }

    /// Width of the output.
    #[must_use]
    pub fn out_w(&self) -> usize {
        outputs(self.in_w, self.axis(1))
    }

    /// Length of the input, `N * C * H * W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.in_h * self.in_w
    }

    /// Length of the output, `N * O * out_h * out_w`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out_positions()
    }

    /// Length of the weight, `O * C / groups * kh * kw`.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.patch()
    }

    /// Multiply-accumulates of one direction.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.output_len() as u64 * self.patch() as u64
    }

    /// Whether every channel is convolved alone into one output channel.
    #[must_use]
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }

    pub(crate) fn out_positions(&self) -> usize {
        self.out_h() * self.out_w()
    }

    /// Input channels of one group.
    pub(crate) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Values that one output sums over: `C / groups * kh * kw`.
    pub(crate) fn patch(&self) -> usize {
        self.group_in() * self.kernel[0] * self.kernel[1]
    }

    fn axis(&self, i: usize) -> Axis {
        let (kernel, stride, padding, dilation) = (self.kernel[i], self.stride[i], self.padding[i], self.dilation[i]);
        Axis { kernel, stride, padding, padding_end: padding, dilation, ceil_mode: false }
    }

    /// The check at the entry of every convolution.
    pub(crate) fn assert_valid(&self) {
        assert_eq!(self.checked().err(), None, "convolution of {self:?}");
    }
}

/// Shapes of a pooling over windows: `x [N, H, W, C]`, `y [N, out_h, out_w, C]`. Pairs are `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolShape {
    /// Samples, `N`.
    pub batch: usize,
    /// Channels, `C`.
    pub channels: usize,
    /// Height of the input.
    pub in_h: usize,
    /// Width of the input.
    pub in_w: usize,
    /// Window size.
    pub kernel: [usize; 2],
    /// Stride; smaller than the kernel when windows overlap.
    pub stride: [usize; 2],
    /// Padding before the image, less than the kernel.
    pub padding: [usize; 2],
    /// Padding behind the image, less than the kernel.
    pub padding_end: [usize; 2],
    /// Whether output sizes round up: a last window may reach beyond the padding, but begins before the image ends.
    pub ceil_mode: bool,
    /// Whether means count padding (never what lies beyond it).
    pub count_include_pad: bool,
}

impl PoolShape {
    /// The same shape, once it is known to make sense: no zeros, the window fits and always covers some input.
    ///
    /// # Errors
    /// [`ShapeError`] says which number is wrong.
    pub fn checked(self) -> Result<Self> {
        not_zero("batch", self.batch)?;
        not_zero("channels", self.channels)?;
        let out_h = window_output("height", self.in_h, self.axis(0))?;
        let out_w = window_output("width", self.in_w, self.axis(1))?;
        for (i, &kernel) in self.kernel.iter().enumerate() {
            let padding = self.padding[i].max(self.padding_end[i]);
            if padding >= kernel {
                return Err(ShapeError::PoolPadding { padding, kernel });
            }
        }
        countable("a pooling's input", &[self.batch, self.channels, self.in_h, self.in_w])?;
        countable("a pooling's output", &[self.batch, self.channels, out_h, out_w])?;
        if u32::try_from(self.in_h * self.in_w).is_err() {
            return Err(ShapeError::TooLarge { what: "a pooled image" });
        }
        Ok(self)
    }

    /// Height of the output.
    #[must_use]
    pub fn out_h(&self) -> usize {
        outputs(self.in_h, self.axis(0))
    }

    /// Width of the output.
    #[must_use]
    pub fn out_w(&self) -> usize {
        outputs(self.in_w, self.axis(1))
    }

    /// Length of the input, `N * C * H * W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.in_h * self.in_w
    }

    /// Length of the output, `N * C * out_h * out_w`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.channels * self.out_h() * self.out_w()
    }

    fn axis(&self, i: usize) -> Axis {
        let (kernel, stride) = (self.kernel[i], self.stride[i]);
        let (padding, padding_end, ceil_mode) = (self.padding[i], self.padding_end[i], self.ceil_mode);
        Axis { kernel, stride, padding, padding_end, dilation: 1, ceil_mode }
    }

    /// The check at the entry of every pooling.
    pub(crate) fn assert_valid(&self) {
        assert_eq!(self.checked().err(), None, "pooling of {self:?}");
    }
}

/// Shapes of zeros around an image: `x [N, H, W, C]`, `y [N, out_h, out_w, C]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadShape {
    /// Samples, `N`.
    pub batch: usize,
    /// Channels, `C`.
    pub channels: usize,
    /// Height of the input.
    pub in_h: usize,
    /// Width of the input.
    pub in_w: usize,
    /// Rows of zeros above.
    pub top: usize,
    /// Columns of zeros before.
    pub left: usize,
    /// Rows of zeros below.
    pub bottom: usize,
    /// Columns of zeros behind.
    pub right: usize,
}

impl PadShape {
    /// The same shape, once it is known to make sense: no zeros among the extents.
    ///
    /// # Errors
    /// [`ShapeError`] says which number is wrong.
    pub fn checked(self) -> Result<Self> {
        let sizes = [("batch", self.batch), ("channels", self.channels), ("height", self.in_h), ("width", self.in_w)];
        sizes.into_iter().try_for_each(|(what, size)| not_zero(what, size))?;
        let padded = |size: usize, a: usize, b: usize| size.checked_add(a).and_then(|size| size.checked_add(b));
        let too_large = ShapeError::TooLarge { what: "a padded axis" };
        let sides = padded(self.in_h, self.top, self.bottom).zip(padded(self.in_w, self.left, self.right));
        let (out_h, out_w) = sides.ok_or(too_large)?;
        countable("a padded image", &[self.batch, self.channels, out_h, out_w])?;
        Ok(self)
    }

    /// Height of the output.
    #[must_use]
    pub fn out_h(&self) -> usize {
        self.top + self.in_h + self.bottom
    }

    /// Width of the output.
    #[must_use]
    pub fn out_w(&self) -> usize {
        self.left + self.in_w + self.right
    }

    /// Length of the input, `N * C * H * W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.in_h * self.in_w
    }

    /// Length of the output, `N * C * out_h * out_w`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.channels * self.out_h() * self.out_w()
    }

    /// The check at the entry of every padding.
    pub(crate) fn assert_valid(&self) {
        assert_eq!(self.checked().err(), None, "padding of {self:?}");
    }
}

/// Shape of what is reduced per channel: `[N, positions, C]`, with `positions = H * W` (1 for a vector).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormShape {
    /// Samples, `N`.
    pub batch: usize,
    /// Channels, `C`.
    pub channels: usize,
    /// Values of one channel of one sample, `H * W`.
    pub positions: usize,
}

impl NormShape {
    /// The same shape, once it is known to make sense: no zeros.
    ///
    /// # Errors
    /// [`ShapeError`] says which number is wrong.
    pub fn checked(self) -> Result<Self> {
        not_zero("batch", self.batch)?;
        not_zero("channels", self.channels)?;
        not_zero("positions", self.positions)?;
        countable("a normalised tensor", &[self.batch, self.channels, self.positions])?;
        Ok(self)
    }

    /// Length of the tensor.
    // A shape without elements does not exist, so there is no `is_empty`.
    #[allow(clippy::len_without_is_empty)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.positions
    }

    /// Values that one channel's statistics are made of: `N * positions`.
    #[must_use]
    pub fn values_per_channel(&self) -> usize {
        self.batch * self.positions
    }

    /// The check at the entry of every norm.
    pub(crate) fn assert_valid(&self) {
        assert_eq!(self.checked().err(), None, "per-channel kernel on {self:?}");
    }
}

/// Shapes of a linear layer: `x [N, F]`, `weight [O, F]`, `y [N, O]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearShape {
    /// Samples, `N`.
    pub batch: usize,
    /// Features of the input, `F`.
    pub in_features: usize,
    /// Features of the output, `O`.
    pub out_features: usize,
}

impl LinearShape {
    /// The same shape, once it is known to make sense: no zeros.
    ///
    /// # Errors
    /// [`ShapeError`] says which number is wrong.
    pub fn checked(self) -> Result<Self> {
        not_zero("batch", self.batch)?;
        not_zero("in_features", self.in_features)?;
        not_zero("out_features", self.out_features)?;
        countable("a linear layer's input", &[self.batch, self.in_features])?;
        countable("a linear layer's output", &[self.batch, self.out_features])?;
        countable("a linear layer's weight", &[self.out_features, self.in_features])?;
        Ok(self)
    }

    /// The check at the entry of every linear kernel.
    pub(crate) fn assert_valid(&self) {
        assert_eq!(self.checked().err(), None, "linear layer of {self:?}");
    }
}

/// One direction of a window.
#[derive(Clone, Copy)]
struct Axis {
    kernel: usize,
    stride: usize,
    padding: usize,
    padding_end: usize,
    dilation: usize,
    ceil_mode: bool,
}

impl Axis {
    /// How far a window may reach beyond the padding.
    fn beyond(self) -> usize {
        if self.ceil_mode { self.stride - 1 } else { 0 }
    }
}

/// Number of windows along an axis of a checked shape.
fn outputs(size: usize, axis: Axis) -> usize {
    let room = size + axis.padding + axis.padding_end + axis.beyond() - axis.dilation * (axis.kernel - 1) - 1;
    let last = room / axis.stride;
    // As PyTorch: a window that would begin beyond the image is dropped.
    if axis.ceil_mode && last * axis.stride >= size + axis.padding { last } else { last + 1 }
}

fn window_output(name: &'static str, size: usize, axis: Axis) -> Result<usize> {
    not_zero(name, size)?;
    not_zero("kernel", axis.kernel)?;
    not_zero("stride", axis.stride)?;
    not_zero("dilation", axis.dilation)?;
    let too_large = ShapeError::TooLarge { what: "a padded axis" };
    let reach = axis.dilation.checked_mul(axis.kernel - 1).and_then(|reach| reach.checked_add(1));
    let sides = axis.padding.checked_add(axis.padding_end).and_then(|both| both.checked_add(axis.beyond()));
    let room = sides.and_then(|sides| sides.checked_add(size));
    let (Some(span), Some(room)) = (reach, room) else { return Err(too_large) };
    if span > room {
        return Err(ShapeError::Window { axis: name, span, size, padding: axis.padding });
    }
    Ok(outputs(size, axis))
}

fn not_zero(what: &'static str, value: usize) -> Result<()> {
    if value == 0 { Err(ShapeError::Zero { what }) } else { Ok(()) }
}

/// Refuses what would not fit an allocation: `isize::MAX` bytes of `f32`.
fn countable(what: &'static str, extents: &[usize]) -> Result<()> {
    let elements = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    match elements {
        Some(count) if count <= isize::MAX as usize / size_of::<f32>() => Ok(()),
        _ => Err(ShapeError::TooLarge { what }),
    }
}
