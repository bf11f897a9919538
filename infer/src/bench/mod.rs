//! How fast, how large: latency, memory and size of a model in each runtime, measured alike.

mod clock;
mod interleave;
pub mod memory;
#[cfg(feature = "edge")]
mod peak;
#[cfg(feature = "edge")]
mod profile;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::engine::{Answers, EngineKind, EngineModel, EngineSpec};
use crate::error::{Error, Result};
use crate::parity::Skipped;
use crate::side::Side;

pub use clock::Clock;
pub use interleave::{Interleaved, Relative, Turns, interleave, table as interleaved_table};
#[cfg(feature = "edge")]
pub use peak::Peaks;
#[cfg(feature = "edge")]
pub use profile::{Arithmetic, LayerTime, Profile, profile, table as profile_table};

/// How to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Images in one call.
    pub batch: usize,
    /// Calls before the measured ones.
    pub warm_up: usize,
    /// Fewest measured calls.
    pub least_calls: usize,
    /// Shortest measured time; calls go on until both are reached.
    pub least_time: Duration,
}

impl Default for Options {
    /// One image, 10 calls to warm up, then at least 50 calls and 2 seconds.
    fn default() -> Self {
        Self { batch: 1, warm_up: 10, least_calls: 50, least_time: Duration::from_secs(2) }
    }
}

/// Most measured calls, so that a tiny network does not fill memory with timings.
const MOST_CALLS: usize = 1_000_000;

/// What one runtime took for one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measurement {
    /// Name of the runtime.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The model file.
    pub file: String,
    /// Precision of its arithmetic.
    pub precision: String,
    /// What the file gives; anything but logits is turned into them, which is part of a call.
    #[serde(default, skip_serializing_if = "Answers::are_logits")]
    pub answers: Answers,
    /// Size of the model file in bytes.
    pub file_bytes: u64,
    /// Threads that a call keeps busy; fewer than allowed where the runtime cannot use more for so many images.
    pub threads: usize,
    /// Images of a call.
    pub batch: usize,
    /// Measured calls.
    pub calls: usize,
    /// Milliseconds from bytes to the first answer, library loading included for the first engine of a process.
    pub load_ms: f64,
    /// Milliseconds of a call.
    pub latency_ms: Latency,
    /// Images a second at the median.
    pub images_per_second: f64,
    /// Most memory held above what the process held before loading, in bytes; Linux only. What an earlier engine freed but
    /// the allocator kept makes it too small, so measure engines in processes of their own when it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Median latency in units of the first measurement's.
    pub relative: f64,
}

/// Quantiles of a call's duration, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Latency {
    /// Fastest call.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90 % of calls are not slower.
    pub p90: f64,
    /// 99 % of calls are not slower.
    pub p99: f64,
}

/// Measures every model of the bundle in each runtime, in order.
///
/// # Errors
/// As [`engine::open`](crate::engine::open), and [`Error::Setting`] for a batch of 0, no measured call or no runtime.
pub fn bench(bundle: &Bundle, specs: &[EngineSpec], options: &Options) -> Result<Vec<Measurement>> {
    let asked = Asked { models: &bundle.engine_models()?, input: None, images: real_images(Some(bundle)) };
    Ok(asked.measured(specs, &[], options)?.0)
}

/// Measures every model of a bundle, or an ONNX file, in each of the `wanted` runtimes, and of the `optional` ones in those
/// that take it; the others are returned with the reason. Nobody need know its classes.
///
/// # Errors
/// As [`bench()`], and when no runtime takes it.
pub fn bench_side(
    side: &Side,
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
    options: &Options,
) -> Result<(Vec<Measurement>, Vec<Skipped>)> {
    let asked = Asked { models: side.models(), input: Some(side.input()), images: real_images(side.bundle()) };
    match side.bundle() {
        // A bundle's models are made for every runtime: one that does not take them is no runtime to leave out.
        Some(_) => asked.measured(&[wanted, optional].concat(), &[], options),
        None => asked.measured(wanted, optional, options),
    }
}

/// What is measured.
struct Asked<'a> {
    models: &'a [EngineModel],
    /// Sizes that a file leaves free.
    input: Option<[usize; 3]>,
    /// Preprocessed images, if there are some.
    images: &'a [f32],
}

/// A bundle's goldens; nothing without them.
fn real_images(bundle: Option<&Bundle>) -> &[f32] {
    bundle.and_then(Bundle::goldens).map_or(&[], |goldens| &goldens.input)
}

impl Asked<'_> {
    fn measured(
        &self,
        wanted: &[EngineSpec],
        optional: &[EngineSpec],
        options: &Options,
    ) -> Result<(Vec<Measurement>, Vec<Skipped>)> {
        if options.batch == 0 || options.least_calls == 0 {
            let problem = "a batch and a number of calls of at least 1 are needed".to_owned();
            return Err(Error::Setting { setting: "bench", problem });
        }
        if wanted.is_empty() && optional.is_empty() {
            let problem =
                "no runtime at hand\n  hint: `doctor` says which there are and what the others lack".to_owned();
            return Err(Error::Setting { setting: "bench", problem });
        }
        let (mut all, mut skipped, mut refused): (Vec<Measurement>, Vec<Skipped>, _) = (Vec::new(), Vec::new(), None);
        for model in self.models {
            let specs = wanted.iter().map(|s| (s, true)).chain(optional.iter().map(|s| (s, false)));
            for (spec, needed) in specs.filter(|(spec, _)| model.is_for(spec.kind)) {
                let needed = needed && (spec.kind != EngineKind::Attar || model.is_plan() || wanted.len() == 1);
                let mut measured = match self.measure(model, spec, options) {
                    Ok(measured) => measured,
                    Err(Error::Engine { engine, problem }) if !needed => {
                        let reason = problem.lines().next().unwrap_or_default().to_owned();
                        skipped.push(Skipped { engine: engine.to_owned(), reason });
                        refused = Some(Error::Engine { engine, problem });
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let first = all.first().map_or(measured.latency_ms.p50, |first| first.latency_ms.p50);
                measured.relative = measured.latency_ms.p50 / first;
                all.push(measured);
            }
        }
        match refused {
            Some(refused) if all.is_empty() => Err(refused),
            _ => Ok((all, skipped)),
        }
    }

    fn measure(&self, model: &EngineModel, spec: &EngineSpec, options: &Options) -> Result<Measurement> {
        let before = memory::start();
        let loading = Instant::now();
        let mut engine = model.open(spec, self.input)?;
        let signature = engine.signature();
        let batch = batch(self.images, signature.input_len(), options.batch);
        engine.run(&batch, options.batch)?;
        let load_ms = milliseconds(loading.elapsed());
        for _ in 0..options.warm_up {
            engine.run(&batch, options.batch)?;
        }
        let mut calls = Vec::new();
        let started = Instant::now();
        while (calls.len() < options.least_calls || started.elapsed() < options.least_time) && calls.len() < MOST_CALLS
        {
            let call = Instant::now();
            engine.run(&batch, options.batch)?;
            calls.push(milliseconds(call.elapsed()));
        }
        let latency_ms = latency(&mut calls);
        Ok(Measurement {
            engine: engine.name().to_owned(),
            version: engine.version().to_owned(),
            file: model.name().to_owned(),
            precision: model.precision().to_owned(),
            file_bytes: model.bytes().len() as u64,
            threads: engine.threads(options.batch),
            answers: engine.answers(),
            batch: options.batch,
            calls: calls.len(),
            load_ms,
            latency_ms,
            images_per_second: 1000.0 * options.batch as f64 / latency_ms.p50,
            peak_memory_bytes: before.and_then(memory::peak_since),
            relative: 1.0,
        })
    }
}

/// Real images where there are some of the right shape, a ramp elsewhere (all zeros would be faster than life on machines
/// that are slow with tiny numbers, and kinder than life to branches).
fn batch(images: &[f32], len: usize, n: usize) -> Vec<f32> {
    let ramp: Vec<f32> = (0..len).map(|i| (i % 255) as f32 / 127.0 - 1.0).collect();
    let real = !images.is_empty() && images.len().is_multiple_of(len);
    let images = if real { images } else { &ramp };
    images.iter().copied().cycle().take(len * n).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    1000.0 * duration.as_secs_f64()
}

/// Quantiles by the nearest-rank rule.
fn latency(calls: &mut [f64]) -> Latency {
    calls.sort_by(f64::total_cmp);
    let rank = |share: f64| attar_measures::nearest_rank(calls, share).unwrap_or_default();
    Latency { min: rank(0.0), p50: rank(0.5), p90: rank(0.9), p99: rank(0.99) }
}

/// Measurements as a table for a terminal.
pub fn table(measurements: &[Measurement]) -> String {
    let version = measurements.iter().map(|m| m.version.len()).max().unwrap_or(0).max("version".len());
    let mut lines = vec![format!(
        "{:<8} {:<version$} {:<9} {:>7} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>10} {:>10}",
        "engine",
        "version",
        "precision",
        "threads",
        "batch",
        "min ms",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "images/s",
        "relative",
        "memory",
        "file",
    )];
    for m in measurements {
        let Latency { min, p50, p90, p99 } = m.latency_ms;
        let memory = m.peak_memory_bytes.map_or("-".to_owned(), mebibytes);
        lines.push(format!(
            "{:<8} {:<version$} {:<9} {:>7} {:>5} {min:>9.3} {p50:>9.3} {p90:>9.3} {p99:>9.3} {:>9.0} {:>7.2}x {memory:>10} {:>10}",
            m.engine,
            m.version,
            m.precision,
            m.threads,
            m.batch,
            m.images_per_second,
            m.relative,
            mebibytes(m.file_bytes),
        ));
    }
    for m in measurements.iter().filter(|m| !m.answers.are_logits()) {
        lines.push(format!("{}: it gives {}", m.file, m.answers));
    }
    lines.join("\n")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let mut calls: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(latency(&mut calls), Latency { min: 1.0, p50: 50.0, p90: 90.0, p99: 99.0 });
        assert_eq!(latency(&mut [7.0]), Latency { min: 7.0, p50: 7.0, p90: 7.0, p99: 7.0 });
    }
}
