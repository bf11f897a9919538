//! Nothing is allocated after load: an allocator counts.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "engine/networks.rs"]
mod networks;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use attar_compile::{Options, compile};
use attar_edge::plan::Preprocessing;
use attar_edge::{Input, Level, Model, Session, Team, Threads};
use networks::{How, Random, network};

/// The system's allocator, which counts what it gives and takes.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's word.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's word.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls(work: impl FnOnce()) -> usize {
    let before = CALLS.load(Ordering::SeqCst);
    work();
    CALLS.load(Ordering::SeqCst) - before
}

/// One test, so that no other runs meanwhile.
#[test]
fn nothing_is_allocated_after_load() {
    assert!(calls(|| drop(std::hint::black_box(vec![1u8; 100]))) >= 2, "the allocator counts");
    let preprocessing = Some(Preprocessing { divisor: 255.0, mean: [0.5; 3], std: [0.25; 3] });
    for (seed, how) in (0..25).flat_map(|seed| [How::Floats, How::Bytes, How::Mixed].map(|how| (seed, how))) {
        let network = network(seed, how);
        let plan = compile(&network.graph, &network.weights, Options { preprocessing, source: [0; 32] }).unwrap();
        let mut random = Random(seed);
        let (floats, pixels) = (random.floats(network.elements()), random.bytes(network.elements()));
        let colours = network.graph.input_shape()[0] == 3;
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            let mut logits = vec![0.0; Model::load(&plan).unwrap().header().classes as usize];
            let team = Threads::new(2);
            team.run(&|_| {}); // a thread that starts allocates
            let sessions = [
                Session::new(plan.clone(), level).unwrap(),
                Session::with_team(plan.clone(), level, Box::new(team)).unwrap(),
            ];
            for mut session in sessions {
                let run = || {
                    session.run(Input::Floats(&floats), &mut logits).unwrap();
                    if colours {
                        session.run(Input::Rgb8(&pixels), &mut logits).unwrap();
                    }
                };
                assert_eq!(calls(run), 0, "a session, seed {seed}, {how:?}, {level}");
            }
            // Loading a plan takes memory of the caller alone.
            let memory = Model::load(&plan).unwrap().memory(level).unwrap();
            let (mut packed, mut arena) = (vec![0; memory.packed], vec![0; memory.arena]);
            let all = || {
                let model = Model::load(&plan).unwrap();
                let engine = model.prepare(level, &mut packed).unwrap();
                engine.run(Input::Floats(&floats), &mut logits, &mut arena).unwrap();
                if colours {
                    engine.run(Input::Rgb8(&pixels), &mut logits, &mut arena).unwrap();
                }
            };
            assert_eq!(calls(all), 0, "an engine, seed {seed}, {how:?}, {level}");
        }
    }
}
