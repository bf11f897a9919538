//! What a network *is*: a graph of named operations, its parameters as plain arrays, and the card that travels with them.
//!
//! Nothing here knows a tensor library, a file system layout of a run, or time. A [`Graph`] is a value: it is built by the
//! [`zoo`], rewritten by [`fold`], counted, executed, exported and compared by other rooms, all walking the same nodes.

pub mod card;
pub mod classes;
mod error;
pub mod files;
pub mod fold;
pub mod generated;
pub mod graph;
pub mod op;
pub mod read;
pub mod rename;
mod strangers;
pub mod weights;
pub mod write;
pub mod zoo;

pub use card::{Card, Preprocessing};
pub use error::{Error, Result, nearest};
pub use graph::{GRAPH_VERSION, Graph, GraphBuilder, Node, NodeId};
pub use op::{Activation, Op, Param, Role};
pub use weights::{Array, Weights};
