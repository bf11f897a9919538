//! How long a device waits for its first answer: the file is read, checked, packed for this CPU and run once on a black image.
//!
//!     start PLAN [LEVEL]
//!
//! Prints each part in microseconds, of this one start: the first time that memory is touched and code is read is in it. Then
//! the shortest of 200 further runs.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use attar_edge::{Input, Level, Model};

fn main() -> ExitCode {
    match started() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        }
    }
}

fn started() -> Result<(), String> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("no plan\n  usage: start PLAN [LEVEL]")?;
    let level = match arguments.next() {
        None => Level::best(),
        Some(name) => {
            let name = name.to_string_lossy();
            Level::from_name(&name).ok_or_else(|| format!("{name}: no level is called so"))?
        }
    };
    let path = Path::new(&path);
    let of_plan = |error: attar_edge::Error| format!("{}: {error}", path.display());

    let start = Instant::now();
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let read = start.elapsed();
    let model = Model::load(&bytes).map_err(of_plan)?;
    let loaded = start.elapsed();
    let memory = model.memory(level).map_err(of_plan)?;
    let (mut packed, mut arena) = (vec![0; memory.packed], vec![0; memory.arena]);
    let engine = model.prepare(level, &mut packed).map_err(of_plan)?;
    let prepared = start.elapsed();
    let floats = model.header().input.iter().map(|size| *size as usize).product();
    let (pixels, image) = (vec![0; floats], vec![0.0; floats]);
    let input = match model.header().preprocessing {
        Some(_) => Input::Rgb8(&pixels),
        None => Input::Floats(&image),
    };
    let mut logits = vec![0.0; model.header().classes as usize];
    engine.run(input, &mut logits, &mut arena).map_err(of_plan)?;
    let answered = start.elapsed();

    let mut best = Duration::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        engine.run(input, &mut logits, &mut arena).map_err(of_plan)?;
        best = best.min(start.elapsed());
    }
    let micros = |time: Duration| 1e6 * time.as_secs_f64();
    let text = format!(
        "{level}: read {:.0} us, load {:.0}, prepare {:.0}, first run {:.0}: {:.0} us; later runs {:.0} us",
        micros(read),
        micros(loaded - read),
        micros(prepared - loaded),
        micros(answered - prepared),
        micros(answered),
        micros(best)
    );
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("the answer: {error}"))
}
