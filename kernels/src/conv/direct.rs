//! Sweeps computed directly: no unfolded image, only a padded copy where there is padding.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::pad::pad;
use super::sweep::{Sweep, Sweeps};
use super::{Tail, split_rows};
use crate::simd::{Scratch, with_simd};
use crate::tile::{Ends, Left, Out, Right, multiply, panels};

/// Values of the padded source that one task reads: they should stay in a core's second-level cache.
const SOURCE: usize = 1 << 16;

/// Computes all target pixels of `sweeps` for a batch. `index(k, [in, out])` is where the weight lies between channels
/// `in` of the source and `out` of the target, both counted over all groups' channels, at kernel position `k`.
pub(super) fn run(
    sweeps: &Sweeps,
    weight: &[f32],
    index: impl Fn([usize; 2], [usize; 2]) -> usize + Sync,
    x: &[f32],
    tail: Tail<'_>,
    y: &mut [f32],
) {
    let packed: Vec<Packed> = sweeps.sweeps.iter().map(|sweep| Packed::new(sweeps, sweep, weight, &index)).collect();
    let [source, target] = [sweeps.source.len(), sweeps.target.len()];
    // A strip is a run of target rows; a sweep's rows may be several target rows apart, so only single sweeps are split.
    let strips = match sweeps.sweeps.as_slice() {
        [only] => {
            split_rows(only.count[0], sweeps.padded()[1] * only.source_stride[0] * sweeps.source.channels, SOURCE)
        }
        _ => std::iter::once(0..sweeps.target.size[0]).collect(),
    };
    let row = target / sweeps.target.size[0];
    let mut tasks = Vec::new();
    for (x, mut y) in x.chunks_exact(source).zip(y.chunks_exact_mut(target)) {
        for strip in &strips {
            let (here, rest) = y.split_at_mut(strip.len() * row);
            let at = tasks.len() / strips.len() * target + strip.start * row;
            tasks.push((strip.clone(), x, here, at));
            y = rest;
        }
    }
    tasks.into_par_iter().for_each(|(strip, x, y, at)| {
        let residual = tail.residual.map(|residual| &residual[at..][..y.len()]);
        with_simd(Strip { sweeps, packed: &packed, strip, x, tail: Tail { residual, ..tail }, y });
    });
}

/// The weights of one sweep: group by group, panel by panel, rows in the order in which taps and channels are read.
struct Packed {
    data: Vec<f32>,
    /// Rows of a panel.
    rows: usize,
}

impl Packed {
    fn new(
        sweeps: &Sweeps,
        sweep: &Sweep,
        weight: &[f32],
        index: &(impl Fn([usize; 2], [usize; 2]) -> usize + Sync),
    ) -> Self {
        let [inputs, outputs] = sweeps.group_channels();
        let rows = sweep.taps.len() * inputs;
        let columns = with_simd(Panels(outputs));
        let padded: usize = columns.iter().map(|(.., padded)| padded).sum();
        let mut data = vec![0.0; sweeps.groups * rows * padded];
        if rows > 0 {
            let mut parts = Vec::new();
            let mut rest = data.as_mut_slice();
            for group in 0..sweeps.groups {
                for (start, width, padded) in &columns {
                    let (panel, after) = rest.split_at_mut(rows * padded);
                    parts.push((group, *start, *width, panel.chunks_exact_mut(*padded)));
                    rest = after;
                }
            }
            parts.into_par_iter().for_each(|(group, start, width, panel)| {
                for (row, panel) in panel.enumerate() {
                    let (tap, channel) = (row / inputs, row % inputs);
                    for (column, to) in panel[..width].iter_mut().enumerate() {
                        let channels = [group * inputs + channel, group * outputs + start + column];
                        *to = weight[index(sweep.taps[tap].kernel, channels)];
                    }
                }
            });
        }
        Self { data, rows }
    }
}

/// The panels that this machine cuts columns into: first column, width, and width in whole vectors.
struct Panels(usize);

impl WithSimd for Panels {
    type Output = Vec<(usize, usize, usize)>;
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        panels::<S>(self.0).map(|(start, width)| (start, width, width.next_multiple_of(S::F32_LANES))).collect()
    }
}

/// Some rows of one image's target.
struct Strip<'a> {
    sweeps: &'a Sweeps,
    packed: &'a [Packed],
    /// Rows of the (single) sweep; all target rows where there are several sweeps.
    strip: Range<usize>,
    x: &'a [f32],
    tail: Tail<'a>,
    y: &'a mut [f32],
}

impl WithSimd for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let sweeps = self.sweeps;
        let [height, width] = sweeps.padded();
        let pitch = width * sweeps.source.channels;
        let (from, rows) = match sweeps.sweeps.as_slice() {
            [only] => {
                let reach = only.taps.last().map_or(0, |tap| tap.source[0]);
                let from = self.strip.start * only.source_stride[0];
                (from, (self.strip.len() - 1) * only.source_stride[0] + reach + 1)
            }
            _ => (0, height),
        };
        if [height, width] == sweeps.source.size {
            let x = &self.x[from * pitch..];
            self.sweep(simd, x, pitch);
        } else {
            let mut padded = Scratch::lend(rows * pitch);
            pad(&sweeps.source, self.x, sweeps.before, from, width, &mut padded);
            self.sweep(simd, &padded, pitch);
        }
    }
}

impl Strip<'_> {
    #[inline(always)]
    fn sweep<S: Simd>(&mut self, simd: S, source: &[f32], pitch: usize) {
        let sweeps = self.sweeps;
        let channels = [sweeps.source.channels, sweeps.target.channels];
        let [inputs, outputs] = sweeps.group_channels();
        for (sweep, packed) in sweeps.sweeps.iter().zip(self.packed) {
            let count = if sweeps.sweeps.len() == 1 { self.strip.len() } else { sweep.count[0] };
            let mut weights = packed.data.as_slice();
            for group in 0..sweeps.groups {
                let (runs, run) = runs(sweeps, sweep, group * inputs, pitch);
                for (start, panel) in panels::<S>(outputs) {
                    let padded = panel.next_multiple_of(S::F32_LANES);
                    let (right, rest) = weights.split_at(packed.rows * padded);
                    weights = rest;
                    let right = Right { data: right, row: padded, width: panel };
                    let column = group * outputs + start;
                    for row in 0..count {
                        let target_row = sweep.first[0] + row * sweep.target_stride[0];
                        let at = (target_row * sweeps.target.size[1] + sweep.first[1]) * channels[1] + column;
                        let left = Left {
                            data: &source[row * sweep.source_stride[0] * pitch..],
                            row: sweep.source_stride[1] * channels[0],
                            column: 1,
                            runs: &runs,
                            run,
                        };
                        let ends = Ends {
                            accumulate: false,
                            bias: self.tail.bias.map(|bias| &bias[column..][..panel]),
                            residual: self.tail.residual.map(|residual| &residual[at..]),
                            activation: self.tail.activation,
                        };
                        let out = Out { data: &mut self.y[at..], row: sweep.target_stride[1] * channels[1] };
                        multiply(simd, sweep.count[1], left, right, out, ends);
                    }
                }
            }
        }
    }
}

/// Where the taps of a sweep read, as runs of values side by side: all channels of neighbouring pixels where there is one
/// group, else those of the group, tap by tap.
fn runs(sweeps: &Sweeps, sweep: &Sweep, first_channel: usize, pitch: usize) -> (Vec<usize>, usize) {
    let [inputs, _] = sweeps.group_channels();
    let at = |tap: &super::sweep::Tap| tap.source[0] * pitch + tap.source[1] * sweeps.source.channels + first_channel;
    let starts: Vec<usize> = sweep.taps.iter().map(at).collect();
    let in_a_row = sweep.taps.iter().take_while(|tap| tap.source[0] == sweep.taps[0].source[0]).count();
    let joins = |row: &[usize]| row.windows(2).all(|pair| pair[1] == pair[0] + inputs);
    if in_a_row > 0 && starts.chunks(in_a_row).all(joins) {
        return (starts.into_iter().step_by(in_a_row).collect(), in_a_row * inputs);
    }
    (starts, inputs)
}
