//! Times one training step (forward and backward, no optimiser) of a zoo network on the CPU.
//!
//!     cargo run --release -p attar-exec --example step_time -- [network] [batch] [repeats]

use std::time::Instant;

use attar_exec::{Error, Network, Params};
use attar_measures::random::Stream;
use attar_models::{generated, zoo};
use candle_core::{Device, Tensor};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let name = arguments.first().map_or("resnet20", String::as_str);
    let number = |i: usize, default| arguments.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (batch, repeats) = (number(1, 64), number(2, 10));

    let graph = zoo::build(&zoo::NetworkSpec::new(name, 100, [3, 32, 32]))?;
    let params = Params::init(&graph, 1, "", &Device::Cpu)?;
    let mut network = Network::new(graph, params, &Device::Cpu)?;
    let shape = [batch, 3, 32, 32];
    let x = Tensor::from_vec(generated::input(shape, 1), &shape, &Device::Cpu)?;
    let taps: Vec<_> = network.graph().stages().iter().map(|(_, id)| *id).collect();
    let output = network.graph().output();
    let mut rng = Stream::of_number(1);

    let (mut forward, mut backward, mut eval) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeats {
        let start = Instant::now();
        let (outputs, tape) = network.train(&x, &taps, &mut rng)?;
        forward.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        network.backward(tape, vec![(output, outputs.logits)], false)?;
        backward.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        network.eval(&x, &taps)?;
        eval.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for (what, times) in [("forward", &mut forward), ("backward", &mut backward), ("eval", &mut eval)] {
        times.sort_by(f64::total_cmp);
        println!("{name} batch {batch} {what}: median {:.1} ms, best {:.1} ms", times[times.len() / 2], times[0]);
    }
    Ok(())
}
