//! Methods side by side: what the runs of several recipes come to, with the statistics that tell luck from a difference.

mod outcome;
mod summary;
pub mod terms;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_distill::Recipe;
use attar_infer::cli::Versioned;
use attar_models::Error;
use schemars::JsonSchema;
use serde::Serialize;

pub use outcome::{COST, Cost, Outcome, Run};
pub use summary::{Against, Images, Pair, Summary};
pub use terms::Terms;

/// A recipe to be trained with some seeds.
#[derive(Debug)]
pub struct Contender {
    /// What the table calls it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What the file says.
    pub recipe: Recipe,
}

/// `compare.json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// Program and version.
    pub attar: &'static str,
    /// The recipe that the others are compared with.
    pub against: String,
    /// Seeds 0, 1, ... so many.
    pub seeds: u64,
    /// In what the recipes differ that should be the same; empty unless that was allowed.
    pub unequal: Vec<String>,
    /// In what else they differ beside teachers and losses.
    pub notes: Vec<String>,
    /// The recipes: the most accurate after the last epoch first.
    pub methods: Vec<Method>,
}

/// A recipe and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What its recipe says that a reader should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its file.
    pub recipe: PathBuf,
    /// What its runs come to.
    pub summary: Summary,
    /// Its runs, one a seed.
    pub runs: Vec<Run>,
}

/// The position of the recipe that the others are compared with.
///
/// # Errors
/// A name that none has.
pub fn against(contenders: &[Contender], name: Option<&str>) -> Result<usize> {
    let position = |name: &str| contenders.iter().position(|one| one.name == name);
    let Some(name) = name else { return Ok(position("kd").unwrap_or(0)) };
    let names: Vec<&str> = contenders.iter().map(|one| one.name.as_str()).collect();
    Ok(position(name).ok_or_else(|| Error::unknown("recipe", name, &names))?)
}

impl Comparison {
    /// Of the runs of each contender; `against` is the position of the one that the others are compared with.
    pub fn of(contenders: &[Contender], against: usize, done: &[Vec<Run>], seeds: u64, terms: &Terms) -> Self {
        let mut methods: Vec<Method> = Vec::with_capacity(contenders.len());
        for (at, (contender, runs)) in contenders.iter().zip(done).enumerate() {
            let other = (at != against).then(|| done[against].as_slice());
            methods.push(Method {
                name: contender.name.clone(),
                note: contender.recipe.note.clone(),
                recipe: contender.path.clone(),
                summary: Summary::of(runs, other),
                runs: runs.clone(),
            });
        }
        let last = |method: &Method| method.summary.last.map_or(f64::NEG_INFINITY, |spread| spread.mean);
        methods.sort_by(|a, b| last(b).total_cmp(&last(a)));
        Self {
            attar: env!("CARGO_PKG_VERSION"),
            against: contenders[against].name.clone(),
            seeds,
            unequal: terms.unequal.clone(),
            notes: terms.notes.clone(),
            methods,
        }
    }

    /// Writes everything that a person or program may want to read.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        let put = |name: &str, text: String| {
            let path = out.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())
        };
        put("compare.json", serde_json::to_string_pretty(&Versioned::new(self))? + "\n")?;
        put("table.md", self.markdown())?;
        put("table.csv", self.csv())?;
        put("plot.svg", self.plot())
    }
}
