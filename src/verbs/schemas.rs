//! The JSON schemas of files and of what verbs print, by name: `docs/schemas/` is made of them.

use std::collections::BTreeMap;

use attar::add::Added;
use attar::compare::Comparison;
use attar::inspect::Inspection;
use attar_data::Report;
use attar_distill::labels::Manifest;
use attar_distill::recipe::recipe_schema;
use attar_formats::schema::titled;
use attar_infer::cli::Versioned;
use schemars::JsonSchema;
use serde_json::Value;

use super::{bench_train, compile, data, doctor, explain, export, labels, losses, models, new, quantise};

/// Those of files by the files' names, those of results by their verbs'.
pub(super) fn all() -> BTreeMap<&'static str, Value> {
    let mut all = BTreeMap::from([("recipe", recipe_schema())]);
    all.extend(attar_formats::schema::all());
    all.extend(attar_distill::run::schemas());
    all.extend(attar_infer::schema::all());
    all.extend([("labels", titled::<Manifest>("labels --json, and store.json"))]);
    let printed = [
        printed::<Added>("add", "add --json"),
        printed::<bench_train::Report>("bench-train", "bench-train --json"),
        printed::<attar_infer::bisect::Bisection>("bisect", "bisect --json"),
        printed::<Comparison>("compare", "compare --json"),
        printed::<compile::Written>("compile", "compile --json"),
        printed::<attar_infer::conformance::Conformance>(
            "conformance",
            "conformance --json, and docs/conformance.json",
        ),
        printed::<Report>("data-check", "data check --json"),
        printed::<data::Fetched>("data-fetch", "data fetch --json"),
        printed::<data::Info<'_>>("data-info", "data info --json"),
        printed::<attar::demo::Receipt<'_>>("demo", "demo --json, and receipt.json of a demo"),
        printed::<doctor::Findings>("doctor", "doctor --json"),
        printed::<doctor::Checks<'_>>("doctor-ops", "doctor --ops --json"),
        printed::<explain::Explained>("explain", "train --explain WORD --json"),
        printed::<export::Written>("export", "export --json"),
        printed::<Inspection>("inspect", "inspect --json"),
        printed::<labels::Stamp>("labels-stamp", "labels --stamp --json"),
        printed::<losses::Losses>("losses", "losses --json"),
        printed::<models::Networks>("models", "models --json"),
        printed::<models::Network<'_>>("models-one", "models NAME --json"),
        printed::<new::Said>("new", "new --json"),
        printed::<attar_distill::plan::Description>("plan", "train --dry-run --json"),
        printed::<quantise::Written>("quantise", "quantise --json"),
    ];
    all.extend(printed);
    all
}

/// Of a result, which stands behind the version of its layout.
fn printed<T: JsonSchema>(name: &'static str, title: &str) -> (&'static str, Value) {
    (name, titled::<Versioned<T>>(title))
}
