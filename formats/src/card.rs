//! The card: what must travel with weights so that nobody has to guess — network, labels, preprocessing, provenance.

pub mod hf;

use std::collections::BTreeMap;
use std::path::Path;

use attar_models::zoo::{self, NetworkSpec};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use attar_pixels::{Preprocessing, ResizeTo};

/// How `provenance.checkpoint` ends where the run had not ended.
pub const INTERRUPTED: &str = "interrupted";

/// Version of the card's layout.
pub const CARD_VERSION: u32 = 1;

/// What a file of weights is: enough to rebuild the network, feed it and say where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`CARD_VERSION`].
    pub card_version: u32,
    /// The network, rebuildable by the zoo.
    pub network: NetworkSpec,
    /// Class names in the order of the logits.
    pub labels: Vec<String>,
    /// Evaluation preprocessing.
    pub preprocessing: Preprocessing,
    /// Where the weights came from.
    pub provenance: Provenance,
}

impl Card {
    /// Reads a card: a run's `card.json`, or a bundle's `config.json`, which adds the key `architectures`.
    ///
    /// # Errors
    /// [`Error::Format`] when it is not a card of this version or its parts do not fit together.
    pub fn from_json(text: &str, origin: &Path) -> Result<Self> {
        let fail = |problem: String| Error::Format { path: origin.to_owned(), problem };
        let mut value: serde_json::Value = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
        if let Some(keys) = value.as_object_mut() {
            keys.remove("architectures");
        }
        let card = Self::deserialize(value).map_err(|error| fail(error.to_string()))?;
        card.check().map_err(|error| fail(error.to_string()))?;
        Ok(card)
    }

    /// Checks that the parts belong together: version, network, labels, preprocessing.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the part; what the zoo says about the network.
    pub fn check(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "card", problem });
        if self.card_version != CARD_VERSION {
            return fail(format!(
                "card_version is {}, this program reads {CARD_VERSION}\n  hint: another version of attar wrote it",
                self.card_version
            ));
        }
        zoo::build(&self.network)?;
        if self.labels.len() != self.network.classes {
            return fail(format!("{} labels for {} classes", self.labels.len(), self.network.classes));
        }
        if let Some(label) = self.labels.iter().find(|label| label.is_empty() || label.contains(['\n', '\r'])) {
            return fail(format!("the label {label:?} is not one line of text"));
        }
        self.preprocessing.check()?;
        let [channels, height, width] = self.network.input;
        if self.preprocessing.channels != channels {
            return fail(format!(
                "the preprocessing gives {} channels, `{}` takes {channels}",
                self.preprocessing.channels, self.network.name
            ));
        }
        // Without a crop, a resize by the shorter edge leaves the longer one to the image.
        let made = match (self.preprocessing.crop, self.preprocessing.resize.map(|resize| resize.to)) {
            (Some(size), _) | (None, Some(ResizeTo::Exact(size))) => Some(size),
            (None, Some(ResizeTo::ShorterEdge(edge))) if edge != height.min(width) => Some([edge, edge]),
            (None, _) => None,
        };
        match made {
            Some([h, w]) if [h, w] != [height, width] => {
                fail(format!("the preprocessing gives {h}x{w}, `{}` takes {height}x{width}", self.network.name))
            }
            _ => Ok(()),
        }
    }
}

/// Where weights came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Program and version that wrote the weights, e.g. `attar 0.1.0`.
    pub program: String,
    /// sha256 of the resolved recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_sha256: Option<String>,
    /// Fingerprint of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// sha256 of each teacher's weights file, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, String>,
    /// Seed of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Which weights: `best` (by validation accuracy) or `last`, and the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Measured numbers by name, e.g. `test_top1` in percent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Licence of the weights or the data they were made from, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

#[cfg(test)]
mod tests {
    use attar_pixels::{Interpolation, Resize};

    use super::*;

    fn card() -> Card {
        Card {
            card_version: CARD_VERSION,
            network: NetworkSpec::new("resnet8", 2, [3, 32, 24]),
            labels: vec!["cat".to_owned(), "dog".to_owned()],
            preprocessing: Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3]),
            provenance: Provenance::default(),
        }
    }

    fn resize(to: ResizeTo) -> Option<Resize> {
        Some(Resize { to, interpolation: Interpolation::Bilinear })
    }

    #[test]
    fn a_card_whose_parts_belong_together_passes() {
        let mut card = card();
        card.check().unwrap();
        card.preprocessing.resize = resize(ResizeTo::ShorterEdge(24));
        card.check().unwrap();
        card.preprocessing.resize = resize(ResizeTo::ShorterEdge(40));
        card.preprocessing.crop = Some([32, 24]);
        card.check().unwrap();
        let text = serde_json::to_string(&card).unwrap();
        assert_eq!(serde_json::from_str::<Card>(&text).unwrap(), card);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_named() {
        let broken = |change: fn(&mut Card)| {
            let mut card = card();
            change(&mut card);
            card.check().unwrap_err().to_string()
        };
        assert!(broken(|card| card.card_version = 9).contains("card_version is 9"));
        assert!(broken(|card| card.network.name = "resnet9".to_owned()).contains("did you mean `resnet8`?"));
        assert!(broken(|card| card.labels.truncate(1)).contains("1 labels for 2 classes"));
        assert!(
            broken(|card| card.preprocessing = Preprocessing::normalise(vec![0.5], vec![0.25]))
                .contains("1 channels, `resnet8` takes 3")
        );
        assert!(broken(|card| card.preprocessing.crop = Some([32, 32])).contains("32x32, `resnet8` takes 32x24"));
        assert!(broken(|card| card.preprocessing.resize = resize(ResizeTo::Exact([24, 32]))).contains("gives 24x32"));
        assert!(broken(|card| card.preprocessing.resize = resize(ResizeTo::ShorterEdge(32))).contains("gives 32x32"));
        assert!(broken(|card| card.preprocessing.std[1] = 0.0).contains("positive"));
    }
}
