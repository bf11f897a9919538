//! What a network *is*: a graph of named operations, and its parameters as plain arrays.
//!
//! Nothing here knows a tensor library, a file system layout of a run, or time. A [`Graph`] is a value: it is built by the
//! [`zoo`], rewritten by [`fold`], counted, executed, exported and compared by other rooms, all walking the same nodes.

mod array;
mod error;
pub mod fold;
pub mod generated;
pub mod graph;
pub mod op;
pub mod outline;
pub mod quantised;
mod rewrite;
pub mod schedule;
mod stages;
pub mod weights;
pub mod zoo;

pub use array::{Array, Element, Elements};
pub use error::{Error, Result, did_you_mean, nearest, suggest};
pub use graph::{GRAPH_VERSION, Graph, GraphBuilder, Node, NodeId};
pub use op::{Activation, Op, Param, Role};
pub use outline::{Outline, Value, ValueKind};
pub use rewrite::Rewritten;
pub use schedule::{Fuse, Schedule, ScheduledOp};
pub use weights::Weights;
