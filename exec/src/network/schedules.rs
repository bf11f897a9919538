//! The schedules of a network, each made when it is first asked for and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use attar_models::{Fuse, Graph, NodeId, Schedule};

/// Schedules of one graph by what they hand out and fuse. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedules(Arc<Mutex<Known>>);

type Known = BTreeMap<(Fuse, Vec<NodeId>), Arc<Schedule>>;

impl Schedules {
    /// The schedule that ends in `taps` and the output of `graph`, always the same graph.
    pub(super) fn get(&self, graph: &Graph, taps: &[NodeId], fuse: Fuse) -> Arc<Schedule> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = known.entry((fuse, taps.to_vec())).or_insert_with(|| Arc::new(Schedule::new(graph, taps, fuse)));
        Arc::clone(made)
    }
}
