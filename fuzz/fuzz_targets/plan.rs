//! Feeds the loader of the engine's plans, and the levels with what it takes: a plan that loads runs, to the same bits at each.

#![no_main]

#[allow(dead_code)]
#[path = "../../compile/tests/engine/tried.rs"]
mod tried;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tried::tried(bytes);
});
