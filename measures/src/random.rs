//! Keyed random numbers: a stream of its own for each key, and the draws that are made from it.
//!
//! **The promise**: the same key gives the same draws, bit for bit, in every version of this
//! project, on every machine, with any number of threads. Batches, initial values, dropout, views
//! and memories of a recipe hang on it; a resumed run has no generator's state to restore, because
//! every draw is keyed by the place where it is made. Therefore everything above ChaCha8 is written
//! out here: a library's `shuffle`, `random_range` or normal distribution may change between
//! versions. The test `draws_are_pinned` holds a few bits of each.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of random numbers.
///
/// ```
/// use attar_measures::random::{Stream, purpose};
///
/// let draw = |sample| Stream::at(purpose("augment"), 7, 3, sample).unit();
/// assert_eq!(draw(11), draw(11)); // whatever was drawn elsewhere
/// assert_ne!(draw(11), draw(12));
/// ```
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

/// Eight bytes for a name: its own where they suffice, padded with spaces, or the first of its
/// sha256.
pub fn purpose(name: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    match bytes.get_mut(..name.len()) {
        Some(start) => start.copy_from_slice(name.as_bytes()),
        None => bytes.copy_from_slice(&Sha256::digest(name.as_bytes())[..8]),
    }
    bytes
}

impl Stream {
    /// Keyed by the seed of the run, the epoch, a place in it (a sample, a step) and a [`purpose`],
    /// which keeps e.g. the order of an epoch apart from the augmentation of a sample. The key is
    /// the four of them, eight bytes each, little endian.
    pub fn at(purpose: [u8; 8], seed: u64, epoch: u64, place: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&epoch.to_le_bytes());
        key[16..24].copy_from_slice(&place.to_le_bytes());
        key[24..].copy_from_slice(&purpose);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Keyed by the sha256 of the seed (eight bytes, little endian) and a name of any length, e.g.
    /// a parameter's: its draws do not depend on what else there is.
    pub fn named(seed: u64, name: impl AsRef<[u8]>) -> Self {
        let key = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
        Self(ChaCha8Rng::from_seed(key.into()))
    }

    /// Keyed by one number, as `rand_core`'s `seed_from_u64` expands it (PCG32).
    pub fn of_number(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [0, 1) in single precision, 24 bits.
    pub fn unit_f32(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n by multiply and shift (bias below n / 2^64); 0 for n = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in 0..n from 32 bits, and 32 more where those would be biased; 0 for n = 0. As
    /// `random_range` of `rand` 0.9 draws a `u32`.
    pub fn below_u32(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        let wide = u64::from(self.0.next_u32()) * u64::from(n);
        let (drawn, low) = ((wide >> 32) as u32, wide as u32);
        if low <= n.wrapping_neg() {
            return drawn;
        }
        let more = ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32;
        drawn + u32::from(low.checked_add(more).is_none())
    }

    /// Fills `bytes` evenly.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Radius and angle of a point whose two coordinates are standard normal (Box and Muller 1958).
    fn normal_point(&mut self) -> (f64, f64) {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (radius, std::f64::consts::TAU * self.unit())
    }

    /// From the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = self.normal_point();
        radius * angle.cos()
    }

    /// `count` values from the normal distribution with mean 0 and deviation `sd`, two from each
    /// point.
    pub fn normals(&mut self, count: usize, sd: f64) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let (radius, angle) = self.normal_point();
            let (sin, cos) = angle.sin_cos();
            values.extend([(sd * radius * cos) as f32, (sd * radius * sin) as f32]);
        }
        values.truncate(count);
        values
    }

    /// `count` values, uniform in [-bound, bound).
    pub fn uniforms(&mut self, count: usize, bound: f64) -> Vec<f32> {
        (0..count).map(|_| ((2.0 * self.unit() - 1.0) * bound) as f32).collect()
    }

    /// From the Poisson distribution of a mean, by inversion: its terms are summed until they
    /// exceed one uniform draw (Devroye 1986, Non-Uniform Random Variate Generation, section
    /// X.3.3); a mean above 500, whose first term would underflow, is the sum of parts. 0 of a mean
    /// that is not above 0.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        const MOST: f64 = 500.0;
        let (mut count, mut left) = (0, mean);
        while left > MOST && left.is_finite() {
            count += self.poisson(MOST);
            left -= MOST;
        }
        let draw = self.unit();
        let mut term = (-left).exp();
        let (mut k, mut sum) = (0_u64, term);
        while left > 0.0 && draw >= sum && term > 0.0 {
            k += 1;
            term *= left / k as f64;
            sum += term;
        }
        count + k
    }

    /// `Gamma(shape, 1)` by Marsaglia and Tsang's rejection (2000); below 1 by the boost
    /// `Gamma(shape + 1) u^(1 / shape)`.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * (1.0 - self.unit()).powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.unit();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// `Beta(alpha, alpha)` as the share of one of two gamma variates.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        // Both underflow for a tiny alpha, whose distribution sits at 0 and 1.
        if a + b > 0.0 { a / (a + b) } else { f64::from(u8::from(self.unit() < 0.5)) }
    }

    /// Shuffles evenly (Fisher and Yates, from the last place down), each draw by
    /// [`Stream::below`].
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        fisher_yates(items, |count| self.below(count as u64) as usize);
    }

    /// A permutation of `0..n`, uniformly drawn. Its draws have the 53 bits of [`Stream::unit`],
    /// not the 64 of [`Stream::shuffle`]: recipes hang on both, and once in some 10^12 draws they
    /// part.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        fisher_yates(&mut order, |count| (self.unit() * count as f64) as usize);
        order
    }
}

fn fisher_yates<T>(items: &mut [T], mut below: impl FnMut(usize) -> usize) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn keys_draw_apart() {
        let first = |name: &str, seed, epoch, place| Stream::at(purpose(name), seed, epoch, place).below(1 << 32);
        let base = first("augment", 1, 2, 3);
        assert_eq!(base, first("augment", 1, 2, 3));
        for other in [
            first("order", 1, 2, 3),
            first("a name of more than eight letters", 1, 2, 3),
            first("augment", 2, 2, 3),
            first("augment", 1, 3, 3),
            first("augment", 1, 2, 4),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!((purpose("augment"), purpose("eight it")), (*b"augment ", *b"eight it"));
        let named = |seed, name: &str| Stream::named(seed, name).below(1 << 32);
        assert_eq!(named(1, "conv1.weight"), named(1, "conv1.weight"));
        assert_ne!(named(1, "conv1.weight"), named(2, "conv1.weight"));
        assert_ne!(named(1, "conv1.weight"), named(1, "conv2.weight"));
    }

    #[test]
    fn uniform_draws_are_rands() {
        let (mut own, mut rand) = (Stream::of_number(3), ChaCha8Rng::seed_from_u64(3));
        for n in [1, 2, 3, 7, 1000, 49_999, u32::MAX / 2 + 2, u32::MAX] {
            for _ in 0..500 {
                assert_eq!(own.below_u32(n), rand.random_range(0..n), "below {n}");
                assert_eq!(own.unit().to_bits(), rand.random::<f64>().to_bits());
                assert_eq!(own.unit_f32().to_bits(), rand.random::<f32>().to_bits());
            }
        }
        assert_eq!((own.below_u32(0), own.below(0)), (0, 0));
    }

    #[test]
    fn draws_cover_their_range() {
        let mut stream = Stream::of_number(0);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[stream.below(5) as usize] += 1;
            assert!((0.0..1.0).contains(&stream.unit()) && (-2.0..3.0).contains(&stream.between(-2.0, 3.0)));
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn normal_draws_have_their_moments() {
        let mut stream = Stream::of_number(1);
        let one_by_one: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let by_twos = stream.normals(20_001, 1.0).into_iter().map(f64::from).collect::<Vec<_>>();
        assert_eq!(by_twos.len(), 20_001);
        for draws in [one_by_one, by_twos] {
            let moment = |power| draws.iter().map(|v| v.powi(power)).sum::<f64>() / draws.len() as f64;
            assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.05 && moment(3).abs() < 0.1);
            assert!((moment(4) - 3.0).abs() < 0.25, "{}", moment(4));
        }
    }

    #[test]
    fn poisson_draws_have_their_moments() {
        let mut stream = Stream::of_number(1);
        for mean in [0.01, 1.0, 3.5, 60.0, 480.0, 1300.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| stream.poisson(mean) as f64).collect();
            let found = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|k| (k - found).powi(2)).sum::<f64>() / draws.len() as f64;
            assert!((found - mean).abs() < 4.0 * (mean / 20_000.0).sqrt(), "mean {mean}: {found}");
            assert!((variance / mean - 1.0).abs() < if mean < 0.1 { 0.3 } else { 0.06 }, "mean {mean}: {variance}");
        }
        assert_eq!([0.0, -1.0, f64::NAN].map(|mean| stream.poisson(mean)), [0; 3]);
    }

    #[test]
    fn a_beta_variate_has_the_moments_of_its_distribution() {
        let mut stream = Stream::of_number(1);
        for alpha in [0.2, 1.0, 3.0] {
            let values: Vec<f64> = (0..20_000).map(|_| stream.beta(alpha)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "alpha {alpha}: mean {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "alpha {alpha}: variance {variance}, expected {expected}"
            );
        }
        assert!((0..100).all(|_| (0.0..=1.0).contains(&stream.beta(1e-6))));
    }

    #[test]
    fn every_place_of_a_permutation_is_as_likely() {
        let mut stream = Stream::of_number(2);
        let mut by_shuffle = |_: usize| {
            let mut order = vec![0, 1, 2, 3];
            stream.shuffle(&mut order);
            order
        };
        let mut other = Stream::of_number(2);
        let mut by_permutation = |n: usize| other.permutation(n);
        let draws: [&mut dyn FnMut(usize) -> Vec<u32>; 2] = [&mut by_shuffle, &mut by_permutation];
        for draw in draws {
            let mut seen = [[0; 4]; 4];
            for _ in 0..8000 {
                draw(4).iter().enumerate().for_each(|(at, value)| seen[at][*value as usize] += 1);
            }
            assert!(seen.iter().flatten().all(|count| (1850..2150).contains(count)), "{seen:?}");
        }
    }

    const PINNED: [u64; 6] =
        [4605727226444831875, 1063644731, 455, 4610072536054983882, 4596175298643866001, 4607166388390091114];
    const PINNED_FLOATS: [u32; 5] = [1037989945, 1015982112, 3180795408, 3175088090, 1050471909];
    const PINNED_ORDERS: [[u32; 8]; 2] = [[7, 5, 3, 6, 0, 1, 2, 4], [2, 3, 4, 0, 1, 7, 5, 6]];

    /// A change here changes the numbers of every recipe.
    #[test]
    fn draws_are_pinned() {
        let mut stream = Stream::at(*b"pinned  ", 7, 0, 0);
        assert_eq!([stream.below(1000), stream.below(1000), stream.below(1000)], [341, 509, 155]);
        let mut stream = Stream::named(7, "conv1.weight");
        let pinned = [
            stream.unit().to_bits(),
            u64::from(stream.unit_f32().to_bits()),
            u64::from(stream.below_u32(1000)),
            stream.normal().to_bits(),
            stream.gamma(0.5).to_bits(),
            stream.beta(0.3).to_bits(),
        ];
        assert_eq!(pinned, PINNED, "{pinned:?}");
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let floats = [bits(stream.normals(3, 0.1)), bits(stream.uniforms(2, 0.5))].concat();
        assert_eq!(floats, PINNED_FLOATS, "{floats:?}");
        let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
        stream.shuffle(&mut order);
        assert_eq!([order.to_vec(), stream.permutation(8)], PINNED_ORDERS);
    }
}
