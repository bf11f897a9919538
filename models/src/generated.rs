//! Weights and inputs from a documented generator, so that fixtures need not store them.
//!
//! `tests/fixtures/make/generated.py` is the same in Python, to the bit. An array called `name` under a 64-bit `seed`
//! has the elements, row-major,
//!
//! ```text
//! h = FNV-1a-64(name in UTF-8) xor seed
//! z = splitmix64's mix of (h + (i + 1) * 0x9E3779B97F4A7C15), everything modulo 2^64, i = 0, 1, ...
//! u = (z >> 40) / 2^23 - 1                              exact in f32, in [-1, 1)
//! ```
//!
//! and, in `f32` arithmetic, by [`Role`] (`fan_in` = product of `shape[1..]`):
//!
//! | role | value |
//! |---|---|
//! | weight | `u * sqrt(6 / fan_in)` |
//! | bias, norm shift, running mean | `u * 0.1` |
//! | norm scale | `(1 + u * 0.25) * k`; `k` = 0.3 where the name ends in `bn2.weight` or `bn3.weight`, else 1 |
//! | running variance | `1 + u * 0.5` |
//! | slope | `0.25 + u * 0.125` |
//! | constant | `(1 + u * 0.25) / 32`; a `zero_point` the whole number next to 8 times the size of `u` |
//!
//! The small `k` late in a ResNet's branch keeps the sum of 54 blocks from exploding.

use crate::array::{Array, Elements};
use crate::graph::Graph;
use crate::op::{Param, Role};
use crate::weights::Weights;

/// Every parameter and buffer of `graph`.
pub fn weights(graph: &Graph, seed: u64) -> Weights {
    Weights(graph.params().map(|param| (param.name.clone(), array(&param, seed))).collect())
}

/// A batch of shape `[N, C, H, W]`: `0.5 * u("input") + u("input.level")`, the second of shape `[N, C, 1, 1]` so that
/// samples differ by more than noise.
pub fn input(shape: [usize; 4], seed: u64) -> Vec<f32> {
    let [batch, channels, height, width] = shape;
    let level = uniform("input.level", seed, batch * channels);
    let mut pixels = uniform("input", seed, batch * channels * height * width);
    for (plane, level) in pixels.chunks_mut((height * width).max(1)).zip(level) {
        for pixel in plane {
            *pixel = 0.5 * *pixel + level;
        }
    }
    pixels
}

/// The `u` of the module's description: `count` numbers in [-1, 1).
pub fn uniform(name: &str, seed: u64, count: usize) -> Vec<f32> {
    let mut state = fnv1a(name) ^ seed;
    let next = |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(state) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn array(param: &Param, seed: u64) -> Array {
    let mut data = uniform(&param.name, seed, param.shape.iter().product());
    let value: Box<dyn Fn(f32) -> f32> = match param.role {
        Role::Weight => {
            let limit = (6.0 / param.shape[1..].iter().product::<usize>() as f32).sqrt();
            Box::new(move |u| u * limit)
        }
        Role::Bias | Role::NormShift | Role::RunningMean => Box::new(|u| u * 0.1),
        Role::NormScale => {
            let damped = param.name.ends_with("bn2.weight") || param.name.ends_with("bn3.weight");
            let k = if damped { 0.3 } else { 1.0 };
            Box::new(move |u| (1.0 + u * 0.25) * k)
        }
        Role::RunningVar => Box::new(|u| 1.0 + u * 0.5),
        Role::Constant if param.name.ends_with("zero_point") => Box::new(|u| (u.abs() * 8.0).round()),
        Role::Constant => Box::new(|u| (1.0 + u * 0.25) / 32.0),
        Role::Step => Box::new(|u| u * 0.5),
        Role::Slope => Box::new(|u| 0.25 + u * 0.125),
    };
    data.iter_mut().for_each(|u| *u = value(*u));
    Array { shape: param.shape.clone(), elements: Elements::F32(data) }
}

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{NetworkSpec, build};

    /// Printed by `python tests/fixtures/make/generated.py`.
    #[test]
    fn the_bits_are_those_of_the_python_generator() {
        let graph = build(&NetworkSpec::new("resnet8", 10, [3, 8, 8])).unwrap();
        let weights = weights(&graph, 7);
        weights.check(&graph).unwrap();
        let ends = |data: &[f32]| [data[0].to_bits(), data[data.len() - 1].to_bits()];
        for (name, bits) in [
            ("conv1.weight", [0x3E8039C3, 0xBD307C00]),
            ("layer1.0.bn1.weight", [0x3F9D14C8, 0x3F8B3539]),
            ("layer1.0.bn2.weight", [0x3E9B429E, 0x3EAE1385]),
            ("layer1.0.bn2.bias", [0x3CF81C33, 0xBCD474F3]),
            ("bn1.running_mean", [0x3D957898, 0xBD3908DA]),
            ("bn1.running_var", [0x3FB7E31A, 0x3F82E00E]),
            ("fc.bias", [0xBDABE287, 0xBDC610AF]),
        ] {
            assert_eq!(ends(weights.get(name).unwrap().f32().unwrap()), bits, "{name}");
        }
        assert_eq!(ends(&input([2, 3, 2, 2], 7)), [0x3F259874, 0x3F0B3F8E]);
    }
}
