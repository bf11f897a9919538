//! Chains of runs: each stage learns from the one before it. Born-again networks (Furlanello et al. 2018, arXiv
//! 1805.04770) repeat the student; teacher assistants (Mirzadeh et al. 2020, arXiv 1902.03393) stand between teacher and
//! student in size; sequential FEED (Park and Kwak 2019, arXiv 1909.10754) is the former with a feature loss.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paths::normalise;
use super::{LossSection, NetworkSection, Recipe, STUDENT, TeacherSection, TeacherSource};
use crate::error::{Error, Result};
use crate::losses::Teachers;

/// `[[stages]]`: a network that is trained before the student, with the student's data, schedule and losses, and then
/// teaches the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSection {
    /// Name, unique among the stages; its run directory is the student's with `-NAME` behind it.
    pub name: String,
    /// The network; the student's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSection>,
}

impl Recipe {
    /// The recipes of all stages in their order, the student's last, each with its run directory. A recipe without
    /// stages is its own only one.
    ///
    /// Every stage learns from the one before it, whose last or best weights (`export.weights`) take the place of the
    /// recipe's only teacher and its name. If the recipe has no teacher, the first stage learns without the losses that
    /// need one, and the others call their teacher `teacher`. Seeds go up by one from stage to stage, so that
    /// networks of equal shape start apart; the student has the recipe's own. All split the images as the student does.
    ///
    /// # Errors
    /// More than one teacher, or a first stage that would have no loss left.
    pub fn chain(&self, directory: &Path) -> Result<Vec<(Self, PathBuf)>> {
        let fail = |problem: &str| Error::Recipe { key: "stages".to_owned(), problem: problem.to_owned() };
        if self.stages.is_empty() {
            return Ok(vec![(self.clone(), directory.to_owned())]);
        }
        if self.teachers.len() > 1 {
            return Err(fail("each stage learns from the one before it: the recipe may have one teacher at most"));
        }
        if self.student.from.as_ref().is_some_and(|from| !from.rewrites().is_empty()) {
            let problem = "a network that is rewritten starts from one that is there, and stages begin with none\n  hint: let \
                           another recipe start from the run of the last stage";
            return Err(Error::Recipe { key: "student.from.rewrites".to_owned(), problem: problem.to_owned() });
        }
        let mut names = BTreeSet::new();
        let plain =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if let Some(odd) = self.stages.iter().find(|own| !plain(&own.name) || !names.insert(&own.name)) {
            return Err(fail(&format!("the name `{}`: expected letters, digits, `-` and `_`, each once", odd.name)));
        }
        // Without `..` and a slash at the end: a name is put behind it, and recipes name it.
        let directory = normalise(
            &std::path::absolute(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?,
        );
        let mut all: Vec<(Self, PathBuf)> = Vec::with_capacity(self.stages.len() + 1);
        let sections = self.stages.iter().map(Some).chain([None]);
        for (i, section) in sections.enumerate() {
            let mut recipe = Self { stages: Vec::new(), ..self.clone() };
            recipe.data.split_seed = self.data.split_seed.or(Some(self.seed));
            let mut place = directory.clone();
            if let Some(section) = section {
                recipe.name = format!("{}-{}", self.name, section.name);
                recipe.seed = self.seed.wrapping_add(i as u64 + 1);
                place.as_mut_os_string().push(format!("-{}", section.name));
                if let Some(network) = &section.network {
                    recipe.student.network = Some(network.clone());
                    recipe.student.from = None;
                }
            }
            match all.last() {
                Some((_, before)) => recipe.teachers = vec![self.taught_by(before)],
                None if self.teachers.is_empty() => {
                    recipe.losses.retain(|loss| self.goes_without_teacher(loss));
                }
                None => {}
            }
            if recipe.losses.is_empty() {
                return Err(fail("the first stage has no teacher and no loss that goes without one"));
            }
            all.push((recipe, place));
        }
        Ok(all)
    }

    /// Whether a loss learns from nobody, or from networks that learn along.
    fn goes_without_teacher(&self, loss: &LossSection) -> bool {
        let learns_along = |name: &String| name == STUDENT || self.peers.iter().any(|peer| peer.name == *name);
        let along = loss.teacher.as_ref().is_some_and(|names| names.as_slice().iter().all(learns_along));
        loss.loss.entry().teachers == Teachers::None || along
    }

    /// The run before as the teacher of the next one.
    fn taught_by(&self, run: &Path) -> TeacherSection {
        let from = TeacherSource::Run { path: run.to_owned(), checkpoint: Some(self.export.weights) };
        match self.teachers.first() {
            Some(teacher) => TeacherSection { from, classes: None, at_least: None, ..teacher.clone() },
            None => TeacherSection::new("teacher", from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = r#"
        [[stages]]
        name = "big"
        network = { name = "resnet20" }
        [[stages]]
        name = "same"
        [[losses]]
        name = "ce"
        weight = 1.0
        loss = { kind = "cross-entropy" }
        [[losses]]
        name = "kd"
        weight = 1.0
        loss = { kind = "kd", temperature = 1.0 }
    "#;

    fn recipe() -> Recipe {
        Recipe::parse(&format!("{}{CHAIN}", crate::recipe::PLAIN), &["seed=5".to_owned()]).unwrap()
    }

    #[test]
    fn each_stage_is_taught_by_the_one_before() {
        let recipe = recipe();
        let all = recipe.chain(Path::new("/runs/again")).unwrap();
        let facts = |(recipe, place): &(Recipe, PathBuf)| {
            let teacher = recipe.teachers.first().map(|teacher| match &teacher.from {
                TeacherSource::Run { path, .. } => path.display().to_string(),
                other => format!("{other:?}"),
            });
            (
                recipe.student.network.as_ref().unwrap().name.clone(),
                recipe.seed,
                recipe.losses.len(),
                place.display().to_string(),
                teacher,
            )
        };
        let big = ("resnet20".to_owned(), 6, 1, "/runs/again-big".to_owned(), None);
        let same = ("resnet8".to_owned(), 7, 2, "/runs/again-same".to_owned(), Some("/runs/again-big".to_owned()));
        let last = ("resnet8".to_owned(), 5, 2, "/runs/again".to_owned(), Some("/runs/again-same".to_owned()));
        assert_eq!(all.iter().map(facts).collect::<Vec<_>>(), [big, same, last]);
        assert!(all.iter().all(|(recipe, _)| recipe.stages.is_empty() && recipe.data.split_seed == Some(5)));
        let places = |out: &str| -> Vec<PathBuf> {
            recipe.chain(Path::new(out)).unwrap().into_iter().map(|(_, place)| place).collect()
        };
        for out in ["/runs/again/", "/runs/x/../again"] {
            assert_eq!(places(out), places("/runs/again"));
        }
    }

    #[test]
    fn a_first_stage_needs_something_to_learn_from() {
        let mut recipe = recipe();
        recipe.losses.remove(0);
        let message = recipe.chain(Path::new("/runs/again")).unwrap_err().to_string();
        assert!(message.contains("no loss that goes without one"), "{message}");
    }
}
