//! `selftest`: do the numbers come out here as where the network was trained? Every model, in every runtime at hand.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use super::engines::EngineArgs;
use super::{Exit, Versioned, print};
use crate::bundle::Bundle;
use crate::parity::{GoldenNumbers, Skipped, golden_numbers};
use crate::subject::Subject;

/// Compares a bundle's goldens, number by number, in every runtime at hand.
///
/// Exit codes: 0 all within what their precision allows, 1 some beyond it, 2 any error. Whether decisions hold on labelled
/// images is `verify`'s question.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// In which runtimes.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Commands that work, for `--help`.
pub fn examples(program: &str) -> String {
    format!(
        "Examples:\n  {program} selftest bundles/distilled\n  {program} selftest bundles/distilled --engine tract --json"
    )
}

/// What was found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Found {
    passed: bool,
    runtimes: Vec<Tested>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    skipped: Vec<Skipped>,
}

/// One model in one runtime.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Tested {
    engine: String,
    version: String,
    file: String,
    precision: String,
    passed: bool,
    goldens: GoldenNumbers,
}

/// Asks.
///
/// # Errors
/// When the bundle has no goldens, none of them is judged, or a runtime fails.
pub fn run(args: &Args) -> Result<Exit> {
    let bundle = Bundle::open(&args.bundle)?;
    if bundle.goldens().is_none() {
        bail!(
            "{} holds no goldens, so there is no number to compare\n  hint: `attar export --goldens real` or `synthetic` \
             puts some in",
            args.bundle.display()
        );
    }
    let (mut candidates, skipped) = args.engines.candidates(&bundle, &[])?;
    let (subject, mut runtimes) = (Subject::from(&bundle), Vec::new());
    for candidate in &mut candidates {
        let Some(goldens) = golden_numbers(&subject, candidate)? else { continue };
        runtimes.push(Tested {
            engine: candidate.engine().to_owned(),
            version: candidate.version().to_owned(),
            file: candidate.file().to_owned(),
            precision: candidate.precision().to_owned(),
            passed: goldens.problem().is_none(),
            goldens,
        });
    }
    if !runtimes.iter().any(|tested| tested.goldens.tolerance.is_some()) {
        bail!("no model of {} has a precision whose numbers are judged", args.bundle.display());
    }
    let found = Found { passed: runtimes.iter().all(|tested| tested.passed), runtimes, skipped };
    match args.json {
        true => Versioned::new(&found).print()?,
        false => print(&found.text())?,
    }
    Ok(if found.passed { Exit::Held } else { Exit::NotSo })
}

impl Found {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for tested in &self.runtimes {
            let said = match (tested.goldens.problem(), tested.goldens.tolerance) {
                (Some(problem), _) => format!("FAIL: {problem}"),
                (None, Some(_)) => "ok".to_owned(),
                (None, None) => "not judged".to_owned(),
            };
            let Tested { engine, version, file, precision, goldens, .. } = tested;
            lines.push(format!(
                "{engine} {version}, {file} ({precision}): {} goldens, largest logit difference {:.2e} = {:.1e} of their spread: {said}",
                goldens.count,
                goldens.logit_max_diff,
                goldens.share_of_spread(),
            ));
        }
        let unused = |skipped: &Skipped| {
            format!("{}: not used, {}", skipped.engine, skipped.reason.lines().next().unwrap_or_default())
        };
        lines.extend(self.skipped.iter().map(unused));
        lines.join("\n")
    }
}
