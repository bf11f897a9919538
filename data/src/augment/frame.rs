//! The image in whose pixels an augmentation draws: the network's own, or that of another network whose crop it follows.

use attar_pixels::{Image, Interpolation, Preprocessing};

/// Where draws are made. For a network's own images `height` and `width` are the image's; for a network that follows another
/// one they are those of the other one's image, and places are scaled from there.
#[derive(Debug, Clone)]
pub(crate) struct Frame<'a> {
    /// Preprocessing of the network whose draws these are: what is painted has its colours.
    pub(crate) how: &'a Preprocessing,
    /// Height in pixels of the image in which places are drawn.
    pub(crate) height: u32,
    /// Its width.
    pub(crate) width: u32,
    /// `[height, width]` that a resized crop gets, and by which filter; what the augmentation says if `None`.
    pub(crate) resized: Option<([u32; 2], Option<Interpolation>)>,
}

impl<'a> Frame<'a> {
    /// The frame of a network that sees `image` itself.
    pub(crate) fn of(image: &Image, how: &'a Preprocessing) -> Self {
        Self { how, height: image.height(), width: image.width(), resized: None }
    }

    /// A place `[top, left]` of the frame in `image`, to the nearest pixel.
    pub(super) fn place(&self, [top, left]: [i64; 2], image: &Image) -> [i64; 2] {
        let scaled = |at: i64, from: u32, to: u32| {
            let (from, to) = (i64::from(from.max(1)), i64::from(to));
            (2 * at * to + from).div_euclid(2 * from)
        };
        [scaled(top, self.height, image.height()), scaled(left, self.width, image.width())]
    }

    /// A part `[top, left, height, width]` of the frame in `image`: its corners to the nearest pixel, at least one pixel.
    pub(super) fn part(&self, [top, left, height, width]: [u32; 4], image: &Image) -> [u32; 4] {
        let corner = |top: u32, left: u32| self.place([i64::from(top), i64::from(left)], image);
        let ([y0, x0], [y1, x1]) = (corner(top, left), corner(top + height, left + width));
        // Inside of the frame, hence of the image, but for a corner that was rounded onto its last edge.
        let inside = |at: i64, size: u32| at.clamp(0, i64::from(size.max(1)) - 1) as u32;
        let (y0, x0) = (inside(y0, image.height()), inside(x0, image.width()));
        let length = |from: u32, to: i64, size: u32| (to - i64::from(from)).clamp(1, i64::from(size - from)) as u32;
        [y0, x0, length(y0, y1, image.height()), length(x0, x1, image.width())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_scaled_to_the_nearest_pixel_and_stay_inside() {
        let how = Preprocessing::normalise(vec![0.0], vec![1.0]);
        let image = |height, width| Image::new(width, height, 1, vec![0; (height * width) as usize]).unwrap();
        let frame = Frame::of(&image(32, 32), &how);
        assert_eq!(frame.place([-3, 5], &image(32, 32)), [-3, 5]);
        assert_eq!(frame.place([-3, 5], &image(64, 64)), [-6, 10]);
        assert_eq!(frame.place([-3, 5], &image(8, 8)), [-1, 1]); // -0.75, 1.25
        assert_eq!(frame.part([3, 4, 10, 20], &image(32, 32)), [3, 4, 10, 20]);
        assert_eq!(frame.part([3, 4, 10, 20], &image(64, 64)), [6, 8, 20, 40]);
        assert_eq!(frame.part([31, 31, 1, 1], &image(8, 8)), [7, 7, 1, 1]);
        for (top, height) in (0..32).flat_map(|top| (1..=32 - top).map(move |height| (top, height))) {
            let [y, _, h, _] = frame.part([top, 0, height, 32], &image(7, 7));
            assert!(h >= 1 && y + h <= 7, "{top} {height}: {y} {h}");
        }
    }
}
