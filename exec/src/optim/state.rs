//! State of an optimiser by slot, written and read by name as `<kind>.<parameter>`.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::misfit;
use crate::error::Result;
use crate::params::{Params, Slots};

/// Adds `values` to `state` under `kind`.
pub(super) fn write(state: &mut BTreeMap<String, Tensor>, kind: &str, params: &Params, values: &Slots) {
    state.extend(values.iter().map(|(slot, tensor)| (format!("{kind}.{}", params.name(slot)), tensor.clone())));
}

/// Takes what was written under `kind` out of `state`, checked against the parameters.
pub(super) fn take(state: &mut BTreeMap<String, Tensor>, kind: &str, params: &Params) -> Result<Slots> {
    let prefix = format!("{kind}.");
    let names: Vec<String> = state.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
    let entry = |name: String| state.remove_entry(&name);
    let fitting = |(name, tensor): (String, Tensor)| {
        let name = &name[prefix.len()..];
        let slot = params.id(name)?;
        let like = params.value(slot);
        if tensor.shape() != like.shape() {
            return Err(misfit(name, format!("optimiser state of shape {:?} for {:?}", tensor.dims(), like.dims())));
        }
        Ok((slot, tensor))
    };
    names.into_iter().filter_map(entry).map(fitting).collect()
}

/// Refuses what nobody took.
pub(super) fn finish(state: &BTreeMap<String, Tensor>, writer: &str) -> Result<()> {
    match state.keys().next() {
        None => Ok(()),
        Some(name) => Err(misfit(name, format!("{writer} keeps no such state\n  hint: was the optimiser changed?"))),
    }
}
