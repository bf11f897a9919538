//! What a device must hold: `examples/gate`, built and stripped as it is shipped, stays small; and it answers.

// clippy.toml allows these in test functions, not in what they share.
#![allow(clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Most bytes of the program with Rust's standard library, its network of 83 kB included.
const MOST: u64 = 1_000_000;

/// Most bytes of the one without.
const MOST_BARE: u64 = 700_000;

/// Bytes of an image of its network.
const IMAGE: usize = 32 * 32 * 3;

/// Builds it in a folder of this test's own.
fn gate(profile: &str, features: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sizes");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--locked", "--package", "attar-edge", "--example", "gate"])
        .args(["--profile", profile])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the example is built");
    target.join(profile).join("examples").join(format!("gate{}", std::env::consts::EXE_SUFFIX))
}

fn ask(program: &Path, arguments: &[&str], image: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may leave before it has read all of an image that is too long.
    let _ = child.stdin.take().expect("it is piped").write_all(image);
    child.wait_with_output().expect("the program ends")
}

/// The program has at most so many bytes, answers, and says what is wrong; gives its answer.
fn check(program: &Path, most: u64) -> String {
    let bytes = std::fs::metadata(program).expect("it was built").len();
    assert!(bytes <= most, "{} has {bytes} bytes, expected at most {most}", program.display());

    let image: Vec<u8> = (0..IMAGE).map(|at| (at * 37 % 251) as u8).collect();
    let answer = ask(program, &[], &image);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let text = String::from_utf8(answer.stdout).expect("it is text");
    let (label, logit) = text.trim_end().split_once(' ').expect("a class and its logit");
    assert!(label.parse::<usize>().is_ok_and(|label| label < 10), "{text}");
    assert!(logit.parse::<f32>().is_ok_and(f32::is_finite), "{text}");

    for (arguments, image, said) in [
        (&[][..], &image[1..], "3071 bytes, expected 3072"),
        (&[], &[image.as_slice(), &[0]].concat(), "more than 3072 bytes, expected 3072"),
        (&["no/such/file"], &image, "no/such/file: "),
        (&["one", "two"], &image, "usage: gate"),
    ] {
        let refused = ask(program, arguments, image);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.starts_with("error: ") && text.contains(said), "{text}");
    }
    text
}

#[test]
fn the_smallest_program_is_small_and_answers() {
    let answer = check(&gate("dist", &[]), MOST);
    if cfg!(target_os = "linux") {
        let bare = check(&gate("small", &["--no-default-features"]), MOST_BARE);
        assert_eq!(bare, answer, "without the standard library");
    }
}
