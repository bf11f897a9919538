//! Feeds the loader of CIFAR's batches for Python.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/suite/loaders/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (list::loader("cifar").load)(bytes);
});
