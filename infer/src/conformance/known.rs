//! What is known of wrong answers: they stay in the table, with a line that says why, and do not fail `attar conformance`.

use crate::engine::EngineKind;

/// Engine, case, why.
const KNOWN: [(EngineKind, &str, &str); 0] = [];

/// Why an engine's answer to a case is what it is, where that is known.
pub(super) fn why(engine: EngineKind, case: &str) -> Option<&'static str> {
    let found = KNOWN.iter().find(|(of, name, _)| *of == engine && *name == case);
    found.map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_of_cases_that_are_there() {
        let cases = super::super::cases().unwrap();
        for (_, name, _) in KNOWN {
            assert!(cases.iter().any(|case| case.name == name), "`{name}` is no case any more");
        }
        assert_eq!(why(EngineKind::Attar, "conv2d"), None);
    }
}
