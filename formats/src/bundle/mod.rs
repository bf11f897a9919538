//! The layout of a bundle: the directory that carries a network to where it works.

mod end_to_end;
mod manifest;

pub use end_to_end::{Compared, EndToEndModel};
pub use manifest::{Answerer, BUNDLE_VERSION, Manifest, ModelFile, OLDEST_BUNDLE_VERSION};

/// Names of the files of a bundle, `/` between folders.
pub mod file {
    /// Lists all files with their sha256, and the models.
    pub const MANIFEST: &str = "manifest.json";
    /// The card.
    pub const CONFIG: &str = "config.json";
    /// How pixels become the network's input.
    pub const PREPROCESSING: &str = "preprocessor_config.json";
    /// Class names, one a line, in the order of the logits.
    pub const LABELS: &str = "labels.txt";
    /// The network as it was trained, not folded.
    pub use crate::graph::GRAPH_FILE as GRAPH;
    /// The weights as they were trained, not folded.
    pub const WEIGHTS: &str = "model.safetensors";
    /// The folded network in `f32`, for any ONNX runtime.
    pub const ONNX: &str = "model.onnx";
    /// A few images with the trained network's logits.
    pub const GOLDENS: &str = "reference/golden.safetensors";
    /// The trained network's answers to all images of the validation and test splits.
    pub const PREDICTIONS: &str = "reference/predictions.safetensors";
    /// Some test images under the attacks of the run's recipe.
    pub const ATTACKS: &str = "reference/attacks.safetensors";
    /// The model card for people.
    pub const README: &str = "README.md";
}

/// Class names as [`file::LABELS`] holds them.
pub fn labels_text(labels: &[String]) -> String {
    labels.iter().map(|label| format!("{label}\n")).collect()
}

/// Class names out of the text of [`file::LABELS`].
pub fn parse_labels(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_were_written() {
        let labels = ["cat", "dog | hound", "\"owl\""].map(str::to_owned);
        assert_eq!(labels_text(&labels), "cat\ndog | hound\n\"owl\"\n");
        assert_eq!(parse_labels(&labels_text(&labels)), labels);
    }
}
