//! Sweeps computed directly: no unfolded image, only a padded copy where there is padding.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::pad::pad;
use super::sweep::{Sweep, Sweeps};
use super::{Tail, split_rows};
use crate::pairs::{self, Pairs};
use crate::simd::{Scratch, with_simd};
use crate::tile::{Ends, Floats, Left, Multiply, Out, Right, multiply, panels};
use crate::value::{Stored, Value, convert_all};

/// Values of the padded source that one task reads: they should stay in a core's second-level cache.
const SOURCE: usize = 1 << 16;

/// Computes all target pixels of `sweeps` for a batch. `index(k, [in, out])` is where the weight lies between channels
/// `in` of the source and `out` of the target, both counted over all groups' channels, at kernel position `k`.
pub(super) fn run<T: Value>(
    sweeps: &Sweeps,
    weight: &[f32],
    index: impl Fn([usize; 2], [usize; 2]) -> usize + Sync,
    x: &[T],
    tail: Tail<'_, T>,
    y: &mut [T],
) {
    // Pairs are neighbouring channels.
    let paired = sweeps.group_channels()[0].is_multiple_of(2);
    match Pairs::detect().filter(|_| paired && matches!(T::stored(x), Stored::Narrow(_))) {
        Some(pairs) => run_with(pairs, sweeps, weight, index, x, tail, y),
        None => run_with(Floats, sweeps, weight, index, x, tail, y),
    }
}

fn run_with<M: Multiply, T: Value>(
    words: M,
    sweeps: &Sweeps,
    weight: &[f32],
    index: impl Fn([usize; 2], [usize; 2]) -> usize + Sync,
    x: &[T],
    tail: Tail<'_, T>,
    y: &mut [T],
) {
    let pack = |sweep| Packed::new(words, sweeps, sweep, weight, &index);
    let packed: Vec<Packed> = sweeps.sweeps.iter().map(pack).collect();
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
        with_simd(Strip { words, sweeps, packed: &packed, strip, x, tail: Tail { residual, ..tail }, y });
    });
}

/// The weights of one sweep as words: group by group, panel by panel, rows in the order in which taps and channels are
/// read.
struct Packed {
    data: Vec<f32>,
    /// Rows of a panel.
    rows: usize,
}

impl Packed {
    fn new<M: Multiply>(
        words: M,
        sweeps: &Sweeps,
        sweep: &Sweep,
        weight: &[f32],
        index: &(impl Fn([usize; 2], [usize; 2]) -> usize + Sync),
    ) -> Self {
        let [inputs, outputs] = sweeps.group_channels();
        let rows = sweep.taps.len() * inputs / M::VALUES;
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
                    let (tap, channel) = (row * M::VALUES / inputs, row * M::VALUES % inputs);
                    let [first, start] = [group * inputs + channel, group * outputs + start];
                    for (column, to) in panel[..width].iter_mut().enumerate() {
                        *to = words.word(|i| weight[index(sweep.taps[tap].kernel, [first + i, start + column])]);
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
struct Strip<'a, M, T> {
    words: M,
    sweeps: &'a Sweeps,
    packed: &'a [Packed],
    /// Rows of the (single) sweep; all target rows where there are several sweeps.
    strip: Range<usize>,
    x: &'a [T],
    tail: Tail<'a, T>,
    y: &'a mut [T],
}

impl<M: Multiply, T: Value> WithSimd for Strip<'_, M, T> {
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
        let as_it_lies = ([height, width] == sweeps.source.size).then(|| &self.x[from * pitch..]);
        if let Some(source) = as_it_lies.and_then(as_words::<M, T>) {
            self.sweep(simd, source, pitch);
        } else {
            let mut padded = Scratch::lend(rows * pitch / M::VALUES);
            self.pad(from, width, &mut padded);
            self.sweep(simd, &padded, pitch);
        }
    }
}

/// Values as the words of a product, where they lie like that.
fn as_words<M: Multiply, T: Value>(values: &[T]) -> Option<&[f32]> {
    match T::stored(values) {
        Stored::Floats(values) => Some(values),
        Stored::Narrow(values) if M::VALUES == 2 => pairs::words(values),
        Stored::Narrow(_) => None,
    }
}

impl<M: Multiply, T: Value> Strip<'_, M, T> {
    /// Source rows from `from` on as words.
    #[inline(always)]
    fn pad(&self, from: usize, width: usize, to: &mut [f32]) {
        let (source, before) = (&self.sweeps.source, self.sweeps.before);
        match T::stored(self.x) {
            Stored::Floats(x) => pad(source, x, before, from, width, to, |x, to| to.copy_from_slice(x)),
            Stored::Narrow(x) if M::VALUES == 2 => {
                pad(source, x, before, from, width, pairs::values_mut(to), |x, to| to.copy_from_slice(x));
            }
            Stored::Narrow(x) => pad(source, x, before, from, width, to, convert_all),
        }
    }

    #[inline(always)]
    fn sweep<S: Simd>(&mut self, simd: S, source: &[f32], pitch: usize) {
        let sweeps = self.sweeps;
        let channels = [sweeps.source.channels, sweeps.target.channels];
        let [inputs, outputs] = sweeps.group_channels();
        let pitch = pitch / M::VALUES;
        for (sweep, packed) in sweeps.sweeps.iter().zip(self.packed) {
            let count = if sweeps.sweeps.len() == 1 { self.strip.len() } else { sweep.count[0] };
            let mut weights = packed.data.as_slice();
            for group in 0..sweeps.groups {
                let (runs, run) = runs::<M>(sweeps, sweep, group * inputs, pitch);
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
                            row: sweep.source_stride[1] * channels[0] / M::VALUES,
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
                        multiply(simd, self.words, sweep.count[1], left, right, out, ends);
                    }
                }
            }
        }
    }
}

/// Where the taps of a sweep read, as runs of words side by side: all channels of neighbouring pixels where there is one
/// group, else those of the group, tap by tap.
fn runs<M: Multiply>(sweeps: &Sweeps, sweep: &Sweep, first_channel: usize, pitch: usize) -> (Vec<usize>, usize) {
    let words = |values: usize| values / M::VALUES;
    let inputs = words(sweeps.group_channels()[0]);
    let at =
        |tap: &super::sweep::Tap| tap.source[0] * pitch + words(tap.source[1] * sweeps.source.channels + first_channel);
    let starts: Vec<usize> = sweep.taps.iter().map(at).collect();
    let in_a_row = sweep.taps.iter().take_while(|tap| tap.source[0] == sweep.taps[0].source[0]).count();
    let joins = |row: &[usize]| row.windows(2).all(|pair| pair[1] == pair[0] + inputs);
    if in_a_row > 0 && starts.chunks(in_a_row).all(joins) {
        return (starts.into_iter().step_by(in_a_row).collect(), in_a_row * inputs);
    }
    (starts, inputs)
}
