//! The goldens: a few images compared number by number, from the file to the logits.

use std::path::Path;

use super::answer::{normalised, top1};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::subject::Subject;
use attar_formats::certificate::GoldenNumbers;

/// Decodes, preprocesses and answers the subject's goldens; `None` when it has none.
///
/// # Errors
/// When a golden cannot be decoded, has another shape than the model takes, or the engine fails.
pub(super) fn compare(subject: &Subject, engine: &mut dyn Engine, precision: &str) -> Result<Option<GoldenNumbers>> {
    let Some(goldens) = subject.goldens() else { return Ok(None) };
    let (signature, up_to_a_constant) = (engine.signature(), engine.answers().normalised() || subject.normalised);
    if goldens.input_shape != signature.input {
        let (stored, takes) = (goldens.input_shape, signature.input);
        let problem = format!("the goldens have shape {stored:?}, the model takes {takes:?}");
        return Err(Error::Data { problem });
    }
    let mut inputs = Vec::with_capacity(goldens.input.len());
    for (i, encoded) in goldens.encoded.iter().enumerate() {
        let name = format!("golden {i}");
        let image = attar_pixels::decode(encoded, Path::new(&name))?;
        inputs.extend(subject.network_input(&image, signature, &name)?);
    }
    let classes = goldens.classes();
    let comparable = |logits: Vec<f32>| match up_to_a_constant {
        true => logits.chunks(classes).flat_map(normalised).collect(),
        false => logits,
    };
    let reference = comparable(goldens.logits.clone());
    let from_stored = comparable(answer(engine, &goldens.input)?);
    let from_files = comparable(answer(engine, &inputs)?);
    let logit_sd = standard_deviation(&reference);
    let decisions = |logits: &[f32]| logits.chunks(classes).map(|row| top1(row).0).collect::<Vec<_>>();
    let flips = decisions(&from_files).iter().zip(decisions(&reference)).filter(|(a, b)| **a != *b).count();
    let logit_max_diff = largest_difference(&from_stored, &reference);
    let reference_is_judged =
        subject.answered_by.as_ref().is_none_or(|of| GoldenNumbers::allowed(&of.precision).is_some());
    Ok(Some(GoldenNumbers {
        count: goldens.len(),
        kind: goldens.kind.name().to_owned(),
        input_max_diff: largest_difference(&inputs, &goldens.input),
        logit_max_diff,
        logit_max_diff_from_files: largest_difference(&from_files, &reference),
        logit_sd,
        flips,
        within_rounding: logit_max_diff <= GoldenNumbers::TOLERANCE * logit_sd,
        tolerance: GoldenNumbers::allowed(precision).filter(|_| reference_is_judged),
    }))
}

/// One image at a time, as on a device.
pub(super) fn answer(engine: &mut dyn Engine, inputs: &[f32]) -> Result<Vec<f32>> {
    let signature = engine.signature();
    let mut logits = Vec::new();
    for images in inputs.chunks(signature.fixed_batch.unwrap_or(1) * signature.input_len()) {
        logits.extend(engine.run(images, images.len() / signature.input_len())?);
    }
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(logits),
        Some(at) => {
            let problem =
                format!("logit {} of golden {} is {}", at % signature.classes, at / signature.classes, logits[at]);
            Err(Error::Engine { engine: engine.name(), problem })
        }
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

fn standard_deviation(values: &[f32]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}
