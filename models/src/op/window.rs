//! A window that slides over an image: what convolutions and pools share. Pairs are `[height, width]`.

use super::bounded;

pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Before the image.
    pub(super) padding: [usize; 2],
    /// Behind it.
    pub(super) padding_end: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Whether sizes round up.
    pub(super) ceil_mode: bool,
}

impl Window {
    /// Height and width of the output for an input of `size`; `None` when the window does not fit.
    pub(super) fn output_size(&self, size: [usize; 2]) -> Result<Option<[usize; 2]>, String> {
        let settings = [self.kernel, self.stride, self.padding, self.padding_end, self.dilation];
        bounded("kernel, stride, padding and dilation", settings.as_flattened())?;
        if [self.kernel, self.stride, self.dilation].as_flattened().contains(&0) {
            let (kernel, stride, dilation) = (self.kernel, self.stride, self.dilation);
            return Err(format!("a kernel {kernel:?} with stride {stride:?} and dilation {dilation:?}: 0 is no size"));
        }
        let axis = |i: usize| {
            let span = self.dilation[i] * (self.kernel[i] - 1) + 1;
            let beyond = if self.ceil_mode { self.stride[i] - 1 } else { 0 };
            let last = (size[i] + self.padding[i] + self.padding_end[i] + beyond).checked_sub(span)? / self.stride[i];
            // As PyTorch: a window that would begin beyond the image is dropped.
            let dropped = self.ceil_mode && last * self.stride[i] >= size[i] + self.padding[i];
            Some(if dropped { last } else { last + 1 })
        };
        Ok(axis(0).zip(axis(1)).map(|(h, w)| [h, w]))
    }
}
