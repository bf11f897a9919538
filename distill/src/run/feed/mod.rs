//! Images on their way to the networks: batches made by loaders, batches made on the device, a whole split evaluated.

pub(in crate::run) mod batch;
pub(in crate::run) mod evaluate;
pub(in crate::run) mod prefetch;
pub(in crate::run) mod resident;
