//! A random part of random shape, as torchvision's `RandomResizedCrop` chooses it.

use attar_measures::random::Stream;

/// `[top, left, height, width]` by torchvision's algorithm: ten tries at an area and a shape, then the largest allowed part
/// in the centre.
pub(super) fn random_part(height: u32, width: u32, scale: [f64; 2], ratio: [f64; 2], stream: &mut Stream) -> [u32; 4] {
    let area = f64::from(height) * f64::from(width);
    for _ in 0..10 {
        let target = area * stream.between(scale[0], scale[1]);
        let shape = stream.between(ratio[0].ln(), ratio[1].ln()).exp();
        let w = (target * shape).sqrt().round_ties_even() as u32;
        let h = (target / shape).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = stream.below(u64::from(height - h) + 1) as u32;
            let left = stream.below(u64::from(width - w) + 1) as u32;
            return [top, left, h, w];
        }
    }
    let own = f64::from(width) / f64::from(height);
    let (h, w) = if own < ratio[0] {
        ((f64::from(width) / ratio[0]).round_ties_even() as u32, width)
    } else if own > ratio[1] {
        (height, (f64::from(height) * ratio[1]).round_ties_even() as u32)
    } else {
        (height, width)
    };
    let (h, w) = (h.clamp(1, height), w.clamp(1, width));
    [(height - h) / 2, (width - w) / 2, h, w]
}

#[cfg(test)]
mod tests {
    use super::super::Augment;
    use super::super::tests::{apply, grey, stream};
    use super::*;

    #[test]
    fn keeps_to_scale_and_ratio() {
        let (scale, ratio) = ([0.2, 0.6], [0.5, 2.0]);
        let mut areas = 0.0;
        for sample in 0..2000 {
            let [top, left, h, w] = random_part(60, 80, scale, ratio, &mut stream(sample));
            assert!(top + h <= 60 && left + w <= 80);
            let (area, shape) = (f64::from(h * w) / 4800.0, f64::from(w) / f64::from(h));
            assert!((0.18..0.63).contains(&area) && (0.45..2.1).contains(&shape), "{h}x{w}");
            areas += area;
        }
        // Uniform in area, a little less where wide shapes do not fit.
        assert!((0.36..0.42).contains(&(areas / 2000.0)), "{areas}");
    }

    #[test]
    fn falls_back_to_the_centre() {
        // No shape between 3/4 and 4/3 with the whole area fits into a strip.
        let part = |height, width| random_part(height, width, [1.0, 1.0], [3.0 / 4.0, 4.0 / 3.0], &mut stream(0));
        assert_eq!(part(10, 100), [0, 43, 10, 13]);
        assert_eq!(part(100, 10), [43, 0, 13, 10]);
        assert_eq!(part(1, 1), [0, 0, 1, 1]);
        assert_eq!(random_part(1, 1000, [0.5, 0.5], [1e-3, 1e-3], &mut stream(0)), [0, 499, 1, 1]);
    }

    #[test]
    fn has_its_size_and_defaults() {
        let augment: Augment = toml::from_str("kind = 'random-resized-crop'\nsize = 7").unwrap();
        assert_eq!(
            augment,
            Augment::RandomResizedCrop {
                size: [7, 7],
                scale: [0.08, 1.0],
                ratio: [0.75, 4.0 / 3.0],
                interpolation: attar_pixels::Interpolation::Bilinear
            }
        );
        let out = apply(&augment, &grey(5, 9, &[7; 45]), &mut stream(3)).unwrap();
        assert_eq!(out.pixels(), [7; 49]);
        assert!(toml::to_string(&augment).unwrap().contains("size = 7\n"));
        let wide: Augment = toml::from_str("kind = 'random-resized-crop'\nsize = [3, 5]").unwrap();
        assert_eq!(toml::from_str::<Augment>(&toml::to_string(&wide).unwrap()).unwrap(), wide);
        let out = apply(&wide, &grey(5, 9, &[7; 45]), &mut stream(3)).unwrap();
        assert_eq!((out.height(), out.width()), (3, 5));
    }
}
