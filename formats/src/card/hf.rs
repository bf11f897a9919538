//! Preprocessing as `preprocessor_config.json`: Hugging Face's keys where they exist, an `attar` section for the rest.
//!
//! The export writes this and the device reads it, so both live here.

use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Version of the `attar` section. Version 1 means PIL's antialiased filters, and torchvision's rounding of the resized
/// edge (down) and of the crop's position.
const VERSION: u32 = 1;

/// The file's layout. `resample` is PIL's number of the filter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    image_processor_type: String,
    do_convert_rgb: bool,
    do_resize: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resample: Option<u32>,
    do_center_crop: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crop_size: Option<HeightWidth>,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: Vec<f64>,
    image_std: Vec<f64>,
    attar: Section,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "size: expected {shortest_edge} or {height, width}, nothing else")]
enum Size {
    ShortestEdge { shortest_edge: usize },
    Exact(HeightWidth),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeightWidth {
    height: usize,
    width: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    version: u32,
    channels: usize,
}

/// The contents of `preprocessor_config.json`.
///
/// # Errors
/// [`Error::Setting`] when the numbers do not make sense together.
pub fn to_hf(preprocessing: &Preprocessing) -> Result<Value> {
    preprocessing.check()?;
    let size = preprocessing.resize.map(|resize| match resize.to {
        ResizeTo::ShorterEdge(shortest_edge) => Size::ShortestEdge { shortest_edge },
        ResizeTo::Exact([height, width]) => Size::Exact(HeightWidth { height, width }),
    });
    let resample = preprocessing.resize.map(|resize| match resize.interpolation {
        Interpolation::Bilinear => 2,
        Interpolation::Bicubic => 3,
    });
    let file = File {
        // The one whose steps are these: resize, centre crop, rescale, normalise.
        image_processor_type: "CLIPImageProcessor".to_owned(),
        do_convert_rgb: preprocessing.channels == 3,
        do_resize: size.is_some(),
        size,
        resample,
        do_center_crop: preprocessing.crop.is_some(),
        crop_size: preprocessing.crop.map(|[height, width]| HeightWidth { height, width }),
        do_rescale: true,
        rescale_factor: 1.0 / 255.0,
        do_normalize: true,
        image_mean: preprocessing.mean.iter().copied().map(decimal).collect(),
        image_std: preprocessing.std.iter().copied().map(decimal).collect(),
        attar: Section { version: VERSION, channels: preprocessing.channels },
    };
    serde_json::to_value(file).map_err(|error| problem(error.to_string()))
}

/// Reads the contents of `preprocessor_config.json`.
///
/// # Errors
/// [`Error::Setting`] when a key is missing, unknown, or asks for something this program would not do.
pub fn from_hf(value: &Value) -> Result<Preprocessing> {
    let file = File::deserialize(value).map_err(|error| problem(error.to_string()))?;
    if file.attar.version != VERSION {
        return Err(problem(format!("attar.version is {}, expected {VERSION}", file.attar.version)));
    }
    if !file.do_rescale || (file.rescale_factor - 1.0 / 255.0).abs() > 1e-9 || !file.do_normalize {
        return Err(problem("expected do_rescale with rescale_factor 1/255, and do_normalize".to_owned()));
    }
    let resize = match (file.do_resize, file.size, file.resample) {
        (false, ..) => None,
        (true, Some(size), Some(resample)) => Some(Resize {
            to: match size {
                Size::ShortestEdge { shortest_edge } => ResizeTo::ShorterEdge(shortest_edge),
                Size::Exact(HeightWidth { height, width }) => ResizeTo::Exact([height, width]),
            },
            interpolation: match resample {
                2 => Interpolation::Bilinear,
                3 => Interpolation::Bicubic,
                other => return Err(problem(format!("resample is {other}, expected 2 (bilinear) or 3 (bicubic)"))),
            },
        }),
        (true, ..) => return Err(problem("do_resize needs size and resample".to_owned())),
    };
    let crop = match (file.do_center_crop, file.crop_size) {
        (false, _) => None,
        (true, Some(HeightWidth { height, width })) => Some([height, width]),
        (true, None) => return Err(problem("do_center_crop needs crop_size".to_owned())),
    };
    let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    let preprocessing = Preprocessing {
        channels: file.attar.channels,
        resize,
        crop,
        mean: single(file.image_mean),
        std: single(file.image_std),
    };
    preprocessing.check()?;
    Ok(preprocessing)
}

fn problem(problem: String) -> Error {
    Error::Setting { setting: "preprocessor_config", problem }
}

/// The number people wrote: 0.485 and not 0.48500001430511475, as long as it reads back as the same `f32`.
fn decimal(value: f32) -> f64 {
    let short = value.to_string().parse::<f64>().ok().filter(|short| *short as f32 == value);
    short.unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn imagenet() -> Preprocessing {
        Preprocessing {
            resize: Some(Resize { to: ResizeTo::ShorterEdge(256), interpolation: Interpolation::Bicubic }),
            crop: Some([224, 200]),
            ..Preprocessing::normalise(vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225])
        }
    }

    #[test]
    fn what_is_written_is_read_back_to_the_bit() {
        let grey = Preprocessing {
            resize: Some(Resize { to: ResizeTo::Exact([28, 30]), interpolation: Interpolation::Bilinear }),
            ..Preprocessing::normalise(vec![0.286_040_6], vec![1.0 / 3.0])
        };
        let plain = Preprocessing::normalise(vec![0.1, 0.2, 0.3], vec![1.0, 4e-3, 2.7]);
        for preprocessing in [imagenet(), grey, plain] {
            let text = to_hf(&preprocessing).unwrap().to_string();
            assert_eq!(from_hf(&serde_json::from_str(&text).unwrap()).unwrap(), preprocessing);
        }
    }

    #[test]
    fn the_keys_are_hugging_faces() {
        let value = to_hf(&imagenet()).unwrap();
        assert_eq!(value["size"], json!({"shortest_edge": 256}));
        assert_eq!(value["resample"], json!(3));
        assert_eq!(value["crop_size"], json!({"height": 224, "width": 200}));
        assert_eq!(value["image_mean"], json!([0.485, 0.456, 0.406]));
        assert_eq!(value["attar"], json!({"version": 1, "channels": 3}));
    }

    #[test]
    fn what_this_program_would_not_do_is_refused() {
        let edited = |key: &str, value: Value| {
            let mut file = to_hf(&imagenet()).unwrap();
            file[key] = value;
            from_hf(&file).unwrap_err().to_string()
        };
        assert!(edited("resample", json!(0)).contains("resample is 0"));
        assert!(edited("rescale_factor", json!(1.0)).contains("rescale_factor 1/255"));
        assert!(edited("do_pad", json!(true)).contains("unknown field `do_pad`"));
        assert!(edited("size", json!({"shortest_edge": 8, "longest_edge": 9})).contains("size: expected"));
        assert!(edited("size", json!(224)).contains("size: expected"));
        assert!(edited("crop_size", Value::Null).contains("needs crop_size"));
        assert!(edited("image_std", json!([0.1, 0.2])).contains("2 standard deviations"));
        assert!(edited("attar", json!({"version": 2, "channels": 3})).contains("attar.version is 2"));
        assert!(from_hf(&json!([1])).is_err());
    }
}
