//! Initial values from a pinned generator: seed and name in, the same numbers out, whatever else the network holds.

use attar_models::op::Init;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Initial values of a parameter or buffer whose full name is `name`.
pub(super) fn values(init: Init, shape: &[usize], seed: u64, name: &str) -> Vec<f32> {
    let count = shape.iter().product();
    match init {
        Init::Constant(value) => vec![value as f32; count],
        Init::Uniform(bound) => uniform(&mut generator(seed, name), count, bound),
        Init::Normal(sd) => normal(&mut generator(seed, name), count, sd),
    }
}

/// ChaCha8 keyed by the sha256 of the seed (8 bytes, little endian) and the full name.
fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize();
    ChaCha8Rng::from_seed(digest.into())
}

/// Normal values by Box and Muller's transform of two uniform ones.
fn normal(rng: &mut ChaCha8Rng, count: usize, sd: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        values.extend([(sd * radius * cos) as f32, (sd * radius * sin) as f32]);
    }
    values.truncate(count);
    values
}

fn uniform(rng: &mut ChaCha8Rng, count: usize, bound: f64) -> Vec<f32> {
    (0..count).map(|_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32).collect()
}
