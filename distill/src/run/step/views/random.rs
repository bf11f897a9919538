//! Randomness of a step, keyed by the seed and by where the step is, so that a resumed run needs no generator's state.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::run::step::Position;

/// The generator of one purpose (`dropout`, the name of a view) at one step.
pub(in crate::run) fn generator(seed: u64, at: Position, purpose: &str) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(at.epoch as u64).to_le_bytes());
    // The first batch of a step has the key that steps of one batch have.
    key[16..24].copy_from_slice(&(at.step as u64 | (at.part as u64) << 40).to_le_bytes());
    key[24..].copy_from_slice(&short(purpose));
    ChaCha8Rng::from_seed(key)
}

/// The seed of a view that augments with draws of its own.
pub(in crate::run) fn view_seed(seed: u64, view: &str) -> u64 {
    seed ^ u64::from_le_bytes(short(view))
}

/// Eight bytes for a name: its own where they suffice, padded with spaces, or the first of its sha256.
fn short(name: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    match bytes.get_mut(..name.len()) {
        Some(start) => start.copy_from_slice(name.as_bytes()),
        None => bytes.copy_from_slice(&Sha256::digest(name.as_bytes())[..8]),
    }
    bytes
}

/// A permutation of `0..n`, uniformly drawn (Fisher and Yates, from the last place down).
pub(super) fn permutation(n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        order.swap(last, (rng.random::<f64>() * (last + 1) as f64) as usize);
    }
    order
}

/// `Beta(alpha, alpha)` as the share of one of two gamma variates.
pub(super) fn beta(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    let (a, b) = (gamma(alpha, rng), gamma(alpha, rng));
    // Both underflow for a tiny alpha, whose distribution sits at 0 and 1.
    if a + b > 0.0 { a / (a + b) } else { f64::from(u8::from(rng.random::<f64>() < 0.5)) }
}

/// `Gamma(shape, 1)` by Marsaglia and Tsang's rejection (2000); below 1 by the boost `Gamma(shape + 1) u^(1 / shape)`.
fn gamma(shape: f64, rng: &mut ChaCha8Rng) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, rng) * (1.0 - rng.random::<f64>()).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let x = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - rng.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beta_variate_has_the_moments_of_its_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for alpha in [0.2, 1.0, 3.0] {
            let values: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut rng)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "alpha {alpha}: mean {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "alpha {alpha}: variance {variance}, expected {expected}"
            );
        }
        assert!((0..100).all(|_| (0.0..=1.0).contains(&beta(1e-6, &mut rng))));
    }

    #[test]
    fn every_place_of_a_permutation_is_as_likely() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut seen = [[0; 4]; 4];
        for _ in 0..8000 {
            permutation(4, &mut rng).iter().enumerate().for_each(|(at, value)| seen[at][*value as usize] += 1);
        }
        assert!(seen.iter().flatten().all(|count| (1850..2150).contains(count)), "{seen:?}");
    }

    #[test]
    fn purposes_and_places_draw_apart() {
        let at = |epoch, step| Position { epoch, step, part: 0, steps_per_epoch: 10 };
        let first = |at, purpose| generator(3, at, purpose).random::<u64>();
        let base = first(at(1, 2), "dropout");
        assert_eq!(base, first(at(1, 2), "dropout"));
        assert_ne!(base, first(Position { part: 1, ..at(1, 2) }, "dropout"));
        for other in [first(at(2, 2), "dropout"), first(at(1, 3), "dropout"), first(at(1, 2), "a long name of a view")]
        {
            assert_ne!(base, other);
        }
        assert_ne!(view_seed(0, "strong"), view_seed(0, "weak"));
    }
}
