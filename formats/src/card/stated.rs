//! Preprocessing that somebody stated for a network of others: by a name, by timm's `config.json`, or by a Hugging Face
//! `preprocessor_config.json` of theirs or ours.

use std::path::Path;

use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};
use serde_json::Value;

use super::{hf, processors, timm};
use crate::error::{Error, Result};
use crate::json;

/// A preprocessing that has a name, for whatever a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// torchvision's for ImageNet: shorter edge to `round(size / 0.875)`, bilinear and antialiased, centre crop, mean
    /// (.485, .456, .406), deviation (.229, .224, .225).
    ImageNet,
    /// The same with mean and deviation 0.5, as Inception's: values from -1 to 1.
    Inception,
    /// The same without either: values from 0 to 1.
    Unit,
    /// Ultralytics' for its classifiers (8.1 and later): shorter edge to the size, centre crop, values from 0 to 1.
    Ultralytics,
}

impl Named {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ImageNet, Self::Inception, Self::Unit, Self::Ultralytics];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageNet => "imagenet",
            Self::Inception => "inception",
            Self::Unit => "unit",
            Self::Ultralytics => "ultralytics",
        }
    }

    /// For a network that takes `[C, H, W]`. Of one channel the means and deviations are the mean of the three.
    pub fn preprocessing(self, input: [usize; 3]) -> Preprocessing {
        let [channels, height, width] = input;
        let (mean, std) = match self {
            Self::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Inception => ([0.5; 3], [0.5; 3]),
            Self::Unit | Self::Ultralytics => ([0.0; 3], [1.0; 3]),
        };
        let edge = match self {
            Self::ImageNet | Self::Inception | Self::Unit => (height.max(width) as f64 / 0.875).round() as usize,
            Self::Ultralytics => height.max(width),
        };
        let of = |values: [f32; 3]| match channels {
            1 => vec![values.iter().sum::<f32>() / 3.0],
            _ => values.to_vec(),
        };
        Preprocessing {
            channels,
            resize: Some(Resize { to: ResizeTo::ShorterEdge(edge), interpolation: Interpolation::Bilinear }),
            crop: Some([height, width]),
            mean: of(mean),
            std: of(std),
        }
    }
}

/// What `stated` says: one of the [names](Named), for a network that takes `input` `[C, H, W]`, or else a file.
///
/// # Errors
/// As [`read`], and [`Error::Setting`] for what is neither, or does not make what the network takes.
pub fn preprocessing(stated: &str, input: [usize; 3]) -> Result<Preprocessing> {
    let named = Named::ALL.into_iter().find(|named| named.name() == stated);
    let found = match (named, Path::new(stated)) {
        (Some(named), _) => named.preprocessing(input),
        (None, path) if path.exists() => read(path)?,
        (None, path) => {
            let names = Named::ALL.map(Named::name).join(", ");
            let problem = format!("no such file, and none of the names {names}");
            return Err(Error::Format { path: path.to_owned(), problem });
        }
    };
    let fail = |problem: String| Err(Error::Setting { setting: "preprocessing", problem });
    found.check()?;
    if found.channels != input[0] {
        return fail(format!("`{stated}` gives {} channels, the network takes {}", found.channels, input[0]));
    }
    match (found.crop, found.resize.map(|resize| resize.to)) {
        (Some([h, w]), _) | (None, Some(ResizeTo::Exact([h, w]))) if [h, w] != input[1..] => {
            fail(format!("`{stated}` gives {h}x{w}, the network takes {}x{}", input[1], input[2]))
        }
        _ => Ok(found),
    }
}

/// Reads the file at `path`, of whichever kind it is.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] when it is none of them, or asks for what this program does not do.
pub fn read(path: &Path) -> Result<Preprocessing> {
    let value: Value = json::read(path)?;
    of_value(&value).map_err(|error| Error::Format { path: path.to_owned(), problem: error.to_string() })
}

/// [`read`] of a value.
///
/// # Errors
/// As [`read`], without the file.
pub fn of_value(value: &Value) -> Result<Preprocessing> {
    let has = |key: &str| value.get(key).is_some();
    if has("attar") {
        return hf::from_hf(value);
    }
    if has("pretrained_cfg") || has("input_size") {
        return timm::from_timm(value);
    }
    if ["image_processor_type", "feature_extractor_type", "image_mean"].into_iter().any(has) {
        return processors::from_processor(value);
    }
    let problem = "expected a `preprocessor_config.json` (it has `image_mean`) or timm's `config.json` (it has \
                   `pretrained_cfg`)";
    Err(Error::Setting { setting: "preprocessing", problem: problem.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_for_the_size_of_the_network() {
        let imagenet = preprocessing("imagenet", [3, 224, 224]).unwrap();
        let to = |how: &Preprocessing| how.resize.map(|resize| resize.to);
        assert_eq!((to(&imagenet), imagenet.crop), (Some(ResizeTo::ShorterEdge(256)), Some([224, 224])));
        assert_eq!(imagenet.mean, [0.485, 0.456, 0.406]);
        let inception = preprocessing("inception", [3, 299, 299]).unwrap();
        assert_eq!((to(&inception), inception.std), (Some(ResizeTo::ShorterEdge(342)), vec![0.5; 3]));
        let unit = preprocessing("unit", [1, 28, 28]).unwrap();
        assert_eq!((to(&unit), unit.mean, unit.std), (Some(ResizeTo::ShorterEdge(32)), vec![0.0], vec![1.0]));
        let ultralytics = preprocessing("ultralytics", [3, 224, 224]).unwrap();
        assert_eq!(to(&ultralytics), Some(ResizeTo::ShorterEdge(224)));
    }

    #[test]
    fn a_file_says_which_kind_it_is_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let text = path.display().to_string();
        let ours = hf::to_hf(&Named::ImageNet.preprocessing([3, 64, 64])).unwrap();
        std::fs::write(&path, ours.to_string()).unwrap();
        assert_eq!(preprocessing(&text, [3, 64, 64]).unwrap(), Named::ImageNet.preprocessing([3, 64, 64]));
        let wrong = preprocessing(&text, [3, 32, 32]).unwrap_err().to_string();
        assert!(wrong.contains("gives 64x64, the network takes 32x32"), "{wrong}");
        let wrong = preprocessing(&text, [1, 64, 64]).unwrap_err().to_string();
        assert!(wrong.contains("gives 3 channels, the network takes 1"), "{wrong}");
        std::fs::write(&path, "{}").unwrap();
        let wrong = preprocessing(&text, [3, 64, 64]).unwrap_err().to_string();
        assert!(wrong.contains("config.json") && wrong.contains("pretrained_cfg"), "{wrong}");
        let absent = preprocessing("imagnet", [3, 64, 64]).unwrap_err().to_string();
        assert!(absent.contains("imagnet") && absent.contains("imagenet, inception"), "{absent}");
    }
}
