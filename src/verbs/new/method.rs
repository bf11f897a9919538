//! The methods that `attar new` writes: losses and views as `recipes/compare` has them, so that there is one source of truth.

use anyhow::{Result, bail};
use attar_models::Error;

/// Name and text of a recipe in `recipes/compare`.
macro_rules! methods {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../recipes/compare/", $name, ".toml")))),*]
    };
}

/// Every method, the plain ones first.
const METHODS: &[(&str, &str)] = methods! {
    "alone" "kd" "cd-gkd-edt" "cd-gkd" "cd" "gkd" "at" "crd" "dist" "dkd" "dtd" "fitnets" "ka" "lskd" "meal" "mlkd" "nkd" "nst"
    "pkt" "pld" "ps-kd" "reviewkd" "rkd" "sp" "tf-kd" "vid" "wkd-f" "wkd-l" "wttm"
};

/// Losses and views of a recipe, as text.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    /// `# ...` lines: the paper and its settings.
    pub(super) comment: String,
    /// `[[views]]` and `[[losses]]`.
    pub(super) tables: String,
    /// Whether it learns from a teacher.
    pub(super) taught: bool,
}

impl Method {
    /// The method `name`; without a name what is usual with and without a teacher. A method that asks for a teacher gets one,
    /// one that does not gets none.
    pub(super) fn find(name: Option<&str>, has_teacher: bool) -> Result<Self> {
        let name = name.unwrap_or(if has_teacher { "kd" } else { "alone" });
        let Some((name, text)) = METHODS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = names().collect();
            return Err(Error::unknown("method", name, &known).into());
        };
        let method = Self::read(name, text);
        match (method.taught, has_teacher) {
            (true, false) => bail!("the method `{name}` learns from a teacher\n  hint: name it, --teacher FILE or DIR"),
            (false, true) => {
                bail!(
                    "the method `{name}` has no teacher to learn from\n  hint: leave --teacher out, or choose another method"
                )
            }
            _ => Ok(method),
        }
    }

    fn read(name: &'static str, text: &str) -> Self {
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        let (head, tables) = text.split_once("\n[[").map_or((text, ""), |(head, _)| text.split_at(head.len() + 1));
        let taught = !head.lines().any(|line| line == "teachers = []");
        Self { name, comment: comment.join("\n"), tables: tables.trim_end().to_owned(), taught }
    }
}

/// The names of all methods.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_recipe_that_compares_methods_is_a_method() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/compare");
        let stem = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.extension()? == "toml").then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
        };
        let mut files: Vec<String> = std::fs::read_dir(folder).unwrap().filter_map(stem).collect();
        let mut known: Vec<&str> = names().collect();
        files.sort();
        known.sort_unstable();
        assert_eq!(files, known);
    }

    #[test]
    fn a_method_is_its_tables_under_its_comment() {
        for (name, text) in METHODS {
            let method = Method::read(name, text);
            assert!(method.comment.starts_with("# ") && method.tables.starts_with("[["), "{name}");
            assert!(!method.tables.contains("base =") && method.tables.contains("[[losses]]"), "{name}");
        }
        let untaught = METHODS.iter().map(|(name, text)| Method::read(name, text)).filter(|method| !method.taught);
        assert_eq!(untaught.map(|method| method.name).collect::<Vec<_>>(), ["alone", "ps-kd", "tf-kd"]);
    }

    #[test]
    fn teachers_go_with_methods_that_have_one() {
        assert_eq!(Method::find(None, true).unwrap().name, "kd");
        assert_eq!(Method::find(None, false).unwrap().name, "alone");
        let problem = |name, teacher| Method::find(Some(name), teacher).unwrap_err().to_string();
        assert!(problem("kd", false).contains("--teacher") && problem("tf-kd", true).contains("leave --teacher out"));
        assert!(problem("kdd", true).contains("did you mean `kd`?") || problem("kdd", true).contains("dkd"));
    }
}
