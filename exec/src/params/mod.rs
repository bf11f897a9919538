//! Parameters and buffers of a network as named tensors with their roles, in name order.

mod init;

use std::collections::BTreeMap;

pub use attar_models::op::Init;
use attar_models::{Array, Graph, Role, Weights};
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::ops;

/// Numbers that a loss trains itself, beside what connectors hold: a teacher-side embedding, a variance, a discriminator.
/// They live under `losses.<loss>.<name>`, learn with the student's optimiser, and are never exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Unique within its loss.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first values.
    pub init: Init,
}

/// Named tensors and what each is for. Plain tensors, never Candle `Var`s: the executor owns the backward pass.
#[derive(Debug, Clone, Default)]
pub struct Params(BTreeMap<String, (Tensor, Role)>);

impl Params {
    /// The parameters and buffers of `graph` from plain arrays.
    ///
    /// # Errors
    /// When the arrays are not exactly those of the graph, or not finite.
    pub fn from_weights(graph: &Graph, weights: &Weights, device: &Device) -> Result<Self> {
        weights.check(graph)?;
        let mut params = Self::default();
        for param in graph.params() {
            if let Some(array) = weights.get(&param.name) {
                let tensor = Tensor::from_slice(array.f32()?, param.shape.as_slice(), device)?;
                params.0.insert(param.name, (ops::in_order(&tensor)?, param.role));
            }
        }
        Ok(params)
    }

    /// Fresh parameters: convolutions normal with variance `2 / fan_out` (He et al. 2015, as torchvision's ResNets),
    /// linear layers uniform in `±1 / sqrt(fan_in)` (PyTorch's default), convolution biases zero, norms the identity.
    ///
    /// Each tensor has its own generator, keyed by the seed and `prefix` + its name, so that a layer more changes no
    /// other. The prefix (`losses.cd.layer1.`, or nothing) is part of the key only; the names stored are the graph's.
    ///
    /// # Errors
    /// When the device fails.
    pub fn init(graph: &Graph, seed: u64, prefix: &str, device: &Device) -> Result<Self> {
        let mut params = Self::default();
        for param in graph.params() {
            let values = init::values(param.init, &param.shape, seed, &format!("{prefix}{}", param.name));
            let tensor = Tensor::from_vec(values, param.shape.as_slice(), device)?;
            params.0.insert(param.name, (tensor, param.role));
        }
        Ok(params)
    }

    /// What a loss trains itself, under `losses.<loss>.<name>`; each tensor has its own generator, keyed as by
    /// [`Params::init`]. To an optimiser matrices are weights and vectors biases.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of_loss(loss: &str, params: &[Param], seed: u64, device: &Device) -> Result<Self> {
        let mut own = Self::default();
        for param in params {
            let name = format!("losses.{loss}.{}", param.name);
            let values = init::values(param.init, &param.shape, seed, &name);
            let tensor = Tensor::from_vec(values, param.shape.as_slice(), device)?;
            // Scales, shifts and biases are vectors; some optimisers spare them from weight decay.
            let role = if param.shape.len() < 2 { Role::Bias } else { Role::Weight };
            own.0.insert(name, (tensor, role));
        }
        Ok(own)
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).map(|(tensor, _)| tensor).ok_or_else(|| self.unknown(name))
    }

    /// What the tensor called `name` is for.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.0.get(name).map(|(_, role)| *role)
    }

    /// Replaces the values of the tensor called `name`. The new tensor is taken as it is, not copied.
    ///
    /// # Errors
    /// When there is none of this name, or shape, type or device differ.
    pub fn set(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        let unknown = || self.unknown(name);
        let (old, role) = self.0.get(name).ok_or_else(unknown)?;
        let fits =
            old.shape() == tensor.shape() && tensor.dtype() == DType::F32 && old.device().same_device(tensor.device());
        if !fits {
            let problem = format!(
                "cannot replace {:?} {:?} by {:?} {:?} or move it to another device",
                old.dims(),
                old.dtype(),
                tensor.dims(),
                tensor.dtype()
            );
            return Err(attar_models::Error::Node { node: name.to_owned(), problem }.into());
        }
        let role = *role;
        self.0.insert(name.to_owned(), (tensor, role));
        Ok(())
    }

    /// Everything, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor, Role)> {
        self.0.iter().map(|(name, (tensor, role))| (name.as_str(), tensor, *role))
    }

    /// What an optimiser changes (no buffers), in name order.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Tensor, Role)> {
        self.iter().filter(|(_, _, role)| role.is_trained())
    }

    /// Number of tensors, buffers included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what `wanted` says of its name.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| wanted(name));
    }

    /// Replaces values by those of `other`, by name.
    pub fn take(&mut self, other: &Self) -> Result<()> {
        other.iter().try_for_each(|(name, tensor, _)| self.set(name, tensor.clone()))
    }

    /// Plain arrays of everything.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_weights(&self) -> Result<Weights> {
        let mut weights = Weights::default();
        for (name, tensor, _) in self.iter() {
            let data = tensor.flatten_all()?.to_vec1::<f32>()?;
            weights.0.insert(name.to_owned(), Array::new(tensor.dims().to_vec(), data)?);
        }
        Ok(weights)
    }

    /// Adds everything of `other` under `prefix` (`losses.cd.layer1.`), so that one optimiser and one file hold it all.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn merge(&mut self, prefix: &str, other: Self) -> Result<()> {
        for (name, entry) in other.0 {
            let name = format!("{prefix}{name}");
            if self.0.contains_key(&name) {
                let problem = "this parameter name is taken".to_owned();
                return Err(attar_models::Error::Node { node: name, problem }.into());
            }
            self.0.insert(name, entry);
        }
        Ok(())
    }

    /// What [`Params::merge`] put under `prefix`, with the prefix taken off again. Tensors are shared, not copied.
    pub fn under(&self, prefix: &str) -> Self {
        let own = |(name, entry): (&String, &(Tensor, Role))| {
            name.strip_prefix(prefix).map(|name| (name.to_owned(), entry.clone()))
        };
        Self(self.0.iter().filter_map(own).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
        attar_models::Error::unknown("parameter", name, &known).into()
    }
}

#[cfg(test)]
mod tests;
