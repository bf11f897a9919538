//! What `gate` asks of a system, by Rust's standard library.

use std::fmt::Arguments;
use std::fs::File;
use std::io::{Read, Write};

/// What the system says.
pub(crate) type Problem = std::io::Error;

/// Memory, of zeros, for the rest of the program.
pub(crate) fn memory(bytes: usize) -> Option<&'static mut [u8]> {
    Some(Vec::leak(vec![0; bytes]))
}

/// Fills `into` from the file, or from standard input, and says how many bytes there were.
pub(crate) fn read(file: Option<&str>, into: &mut [u8]) -> Result<usize, Problem> {
    let mut source: Box<dyn Read> = match file {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(File::open(path)?),
    };
    let mut filled = 0;
    while filled < into.len() {
        match source.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(crate) fn print(text: Arguments<'_>) -> Result<(), Problem> {
    std::io::stdout().write_fmt(text)
}

pub(crate) fn complain(text: Arguments<'_>) -> Result<(), Problem> {
    std::io::stderr().write_fmt(text)
}
