//! How fast the engine's dense kernels are at best on this machine: layers whose images and weights stay in the first two caches.

use std::time::{Duration, Instant};

use attar_edge::arithmetic::Sum;
use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Convolution, Function, Kind, Said, Step, Tail, Tensor, Windowed, Writer};
use attar_edge::{Input, Level, Session};
use serde::{Deserialize, Serialize};

use crate::engine::attar;
use crate::error::{Error, Result};

/// Layers that are tried, the fastest counts: edge of the image, channels in and out. The smallest one's floats take 105 KB, the
/// largest one's 430 KB, bytes a quarter of it.
const LAYERS: [[u32; 3]; 4] = [[8, 256, 32], [8, 512, 64], [14, 128, 128], [14, 256, 128]];

/// Shortest measured time of each layer.
const LEAST_TIME: Duration = Duration::from_millis(25);

/// Fewest measured calls of each layer.
const LEAST_CALLS: usize = 20;

/// What the dense kernels of a level reach: 1x1 convolutions whose images and weights lie in the first two caches, the fastest
/// call of the fastest of a few shapes on one thread, times the threads. In 10^9 operations a second, two for each product and
/// its addition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Peaks {
    /// Of layers of bytes.
    pub int8_gops: f64,
    /// Of layers of floats.
    pub f32_gops: f64,
}

/// Measures the peaks of a level, for so many threads.
pub(super) fn peaks(level: Level, threads: usize) -> Result<Peaks> {
    let of = |kind: Kind| -> Result<f64> {
        let rates = LAYERS.iter().map(|layer| rate(level, kind, *layer)).collect::<Result<Vec<f64>>>()?;
        Ok(threads as f64 * rates.into_iter().fold(0.0, f64::max))
    };
    Ok(Peaks { int8_gops: of(Kind::Bytes { scale: 1.0 / 64.0, zero: 128 })?, f32_gops: of(Kind::Floats)? })
}

/// Operations of one layer in a nanosecond, by its fastest call.
fn rate(level: Level, kind: Kind, layer: [u32; 3]) -> Result<f64> {
    let failed = |error: attar_edge::Error| Error::Engine { engine: attar::NAME, problem: error.to_string() };
    let mut session = Session::new(plan(kind, layer), level).map_err(failed)?;
    let [edge, inputs, outputs] = layer.map(|size| size as usize);
    let image: Vec<f32> = (0..edge * edge * inputs).map(|i| (i % 255) as f32 / 127.0 - 1.0).collect();
    let mut logits = vec![0.0; outputs];
    let (mut best, mut operations, mut calls) = (Duration::MAX, 0, 0);
    let started = Instant::now();
    while calls < LEAST_CALLS || started.elapsed() < LEAST_TIME {
        let mut last = Instant::now();
        let mut watch = |done: attar_edge::Done<'_>| {
            let took = last.elapsed();
            if done.macs > 0 {
                (best, operations) = (best.min(took), 2 * done.macs);
            }
            last = Instant::now();
        };
        session.run_watched(Input::Floats(&image), &mut logits, &mut watch).map_err(failed)?;
        calls += 1;
    }
    Ok(operations as f64 / best.as_nanos().max(1) as f64)
}

/// A plan of an image, one 1x1 convolution, and the means of its channels.
fn plan(kind: Kind, [edge, inputs, outputs]: [u32; 3]) -> Vec<u8> {
    let mut writer = Writer::default();
    let keep = match kind {
        Kind::Bytes { .. } => Function::Bytes { low: 0, high: 255 },
        Kind::Floats => Function::Floats(FloatFunction::IDENTITY),
    };
    let mut end = 0;
    let mut tensor = |writer: &mut Writer, size: [u32; 3], life: [u32; 2]| {
        let tensor = Tensor { kind, size, border: 0, offset: end, life };
        // Behind each 64 bytes that vectors may read, and the next one at a multiple of 64.
        end = (end + tensor.bytes() + 64).next_multiple_of(64);
        writer.tensor(tensor)
    };
    let image = tensor(&mut writer, [edge, edge, inputs], [0, 1]);
    let made = tensor(&mut writer, [edge, edge, outputs], [1, 2]);
    let means = tensor(&mut writer, [1, 1, outputs], [2, 3]);
    let count = (inputs * outputs) as usize;
    let weights = match kind {
        // Small, and of both signs.
        Kind::Bytes { .. } => (0..count).map(|i| (i % 7) as u8).map(|weight| weight.wrapping_sub(3)).collect(),
        Kind::Floats => (0..count).flat_map(|i| ((i % 7) as f32 / 64.0 - 0.047).to_le_bytes()).collect::<Vec<u8>>(),
    };
    let weights = writer.constant(&weights);
    let bias = writer.constant(&vec![0; 4 * outputs as usize]);
    let multipliers = writer.constant(&0.05f32.to_le_bytes().repeat(outputs as usize));
    let tail = Tail {
        residual: None,
        function: keep,
        zero: 128,
        table: None,
        sum: Sum::new((1.0, 0), (1.0, 0), (1.0, 0)),
        swapped: false,
        range: [0, 255],
    };
    writer.step(Step::Load { output: image }, "image");
    let convolution = Convolution {
        input: image,
        output: made,
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        weights,
        bias,
        multipliers,
        tail,
    };
    writer.step(Step::Convolution(convolution), "layer");
    let windows = Windowed {
        input: made,
        output: means,
        kernel: [edge, edge],
        stride: [1, 1],
        padding: [0, 0],
        padding_end: [0, 0],
        count_padding: false,
        end: keep,
    };
    writer.step(Step::Mean(windows), "means");
    writer.step(Step::Store { input: means }, "logits");
    let input = [inputs, edge, edge];
    writer.finish(Said { input, classes: outputs, preprocessing: None, source: [0; 32], arena: end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_peak_in_both_kinds() {
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            for kind in [Kind::Bytes { scale: 0.1, zero: 3 }, Kind::Floats] {
                let found = rate(level, kind, LAYERS[0]).unwrap();
                assert!(found.is_finite() && found > 0.0, "{level}: {found}");
            }
        }
    }

    /// What is measured is a layer that moves: other images, other logits.
    #[test]
    fn the_plan_computes() {
        for kind in [Kind::Bytes { scale: 1.0 / 64.0, zero: 128 }, Kind::Floats] {
            let mut session = Session::new(plan(kind, LAYERS[0]), Level::best()).unwrap();
            let mut answer = |value: f32| {
                let mut logits = vec![0.0; 32];
                session.run(Input::Floats(&vec![value; 8 * 8 * 256]), &mut logits).unwrap();
                logits
            };
            assert_ne!(answer(0.25), answer(-0.75), "{kind:?}");
        }
    }
}
