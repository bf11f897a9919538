//! Some images of a data set, as one corruption leaves them.

use attar_pixels::Image;

use super::{Corruption, reduced};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::turn::spread_in_turn;

/// Some images of another data set, corrupted when they are asked for.
pub struct Corrupted<'d> {
    of: &'d dyn Dataset,
    chosen: Vec<usize>,
    how: Option<(Corruption, u8)>,
}

impl<'d> Corrupted<'d> {
    /// At most `count` images, of no class more than its share ([`spread_in_turn`]), corrupted at a severity of 1 to 5; or as
    /// corruptions take them, which is the plain image or a smaller one.
    pub fn new(of: &'d dyn Dataset, count: usize, how: Option<(Corruption, u8)>) -> Self {
        Self { of, chosen: spread_in_turn(&of.labels(), count), how }
    }

    fn place(&self, index: usize) -> Result<usize> {
        let beyond = || Error::setting("index", format!("{index} of {} images", self.chosen.len()));
        self.chosen.get(index).copied().ok_or_else(beyond)
    }
}

impl std::fmt::Debug for Corrupted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corrupted").field("images", &self.chosen.len()).field("how", &self.how).finish_non_exhaustive()
    }
}

impl Dataset for Corrupted<'_> {
    fn len(&self) -> usize {
        self.chosen.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.chosen.get(index).map_or(0, |place| self.of.label(*place))
    }

    fn image(&self, index: usize) -> Result<Image> {
        let place = self.place(index)?;
        let image = self.of.image(place)?;
        match self.how {
            None => reduced(&image),
            Some((corruption, severity)) => corruption.apply(&image, severity, place),
        }
    }

    fn classes(&self) -> &[String] {
        self.of.classes()
    }

    fn name(&self, index: usize) -> String {
        self.chosen.get(index).map_or_else(String::new, |place| self.of.name(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InMemory;

    #[test]
    fn each_class_has_its_share_and_noise_goes_by_the_place() {
        let pixels: Vec<u8> = (0..6 * 64_u32).map(|at| (at * 7 % 251) as u8).collect();
        let classes = ["a", "b"].map(str::to_owned).into();
        let data = InMemory::new([8, 8], 1, pixels, vec![0, 0, 0, 0, 0, 1], classes, "test").unwrap();
        let noisy = |count| Corrupted::new(&data, count, Some((Corruption::GaussianNoise, 3)));
        let (few, all) = (noisy(2), noisy(100));
        assert_eq!((few.len(), few.labels(), all.len()), (2, vec![0, 1], 6));
        assert_eq!((few.name(1), few.classes()), ("test[5]".to_owned(), data.classes()));
        let at = all.labels().iter().position(|label| *label == 1).unwrap();
        assert_eq!(few.image(1).unwrap(), all.image(at).unwrap(), "however many others there are");
        assert_eq!(Corrupted::new(&data, 2, None).image(1).unwrap(), data.image(5).unwrap());
        assert!(few.image(2).is_err() && few.label(2) == 0);
    }
}
