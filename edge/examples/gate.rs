//! The smallest useful program: a network inside, the bytes of one image in, its class out.
//!
//!     gate [FILE] < IMAGE
//!
//! IMAGE, or FILE, is 32 x 32 pixels of red, green and blue, a byte each, row by row: 3072 bytes, as `convert photo.png -resize
//! 32x32! -depth 8 rgb:-` makes them. Out comes a line, the number of the class and its logit. Exit codes: 0 answered, 2 any
//! error.
//!
//! `gate.attar` is the int8 ResNet-8 of `benches/edge/make.py`, whose weights are drawn from a seed, after
//!
//!     attar compile resnet8-qdq.onnx --preprocessing preprocessor_config.json --out gate.attar
//!
//! where the configuration says `image_mean` 0.5 and `image_std` 0.25 of each channel, 32 x 32, and bytes divided by 255. Put
//! a plan of your own in its place: images of its size are asked for then.

use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;

use attar_edge::{Input, Level, Model};

/// The network, at whatever address the linker gives it.
static PLAN: &[u8] = include_bytes!("gate.attar");

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // With stderr closed there is no one to tell; the exit code says it all the same.
            let _ = writeln!(std::io::stderr(), "error: {problem}");
            ExitCode::from(2)
        }
    }
}

fn answer() -> Result<(), String> {
    let in_plan = |error: attar_edge::Error| format!("the plan inside: {error}");
    let model = Model::load(PLAN).map_err(in_plan)?;
    let level = Level::best();
    let memory = model.memory(level).map_err(in_plan)?;
    let (mut packed, mut arena) = (vec![0; memory.packed], vec![0; memory.arena]);
    let engine = model.prepare(level, &mut packed).map_err(in_plan)?;

    let header = model.header();
    let image = image(header.input)?;
    let mut logits = vec![0.0; header.classes as usize];
    engine.run(Input::Rgb8(&image), &mut logits, &mut arena).map_err(in_plan)?;

    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let (label, logit) = best.ok_or("the plan inside: it has no classes")?;
    writeln!(std::io::stdout(), "{label} {logit}").map_err(|error| format!("the answer: {error}"))
}

/// The image that was named, or the one on standard input.
fn image([channels, height, width]: [u32; 3]) -> Result<Vec<u8>, String> {
    let mut arguments = std::env::args_os().skip(1);
    let (named, more) = (arguments.next(), arguments.next());
    if more.is_some() {
        return Err("more than one argument\n  usage: gate [FILE] < IMAGE".to_owned());
    }
    let (source, from): (Box<dyn Read>, String) = match named {
        None => (Box::new(std::io::stdin()), "standard input".to_owned()),
        Some(path) => {
            let from = path.to_string_lossy().into_owned();
            (Box::new(File::open(path).map_err(|error| format!("{from}: {error}"))?), from)
        }
    };
    let expected = [channels, height, width].iter().map(|size| u64::from(*size)).product::<u64>();
    let mut bytes = Vec::new();
    // One more than is wanted tells an image that is too long.
    source.take(expected + 1).read_to_end(&mut bytes).map_err(|error| format!("{from}: {error}"))?;
    match bytes.len() as u64 {
        length if length == expected => Ok(bytes),
        length => {
            let found = if length > expected { "more".to_owned() } else { format!("{length} bytes") };
            Err(format!(
                "{from}: {found}, expected {expected} bytes, {width} x {height} pixels of {channels}\n  \
                 hint: `convert photo.png -resize {width}x{height}! -depth 8 rgb:-` makes them"
            ))
        }
    }
}
