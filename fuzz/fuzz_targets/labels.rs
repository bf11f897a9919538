//! Feeds the reader of class names that Python wrote.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/suite/loaders/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (list::loader("labels").load)(bytes);
});
