//! 2-D convolution: dense, grouped, depthwise.

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Init, Operation, ParamSpec, Role, bounded, image, same_channels};

/// Settings of a 2-D convolution (cross-correlation, as everywhere in this field): `[C, H, W] -> [C', H', W']`.
/// Parameters `weight [C', C / groups, kernel_h, kernel_w]` and, if set, `bias [C']`, buffer `weight_scale [C']`. Pairs are `[height, width]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Whether the weight is quantised: whole numbers from -128 to 127, carried as floats, times the buffer
    /// `weight_scale [out_channels]`.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub quantized: bool,
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
            quantized: false,
        }
    }

    /// The same convolution in `groups` groups.
    #[must_use]
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The same convolution with a bias.
    #[must_use]
    pub fn with_bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Shape of the weight: `[out_channels, in_channels / groups, kernel_h, kernel_w]`.
    pub fn weight_shape(&self) -> Vec<usize> {
        vec![self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }

    fn window(&self) -> Window {
        let Self { kernel, stride, padding, dilation, .. } = *self;
        Window { kernel, stride, padding, padding_end: padding, dilation, ceil_mode: false }
    }
}

impl Operation for Conv2d {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("channels and groups", &[self.in_channels, self.out_channels, self.groups])?;
        let [c, h, w] = image(inputs[0])?;
        same_channels(self.in_channels, c)?;
        let groups = self.groups;
        let divides = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        if self.out_channels == 0 || !divides(self.in_channels) || !divides(self.out_channels) {
            return Err(format!(
                "{groups} groups do not divide {} -> {} channels",
                self.in_channels, self.out_channels
            ));
        }
        let size = self.window().output_size([h, w])?;
        let [oh, ow] = size.ok_or_else(|| format!("a {:?} kernel does not fit {h}x{w}", self.kernel))?;
        Ok(vec![self.out_channels, oh, ow])
    }

    /// The weight begins normal with variance 2 / fan-out (He et al. 2015, for what goes back), the bias at zero, as
    /// torchvision's networks begin.
    fn params(&self) -> Vec<ParamSpec> {
        let shape = self.weight_shape();
        let fan_out = shape[0] * shape[2..].iter().product::<usize>();
        let init = Init::Normal((2.0 / fan_out as f64).sqrt());
        let mut params = vec![ParamSpec { suffix: "weight", shape, role: Role::Weight, init }];
        if self.bias {
            params.push(ParamSpec::constant("bias", self.out_channels, Role::Bias, 0.0));
        }
        if self.quantized {
            params.push(ParamSpec::constant("weight_scale", self.out_channels, Role::Constant, 1.0));
        }
        params
    }

    fn macs(&self, output: &[usize]) -> u64 {
        let per_output: usize = self.weight_shape()[1..].iter().product();
        (output.iter().product::<usize>() * per_output) as u64
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self::square(4, 6, 3, 2, 1).with_groups(2).with_bias(), vec![vec![4, 9, 8]])
    }
}
