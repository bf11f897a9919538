//! The sum of two values, and which shapes go together in sums and products.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec};

/// Sum of two inputs. The first has the shape of the result; in the second an axis may be 1, whose values count all along
/// it (PyTorch's and ONNX's broadcasting): `[C, H, W]` and `[C, 1, 1]`, `[1, H, W]`, `[1, 1, 1]` or `[C, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operation for Add {
    fn inputs(&self) -> usize {
        2
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        broadcast("add", inputs[0], inputs[1])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self {}, vec![vec![4, 5, 6]; 2])
    }
}

/// The shape of a sum or product of `whole` and `part`, of which axes may be 1.
pub(super) fn broadcast(verb: &str, whole: &[usize], part: &[usize]) -> Result<Vec<usize>, String> {
    let fits = |(whole, part): (&usize, &usize)| part == whole || *part == 1;
    if whole.len() == part.len() && whole.iter().zip(part).all(fits) {
        return Ok(whole.to_vec());
    }
    Err(format!("cannot {verb} {whole:?} and {part:?}: each axis of the second is that of the first, or 1"))
}
