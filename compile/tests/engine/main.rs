//! Compiled networks, run at every level: against the reference, against what the network means, and as plans that somebody
//! has tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod endings;
mod errors;
mod levels;
mod loading;
mod networks;
mod oracle;
mod threads;
mod tried;

use attar_compile::Options;
use attar_edge::plan::Preprocessing;
use attar_edge::{Input, Level, Session};
use tried::{bits, levels};

/// Preprocessing whose steps all round.
const PREPROCESSING: Preprocessing =
    Preprocessing { divisor: 255.0, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

fn compiled(network: &networks::Network) -> Vec<u8> {
    let preprocessing = Some(PREPROCESSING).filter(|_| network.graph.input_shape()[0] == 3);
    attar_compile::compile(&network.graph, &network.weights, Options { preprocessing, source: [7; 32] }).unwrap()
}

/// Logits of a plan at a level.
fn logits(plan: &[u8], level: Level, image: Input<'_>) -> Vec<f32> {
    let mut session = Session::new(plan.to_vec(), level).unwrap();
    let mut logits = vec![f32::NAN; session.model().header().classes as usize];
    session.run(image, &mut logits).unwrap();
    logits
}
