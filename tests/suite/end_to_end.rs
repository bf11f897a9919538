//! Files that take the pixels of an image: what they make of them is what the preprocessing here makes, and their answers are
//! the network's.

use attar_formats::bundle::Compared;
use attar_infer::engine::{EngineModel, OrtSearch};
use attar_infer::{Subject, end_to_end};
use attar_models::generated;
use attar_models::zoo::{NetworkSpec, build};
use attar_onnx::{EndToEnd, Options, RESIZE, write, write_end_to_end};
use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};

use crate::support::require_ort;

fn preprocessing(
    channels: usize,
    resize: Option<(ResizeTo, Interpolation)>,
    crop: Option<[usize; 2]>,
) -> Preprocessing {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    Preprocessing {
        resize: resize.map(|(to, interpolation)| Resize { to, interpolation }),
        crop,
        ..Preprocessing::normalise(mean[..channels].to_vec(), std[..channels].to_vec())
    }
}

fn compared(how: &Preprocessing, [height, width]: [usize; 2]) -> Compared {
    let input = [how.channels, height, width];
    let graph = build(&NetworkSpec::new("resnet8", 7, input)).unwrap();
    let weights = generated::weights(&graph, 5);
    let options = Options { opset: RESIZE, ..Options::default() };
    let alone = EngineModel::from_bytes(write(&graph, &weights, &options).unwrap(), "alone.onnx").unwrap();
    let around = EndToEnd { preprocessing: how, top: 3, with_input: true };
    let whole = write_end_to_end(&graph, &weights, &options, &around).unwrap();
    let labels = (0..7).map(|class| format!("class {class}")).collect();
    let subject = Subject::new("net", input, labels, how.clone()).unwrap();
    end_to_end::compare(&whole, &alone, &subject, &OrtSearch::default()).unwrap()
}

#[test]
fn crops_and_whole_images_are_equal_to_the_pixel() {
    if !require_ort("end to end") {
        return;
    }
    for (how, size, images) in [
        (preprocessing(3, None, None), [32, 40], 1),
        (preprocessing(1, None, None), [28, 28], 1),
        (preprocessing(3, None, Some([33, 20])), [33, 20], 5),
        // Of some images the crop is larger than they are, and by an odd number.
        (preprocessing(1, None, Some([47, 32])), [47, 32], 5),
    ] {
        let found = compared(&how, size);
        assert_eq!((found.images, found.goldens), (images, 0));
        assert_eq!((found.pixel_max_diff, found.pixels_off, found.flips), (0.0, 0.0, 0), "{how:?}");
        assert!(found.probability_max_diff < 1e-6, "{how:?}: {found:?}");
    }
}

#[test]
fn resizes_are_pils_but_for_a_step_here_and_there() {
    if !require_ort("end to end") {
        return;
    }
    let [bilinear, bicubic] = [Interpolation::Bilinear, Interpolation::Bicubic];
    for (how, size) in [
        (preprocessing(3, Some((ResizeTo::Exact([32, 24]), bilinear)), None), [32, 24]),
        (preprocessing(3, Some((ResizeTo::Exact([32, 24]), bicubic)), Some([30, 24])), [30, 24]),
        (preprocessing(3, Some((ResizeTo::ShorterEdge(37), bilinear)), Some([32, 32])), [32, 32]),
        (preprocessing(1, Some((ResizeTo::ShorterEdge(36), bicubic)), Some([32, 32])), [32, 32]),
        // The longer edge is cropped, the shorter one padded.
        (preprocessing(3, Some((ResizeTo::ShorterEdge(29), bilinear)), Some([32, 32])), [32, 32]),
    ] {
        let found = compared(&how, size);
        assert!(found.pixel_max_diff.round() <= 1.0 && found.pixels_off < 0.1, "{how:?}: {found:?}");
        assert!(found.probability_max_diff < 0.05, "{how:?}: {found:?}");
    }
}

#[test]
fn what_no_file_can_say_is_refused() {
    let how = preprocessing(3, Some((ResizeTo::ShorterEdge(32), Interpolation::Bilinear)), Some([32, 32]));
    let graph = build(&NetworkSpec::new("resnet8", 7, [3, 32, 32])).unwrap();
    let weights = generated::weights(&graph, 5);
    let refused = |opset, how: &Preprocessing| {
        let around = EndToEnd { preprocessing: how, top: 1, with_input: false };
        write_end_to_end(&graph, &weights, &Options { opset, ..Options::default() }, &around).unwrap_err().to_string()
    };
    assert!(refused(17, &how).contains("expected 18 or newer"), "{}", refused(17, &how));
    let broken = Preprocessing { std: vec![0.0; 3], ..how };
    assert!(refused(18, &broken).contains("preprocessing"), "{}", refused(18, &broken));
}
