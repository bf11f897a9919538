//! The exported weights under attack: accuracy on test images that were moved so that they err, and some of these images.

use std::collections::{BTreeMap, BTreeSet};

use attar_data::spread_in_turn;
use attar_exec::Network;
use attar_formats::reference::Attacks;
use attar_pixels::Preprocessing;

use crate::error::Result;
use crate::recipe::{Attack, RobustnessSection};
use crate::run::feed::evaluate::Evaluation;
use crate::run::step::Position;
use crate::run::step::views::{Bounds, generator};

/// Most images of an attack that are kept.
const KEPT: usize = 256;

/// Most bytes that the images of an attack may take; of large ones fewer are kept.
const KEPT_BYTES: usize = 16 << 20;

/// Accuracy under each attack by its name, in percent, and some of the attacked images, rounded to bytes: of each class as many
/// as of the others. White-box: the attack knows the weights, which have this sha256.
pub(in crate::run) fn robustness(
    attacks: &[RobustnessSection],
    network: &Network,
    [channels, height, width]: [usize; 3],
    evaluation: &Evaluation<'_>,
    seed: u64,
    weights_sha256: &str,
) -> Result<(BTreeMap<String, f64>, Attacks)> {
    let mut found = BTreeMap::new();
    let network = network.freeze()?;
    let bounds = Bounds::of(evaluation.preprocessing, evaluation.device)?;
    let bytes = channels * height * width;
    let labels = evaluation.dataset.labels();
    let most = KEPT.min(KEPT_BYTES / bytes.max(1)).max(1);
    let kept: BTreeSet<u32> = spread_in_turn(&labels, most).into_iter().map(|at| at as u32).collect();
    let mut pixels = BTreeMap::new();
    for section in attacks {
        let attack = Attack::from(section);
        let (mut batch, mut moved) = (0, Vec::with_capacity(kept.len() * bytes));
        let scores = evaluation.run_changed(
            |look| {
                let mut rng =
                    generator(seed, Position { epoch: 0, step: batch, part: 0, steps_per_epoch: 1 }, &section.name);
                batch += 1;
                let x = attack
                    .run(&look.x, &look.targets, &bounds, &mut rng, &mut |x, slope| network.input_gradient(x, slope))?;
                if look.ids.iter().any(|id| kept.contains(id)) {
                    let values = x.flatten_all()?.to_vec1::<f32>()?;
                    let images = look.ids.iter().zip(values.chunks_exact(bytes)).filter(|(id, _)| kept.contains(id));
                    images.for_each(|(_, image)| moved.extend(to_bytes(image, evaluation.preprocessing)));
                }
                Ok(x)
            },
            |x| Ok(network.eval(x, &[])?.logits),
        )?;
        found.insert(section.name.clone(), scores.top1());
        pixels.insert(section.name.clone(), moved);
    }
    let attacked = Attacks {
        weights_sha256: weights_sha256.to_owned(),
        classes: evaluation.dataset.classes().len(),
        shape: [height, width, channels],
        labels: kept.iter().filter_map(|id| labels.get(*id as usize).copied()).collect(),
        pixels,
    };
    Ok((found, attacked))
}

/// A network's input `[C, H, W]` as the image `[H, W, C]` that normalisation makes it of, to the nearest byte.
fn to_bytes(input: &[f32], how: &Preprocessing) -> Vec<u8> {
    let channels = how.mean.len().max(1);
    let plane = input.len() / channels;
    let value = |at: usize| {
        let (pixel, channel) = (at / channels, at % channels);
        let value = input[channel * plane + pixel] * how.std[channel] + how.mean[channel];
        (255.0 * value).round().clamp(0.0, 255.0) as u8
    };
    (0..plane * channels).map(value).collect()
}

#[cfg(test)]
mod tests {
    use attar_pixels::{Image, preprocess};

    use super::*;

    #[test]
    fn an_input_becomes_the_image_that_it_was_made_of() {
        let how = Preprocessing::normalise(vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
        let pixels: Vec<u8> = (0..=254).collect();
        let image = Image::new(17, 5, 3, pixels.clone()).unwrap();
        assert_eq!(to_bytes(&preprocess(&image, &how).unwrap(), &how), pixels);
        assert_eq!(to_bytes(&[-99.0, 99.0], &Preprocessing::normalise(vec![0.5], vec![0.5])), [0, 255]);
    }
}
