//! Loads and runs what may be a plan: what the tests here feed, and `fuzz/fuzz_targets/plan.rs`.

use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Function, Kind, Step, Tensor, Windowed};
use attar_edge::{Input, Level, Model, reference};

/// The levels that this CPU has.
pub(crate) fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.available())
}

pub(crate) fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Whether a plan computes in integers alone, so that every level must make the same bits.
pub(crate) fn exact(plan: &[u8]) -> bool {
    let model = Model::load(plan).unwrap();
    let tensors: Vec<_> = model.tensors().collect();
    let floats = |step: &Step| step.output().is_some_and(|at| tensors[at as usize].kind == Kind::Floats);
    let moves =
        |step: &Step| matches!(step, Step::Load { .. } | Step::Dequantize { .. } | Step::Copy(_) | Step::Max(_));
    model.steps().all(|step| !floats(&step) || moves(&step) || scales(&tensors, &step))
}

/// Whether a step makes floats of bytes, and no function of them that rounds.
pub(crate) fn scales(tensors: &[Tensor], step: &Step) -> bool {
    let Step::Convolution(layer) = step else { return false };
    let [input, output] = [layer.input, layer.output].map(|number| tensors[number as usize].kind);
    let clamps = matches!(layer.tail.function, Function::Floats(FloatFunction::Clamp { .. }));
    input != Kind::Floats && output == Kind::Floats && clamps
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

/// Loads what may be a plan; if it is one and not too much work, runs it. Whether it is one.
pub(crate) fn tried(bytes: &[u8]) -> bool {
    let Ok(model) = Model::load(bytes) else { return false };
    (0..model.steps().count() as u32).for_each(|step| assert!(model.name(step).len() < bytes.len()));
    let elements = model.header().input.iter().map(|size| *size as usize).product::<usize>();
    if work(&model) > 300_000 {
        return true;
    }
    let image: Vec<f32> = (0..elements).map(|at| (at * 37 % 101) as f32 / 25.0 - 2.0).collect();
    let pixels: Vec<u8> = (0..elements).map(|at| (at * 37 % 256) as u8).collect();
    let colours = model.header().preprocessing.is_some() && model.header().input[0] == 3;
    let inputs = [Some(Input::Floats(&image)), Some(Input::Rgb8(&pixels)).filter(|_| colours)];
    let exact = exact(bytes);
    for input in inputs.into_iter().flatten() {
        let expected = exact.then(|| bits(&reference::run(&model, input).unwrap()));
        for level in levels() {
            let memory = model.memory(level).unwrap();
            if memory.arena.max(memory.packed) > 1 << 22 {
                continue;
            }
            let (mut packed, mut arena) = (vec![0xa5; memory.packed], vec![0xa5; memory.arena]);
            let engine = model.prepare(level, &mut packed).unwrap();
            let mut found = vec![0.0; model.header().classes as usize];
            engine.run(input, &mut found, &mut arena).unwrap();
            if let Some(expected) = &expected {
                assert_eq!(bits(&found), *expected, "{level}: {:?}", model.steps().collect::<Vec<_>>());
            }
        }
    }
    true
}
