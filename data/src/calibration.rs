//! The images that ranges of values are found by.

use attar_pixels::{Preprocessing, preprocess};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::turn::spread_in_turn;

/// Images as a network sees them, of no class more than its share.
#[derive(Debug)]
pub struct CalibrationImages {
    /// Preprocessed, each `[C, H, W]`.
    pub inputs: Vec<Vec<f32>>,
    /// Of the pixels of each, before that.
    pub sha256: Vec<[u8; 32]>,
}

impl CalibrationImages {
    /// At most `count` images of a data set ([`spread_in_turn`]) for a network that takes `[C, H, W]`.
    ///
    /// # Errors
    /// No image; one that cannot be read, or comes out in another size than the network takes.
    pub fn collect(data: &dyn Dataset, how: &Preprocessing, shape: [usize; 3], count: usize) -> Result<Self> {
        let chosen = spread_in_turn(&data.labels(), count);
        if chosen.is_empty() {
            return Err(Error::setting("calibration", "there are no images"));
        }
        let mut collected = Self { inputs: Vec::with_capacity(chosen.len()), sha256: Vec::with_capacity(chosen.len()) };
        for index in chosen {
            let image = data.image(index)?;
            let wrong = |problem| Error::setting("preprocessing", format!("{}: {problem}", data.name(index)));
            let input = preprocess(&image, how).map_err(|error| wrong(error.problem()))?;
            if input.len() != shape.iter().product::<usize>() {
                return Err(wrong(format!("comes out in {} numbers, and the network takes {shape:?}", input.len())));
            }
            collected.sha256.push(image.sha256());
            collected.inputs.push(input);
        }
        Ok(collected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::InMemory;

    #[test]
    fn of_each_class_as_many_and_of_the_shape_that_the_network_takes() {
        let pixels = (0..8).flat_map(|value| [value; 6]).collect();
        let names = ["a", "b"].map(str::to_owned).to_vec();
        let data = InMemory::new([3, 2], 1, pixels, vec![0, 0, 0, 0, 0, 0, 1, 1], names, "train").unwrap();
        let how = Preprocessing::normalise(vec![0.0], vec![1.0]);
        let collected = CalibrationImages::collect(&data, &how, [1, 3, 2], 4).unwrap();
        let firsts: Vec<f32> = collected.inputs.iter().map(|input| (input[0] * 255.0).round()).collect();
        assert_eq!(firsts, [0.0, 6.0, 3.0, 7.0], "each class in turn");
        assert_eq!(collected.sha256[1], data.image(6).unwrap().sha256());
        let error = |shape, count| CalibrationImages::collect(&data, &how, shape, count).unwrap_err().to_string();
        assert!(error([1, 3, 3], 4).contains("6 numbers, and the network takes [1, 3, 3]"));
        assert!(error([1, 3, 2], 0).contains("no images"));
    }
}
