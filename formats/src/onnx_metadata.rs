//! What an ONNX file says of itself in its metadata: names of classes, preprocessing, size of an image. Ours and
//! Ultralytics' say so; of others nothing is guessed.

use std::collections::BTreeMap;

use attar_pixels::Preprocessing;
use serde_json::Value;

use crate::card::hf;
use crate::card::stated::Named;
use crate::error::{Error, Result};
use crate::labels;

/// The property under which our exporter writes the names of the classes, a JSON list.
pub const LABELS: &str = "attar.labels";
/// The property under which our exporter writes the preprocessing, as in `preprocessor_config.json`.
pub const PREPROCESSING: &str = "attar.preprocessing";

/// What the metadata of an ONNX file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Names of the classes in the order of the logits.
    pub labels: Option<Vec<String>>,
    /// How pixels become the network's input.
    pub preprocessing: Option<Preprocessing>,
    /// Height and width of an image.
    pub size: Option<[usize; 2]>,
}

/// Reads the metadata of an ONNX file.
///
/// # Errors
/// [`Error::Setting`] naming the property, where one of those that are known has another form than its writer gives it.
pub fn said(metadata: &BTreeMap<&str, &str>) -> Result<Said> {
    let fail = |setting: &'static str| move |problem: String| Error::Setting { setting, problem };
    let mut said = Said::default();
    if let Some(text) = metadata.get(LABELS) {
        said.labels = Some(labels::parse(text).map_err(fail("the metadata `attar.labels`"))?);
    } else if let Some(text) = metadata.get("names").filter(|_| of_ultralytics(metadata)) {
        said.labels = Some(labels::of_python(text).map_err(fail("the metadata `names`"))?);
    }
    said.size = metadata.get("imgsz").filter(|_| of_ultralytics(metadata)).and_then(|text| size(text));
    if let Some(text) = metadata.get(PREPROCESSING) {
        let broken = fail("the metadata `attar.preprocessing`");
        let value: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        said.preprocessing = Some(hf::from_hf(&value)?);
    } else if let Some([height, width]) = said.size.filter(|[h, w]| h == w && classifies_as_known(metadata)) {
        said.preprocessing = Some(Named::Ultralytics.preprocessing([3, height, width]));
    }
    Ok(said)
}

fn of_ultralytics(metadata: &BTreeMap<&str, &str>) -> bool {
    metadata.get("author") == Some(&"Ultralytics")
}

/// Whether it is a classifier of a version whose preprocessing is [`Named::Ultralytics`]; before 8.1 it was another.
fn classifies_as_known(metadata: &BTreeMap<&str, &str>) -> bool {
    let version = metadata.get("version").map_or("", |version| *version);
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    metadata.get("task") == Some(&"classify") && version >= (8, 1)
}

/// `[224, 224]`.
fn size(text: &str) -> Option<[usize; 2]> {
    let size: [usize; 2] = serde_json::from_str(text).ok()?;
    (!size.contains(&0)).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_says_all_of_it() {
        let how = Named::ImageNet.preprocessing([3, 8, 8]);
        let text = hf::to_hf(&how).unwrap().to_string();
        let found = said(&BTreeMap::from([(LABELS, r#"["cat","dog"]"#), (PREPROCESSING, &text)])).unwrap();
        assert_eq!(found.labels.unwrap(), ["cat", "dog"]);
        assert_eq!(found.preprocessing, Some(how));
        assert!(said(&BTreeMap::from([(LABELS, "[")])).unwrap_err().to_string().contains("attar.labels"));
        assert!(said(&BTreeMap::from([(PREPROCESSING, "{}")])).is_err());
    }

    #[test]
    fn ultralytics_classifiers_say_so_too() {
        let mut metadata = BTreeMap::from([
            ("author", "Ultralytics"),
            ("task", "classify"),
            ("version", "8.3.40"),
            ("imgsz", "[224, 224]"),
            ("names", "{0: 'tench', 1: \"jack-o'-lantern\"}"),
        ]);
        let found = said(&metadata).unwrap();
        assert_eq!((found.labels.unwrap().len(), found.size), (2, Some([224, 224])));
        assert_eq!(found.preprocessing, Some(Named::Ultralytics.preprocessing([3, 224, 224])));
        for (key, value) in [("version", "8.0.10"), ("task", "detect")] {
            let mut other = metadata.clone();
            other.insert(key, value);
            let found = said(&other).unwrap();
            assert!(found.preprocessing.is_none() && found.labels.is_some(), "{key}");
        }
        metadata.insert("names", "{0: open('x')}");
        assert!(said(&metadata).unwrap_err().to_string().contains("`names`"));
        metadata.insert("author", "somebody");
        assert_eq!(said(&metadata).unwrap(), Said::default());
    }
}
