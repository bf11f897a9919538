//! Weights and biases of layers in integers.

use crate::levels::Scales;

/// The largest sum of products, and the largest bias, that floats hold exactly.
pub(crate) const EXACT_SUM: f64 = 16_777_216.0;

/// Biases beyond this are not written: with any sum of products they stay within 32 bits.
const MOST_BIAS: f64 = 1_073_741_824.0;

/// Weights of one output channel as whole steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// A step.
    pub(crate) scale: f32,
    /// From `-most` to `most`.
    pub(crate) steps: Vec<f32>,
}

impl Row {
    /// Rounds a row to steps of `scale`.
    pub(crate) fn at(row: &[f32], scale: f32, most: f32) -> Self {
        let steps = row.iter().map(|weight| (weight / scale).round_ties_even().clamp(-most, most)).collect();
        Self { scale, steps }
    }

    fn error(&self, row: &[f32]) -> f64 {
        let off = |(weight, steps): (&f32, &f32)| {
            let error = f64::from(*weight) - f64::from(*steps) * f64::from(self.scale);
            error * error
        };
        row.iter().zip(&self.steps).map(off).sum()
    }
}

/// The largest step of weights of `bits` bits: a narrow range, symmetric around 0.
pub(crate) fn most_steps(bits: u32) -> f32 {
    if bits >= 8 { 127.0 } else { (1u32 << (bits - 1)) as f32 }
}

/// Rounds the weights of one output channel, whose input has steps of `input` and whose bias is `bias`.
///
/// The scale is as large as the largest weight asks, or as a bias that would otherwise leave 32 bits asks (then the weights
/// are next to nothing and become 0). With exact scales it is a power of two, the larger or the smaller around that, whichever
/// is nearer to the weights, and so large that no sum is beyond what floats hold exactly.
pub(crate) fn round_row(row: &[f32], bias: f32, input: f32, bits: u32, scales: Scales) -> Row {
    let most = most_steps(bits);
    let largest = row.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    let smallest = smallest_scale(bias, input, scales);
    let scale = (largest / most).max(smallest).max(f32::MIN_POSITIVE * 256.0);
    match scales {
        Scales::Free => Row::at(row, scale, most),
        Scales::Exact => {
            let above = scale.log2().ceil().exp2();
            let candidates = [above, above / 2.0].map(|scale| Row::at(row, scale, most));
            let nearer = candidates[1].error(row) < candidates[0].error(row) && above / 2.0 >= smallest;
            let [whole, half] = candidates;
            within_floats(row, if nearer { half } else { whole }, bias, input, most)
        }
    }
}

/// Rounds the weights of one output channel to steps of `scale`, which is a power of two where scales are exact; to larger
/// ones where its bias or its sums ask for that.
pub(crate) fn round_row_at(row: &[f32], scale: f32, (bias, input): (f32, f32), bits: u32, scales: Scales) -> Row {
    let (most, smallest) = (most_steps(bits), smallest_scale(bias, input, scales));
    match scales {
        Scales::Free => Row::at(row, scale.max(smallest).max(f32::MIN_POSITIVE * 256.0), most),
        Scales::Exact => {
            let mut scale = scale;
            while scale < smallest {
                scale *= 2.0;
            }
            within_floats(row, Row::at(row, scale, most), bias, input, most)
        }
    }
}

/// The smallest step of weights with which a bias stays within its integers.
pub(crate) fn smallest_scale(bias: f32, input: f32, scales: Scales) -> f32 {
    let most = if scales == Scales::Exact { EXACT_SUM / 2.0 } else { MOST_BIAS };
    (f64::from(bias.abs()) / most / f64::from(input)) as f32
}

/// With a step twice as large, and again, until no sum is beyond what floats hold exactly.
fn within_floats(row: &[f32], mut rounded: Row, bias: f32, input: f32, most: f32) -> Row {
    while largest_sum(&rounded.steps, bias_steps(bias, input, rounded.scale)) > EXACT_SUM {
        rounded = Row::at(row, rounded.scale * 2.0, most);
    }
    rounded
}

/// A bias in whole steps of input times weight.
pub(crate) fn bias_steps(bias: f32, input: f32, weight: f32) -> f64 {
    (f64::from(bias) / (f64::from(input) * f64::from(weight))).round_ties_even().clamp(-MOST_BIAS, MOST_BIAS)
}

/// The largest sum that bytes can lead to: `max(sum of positive, sum of negative steps) * 255 + |bias|`.
pub(crate) fn largest_sum(steps: &[f32], bias: f64) -> f64 {
    let part = |sign: f64| steps.iter().map(|step| (f64::from(*step) * sign).max(0.0)).sum::<f64>();
    part(1.0).max(part(-1.0)) * 255.0 + bias.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dead channels have weights of next to nothing and a bias that is all: it must stay within its integers.
    #[test]
    fn a_bias_stays_within_its_integers_and_keeps_its_value() {
        for (scales, most) in [(Scales::Free, MOST_BIAS), (Scales::Exact, EXACT_SUM)] {
            let row = round_row(&[1e-12, -1e-13, 0.0], 5.0, 0.02, 8, scales);
            let steps = bias_steps(5.0, 0.02, row.scale);
            assert!(steps.abs() <= most, "{steps}");
            assert!((steps * 0.02 * f64::from(row.scale) - 5.0).abs() < 1e-3);
        }
    }

    #[test]
    fn exact_sums_fit_into_floats_even_where_all_weights_pull_one_way() {
        let row: Vec<f32> = (0..4608).map(|at| 0.5 + (at % 7) as f32 * 0.05).collect();
        let free = round_row(&row, 0.3, 0.125, 8, Scales::Free);
        assert!(largest_sum(&free.steps, 0.0) > EXACT_SUM, "it would not be one");
        let exact = round_row(&row, 0.3, 0.125, 8, Scales::Exact);
        assert!(largest_sum(&exact.steps, bias_steps(0.3, 0.125, exact.scale)) <= EXACT_SUM);
        assert_eq!(exact.scale.to_bits() & 0x007f_ffff, 0);
    }

    #[test]
    fn seven_bits_end_at_64_so_that_two_products_fit_16_bits() {
        let row = round_row(&[1.0, -1.0, 0.3], 0.0, 0.1, 7, Scales::Free);
        assert_eq!(row.steps, [64.0, -64.0, 19.0]);
        assert_eq!(round_row(&[1.0, -1.0], 0.0, 0.1, 8, Scales::Free).steps, [127.0, -127.0]);
    }
}
