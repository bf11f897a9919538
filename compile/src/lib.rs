//! A network as a plan for the engine: which steps compute it, in integers where it is quantised, in floats elsewhere, and
//! where everything lies in memory. It runs nothing. Same network, same bytes.

mod draft;
mod error;
mod lower;
mod memory;
mod numbers;

use attar_edge::Model;
use attar_edge::plan::{Preprocessing, Said};
use attar_models::{Graph, Weights};

pub use error::{Error, Result};

/// What a plan carries beside the network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// How bytes of an image become the network's input; without it, the plan takes floats only.
    pub preprocessing: Option<Preprocessing>,
    /// sha256 of the file that the network was read from; zeros where there is none.
    pub source: [u8; 32],
}

/// Compiles a network. Batch norms behind convolutions are folded.
///
/// Where a value is quantised (`Quantize`) of what dequantised values make (`Dequantize`), the operations between them
/// become integer steps of the engine's arithmetic. A layer of dequantised values whose answer is wanted as floats, the last
/// one mostly, has integer sums, too, and scales them once. All else is computed in floats, and the two may be mixed.
///
/// # Errors
/// [`Error::Node`] naming what the engine does not compute.
pub fn compile(graph: &Graph, weights: &Weights, options: Options) -> Result<Vec<u8>> {
    let folded = attar_models::fold::fold_batch_norm(graph, weights)?;
    let mut draft = lower::lower(&folded.graph, &folded.weights)?;
    draft.without_unused();
    let arena = memory::lay_out(&mut draft);
    let shape = graph.input_shape();
    let said = Said {
        input: [shape[0], shape[1], shape[2]].map(|size| size as u32),
        classes: graph.output_shape().iter().product::<usize>() as u32,
        preprocessing: options.preprocessing,
        source: options.source,
        arena,
    };
    let bytes = draft.write(said);
    match Model::load(&bytes) {
        Ok(_) => Ok(bytes),
        Err(attar_edge::Error::Step { step, problem }) => {
            // The node of the step that is refused.
            let name = attar_edge::plan::name_in(&bytes, step).unwrap_or_default();
            Err(Error::node(name, problem))
        }
        Err(error) => Err(Error::Plan(error)),
    }
}
