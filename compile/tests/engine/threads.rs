//! Several threads make the same bits, and pixels the same as their floats.

use attar_edge::{Input, Session, Team, Threads};

use crate::networks::{How, Random, network};
use crate::{PREPROCESSING, bits, compiled, levels, logits};

#[test]
fn threads_change_no_bit() {
    for how in [How::Floats, How::Bytes] {
        let (plan, elements) = large(how);
        let mut random = Random(5);
        for level in levels() {
            for threads in [2, 3] {
                let mut session = Session::with_team(plan.clone(), level, Box::new(Threads::new(threads))).unwrap();
                assert_eq!(session.threads(), threads);
                for _ in 0..12 {
                    let image = random.floats(elements);
                    let mut found = vec![0.0; session.model().header().classes as usize];
                    session.run(Input::Floats(&image), &mut found).unwrap();
                    assert_eq!(bits(&found), bits(&logits(&plan, level, Input::Floats(&image))), "{threads}, {level}");
                }
            }
        }
    }
}

/// A network with a layer of more than 2^20 products, below which one thread does it alone.
fn large(how: How) -> (Vec<u8>, usize) {
    let worth = |seed: u64| {
        let network = network(seed, how);
        let plan = compiled(&network);
        let model = attar_edge::Model::load(&plan).unwrap();
        let shared = model.steps().filter(|step| step.macs(&model) > 1 << 20).count();
        (shared > 0).then_some((plan, network.elements()))
    };
    (0..4000).find_map(worth).unwrap()
}

#[test]
fn teams_end_idle_or_not() {
    for workers in 0..4 {
        drop(Threads::new(workers));
        let team = Threads::new(workers);
        let counts: Vec<_> = (0..team.workers()).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        for round in 0..300 {
            if round % 100 == 99 {
                std::thread::sleep(std::time::Duration::from_millis(5)); // they fall asleep
            }
            team.run(&|worker| {
                counts[worker].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|count| count.load(std::sync::atomic::Ordering::Relaxed) == 300));
    }
}

#[test]
fn a_panic_in_a_piece_of_work_is_the_callers_and_the_team_goes_on() {
    let team = Threads::new(3);
    for guilty in 0..3 {
        let run = || team.run(&|worker| assert_ne!(worker, guilty, "on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        team.run(&|_| {});
    }
}

#[test]
fn pixels_are_the_floats_that_preprocessing_makes_of_them() {
    let mut tried = 0;
    for (seed, how) in (0..60).flat_map(|seed| [How::Floats, How::Bytes, How::Mixed].map(|how| (seed, how))) {
        let network = network(seed, how);
        let &[channels, height, width] = network.graph.input_shape() else { panic!("an image") };
        if channels != 3 {
            continue;
        }
        tried += 1;
        let (plan, pixels) = (compiled(&network), Random(seed).bytes(3 * height * width));
        let float = |at: usize| {
            let (channel, pixel) = (at / (height * width), at % (height * width));
            PREPROCESSING.value(channel, pixels[3 * pixel + channel])
        };
        let floats: Vec<f32> = (0..3 * height * width).map(float).collect();
        for level in levels() {
            let [a, b] = [Input::Rgb8(&pixels), Input::Floats(&floats)].map(|input| bits(&logits(&plan, level, input)));
            assert_eq!(a, b, "seed {seed}, {how:?}, {level}");
        }
        let model = attar_edge::Model::load(&plan).unwrap();
        let [a, b] = [Input::Rgb8(&pixels), Input::Floats(&floats)]
            .map(|input| bits(&attar_edge::reference::run(&model, input).unwrap()));
        assert_eq!(a, b, "seed {seed}, {how:?}, reference");
    }
    assert!(tried > 60);
}
