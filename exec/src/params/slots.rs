//! Tensors by the slots of parameters: gradients, momenta.

use candle_core::Tensor;

use super::ParamId;

/// At most one tensor for each slot of some [`Params`](super::Params), in their order.
#[derive(Debug, Clone, Default)]
pub struct Slots(Vec<Option<Tensor>>);

impl Slots {
    /// The tensor in a slot.
    pub fn get(&self, slot: ParamId) -> Option<&Tensor> {
        self.0.get(slot.index())?.as_ref()
    }

    /// Puts a tensor into a slot; what was there is gone.
    pub fn put(&mut self, slot: ParamId, tensor: Tensor) {
        if self.0.len() <= slot.index() {
            self.0.resize(slot.index() + 1, None);
        }
        self.0[slot.index()] = Some(tensor);
    }

    /// Takes the tensor out of a slot.
    pub fn take(&mut self, slot: ParamId) -> Option<Tensor> {
        self.0.get_mut(slot.index())?.take()
    }

    /// Empties the slots that are not wanted.
    pub fn retain(&mut self, wanted: impl Fn(ParamId) -> bool) {
        for (at, tensor) in self.0.iter_mut().enumerate() {
            if !wanted(ParamId::at(at)) {
                *tensor = None;
            }
        }
    }

    /// What is there, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Tensor)> {
        self.0.iter().enumerate().filter_map(|(at, tensor)| Some((ParamId::at(at), tensor.as_ref()?)))
    }

    /// What is there, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.0.iter_mut().flatten()
    }

    /// How many are there.
    pub fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl FromIterator<(ParamId, Tensor)> for Slots {
    fn from_iter<T: IntoIterator<Item = (ParamId, Tensor)>>(tensors: T) -> Self {
        let mut slots = Self::default();
        tensors.into_iter().for_each(|(slot, tensor)| slots.put(slot, tensor));
        slots
    }
}
