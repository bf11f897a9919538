//! Plans at any alignment, cut off, and tampered with: an error, or a plan that runs, at every level, to the reference's bits,
//! without a panic and without a byte beside its tensors.

use attar_edge::plan::{HEADER, SLACK, Step, Windowed};
use attar_edge::{Engine, Input, Level, Model, reference};

use crate::networks::{How, Network, Random, network};
use crate::{bits, compiled, exact, levels, logits};

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

/// Products, windows' pixels and elements of a run.
fn work(model: &Model<'_>) -> u64 {
    let tensors: Vec<_> = model.tensors().collect();
    let window = |Windowed { input, output, kernel, .. }: Windowed| {
        let [input, output] = [input, output].map(|number| tensors[number as usize]);
        let area = (0..2).map(|axis| u64::from(kernel[axis].min(input.size[axis]))).product::<u64>();
        (output.elements() as u64).saturating_mul(area)
    };
    let step = |step: Step| match step {
        Step::Max(windowed) | Step::Mean(windowed) => window(windowed),
        other => other.macs(model),
    };
    let elements = model.tensors().map(|tensor| tensor.bytes());
    model.steps().map(step).chain(elements).fold(0, u64::saturating_add)
}

fn run(engine: &Engine<'_>, image: &[f32], arena: &mut [u8]) -> Vec<f32> {
    let mut logits = vec![0.0; engine.model().header().classes as usize];
    engine.run(Input::Floats(image), &mut logits, arena).unwrap();
    logits
}

/// Loads what may be a plan; if it is one and not too much work, runs it. Whether it is one.
fn tried(bytes: &[u8]) -> bool {
    let Ok(model) = Model::load(bytes) else { return false };
    (0..model.steps().count() as u32).for_each(|step| assert!(model.name(step).len() < bytes.len()));
    let elements = model.header().input.iter().map(|size| *size as usize).product::<usize>();
    if work(&model) > 300_000 {
        return true;
    }
    let image = Random(3).floats(elements);
    let expected = exact(bytes).then(|| bits(&reference::run(&model, Input::Floats(&image)).unwrap()));
    for level in levels() {
        let memory = model.memory(level).unwrap();
        if memory.arena.max(memory.packed) > 1 << 22 {
            continue;
        }
        let (mut packed, mut arena) = (vec![0xa5; memory.packed], vec![0xa5; memory.arena]);
        let engine = model.prepare(level, &mut packed).unwrap();
        let found = run(&engine, &image, &mut arena);
        if let Some(expected) = &expected {
            assert_eq!(bits(&found), *expected, "{level}: {:?}", model.steps().collect::<Vec<_>>());
        }
    }
    true
}

#[test]
fn a_plan_runs_at_any_alignment() {
    for how in [How::Floats, How::Bytes, How::Mixed] {
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

#[test]
fn changed_bytes_are_refused_or_harmless() {
    let mut random = Random(11);
    let mut loaded = 0;
    for how in [How::Floats, How::Bytes, How::Mixed] {
        for (_, plan) in small(how).take(12) {
            let records = Model::load(&plan).unwrap().steps().count() * STEP + HEADER;
            for _ in 0..400 {
                let mut changed = plan.clone();
                // Records mostly, of which there are few among constants.
                let at = if random.one_in(4) { random.below(plan.len()) } else { random.below(records) };
                changed[at] = random.next() as u8;
                assert!(changed == plan || !Model::load(&changed).is_ok_and(|model| model.intact()));
                loaded += usize::from(tried(&changed));
            }
        }
    }
    assert!(loaded > 1000, "only {loaded} loaded: the runs say little");
}

#[test]
fn changed_words_of_records_are_refused_or_harmless() {
    let mut random = Random(12);
    let mut loaded = 0;
    for how in [How::Floats, How::Bytes, How::Mixed] {
        for (_, plan) in small(how).take(40) {
            let (tensors, steps) = {
                let model = Model::load(&plan).unwrap();
                (model.tensors().count(), model.steps().count())
            };
            let words = (HEADER + tensors * TENSOR + steps * STEP) / 4;
            for _ in 0..500 {
                let mut changed = plan.clone();
                for _ in 0..random.within(1, 3) {
                    // The head's sizes, too, but not what says that it is a plan.
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
                loaded += usize::from(tried(&changed));
            }
        }
    }
    assert!(loaded > 3000, "only {loaded} loaded: the runs say little");
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
    for (seed, how) in (0..150).flat_map(|seed| [(seed, How::Floats), (seed, How::Bytes)]) {
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
