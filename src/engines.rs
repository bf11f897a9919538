//! Which runtimes a verb uses: the options that `attar-infer` has, too.

pub(crate) use attar_infer::cli::engines::{EngineArgs, OrtArgs};
