//! `attar reference`: every key of a recipe, for people or as the JSON schema that editors use.

use anyhow::Result;
use attar_distill::recipe::{recipe_reference, recipe_schema};

use super::print;

/// Prints every key of a recipe with its values, default and unit, in Markdown; or the JSON schema that editors use.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  attar reference\n  attar reference --schema")]
pub(crate) struct Args {
    /// Print the JSON schema (draft 7).
    #[arg(long)]
    schema: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.schema {
        return print(&serde_json::to_string_pretty(&recipe_schema())?);
    }
    print(recipe_reference().trim_end())
}
