//! A lens out of focus.

use attar_pixels::Image;

use super::byte;

/// A kernel of odd edge.
struct Kernel {
    edge: usize,
    weights: Vec<f64>,
}

impl Kernel {
    /// A disk whose weights sum to one, its rim smoothed by a normal distribution of deviation `rim`. As the authors' code
    /// makes it by OpenCV: on 17 pixels, smoothed over 3; of a radius above 8 on as many as it needs, over 5.
    fn disk(radius: f64, rim: f64) -> Self {
        let (reach, smoothed) = if radius <= 8.0 { (8, 1) } else { (radius as i64, 2) };
        let edge = 2 * reach as usize + 1;
        let place = |at: usize| at as i64 - reach;
        let inside = |at: usize| {
            let (y, x) = (place(at / edge), place(at % edge));
            f64::from(u8::from((y * y + x * x) as f64 <= radius * radius))
        };
        let disk: Vec<f64> = (0..edge * edge).map(inside).collect();
        let sum: f64 = disk.iter().sum();
        let normal: Vec<f64> = (-smoothed..=smoothed).map(|x| (-((x * x) as f64) / (2.0 * rim * rim)).exp()).collect();
        let whole: f64 = normal.iter().sum();
        let along = |weights: &[f64], step: usize| -> Vec<f64> {
            let one = |at: usize| {
                let own = if step == 1 { at % edge } else { at / edge };
                let start = at - own * step;
                let tap = |(tap, weight): (usize, &f64)| {
                    let from = reflected(own as i64 + tap as i64 - smoothed, edge);
                    weight / whole * weights[start + from * step]
                };
                normal.iter().enumerate().map(tap).sum()
            };
            (0..edge * edge).map(one).collect()
        };
        let weights = along(&along(&disk, 1), edge);
        Self { edge, weights: weights.into_iter().map(|weight| weight / sum).collect() }
    }
}

/// A place outside 0..n as OpenCV's `BORDER_REFLECT_101` finds it inside: mirrored at the outermost pixel.
fn reflected(at: i64, n: usize) -> usize {
    let last = n as i64 - 1;
    if last == 0 {
        return 0;
    }
    let turned = at.rem_euclid(2 * last);
    turned.min(2 * last - turned) as usize
}

/// The image through a lens that makes a disk of each point.
pub(super) fn defocus(image: Image, radius: f64, rim: f64) -> Image {
    let Kernel { edge, weights } = Kernel::disk(radius, rim);
    let (height, width) = (image.height() as usize, image.width() as usize);
    let channels = usize::from(image.channels());
    let (reach, row) = ((edge / 2) as i64, width * channels);
    let wide = (width + edge - 1) * channels;
    // Mirrored beyond the border, so that each weight is one sum of rows.
    let mut around = Vec::with_capacity(wide * (height + edge - 1));
    for y in -reach..height as i64 + reach {
        let from = reflected(y, height) * row;
        for x in -reach..width as i64 + reach {
            let pixel = from + reflected(x, width) * channels;
            around.extend(image.pixels()[pixel..pixel + channels].iter().map(|value| f32::from(*value)));
        }
    }
    let taps: Vec<(usize, f32)> = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 1e-7)
        .map(|(at, weight)| (at / edge * wide + at % edge * channels, *weight as f32))
        .collect();
    image.map_pixels(|pixels| {
        let mut sums = vec![0.0_f32; row];
        for (y, values) in pixels.chunks_exact_mut(row).enumerate() {
            sums.fill(0.0);
            for (offset, weight) in &taps {
                let from = &around[y * wide + offset..][..row];
                sums.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
            }
            values.iter_mut().zip(&sums).for_each(|(value, sum)| *value = byte(f64::from(*sum) / 255.0));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(radius: f64, rim: f64) -> (Vec<f64>, f64) {
        let kernel = Kernel::disk(radius, rim);
        let middle = kernel.weights.len() / 2;
        let near = [0, 1, 2, kernel.edge + 1].map(|step| kernel.weights[middle + step]);
        (near.to_vec(), kernel.weights.iter().sum())
    }

    /// By the authors' function in numpy: of the middle, one and two to the right of it, and one down and right.
    const KERNELS: [(f64, f64, [f64; 4], f64); 5] = [
        (0.3, 0.4, [0.8449731547, 0.0371255294, 0.0, 0.0016311819], 1.0),
        (0.5, 0.6, [0.4452131928, 0.1110148930, 0.0, 0.0276818088], 1.0),
        (1.5, 0.1, [0.1111111111, 0.1111111111, 0.0, 0.1111111111], 1.0),
        (6.0, 0.5, [0.0088495575; 4], 1.0),
        (10.0, 0.5, [0.0031545741; 4], 1.010785773587149),
    ];

    #[test]
    fn disks_are_those_of_the_authors() {
        for (radius, rim, expected, all) in KERNELS {
            let (near, sum) = kernel(radius, rim);
            for (got, expected) in near.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-9, "radius {radius}: {near:?}");
            }
            assert!((sum - all).abs() < 1e-9, "radius {radius}: {sum}");
        }
    }

    #[test]
    fn borders_are_mirrored() {
        assert_eq!([-2, -1, 0, 3, 4, 9].map(|at| reflected(at, 4)), [2, 1, 0, 3, 2, 3]);
        assert_eq!(reflected(-7, 1), 0);
        let even = Image::new(5, 4, 3, vec![90; 60]).unwrap();
        let blurred = defocus(even.clone(), 3.0, 0.1);
        assert!(blurred.pixels().iter().all(|value| value.abs_diff(90) <= 1));
        // A point becomes the kernel.
        let mut pixels = vec![0; 81];
        pixels[40] = 255;
        let point = defocus(Image::new(9, 9, 1, pixels).unwrap(), 1.0, 0.2);
        let lit: Vec<u8> = [40, 41, 49, 50, 42].map(|at| point.pixels()[at]).into();
        assert!(lit[..3].iter().all(|value| value.abs_diff(51) <= 1) && lit[3..] == [0, 0], "{lit:?}");
    }
}
