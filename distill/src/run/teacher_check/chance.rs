//! Whether an accuracy is more than chance.

use attar_measures::wilson_interval;

/// What is hardly better than chance is at most so many times as good, and at most so much better.
const TIMES: f64 = 1.5;
const BETTER: f64 = 0.1;

/// Whether an accuracy cannot be told from one that is hardly better than guessing among the classes. Few images tell little:
/// what is nearer to right than to chance is never taken for chance.
pub(super) fn hardly_better(correct: usize, images: usize, classes: usize) -> bool {
    let chance = 1.0 / classes.max(1) as f64;
    let hardly = (chance * TIMES).min(chance + BETTER).min(1.0);
    let low = wilson_interval(correct, images).low;
    let share = correct as f64 / images.max(1) as f64;
    classes > 1 && low <= hardly && share < (1.0 + hardly) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_skill() {
        assert!(hardly_better(200, 2000, 10) && hardly_better(0, 72, 12) && hardly_better(1050, 2000, 2));
        assert!(!hardly_better(400, 2000, 10) && !hardly_better(1500, 2000, 2) && !hardly_better(30, 2000, 1000));
        assert!(!hardly_better(4, 4, 2) && !hardly_better(72, 72, 12), "few images are no suspicion");
    }
}
