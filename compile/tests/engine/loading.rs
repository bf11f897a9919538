//! Plans at any alignment, cut off, and tampered with: an error, or a plan that runs, at every level, to the reference's bits,
//! without a panic and without a byte beside its tensors.

use std::sync::atomic::{AtomicU64, Ordering};

use attar_edge::plan::{HEADER, SLACK};
use attar_edge::{Engine, Input, Level, Model};

use crate::networks::{How, Network, Random, network};
use crate::tried::tried;
use crate::{bits, compiled, levels, logits};

/// Bytes of records of tensors and of steps.
const TENSOR: usize = 48;
const STEP: usize = 128;

/// Small networks, so that the slow reference is quick.
fn small(how: How) -> impl Iterator<Item = (Network, Vec<u8>)> {
    (5000..).map(move |seed| network(seed, how)).map(|network| (compiled(&network), network)).filter_map(
        |(plan, network)| {
            let macs = Model::load(&plan).unwrap().macs();
            (macs < 40_000).then_some((network, plan))
        },
    )
}

fn run(engine: &Engine<'_>, image: &[f32], arena: &mut [u8]) -> Vec<f32> {
    let mut logits = vec![0.0; engine.model().header().classes as usize];
    engine.run(Input::Floats(image), &mut logits, arena).unwrap();
    logits
}

#[test]
fn a_plan_runs_at_any_alignment() {
    for how in [How::Floats, How::Bytes, How::Mixed, How::Logits] {
        let (network, plan) = small(how).next().unwrap();
        let image = Random(1).floats(network.elements());
        let mut buffer = vec![0xee; plan.len() + 128];
        for level in levels() {
            let expected = bits(&logits(&plan, level, Input::Floats(&image)));
            for offset in 0..64 {
                buffer.fill(0xee);
                buffer[offset..][..plan.len()].copy_from_slice(&plan);
                let model = Model::load(&buffer[offset..][..plan.len()]).unwrap();
                assert!(model.intact());
                let memory = model.memory(level).unwrap();
                let mut room = vec![0; memory.packed + memory.arena + 128];
                let (packed, arena) = room[offset..].split_at_mut(memory.packed);
                let engine = model.prepare(level, packed).unwrap();
                assert_eq!(bits(&run(&engine, &image, &mut arena[..memory.arena])), expected, "{level} at {offset}");
            }
        }
    }
}

#[test]
fn a_plan_that_is_cut_off_is_refused() {
    let (_, plan) = small(How::Bytes).next().unwrap();
    assert!((0..plan.len()).all(|length| Model::load(&plan[..length]).is_err()));
    assert!(Model::load(&[&plan[..], &[0]].concat()).is_err());
    // Also where its header says so.
    for length in HEADER..plan.len() {
        let mut cut = plan[..length].to_vec();
        cut[16..24].copy_from_slice(&(length as u64).to_le_bytes());
        assert!(!tried(&cut), "{length}");
    }
}

/// A byte of a plan becomes another: of its records mostly, of which there are few among constants.
fn changed_byte(plan: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = plan.to_vec();
    let records = records(plan);
    let at = if random.one_in(4) { random.below(plan.len()) } else { random.below(records) };
    changed[at] = random.next() as u8;
    changed
}

/// Some words of a plan's head and records become others, but for those that say that it is a plan.
fn changed_words(plan: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = plan.to_vec();
    let words = records(plan) / 4;
    for _ in 0..random.within(1, 3) {
        let at = 4 * random.within(5, words - 1);
        let word = u32::from_le_bytes(changed[at..at + 4].try_into().unwrap());
        let other = 4 * random.below(words);
        let other = u32::from_le_bytes(changed[other..other + 4].try_into().unwrap());
        let word = match random.below(9) {
            0 => word.wrapping_add(1),
            1 => word.wrapping_sub(1),
            2 => random.within(0, 9) as u32,
            3 => 1 << random.below(32),
            4 => u32::MAX >> random.below(32),
            5 => (random.unit() * 1e-3).to_bits(),
            6 => f32::powi(10.0, random.below(77) as i32 - 38).to_bits(),
            7 => word ^ 1 << random.below(32),
            _ => other,
        };
        changed[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    changed
}

/// Bytes of a plan's head and records.
fn records(plan: &[u8]) -> usize {
    let model = Model::load(plan).unwrap();
    HEADER + model.tensors().count() * TENSOR + model.steps().count() * STEP
}

/// How many of `each` changes of each of some plans are still plans.
fn harmless(plans: usize, each: usize, seed: u64, change: impl Fn(&[u8], &mut Random) -> Vec<u8>) -> usize {
    let mut random = Random(seed);
    let mut loaded = 0;
    for how in [How::Floats, How::Bytes, How::Mixed, How::Logits] {
        for (_, plan) in small(how).take(plans) {
            for _ in 0..each {
                loaded += usize::from(tried(&change(&plan, &mut random)));
            }
        }
    }
    loaded
}

#[test]
fn changed_bytes_are_seen_and_refused_or_harmless() {
    let loaded = harmless(12, 400, 11, |plan, random| {
        let changed = changed_byte(plan, random);
        assert!(changed == plan || !Model::load(&changed).is_ok_and(|model| model.intact()));
        changed
    });
    assert!(loaded > 1000, "only {loaded} loaded: the runs say little");
}

#[test]
fn changed_words_of_records_are_refused_or_harmless() {
    let loaded = harmless(30, 300, 12, changed_words);
    assert!(loaded > 1500, "only {loaded} loaded: the runs say little");
}

#[test]
#[ignore = "ten million plans, an hour of one core: the two above, longer; with --nocapture it says how far it is"]
fn ten_million_changes() {
    const PARTS: u64 = 75;
    let part = AtomicU64::new(0);
    let work = || {
        loop {
            let at = part.fetch_add(1, Ordering::Relaxed);
            if at >= PARTS {
                return;
            }
            let bytes = harmless(100, 70, 1000 + at, changed_byte);
            let words = harmless(400, 66, 2000 + at, changed_words);
            println!(
                "part {at} of {PARTS}: of 28,000 with a changed byte {bytes} load, of 105,600 with changed words {words}"
            );
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}

/// The plan with each of its tensors far from the others, and where they lie.
fn spread(plan: &[u8]) -> (Vec<u8>, Vec<[usize; 2]>) {
    const GAP: u64 = 4096;
    let (mut plan, mut places, mut at) = (plan.to_vec(), Vec::new(), GAP);
    let sizes: Vec<u64> = Model::load(&plan).unwrap().tensors().map(|tensor| tensor.bytes()).collect();
    for (number, bytes) in sizes.into_iter().enumerate() {
        plan[HEADER + number * TENSOR + 32..][..8].copy_from_slice(&at.to_le_bytes());
        places.push([at as usize, (at + bytes) as usize]);
        at = (at + bytes + SLACK + GAP).next_multiple_of(64);
    }
    plan[24..32].copy_from_slice(&at.to_le_bytes());
    (plan, places)
}

#[test]
fn nothing_is_written_beside_tensors() {
    for (seed, how) in (0..150).flat_map(|seed| [How::Floats, How::Bytes, How::Logits].map(|how| (seed, how))) {
        let network = network(9000 + seed, how);
        let compact = compiled(&network);
        let (plan, places) = spread(&compact);
        let (model, image) = (Model::load(&plan).unwrap(), Random(seed).floats(network.elements()));
        let inside = |at: usize| places.iter().any(|[start, end]| (*start..*end).contains(&at));
        let outside: Vec<usize> = (0..model.header().arena as usize).filter(|at| !inside(*at)).collect();
        for level in levels() {
            let memory = model.memory(level).unwrap();
            let expected = bits(&logits(&compact, level, Input::Floats(&image)));
            for canary in [0x11, 0xff] {
                let (mut packed, mut arena) = (vec![0; memory.packed], vec![canary; memory.arena]);
                let engine = model.prepare(level, &mut packed).unwrap();
                let found = run(&engine, &image, &mut arena);
                assert_eq!(bits(&found), expected, "seed {seed}, {how:?}, {level}: it reads beside its tensors");
                let arena = &arena[arena.as_ptr().align_offset(64)..];
                let hit = outside.iter().find(|at| arena[**at] != canary);
                assert_eq!(hit, None, "seed {seed}, {how:?}, {level}: {places:?}");
            }
        }
    }
}

#[test]
fn absurd_working_memory_is_said_and_not_taken() {
    let (_, mut plan) = small(How::Bytes).next().unwrap();
    plan[24..32].copy_from_slice(&(1u64 << 36).to_le_bytes());
    let model = Model::load(&plan).unwrap();
    assert!(model.memory(Level::Scalar).unwrap().arena > 1 << 36);
    assert!(model.memory_for(Level::Scalar, usize::MAX).is_ok());
    let mut packed = vec![0; model.memory(Level::Scalar).unwrap().packed];
    let engine = model.prepare(Level::Scalar, &mut packed).unwrap();
    let mut logits = vec![0.0; model.header().classes as usize];
    let image = vec![0.0; model.header().input.iter().map(|size| *size as usize).product()];
    let error = engine.run(Input::Floats(&image), &mut logits, &mut [0; 999]).unwrap_err();
    assert!(error.to_string().contains("working memory: 999"), "{error}");
    plan[24..32].copy_from_slice(&((1u64 << 36) + 64).to_le_bytes());
    assert!(Model::load(&plan).is_err());
    plan[24..32].copy_from_slice(&((1u64 << 35) + 1).to_le_bytes());
    assert!(Model::load(&plan).unwrap_err().to_string().contains("multiple of 64"));
}
