//! What the verbs share: engine options, printing, progress.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use attar_infer::engine::{EngineKind, EngineSpec, OrtSearch};
use clap::Args;

/// Which runtime, and how to run it.
#[derive(Debug, Args)]
pub(crate) struct EngineOptions {
    /// Runtime: tract or ort (may be given more than once where several make sense).
    #[arg(long = "engine", value_name = "NAME")]
    engines: Vec<EngineKind>,
    /// Threads of a call.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// ONNX Runtime's library; also the variable `ORT_DYLIB_PATH`.
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
}

impl EngineOptions {
    /// The runtimes that were named.
    pub(crate) fn named(&self) -> Vec<EngineSpec> {
        self.engines.iter().map(|kind| self.spec(*kind)).collect()
    }

    /// One runtime with these options.
    pub(crate) fn spec(&self, kind: EngineKind) -> EngineSpec {
        EngineSpec { kind, threads: self.threads, ort: search(self.ort_library.clone()) }
    }
}

/// Where ONNX Runtime may be; a build in `target/release` finds what `cargo xtask` fetched to `target/onnxruntime`.
pub(crate) fn search(library: Option<PathBuf>) -> OrtSearch {
    let fetched = std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(2)?.join("onnxruntime")));
    OrtSearch { library, folders: fetched.into_iter().collect() }
}

/// Prints a result. A reader who has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says something on stderr, or to nobody: `eprint!` panics where the reader has gone.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says on stderr how far the work is: in place on a terminal, elsewhere a line every tenth.
pub(crate) fn progress(what: &str) -> impl FnMut(usize, usize) {
    let (what, terminal, mut said) = (what.to_owned(), std::io::stderr().is_terminal(), 0);
    move |done, all| {
        let tenth = done * 10 / all.max(1);
        if terminal {
            say(&format!("\r{what}: {done} of {all}{}", if done == all { "\n" } else { "" }));
        } else if tenth > said {
            said = tenth;
            say(&format!("{what}: {done} of {all}\n"));
        }
    }
}
