//! `cargo xtask docs`: writes the pages of `docs/` that are made of the program, or says which are out of date.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::pages::{self, Said};

use crate::cargo;

pub(crate) fn run(check: bool) -> Result<()> {
    let root = cargo::root()?;
    let built = cargo::command().current_dir(root).args(["build", "--release", "--bin", "attar"]).status()?;
    anyhow::ensure!(built.success(), "attar does not build");
    let program = cargo::target_folder()?.join("release/attar");
    let losses: Value = serde_json::from_str(&ask(&program, &["losses", "--json"])?)?;
    let said = Said {
        reference: ask(&program, &["reference"])?,
        schemas: serde_json::from_str(&ask(&program, &["reference", "--schemas"])?)?,
        losses: losses["losses"].clone(),
    };
    let pages = pages::all(root, &said)?;
    if check {
        let stale = pages::stale(root, &pages)?;
        if !stale.is_empty() {
            let names: Vec<String> = stale.iter().map(|path| format!("  {}", path.display())).collect();
            bail!("out of date:\n{}\n  hint: cargo xtask docs", names.join("\n"));
        }
        return Ok(());
    }
    for page in &pages {
        let path = root.join(&page.path);
        std::fs::create_dir_all(path.parent().context("a page lies in a folder")?)?;
        std::fs::write(&path, &page.text).with_context(|| path.display().to_string())?;
    }
    // What is left over is of a loss or a schema that there is no more.
    for path in pages::stale(root, &pages)? {
        std::fs::remove_file(root.join(path))?;
    }
    println!("{} pages", pages.len());
    Ok(())
}

/// What the program prints.
fn ask(program: &Path, args: &[&str]) -> Result<String> {
    let out = Command::new(program).args(args).output().with_context(|| program.display().to_string())?;
    anyhow::ensure!(out.status.success(), "attar {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?)
}
