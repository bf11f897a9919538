//! Chores of the project, run as `cargo xtask CHORE`.

mod cargo;
mod cuda;
mod dist;
mod docs;
mod neon;
mod nvrtc;
mod onnxruntime;
mod portable;
mod same_bits;
mod sanitize;
mod stubs;
mod test;
mod toolkit;
mod wheels;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Chores of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Fetch ONNX Runtime with pip, then run every test; ends with a count of what did not run and why.
    Test {
        /// Also run the largest networks of the parity matrix.
        #[arg(long)]
        full: bool,
        /// Passed on to the test programs, e.g. part of a test's name.
        #[arg(last = true)]
        rest: Vec<String>,
    },
    /// Read, run, write again and train every network of `tests/fixtures/onnx` and print the table of `docs/onnx.md`; takes an hour.
    OnnxZoo {
        /// Take the whole files `NETWORK.EXPORTER.onnx` of this folder instead.
        #[arg(long, value_name = "FOLDER")]
        files: Option<PathBuf>,
    },
    /// Write the pages of `docs/` that are made of the program: the reference of the recipe, its schema, a page for each loss.
    Docs {
        /// Write nothing; fail where a page is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Fetch the pinned ONNX Runtime library into `target/onnxruntime` and print its path.
    FetchOrt,
    /// Run the kernels' tests under the address sanitizer, at every SIMD level; needs a nightly toolchain.
    Sanitize,
    /// Run the engine's tests on AArch64 CPUs that qemu plays, one without `sdot` and one with it; says what is missing for that.
    Neon,
    /// Fetch NVIDIA's run-time compiler into `target/cuda` and print its folder.
    FetchNvrtc,
    /// Type-check the `cuda` and `cudnn` features on a machine without NVIDIA's tools, and compile the kernels with NVRTC.
    CheckCuda,
    /// Carry out ten short runs with a commit's program and with the tree's, and compare every value that came of them.
    SameBits {
        /// The commit, e.g. `HEAD~1`.
        base: String,
        /// The commit's `attar`, where it has been built before.
        #[arg(long, value_name = "FILE")]
        base_program: Option<PathBuf>,
        /// Only the runs of these names.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
    },
    /// Build the small `attar-infer`, which runs plans in Attar's own engine, stripped and with fat LTO; print its size, and
    /// fail where it is more than 3 MB.
    Dist {
        /// Build `attar-infer` with tract and ONNX Runtime, too, of any size.
        #[arg(long, conflicts_with = "cuda")]
        every_runtime: bool,
        /// Build `attar` with CUDA and cuDNN instead, so that it also starts without them (x86-64 Linux).
        #[arg(long)]
        cuda: bool,
        /// The Cargo profile; `small` of the small program and `dist` of the others without it. `release` builds faster.
        #[arg(long)]
        profile: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().chore {
        Chore::Test { full, rest } => test::run(full, &rest),
        Chore::OnnxZoo { files } => test::onnx_zoo(files.as_deref()),
        Chore::Docs { check } => docs::run(check),
        Chore::FetchOrt => onnxruntime::fetch().map(|path| println!("{}", path.display())),
        Chore::Sanitize => sanitize::run(),
        Chore::Neon => neon::run(),
        Chore::FetchNvrtc => nvrtc::fetch().map(|path| println!("{}", path.display())),
        Chore::CheckCuda => cuda::check(),
        Chore::SameBits { base, base_program, only } => same_bits::run(&base, base_program.as_deref(), &only),
        Chore::Dist { cuda: true, profile, .. } => dist::cuda(profile.as_deref().unwrap_or("dist")),
        Chore::Dist { every_runtime: true, profile, .. } => dist::every_runtime(profile.as_deref().unwrap_or("dist")),
        Chore::Dist { profile, .. } => dist::small(profile.as_deref().unwrap_or(dist::SMALL_PROFILE)),
    }
}
