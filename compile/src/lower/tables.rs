//! Functions of one byte: whatever stands between a quantised value and the next quantiser, if it reads nothing else, is a
//! table of 256 entries.

use attar_edge::arithmetic::{dequantize, multiplier, product, quantize};
use attar_models::quantised::param;
use attar_models::{Activation, NodeId, Op};

use super::Lowering;
use crate::error::Result;
use crate::numbers::Levels;

/// A value as a function of another node's bytes.
#[derive(Clone)]
pub(super) struct Of<T> {
    pub(super) source: NodeId,
    pub(super) table: [T; 256],
}

/// How many quantisers are looked through.
const DEPTH: usize = 4;

impl Lowering<'_> {
    /// A quantiser's bytes as a function of those before it, the farthest first.
    pub(super) fn byte_table(&self, id: NodeId) -> Option<Of<u8>> {
        self.byte_tables(id, DEPTH).into_iter().next_back()
    }

    /// All ways to see the bytes of `id` as a function of others, the nearest first; not that of themselves.
    fn byte_tables(&self, id: NodeId, depth: usize) -> Vec<Of<u8>> {
        let (Some(levels), Op::Quantize(_)) = (self.levels[id.index()], &self.node_of(id).op) else {
            return Vec::new();
        };
        let (input, high) = (self.first(id), self.highest(id));
        let kept = |of: Of<u8>| Of { table: of.table.map(|byte| byte.min(high)), ..of };
        if let Op::Mul(_) = self.node_of(input).op
            && let Some(products) = self.products(input, levels, depth)
        {
            return products.into_iter().map(kept).collect();
        }
        let quantised =
            |of: Of<f32>| Of { source: of.source, table: of.table.map(|x| quantize(x, levels.scale, levels.zero)) };
        self.float_tables(input, depth).into_iter().map(quantised).map(kept).collect()
    }

    /// The product of two quantised values that are both functions of the same bytes, by the arithmetic's own formula.
    fn products(&self, id: NodeId, levels: Levels, depth: usize) -> Option<Vec<Of<u8>>> {
        let sides = [self.node_of(id).inputs[0], self.node_of(id).inputs[1]];
        let ways = |side: NodeId| -> Option<(Levels, Vec<Of<u8>>)> {
            let (source, levels) = self.byte_source(side)?;
            let own = Of { source, table: std::array::from_fn(|byte| byte as u8) };
            let further = if depth > 0 { self.byte_tables(source, depth - 1) } else { Vec::new() };
            Some((levels, std::iter::once(own).chain(further).collect()))
        };
        let ((a, first), (b, second)) = (ways(sides[0])?, ways(sides[1])?);
        let multiplier = multiplier(a.scale, b.scale, levels.scale);
        let joined = first.iter().filter_map(|one| {
            let other = second.iter().find(|other| other.source == one.source)?;
            let at =
                |byte: usize| product((one.table[byte], a.zero), (other.table[byte], b.zero), multiplier, levels.zero);
            Some(Of { source: one.source, table: std::array::from_fn(at) })
        });
        let joined: Vec<Of<u8>> = joined.collect();
        (!joined.is_empty()).then_some(joined)
    }

    /// All ways to see a value of floats as a function of bytes.
    fn float_tables(&self, id: NodeId, depth: usize) -> Vec<Of<f32>> {
        match &self.node_of(id).op {
            Op::Dequantize(_) => {
                let Ok((source, levels)) = self.dequantised(id) else { return Vec::new() };
                let own = Of { source, table: std::array::from_fn(|byte| byte as u8) };
                let further = if depth > 0 { self.byte_tables(source, depth - 1) } else { Vec::new() };
                let float = |of: Of<u8>| Of {
                    source: of.source,
                    table: of.table.map(|q| dequantize(q, levels.scale, levels.zero)),
                };
                std::iter::once(own).chain(further).map(float).collect()
            }
            Op::Activation(activation) => {
                let inner = self.float_tables(self.first(id), depth);
                inner.into_iter().map(|of| Of { table: of.table.map(|x| apply(*activation, x)), ..of }).collect()
            }
            Op::PRelu(_) => {
                let Some(slope) = self.only_slope(id) else { return Vec::new() };
                let inner = self.float_tables(self.first(id), depth);
                inner.into_iter().map(|of| Of { table: of.table.map(|x| sloped(x, slope)), ..of }).collect()
            }
            Op::Flatten(_) | Op::Dropout(_) | Op::StochasticDepth(_) => self.float_tables(self.first(id), depth),
            _ => Vec::new(),
        }
    }

    /// The slope of a PReLU that has the same for all channels.
    fn only_slope(&self, id: NodeId) -> Option<f32> {
        let slopes = param(self.weights, self.node_of(id), "weight").ok()?;
        slopes.first().copied().filter(|slope| slopes.iter().all(|other| other == slope))
    }

    /// A table for each channel of a PReLU between dequantised values and a quantiser.
    pub(super) fn sloped_tables(&self, id: NodeId, from: Levels, (to, range): (Levels, [u8; 2])) -> Result<Vec<u8>> {
        let slopes = param(self.weights, self.node_of(id), "weight")?;
        let table = |slope: &f32| {
            let byte = |byte: u8| quantize(sloped(dequantize(byte, from.scale, from.zero), *slope), to.scale, to.zero);
            (0..=255).map(|at| byte(at).max(range[0]).min(range[1])).collect::<Vec<u8>>()
        };
        let channels = self.node_of(id).shape[0];
        Ok(slopes.iter().cycle().take(channels).flat_map(table).collect())
    }
}

/// A function of one number, in `f32` as ONNX Runtime has the piecewise linear ones, else in `f64`.
pub(super) fn apply(activation: Activation, x: f32) -> f32 {
    let wide = f64::from(x);
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HardSigmoid => (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0),
        Activation::HardSwish => x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0),
        Activation::Sigmoid => (1.0 / (1.0 + (-wide).exp())) as f32,
        Activation::Silu => (wide / (1.0 + (-wide).exp())) as f32,
        Activation::Gelu => (wide * 0.5 * (1.0 + erf(wide / std::f64::consts::SQRT_2))) as f32,
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            (wide * 0.5 * (1.0 + inner.tanh())) as f32
        }
        Activation::LeakyRelu(slope) => sloped(x, slope.value()),
    }
}

/// `x` above 0, else `slope * x`.
fn sloped(x: f32, slope: f32) -> f32 {
    if x > 0.0 { x } else { x * slope }
}

/// The error function, by its series up to 3 and its continued fraction beyond (Abramowitz and Stegun 1964, 7.1.6, 7.1.14).
fn erf(x: f64) -> f64 {
    let t = x.abs();
    let value = if t < 3.0 {
        let (mut term, mut sum) = (t, t);
        for n in 1..80 {
            term *= 2.0 * t * t / f64::from(2 * n + 1);
            sum += term;
        }
        sum * (-t * t).exp() * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60).rev().fold(t, |below, n| t + f64::from(n) / 2.0 / below);
        1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::floats::function;

    /// Tables have ONNX Runtime's order of operations, the engine's floats their own: the same functions but for rounding.
    #[test]
    fn tables_and_floats_have_the_same_functions() {
        for activation in Activation::ALL {
            let function = function(activation);
            for x in (-40_000..=40_000).map(|at| at as f32 / 2048.0) {
                let (table, float) = (apply(activation, x), attar_edge::simple::function(function, x));
                let most = 4.0 * f32::EPSILON * table.abs().max(x.abs()).max(1.0);
                assert!((table - float).abs() <= most, "{activation:?} of {x}: {table} in tables, {float} in floats");
            }
        }
    }
}
