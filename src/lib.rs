//! The whole way as a library: a recipe becomes a run, a run a verified bundle, many runs a comparison.
//!
//! The program `attar` only reads arguments and prints; what its verbs do is here, and each room behind it
//! (`attar-distill`, `attar-export`, `attar-infer`, ...) can be used by itself. Functions say what they do on the
//! way to whoever listens, and print nothing. Errors are `anyhow`'s, for people: what, where, what was expected,
//! then a hint; the rooms have typed ones.
//!
//! ```no_run
//! use attar::distill::{Plan, Recipe};
//! use attar::{Engines, export, train};
//!
//! fn main() -> anyhow::Result<()> {
//!     let recipe = Recipe::load("student.toml".as_ref(), &["train.epochs=20".to_owned()])?;
//!     let plan = Plan::new(recipe, train::plan_options())?;
//!     let receipt = train::start("runs/student".as_ref(), plan, &mut attar::distill::run::Silent)?;
//!     println!("{:.2} %", receipt.test_top1_best);
//!     let options = export::Options::default();
//!     export::export_verified("runs/student".as_ref(), "bundles/student".as_ref(), &options, &Engines::default())?;
//!     Ok(())
//! }
//! ```

pub mod add;
pub mod compare;
pub mod compile;
pub mod demo;
pub mod end_to_end;
pub mod export;
pub mod inspect;
pub mod onnx_teacher;
pub mod program;
pub mod quantise;
pub mod report;
pub mod table;
pub mod train;
pub mod verify;

pub use attar_distill as distill;

/// Which runtimes are used, and how: every one at hand by default.
pub use attar_infer::cli::engines::EngineArgs as Engines;
