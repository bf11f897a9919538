//! A bundle gets a file that takes the pixels of an image and gives classes: its preprocessing, a model and the best answers in
//! one ONNX graph, compared with the same in steps before it is listed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_export::bundle::with_end_to_end;
use attar_formats::bundle::EndToEndModel;
use attar_infer::engine::OrtSearch;
use attar_infer::{Bundle, Subject, end_to_end};
use attar_onnx::{EndToEnd, Options, RESIZE, ReadOptions, Storage, wire};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// How many classes it gives.
    pub top: usize,
    /// Largest difference of a pixel behind the preprocessing, in steps of 255, with which it is listed. Crops and images of the
    /// network's own size come out equal; a runtime's resize may differ from PIL's by a step.
    pub pixel_tolerance: u8,
}

impl Default for Request {
    fn default() -> Self {
        Self { top: 5, pixel_tolerance: 1 }
    }
}

/// `model.onnx` is `model.end-to-end.onnx`.
pub fn name_of(model: &str) -> String {
    format!("{}.end-to-end.onnx", model.strip_suffix(".onnx").unwrap_or(model))
}

/// Makes the file of the bundle's model called `model`, compares it in ONNX Runtime, and lists it.
///
/// # Errors
/// A model that is not there, or of which not all operations are known; ONNX Runtime missing; pixels that differ by more than is
/// allowed, or classes that differ where pixels do not.
pub fn add(root: &Path, model: &str, request: &Request, ort: &OrtSearch) -> Result<EndToEndModel> {
    let bundle = Bundle::open(root)?;
    let listed = bundle.models().iter().find(|listed| listed.file == model && listed.engine == "onnx");
    let listed = listed.with_context(|| format!("{} holds no ONNX file called `{model}`", root.display()))?;
    let alone = bundle.engine_model(listed)?;
    let input = bundle.card().network.input;
    let import = attar_onnx::read(alone.bytes(), alone.origin(), ReadOptions { input: Some(input) })?;
    let Some((graph, weights)) = import.network else {
        let why = import.obstacles.first().map(ToString::to_string).unwrap_or_default();
        bail!("{model} cannot be written anew with its preprocessing, as not all of its operations are known: {why}");
    };
    let how = bundle.preprocessing();
    let storage = match listed.precision.as_str() {
        "f16" => Storage::F16,
        "w8" => Storage::Int8,
        _ => Storage::F32,
    };
    let said = wire::metadata(alone.bytes());
    let metadata = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let least = if how.resize.is_some() { RESIZE } else { *attar_onnx::SUPPORTED_OPSETS.start() };
    let options = Options {
        opset: import.opset.clamp(least, *attar_onnx::SUPPORTED_OPSETS.end()),
        weights: storage,
        metadata: metadata.collect(),
    };
    let around = |with_input| EndToEnd { preprocessing: how, top: request.top, with_input };
    let write = |with_input| attar_onnx::write_end_to_end(&graph, &weights, &options, &around(with_input));
    let compared = end_to_end::compare(&write(true)?, &alone, &Subject::from(&bundle), ort)
        .context("--with-preprocessing: the file could not be compared, and is not listed")?;
    let steps = compared.pixel_max_diff;
    if steps.round() > f64::from(request.pixel_tolerance) {
        bail!(
            "--with-preprocessing: pixels differ by up to {steps:.0} of 255 ({:.2} % of them, {} of {} answers with them); the \
             file is not listed\n  hint: --pixel-tolerance {steps:.0} lists it all the same",
            100.0 * compared.pixels_off,
            compared.flips,
            compared.images
        );
    }
    if compared.pixels_off == 0.0 && compared.flips > 0 {
        bail!(
            "--with-preprocessing: {} of {} answers differ although pixels do not; this is a fault of Attar's",
            compared.flips,
            compared.images
        );
    }
    let made_from = bundle.manifest().files.get(model).cloned().unwrap_or_default();
    let added = EndToEndModel { file: name_of(model), made_from, top: request.top, compared };
    with_end_to_end(root, bundle.manifest(), &write(false)?, &added)?;
    Ok(added)
}

/// What was made, in a line.
pub fn text(added: &EndToEndModel) -> String {
    let EndToEndModel { file, compared, top, .. } = added;
    let pixels = match compared.pixels_off {
        0.0 => "every pixel the same".to_owned(),
        off => format!("{:.2} % of the pixels differ, by {:.0} of 255 at most", 100.0 * off, compared.pixel_max_diff),
    };
    format!(
        "{file}: pixels in, the best {top} classes out; in {} {} on {} images, {} of them goldens: {pixels}, {} first classes differ",
        compared.engine, compared.version, compared.images, compared.goldens, compared.flips
    )
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn it_is_called_after_its_model() {
        assert_eq!(name_of("model.onnx"), "model.end-to-end.onnx");
        assert_eq!(name_of("model.int8.onnx"), "model.int8.end-to-end.onnx");
    }
}
