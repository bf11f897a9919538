//! A process that trains: its words passed on and its last error kept, its memory watched.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use attar_infer::bench::memory;

/// How a process ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The most memory it was seen to hold.
    pub(super) peak_memory_bytes: Option<u64>,
    /// What it said last of what went wrong.
    pub(super) error: Option<String>,
}

/// Runs a process to its end.
pub(super) fn watch(mut command: Command) -> Result<Ended> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let words = child.stderr.take().context("no pipe to the training")?;
    let listener = std::thread::spawn(|| pass_on(words, &mut std::io::stderr()));
    let mut peak_memory_bytes = None;
    let status = loop {
        peak_memory_bytes = peak_memory_bytes.max(memory::peak_of(child.id()));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let error = listener.join().unwrap_or_default();
    Ok(Ended { status, peak_memory_bytes, error })
}

/// Lines kept of an error.
const MOST_LINES: usize = 20;

/// Bytes read of one line; the rest comes as the next.
const MOST_BYTES: u64 = 1 << 16;

/// Passes every line on and keeps the last error: the line that begins with `error:` and what follows it. Nobody who listens
/// any more is no reason to stop.
fn pass_on(words: impl Read, to: &mut impl Write) -> Option<String> {
    let mut words = BufReader::new(words);
    let mut error: Option<Vec<String>> = None;
    loop {
        let mut line = Vec::new();
        match words.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let _ = to.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        match (text.strip_prefix("error: "), &mut error) {
            (Some(problem), _) => error = Some(vec![problem.to_owned()]),
            (None, Some(lines)) if lines.len() < MOST_LINES => lines.push(text.to_owned()),
            _ => {}
        }
    }
    error.map(|lines| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::pass_on;

    #[test]
    fn the_last_error_is_kept_and_every_word_passed_on() {
        let words = "epoch 1\nerror: the first\nepoch 2\nerror: no data\n  hint: look\n";
        let mut heard = Vec::new();
        assert_eq!(pass_on(words.as_bytes(), &mut heard).unwrap(), "no data\n  hint: look");
        assert_eq!(heard, words.as_bytes());
        assert_eq!(pass_on(&b"all is well \xff\n"[..], &mut Vec::new()), None);
        let long = format!("error: x\n{}", "more\n".repeat(99));
        assert_eq!(pass_on(long.as_bytes(), &mut Vec::new()).unwrap().lines().count(), 20);
        struct Gone;
        impl std::io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(pass_on(words.as_bytes(), &mut Gone).unwrap(), "no data\n  hint: look");
    }
}
