//! Where the time of the engine `attar` goes: layer by layer, beside what its kernels reach on this machine at best.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use attar_edge::plan::Step;
use attar_edge::{Input, Session};
use serde::{Deserialize, Serialize};

use super::peak::{Peaks, peaks};
use super::{batch, milliseconds, real_images};
use crate::engine::{EngineModel, EngineSpec, attar};
use crate::error::{Error, Result};
use crate::side::Side;

/// Calls before the measured ones.
const WARM_UP: usize = 10;

/// Fewest measured calls.
const LEAST_CALLS: usize = 50;

/// Most measured calls, so that the timings of many steps do not fill memory.
const MOST_CALLS: usize = 10_000;

/// Where the time of one model goes, one image at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profile {
    /// The engine's version, with its SIMD level.
    pub version: String,
    /// The model file.
    pub file: String,
    /// Precision of its arithmetic.
    pub precision: String,
    /// Threads that layers are shared out over.
    pub threads: usize,
    /// Measured calls.
    pub calls: usize,
    /// Milliseconds of all layers: their medians, added up.
    pub total_ms: f64,
    /// What the engine's kernels reach on this machine.
    pub peak: Peaks,
    /// Its layers in the order in which they run.
    pub layers: Vec<LayerTime>,
}

/// What one layer took. A layer is a step of the plan: a convolution with all that the compiler put at its end, or what stands
/// alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LayerTime {
    /// Name of the node that it computes.
    pub name: String,
    /// What it is, e.g. `convolution`.
    pub kind: String,
    /// What it computes in.
    pub arithmetic: Arithmetic,
    /// Median of its milliseconds.
    pub ms: f64,
    /// Its share of all layers' time, 0 to 1.
    pub share: f64,
    /// 10^9 operations a second, two for each product and its addition; of convolutions and linear layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gops: Option<f64>,
    /// The same as a share of `peak` in its arithmetic. Layers of floats that Winograd's algorithm computes with fewer products can
    /// be above 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_peak: Option<f64>,
}

/// What a layer's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Bytes, with sums of 32 bits.
    Int8,
    /// 32-bit floats.
    F32,
}

impl Arithmetic {
    fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F32 => "f32",
        }
    }
}

/// Measures the layers of every model of a side, for at least `least_time` each.
///
/// # Errors
/// As [`engine::open`](crate::engine::open), for a model that the engine `attar` does not run.
pub fn profile(side: &Side, spec: &EngineSpec, least_time: Duration) -> Result<Vec<Profile>> {
    side.models().iter().map(|model| of_model(side, model, spec, least_time)).collect()
}

fn of_model(side: &Side, model: &EngineModel, spec: &EngineSpec, least_time: Duration) -> Result<Profile> {
    spec.check()?;
    let size = Some(side.input());
    let (mut session, _) = attar::session(model.source(), spec.threads, size)?;
    let floats = session.model().header().input.iter().map(|size| *size as usize).product();
    let image = batch(real_images(side.bundle()), floats, 1);
    let times = timed(&mut session, &image, least_time)?;
    let peak = peaks(session.level(), session.threads())?;
    let total_ms = times.iter().map(|step| step.ms).sum::<f64>();
    let layers = times.iter().map(|step| layer(step, total_ms, &peak)).collect();
    Ok(Profile {
        version: attar::version(session.level()),
        file: model.name().to_owned(),
        precision: model.precision().to_owned(),
        threads: session.threads(),
        calls: times.first().map_or(0, |step| step.calls),
        total_ms,
        peak,
        layers,
    })
}

/// One step of a plan, and its median.
struct Timed {
    name: String,
    kind: &'static str,
    arithmetic: Arithmetic,
    macs: u64,
    calls: usize,
    ms: f64,
}

/// Runs a session often, and looks at the clock after each step.
fn timed(session: &mut Session, image: &[f32], least_time: Duration) -> Result<Vec<Timed>> {
    let arithmetics = arithmetics(session);
    let failed = |error: attar_edge::Error| Error::Engine { engine: attar::NAME, problem: error.to_string() };
    let mut logits = vec![0.0; session.model().header().classes as usize];
    for _ in 0..WARM_UP {
        session.run(Input::Floats(image), &mut logits).map_err(failed)?;
    }
    let mut steps: BTreeMap<u32, (String, &'static str, u64, Vec<f64>)> = BTreeMap::new();
    let started = Instant::now();
    let mut calls = 0;
    while (calls < LEAST_CALLS || started.elapsed() < least_time) && calls < MOST_CALLS {
        let mut last = Instant::now();
        let mut watch = |done: attar_edge::Done<'_>| {
            let took = last.elapsed();
            let new = || (done.name.to_owned(), done.what, done.macs, Vec::new());
            steps.entry(done.step).or_insert_with(new).3.push(milliseconds(took));
            last = Instant::now();
        };
        session.run_watched(Input::Floats(image), &mut logits, &mut watch).map_err(failed)?;
        calls += 1;
    }
    let timed = |((name, kind, macs, mut times), arithmetic): ((String, &'static str, u64, Vec<f64>), Arithmetic)| {
        times.sort_by(f64::total_cmp);
        let ms = attar_measures::nearest_rank(&times, 0.5).unwrap_or_default();
        Timed { name, kind, arithmetic, macs, calls, ms }
    };
    Ok(steps.into_values().zip(arithmetics).map(timed).collect())
}

/// What each step computes in: the kind of what it reads, and of the image's what it makes.
fn arithmetics(session: &Session) -> Vec<Arithmetic> {
    let plan = session.model();
    let kinds: Vec<Arithmetic> = plan
        .tensors()
        .map(|tensor| if tensor.quantisation().is_some() { Arithmetic::Int8 } else { Arithmetic::F32 })
        .collect();
    let of = |step: Step| {
        let tensor = step.inputs().next().or(step.output());
        tensor.and_then(|tensor| kinds.get(tensor as usize).copied()).unwrap_or(Arithmetic::F32)
    };
    plan.steps().map(of).collect()
}

fn layer(step: &Timed, total_ms: f64, peak: &Peaks) -> LayerTime {
    let gops = (step.macs > 0 && step.ms > 0.0).then(|| 2.0 * step.macs as f64 / (step.ms * 1e6));
    let most = match step.arithmetic {
        Arithmetic::Int8 => peak.int8_gops,
        Arithmetic::F32 => peak.f32_gops,
    };
    LayerTime {
        name: step.name.clone(),
        kind: step.kind.to_owned(),
        arithmetic: step.arithmetic,
        ms: step.ms,
        share: step.ms / total_ms,
        gops,
        of_peak: gops.map(|gops| gops / most),
    }
}

/// A profile as a table for a terminal.
pub fn table(profile: &Profile) -> String {
    let name = profile.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0).max("layer".len());
    let Peaks { int8_gops, f32_gops } = profile.peak;
    let mut lines = vec![
        format!(
            "{}: {}, {} threads, {} calls, {:.3} ms in layers; peak {int8_gops:.0} GOP/s in int8, {f32_gops:.0} in f32",
            profile.file, profile.version, profile.threads, profile.calls, profile.total_ms
        ),
        format!(
            "{:<name$} {:<12} {:<5} {:>8} {:>7} {:>8} {:>8}",
            "layer", "kind", "in", "us", "share", "GOP/s", "of peak"
        ),
    ];
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for layer in &profile.layers {
        let line = format!(
            "{:<name$} {:<12} {:<5} {:>8.2} {:>7} {:>8} {:>8}",
            layer.name,
            layer.kind,
            layer.arithmetic.name(),
            1e3 * layer.ms,
            percent(layer.share),
            layer.gops.map_or(String::new(), |gops| format!("{gops:.1}")),
            layer.of_peak.map_or(String::new(), percent),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_told_beside_the_peak_of_its_own_arithmetic() {
        let peak = Peaks { int8_gops: 400.0, f32_gops: 100.0 };
        let step = |arithmetic, macs| Timed {
            name: "conv".to_owned(),
            kind: "convolution",
            arithmetic,
            macs,
            calls: 50,
            ms: 0.5,
        };
        let bytes = layer(&step(Arithmetic::Int8, 50_000_000), 2.0, &peak);
        assert_eq!((bytes.share, bytes.gops, bytes.of_peak), (0.25, Some(200.0), Some(0.5)));
        let floats = layer(&step(Arithmetic::F32, 50_000_000), 2.0, &peak);
        assert_eq!(floats.of_peak, Some(2.0));
        let pool = layer(&step(Arithmetic::F32, 0), 2.0, &peak);
        assert_eq!((pool.gops, pool.of_peak), (None, None));
    }
}
