//! The smallest useful program: a network inside, the bytes of one image in, its class out.
//!
//!     gate [FILE] < IMAGE
//!
//! IMAGE, or FILE, is 32 x 32 pixels of red, green and blue, a byte each, row by row: 3072 bytes, as `convert photo.png -resize
//! 32x32! -depth 8 rgb:-` makes them. Out comes a line, the number of the class and its logit to three places. Exit codes:
//! 0 answered, 2 any error.
//!
//! `gate.attar` is the int8 ResNet-8 of `benches/edge/make.py`, whose weights are drawn from a seed, after
//!
//!     attar compile resnet8-qdq.onnx --preprocessing preprocessor_config.json --out gate.attar
//!
//! where the configuration says `image_mean` 0.5 and `image_std` 0.25 of each channel, 32 x 32, and bytes divided by 255. Put
//! a plan of your own in its place: images of its size are asked for then.
//!
//! On Linux, `cargo build --package attar-edge --example gate --no-default-features --profile small` makes it without Rust's
//! standard library, as a device may have to: a third less.
#![cfg_attr(all(not(feature = "std"), panic = "abort", target_os = "linux"), no_std, no_main)]

use core::fmt;

use attar_edge::{Input, Level, Model};

#[cfg(all(not(feature = "std"), panic = "abort", target_os = "linux"))]
#[allow(unsafe_code)]
#[path = "bare.rs"]
mod system;
#[cfg(not(all(not(feature = "std"), panic = "abort", target_os = "linux")))]
#[path = "hosted.rs"]
mod system;

/// The network, at whatever address the linker gives it.
static PLAN: &[u8] = include_bytes!("gate.attar");

/// Most classes that it may have.
const MOST_CLASSES: usize = 1024;

/// Why there is no answer.
enum Problem<'a> {
    /// The plan inside does not run.
    Plan(attar_edge::Error),
    /// Its memory is not to be had.
    Memory(usize),
    /// The file was not read, or the answer not written.
    System(&'a str, system::Problem),
    /// The image has another size: its origin, its bytes, what it should be.
    Size(&'a str, usize, [u32; 3]),
    /// The command line.
    Usage,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => write!(f, "the plan inside: {error}"),
            Self::Memory(bytes) => write!(f, "no memory of {bytes} bytes"),
            Self::System(what, problem) => write!(f, "{what}: {problem}"),
            Self::Size(from, found, [channels, height, width]) => {
                let expected = length([*channels, *height, *width]);
                match *found > expected {
                    true => write!(f, "{from}: more than {expected} bytes")?,
                    false => write!(f, "{from}: {found} bytes")?,
                }
                write!(
                    f,
                    ", expected {expected}, {width} x {height} pixels of {channels}\n  \
                     hint: `convert photo.png -resize {width}x{height}! -depth 8 rgb:-` makes them"
                )
            }
            Self::Usage => f.write_str("more than one argument\n  usage: gate [FILE] < IMAGE"),
        }
    }
}

impl From<attar_edge::Error> for Problem<'_> {
    fn from(error: attar_edge::Error) -> Self {
        Self::Plan(error)
    }
}

fn length(size: [u32; 3]) -> usize {
    size.iter().map(|size| *size as usize).product()
}

fn memory(bytes: usize) -> Result<&'static mut [u8], Problem<'static>> {
    system::memory(bytes).ok_or(Problem::Memory(bytes))
}

/// Answers for what the command line names, and says so; gives the exit code.
fn run(arguments: &[&str]) -> u8 {
    match answer(arguments) {
        Ok(()) => 0,
        Err(problem) => {
            // With stderr closed there is no one to tell; the exit code says it all the same.
            let _ = system::complain(format_args!("error: {problem}\n"));
            2
        }
    }
}

fn answer<'a>(arguments: &[&'a str]) -> Result<(), Problem<'a>> {
    let model = Model::load(PLAN)?;
    let level = Level::best();
    let needed = model.memory(level)?;
    let engine = model.prepare(level, memory(needed.packed)?)?;

    let header = model.header();
    let (from, file) = match arguments {
        [] => ("standard input", None),
        [file] => (*file, Some(*file)),
        _ => return Err(Problem::Usage),
    };
    let expected = length(header.input);
    // One more than is wanted tells an image that is too long.
    let image = memory(expected + 1)?;
    let found = system::read(file, image).map_err(|problem| Problem::System(from, problem))?;
    if found != expected {
        return Err(Problem::Size(from, found, header.input));
    }
    let mut logits = [0.0; MOST_CLASSES];
    let most = attar_edge::Error::Plan("it has more than 1024 classes");
    let logits = logits.get_mut(..header.classes as usize).ok_or(most)?;
    engine.run(Input::Rgb8(&image[..expected]), logits, memory(needed.arena)?)?;

    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let (label, logit) = best.ok_or(attar_edge::Error::Plan("it has no classes"))?;
    // To thousandths, by whole numbers: what formats floats is a fiftieth of the program.
    let (sign, logit) = if *logit < 0.0 { ("-", -logit) } else { ("", *logit) };
    let logit = (1000.0 * logit + 0.5) as u64;
    let (whole, part) = (logit / 1000, logit % 1000);
    system::print(format_args!("{label} {sign}{whole}.{part:03}\n"))
        .map_err(|problem| Problem::System("the answer", problem))
}

/// Where there is a standard library.
#[cfg(not(all(not(feature = "std"), panic = "abort", target_os = "linux")))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|one| one.to_string_lossy().into_owned()).collect();
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).into()
}
