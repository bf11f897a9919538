//! Pooling over a window: maximum and mean.

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Operation, ParamSpec, image};

/// Settings of a pooling window. Pairs are `[height, width]`; output sizes round down (PyTorch's `ceil_mode=False`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

    fn window(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, padding: self.padding, dilation: [1; 2] }
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
        if (0..2).any(|i| 2 * self.padding[i] > self.kernel[i]) {
            return Err(format!("pads {:?}, more than half of the window {:?}", self.padding, self.kernel));
        }
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
