//! The card: what must travel with weights so that nobody has to guess: classes, shape, preprocessing, provenance.
//!
//! What the network *is* stands in its graph ([`crate::graph`]); the card only says what it takes and gives, so that
//! whoever runs an exported file needs neither graph nor zoo.

pub mod hf;
pub(crate) mod origin;
pub mod processors;
pub mod stated;
pub mod timm;

use std::collections::BTreeMap;
use std::path::Path;

use attar_models::Graph;
use serde::{Deserialize, Serialize};

use attar_pixels::{Preprocessing, ResizeTo};

use crate::error::{Error, Result};

pub use origin::{GraphFile, Origin};

/// How `provenance.checkpoint` ends where the run had not ended.
pub const INTERRUPTED: &str = "interrupted";

/// Version of the card's layout. Version 1 held the zoo's name and options as the network; it is read as this one.
pub const CARD_VERSION: u32 = 2;

/// What a file of weights is: what goes in, what comes out, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`CARD_VERSION`].
    pub card_version: u32,
    /// What the network takes and gives.
    pub network: NetworkFacts,
    /// Class names in the order of the logits.
    pub labels: Vec<String>,
    /// Evaluation preprocessing.
    pub preprocessing: Preprocessing,
    /// Where the weights came from.
    pub provenance: Provenance,
}

/// What a network takes and gives; what it is stands in its graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NetworkFacts {
    /// Its name, for people.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
}

impl NetworkFacts {
    /// Those of a classifier.
    ///
    /// # Errors
    /// [`Error::Setting`] for a graph that does not take `[C, H, W]` or give `[K]`.
    pub fn of(graph: &Graph) -> Result<Self> {
        let (taken, given) = (graph.input_shape(), graph.output_shape());
        match (<[usize; 3]>::try_from(taken), given) {
            (Ok(input), &[classes]) => Ok(Self { name: graph.name().to_owned(), classes, input }),
            _ => Err(Error::Setting {
                setting: "network",
                problem: format!("takes {taken:?} and gives {given:?}, a classifier takes [C, H, W] and gives [K]"),
            }),
        }
    }
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
            if keys.get("card_version") == Some(&1.into()) {
                upgrade(keys);
            }
        }
        // Before the keys, of which another version may have others.
        if let Some(version) = value.get("card_version").and_then(serde_json::Value::as_u64)
            && version != u64::from(CARD_VERSION)
        {
            return Err(fail(other_version(version)));
        }
        let card = Self::deserialize(value).map_err(|error| fail(error.to_string()))?;
        card.check().map_err(|error| fail(error.to_string()))?;
        Ok(card)
    }

    /// Checks that the parts belong together: version, network, labels, preprocessing.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the part.
    pub fn check(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "card", problem });
        if self.card_version != CARD_VERSION {
            return fail(other_version(self.card_version.into()));
        }
        if self.network.input.contains(&0) || self.network.classes == 0 {
            return fail(format!("a network of {:?} and {} classes", self.network.input, self.network.classes));
        }
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

impl Card {
    /// Checks that `graph` takes and gives what the card says.
    ///
    /// # Errors
    /// [`Error::Setting`] with both sides.
    pub fn check_graph(&self, graph: &Graph) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "network", problem });
        let NetworkFacts { classes, input, .. } = self.network;
        if graph.input_shape() != input {
            return fail(format!("it takes {:?}, the card says {input:?}", graph.input_shape()));
        }
        match graph.output_shape() {
            [given] if *given == classes => Ok(()),
            [given] => fail(format!("it gives {given} numbers, the card says {classes} classes")),
            other => fail(format!("it gives {other:?}, a classifier gives [{classes}]")),
        }
    }
}

fn other_version(version: u64) -> String {
    format!("card_version is {version}, this program reads {CARD_VERSION}\n  hint: another version of attar wrote it")
}

/// A card of version 1 as one of version 2: what was the network is where it came from.
fn upgrade(keys: &mut serde_json::Map<String, serde_json::Value>) {
    let Some(spec) = keys.get("network").cloned() else { return };
    keys.insert("network".to_owned(), origin::facts_of(&spec));
    if let Some(provenance) = keys.get_mut("provenance").and_then(serde_json::Value::as_object_mut) {
        provenance.insert("network".to_owned(), origin::of_zoo(&spec));
    }
    keys.insert("card_version".to_owned(), CARD_VERSION.into());
}

/// Where weights came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Program and version that wrote the weights, e.g. `attar 0.1.0`.
    pub program: String,
    /// How the network was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Origin>,
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
pub(crate) mod tests {
    use attar_models::zoo::NetworkSpec;
    use attar_pixels::{Interpolation, Resize};

    use super::*;

    pub(crate) fn card() -> Card {
        let spec = NetworkSpec::new("resnet8", 2, [3, 32, 24]);
        Card {
            card_version: CARD_VERSION,
            network: NetworkFacts { name: "resnet8".to_owned(), classes: 2, input: [3, 32, 24] },
            labels: vec!["cat".to_owned(), "dog".to_owned()],
            preprocessing: Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3]),
            provenance: Provenance { network: Some(Origin::Zoo(spec)), ..Provenance::default() },
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
        assert!(broken(|card| card.network.input[1] = 0).contains("a network of [3, 0, 24]"));
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

    /// As `attar` wrote it before graphs were files; `zebra99` is in no zoo.
    #[test]
    fn a_card_of_version_1_opens_whether_the_zoo_knows_its_network_or_not() {
        let text = r#"{"architectures": ["zebra99"], "card_version": 1,
            "network": {"name": "zebra99", "classes": 2, "input": [3, 32, 24], "stripes": 7},
            "labels": ["cat", "dog"], "preprocessing": {"channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
            "provenance": {"program": "attar 0.1.0", "seed": 7}}"#;
        let card = Card::from_json(text, Path::new("card.json")).unwrap();
        assert_eq!(card.card_version, CARD_VERSION);
        assert_eq!(card.network, NetworkFacts { name: "zebra99".to_owned(), classes: 2, input: [3, 32, 24] });
        let origin = card.provenance.network.clone().unwrap();
        assert_eq!(origin.zoo().unwrap(), &NetworkSpec::new("zebra99", 2, [3, 32, 24]).with("stripes", 7));
        let written = serde_json::to_string(&card).unwrap();
        assert_eq!(Card::from_json(&written, Path::new("card.json")).unwrap(), card);
    }

    #[test]
    fn another_version_is_refused_with_a_hint() {
        let text = serde_json::to_string(&card()).unwrap().replace("\"card_version\":2", "\"card_version\":3");
        let message = Card::from_json(&text, Path::new("card.json")).unwrap_err().to_string();
        assert!(message.contains("card_version is 3, this program reads 2") && message.contains("hint:"), "{message}");
    }
}
