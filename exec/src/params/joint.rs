//! Parameters of several networks as one list: what one optimiser steps over and one norm is taken
//! of.

use std::sync::Arc;

use attar_models::Role;

use super::{Entry, ParamId, Params};
use crate::error::Result;

/// Where the tensors of several [`Params`] stand in one list, which is in the order of their full
/// names. It is made once; after that nothing is looked up by name. Parts are those that it was
/// made of, in their order.
#[derive(Debug, Clone, Default)]
pub struct Joint {
    /// Full names, in their order.
    names: Vec<(Arc<str>, Role)>,
    /// For each part, the slot in the list of each of its slots.
    parts: Vec<Vec<ParamId>>,
}

impl Joint {
    /// The list of parts, each under its prefix (`peers.b.`, `losses.cd.layer1.`, or nothing).
    ///
    /// # Errors
    /// When two tensors have one name.
    pub fn new<'a>(parts: impl IntoIterator<Item = (&'a str, &'a Params)>) -> Result<Self> {
        let parts: Vec<_> = parts.into_iter().collect();
        let mut all = Params::default();
        for (prefix, params) in &parts {
            all.merge(prefix, (*params).clone())?;
        }
        let slots = |(prefix, params): &(&str, &Params)| {
            params.iter().map(|(name, ..)| all.id(&format!("{prefix}{name}"))).collect::<Result<Vec<_>>>()
        };
        let slots = parts.iter().map(slots).collect::<Result<_>>()?;
        let name = |Entry { name, role, .. }: Entry| (name, role);
        Ok(Self { parts: slots, names: all.0.into_iter().map(name).collect() })
    }

    /// The slot in the list of each slot of a part.
    pub fn slots(&self, part: usize) -> &[ParamId] {
        &self.parts[part]
    }

    /// The list, from its parts; tensors are shared, not copied.
    ///
    /// # Errors
    /// Parts that are not those that it was made of.
    pub fn gather<'a>(&self, parts: impl IntoIterator<Item = &'a Params>) -> Result<Params> {
        let mut tensors = vec![None; self.names.len()];
        let mut parts = parts.into_iter();
        for slots in &self.parts {
            let part = parts.next().filter(|part| part.len() == slots.len()).ok_or_else(other)?;
            for (slot, entry) in slots.iter().zip(&part.0) {
                tensors[slot.index()] = Some(entry.tensor.clone());
            }
        }
        let entry = |((name, role), tensor): (&(Arc<str>, Role), Option<_>)| {
            Ok(Entry { name: Arc::clone(name), role: *role, tensor: tensor.ok_or_else(other)? })
        };
        Ok(Params(self.names.iter().zip(tensors).map(entry).collect::<Result<_>>()?))
    }

    /// Puts the tensors of a list back into its parts.
    ///
    /// # Errors
    /// Parts or a list that are not those that it was made of.
    pub fn scatter<'a>(&self, all: &Params, parts: impl IntoIterator<Item = &'a mut Params>) -> Result<()> {
        if all.len() != self.names.len() {
            return Err(other());
        }
        let mut parts = parts.into_iter();
        for slots in &self.parts {
            let part = parts.next().filter(|part| part.len() == slots.len()).ok_or_else(other)?;
            for (at, slot) in slots.iter().enumerate() {
                part.replace(ParamId::at(at), all.value(*slot).clone())?;
            }
        }
        Ok(())
    }
}

fn other() -> crate::Error {
    candle_core::Error::Msg("parameters are not those that were joined".to_owned()).into()
}
