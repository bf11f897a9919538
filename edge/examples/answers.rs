//! What a plan answers, to the bit: for comparing CPUs, levels and emulators with each other.
//!
//!     answers PLAN IMAGES [LEVEL]
//!
//! IMAGES are pixels of red, green and blue, a byte each, image after image, of the size that the plan takes. Prints for each
//! a line: the class, and a hash (FNV-1a, 64 bits) of the bits of all logits.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use attar_edge::{Input, Level, Model};

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        }
    }
}

fn answer() -> Result<(), String> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), Some(images)) = (arguments.next(), arguments.next()) else {
        return Err("usage: answers PLAN IMAGES [LEVEL]".to_owned());
    };
    let level = match arguments.next() {
        None => Level::best(),
        Some(name) => {
            let name = name.to_string_lossy();
            Level::from_name(&name).ok_or_else(|| format!("{name}: no level is called so"))?
        }
    };
    let (path, images) = (Path::new(&path), Path::new(&images));
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (plan, pixels) = (read(path)?, read(images)?);
    let of_plan = |error: attar_edge::Error| format!("{}: {error}", path.display());

    let model = Model::load(&plan).map_err(of_plan)?;
    let memory = model.memory(level).map_err(of_plan)?;
    let (mut packed, mut arena) = (vec![0; memory.packed], vec![0; memory.arena]);
    let engine = model.prepare(level, &mut packed).map_err(of_plan)?;
    let size = model.header().input.iter().map(|size| *size as usize).product();
    if pixels.is_empty() || pixels.len() % size != 0 {
        return Err(format!("{}: {} bytes, expected a multiple of {size}", images.display(), pixels.len()));
    }
    let mut logits = vec![0.0f32; model.header().classes as usize];
    for image in pixels.chunks_exact(size) {
        engine.run(Input::Rgb8(image), &mut logits, &mut arena).map_err(of_plan)?;
        let bytes = logits.iter().flat_map(|logit| logit.to_bits().to_le_bytes());
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let class = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
        writeln!(std::io::stdout(), "{class} {hash:016x}").map_err(|error| format!("the answers: {error}"))?;
    }
    Ok(())
}
