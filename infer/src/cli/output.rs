//! What leaves a verb: a result on stdout, words on stderr. Whoever stops listening ends nothing and causes no panic.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;

/// Prints a result and ends its line. A reader who has seen enough (`| head`) is no error.
///
/// # Errors
/// When stdout cannot be written for another reason, e.g. a full disk.
pub fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says a line on stderr, if anybody listens: a reader that went away, a full disk behind a redirection or a closed terminal
/// end no work. (`eprintln!` panics there.)
pub fn say(line: impl Display) {
    let line = format!("{line}\n"); // in one piece, so that lines of several processes do not mix
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Says on stderr what went wrong, if anybody listens.
pub fn complain(problem: &str) {
    say(format_args!("error: {problem}"));
}

/// Says on stderr how far the work is: in place on a terminal, elsewhere a line every tenth.
pub fn progress(what: &str) -> impl FnMut(usize, usize) + use<> {
    let (what, terminal, mut said) = (what.to_owned(), std::io::stderr().is_terminal(), 0);
    move |done, all| {
        let tenth = done * 10 / all.max(1);
        if terminal {
            let end = if done == all { "\n" } else { "" };
            let _ = write!(std::io::stderr(), "\r{what}: {done} of {all}{end}");
        } else if tenth > said {
            said = tenth;
            say(format_args!("{what}: {done} of {all}"));
        }
    }
}

/// JSON as it leaves the program: the fields of `value` after the version of their layout.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

impl<T: Serialize> Versioned<T> {
    /// Version 1.
    pub fn new(value: T) -> Self {
        Self { version: 1, value }
    }

    /// Prints it, indented.
    ///
    /// # Errors
    /// As [`print()`].
    pub fn print(&self) -> Result<()> {
        print(&serde_json::to_string_pretty(self)?)
    }
}

/// An error and its causes, each said once: the libraries' messages already hold what the system said.
pub fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}
