//! Words on stderr, and nobody need hear them: a reader that went away, a full disk behind a redirection, a closed terminal end
//! no work. `eprintln!` panics there.

use std::fmt::Display;
use std::io::Write;

/// Says a line on stderr, or says it to nobody.
pub(crate) fn say(line: impl Display) {
    let line = format!("{line}\n"); // in one piece, so that lines of several processes do not mix
    let _ = std::io::stderr().write_all(line.as_bytes());
}
