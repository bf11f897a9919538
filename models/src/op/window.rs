//! A window that slides over an image: what convolutions and pools share. Pairs are `[height, width]`.

use super::bounded;

pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) dilation: [usize; 2],
}

impl Window {
    /// Height and width of the output for an input of `size`, rounded down; `None` when the window does not fit.
    pub(super) fn output_size(&self, size: [usize; 2]) -> Result<Option<[usize; 2]>, String> {
        let settings = [self.kernel, self.stride, self.padding, self.dilation];
        bounded("kernel, stride, padding and dilation", settings.as_flattened())?;
        if [self.kernel, self.stride, self.dilation].as_flattened().contains(&0) {
            let (kernel, stride, dilation) = (self.kernel, self.stride, self.dilation);
            return Err(format!("a kernel {kernel:?} with stride {stride:?} and dilation {dilation:?}: 0 is no size"));
        }
        let axis = |i: usize| {
            let span = self.dilation[i] * (self.kernel[i] - 1) + 1;
            let room = (size[i] + 2 * self.padding[i]).checked_sub(span)?;
            Some(room / self.stride[i] + 1)
        };
        Ok(axis(0).zip(axis(1)).map(|(h, w)| [h, w]))
    }
}
