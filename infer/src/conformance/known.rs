//! What is known of wrong answers: they stay in the table, with a line that says why, and do not fail `attar conformance`.

use super::judge::Verdict;
use crate::engine::EngineKind;

const QUANTISED_TWICE: &str =
    "ONNX Runtime makes one quantiser of two in a row, and the answers are no numbers of the second's any more";

const INVERSE: &str = "tract multiplies by the rounded inverse of a scale";

/// Engine, case, what it answers, why.
const KNOWN: [(EngineKind, &str, Verdict, &str); 9] = [
    (EngineKind::Tract, "pad-crop", Verdict::Crashed, "tract panics at a pad below 0; the panic is caught"),
    (
        EngineKind::Tract,
        "squeeze",
        Verdict::Crashed,
        "tract panics at an axis of Squeeze that is counted from behind; the panic is caught",
    ),
    (
        EngineKind::Tract,
        "type-by-setting",
        Verdict::Wrong,
        "tract takes no notice of `output_dtype`: its bytes are unsigned",
    ),
    (EngineKind::Tract, "near-ties", Verdict::Wrong, INVERSE),
    (EngineKind::Tract, "ties-of-ratio", Verdict::Wrong, INVERSE),
    (EngineKind::Tract, "far-outside", Verdict::Wrong, "tract adds the zero point to 32 bits, which wrap around"),
    (EngineKind::Ort, "q-requantised", Verdict::Wrong, QUANTISED_TWICE),
    (EngineKind::Ort, "twice-quantised", Verdict::Wrong, QUANTISED_TWICE),
    (
        EngineKind::Ort,
        "bias-at-the-end",
        Verdict::Wrong,
        "ONNX Runtime adds a layer's bias in 32 bits, which wrap around",
    ),
];

/// Why an engine answers a case so, where that is known.
pub(super) fn why(engine: EngineKind, case: &str, verdict: Verdict) -> Option<&'static str> {
    let found = KNOWN.iter().find(|(of, name, answer, _)| (*of, *name, *answer) == (engine, case, verdict));
    found.map(|(.., why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_of_cases_that_are_there() {
        let cases = super::super::cases().unwrap();
        for (_, name, ..) in KNOWN {
            assert!(cases.iter().any(|case| case.name == name), "`{name}` is no case any more");
        }
        assert_eq!(why(EngineKind::Tract, "pad-crop", Verdict::Wrong), None);
        assert!(why(EngineKind::Tract, "pad-crop", Verdict::Crashed).is_some());
    }
}
