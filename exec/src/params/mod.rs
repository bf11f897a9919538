//! Parameters and buffers of a network as named tensors with their roles, in name order.

mod init;
mod joint;
mod slots;

use std::sync::Arc;

pub use attar_models::op::Init;
use attar_models::{Array, Graph, Role, Weights};
use candle_core::{DType, Device, Tensor};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::ops;

pub use joint::Joint;
pub use slots::Slots;

/// Numbers that are trained although they belong to no graph: a teacher-side embedding, a variance,
/// a discriminator.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Unique under its prefix.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first values.
    pub init: Init,
}

/// Position of a parameter among the [`Params`] of a network, in name order; fixed once the network
/// is made. Names are for files and people, steps go by slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParamId(u32);

impl ParamId {
    /// Index into [`Params::iter`] and [`Slots`].
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX)) // nothing has so many tensors
    }
}

/// Named tensors and what each is for, in name order. Plain tensors, never Candle `Var`s: the
/// executor owns the backward pass.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    name: Arc<str>,
    tensor: Tensor,
    role: Role,
}

impl Params {
    /// The parameters and buffers of `graph` from plain arrays, for a context or a device.
    ///
    /// # Errors
    /// When the arrays are not exactly those of the graph, or not finite.
    pub fn from_weights(graph: &Graph, weights: &Weights, context: impl Into<Context>) -> Result<Self> {
        let context = context.into();
        weights.check(graph)?;
        let mut params = Self::default();
        for param in graph.params() {
            if let Some(array) = weights.get(&param.name) {
                let tensor = Tensor::from_slice(array.f32()?, param.shape.as_slice(), context.device())?;
                let tensor = ops::in_order(context.backend(), &tensor.to_dtype(context.values())?)?;
                params.insert(param.name.into(), tensor, param.role);
            }
        }
        Ok(params)
    }

    /// Fresh parameters, each drawn as its operation says ([`attar_models::op::ParamSpec`]).
    ///
    /// Each tensor has its own generator, keyed by the seed and `prefix` + its name, so that a
    /// layer more changes no other. The prefix (`losses.cd.layer1.`, or nothing) is part of the key
    /// only; the names stored are the graph's.
    ///
    /// # Errors
    /// When the device fails.
    pub fn init(graph: &Graph, seed: u64, prefix: &str, context: impl Into<Context>) -> Result<Self> {
        let context = context.into();
        let mut params = Self::default();
        for param in graph.params() {
            let values = init::values(param.init, &param.shape, seed, &format!("{prefix}{}", param.name));
            let tensor = Tensor::from_vec(values, param.shape.as_slice(), context.device())?;
            params.insert(param.name.into(), tensor.to_dtype(context.values())?, param.role);
        }
        Ok(params)
    }

    /// Parameters of no graph, under `<prefix><name>`; each tensor has its own generator, keyed as
    /// by [`Params::init`]. To an optimiser matrices are weights and vectors biases.
    ///
    /// # Errors
    /// When the device fails.
    pub fn loose(prefix: &str, params: &[Param], seed: u64, device: &Device) -> Result<Self> {
        let mut own = Self::default();
        for param in params {
            let name = format!("{prefix}{}", param.name);
            let values = init::values(param.init, &param.shape, seed, &name);
            let tensor = Tensor::from_vec(values, param.shape.as_slice(), device)?;
            // Scales, shifts and biases are vectors; some optimisers spare them from weight decay.
            let role = if param.shape.len() < 2 { Role::Bias } else { Role::Weight };
            own.insert(name.into(), tensor, role);
        }
        Ok(own)
    }

    /// Adds a tensor of no graph.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add(&mut self, name: &str, tensor: Tensor, role: Role) -> Result<()> {
        let mut one = Self::default();
        one.insert(name.into(), tensor, role);
        self.merge("", one)
    }

    fn place(&self, name: &str) -> std::result::Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.name.as_ref().cmp(name))
    }

    /// Adds a tensor, or takes the place of the one of this name.
    fn insert(&mut self, name: Arc<str>, tensor: Tensor, role: Role) {
        let place = self.place(&name);
        let entry = Entry { name, tensor, role };
        match place {
            Ok(at) => self.0[at] = entry,
            Err(at) => self.0.insert(at, entry),
        }
    }

    /// The slot of the tensor called `name`.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    pub fn id(&self, name: &str) -> Result<ParamId> {
        self.place(name).map(ParamId::at).map_err(|_| self.unknown(name))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        Ok(self.value(self.id(name)?))
    }

    /// What the tensor called `name` is for.
    pub fn role(&self, name: &str) -> Option<Role> {
        self.place(name).ok().map(|at| self.0[at].role)
    }

    /// Replaces the values of the tensor called `name`. The new tensor is taken as it is, not
    /// copied.
    ///
    /// # Errors
    /// When there is none of this name, or shape, type or device differ.
    pub fn set(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        self.replace(self.id(name)?, tensor)
    }

    /// The tensor in a slot of these parameters.
    pub fn value(&self, slot: ParamId) -> &Tensor {
        &self.0[slot.index()].tensor
    }

    /// The name of the tensor in a slot of these parameters.
    pub fn name(&self, slot: ParamId) -> &str {
        &self.0[slot.index()].name
    }

    /// Replaces the values in a slot of these parameters. The new tensor is taken as it is, not
    /// copied.
    ///
    /// # Errors
    /// When shape, type or device differ.
    pub fn replace(&mut self, slot: ParamId, tensor: Tensor) -> Result<()> {
        let Entry { name, tensor: old, .. } = &mut self.0[slot.index()];
        let fits =
            old.shape() == tensor.shape() && tensor.dtype() == old.dtype() && old.device().same_device(tensor.device());
        if !fits {
            let problem = format!(
                "cannot replace {:?} {:?} by {:?} {:?} or move it to another device",
                old.dims(),
                old.dtype(),
                tensor.dims(),
                tensor.dtype()
            );
            return Err(attar_models::Error::Node { node: name.to_string(), problem }.into());
        }
        *old = tensor;
        Ok(())
    }

    /// Everything, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor, Role)> {
        self.0.iter().map(|Entry { name, tensor, role }| (name.as_ref(), tensor, *role))
    }

    /// What an optimiser changes (no buffers), in name order.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Tensor, Role)> {
        self.iter().filter(|(_, _, role)| role.is_trained())
    }

    /// The slots of what an optimiser changes, in name order.
    pub fn trained_slots(&self) -> impl Iterator<Item = ParamId> + '_ {
        let slots = self.0.iter().enumerate();
        slots.filter(|(_, entry)| entry.role.is_trained()).map(|(at, _)| ParamId::at(at))
    }

    /// The slots of what follows the batches instead, in name order.
    pub fn buffer_slots(&self) -> impl Iterator<Item = ParamId> + '_ {
        let slots = self.0.iter().enumerate();
        slots.filter(|(_, entry)| !entry.role.is_trained()).map(|(at, _)| ParamId::at(at))
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
        self.0.retain(|entry| wanted(&entry.name));
    }

    /// Replaces values by those of `other`, by name.
    ///
    /// # Errors
    /// A name that is not here, or a tensor that does not fit.
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
            let data = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            weights.0.insert(name.to_owned(), Array::new(tensor.dims().to_vec(), data)?);
        }
        Ok(weights)
    }

    /// Adds everything of `other` under `prefix` (`losses.cd.layer1.`), so that one optimiser and
    /// one file hold it all.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn merge(&mut self, prefix: &str, other: Self) -> Result<()> {
        for Entry { name, tensor, role } in other.0 {
            let name: Arc<str> = if prefix.is_empty() { name } else { format!("{prefix}{name}").into() };
            if self.place(&name).is_ok() {
                let problem = "this parameter name is taken".to_owned();
                return Err(attar_models::Error::Node { node: name.to_string(), problem }.into());
            }
            self.insert(name, tensor, role);
        }
        Ok(())
    }

    /// What [`Params::merge`] put under `prefix`, with the prefix taken off again. Tensors are
    /// shared, not copied.
    pub fn under(&self, prefix: &str) -> Self {
        let own = |entry: &Entry| {
            let name = entry.name.strip_prefix(prefix)?;
            Some(Entry { name: name.into(), ..entry.clone() })
        };
        Self(self.0.iter().filter_map(own).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.0.iter().map(|entry| entry.name.as_ref()).collect();
        attar_models::Error::unknown("parameter", name, &known).into()
    }
}

#[cfg(test)]
mod tests;
