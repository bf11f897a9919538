//! What the command line states about ONNX files of others: classes, preprocessing, size of an image; and about the one that
//! is compared with.

use std::path::PathBuf;

use crate::engine::EngineKind;
use crate::side::Stated;

/// What an ONNX file does not say itself.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct StatedArgs {
    /// Class names of an ONNX file, in the order of its outputs: one a line, a JSON list, `{"0": name}`, or a `config.json`
    /// with `id2label` (Hugging Face) or `label_names` (timm).
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How pixels become its input: `imagenet`, `inception`, `unit`, `ultralytics`, or a `preprocessor_config.json`, or timm's
    /// `config.json`.
    #[arg(long, value_name = "NAME|FILE")]
    pub preprocessing: Option<String>,
    /// Shape of its image, e.g. 3,224,224, where the file leaves sizes open.
    #[arg(long, value_name = "C,H,W", value_parser = shape)]
    pub input_shape: Option<[usize; 3]>,
}

impl StatedArgs {
    /// What was stated.
    pub fn stated(&self) -> Stated {
        Stated {
            labels: self.labels.clone(),
            preprocessing: self.preprocessing.clone(),
            input: self.input_shape,
            prefix: "",
        }
    }
}

/// The reference that is asked live, and what it does not say itself.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct AgainstArgs {
    /// Compare with the answers of this bundle or ONNX file, which is asked live.
    #[arg(long, value_name = "BUNDLE|FILE")]
    pub against: Option<PathBuf>,
    /// In this runtime; ONNX Runtime where it is there, else tract.
    #[arg(long, value_name = "NAME")]
    pub against_engine: Option<EngineKind>,
    /// Its class names, as --labels.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub against_labels: Option<PathBuf>,
    /// Its preprocessing, as --preprocessing.
    #[arg(long, value_name = "NAME|FILE", requires = "against")]
    pub against_preprocessing: Option<String>,
    /// Shape of its image, as --input-shape.
    #[arg(long, value_name = "C,H,W", value_parser = shape, requires = "against")]
    pub against_input_shape: Option<[usize; 3]>,
}

impl AgainstArgs {
    /// What was stated of the reference.
    pub fn stated(&self) -> Stated {
        Stated {
            labels: self.against_labels.clone(),
            preprocessing: self.against_preprocessing.clone(),
            input: self.against_input_shape,
            prefix: "against-",
        }
    }
}

/// Reads `C,H,W`.
///
/// # Errors
/// In words for people.
pub fn shape(text: &str) -> Result<[usize; 3], String> {
    let sizes: Result<Vec<usize>, _> = text.split(',').map(|size| size.trim().parse()).collect();
    match sizes.as_deref() {
        Ok(&[c, h, w]) if c.min(h).min(w) > 0 => Ok([c, h, w]),
        _ => Err("expected channels, height and width, e.g. 3,224,224".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn shapes_are_three_sizes() {
        assert_eq!(shape("3,224, 200").unwrap(), [3, 224, 200]);
        for text in ["", "3,224", "3,0,8", "3x8x8", "1,3,8,8", "-3,8,8"] {
            assert!(shape(text).is_err(), "{text}");
        }
    }
}
