//! Side by side: engines and models take turns, so that what disturbs a machine disturbs all of them, and only ratios of calls
//! that stand next to each other are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::{Clock, Stopwatch};
use super::real_images;
use crate::engine::{Engine, EngineKind, EngineSpec};
use crate::error::{Error, Result};
use crate::parity::Skipped;
use crate::side::Side;

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Images in one call.
    pub batch: usize,
    /// Fewest rounds, in each of which every candidate has a turn.
    pub least_rounds: usize,
    /// Shortest measured time.
    pub least_time: Duration,
    /// What is measured.
    pub clock: Clock,
}

/// A turn lasts at least so long: shorter calls are repeated within it.
const LEAST_TURN_MS: f64 = 0.5;

/// Most rounds.
const MOST_ROUNDS: usize = 100_000;

/// One candidate beside the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Relative {
    /// Name of the runtime.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The model file.
    pub file: String,
    /// Precision of its arithmetic.
    pub precision: String,
    /// Fastest turn, milliseconds a call.
    pub min_ms: f64,
    /// Median turn, milliseconds a call.
    pub p50_ms: f64,
    /// How many times as fast as the first: the median over rounds of the first's time over this one's.
    pub speedup: f64,
    /// A 95 % interval of that median, from the ranks of the rounds' ratios.
    pub interval: [f64; 2],
}

impl Relative {
    /// Whether it is told apart from the first: the interval leaves 1 out.
    pub fn told_apart(&self) -> bool {
        self.interval[0] > 1.0 || self.interval[1] < 1.0
    }
}

/// What came of all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interleaved {
    /// Rounds.
    pub rounds: usize,
    /// What was measured.
    pub clock: Clock,
    /// Images of a call.
    pub batch: usize,
    /// How far the first's turns spread: the 90 % quantile over the fastest.
    pub noise: f64,
    /// The candidates; the first is what the others are told beside.
    pub candidates: Vec<Relative>,
}

/// A model in a runtime, and its turns.
struct Candidate {
    engine: Box<dyn Engine>,
    file: String,
    precision: String,
    batch: Vec<f32>,
    calls: usize,
    turns: Vec<f64>,
}

/// Opens every model of `sides` in every runtime that it is for, and lets them take turns.
///
/// # Errors
/// As [`bench_side`](super::bench_side); [`Error::Setting`] when there are less than two to compare.
pub fn interleave(
    sides: &[Side],
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
    turns: &Turns,
) -> Result<(Interleaved, Vec<Skipped>)> {
    let (mut candidates, mut skipped) = (Vec::new(), Vec::new());
    for side in sides {
        for model in side.models() {
            let specs = wanted.iter().map(|spec| (spec, true)).chain(optional.iter().map(|spec| (spec, false)));
            for (spec, needed) in specs.filter(|(spec, _)| model.is_for(spec.kind)) {
                match model.open(spec, Some(side.input())) {
                    Ok(engine) => candidates.push(Candidate::new(engine, side, model, turns)?),
                    Err(Error::Engine { problem, .. } | Error::Unavailable { problem, .. }) if !needed => {
                        let reason = problem.lines().next().unwrap_or_default().to_owned();
                        skipped.push(Skipped { engine: named(spec.kind, model.name()), reason });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    if candidates.len() < 2 {
        let problem = format!("{} to measure, expected at least two side by side", candidates.len());
        return Err(Error::Setting { setting: "interleave", problem });
    }
    let stopwatch = Stopwatch::new(turns.clock)?;
    let rounds = take_turns(&mut candidates, turns, &stopwatch)?;
    Ok((told(&candidates, rounds, turns), skipped))
}

fn named(kind: EngineKind, file: &str) -> String {
    format!("{kind} on {file}")
}

impl Candidate {
    fn new(
        mut engine: Box<dyn Engine>,
        side: &Side,
        model: &crate::engine::EngineModel,
        turns: &Turns,
    ) -> Result<Self> {
        let batch = super::batch(real_images(side.bundle()), engine.signature().input_len(), turns.batch);
        let began = std::time::Instant::now();
        engine.run(&batch, turns.batch)?;
        let began_again = std::time::Instant::now();
        engine.run(&batch, turns.batch)?;
        let call = super::milliseconds(began_again.elapsed()).min(super::milliseconds(began.elapsed()));
        let calls = (LEAST_TURN_MS / call.max(1e-4)).ceil().clamp(1.0, 10_000.0) as usize;
        let (file, precision) = (model.name().to_owned(), model.precision().to_owned());
        Ok(Self { engine, file, precision, batch, calls, turns: Vec::new() })
    }
}

fn take_turns(candidates: &mut [Candidate], turns: &Turns, stopwatch: &Stopwatch) -> Result<usize> {
    let started = std::time::Instant::now();
    let mut rounds = 0;
    while (rounds < turns.least_rounds || started.elapsed() < turns.least_time) && rounds < MOST_ROUNDS {
        for candidate in &mut *candidates {
            let began = stopwatch.now()?;
            for _ in 0..candidate.calls {
                candidate.engine.run(&candidate.batch, turns.batch)?;
            }
            candidate.turns.push((stopwatch.now()? - began) / candidate.calls as f64);
        }
        rounds += 1;
    }
    Ok(rounds)
}

fn told(candidates: &[Candidate], rounds: usize, turns: &Turns) -> Interleaved {
    let first = &candidates[0].turns;
    let relative = |candidate: &Candidate| {
        let mut ratios: Vec<f64> = first.iter().zip(&candidate.turns).map(|(first, own)| first / own).collect();
        ratios.sort_by(f64::total_cmp);
        let mut sorted = candidate.turns.clone();
        sorted.sort_by(f64::total_cmp);
        Relative {
            engine: candidate.engine.name().to_owned(),
            version: candidate.engine.version().to_owned(),
            file: candidate.file.clone(),
            precision: candidate.precision.clone(),
            min_ms: quantile(&sorted, 0.0),
            p50_ms: quantile(&sorted, 0.5),
            speedup: quantile(&ratios, 0.5),
            interval: median_interval(&ratios),
        }
    };
    let mut sorted = first.clone();
    sorted.sort_by(f64::total_cmp);
    let noise = quantile(&sorted, 0.9) / quantile(&sorted, 0.0);
    let candidates = candidates.iter().map(relative).collect();
    Interleaved { rounds, clock: turns.clock, batch: turns.batch, noise, candidates }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    attar_measures::nearest_rank(sorted, share).unwrap_or_default()
}

/// A 95 % interval of a median from ranks: `n / 2` plus and minus `0.98 sqrt(n)` (Conover 1999, section 3.2).
fn median_interval(sorted: &[f64]) -> [f64; 2] {
    let n = sorted.len() as f64;
    let reach = 0.98 * n.sqrt();
    let at = |rank: f64| {
        sorted.get((rank.max(0.0) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    [at((n / 2.0 - reach).floor()), at((n / 2.0 + reach).ceil())]
}

/// As a table for a terminal.
pub fn table(found: &Interleaved) -> String {
    let clock = match found.clock {
        Clock::Wall => "wall",
        Clock::Cpu => "CPU time of the calling thread",
    };
    let mut lines = vec![
        format!(
            "{} rounds, batch {}, {clock}; times in ms a call, speedup over the first with a 95 % interval",
            found.rounds, found.batch
        ),
        format!(
            "{:<8} {:<9} {:>9} {:>9} {:>8} {:>16}  {}",
            "engine", "precision", "min", "p50", "speedup", "interval", "file"
        ),
    ];
    for one in &found.candidates {
        let interval = format!("{:.2} - {:.2}", one.interval[0], one.interval[1]);
        let apart = if one.told_apart() || one == &found.candidates[0] { "" } else { "  (not told apart)" };
        lines.push(format!(
            "{:<8} {:<9} {:>9.4} {:>9.4} {:>7.2}x {interval:>16}  {}{apart}",
            one.engine, one.precision, one.min_ms, one.p50_ms, one.speedup, one.file
        ));
    }
    if found.noise > 1.5 {
        lines.push(format!(
            "the machine was busy: turns of the first took up to {:.1} times the fastest; the ratios' intervals say what can be told",
            found.noise
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_within_its_interval_which_narrows() {
        let ratios = |n: usize| (0..n).map(|i| 1.0 + i as f64 / n as f64).collect::<Vec<f64>>();
        for n in [2, 5, 30, 1000] {
            let [low, high] = median_interval(&ratios(n));
            assert!(low <= quantile(&ratios(n), 0.5) && quantile(&ratios(n), 0.5) <= high, "{n}");
        }
        let width = |n: usize| median_interval(&ratios(n))[1] - median_interval(&ratios(n))[0];
        assert!(width(1000) < 0.1 && width(30) > 0.2);
        assert_eq!(median_interval(&[]), [0.0, 0.0]);
    }
}
