//! State of an optimiser by parameter name, written and read as `<kind>.<parameter>`.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::misfit;
use crate::error::Result;

/// Adds `values` to `state` under `kind`.
pub(super) fn write(state: &mut BTreeMap<String, Tensor>, kind: &str, values: &BTreeMap<String, Tensor>) {
    state.extend(values.iter().map(|(name, tensor)| (format!("{kind}.{name}"), tensor.clone())));
}

/// Takes what was written under `kind` out of `state`.
pub(super) fn take(state: &mut BTreeMap<String, Tensor>, kind: &str) -> BTreeMap<String, Tensor> {
    let prefix = format!("{kind}.");
    let names: Vec<String> = state.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
    let entry = |name: String| state.remove_entry(&name);
    names.into_iter().filter_map(entry).map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// Refuses what nobody took.
pub(super) fn finish(state: &BTreeMap<String, Tensor>, writer: &str) -> Result<()> {
    match state.keys().next() {
        None => Ok(()),
        Some(name) => Err(misfit(name, format!("{writer} keeps no such state\n  hint: was the optimiser changed?"))),
    }
}

/// The entry for `name`, checked against the parameter's shape.
pub(super) fn fitting<'a>(
    values: &'a BTreeMap<String, Tensor>,
    name: &str,
    like: &Tensor,
) -> Result<Option<&'a Tensor>> {
    match values.get(name) {
        Some(tensor) if tensor.shape() != like.shape() => {
            Err(misfit(name, format!("optimiser state of shape {:?} for {:?}", tensor.dims(), like.dims())))
        }
        found => Ok(found),
    }
}
