//! Randomness of a step, keyed by the seed and by where the step is, so that a resumed run needs no generator's state.

use attar_measures::random::{Stream, purpose};

use crate::run::step::Position;

/// The generator of one purpose (`dropout`, the name of a view) at one step.
pub(in crate::run) fn generator(seed: u64, at: Position, what: &str) -> Stream {
    // The first batch of a step has the key that steps of one batch have.
    let place = at.step as u64 | (at.part as u64) << 40;
    Stream::at(purpose(what), seed, at.epoch as u64, place)
}

/// The seed of a view that augments with draws of its own.
pub(in crate::run) fn view_seed(seed: u64, view: &str) -> u64 {
    seed ^ u64::from_le_bytes(purpose(view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_places_draw_apart() {
        let at = |epoch, step| Position { epoch, step, part: 0, steps_per_epoch: 10 };
        let first = |at, purpose| generator(3, at, purpose).unit();
        let base = first(at(1, 2), "dropout");
        assert_eq!(base, first(at(1, 2), "dropout"));
        assert_ne!(base, first(Position { part: 1, ..at(1, 2) }, "dropout"));
        for other in [first(at(2, 2), "dropout"), first(at(1, 3), "dropout"), first(at(1, 2), "a long name of a view")]
        {
            assert_ne!(base, other);
        }
        assert_ne!(view_seed(0, "strong"), view_seed(0, "weak"));
    }
}
