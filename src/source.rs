//! Labelled images on the command line: the options that `attar-infer` has, too.

pub(crate) use attar_infer::cli::data::source;
