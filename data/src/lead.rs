//! The same crop for another network: a teacher sees what its student sees, at its own size and by its own filter.

use attar_pixels::{Image, Interpolation, Preprocessing, clamp, preprocessed_size, resize, shown_part};

use crate::augment::Frame;
use crate::error::{Error, Result};

/// Whom a [`Pipeline`](crate::Pipeline) follows: the network whose crops and draws are taken over.
///
/// The same crop is the same part of the source image under the same draws. A random resized crop cuts the same rectangle out of
/// the source; otherwise the part is what is left of the source after the other network's resize and centre crop (to the
/// nearest pixel of the source). It is resized to `size` by the own filter, and what comes then (padding and cropping,
/// mirroring, RandAugment, erasing, jitter) happens there with the same draws: places, lengths and noise are scaled from the
/// other network's pixels to the nearest own one, and what is painted has the other network's colour.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// Preprocessing of the network that is followed.
    pub preprocessing: Preprocessing,
    /// Height and width of the own input; of the same shape as that of the network that is followed.
    pub size: [usize; 2],
}

impl Lead {
    /// The image with which augmentation begins, with `own.channels` channels, and the frame of its draws. With a random
    /// resized crop to come (`crops`) that is the source.
    pub(crate) fn begin(&self, image: &Image, own: &Preprocessing, crops: bool) -> Result<(Image, Frame<'_>)> {
        let filter = own.resize.map(|resize| resize.interpolation);
        let size = self.size.map(clamp);
        let frame = |[height, width]: [u32; 2]| Frame {
            how: &self.preprocessing,
            height,
            width,
            resized: Some((size, filter)),
        };
        if crops {
            return Ok((image.clone().with_channels(own.channels), frame([image.height(), image.width()])));
        }
        let seen = preprocessed_size(&self.preprocessing, image.height(), image.width());
        if seen[0] as u64 * self.size[1] as u64 != seen[1] as u64 * self.size[0] as u64 {
            let ([h, w], [height, width]) = (self.size, seen);
            let problem = format!("{h}x{w} is of another shape than the {height}x{width} of the crop to be followed");
            return Err(Error::setting("preprocessing", problem));
        }
        let ([top, left], [height, width]) = shown_part(&self.preprocessing, image.height(), image.width());
        let part = image.window(top, left, clamp(width), clamp(height))?.with_channels(own.channels);
        Ok((resize(&part, size[0], size[1], filter.unwrap_or(Interpolation::Bilinear))?, frame(seen.map(clamp))))
    }
}

#[cfg(test)]
mod tests {
    use attar_pixels::{Resize, ResizeTo};

    use super::*;
    use crate::{Augment, Batch, Fill, InMemory, Paint, Pipeline, RandAugment, RandomErasing, train_batch};

    /// Twelve images of 40x40 whose red grows to the right and whose green grows downwards.
    fn ramps() -> InMemory {
        let pixel = |i: u32| [(i % 40 * 6) as u8, (i / 40 % 40 * 6) as u8, (i / 1600 * 20) as u8];
        let pixels = (0..12 * 1600).flat_map(pixel).collect();
        InMemory::new([40, 40], 3, pixels, vec![0; 12], vec!["a".into()], "train").unwrap()
    }

    /// Mean 0 and spread 1/255: a normalised value is a pixel value.
    fn plain(channels: usize) -> Preprocessing {
        Preprocessing::normalise(vec![0.0; channels], vec![1.0 / 255.0; channels])
    }

    fn resized(size: usize, interpolation: Interpolation) -> Preprocessing {
        Preprocessing { resize: Some(Resize { to: ResizeTo::Exact([size; 2]), interpolation }), ..plain(3) }
    }

    fn crop(size: u32) -> Augment {
        let (size, scale, ratio) = ([size; 2], [0.1, 0.8], [0.7, 1.4]);
        Augment::RandomResizedCrop { size, scale, ratio, interpolation: Interpolation::Bilinear }
    }

    fn batch(how: &Pipeline) -> Batch {
        let mut batch = train_batch(&ramps(), &(0..12).collect::<Vec<_>>(), how, 5, 2).unwrap();
        batch.pixels.iter_mut().for_each(|value| *value = value.round()); // as they were before normalisation
        batch
    }

    fn pixels(how: &Pipeline) -> Vec<f32> {
        batch(how).pixels
    }

    /// Means of squares of 2x2.
    fn halved(batch: &Batch) -> Vec<f32> {
        let [_, _, height, width] = batch.shape;
        let plane = |plane: &[f32]| -> Vec<f32> {
            let at = |y: usize, x: usize| plane[y * width + x];
            let square = |y: usize, x: usize| (at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1)) / 4.0;
            (0..height / 2)
                .flat_map(|y| (0..width / 2).map(move |x| (2 * y, 2 * x)))
                .map(|(y, x)| square(y, x))
                .collect()
        };
        batch.pixels.chunks_exact(height * width).flat_map(plane).collect()
    }

    #[test]
    fn a_follower_of_equal_size_and_filter_sees_the_same_pixels() {
        let rest = [
            Augment::PadCrop { padding: 3, fill: Fill::Reflect },
            Augment::Flip { p: 0.5 },
            Augment::RandAugment(RandAugment::default()),
            Augment::RandomErasing(RandomErasing { value: Paint::Noise, ..RandomErasing::default() }),
            Augment::RandAugment(RandAugment { fill: Paint::Mean, ..RandAugment::default() }),
        ];
        for (how, size) in [(plain(3), 40), (resized(24, Interpolation::Bicubic), 24)] {
            let own = Pipeline::new(rest.to_vec(), how.clone());
            assert_eq!(pixels(&own), pixels(&own.followed_by(how, [size; 2])));
        }
        let own = Pipeline::new([&[crop(16)], &rest[..]].concat(), plain(3));
        assert_eq!(pixels(&own), pixels(&own.followed_by(plain(3), [16; 2])));
    }

    #[test]
    fn a_follower_of_twice_the_size_sees_the_same_part() {
        let erasing = RandomErasing { p: 1.0, value: Paint::Noise, ..RandomErasing::default() };
        let rest = [Augment::Flip { p: 0.5 }, Augment::RandomErasing(erasing), Augment::Flip { p: 0.5 }];
        let pad = Augment::PadCrop { padding: 4, fill: Fill::Zero };
        let crops = [(crop(16), plain(3)), (pad, resized(16, Interpolation::Bilinear))];
        for (first, how) in crops {
            let own = Pipeline::new([&[first], &rest[..]].concat(), how);
            let follower = batch(&own.followed_by(resized(32, Interpolation::Bilinear), [32; 2]));
            assert_eq!(follower.shape, [12, 3, 32, 32]);
            let (own, follower) = (pixels(&own), halved(&follower));
            let differences: Vec<f32> = own.iter().zip(&follower).map(|(a, b)| (a - b).abs()).collect();
            let mean = differences.iter().sum::<f32>() / differences.len() as f32;
            let far = differences.iter().filter(|difference| **difference > 12.0).count();
            // Of ramps over 240 values, at most what the edge of a filter does.
            assert!(mean < 1.5 && far * 200 < differences.len(), "mean {mean}, {far} of {}", differences.len());
        }
    }

    /// What a centre crop cuts away is not shown to the follower either, whatever its own evaluation would show.
    #[test]
    fn the_part_is_that_of_evaluation() {
        let how = Preprocessing { crop: Some([20, 20]), ..plain(3) };
        let own = Pipeline::new(Vec::new(), how);
        let follower = own.followed_by(resized(20, Interpolation::Bilinear), [20; 2]);
        assert_eq!(pixels(&own), pixels(&follower));
        let smaller = Preprocessing { crop: Some([10, 10]), ..resized(20, Interpolation::Bilinear) };
        let own = Pipeline::new(Vec::new(), smaller); // the middle half of the source
        let follower = pixels(&own.followed_by(plain(3), [20; 2]));
        assert_eq!((follower[0], follower[19]), (60.0, 29.0 * 6.0));
    }

    #[test]
    fn colour_is_shown_to_a_follower_of_a_grey_network_and_other_shapes_are_refused() {
        let colour = Paint::Colour(vec![255]); // no other pixel has it
        let erasing = Augment::RandomErasing(RandomErasing { p: 1.0, value: colour, ..RandomErasing::default() });
        let own = Pipeline::new(vec![erasing], plain(1));
        let shown = batch(&own.followed_by(plain(3), [40; 2]));
        assert_eq!(shown.shape, [12, 3, 40, 40]);
        let painted =
            |batch: &Batch, plane: usize| batch.pixels[plane * 1600..][..1600].iter().filter(|v| **v == 255.0).count();
        assert!(painted(&shown, 0) > 0 && painted(&shown, 0) == painted(&batch(&own), 0));
        let other = Pipeline::new(Vec::new(), plain(3)).followed_by(plain(3), [40, 20]);
        let message = train_batch(&ramps(), &[0], &other, 0, 0).unwrap_err().to_string();
        assert!(message.contains("40x20 is of another shape than the 40x40"), "{message}");
        let absurd = Preprocessing { crop: Some([1 << 20; 2]), ..plain(3) };
        let absurd = Pipeline::new(Vec::new(), absurd).followed_by(plain(3), [40; 2]);
        assert!(train_batch(&ramps(), &[0], &absurd, 0, 0).unwrap_err().to_string().starts_with("crop: "));
    }
}
