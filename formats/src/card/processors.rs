//! Preprocessing as others' `preprocessor_config.json` states it: Hugging Face's image processors that resize, cut out the
//! middle, scale and normalise.

use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// What is read; a key that changes pixels in another way is refused ([`OTHER_STEPS`]), the rest is about more than them.
#[derive(Deserialize)]
struct File {
    do_resize: bool,
    #[serde(default)]
    size: Option<Size>,
    /// PIL's number of the filter.
    #[serde(default)]
    resample: Option<u32>,
    #[serde(default)]
    crop_pct: Option<f64>,
    #[serde(default)]
    do_center_crop: Option<bool>,
    #[serde(default)]
    crop_size: Option<Size>,
    #[serde(default)]
    do_rescale: Option<bool>,
    #[serde(default)]
    rescale_factor: Option<f64>,
    do_normalize: bool,
    image_mean: Vec<f32>,
    image_std: Vec<f32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "expected a number, {shortest_edge} or {height, width}")]
enum Size {
    One(usize),
    ShortestEdge { shortest_edge: usize },
    Exact { height: usize, width: usize },
}

/// Steps that are not done here.
const OTHER_STEPS: [&str; 6] =
    ["do_pad", "do_flip_channel_order", "do_reduce_labels", "do_color_quantize", "include_top", "rescale_offset"];

/// Processors that never crop, so that nothing is left open where they do not mention it.
const WITHOUT_CROP: [&str; 2] = ["ViT", "Siglip"];

/// Reads a file of others; `ConvNext`'s `crop_pct` is known (below 384 pixels the shorter edge becomes `size / crop_pct` and
/// the middle is cut out, else both edges are resized).
///
/// # Errors
/// [`Error::Setting`] when a key that decides is missing, or asks for something this program does not do.
pub fn from_processor(value: &Value) -> Result<Preprocessing> {
    let wanted = |key: &&&str| value.get(**key).is_some_and(|on| *on != Value::Bool(false) && !on.is_null());
    if let Some(key) = OTHER_STEPS.iter().find(wanted) {
        return Err(problem(format!("`{key}` is set, a step that this program does not do")));
    }
    let file = File::deserialize(value).map_err(|error| problem(error.to_string()))?;
    let factor = file.rescale_factor.unwrap_or(1.0 / 255.0);
    if file.do_rescale == Some(false) || (factor - 1.0 / 255.0).abs() > 1e-9 || !file.do_normalize {
        return Err(problem("expected do_rescale with rescale_factor 1/255, and do_normalize".to_owned()));
    }
    let kind = ["image_processor_type", "feature_extractor_type"].iter().find_map(|key| value.get(*key)?.as_str());
    let (to, crop) = geometry(&file, kind.unwrap_or_default())?;
    let resize = match (to, file.resample) {
        (None, _) => None,
        (Some(to), Some(2)) => Some(Resize { to, interpolation: Interpolation::Bilinear }),
        (Some(to), Some(3)) => Some(Resize { to, interpolation: Interpolation::Bicubic }),
        (Some(_), other) => {
            let found = other.map_or("missing".to_owned(), |other| other.to_string());
            return Err(problem(format!("resample is {found}, expected 2 (bilinear) or 3 (bicubic)")));
        }
    };
    let preprocessing =
        Preprocessing { channels: file.image_mean.len(), resize, crop, mean: file.image_mean, std: file.image_std };
    preprocessing.check()?;
    Ok(preprocessing)
}

type Geometry = (Option<ResizeTo>, Option<[usize; 2]>);

fn geometry(file: &File, kind: &str) -> Result<Geometry> {
    if let (true, Some(share), Some(size)) = (file.do_resize, file.crop_pct, file.size) {
        let edge = match size {
            Size::One(edge) | Size::ShortestEdge { shortest_edge: edge } => edge,
            Size::Exact { .. } => return Err(problem("crop_pct needs size as {shortest_edge}".to_owned())),
        };
        if !(share > 0.0 && share <= 1.0) {
            return Err(problem(format!("crop_pct is {share}, expected above 0 and at most 1")));
        }
        return Ok(match edge < 384 {
            true => (Some(ResizeTo::ShorterEdge((edge as f64 / share) as usize)), Some([edge; 2])),
            false => (Some(ResizeTo::Exact([edge; 2])), None),
        });
    }
    let cropped = match file.do_center_crop {
        Some(cropped) => cropped,
        None if WITHOUT_CROP.iter().any(|name| kind.starts_with(name)) => false,
        None => return Err(problem("do_center_crop is missing, expected true or false".to_owned())),
    };
    let to = match (file.do_resize, file.size) {
        (false, _) => None,
        (true, None) => return Err(problem("do_resize needs size".to_owned())),
        (true, Some(Size::ShortestEdge { shortest_edge })) => Some(ResizeTo::ShorterEdge(shortest_edge)),
        (true, Some(Size::Exact { height, width })) => Some(ResizeTo::Exact([height, width])),
        // One number was the shorter edge to processors that crop, both edges to the others.
        (true, Some(Size::One(edge))) if cropped => Some(ResizeTo::ShorterEdge(edge)),
        (true, Some(Size::One(edge))) => Some(ResizeTo::Exact([edge; 2])),
    };
    let crop = match (cropped, file.crop_size) {
        (false, _) => None,
        (true, Some(Size::Exact { height, width })) => Some([height, width]),
        (true, Some(Size::One(edge))) => Some([edge; 2]),
        (true, _) => return Err(problem("do_center_crop needs crop_size as a number or {height, width}".to_owned())),
    };
    Ok((to, crop))
}

fn problem(problem: String) -> Error {
    Error::Setting { setting: "preprocessor_config", problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vit() -> Value {
        json!({
            "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 2,
            "rescale_factor": 0.003_921_568_627_450_98, "size": {"height": 224, "width": 224},
        })
    }

    fn with(mut file: Value, changes: Value) -> Value {
        let (Some(file_keys), Value::Object(changes)) = (file.as_object_mut(), changes) else { return file };
        file_keys.extend(changes);
        file
    }

    #[test]
    fn files_of_hugging_face_are_read() {
        let read = from_processor(&vit()).unwrap();
        assert_eq!((read.resize.map(|r| r.to), read.crop), (Some(ResizeTo::Exact([224, 224])), None));
        let older = with(vit(), json!({"size": 224, "feature_extractor_type": "ViTFeatureExtractor"}));
        assert_eq!(from_processor(&older).unwrap(), read);
        let clip = json!({
            "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 256}, "resample": 3,
            "do_center_crop": true, "crop_size": {"height": 224, "width": 224},
        });
        let clip = from_processor(&with(vit(), clip)).unwrap();
        assert_eq!((clip.resize.map(|r| r.to), clip.crop), (Some(ResizeTo::ShorterEdge(256)), Some([224, 224])));
        let convnext = json!({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875});
        for (edge, to, crop) in
            [(224, ResizeTo::ShorterEdge(256), Some([224, 224])), (384, ResizeTo::Exact([384, 384]), None)]
        {
            let file = with(with(vit(), convnext.clone()), json!({"size": {"shortest_edge": edge}}));
            let read = from_processor(&file).unwrap();
            assert_eq!((read.resize.map(|r| r.to), read.crop), (Some(to), crop));
        }
    }

    #[test]
    fn what_is_open_or_not_done_is_refused() {
        let cases = [
            (json!({"image_processor_type": "BitImageProcessor"}), "do_center_crop is missing"),
            (json!({"resample": 0}), "resample is 0"),
            (json!({"resample": null}), "resample is missing"),
            (json!({"do_pad": true}), "`do_pad` is set"),
            (json!({"do_normalize": false}), "do_normalize"),
            (json!({"rescale_factor": 1.0}), "rescale_factor 1/255"),
            (json!({"size": {"longest_edge": 3}}), "shortest_edge"),
            (json!({"do_center_crop": true}), "needs crop_size"),
        ];
        for (changes, why) in cases {
            let problem = from_processor(&with(vit(), changes)).unwrap_err().to_string();
            assert!(problem.contains(why), "{problem}");
        }
    }
}
