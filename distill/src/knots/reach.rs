//! What of a schedule a run of a given length ever reaches.

use super::{Join, Knots, Unit};

impl Knots {
    /// The value of greatest size at any step of a run of so many epochs of so many steps each.
    pub(crate) fn most(&self, epochs: usize, steps: usize) -> f64 {
        let (total, steps) = (epochs as f64, steps.max(1) as f64);
        let last = total * steps - 1.0;
        // Between two knots values rise or fall: the steps next to knots are the ones to look at.
        let near = self.at.iter().flat_map(|(time, _)| {
            let at = match self.unit {
                Unit::Epochs => (time - 1.0) * steps,
                Unit::Fraction => time * total * steps,
            };
            [at.floor() - 1.0, at.floor(), at.ceil(), at.ceil() + 1.0]
        });
        let steps_of_interest = near.chain([0.0, last]).filter(|step| (0.0..=last).contains(step));
        // A time as the trainer computes it: the epoch, and the share of it that is done.
        let time = |step: f64| 1.0 + (step / steps).floor() + (step % steps) / steps;
        steps_of_interest.map(|step| self.value(time(step), total).abs()).fold(0.0, f64::max)
    }

    /// Times of the knots that nothing of a run of so many epochs depends on, because they come after its end.
    pub(crate) fn beyond(&self, epochs: usize) -> Vec<f64> {
        let end = match self.unit {
            Unit::Epochs => epochs as f64 + 1.0,
            Unit::Fraction => 1.0,
        };
        let first = self.at.partition_point(|(time, _)| *time < end);
        // A line or wave towards the first of them runs before the end; a first knot has its value before it, too.
        let reached = match first.checked_sub(1) {
            None => true,
            Some(gap) => self.joins.get(gap).is_some_and(|join| *join != Join::Hold),
        };
        self.at.iter().skip(first + usize::from(reached)).map(|(time, _)| *time).collect()
    }

    /// Whether times are epochs, some of them after the end of a run of so many: the unit may be meant to be another.
    pub(crate) fn counts_epochs_beyond(&self, epochs: usize) -> bool {
        self.unit == Unit::Epochs && self.at.iter().any(|(time, _)| *time >= epochs as f64 + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knots(at: &[(f64, f64)], join: Join, unit: Unit) -> Knots {
        Knots::new(at.to_vec(), join, unit).unwrap()
    }

    #[test]
    fn a_weight_that_comes_after_the_end_never_counts() {
        let late = knots(&[(1.0, 0.0), (61.0, 1.0)], Join::Hold, Unit::Epochs);
        assert_eq!((late.most(60, 10), late.most(61, 10)), (0.0, 1.0));
        let rising = knots(&[(1.0, 0.0), (61.0, 1.0)], Join::Linear, Unit::Epochs);
        assert!(rising.most(2, 10) > 0.0 && rising.most(1, 1) == 0.0, "its only step is the first");
        let pulse = knots(&[(1.0, 0.0), (2.5, 3.0), (2.6, 0.0)], Join::Hold, Unit::Epochs);
        assert_eq!((pulse.most(5, 10), pulse.most(5, 1)), (3.0, 0.0));
        assert_eq!(Knots::constant(0.0).most(3, 3), 0.0);
        assert_eq!(knots(&[(0.0, 0.0), (1.0, 5.0)], Join::Hold, Unit::Fraction).most(9, 9), 0.0);
    }

    #[test]
    fn knots_after_the_end_are_found_where_nothing_depends_on_them() {
        let steps = knots(&[(1.0, 1.0), (11.0, 0.1), (21.0, 0.01)], Join::Hold, Unit::Epochs);
        assert_eq!(steps.beyond(10), [11.0, 21.0]);
        assert_eq!(steps.beyond(20), [21.0]);
        let line = knots(&[(1.0, 1.0), (11.0, 0.1), (21.0, 0.01)], Join::Linear, Unit::Epochs);
        assert_eq!(line.beyond(10), [21.0]);
        let share = knots(&[(0.0, 1.0), (1.0, 0.1)], Join::Hold, Unit::Fraction);
        assert_eq!(share.beyond(3), [1.0]);
        let later = knots(&[(30.0, 1.0), (40.0, 0.1)], Join::Hold, Unit::Epochs);
        assert_eq!((later.beyond(10), later.counts_epochs_beyond(10)), (vec![40.0], true));
    }
}
