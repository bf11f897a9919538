//! Preprocessing as timm's `config.json` states it, by the rules of its `create_transform` for evaluation.

use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// What is read of `pretrained_cfg`; the rest is about weights and training.
#[derive(Deserialize)]
struct File {
    /// `[C, H, W]`.
    input_size: [usize; 3],
    interpolation: String,
    crop_pct: f64,
    #[serde(default = "centre")]
    crop_mode: String,
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// timm's default since there are modes, and all there was before.
fn centre() -> String {
    "center".to_owned()
}

/// Reads the contents of timm's `config.json`: the edges become `floor(size / crop_pct)`, then the middle is cut out. Mode
/// `center` resizes the shorter edge, `squash` both.
///
/// # Errors
/// [`Error::Setting`] when a key is missing or asks for something this program does not do (mode `border`, another filter).
pub fn from_timm(value: &Value) -> Result<Preprocessing> {
    let file = File::deserialize(value.get("pretrained_cfg").unwrap_or(value)).map_err(|e| problem(e.to_string()))?;
    let [channels, height, width] = file.input_size;
    if !(file.crop_pct > 0.0 && file.crop_pct <= 1.0) {
        return Err(problem(format!("crop_pct is {}, expected above 0 and at most 1", file.crop_pct)));
    }
    let interpolation = match file.interpolation.as_str() {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        other => return Err(problem(format!("interpolation is `{other}`, expected bilinear or bicubic"))),
    };
    let larger = |size: usize| (size as f64 / file.crop_pct).floor() as usize;
    let to = match file.crop_mode.as_str() {
        "center" if height == width => ResizeTo::ShorterEdge(larger(height)),
        "center" => {
            return Err(problem(format!("input_size is {height}x{width}: mode `center` is read of squares only")));
        }
        "squash" => ResizeTo::Exact([larger(height), larger(width)]),
        other => return Err(problem(format!("crop_mode is `{other}`, expected center or squash"))),
    };
    let preprocessing = Preprocessing {
        channels,
        resize: Some(Resize { to, interpolation }),
        crop: Some([height, width]),
        mean: file.mean,
        std: file.std,
    };
    preprocessing.check()?;
    Ok(preprocessing)
}

fn problem(problem: String) -> Error {
    Error::Setting { setting: "pretrained_cfg", problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Value {
        json!({
            "architecture": "vit_tiny_patch16_224", "num_classes": 1000,
            "pretrained_cfg": {
                "tag": "augreg", "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9,
                "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "classifier": "head",
            },
        })
    }

    #[test]
    fn geometry_is_timms() {
        let read = from_timm(&config()).unwrap();
        let to = |how: &Preprocessing| how.resize.map(|resize| resize.to);
        assert_eq!((to(&read), read.crop), (Some(ResizeTo::ShorterEdge(248)), Some([224, 224])));
        assert_eq!(read.mean, [0.5; 3]);
        let mut squashed = config();
        squashed["pretrained_cfg"]["crop_mode"] = json!("squash");
        squashed["pretrained_cfg"]["crop_pct"] = json!(1.0);
        assert_eq!(to(&from_timm(&squashed).unwrap()), Some(ResizeTo::Exact([224, 224])));
        assert_eq!(from_timm(&config()["pretrained_cfg"]).unwrap(), read, "older files have the keys at the top");
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let refused = |key: &str, value: Value| {
            let mut config = config();
            config["pretrained_cfg"][key] = value;
            from_timm(&config).unwrap_err().to_string()
        };
        assert!(refused("crop_mode", json!("border")).contains("crop_mode is `border`"));
        assert!(refused("interpolation", json!("lanczos")).contains("expected bilinear or bicubic"));
        assert!(refused("crop_pct", json!(0)).contains("crop_pct is 0"));
        assert!(refused("mean", Value::Null).contains("pretrained_cfg"));
        assert!(refused("input_size", json!([3, 224, 200])).contains("224x200"));
        assert!(refused("std", json!([0.5, 0.5])).contains("2 standard deviations"));
    }
}
