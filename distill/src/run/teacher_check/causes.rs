//! Why a teacher may be worse than it should be: the usual slips, each tried on some images.

use std::fmt;

use attar_formats::classes::natural;
use attar_measures::wilson_interval;
use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo, preprocessed_size};
use candle_core::Tensor;

use super::{Answered, Sample, at_most, run};
use crate::checkpoint::CheckedOn;
use crate::error::Result;
use crate::run::Setup;
use crate::run::step::teachers::{RunningTeacher, Worth};
use crate::run::train::evaluation;
use crate::teacher::Question;

/// Images that every slip is tried on, at most.
const MOST: usize = 500;
/// A slip is the cause where, put right, so many times as many images are right.
const TIMES: f64 = 1.25;
/// Names of classes shown in a hint.
const SHOWN: usize = 40;

/// A slip that would explain a teacher's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    /// As in "as if ...".
    what: String,
    /// How to put it right.
    hint: String,
    correct: usize,
    images: usize,
}

impl Cause {
    fn share(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, images) = (100.0 * self.share(), self.images);
        let Self { what, hint, .. } = self;
        write!(f, "\n  likely cause: {what}; so read, it is right on {percent:.1} % of {images} images\n  hint: {hint}")
    }
}

/// What is said where nothing was found.
pub(super) fn nothing_found(on: CheckedOn) -> String {
    let pixels = match on {
        CheckedOn::StoredAnswers => "",
        _ => ", mean and std, order of channels, resize",
    };
    format!("\n  tried, and none of them the cause: order of classes{pixels}")
}

/// The slip that explains the answers best, where one does.
pub(super) fn find(
    setup: &Setup,
    teacher: &mut RunningTeacher,
    worth: &Worth,
    sample: &Sample,
    answered: &Answered,
) -> Result<Option<Cause>> {
    let mut causes = of_order(setup.data.classes(), answered);
    if sample.on != CheckedOn::StoredAnswers {
        causes.extend(of_pixels(setup, teacher, worth, sample)?);
    }
    Ok(best(causes, answered.correct(), answered.labels.len()))
}

/// The best of them, the first of equal ones, where it is clearly better than what was found.
fn best(causes: Vec<Cause>, correct: usize, images: usize) -> Option<Cause> {
    let high = wilson_interval(correct, images).high;
    let found = correct as f64 / images.max(1) as f64;
    let explains =
        |cause: &Cause| wilson_interval(cause.correct, cause.images).low > high && cause.share() >= TIMES * found;
    let explaining = causes.into_iter().filter(explains);
    explaining.reduce(|best, other| if other.share() > best.share() { other } else { best })
}

/// Classes in another order: as people count, as letters go, or as the answers themselves suggest.
fn of_order(names: &[String], answered: &Answered) -> Vec<Cause> {
    let mut counted = names.to_vec();
    counted.sort_by(|a, b| natural(a, b));
    let mut spelt = names.to_vec();
    spelt.sort();
    let orders = [(counted, "natural order, 2 before 10"), (spelt, "alphabetical order, 10 before 2")];
    let mut causes = Vec::new();
    for (order, which) in orders {
        if order == names {
            continue;
        }
        let place = |name: &String| names.iter().position(|own| own == name).unwrap_or_default() as u32;
        let columns: Vec<u32> = order.iter().map(place).collect();
        causes.push(Cause {
            what: format!("its classes come in {which}, the data's do not"),
            hint: format!("beside its `from`: classes = {}", listed(&order)),
            correct: under(&columns, answered, |_| true).0,
            images: answered.labels.len(),
        });
    }
    // Half of the images say which answer means which class, the others judge it.
    let columns = guess(names.len(), answered);
    if columns.iter().enumerate().any(|(i, column)| i != *column as usize) {
        let order: Vec<String> =
            columns.iter().map(|column| names.get(*column as usize).cloned().unwrap_or_default()).collect();
        let (correct, images) = under(&columns, answered, |i| i % 2 == 1);
        causes.push(Cause {
            what: "its classes come in another order than the data's".to_owned(),
            hint: format!("as its answers suggest, beside its `from`: classes = {}", listed(&order)),
            correct,
            images,
        });
    }
    causes
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let rest = if names.len() > SHOWN { ", ..." } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}

/// How many of the chosen images are right where answer `i` means class `columns[i]`, and how many there are.
fn under(columns: &[u32], answered: &Answered, chosen: impl Fn(usize) -> bool) -> (usize, usize) {
    let pairs = answered.top.iter().zip(&answered.labels).enumerate().filter(|(i, _)| chosen(*i));
    pairs.fold((0, 0), |(correct, images), (_, (top, label))| {
        let means = columns.get(*top as usize);
        (correct + usize::from(means == Some(label)), images + 1)
    })
}

/// Which class each answer means, by the even images: the commonest pair of answer and class first, each once; what is left
/// over in its order.
fn guess(classes: usize, answered: &Answered) -> Vec<u32> {
    let mut counts = std::collections::BTreeMap::<(u32, u32), usize>::new();
    for (top, label) in answered.top.iter().zip(&answered.labels).step_by(2) {
        *counts.entry((*top, *label)).or_default() += 1;
    }
    let mut pairs: Vec<((u32, u32), usize)> = counts.into_iter().collect();
    // Where counts are equal, what an answer says of itself goes first.
    pairs.sort_by_key(|((top, label), count)| (std::cmp::Reverse(*count), top != label));
    let mut means: Vec<Option<u32>> = vec![None; classes];
    let mut taken = vec![false; classes];
    for ((top, label), _) in pairs {
        let (Some(slot), Some(taken)) = (means.get_mut(top as usize), taken.get_mut(label as usize)) else { continue };
        if slot.is_none() && !*taken {
            *slot = Some(label);
            *taken = true;
        }
    }
    for (i, slot) in means.iter_mut().enumerate() {
        if slot.is_none() && taken.get(i) == Some(&false) {
            *slot = Some(i as u32);
            taken[i] = true;
        }
    }
    let mut left = (0..classes as u32).filter(|label| taken.get(*label as usize) == Some(&false));
    means.into_iter().map(|slot| slot.or_else(|| left.next()).unwrap_or_default()).collect()
}

/// Another look at the pixels.
#[derive(Debug, Clone, PartialEq)]
struct Look {
    what: String,
    hint: String,
    preprocessing: Preprocessing,
    /// Whether the channels are turned round at the end.
    turned: bool,
}

/// Pixels made another way.
fn of_pixels(setup: &Setup, teacher: &mut RunningTeacher, worth: &Worth, sample: &Sample) -> Result<Vec<Cause>> {
    let (images, _) = at_most(&sample.images, MOST, setup.recipe.seed);
    let own = &worth.preprocessing;
    let first = setup.data.train.image(0)?;
    let size = |how: &Preprocessing| preprocessed_size(how, first.height(), first.width());
    let mut causes = Vec::new();
    for look in looks(own, size(own)).into_iter().filter(|look| size(&look.preprocessing) == size(own)) {
        let mut evaluation = evaluation(setup, &images);
        evaluation.preprocessing = &look.preprocessing;
        let answered = run(&evaluation, |x| {
            let pixels = if look.turned { turned(x)? } else { x.clone() };
            Ok(teacher.teacher.outputs(&Question { pixels: &pixels, samples: None }, &[])?.logits)
        })?;
        let (correct, images) = (answered.correct(), answered.labels.len());
        causes.push(Cause { what: look.what, hint: look.hint, correct, images });
    }
    Ok(causes)
}

/// `[N, 3, H, W]`, red and blue exchanged.
fn turned(x: &Tensor) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::new(&[2u32, 1, 0], x.device())?, 1)?)
}

/// The usual other ways to make a network's input of `size`.
fn looks(own: &Preprocessing, size: [usize; 2]) -> Vec<Look> {
    let channels = own.channels;
    let mut looks = Vec::new();
    let mut add = |what: &str, hint: String, preprocessing: Preprocessing, turned: bool| {
        if turned || preprocessing != *own {
            looks.push(Look { what: what.to_owned(), hint, preprocessing, turned });
        }
    };
    let mut scale = |what: &str, mean: Vec<f32>, std: Vec<f32>| {
        let hint = format!("in its preprocessing: mean = {mean:?}, std = {std:?}");
        add(what, hint, Preprocessing { mean, std, ..own.clone() }, false);
    };
    let all = |value: f32| vec![value; channels];
    scale("it takes pixels from 0 to 255, not normalised", all(0.0), all(1.0 / 255.0));
    scale("it takes pixels from 0 to 255 less their mean", own.mean.clone(), all(1.0 / 255.0));
    scale("it takes pixels from 0 to 1, not normalised", all(0.0), all(1.0));
    scale("it takes pixels from -1 to 1", all(0.5), all(0.5));
    if channels == 3 {
        let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
        scale("it takes pixels normalised as for ImageNet", mean, std);
        let hint = "export it again for RGB, or turn round the channels of its first convolution";
        add("it takes the channels as blue, green, red", hint.to_owned(), own.clone(), true);
    }
    let mut resize = |what: &str, to: ResizeTo, interpolation: Interpolation, crop: Option<[usize; 2]>| {
        let resize = Some(Resize { to, interpolation });
        let written = match to {
            ResizeTo::ShorterEdge(edge) => format!("{{ shorter-edge = {edge} }}"),
            ResizeTo::Exact(size) => format!("{{ exact = {size:?} }}"),
        };
        let filter = if interpolation == Interpolation::Bilinear { "bilinear" } else { "bicubic" };
        let crop_written = crop.map(|crop| format!(", crop = {crop:?}")).unwrap_or_default();
        let hint =
            format!("in its preprocessing: resize = {{ to = {written}, interpolation = \"{filter}\" }}{crop_written}");
        add(what, hint, Preprocessing { resize, crop, ..own.clone() }, false);
    };
    if let Some(Resize { to, interpolation }) = own.resize {
        let other = match interpolation {
            Interpolation::Bilinear => (Interpolation::Bicubic, "its images are resized by the bicubic filter"),
            Interpolation::Bicubic => (Interpolation::Bilinear, "its images are resized by the bilinear filter"),
        };
        resize(other.1, to, other.0, own.crop);
        if let ResizeTo::Exact(_) = to {
            let edge = ResizeTo::ShorterEdge(size[0].max(size[1]));
            resize("its images keep their shape and are cropped", edge, interpolation, Some(size));
            let edge = ResizeTo::ShorterEdge(size[0].max(size[1]) * 8 / 7);
            resize("its images keep their shape and are cropped", edge, interpolation, Some(size));
        } else {
            resize("its images are stretched to its input", ResizeTo::Exact(size), interpolation, None);
        }
    } else if own.crop.is_some() {
        resize("its images are stretched to its input", ResizeTo::Exact(size), Interpolation::Bilinear, None);
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// Images of all classes in turn, class `i` answered with `answers[i]`.
    fn answered(answers: &[u32], images: usize) -> Answered {
        let labels: Vec<u32> = (0..images).map(|i| (i / 2 % answers.len()) as u32).collect();
        Answered { top: labels.iter().map(|label| answers[*label as usize]).collect(), labels }
    }

    #[test]
    fn a_natural_order_is_named() {
        let data = names("0 1 10 11 2"); // by letters; the teacher counts
        let answered = answered(&[0, 1, 3, 4, 2], 100);
        let cause = best(of_order(&data, &answered), answered.correct(), 100).unwrap();
        assert_eq!(cause.correct, 100);
        assert!(
            cause.what.contains("natural order") && cause.hint.contains(r#"["0", "1", "2", "10", "11"]"#),
            "{cause}"
        );
    }

    #[test]
    fn any_other_order_is_guessed_on_one_half_and_judged_on_the_other() {
        let data = names("ant bee cat");
        let answered = answered(&[1, 2, 0], 60);
        let cause = best(of_order(&data, &answered), answered.correct(), 60).unwrap();
        assert_eq!((cause.correct, cause.images), (30, 30));
        assert!(cause.hint.contains(r#"["cat", "ant", "bee"]"#), "{cause}");
    }

    #[test]
    fn a_teacher_that_knows_nothing_gets_no_cause() {
        let data = names("ant bee cat dog");
        // Answers without any rule.
        let labels: Vec<u32> = (0..200u32).map(|i| i % 4).collect();
        let top: Vec<u32> = (0..200u32).map(|i| i.wrapping_mul(2_654_435_761) >> 13 & 3).collect();
        let answered = Answered { top, labels };
        assert_eq!(best(of_order(&data, &answered), answered.correct(), 200), None);
    }

    #[test]
    fn looks_differ_from_the_own_one() {
        let own = Preprocessing {
            channels: 3,
            resize: Some(Resize { to: ResizeTo::ShorterEdge(256), interpolation: Interpolation::Bilinear }),
            crop: Some([224, 224]),
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        };
        let looks = looks(&own, [224, 224]);
        assert!(looks.iter().all(|look| look.turned || look.preprocessing != own));
        assert!(!looks.iter().any(|look| look.what.contains("-1 to 1")), "that is its own");
        for expected in ["0 to 255", "ImageNet", "blue", "bicubic", "stretched"] {
            assert!(looks.iter().any(|look| look.what.contains(expected)), "{expected}");
        }
    }
}
