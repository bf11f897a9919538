//! A data set of one's own: images that are drawn when they are asked for, and never lie in a file.
//!
//! `cargo run --release -p attar-distill --example own_data [DIRECTORY]`

use std::path::Path;

use attar_data::{Augment, Dataset, Splits};
use attar_distill::losses::cross_entropy::CrossEntropySpec;
use attar_distill::run::{Receipt, Silent};
use attar_distill::{Result, Trainer};
use attar_pixels::{Image, Preprocessing};

/// Edge of the images.
const SIZE: u32 = 12;

/// Colour images of a disc or a cross, somewhere.
struct Shapes {
    count: usize,
    /// Images of two sets with different salts differ.
    salt: usize,
    classes: Vec<String>,
}

impl Shapes {
    fn new(count: usize, salt: usize) -> Self {
        Self { count, salt, classes: vec!["disc".to_owned(), "cross".to_owned()] }
    }
}

impl Dataset for Shapes {
    fn len(&self) -> usize {
        self.count
    }

    fn label(&self, index: usize) -> u32 {
        (index % 2) as u32
    }

    fn image(&self, index: usize) -> attar_data::Result<Image> {
        let drawn = (index * 2_654_435 + self.salt * 40_503) % 1_000_003;
        let centre = |range: usize| (4 + range % 4) as i64;
        let (x, y) = (centre(drawn), centre(drawn / 7));
        let is_lit = |row: u32, column: u32| {
            let (dx, dy) = (i64::from(column) - x, i64::from(row) - y);
            match self.label(index) {
                0 => dx * dx + dy * dy <= 9,
                _ => (dx == 0 || dy == 0) && dx.abs() <= 3 && dy.abs() <= 3,
            }
        };
        let colour = [drawn % 251, drawn / 3 % 251, drawn / 11 % 251].map(|value| (value / 2 + 120) as u8);
        let places = (0..SIZE).flat_map(|row| (0..SIZE).map(move |column| (row, column)));
        let pixels = places.flat_map(|(row, column)| if is_lit(row, column) { colour } else { [20; 3] });
        Ok(Image::new(SIZE, SIZE, 3, pixels.collect())?)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        format!("shape {index} of set {}", self.salt)
    }
}

/// Trains into `directory`; a second call goes on where the first one stopped.
///
/// # Errors
/// Another run in the directory, a full disk.
pub(crate) fn run(directory: &Path) -> Result<Receipt> {
    let splits = Splits::new(Shapes::new(80, 1), Shapes::new(20, 2));
    Trainer::new("resnet8", splits, Preprocessing::normalise(vec![0.3; 3], vec![0.3; 3]))
        .loss("ce", 1.0, CrossEntropySpec::default())
        .augment(vec![Augment::Flip { p: 0.5 }])
        .validation(0.2)
        .epochs(2)
        .batch(16)
        .learning_rate(0.05)
        .run_in(directory, &mut Silent)
}

#[allow(dead_code)] // the test of the examples calls `run`
fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "runs/own-data".to_owned());
    let receipt = run(Path::new(&directory))?;
    println!("{:.1} % of the test images; the run is in {directory}", receipt.test_top1_last);
    Ok(())
}
