//! Pinned randomness: a ChaCha8 stream for each (purpose, seed, epoch, sample), and the few draws made from it.
//!
//! The draws are written out here because a library's `shuffle` or `random_range` may change between versions, and with
//! it every batch of every recipe.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of random numbers of its own for each key.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// `purpose` keeps e.g. the order of an epoch apart from the augmentation of a sample.
    pub(crate) fn new(purpose: [u8; 8], seed: u64, epoch: u64, sample: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&epoch.to_le_bytes());
        key[16..24].copy_from_slice(&sample.to_le_bytes());
        key[24..].copy_from_slice(&purpose);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The stream of the augmentation of one sample.
    pub(crate) fn of_sample(seed: u64, epoch: u64, sample: u32) -> Self {
        Self::new(*b"augment ", seed, epoch, u64::from(sample))
    }

    /// Uniform in [0, 1), 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n by multiply and shift (bias below n / 2^64); 0 for n = 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// From the standard normal distribution, by Box and Muller's transform.
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), std::f64::consts::TAU * self.unit());
        radius * angle.cos()
    }

    /// Fisher-Yates, from the last place down.
    pub(crate) fn shuffle(&mut self, items: &mut [u32]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_pinned_and_apart() {
        let first = |purpose: &[u8; 8], seed, epoch, sample| Stream::new(*purpose, seed, epoch, sample).below(1 << 32);
        let base = first(b"augment ", 1, 2, 3);
        assert_eq!(base, first(b"augment ", 1, 2, 3));
        for other in [
            first(b"order   ", 1, 2, 3),
            first(b"augment ", 2, 2, 3),
            first(b"augment ", 1, 3, 3),
            first(b"augment ", 1, 2, 4),
        ] {
            assert_ne!(base, other);
        }
        // The numbers themselves: a change here changes every recipe's batches.
        let mut stream = Stream::new(*b"pinned  ", 7, 0, 0);
        assert_eq!([stream.below(1000), stream.below(1000), stream.below(1000)], [341, 509, 155]);
    }

    #[test]
    fn draws_cover_their_range() {
        let mut stream = Stream::new(*b"test    ", 0, 0, 0);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[stream.below(5) as usize] += 1;
            assert!((0.0..1.0).contains(&stream.unit()));
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
        assert_eq!(stream.below(0), 0);
    }

    #[test]
    fn normal_draws_have_their_moments() {
        let mut stream = Stream::new(*b"test    ", 1, 0, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let moment = |power| draws.iter().map(|v| v.powi(power)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.05 && moment(3).abs() < 0.1);
        assert!((moment(4) - 3.0).abs() < 0.25, "{}", moment(4));
    }
}
