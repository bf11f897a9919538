//! `data.validation`: which images the best epoch is chosen by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Images that are held out to choose by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a share in [0, 1), e.g. 0.1, or a folder, { folder = \"val\" }")]
pub enum Validation {
    /// A share of the training images (stratified, seeded), in `[0, 1)`. With 0 there are none and `best` is the last epoch.
    Share(f64),
    /// A split of an image folder that somebody made with care.
    Folder(Folder),
}

/// A folder beside `train`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Its name, e.g. `val`.
    pub folder: String,
}

impl Validation {
    /// The share of the training images that is held out; 0 where a folder takes its place.
    pub fn share(&self) -> f64 {
        match self {
            Self::Share(share) => *share,
            Self::Folder(_) => 0.0,
        }
    }

    /// The folder, where there is one.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::Share(_) => None,
            Self::Folder(of) => Some(&of.folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::{PLAIN, Recipe};

    #[test]
    fn a_number_is_written_as_before_and_a_folder_as_a_folder() {
        let read = |value: &str| {
            let text = format!("losses = []{}", PLAIN.replace("validation = 0.1", &format!("validation = {value}")));
            Recipe::parse(&text, &[])
        };
        for (value, written) in [
            ("0.1", "validation = 0.1\n"),
            ("0", "validation = 0.0\n"),
            ("{ folder = 'val' }", "[data.validation]\nfolder = \"val\"\n"),
        ] {
            let recipe = read(value).unwrap();
            let text = recipe.to_toml().unwrap();
            assert!(text.contains(written), "{text}");
            assert_eq!(Recipe::parse(&text, &[]).unwrap(), recipe);
        }
        for wrong in ["'val'", "{ folder = 'val', share = 0.1 }"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("data.validation") && error.contains("{ folder = \"val\" }"), "{error}");
        }
    }
}
