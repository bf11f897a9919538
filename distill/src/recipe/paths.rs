//! The paths in a recipe: resolved against its file when read, written relative to it where that is shorter.

use std::path::{Component, Path, PathBuf};

use attar_data::Source;

use super::{Recipe, StudentSource, TeacherSource};

impl Recipe {
    /// Makes every relative path absolute, taking it as relative to `directory`.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.each_path(|path| *path = normalise(&directory.join(&path)));
    }

    /// The same recipe for a file in `directory`: paths beneath a common ancestor become relative, so that a project
    /// directory can be moved as a whole.
    #[must_use]
    pub fn relative_to(&self, directory: &Path) -> Self {
        let mut recipe = self.clone();
        recipe.each_path(|path| *path = relative(path, directory));
        recipe
    }

    fn each_path(&mut self, mut change: impl FnMut(&mut PathBuf)) {
        match &mut self.data.source {
            Source::Idx { root, .. }
            | Source::Cifar10 { root, .. }
            | Source::Cifar100 { root, .. }
            | Source::ImageFolder { root, .. } => change(root),
            Source::Given { .. } => {}
        }
        if let Some(path) = self.student.from.as_mut().and_then(StudentSource::path_mut) {
            change(path);
        }
        self.losses.iter_mut().flat_map(|loss| loss.loss.files()).for_each(&mut change);
        self.teachers.iter_mut().for_each(|teacher| teacher.from.each_path(&mut change));
    }
}

impl TeacherSource {
    /// The same source, its relative paths taken as relative to `directory`.
    pub(crate) fn resolved(&self, directory: &Path) -> Self {
        let mut from = self.clone();
        from.each_path(&mut |path| *path = normalise(&directory.join(&path)));
        from
    }

    fn each_path(&mut self, change: &mut impl FnMut(&mut PathBuf)) {
        match self {
            Self::Given { .. } => {}
            Self::Run { path, .. } | Self::Bundle { path } | Self::Onnx { path, .. } | Self::Stored { path } => {
                change(path);
            }
            Self::Weights { path, card, .. } => {
                change(path);
                if let Some(card) = card {
                    change(card);
                }
            }
        }
    }
}

/// Removes `.` and `name/..` without asking the file system.
pub(super) fn normalise(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// `path` as seen from `directory`, when both are absolute and share more than the root; `path` itself otherwise.
pub(crate) fn relative(path: &Path, directory: &Path) -> PathBuf {
    let directory = normalise(directory);
    let shared = path.components().zip(directory.components()).take_while(|(a, b)| a == b).count();
    if !path.is_absolute() || shared < 2 {
        return path.to_owned();
    }
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_way_to_a_run_directory_and_back() {
        let there = relative(Path::new("/home/me/data/fashion"), Path::new("/home/me/runs/x"));
        assert_eq!(there, Path::new("../../data/fashion"));
        assert_eq!(normalise(&Path::new("/home/me/runs/x").join(there)), Path::new("/home/me/data/fashion"));
        assert_eq!(relative(Path::new("/usr/share/data"), Path::new("/home/me")), Path::new("/usr/share/data"));
    }

    #[test]
    fn the_file_of_a_loss_is_a_path_too() {
        let mut recipe = Recipe::parse(include_str!("../../../recipes/cifar100/kd.toml"), &[]).unwrap();
        let cost = "{ file = \"../teachers/r.pth\", tensor = \"fc.weight\", holds = \"prototypes\" }";
        recipe.losses[0].loss = toml::from_str(&format!("kind = \"wkd-l\"\ncost = {cost}")).unwrap();
        recipe.resolve_paths(Path::new("/home/me/recipes"));
        assert_eq!(recipe.losses[0].loss.files(), [Path::new("/home/me/teachers/r.pth")]);
        let mut moved = recipe.relative_to(Path::new("/home/me/runs/x"));
        assert_eq!(moved.losses[0].loss.files(), [Path::new("../../teachers/r.pth")]);
    }
}
