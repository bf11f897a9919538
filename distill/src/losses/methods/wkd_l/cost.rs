//! How far classes are from each other: all alike, or from a file of distances, of prototypes or of features.

use std::path::PathBuf;

use attar_formats::read;
use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::BuildContext;

/// `"equal"`, or a tensor in a file. A loss sees what a teacher answers, not its weights, so that what the authors take
/// from the teacher, its classifier or its features of the training images, is given as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"equal\" or { file, tensor, holds = \"distances\" | \"prototypes\" | \"features\" }"
)]
pub enum Cost {
    /// Every class as far from every other.
    Named(Named),
    /// As a file says.
    File(CostFile),
}

/// Distances that need no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// 1 between any two classes.
    Equal,
}

/// A tensor from which distances follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostFile {
    /// A safetensors or PyTorch file, e.g. the teacher's own weights.
    pub file: PathBuf,
    /// The tensor's name in it.
    pub tensor: String,
    /// What the tensor is.
    pub holds: Holds,
}

/// What a tensor says of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// `[K, K]`: their distances.
    Distances,
    /// `[K, D]`: a vector for each, e.g. the rows of a classifier; the distance is 1 minus the cosine.
    Prototypes,
    /// `[K, n, D]`: vectors of `n` images of each; the distance is 1 minus the linear CKA of two classes, image by
    /// image in their order, as in the authors' script.
    Features,
}

impl Cost {
    /// The file it reads.
    pub(super) fn file(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Named(_) => None,
            Self::File(from) => Some(&mut from.file),
        }
    }

    /// `[K, K]` of `f64` in the host's memory.
    pub(super) fn distances(&self, context: &BuildContext<'_>, classes: usize) -> Result<Tensor> {
        let from = match self {
            Self::Named(Named::Equal) => {
                return Ok((1.0 - Tensor::eye(classes, DType::F64, &Device::Cpu)?)?);
            }
            Self::File(from) => from,
        };
        let shown = from.file.display();
        let weights = read::any(&from.file).map_err(|error| context.error("cost.file", error.to_string()))?.weights;
        let Some(array) = weights.get(&from.tensor) else {
            let near = attar_models::did_you_mean(&from.tensor, weights.0.keys().map(String::as_str));
            return Err(context.error("cost.tensor", format!("{shown} has no tensor `{}`{near}", from.tensor)));
        };
        if let Some(at) = array.f32()?.iter().position(|value| !value.is_finite()) {
            let problem = format!("element {at} of `{}` in {shown} is not finite", from.tensor);
            return Err(context.error("cost.tensor", problem));
        }
        let fits = match (from.holds, &array.shape[..]) {
            (Holds::Distances, [a, b]) => *a == classes && *b == classes,
            (Holds::Prototypes, [a, width]) => *a == classes && *width > 0,
            (Holds::Features, [a, images, width]) => *a == classes && *images > 1 && *width > 0,
            _ => false,
        };
        if !fits {
            let expected = match from.holds {
                Holds::Distances => format!("distances [{classes}, {classes}]"),
                Holds::Prototypes => format!("prototypes [{classes}, D]"),
                Holds::Features => format!("features [{classes}, n, D] of at least 2 images a class"),
            };
            let problem = format!("`{}` in {shown} is {:?}, expected {expected}", from.tensor, array.shape);
            return Err(context.error("cost.tensor", problem));
        }
        let tensor = Tensor::from_slice(array.f32()?, array.shape.as_slice(), &Device::Cpu)?.to_dtype(DType::F64)?;
        distances(&tensor, from.holds)
    }
}

/// The distances `[K, K]` between classes that a tensor of `f64` holds.
///
/// # Errors
/// A shape that [`Holds`] does not name, or a device that failed.
pub fn distances(tensor: &Tensor, holds: Holds) -> Result<Tensor> {
    Ok(match holds {
        Holds::Distances => tensor.clone(),
        Holds::Prototypes => one_minus_cosine(tensor)?,
        // The CKA of two classes is the cosine of their centred Gram matrices, [n, n].
        Holds::Features => {
            let centred = tensor.broadcast_sub(&tensor.mean_keepdim(1)?)?;
            one_minus_cosine(&centred.matmul(&centred.t()?.contiguous()?)?.flatten_from(1)?)?
        }
    })
}

fn one_minus_cosine(rows: &Tensor) -> Result<Tensor> {
    let unit = rows.broadcast_div(&rows.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?)?;
    Ok((1.0 - unit.matmul(&unit.t()?)?)?)
}

/// `1 - exp(-sharpen d)` of each distance; the distances themselves where `sharpen` is 0.
///
/// # Errors
/// A device that failed.
pub fn sharpened(distances: &Tensor, sharpen: f64) -> Result<Tensor> {
    Ok(if sharpen == 0.0 { distances.clone() } else { (1.0 - (distances * -sharpen)?.exp()?)? })
}
