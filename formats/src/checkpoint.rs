//! Checkpoints: the version of their layout, their files, and the names under which `trainer.safetensors` keeps things.

use attar_models::{Array, Weights};

use crate::error::Result;
use crate::read::Arrays;

/// Version of the layout of a checkpoint's directory. Since 2, integers are kept as integers.
pub const VERSION: u32 = 2;

/// The oldest version that is read; [`trainer`] brings what it holds to [`VERSION`].
pub const OLDEST_VERSION: u32 = 1;

/// The files of a checkpoint.
pub mod file {
    /// The student's parameters and buffers as they are evaluated.
    pub const MODEL: &str = "model.safetensors";
    /// Everything else that steps change, by name.
    pub const TRAINER: &str = "trainer.safetensors";
    /// Where the run is.
    pub const STATE: &str = "state.json";
}

/// Of the student as it is trained, where something else is what is evaluated: its average, or whole numbers.
pub const STUDENT: &str = "student.";

/// Of the average of what a student in whole numbers learns by.
pub const AVERAGE: &str = "average.";

/// Of a peer's parameters and buffers. Also what keys their initialisation.
pub fn peer(name: &str) -> String {
    format!("peers.{name}.")
}

/// Of what a loss trains itself, connectors included. Also what keys its initialisation.
pub fn loss(name: &str) -> String {
    format!("losses.{name}.")
}

/// Of what a loss has gathered.
pub fn loss_state(name: &str) -> String {
    format!("{LOSS_STATE}{name}.")
}

/// Of the averages and counts of the optimiser of a turn of a step; the first turn is 0.
pub fn optimiser(turn: usize) -> String {
    if turn == 0 { format!("{OPTIMISER}.") } else { format!("{OPTIMISER}-{turn}.") }
}

const LOSS_STATE: &str = "loss-state.";
const OPTIMISER: &str = "optimiser";

/// What a `trainer.safetensors` of this or an older version holds, under the names and in the types of [`VERSION`].
///
/// # Errors
/// [`crate::Error::Format`] where an array of version 1 has not the shape of what its name says.
pub fn trainer(file: Arrays, version: u32) -> Result<Weights> {
    if version == VERSION {
        return Ok(file.into_weights());
    }
    let origin = file.clone();
    let mut upgraded = Weights::default();
    for (name, array) in file.into_weights().0 {
        let (new, array) = of_first_version(&name, array).ok_or_else(|| {
            origin.error(format!("`{name}` is not what version 1 of a checkpoint holds under such a name"))
        })?;
        upgraded.0.insert(new, array);
    }
    Ok(upgraded)
}

/// Version 1 had only `f32`, which holds 24 bits of an integer: counts and numbers of images were halves of 16 bits in a last
/// axis of 2, and "no label" was -1.0.
fn of_first_version(name: &str, array: Array) -> Option<(String, Array)> {
    let of_loss = name.starts_with(LOSS_STATE);
    let counts = name.split_once("-counts.").filter(|(before, _)| before.starts_with(OPTIMISER));
    match counts {
        Some((optimiser, rest)) => Some((format!("{optimiser}.{rest}"), joined(&array)?)),
        None if of_loss && name.ends_with(".ids") => Some((name.to_owned(), joined(&array)?)),
        None if of_loss && name.ends_with(".labels") => {
            let labels = array.f32().ok()?.iter().map(|label| *label as i64).collect();
            Some((name.to_owned(), Array::new(array.shape.clone(), labels).ok()?))
        }
        None => Some((name.to_owned(), array)),
    }
}

/// `[.., 2]` of high and low halves as `[..]` of `u32`.
fn joined(halves: &Array) -> Option<Array> {
    let (last, shape) = halves.shape.split_last()?;
    let (pairs, _) = halves.f32().ok().filter(|_| *last == 2)?.as_chunks::<2>();
    let values = pairs.iter().map(|[high, low]| (*high as u32) << 16 | *low as u32).collect();
    Array::new(shape.to_vec(), values).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn file(arrays: &[(&str, Array)]) -> Arrays {
        let arrays = arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        Arrays::new(Path::new("trainer.safetensors"), Weights(arrays), BTreeMap::new())
    }

    fn floats(shape: &[usize], values: &[f32]) -> Array {
        Array::new(shape.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn what_version_1_split_and_disguised_becomes_integers() {
        let momentum = floats(&[3], &[0.5, 1.0, 2.0]);
        let old = file(&[
            ("optimiser.first.fc.bias", momentum.clone()),
            ("optimiser-counts.steps.fc.bias", floats(&[2], &[1.0, 2.0])),
            ("optimiser-1-counts.seen", floats(&[3, 2], &[0.0, 7.0, 256.0, 1.0, 65535.0, 65535.0])),
            ("loss-state.gacd.ids", floats(&[1, 2], &[2.0, 3.0])),
            ("loss-state.crd.labels", floats(&[3], &[-1.0, 0.0, 99.0])),
            ("loss-state.crd.student", floats(&[1, 2], &[0.5, 0.25])),
        ]);
        let new = trainer(old, 1).unwrap();
        let expected = [
            ("optimiser.first.fc.bias", momentum),
            ("optimiser.steps.fc.bias", Array::new(vec![], vec![(1u32 << 16) + 2]).unwrap()),
            ("optimiser-1.seen", Array::new(vec![3], vec![7u32, (1 << 24) + 1, u32::MAX]).unwrap()),
            ("loss-state.gacd.ids", Array::new(vec![1], vec![(2u32 << 16) + 3]).unwrap()),
            ("loss-state.crd.labels", Array::new(vec![3], vec![-1i64, 0, 99]).unwrap()),
            ("loss-state.crd.student", floats(&[1, 2], &[0.5, 0.25])),
        ];
        assert_eq!(new, file(&expected).into_weights());
        assert_eq!(trainer(file(&expected), VERSION).unwrap(), new);
        let odd = trainer(file(&[("optimiser-counts.steps", floats(&[3], &[1.0; 3]))]), 1);
        assert!(odd.unwrap_err().to_string().contains("`optimiser-counts.steps` is not what version 1"));
    }
}
