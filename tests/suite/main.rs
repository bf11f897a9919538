//! The inspector: rules of the house, the command line, the whole pipeline and the parity matrix.

mod parity;
mod support;
mod tidy;
