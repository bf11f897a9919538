//! Several values as one, their channels behind each other.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, channels};

/// Puts the channels of two or more inputs behind each other: `[C0, H, W], [C1, H, W], ... -> [C0 + C1 + ..., H, W]`, or
/// features: `[F0], [F1], ... -> [F0 + F1 + ...]` (PyTorch's `cat` along axis 1 of a batch). What DenseNets (Huang et al.
/// 2017) and Inception (Szegedy et al. 2015) are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {
    /// How many inputs, at least 2.
    pub inputs: usize,
}

impl Operation for Concat {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [first, others @ ..] = inputs else { return Err("joins 0 inputs, expected 2 or more".to_owned()) };
        if others.is_empty() {
            return Err("joins 1 input, expected 2 or more".to_owned());
        }
        let mut all = channels(first)?;
        for other in others {
            if other.len() != first.len() || other[1..] != first[1..] {
                return Err(format!("joins {first:?} and {other:?}, which differ in more than their channels"));
            }
            all = all.checked_add(other[0]).ok_or("joins more channels than can be counted")?;
        }
        Ok([&[all], &first[1..]].concat())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { inputs: 3 }, vec![vec![4, 5, 6], vec![7, 5, 6], vec![4, 5, 6]])
    }
}
