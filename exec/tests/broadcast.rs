//! Sums and products of which the second operand has axes of 1, and what stochastic depth draws.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use attar_exec::ops::{Backend, add, add_backward, depth_mask, mul, mul_backward};
use attar_measures::random::Stream;
use candle_core::{DType, Device, Tensor};

/// Largest difference in units of the reference's largest value.
fn difference(expected: &Tensor, found: &Tensor) -> f32 {
    assert_eq!(expected.dims(), found.dims());
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (expected, found) = (values(expected), values(found));
    let scale = expected.iter().fold(1e-6f32, |max, v| max.max(v.abs()));
    expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Sums and products of every shape that PyTorch's fixture has, by kernels and composed.
#[test]
fn what_has_axes_of_one_is_broadcast_and_its_gradient_summed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/ops/broadcast.safetensors");
    let all = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let cases: Vec<&str> = all.keys().filter_map(|name| name.strip_suffix(".a")).collect();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let get = |tensor: &str| &all[&format!("{case}.{tensor}")];
        let (a, b, dy) = (get("a"), get("b"), get("dy"));
        for on in [Backend::Cpu, Backend::Composed] {
            let (y, (da, db)) = if case.starts_with("add") {
                (add(on, a, b).unwrap(), add_backward(on, dy, b.dims()).unwrap())
            } else {
                (mul(on, a, b).unwrap(), mul_backward(on, a, b, dy).unwrap())
            };
            for (what, found) in [("y", y), ("da", da), ("db", db)] {
                let difference = difference(get(what), &found);
                assert!(difference < 2e-6, "{case}.{what} {on:?}: {difference}");
            }
        }
    }
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (a, b) = (zeros(&[2, 3, 4, 4]), zeros(&[1, 3, 4, 4]));
    assert!(add(Backend::Cpu, &a, &b).is_err() && mul(Backend::Cpu, &b, &a).is_err());
}

#[test]
fn stochastic_depth_drops_whole_samples_and_keeps_the_mean() {
    let mask = depth_mask(&[4000, 3, 2, 2], 0.25, &mut Stream::of_number(1), &Device::Cpu).unwrap();
    assert_eq!(mask.dims(), [4000, 3, 1, 1]);
    let rows = mask.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    assert!(rows.iter().all(|row| row.iter().all(|value| *value == row[0])));
    let kept = rows.iter().filter(|row| row[0] == 1.0 / 0.75).count();
    assert_eq!(kept + rows.iter().filter(|row| row[0] == 0.0).count(), 4000);
    assert!((2900..3100).contains(&kept), "{kept} of 4000 kept");
    let row = depth_mask(&[5, 7], 0.5, &mut Stream::of_number(1), &Device::Cpu).unwrap();
    assert_eq!(row.dims(), [5, 7]);
    assert!(depth_mask(&[5], 0.5, &mut Stream::of_number(1), &Device::Cpu).is_err());
}
