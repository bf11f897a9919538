//! Whether runtimes compute what files say: a corpus of small ONNX files, each about one thing that runtimes have got wrong or may,
//! through every engine at hand, against a definition of our own ([`Case::expected`]).
//!
//! The corpus is made in memory: what our writer writes of every operation of the graph, and files message by message that no
//! exporter of ours writes. Each goes through our reader, too, as the engine `attar` takes it. [`Fault`] holds the corpus to
//! account: every simulated fault must be caught by some case.

mod build;
mod case;
mod cases;
mod define;
mod judge;
mod keep;
mod known;
mod page;
mod report;

use std::path::Path;

pub use case::{Case, Family, Judge};
pub use cases::cases;
pub use define::Fault;
pub use judge::{Distance, Verdict};
pub use keep::keep;
pub use page::page;
pub use report::{Answer, Asked, Caught, Conformance, Row};

use crate::caught::{PANICKED, caught};
use crate::engine::{EngineSpec, available, cpu, plain};
use crate::error::{Error, Result};

/// Asks every case of every engine. `tick` is told how many answers there are, and of how many.
///
/// # Errors
/// [`Error::Unavailable`] for an engine that is not there; [`Error::Engine`] of the engine `definition` where the corpus itself is
/// wrong. What an engine says of a file is an answer, and no error.
pub fn conformance(cases: &[Case], engines: &[EngineSpec], tick: &mut dyn FnMut(usize, usize)) -> Result<Conformance> {
    let mut asked = Vec::new();
    for spec in engines {
        let found = available(&spec.ort).into_iter().find(|found| found.engine == spec.kind);
        let version = found.as_ref().and_then(|found| found.version.clone());
        let problem = found.and_then(|found| found.problem).unwrap_or_default();
        let missing = || Error::Unavailable { engine: spec.kind.name().to_owned(), problem };
        asked.push(Asked { engine: spec.kind, version: version.ok_or_else(missing)? });
    }
    let right: Vec<Vec<f32>> = cases.iter().map(Case::expected).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for (case, right) in cases.iter().zip(&right) {
        let model = case.bytes();
        let mut row = Row::new(case, &model);
        for spec in engines {
            row.answers.push(answer(case, &model, right, spec));
            tick(rows.len() * engines.len() + row.answers.len(), cases.len() * engines.len());
        }
        rows.push(row);
    }
    Ok(Conformance { engines: asked, cpu: cpu(), cases: rows, faults: caught_by(cases, &right) })
}

/// Which cases tell each fault from what is right: by other numbers. One that makes a file impossible to compute is none that a
/// case catches, for a runtime would refuse the file.
fn caught_by(cases: &[Case], right: &[Vec<f32>]) -> Vec<Caught> {
    let bad = |fault: Fault, (case, right): (&Case, &Vec<f32>)| {
        let found = case.with_fault(Some(fault)).ok()?;
        judge::judge(&found, right, case.judge).0.is_bad().then(|| case.name.clone())
    };
    let of = |fault| Caught { fault, by: cases.iter().zip(right).filter_map(|pair| bad(fault, pair)).collect() };
    Fault::ALL.into_iter().map(of).collect()
}

/// One engine's answer to a case: all images at once and, where the file lets one, image by image; the worse counts.
fn answer(case: &Case, model: &[u8], right: &[f32], spec: &EngineSpec) -> Answer {
    let answer = |verdict, distance, said| {
        let known = known::why(spec.kind, &case.name, verdict).map(str::to_owned);
        Answer { engine: spec.kind, verdict, distance, said, known }
    };
    match ask(case, model, spec) {
        Err((verdict, said)) => answer(verdict, None, Some(said)),
        Ok(found) => {
            let judged = found.iter().map(|found| judge::judge(found, right, case.judge));
            let worst = judged.max_by(|(a, apart), (b, other)| a.cmp(b).then(apart.largest.total_cmp(&other.largest)));
            let (verdict, distance) = worst.unwrap_or((Verdict::Wrong, Distance { largest: 1e30, off: 1.0 }));
            answer(verdict, Some(distance), None)
        }
    }
}

/// Its numbers, asked in both ways; or that it refuses or crashes, and what it says.
fn ask(case: &Case, model: &[u8], spec: &EngineSpec) -> std::result::Result<Vec<Vec<f32>>, (Verdict, String)> {
    let work = || -> Result<Vec<Vec<f32>>> {
        let origin = format!("{}.onnx", case.name);
        let mut engine = plain(spec, model, Path::new(&origin), Some(case.image))?;
        let at_once = engine.run(&case.input, case.images())?;
        if case.batch.is_some() {
            return Ok(vec![at_once]);
        }
        let mut alone = Vec::new();
        for image in case.input.chunks(case.image.iter().product::<usize>().max(1)) {
            alone.extend(engine.run(image, 1)?);
        }
        Ok(vec![at_once, alone])
    };
    match caught(work) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            let said = error.to_string();
            let verdict = if said.contains(PANICKED) { Verdict::Crashed } else { Verdict::Refused };
            Err((verdict, short(&said)))
        }
        Err(said) => Err((Verdict::Crashed, short(&said))),
    }
}

/// Most characters that are kept of what an engine says.
const MOST: usize = 240;

/// The first line of what an engine says.
fn short(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_an_answer_that_says_something() {
        let cases = cases().unwrap();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "names stand twice");
        assert!(cases.len() > 200, "{} cases", cases.len());
        for case in &cases {
            let right = case.expected().unwrap();
            assert!(right.iter().all(|value| value.is_finite()), "{}: {right:?}", case.name);
            let different: BTreeSet<u32> = right.iter().map(|value| value.to_bits()).collect();
            assert!(different.len() > 1, "{}: one number alone", case.name);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(case.name.chars().all(plain), "`{}` is no name for a file", case.name);
            if let Judge::Steps { step, .. } = case.judge {
                let whole = |value: &f32| (value / step - (value / step).round()).abs() < 1e-3;
                assert!(right.iter().all(whole), "{}: no multiples of {step}", case.name);
            }
        }
    }

    /// A corpus that does not catch what happened would not catch it again.
    #[test]
    fn every_fault_is_caught() {
        let cases = cases().unwrap();
        let right: Vec<Vec<f32>> = cases.iter().map(|case| case.expected().unwrap()).collect();
        for Caught { fault, by } in caught_by(&cases, &right) {
            assert!(!by.is_empty(), "nothing catches {fault:?}");
        }
    }
}
