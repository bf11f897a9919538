//! Batch norm backward in two passes over memory: sums over each channel, then the input gradient.

use std::ops::Range;

use super::forward::inv_std;
use super::{Affine, SavedStats, affine, assert_channels, assert_values};
use crate::activation::{Activation, Mask};
use crate::rows::{Rows, STACK, stacked};
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// How backward learns where the fused activation clamped, so that no gradient passes there.
#[derive(Debug, Clone, Copy)]
pub enum Clamp<'a, T = f32> {
    /// From the activation's output. The only way where a residual was added before the activation.
    Output {
        /// The activation.
        activation: Activation,
        /// Its output, `[N, positions, C]`.
        y: &'a [T],
    },
    /// From the norm's input, by the arithmetic of the forward pass to the last bit: the output need not be kept.
    Recomputed {
        /// The activation.
        activation: Activation,
        /// The norm's shift, `[C]`.
        bias: &'a [f32],
    },
}

impl<'a, T> From<Mask<'a, T>> for Clamp<'a, T> {
    fn from(Mask { activation, y }: Mask<'a, T>) -> Self {
        Self::Output { activation, y }
    }
}

/// Where backward leaves its gradients.
#[derive(Debug)]
pub struct NormGrads<'a, T = f32> {
    /// Of the input, `[N, positions, C]`.
    pub dx: &'a mut [T],
    /// Of the scale, `[C]`.
    pub dweight: &'a mut [f32],
    /// Of the shift, `[C]`.
    pub dbias: &'a mut [f32],
    /// Of the added residual, `[N, positions, C]`, if there was one: `dy` where the activation let it pass.
    pub dresidual: Option<&'a mut [T]>,
}

/// [`crate::batch_norm_backward`].
pub(crate) fn batch_norm_backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    stats: SavedStats<'_>,
    clamp: Option<Clamp<'_, T>>,
    dy: &[T],
    grads: NormGrads<'_, T>,
) {
    backward(shape, x, weight, stats, clamp, dy, grads, true);
}

/// [`crate::batch_norm_eval_backward`].
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub(crate) fn batch_norm_eval_backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f64,
    clamp: Option<Clamp<'_, T>>,
    dy: &[T],
    grads: NormGrads<'_, T>,
) {
    let stats = SavedStats { mean: running_mean, inv_std: &inv_std(running_var, eps) };
    backward(shape, x, weight, stats, clamp, dy, grads, false);
}

/// With `of_batch`, the statistics are functions of `x`, else constants.
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
fn backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    stats: SavedStats<'_>,
    clamp: Option<Clamp<'_, T>>,
    dy: &[T],
    grads: NormGrads<'_, T>,
    of_batch: bool,
) {
    shape.assert_valid();
    let NormGrads { dx, dweight, dbias, mut dresidual } = grads;
    for (what, values) in [("x", x), ("dy", dy), ("dx", &*dx)] {
        assert_values(shape, what, values);
    }
    assert_channels(shape, "dweight", dweight);
    assert_channels(shape, "dbias", dbias);
    let rows = Rows::new(shape);
    let unused = vec![0.0; shape.channels];
    let bias = match clamp {
        None => &unused,
        Some(Clamp::Output { y, .. }) => {
            assert_values(shape, "y", y);
            &unused
        }
        Some(Clamp::Recomputed { bias, .. }) => {
            assert!(dresidual.is_none(), "an activation recomputed without the residual that was added before it");
            bias
        }
    };
    let columns = Affine::new(shape, &rows, weight, bias, stats);
    let operands = Operands { columns: &columns, x, dy, clamp };
    if let Some(dresidual) = &dresidual {
        assert_values(shape, "dresidual", dresidual);
    }
    let [sums, dots] = rows.sums_and_values(dresidual.as_deref_mut(), |range, [sums, dots], masked| {
        operands.run(range, Reduce { sums, dots, masked });
    });
    for (channel, (sum, dot)) in sums.into_iter().zip(dots).enumerate() {
        dbias[channel] = sum as f32;
        dweight[channel] = (dot * f64::from(stats.inv_std[channel])) as f32;
    }

    // The residual's gradient is the masked one.
    let operands = match dresidual.as_deref() {
        Some(masked) => Operands { dy: masked, clamp: None, ..operands },
        None => operands,
    };
    if of_batch {
        let count = shape.values_per_channel() as f32;
        let dy_mean: Vec<f32> = dbias.iter().map(|dbias| dbias / count).collect();
        let slope: Vec<f32> = dweight.iter().zip(stats.inv_std).map(|(dweight, inv)| dweight / count * inv).collect();
        let (dy_mean, slope) = (rows.columns(&dy_mean), rows.columns(&slope));
        rows.for_parts(dx, |range, dx| operands.run(range, InputGrad { dy_mean: &dy_mean, slope: &slope, dx }));
    } else {
        rows.for_parts(dx, |range, dx| operands.run(range, EvalInputGrad { dx }));
    }
}

/// What both passes read.
#[derive(Clone, Copy)]
struct Operands<'a, T> {
    columns: &'a Affine,
    x: &'a [T],
    dy: &'a [T],
    clamp: Option<Clamp<'a, T>>,
}

/// A loop over long rows. `gate(normed, y, dy)` is the gradient that passes the activation: it looks at the value
/// before the activation or at the one after it.
trait Pass<T> {
    fn run(self, columns: &Affine, x: &[T], y: &[T], dy: &[T], gate: impl Fn(f32, f32, f32) -> f32 + Copy);
}

impl<T: Value> Operands<'_, T> {
    /// Runs a pass over a part of the tensor, in a loop for each clamp, so that none asks which it is per value.
    fn run(&self, range: Range<usize>, pass: impl Pass<T>) {
        use Activation::{Relu, Relu6};
        let (columns, x, dy) = (self.columns, &self.x[range.clone()], &self.dy[range.clone()]);
        vectorised(
            #[inline(always)]
            || match self.clamp {
                None => pass.run(columns, x, x, dy, |_, _, dy| dy),
                Some(Clamp::Output { activation, y }) => {
                    let y = &y[range];
                    match activation {
                        Relu => pass.run(columns, x, y, dy, |_, y, dy| Relu.masked(y, dy)),
                        Relu6 => pass.run(columns, x, y, dy, |_, y, dy| Relu6.masked(y, dy)),
                    }
                }
                Some(Clamp::Recomputed { activation: Relu, .. }) => {
                    pass.run(columns, x, x, dy, |normed, _, dy| Relu.masked(normed, dy));
                }
                Some(Clamp::Recomputed { activation: Relu6, .. }) => {
                    pass.run(columns, x, x, dy, |normed, _, dy| Relu6.masked(normed, dy));
                }
            },
        );
    }
}

/// Adds `dy` and `dy * (x - mean)` to each column's sums; writes the masked `dy` if it is wanted.
struct Reduce<'a, T> {
    sums: &'a mut [f32],
    dots: &'a mut [f32],
    masked: Option<&'a mut [T]>,
}

impl<T: Value> Pass<T> for Reduce<'_, T> {
    #[inline(always)]
    fn run(self, columns: &Affine, x: &[T], y: &[T], dy: &[T], gate: impl Fn(f32, f32, f32) -> f32 + Copy) {
        let Self { sums, dots, masked } = self;
        let width = sums.len();
        let Some(masked) = masked else {
            let whole = x.len() / (STACK * width) * (STACK * width);
            for start in (0..whole).step_by(STACK * width) {
                let [x, y, dy] = [x, y, dy].map(|values| stacked::<T, STACK>(&values[start..][..STACK * width]));
                reduce(columns, x, y, dy, sums, dots, gate, |_, _| ());
            }
            let rest = x[whole..].chunks(width).zip(y[whole..].chunks(width)).zip(dy[whole..].chunks(width));
            rest.for_each(|((x, y), dy)| reduce(columns, [x], [y], [dy], sums, dots, gate, |_, _| ()));
            return;
        };
        let rows = x.chunks(width).zip(y.chunks(width)).zip(dy.chunks(width));
        for (((x, y), dy), masked) in rows.zip(masked.chunks_mut(width)) {
            let masked = &mut masked[..x.len()];
            reduce(columns, [x], [y], [dy], sums, dots, gate, |i, dy| masked[i] = T::rounded(dy));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)] // slices that walk side by side
fn reduce<T: Value, const N: usize>(
    columns: &Affine,
    x: [&[T]; N],
    y: [&[T]; N],
    dy: [&[T]; N],
    sums: &mut [f32],
    dots: &mut [f32],
    gate: impl Fn(f32, f32, f32) -> f32 + Copy,
    mut write: impl FnMut(usize, f32),
) {
    let len = x[0].len();
    let [x, y, dy] = [x, y, dy].map(|rows| rows.map(|row| &row[..len]));
    let (sums, dots) = (&mut sums[..len], &mut dots[..len]);
    let (mean, scale, bias) = (&columns.mean[..len], &columns.scale[..len], &columns.bias[..len]);
    for i in 0..len {
        let (mut sum, mut dot) = (sums[i], dots[i]);
        for row in 0..N {
            let x = x[row][i].float();
            let dy = gate(affine(x, mean[i], scale[i], bias[i]), y[row][i].float(), dy[row][i].float());
            write(i, dy);
            sum += dy;
            dot += dy * (x - mean[i]);
        }
        sums[i] = sum;
        dots[i] = dot;
    }
}

/// `dx = weight * inv_std * (dy - dbias / m - x̂ * dweight / m)` with `m` values per channel, as
/// `scale * (dy - mean of dy - slope * (x - mean))`.
struct InputGrad<'a, T> {
    dy_mean: &'a [f32],
    slope: &'a [f32],
    dx: &'a mut [T],
}

impl<T: Value> Pass<T> for InputGrad<'_, T> {
    #[inline(always)]
    fn run(self, columns: &Affine, x: &[T], y: &[T], dy: &[T], gate: impl Fn(f32, f32, f32) -> f32 + Copy) {
        let width = self.slope.len();
        let rows = x.chunks(width).zip(y.chunks(width)).zip(dy.chunks(width));
        for (((x, y), dy), dx) in rows.zip(self.dx.chunks_mut(width)) {
            let len = x.len();
            let (y, dy, dx) = (&y[..len], &dy[..len], &mut dx[..len]);
            let (mean, scale, bias) = (&columns.mean[..len], &columns.scale[..len], &columns.bias[..len]);
            let (dy_mean, slope) = (&self.dy_mean[..len], &self.slope[..len]);
            for i in 0..len {
                let x = x[i].float();
                let dy = gate(affine(x, mean[i], scale[i], bias[i]), y[i].float(), dy[i].float());
                dx[i] = T::rounded(scale[i] * (dy - dy_mean[i] - slope[i] * (x - mean[i])));
            }
        }
    }
}

/// `dx = weight * inv_std * dy`.
struct EvalInputGrad<'a, T> {
    dx: &'a mut [T],
}

impl<T: Value> Pass<T> for EvalInputGrad<'_, T> {
    #[inline(always)]
    fn run(self, columns: &Affine, x: &[T], y: &[T], dy: &[T], gate: impl Fn(f32, f32, f32) -> f32 + Copy) {
        let width = columns.mean.len();
        let rows = x.chunks(width).zip(y.chunks(width)).zip(dy.chunks(width));
        for (((x, y), dy), dx) in rows.zip(self.dx.chunks_mut(width)) {
            let len = x.len();
            let (y, dy, dx) = (&y[..len], &dy[..len], &mut dx[..len]);
            let (mean, scale, bias) = (&columns.mean[..len], &columns.scale[..len], &columns.bias[..len]);
            for i in 0..len {
                let normed = affine(x[i].float(), mean[i], scale[i], bias[i]);
                dx[i] = T::rounded(scale[i] * gate(normed, y[i].float(), dy[i].float()));
            }
        }
    }
}
