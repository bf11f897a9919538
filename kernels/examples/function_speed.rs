//! Prints values per nanosecond of activations, forward and backward, in the cache and in memory:
//! `cargo run --release --example function_speed`.

use std::time::Instant;

use attar_kernels::{Pointwise, pointwise, pointwise_backward};

/// Values of a small image and of a batch of large ones.
const LENGTHS: [usize; 2] = [1 << 14, 1 << 23];

const FUNCTIONS: [Pointwise; 5] =
    [Pointwise::Silu, Pointwise::Sigmoid, Pointwise::Gelu, Pointwise::GeluTanh, Pointwise::HardSwish];

fn main() {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<12} {:>9} {:>9} {:>9}", "values/ns", "length", "forward", "backward");
    for len in LENGTHS {
        let x: Vec<f32> = (0..len).map(|i| (i % 1001) as f32 / 100.0 - 5.0).collect();
        let (mut y, dy) = (vec![0.0; len], vec![0.5; len]);
        for function in FUNCTIONS {
            let forward = best_of(len, || pointwise(function, &x, &mut y));
            let backward = best_of(len, || pointwise_backward(function, &x, &dy, &mut y));
            let name = format!("{function:?}");
            println!("{name:<12} {len:>9} {:>9.2} {:>9.2}", len as f64 / forward, len as f64 / backward);
        }
    }
}

/// Nanoseconds of the quickest of several rounds.
fn best_of(len: usize, mut work: impl FnMut()) -> f64 {
    let calls = ((1 << 24) / len).max(1);
    let round = |_| {
        let started = Instant::now();
        (0..calls).for_each(|_| work());
        started.elapsed().as_nanos() as f64 / calls as f64
    };
    (0..9).map(round).fold(f64::INFINITY, f64::min)
}
