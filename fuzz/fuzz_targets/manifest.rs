//! Feeds the loader of a bundle's manifest.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/suite/loaders/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (list::loader("manifest").load)(bytes);
});
