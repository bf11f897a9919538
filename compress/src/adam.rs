//! Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1), number by number, for what is no parameter of a network.

/// Decays of the two means, and what keeps a step from dividing by 0.
const DECAYS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// The direction of the step after `step` others, in units of the step size; `means` are those of the gradient and of its
/// square, 0 in front of the first.
pub(crate) fn adam(means: &mut [f64; 2], gradient: f64, step: usize) -> f64 {
    let [first, second] = DECAYS;
    means[0] = first * means[0] + (1.0 - first) * gradient;
    means[1] = second * means[1] + (1.0 - second) * gradient * gradient;
    let at = step as i32 + 1;
    let (mean, square) = (means[0] / (1.0 - first.powi(at)), means[1] / (1.0 - second.powi(at)));
    mean / (square.sqrt() + EPS)
}
