//! The corpus, a file a group.

mod batches;
mod operations;
mod operators;
mod opsets;
mod quantised;
mod settings;
mod traps;
mod windows;

use attar_onnx::proto::ModelProto;

use super::build::Build;
use super::case::{Case, Family, Judge};
use crate::error::{Error, Result};

/// A family, and what makes its cases.
type Group = (Family, fn(&mut List));

/// Every case, group by group.
///
/// # Errors
/// [`Error::Engine`] where a case cannot be made: a mistake in the corpus.
pub fn cases() -> Result<Vec<Case>> {
    let mut all = operations::all()?;
    let groups: [Group; 7] = [
        (Family::Windows, windows::all),
        (Family::Settings, settings::all),
        (Family::Opsets, opsets::all),
        (Family::Batches, batches::all),
        (Family::Quantised, quantised::all),
        (Family::Operators, operators::all),
        (Family::Traps, traps::all),
    ];
    for (family, make) in groups {
        let mut list = List { family, made: Vec::new() };
        make(&mut list);
        for (name, made) in list.made {
            let failed =
                |problem: String| Error::Engine { engine: "definition", problem: format!("{name}: {problem}") };
            all.push(made.map_err(failed)?);
        }
    }
    Ok(all)
}

/// The cases of a group as they are made.
struct List {
    family: Family,
    made: Vec<(&'static str, std::result::Result<Case, String>)>,
}

impl List {
    /// A case of floats: `make` adds nodes and returns the value that is asked for.
    fn floats(&mut self, name: &'static str, about: &str, file: Build, make: impl FnOnce(&mut Build) -> String) {
        self.add(name, about, Judge::Floats, file, make);
    }

    fn add(
        &mut self,
        name: &'static str,
        about: &str,
        judge: Judge,
        file: Build,
        make: impl FnOnce(&mut Build) -> String,
    ) {
        self.asked(name, about, judge, file, None, make);
    }

    /// A case with images of its own.
    fn asked(
        &mut self,
        name: &'static str,
        about: &str,
        judge: Judge,
        mut file: Build,
        input: Option<Vec<f32>>,
        make: impl FnOnce(&mut Build) -> String,
    ) {
        let value = make(&mut file);
        let model: std::result::Result<ModelProto, String> = file.finish(&value);
        let case = model.map(|model| {
            let case = Case::new(self.family, name, about, judge, model);
            match input {
                Some(input) => case.asked(input),
                None => case,
            }
        });
        self.made.push((name, case));
    }
}
