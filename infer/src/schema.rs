//! JSON schemas (draft 7) of what the verbs of both programs print.

use attar_formats::schema::titled;
use serde_json::Value;

use crate::cli::{Versioned, bench, doctor, predict, selftest};
use crate::parity::Certificate;

/// By verb; that of `attar-infer doctor` is `engines`, because `attar doctor` says more.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("bench", titled::<Versioned<bench::Measured>>("bench --json")),
        ("bench-interleave", titled::<Versioned<bench::Beside>>("bench --interleave --json")),
        #[cfg(feature = "edge")]
        ("bench-profile", titled::<Versioned<bench::Profiled>>("bench --profile --json")),
        ("engines", titled::<Versioned<doctor::Found>>("attar-infer doctor --json")),
        ("predict", titled::<Versioned<predict::Answers<'_>>>("predict --json")),
        ("selftest", titled::<Versioned<selftest::Found>>("selftest --json")),
        ("verify", titled::<Versioned<Certificate>>("verify --json: a certificate")),
    ]
}
