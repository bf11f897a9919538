//! Feeds the loader of attacked images.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/suite/loaders/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (list::loader("attacks").load)(bytes);
});
