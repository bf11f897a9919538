//! Runs the real `attar` and judges what it said: exit code, stdout, stderr, never a panic.

use std::path::Path;
use std::process::{Command, Output};

/// What a finished program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// All of stdout.
    pub(crate) out: String,
    /// All of stderr.
    pub(crate) err: String,
    what: String,
}

/// The program, to be run in `folder`.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attar"));
    command.current_dir(folder).args(args);
    // Tests leave nothing in the cache of whoever runs them.
    command.env("ATTAR_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}

/// Runs `attar ARGS` in `folder`.
pub(crate) fn attar(folder: &Path, args: &[&str]) -> Said {
    let output = command(folder, args).output().expect("attar starts");
    Said::new(&output, args.join(" "))
}

impl Said {
    pub(crate) fn new(output: &Output, what: String) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("attar speaks UTF-8");
        let said = Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr), what };
        assert!(!said.err.contains("panicked"), "attar {} panicked:\n{}", said.what, said.err);
        said
    }

    /// Succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "attar {}\n{}\n{}", self.what, self.out, self.err);
        self
    }

    /// Ended with exit code 2, nothing on stdout, and all of `parts` in the message.
    #[track_caller]
    pub(crate) fn fails(self, parts: &[&str]) -> Self {
        let said = self.exits(2);
        assert_eq!(said.out, "", "attar {} failed and still printed a result", said.what);
        for part in parts {
            assert!(said.err.contains(part), "attar {} should say `{part}`:\n{}", said.what, said.err);
        }
        said
    }

    /// stdout, which is one JSON value and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("attar {}: {e}\n{}", self.what, self.out))
    }
}
