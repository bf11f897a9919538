//! Augmentation that moves pixels and changes none: one place and one flag say what happens to an image, so that a device
//! which holds the images can do it.

use super::{Augment, Fill, flip, pad_crop};
use crate::error::{Error, Result};

/// What was drawn for one image: a crop of the image's own size, mirrored or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draw {
    /// First row of the crop in the unpadded image; negative in the padding above.
    pub top: i32,
    /// First column of the crop, likewise.
    pub left: i32,
    /// Mirror the crop left to right.
    pub flip: bool,
}

/// Augmentations that come to one [`Draw`] an image: flips, and at most one `pad-crop`, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Moves {
    moves: Vec<Move>,
    fill: Option<Fill>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Move {
    PadCrop { padding: u32 },
    Flip { p: f64 },
}

impl Moves {
    /// The augmentations in their order; [`Augment::check`] judges their settings.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first augmentation that does more.
    pub fn of(augment: &[Augment]) -> Result<Self> {
        let mut all = Self { moves: Vec::new(), fill: None };
        for augment in augment {
            let beyond = match augment {
                Augment::Flip { p } => {
                    all.moves.push(Move::Flip { p: *p });
                    continue;
                }
                Augment::PadCrop { padding, fill } if all.fill.is_none() => {
                    all.moves.push(Move::PadCrop { padding: *padding });
                    all.fill = Some(*fill);
                    continue;
                }
                // What the first one cuts off it would have to bring back.
                Augment::PadCrop { .. } => "a second `pad-crop`",
                Augment::RandomResizedCrop { .. } => "`random-resized-crop`",
                Augment::RandAugment(_) => "`rand-augment`",
                Augment::RandomErasing(_) => "`random-erasing`",
                Augment::ColourJitter(_) => "`colour-jitter`",
            };
            return Err(Error::setting("augment", format!("{beyond} does more than one `pad-crop` and flips can do")));
        }
        Ok(all)
    }

    /// What lies around an image.
    pub fn fill(&self) -> Fill {
        self.fill.unwrap_or_default()
    }

    /// What [`train_batch`](crate::train_batch) does to a sample under this seed in this epoch.
    pub fn draw(&self, seed: u64, epoch: u64, sample: u32) -> Draw {
        let mut stream = super::draws(seed, epoch, sample);
        let mut draw = Draw::default();
        for step in &self.moves {
            match *step {
                Move::PadCrop { padding } => {
                    let [top, left] = pad_crop::place(padding, &mut stream).map(|at| at as i32); // 10000 at most
                    // A crop of the mirrored image is the mirror image of a crop as far on the other side.
                    draw = Draw { top, left: if draw.flip { -left } else { left }, ..draw };
                }
                Move::Flip { p } => draw.flip ^= flip::happens(p, &mut stream),
            }
        }
        draw
    }
}

#[cfg(test)]
mod tests {
    use super::super::RandAugment;
    use super::*;

    fn flip(p: f64) -> Augment {
        Augment::Flip { p }
    }

    #[test]
    fn what_does_more_than_move_pixels_is_named() {
        let pad_crop = || Augment::PadCrop { padding: 2, fill: Fill::Reflect };
        assert_eq!(Moves::of(&[]).unwrap().fill(), Fill::Zero);
        assert_eq!(Moves::of(&[flip(0.5), pad_crop(), flip(0.5)]).unwrap().fill(), Fill::Reflect);
        for (augment, expected) in [
            (vec![flip(0.5), Augment::RandAugment(RandAugment::default())], "`rand-augment`"),
            (vec![pad_crop(), pad_crop()], "a second `pad-crop`"),
        ] {
            let error = Moves::of(&augment).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn two_mirrors_are_none() {
        let draw = |augment: &[Augment]| Moves::of(augment).unwrap().draw(1, 2, 3);
        assert_eq!(draw(&[]), Draw::default());
        assert!(draw(&[flip(1.0)]).flip && !draw(&[flip(1.0), flip(1.0)]).flip && !draw(&[flip(0.0)]).flip);
    }
}
