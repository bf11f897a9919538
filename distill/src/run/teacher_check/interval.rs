//! How much of an accuracy is luck.

/// Of the normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// What is hardly better than chance is at most so many times as good, and at most so much better.
const TIMES: f64 = 1.5;
const BETTER: f64 = 0.1;

/// The 95 % interval of a share of which `correct` of `images` were seen (Wilson 1927).
pub(super) fn wilson(correct: usize, images: usize) -> [f64; 2] {
    if images == 0 {
        return [0.0, 1.0];
    }
    let n = images as f64;
    let p = correct as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)]
}

/// Whether an accuracy cannot be told from one that is hardly better than guessing among the classes. Few images tell little:
/// what is nearer to right than to chance is never taken for chance.
pub(super) fn hardly_better(correct: usize, images: usize, classes: usize) -> bool {
    let chance = 1.0 / classes.max(1) as f64;
    let hardly = (chance * TIMES).min(chance + BETTER).min(1.0);
    let [low, _] = wilson(correct, images);
    let share = correct as f64 / images.max(1) as f64;
    classes > 1 && low <= hardly && share < (1.0 + hardly) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_the_published_one() {
        let [low, high] = wilson(81, 263); // Newcombe 1998, table I
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        let [low, high] = wilson(10, 10);
        assert!((low - 0.7225).abs() < 1e-4 && (high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn chance_is_told_from_skill() {
        assert!(hardly_better(200, 2000, 10) && hardly_better(0, 72, 12) && hardly_better(1050, 2000, 2));
        assert!(!hardly_better(400, 2000, 10) && !hardly_better(1500, 2000, 2) && !hardly_better(30, 2000, 1000));
        assert!(!hardly_better(4, 4, 2) && !hardly_better(72, 72, 12), "few images are no suspicion");
    }
}
