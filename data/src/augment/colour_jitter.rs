//! Colour jitter: brightness, contrast, saturation and hue changed by random factors in random order, as torchvision's
//! `ColorJitter` does to PIL images.

use attar_measures::random::Stream;
use attar_pixels::Image;
use serde::{Deserialize, Serialize};

use super::enhance;
use crate::error::{Error, Result};

/// Settings of colour jitter; 0 leaves that part of the image alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ColourJitter {
    /// The factor is uniform in `max(0, 1 - brightness)..1 + brightness`.
    #[serde(default)]
    pub brightness: f64,
    /// The factor is uniform in `max(0, 1 - contrast)..1 + contrast`.
    #[serde(default)]
    pub contrast: f64,
    /// The factor is uniform in `max(0, 1 - saturation)..1 + saturation`; nothing happens to grey images.
    #[serde(default)]
    pub saturation: f64,
    /// The turn is uniform in `-hue..hue` of the colour circle, at most 0.5; nothing happens to grey images.
    #[serde(default)]
    pub hue: f64,
}

impl ColourJitter {
    pub(super) fn check(&self) -> Result<()> {
        let all = [
            ("augment.brightness", self.brightness, f64::MAX),
            ("augment.contrast", self.contrast, f64::MAX),
            ("augment.saturation", self.saturation, f64::MAX),
            ("augment.hue", self.hue, 0.5),
        ];
        for (name, value, most) in all {
            if !(0.0..=most).contains(&value) {
                let upper = if most == f64::MAX { "0 or more".to_owned() } else { format!("0 to {most}") };
                return Err(Error::setting(name, format!("{value}, expected {upper}")));
            }
        }
        if all.iter().all(|(_, value, _)| *value == 0.0) {
            let problem =
                "nothing is jittered, expected at least one of brightness, contrast, saturation and hue above 0";
            return Err(Error::setting("augment", problem));
        }
        Ok(())
    }

    pub(super) fn apply(&self, image: Image, stream: &mut Stream) -> Image {
        let (order, factors) = self.draw(stream);
        jitter(image, order, factors)
    }

    /// The order of the four changes and the factor of each; `None` where there is nothing to change.
    pub(super) fn draw(&self, stream: &mut Stream) -> ([u32; 4], [Option<f64>; 4]) {
        let mut order = [0, 1, 2, 3];
        stream.shuffle(&mut order);
        let mut between = |spread: f64, low: f64, high: f64| (spread > 0.0).then(|| stream.between(low, high));
        let [brightness, contrast, saturation] =
            [self.brightness, self.contrast, self.saturation].map(|by| between(by, (1.0 - by).max(0.0), 1.0 + by));
        (order, [brightness, contrast, saturation, between(self.hue, -self.hue, self.hue)])
    }
}

/// The four changes in this order: 0 brightness, 1 contrast, 2 saturation, 3 hue.
pub(super) fn jitter(image: Image, order: [u32; 4], factors: [Option<f64>; 4]) -> Image {
    let change = [enhance::brightness, enhance::contrast, enhance::saturation, enhance::hue];
    order.into_iter().fold(image, |image, at| match factors[at as usize] {
        Some(factor) => change[at as usize](image, factor),
        None => image,
    })
}
