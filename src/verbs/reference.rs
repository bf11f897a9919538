//! `attar reference`: every key of a recipe, for people or as the JSON schema that editors use.

use anyhow::Result;
use attar_distill::recipe::{recipe_reference, recipe_schema};

use super::{print, schemas};

/// Prints every key of a recipe with its values, default and unit, in Markdown; or the JSON schema that editors use.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  attar reference\n  attar reference --schema\n  attar reference --schemas")]
pub(crate) struct Args {
    /// Print the JSON schema (draft 7).
    #[arg(long)]
    schema: bool,
    /// Print the JSON schemas (draft 7) of all files and of what verbs print with --json, by their names.
    #[arg(long, conflicts_with = "schema")]
    schemas: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.schema {
        return print(&serde_json::to_string_pretty(&recipe_schema())?);
    }
    if args.schemas {
        return print(&serde_json::to_string_pretty(&schemas::all())?);
    }
    print(recipe_reference().trim_end())
}
