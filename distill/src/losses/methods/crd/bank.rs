//! A memory of one vector for every training image, and whom an anchor is compared with.

use attar_measures::random::Stream;
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::losses::parts::differentiable::times_constant;
use crate::losses::parts::maps::unit_rows;

/// Draws for one negative before a rule that (almost) every image breaks is given up.
const TRIES: usize = 64;

/// `anchor_b · row(chosen_bm) / T`, `[B, 1 + M]`, for anchors `[B, D]`, a bank `[N, D]` and row numbers `[B, 1 + M]` of
/// `u32`. The bank is a constant. All `N` products are formed: that moves less memory than gathering `M` rows an anchor.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn scores(anchors: &Tensor, bank: &Tensor, chosen: &Tensor, temperature: f64) -> Result<Tensor> {
    Ok((times_constant(anchors, bank)?.gather(chosen, 1)? / temperature)?)
}

/// Moves rows of a bank `[N, D]`, in place: `row <- unit(m · row + (1 - m) · feature)` for features `[B, D]` of unit length
/// and row numbers `[B]` of `u32`. Where a row is named twice the last one counts.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn remember(bank: &Tensor, ids: &Tensor, features: &Tensor, momentum: f64) -> Result<()> {
    let old = bank.index_select(ids, 0)?;
    let new = unit_rows(&((old * momentum)? + (features.detach() * (1.0 - momentum))?)?)?;
    let rows = ids.unsqueeze(1)?.broadcast_as(new.shape())?.contiguous()?;
    Ok(bank.scatter_set(&rows, &new, 0)?)
}

/// A bank before training, `[samples, dim]`: uniform in `±sqrt(3 / dim)`, rows of unit length on average.
pub(super) fn fresh(samples: usize, dim: usize, rng: &mut Stream) -> Result<Tensor> {
    let bound = (3.0 / dim as f64).sqrt();
    let values = rng.uniforms(samples * dim, bound);
    Ok(Tensor::from_vec(values, (samples, dim), &Device::Cpu)?)
}

/// A generator of its own for every purpose and moment, so that a resumed run draws what an unbroken one does.
pub(super) fn generator(seed: u64, what: &str, time: f64) -> Stream {
    Stream::named(seed, [what.as_bytes(), &time.to_le_bytes()].concat())
}

/// Each anchor's own number, then `negatives` others for each, drawn evenly and independently from `samples >= 2` images
/// among those that `differ` from the anchor.
pub(super) fn choose(
    ids: &[u32],
    samples: u32,
    negatives: usize,
    differ: impl Fn(usize, u32) -> bool,
    rng: &mut Stream,
) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(ids.len() * (1 + negatives));
    for (anchor, &own) in ids.iter().enumerate() {
        chosen.push(own);
        for _ in 0..negatives {
            // Any other image: one of samples - 1, those from `own` on moved up by one.
            let mut other = || {
                let draw = rng.below_u32(samples - 1);
                draw + u32::from(draw >= own)
            };
            let mut drawn = other();
            let mut tries = 1;
            while !differ(anchor, drawn) && tries < TRIES {
                drawn = other();
                tries += 1;
            }
            chosen.push(drawn);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_drawn_evenly_from_the_images_that_differ() {
        let ids = [2, 7, 0, 9];
        let negatives = 3000;
        // The first anchor differs from the odd ones only, the others from all.
        let differ = |anchor: usize, other: u32| anchor > 0 || other % 2 == 1;
        let chosen = choose(&ids, 10, negatives, differ, &mut generator(1, "x", 2.0));
        assert_eq!(chosen.len(), ids.len() * (1 + negatives));
        for (anchor, row) in chosen.chunks(1 + negatives).enumerate() {
            assert_eq!(row[0], ids[anchor], "its own comes first");
            let mut counts = [0_usize; 10];
            row[1..].iter().for_each(|id| counts[*id as usize] += 1);
            let allowed = |id: u32| id != ids[anchor] && differ(anchor, id);
            let expected = negatives / (0..10).filter(|id| allowed(*id)).count();
            for (id, count) in counts.iter().enumerate() {
                match allowed(id as u32) {
                    true => assert!(count.abs_diff(expected) < expected / 4, "{anchor}: {counts:?}"),
                    false => assert_eq!(*count, 0, "{anchor}: {counts:?}"),
                }
            }
        }
        assert_eq!(chosen, choose(&ids, 10, negatives, differ, &mut generator(1, "x", 2.0)));
        assert_ne!(chosen, choose(&ids, 10, negatives, differ, &mut generator(1, "x", 2.5)));
    }

    #[test]
    fn where_nothing_differs_another_image_stands_in() {
        let chosen = choose(&[1], 3, 50, |_, _| false, &mut generator(1, "x", 2.0));
        assert!(chosen[1..].iter().all(|id| *id != 1) && chosen.contains(&0) && chosen.contains(&2), "{chosen:?}");
    }
}
