//! Pooling over a window: maximum and mean.

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Operation, ParamSpec, image};

/// Settings of a pooling window. Pairs are `[height, width]`. What a file does not say is as PyTorch has it by default,
/// and is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool2d {
    /// Window size.
    pub kernel: [usize; 2],
    /// Stride; smaller than the kernel when windows overlap.
    pub stride: [usize; 2],
    /// Padding before the image, above and to the left: minus infinity for a maximum, zeros for a mean.
    pub padding: [usize; 2],
    /// Padding behind it, below and to the right; `None`: as much as before. PyTorch has no other, and takes at most half
    /// of the window; ONNX has both, and where both are given, as here, all but one row of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding_end: Option<[usize; 2]>,
    /// Whether output sizes round up: a last window may reach beyond the padding, but does not begin there.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub ceil_mode: bool,
    /// Of a mean: whether what it divides by counts the padding that its window covers (never what `ceil_mode` adds
    /// beyond that). Nothing to a maximum.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub count_include_pad: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_true(flag: &bool) -> bool {
    *flag
}

impl Pool2d {
    /// A window with as much padding behind the image as before it, of which means count all; sizes round down.
    pub fn new(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        Self { kernel, stride, padding, padding_end: None, ceil_mode: false, count_include_pad: true }
    }

    /// A square window.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self::new([kernel; 2], [stride; 2], [padding; 2])
    }

    /// Padding behind the image.
    pub fn padding_end(&self) -> [usize; 2] {
        self.padding_end.unwrap_or(self.padding)
    }

    fn window(&self) -> Window {
        let (kernel, stride, padding, ceil_mode) = (self.kernel, self.stride, self.padding, self.ceil_mode);
        Window { kernel, stride, padding, padding_end: self.padding_end(), dilation: [1; 2], ceil_mode }
    }

    /// Each window must see some of the image.
    fn check_padding(&self) -> Result<(), String> {
        let Self { kernel, padding, padding_end, .. } = self;
        let Some(end) = padding_end else {
            if (0..2).any(|i| 2 * padding[i] > kernel[i]) {
                return Err(format!("pads {padding:?}, more than half of the window {kernel:?}"));
            }
            return Ok(());
        };
        if (0..2).any(|i| padding[i].max(end[i]) >= kernel[i]) {
            return Err(format!("pads {padding:?} and {end:?}, a window {kernel:?} or more"));
        }
        Ok(())
    }
}

/// Both kinds of pooling have these settings and this shape rule; which one it is says the variant of `Op`.
impl Operation for Pool2d {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [c, h, w] = image(inputs[0])?;
        let size = self.window().output_size([h, w])?;
        self.check_padding()?;
        let [oh, ow] = size.ok_or_else(|| format!("a {:?} window does not fit {h}x{w}", self.kernel))?;
        Ok(vec![c, oh, ow])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self::square(3, 2, 1), vec![vec![4, 7, 8]])
    }
}
