//! Initial values, keyed by seed and name: the same numbers out, whatever else the network holds.

use attar_measures::random::Stream;
use attar_models::op::Init;

/// Initial values of a parameter or buffer whose full name is `name`.
pub(super) fn values(init: Init, shape: &[usize], seed: u64, name: &str) -> Vec<f32> {
    let count = shape.iter().product();
    match init {
        Init::Constant(value) => vec![value as f32; count],
        Init::Uniform(bound) => Stream::named(seed, name).uniforms(count, bound),
        Init::Normal(sd) => Stream::named(seed, name).normals(count, sd),
    }
}
