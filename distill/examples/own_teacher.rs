//! A teacher of one's own, written with `candle-nn`: the student learns from its logits and from a map inside of it.
//!
//! `cargo run --release -p attar-distill --example own_teacher [DIRECTORY]`

use std::path::Path;

use attar_data::{InMemory, Splits};
use attar_distill::losses::Pairs;
use attar_distill::losses::at::AtSpec;
use attar_distill::losses::cross_entropy::CrossEntropySpec;
use attar_distill::losses::kd::KdSpec;
use attar_distill::run::{Receipt, Silent};
use attar_distill::teacher::{Candle, Given};
use attar_distill::{Knots, Outline, Result, Trainer};
use attar_pixels::Preprocessing;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, VarBuilder, VarMap, conv2d, linear};

/// Two convolutions and a classifier.
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    classifier: Linear,
}

impl Net {
    fn new(vars: &VarBuilder<'_>) -> candle_core::Result<Self> {
        let same = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        Ok(Self {
            conv1: conv2d(1, 8, 3, same, vars.pp("conv1"))?,
            conv2: conv2d(8, 16, 3, same, vars.pp("conv2"))?,
            classifier: linear(16, 2, vars.pp("classifier"))?,
        })
    }

    /// The map of the second convolution, `[N, 16, H, W]`.
    fn features(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.conv2.forward(&self.conv1.forward(x)?.relu()?)?.relu()
    }

    /// Logits `[N, 2]` of that map.
    fn classify(&self, features: &Tensor) -> candle_core::Result<Tensor> {
        self.classifier.forward(&features.mean((2, 3))?)
    }
}

/// The network with weights: here random ones, in life `VarBuilder::from_mmaped_safetensors` of a file.
fn teacher() -> Result<Given> {
    let vars = VarMap::new();
    let net = Net::new(&VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    // What a program of one's own can hand over, by name and shape; `features` is its last stage.
    let outline = Outline::logits_only("two-convolutions", [1, 8, 8], 2)
        .with_value("features", &[16, 8, 8])?
        .with_stage("last", "features")?;
    let teacher = Candle::with_taps(outline, move |x, tap| {
        let features = net.features(x)?;
        tap.hand("features", &features);
        net.classify(&features)
    });
    Ok(Given::from(teacher).classes(vec!["top".to_owned(), "bottom".to_owned()]))
}

/// Trains into `directory`; a second call goes on where the first one stopped.
///
/// # Errors
/// Another run in the directory, a full disk.
pub(crate) fn run(directory: &Path) -> Result<Receipt> {
    let splits = Splits::new(stripes(96, "train")?, stripes(24, "test")?);
    Trainer::new("resnet8", splits, Preprocessing::normalise(vec![0.4], vec![0.3]))
        .teacher("net", teacher()?)
        .loss("ce", 1.0, CrossEntropySpec::default())
        .loss("kd", Knots::cosine(0.5, 0.1), KdSpec::at(4.0))
        .loss("at", 10.0, AtSpec { pairs: Pairs::last(), power: 2.0 })
        .epochs(2)
        .batch(24)
        .learning_rate(0.05)
        .run_in(directory, &mut Silent)
}

/// Grey images of 8x8 with a bright stripe in one of two places.
fn stripes(count: usize, name: &str) -> attar_data::Result<InMemory> {
    let pixel = |image: usize, at: usize| {
        let noise = (image * 7919 + at * 104_729) % 97;
        let bright = if at / 32 == image % 2 { 120 } else { 0 };
        (noise + bright) as u8
    };
    let pixels = (0..count).flat_map(|image| (0..64).map(move |at| pixel(image, at))).collect();
    let labels = (0..count).map(|image| (image % 2) as u32).collect();
    InMemory::new([8, 8], 1, pixels, labels, vec!["top".to_owned(), "bottom".to_owned()], name)
}

#[allow(dead_code)] // the test of the examples calls `run`
fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "runs/own-teacher".to_owned());
    let receipt = run(Path::new(&directory))?;
    println!("{:.1} % of the test images; the run is in {directory}", receipt.test_top1_last);
    Ok(())
}
