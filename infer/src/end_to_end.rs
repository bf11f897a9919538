//! A model from the bytes of an image to classes, held against what it is made of: the preprocessing here, and the network by
//! itself.

use std::path::Path;

use attar_formats::bundle::Compared;
use attar_models::{Array, Elements};
use attar_pixels::{Image, Preprocessing, ResizeTo, preprocess};

use crate::engine::{Engine, EngineKind, EngineModel, EngineSpec, OrtSearch, values};
use crate::error::{Error, Result};
use crate::parity::{answer::top1, seeded};
use crate::subject::Subject;

/// Runs `end_to_end`, written `with_input`, and `alone`, the network by itself, on the subject's goldens and on seeded images.
///
/// # Errors
/// [`Error::Unavailable`] where ONNX Runtime is not there, [`Error::Engine`] where it refuses one of them or gives what is not
/// expected; goldens that cannot be read.
pub fn compare(end_to_end: &[u8], alone: &EngineModel, subject: &Subject, ort: &OrtSearch) -> Result<Compared> {
    let spec = EngineSpec { ort: ort.clone(), ..EngineSpec::new(EngineKind::Ort) };
    let mut network = alone.open(&spec, Some(subject.input()))?;
    let mut whole = values::load(&spec, end_to_end, Path::new("the model with its preprocessing"))?;
    let mut compared = Compared {
        engine: network.name().to_owned(),
        version: network.version().to_owned(),
        images: 0,
        goldens: 0,
        pixel_max_diff: 0.0,
        pixels_off: 0.0,
        flips: 0,
        probability_max_diff: 0.0,
    };
    let mut images = Vec::new();
    for (at, encoded) in subject.goldens().map(|goldens| &goldens.encoded[..]).unwrap_or_default().iter().enumerate() {
        images.push(attar_pixels::decode(encoded, Path::new(&format!("golden {at}")))?);
    }
    compared.goldens = images.len();
    let channels = subject.preprocessing().channels;
    for (place, [height, width]) in (0..).zip(sizes(subject.preprocessing(), subject.input())) {
        images.push(seeded::image(place, height, width, if channels == 1 { 1 } else { 3 })?);
    }
    compared.images = images.len();
    let (mut off, mut pixels) = (0, 0);
    for image in images {
        let image = image.with_channels(channels);
        let ours = preprocess(&image, subject.preprocessing())?;
        let given = Answer::of(&mut *whole, &image)?;
        let stds = &subject.preprocessing().std;
        if given.input.len() != ours.len() {
            return Err(unexpected(format!("an input of {} numbers, expected {}", given.input.len(), ours.len())));
        }
        let plane = ours.len() / channels;
        for (at, (own, theirs)) in ours.iter().zip(&given.input).enumerate() {
            let steps = (f64::from(*own) - f64::from(*theirs)).abs() * f64::from(stds[at / plane]) * 255.0;
            off += usize::from(steps >= 0.5);
            compared.pixel_max_diff = compared.pixel_max_diff.max(steps);
        }
        pixels += ours.len();
        let logits = alone_on(&mut *network, &ours)?;
        compared.flips += usize::from(given.classes.first() != Some(&i64::from(top1(&logits).0)));
        let probabilities = attar_measures::softmax(&logits);
        for (class, probability) in given.classes.iter().zip(&given.probabilities) {
            let own = usize::try_from(*class).ok().and_then(|class| probabilities.get(class));
            let own = own.ok_or_else(|| unexpected(format!("class {class} of {}", probabilities.len())))?;
            let difference = (f64::from(*probability) - own).abs();
            compared.probability_max_diff = compared.probability_max_diff.max(difference);
        }
    }
    compared.pixels_off = off as f64 / pixels.max(1) as f64;
    Ok(compared)
}

/// Sizes of images that a resize and a crop have something to do with: upright, lying, small; of a network that takes images as
/// they are, its own.
fn sizes(how: &Preprocessing, [_, height, width]: [usize; 3]) -> Vec<[u32; 2]> {
    if how.resize.is_none() && how.crop.is_none() {
        return vec![[attar_pixels::clamp(height), attar_pixels::clamp(width)]];
    }
    let edge = match how.resize.map(|resize| resize.to) {
        Some(ResizeTo::ShorterEdge(edge)) => edge,
        Some(ResizeTo::Exact([h, w])) => h.max(w),
        None => height.max(width),
    };
    let parts = |percent: usize| attar_pixels::clamp((edge * percent / 100).max(2));
    vec![
        [parts(100), parts(100)],
        [parts(130) + 1, parts(201)],
        [parts(287), parts(167) | 1],
        [parts(75), parts(51) | 1],
        [parts(49), parts(94)],
    ]
}

fn alone_on(network: &mut dyn Engine, input: &[f32]) -> Result<Vec<f32>> {
    let signature = network.signature();
    let batch = signature.fixed_batch.unwrap_or(1);
    let mut images = input.to_vec();
    images.resize(batch * signature.input_len(), 0.0);
    let mut logits = network.run(&images, batch)?;
    logits.truncate(signature.classes);
    Ok(logits)
}

/// What an end-to-end model gives.
struct Answer {
    probabilities: Vec<f32>,
    classes: Vec<i64>,
    input: Vec<f32>,
}

impl Answer {
    fn of(whole: &mut dyn values::Values, image: &Image) -> Result<Self> {
        let shape = vec![image.height() as usize, image.width() as usize, usize::from(image.channels())];
        let pixels = Array::new(shape, image.pixels().to_vec())?;
        let given = whole.run(&[(attar_onnx::IMAGE, &pixels)])?.into_iter().map(|array| array.elements);
        match <[Elements; 3]>::try_from(given.collect::<Vec<_>>()) {
            Ok([Elements::F32(probabilities), Elements::I64(classes), Elements::F32(input)]) => {
                Ok(Self { probabilities, classes, input })
            }
            _ => Err(unexpected("other outputs than probabilities, classes and the network's input".to_owned())),
        }
    }
}

fn unexpected(problem: String) -> Error {
    Error::Engine { engine: EngineKind::Ort.name(), problem }
}
