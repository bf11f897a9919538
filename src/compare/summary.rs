//! What many runs of a recipe come to: means and deviations over seeds, and paired differences to another recipe.

use attar_measures::{Counts, Interval, MeanSd, Measures, score_interval};
use schemars::JsonSchema;
use serde::Serialize;

use super::outcome::{Outcome, Run};

/// What the runs of a recipe come to. Accuracies in percent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Summary {
    /// Runs that are done, one a seed.
    pub runs: usize,
    /// Test accuracy after the last epoch.
    pub last: Option<MeanSd>,
    /// Test accuracy of the best epoch by validation.
    pub best: Option<MeanSd>,
    /// Of the exported weights.
    pub nll: Option<MeanSd>,
    /// Of the exported weights.
    pub ece: Option<MeanSd>,
    /// Decisions that equal the teacher's, in percent; the mean over the teachers where there are several.
    pub agreement: Option<MeanSd>,
    /// Seconds a step.
    pub seconds_per_step: Option<MeanSd>,
    /// The most of any run.
    pub peak_memory_bytes: Option<u64>,
    /// This recipe less the one that it is compared with.
    pub against: Option<Against>,
}

/// Differences to another recipe, seed by seed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Against {
    /// Points of test accuracy after the last epoch.
    pub last: Option<MeanSd>,
    /// Points of test accuracy of the best epoch.
    pub best: Option<MeanSd>,
    /// Time of a step in units of the other's, the mean over the seeds.
    pub step_ratio: Option<f64>,
    /// Whether both times were taken by one comparison, for every seed.
    pub same_call: bool,
    /// One pair a seed that was done by both.
    pub seeds: Vec<Pair>,
}

/// Two runs of the same seed.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Pair {
    /// The seed.
    pub seed: u64,
    /// Points of test accuracy after the last epoch.
    pub last: f64,
    /// Points of test accuracy of the best epoch.
    pub best: f64,
    /// The exported weights, image by image.
    pub images: Option<Images>,
}

/// The exported weights of two runs on the same test images; points of accuracy.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Images {
    /// Images that only this recipe gets right.
    pub gained: usize,
    /// Images that only the other one gets right.
    pub lost: usize,
    /// Points of accuracy.
    pub difference: f64,
    /// Tango's 95 % interval of the difference: what other test images would have given, not what other seeds would.
    pub interval: [f64; 2],
}

impl Summary {
    /// Of a recipe's runs, and their differences to those of another.
    pub fn of(runs: &[Run], other: Option<&[Run]>) -> Self {
        let outcomes = || runs.iter().filter_map(|run| run.outcome.as_ref());
        let spread = |value: &dyn Fn(&Outcome) -> Option<f64>| MeanSd::of(outcomes().filter_map(value));
        let measured = |value: fn(&Measures) -> f64| {
            spread(&|outcome| outcome.measures.as_ref().map(|measures| value(&measures.student)))
        };
        Self {
            runs: outcomes().count(),
            last: spread(&|outcome| Some(outcome.test_top1_last)),
            best: spread(&|outcome| Some(outcome.test_top1_best)),
            nll: measured(|student| student.nll),
            ece: measured(|student| student.ece),
            agreement: spread(&agreement),
            seconds_per_step: spread(&|outcome| outcome.seconds_per_step),
            peak_memory_bytes: outcomes().filter_map(|outcome| outcome.cost?.peak_memory_bytes).max(),
            against: other.and_then(|other| Against::of(runs, other)),
        }
    }
}

fn agreement(outcome: &Outcome) -> Option<f64> {
    let teachers = &outcome.measures.as_ref()?.teachers;
    MeanSd::of(teachers.values().map(|teacher| teacher.likeness.agreement)).map(|spread| spread.mean)
}

impl Against {
    /// `None` where no seed was done by both.
    fn of(runs: &[Run], others: &[Run]) -> Option<Self> {
        let mut pairs: Vec<(u64, &Outcome, &Outcome)> = Vec::new();
        for run in runs {
            let other = others.iter().find(|other| other.seed == run.seed).and_then(|other| other.outcome.as_ref());
            if let (Some(own), Some(other)) = (&run.outcome, other) {
                pairs.push((run.seed, own, other));
            }
        }
        let seeds: Vec<Pair> = pairs.iter().map(|(seed, own, other)| Pair::of(*seed, own, other)).collect();
        let ratio = |(_, own, other): &(u64, &Outcome, &Outcome)| Some(own.seconds_per_step? / other.seconds_per_step?);
        let process = |outcome: &Outcome| outcome.cost.map(|cost| cost.call);
        let together = |(_, own, other): &(u64, &Outcome, &Outcome)| {
            process(own).is_some_and(|process_of_own| process(other) == Some(process_of_own))
        };
        (!pairs.is_empty()).then(|| Self {
            last: MeanSd::of(seeds.iter().map(|pair| pair.last)),
            best: MeanSd::of(seeds.iter().map(|pair| pair.best)),
            step_ratio: MeanSd::of(pairs.iter().filter_map(ratio)).map(|spread| spread.mean),
            same_call: pairs.iter().all(together),
            seeds,
        })
    }
}

impl Pair {
    fn of(seed: u64, own: &Outcome, other: &Outcome) -> Self {
        let same = own.test_images == other.test_images && own.right.len() == other.right.len();
        Self {
            seed,
            last: own.test_top1_last - other.test_top1_last,
            best: own.test_top1_best - other.test_top1_best,
            images: same.then(|| Images::of(&own.right, &other.right)),
        }
    }
}

impl Images {
    fn of(own: &[bool], other: &[bool]) -> Self {
        let counts = Counts::of(other, own);
        let Interval { low, high } = score_interval(&counts);
        let (gained, lost) = (counts.gained as usize, counts.lost as usize);
        Self { gained, lost, difference: 100.0 * counts.difference(), interval: [100.0 * low, 100.0 * high] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::outcome::Cost;

    fn run(seed: u64, last: f64, right: &[bool], process: u64) -> Run {
        let outcome = Outcome {
            test_top1_last: last,
            test_top1_best: last + 1.0,
            best_epoch: 1,
            exported: "last",
            measures: None,
            seconds_per_step: Some(last / 100.0),
            cost: Some(Cost { call: process, peak_memory_bytes: Some(seed + 7) }),
            test_images: "hash".to_owned(),
            right: right.to_vec(),
        };
        Run { seed, directory: "x".into(), failure: None, outcome: Some(outcome) }
    }

    fn failed(seed: u64) -> Run {
        Run { seed, directory: "x".into(), failure: Some("it diverged".to_owned()), outcome: None }
    }

    #[test]
    fn differences_are_taken_seed_by_seed() {
        let (yes, no) = (true, false);
        let own = [run(0, 50.0, &[yes, yes, no, yes], 1), run(1, 70.0, &[yes; 4], 1), failed(2)];
        let other = [run(0, 40.0, &[yes, no, yes, no], 1), run(1, 66.0, &[yes; 4], 2), run(2, 10.0, &[no; 4], 1)];
        let summary = Summary::of(&own, Some(&other));
        assert_eq!((summary.runs, summary.peak_memory_bytes), (2, Some(8)));
        assert_eq!(summary.last.unwrap().mean, 60.0);
        let against = summary.against.unwrap();
        assert_eq!(against.last, MeanSd::of([10.0, 4.0]));
        let ratio = (50.0 / 40.0 + 70.0 / 66.0) / 2.0;
        assert!((against.step_ratio.unwrap() - ratio).abs() < 1e-12 && !against.same_call);
        let images = against.seeds[0].images.unwrap();
        assert_eq!((images.gained, images.lost, images.difference), (2, 1, 25.0));
        assert!(images.interval[0] < 25.0 && images.interval[1] > 25.0);
        assert!(Summary::of(&own[2..], Some(&other)).against.is_none());
    }

    #[test]
    fn other_test_images_are_not_paired() {
        let (own, mut other) = (run(0, 50.0, &[true], 1), run(0, 40.0, &[true], 1));
        other.outcome.as_mut().unwrap().test_images = "another".to_owned();
        let against = Summary::of(&[own], Some(&[other])).against.unwrap();
        assert!(against.seeds[0].images.is_none() && against.same_call);
    }
}
