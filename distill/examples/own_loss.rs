//! A loss of one's own: focal loss (Lin et al. 2017, arXiv 1708.02002) beside the cross-entropy that Attar has.
//!
//! `cargo run --release -p attar-distill --example own_loss [DIRECTORY]`

use std::path::Path;

use attar_data::{InMemory, Splits};
use attar_distill::losses::cross_entropy::CrossEntropySpec;
use attar_distill::losses::{Loss, Step, log_softmax};
use attar_distill::run::{Receipt, Silent};
use attar_distill::{Result, Trainer};
use attar_pixels::Preprocessing;
use candle_core::Tensor;

/// `-(1 - p_y)^gamma ln p_y`, mean over the batch: samples that are right already weigh little.
#[derive(Debug)]
struct Focal {
    gamma: f64,
}

impl Loss for Focal {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let label = view.labels.unsqueeze(1)?;
        let log = log_softmax(&view.student.logits)?.gather(&label, 1)?;
        let weight = (1.0 - log.exp()?)?.powf(self.gamma)?;
        Ok((weight * log)?.mean_all()?.neg()?)
    }
}

/// Trains into `directory`; a second call goes on where the first one stopped.
///
/// # Errors
/// Another run in the directory, a full disk.
pub(crate) fn run(directory: &Path) -> Result<Receipt> {
    let splits = Splits::new(stripes(96, "train")?, stripes(24, "test")?);
    Trainer::new("resnet8", splits, Preprocessing::normalise(vec![0.4], vec![0.3]))
        .loss("ce", 0.5, CrossEntropySpec::default())
        .loss("focal", 0.5, Focal { gamma: 2.0 })
        .epochs(2)
        .batch(24)
        .learning_rate(0.05)
        .seed(7)
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
    let directory = std::env::args().nth(1).unwrap_or_else(|| "runs/own-loss".to_owned());
    let receipt = run(Path::new(&directory))?;
    println!("{:.1} % of the test images; the run is in {directory}", receipt.test_top1_last);
    Ok(())
}
