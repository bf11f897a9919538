//! Mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) of a batch with itself.

use std::ops::Range;

use attar_measures::random::Stream;
use candle_core::Tensor;

use crate::error::Result;
use crate::run::feed::batch::ViewBatch;

/// `l x + (1 - l) x_p`, targets alike, with one `l` and one permutation for the batch; left plain with probability `1 - p`.
pub(super) fn mixup(clean: &ViewBatch, alpha: f64, p: f64, rng: &mut Stream) -> Result<ViewBatch> {
    let share = rng.beta(alpha);
    let order = rng.permutation(clean.len());
    if rng.unit() >= p {
        return Ok(clean.clone());
    }
    let other = clean.permuted(&order)?;
    let mix = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(((a * share)? + (b * (1.0 - share))?)?) };
    clean.combined(&other, mix(&clean.targets, &other.targets)?, |_, a, b| mix(a, b))
}

/// One box for the batch, of the height and width that `1 - l` of the area asks for, around a uniformly drawn centre and cut
/// at the edges; targets by the area that is really covered. Who sees the images in another size has the box scaled, its edges
/// to the nearest pixel.
pub(super) fn cutmix(clean: &ViewBatch, alpha: f64, p: f64, rng: &mut Stream) -> Result<ViewBatch> {
    let share = rng.beta(alpha);
    let order = rng.permutation(clean.len());
    let (_, _, height, width) = clean.x.dims4()?;
    let (rows, columns) = (side(height, share, rng), side(width, share, rng));
    if rng.unit() >= p {
        return Ok(clean.clone());
    }
    let other = clean.permuted(&order)?;
    let kept = 1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64;
    let targets = ((&clean.targets * kept)? + (&other.targets * (1.0 - kept))?)?;
    clean.combined(&other, targets, |_, a, b| {
        let (_, _, own_height, own_width) = a.dims4()?;
        let mask =
            outside(&scaled(&rows, height, own_height), &scaled(&columns, width, own_width), own_height, own_width);
        let mask = Tensor::from_vec(mask, (1, 1, own_height, own_width), a.device())?;
        Ok((a.broadcast_mul(&mask)? + b.broadcast_mul(&mask.affine(-1.0, 1.0)?)?)?)
    })
}

/// 1 outside of the box, 0 inside, row by row.
fn outside(rows: &Range<usize>, columns: &Range<usize>, height: usize, width: usize) -> Vec<f32> {
    let inside = |y: usize, x: usize| rows.contains(&y) && columns.contains(&x);
    (0..height * width).map(|i| f32::from(u8::from(!inside(i / width, i % width)))).collect()
}

/// A side of the box where `from` pixels are `to`.
fn scaled(side: &Range<usize>, from: usize, to: usize) -> Range<usize> {
    let place = |at: usize| (2 * at * to + from) / (2 * from.max(1));
    place(side.start)..place(side.end)
}

/// One side of the box: `sqrt(1 - share)` of `size`, around a centre anywhere, cut at the edges.
fn side(size: usize, share: f64, rng: &mut Stream) -> Range<usize> {
    let length = (size as f64 * (1.0 - share).sqrt()) as usize;
    let centre = (rng.unit() * size as f64) as usize;
    let start = centre.saturating_sub(length / 2);
    start..(centre + length / 2).min(size)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::plan::{Table, TeacherId};

    fn batch() -> ViewBatch {
        let device = Device::Cpu;
        let x: Vec<f32> = (0..4u8).flat_map(|i| [f32::from(i); 36]).collect();
        let mut targets = vec![0f32; 16];
        (0..4).for_each(|i| targets[i * 5] = 1.0);
        ViewBatch {
            own: BTreeMap::new(),
            x: Tensor::from_vec(x, (4, 1, 6, 6), &device).unwrap(),
            labels: Tensor::new(&[0u32, 1, 2, 3], &device).unwrap(),
            targets: Tensor::from_vec(targets, (4, 4), &device).unwrap(),
            ids: vec![10, 11, 12, 13],
        }
    }

    /// Sample `i` shows value `i` and has class `i`: its mean pixel is the mean class of its target.
    #[test]
    fn targets_say_what_the_pixels_show() {
        let classes = Tensor::new(&[0f32, 1.0, 2.0, 3.0], &Device::Cpu).unwrap();
        let mut mixed = 0;
        for seed in 0..40 {
            for how in [mixup, cutmix] {
                let view = how(&batch(), 1.0, 1.0, &mut Stream::of_number(seed)).unwrap();
                let shown = view.x.flatten_from(1).unwrap().mean(1).unwrap().to_vec1::<f32>().unwrap();
                let told = view.targets.broadcast_mul(&classes).unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
                let sums = view.targets.sum(1).unwrap().to_vec1::<f32>().unwrap();
                for ((shown, told), sum) in shown.iter().zip(&told).zip(&sums) {
                    assert!((shown - told).abs() < 1e-5 && (sum - 1.0).abs() < 1e-6, "{shown} {told} {sum}");
                }
                mixed += usize::from(differ(&view.x, &batch().x));
                assert_eq!(view.ids, [10, 11, 12, 13]);
            }
        }
        assert!(mixed > 60, "{mixed}");
    }

    /// Twice as large, every pixel repeated.
    fn doubled(x: &Tensor) -> Tensor {
        x.contiguous().unwrap().upsample_nearest2d(12, 12).unwrap()
    }

    #[test]
    fn a_teacher_of_larger_images_sees_the_same_mixture() {
        let teacher: TeacherId = Table::default().push(());
        for seed in 0..10 {
            for how in [mixup, cutmix] {
                let clean = ViewBatch { own: BTreeMap::from([(teacher, doubled(&batch().x))]), ..batch() };
                let view = how(&clean, 1.0, 1.0, &mut Stream::of_number(seed)).unwrap();
                assert!(!differ(&view.own[&teacher], &doubled(&view.x)));
            }
        }
    }

    #[test]
    fn without_luck_nothing_is_mixed() {
        for how in [mixup, cutmix] {
            let view = how(&batch(), 1.0, 0.0, &mut Stream::of_number(3)).unwrap();
            assert!(!differ(&view.x, &batch().x));
        }
    }

    fn differ(a: &Tensor, b: &Tensor) -> bool {
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        flat(a) != flat(b)
    }
}
