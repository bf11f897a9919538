//! tract: a pure Rust runtime, linked in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::open::FREE_SIZES;
use super::outputs::{Given, per_sample};
use super::{Engine, Output, Signature};
use crate::caught::{PANICKED, caught};
use crate::error::{Error, Result};

/// tract's version; the root manifest pins exactly this one.
pub(super) const VERSION: &str = "0.23.9";

const NAME: &str = "tract";

/// Plans kept, one a batch size: a whole data set needs two (the batch and the rest), a session of single images one.
const MOST_PLANS: usize = 4;

/// A model and its plans, each optimised for one batch size, because tract plans best when every number is known.
pub(super) struct Tract {
    model: InferenceModel,
    signature: Signature,
    outputs: Vec<Output>,
    threads: usize,
    plans: BTreeMap<usize, Arc<TypedSimplePlan>>,
}

impl Tract {
    pub(super) fn open(
        model: &[u8],
        origin: &Path,
        threads: usize,
        size: Option<[usize; 3]>,
        taps: usize,
    ) -> Result<Self> {
        let failed =
            |problem: String| Error::Engine { engine: NAME, problem: format!("{}: {problem}", origin.display()) };
        guarded(|| {
            let onnx = tract_onnx::onnx().with_ignore_value_info(true);
            let proto = onnx.proto_model_for_read(&mut &model[..]).map_err(|e| format!("not an ONNX file: {e:#}"))?;
            let names = check_proto(&proto)?;
            let model = onnx.model_for_proto_model(&proto).map_err(|e| format!("{e:#}"))?;
            let (input, fixed_batch) = input_shape(&model, size)?;
            let n = fixed_batch.unwrap_or(1);
            let plan = plan(&model, input, n)?;
            let signature = Signature { input, classes: classes(&plan, n, taps)?, fixed_batch };
            let outputs = outputs(&plan, signature, names, taps)?;
            let plans = BTreeMap::from([(n, plan)]);
            Ok(Self { model, signature, outputs, threads, plans })
        })
        .map_err(failed)
    }

    fn plan_for(&mut self, n: usize) -> Result<Arc<TypedSimplePlan>> {
        if let Some(plan) = self.plans.get(&n) {
            return Ok(Arc::clone(plan));
        }
        let made = guarded(|| plan(&self.model, self.signature.input, n)).map_err(failed)?;
        while self.plans.len() >= MOST_PLANS {
            self.plans.pop_first();
        }
        self.plans.insert(n, Arc::clone(&made));
        Ok(made)
    }
}

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn signature(&self) -> Signature {
        self.signature
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn threads(&self, n: usize) -> usize {
        match self.signature.fixed_batch {
            Some(_) => 1,
            None => n.max(1).div_ceil(n.max(1).div_ceil(self.threads)),
        }
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        let (signature, outputs) = (self.signature, self.outputs.clone());
        signature.split(NAME, &outputs, batch, n, |part, n| {
            let share = if signature.fixed_batch.is_some() { n } else { n.div_ceil(self.threads) };
            let shares: Vec<(Arc<TypedSimplePlan>, &[f32], usize)> = part
                .chunks(share * signature.input_len())
                .map(|images| {
                    let count = images.len() / signature.input_len();
                    Ok((self.plan_for(count)?, images, count))
                })
                .collect::<Result<_>>()?;
            let answers = std::thread::scope(|scope| {
                let (first, others) = shares.split_first()?;
                let others: Vec<_> = others.iter().map(|job| scope.spawn(|| run_plan(signature, job))).collect();
                let mut answers = vec![run_plan(signature, first)];
                answers.extend(
                    others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err("panicked".to_owned()))),
                );
                Some(answers)
            });
            let answers: std::result::Result<Vec<_>, String> = answers.into_iter().flatten().collect();
            let mut all = vec![Vec::new(); outputs.len()];
            for given in answers.map_err(failed)? {
                all.iter_mut().zip(given).for_each(|(all, (_, values))| all.extend(values));
            }
            Ok(all)
        })
    }
}

fn failed(problem: String) -> Error {
    Error::Engine { engine: NAME, problem }
}

/// Turns a panic into an error: tract indexes and unwraps on what a file says in more places than can be checked before
/// (a Flatten beyond the last axis, in 0.23.9), and a bad file must not end the program. What it worked on is dropped.
pub(super) fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    caught(work).unwrap_or_else(|said| Err(format!("cannot work with this model ({PANICKED}: {said})")))
}

/// tract is tested against operator sets 9 to 18 and only warns in its log about others. Sets 19 to 21 add number types to
/// the operators of image classifiers, and dilated average pooling, which [`check_proto`] refuses.
const OPERATOR_SETS: std::ops::RangeInclusive<i64> = 9..=21;

/// Refuses what tract would otherwise answer with a panic or a guess: a file without a graph, an operator set it does not
/// know, an output that nothing makes. Gives the names of the outputs.
pub(super) fn check_proto(proto: &pb::ModelProto) -> std::result::Result<Vec<String>, String> {
    let graph = proto.graph.as_ref().ok_or("an ONNX file without a graph")?;
    let own = proto.opset_import.iter().find(|opset| opset.domain.is_empty() || opset.domain == "ai.onnx");
    let version = own.ok_or("an ONNX file that does not say its operator set")?.version;
    if !OPERATOR_SETS.contains(&version) {
        let (first, last) = (OPERATOR_SETS.start(), OPERATOR_SETS.end());
        return Err(format!(
            "operator set {version}, expected {first} to {last}\n  hint: export it with \
             another, `torch.onnx.export(..., opset_version=17)` or, by us, `--opset 17`"
        ));
    }
    let dilated = |node: &&pb::NodeProto| {
        let dilates =
            |attribute: &pb::AttributeProto| attribute.name == "dilations" && attribute.ints.iter().any(|d| *d != 1);
        node.op_type == "AveragePool" && node.attribute.iter().any(dilates)
    };
    if let Some(node) = graph.node.iter().find(dilated) {
        return Err(format!("`{}` is a dilated average pooling, which tract would run undilated", node.name));
    }
    let made = graph.node.iter().flat_map(|node| node.output.iter());
    let given = graph.input.iter().map(|input| &input.name).chain(graph.initializer.iter().map(|array| &array.name));
    let known: std::collections::BTreeSet<&String> = made.chain(given).collect();
    match graph.output.iter().find(|output| !known.contains(&output.name)) {
        Some(output) => Err(format!("no node makes the output `{}`", output.name)),
        None => Ok(graph.output.iter().map(|output| output.name.clone()).collect()),
    }
}

/// `[C, H, W]` and the batch size if the file fixes it; sizes that the file leaves free are those of `size`.
fn input_shape(
    model: &InferenceModel,
    size: Option<[usize; 3]>,
) -> std::result::Result<([usize; 3], Option<usize>), String> {
    let inputs = model.input_outlets().map_err(|e| format!("{e:#}"))?;
    if inputs.len() != 1 {
        return Err(format!("{} inputs, expected one image", inputs.len()));
    }
    let fact = model.input_fact(0).map_err(|e| format!("{e:#}"))?;
    let shown = fact.format_dt_shape();
    if fact.datum_type.concretize() != Some(f32::datum_type()) {
        return Err(format!("the input is {shown}, expected 32-bit floats"));
    }
    let wrong = || format!("the input is {shown}, expected [N, C, H, W] with C, H and W known{FREE_SIZES}");
    let dims: Vec<Option<usize>> =
        fact.shape.dims().map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok())).collect();
    let &[n, c, h, w] = &dims[..] else { return Err(wrong()) };
    let known = |at: usize, dim: Option<usize>| dim.or(size.map(|size| size[at]));
    match (known(0, c), known(1, h), known(2, w), fact.shape.is_open()) {
        (Some(c), Some(h), Some(w), false) if c * h * w > 0 && n != Some(0) => Ok(([c, h, w], n)),
        _ => Err(wrong()),
    }
}

fn plan(model: &InferenceModel, input: [usize; 3], n: usize) -> std::result::Result<Arc<TypedSimplePlan>, String> {
    let [c, h, w] = input;
    let planned = model.clone().with_input_fact(0, f32::fact([n, c, h, w]).into()).and_then(|model| {
        let typed = model.into_optimized()?;
        typed.into_runnable()
    });
    planned.map_err(|e| format!("{e:#}"))
}

fn classes(plan: &TypedSimplePlan, n: usize, taps: usize) -> std::result::Result<usize, String> {
    let model = plan.model();
    let own = model.outputs.len().saturating_sub(taps);
    if own != 1 {
        return Err(format!("{own} outputs, expected one"));
    }
    let fact = model.output_fact(0).map_err(|e| format!("{e:#}"))?;
    match (fact.datum_type == f32::datum_type(), fact.shape.as_concrete()) {
        (true, Some(&[rows, classes])) if rows == n && classes > 0 => Ok(classes),
        _ => Err(format!("the output is {fact:?}, expected {n} rows of 32-bit float logits [N, K]")),
    }
}

/// The logits, and what the `taps` behind them are, by a run on black images.
fn outputs(
    plan: &Arc<TypedSimplePlan>,
    signature: Signature,
    names: Vec<String>,
    taps: usize,
) -> std::result::Result<Vec<Output>, String> {
    if taps == 0 {
        let shape = vec![signature.classes];
        return Ok(names.into_iter().map(|name| Output { name, shape: shape.clone() }).collect());
    }
    for (at, name) in names.iter().enumerate() {
        let fact = plan.model().output_fact(at).map_err(|e| format!("{e:#}"))?;
        if fact.datum_type != f32::datum_type() {
            return Err(format!("the value `{name}` is {fact:?}, expected a tensor of 32-bit floats"));
        }
    }
    let n = signature.fixed_batch.unwrap_or(1);
    let black = vec![0.0; n * signature.input_len()];
    per_sample(&names, &run_plan(signature, &(Arc::clone(plan), &black, n))?, n)
}

/// All outputs for `n` images.
fn run_plan(
    signature: Signature,
    (plan, images, n): &(Arc<TypedSimplePlan>, &[f32], usize),
) -> std::result::Result<Vec<Given>, String> {
    let [c, h, w] = signature.input;
    guarded(|| {
        let input = Tensor::from_shape(&[*n, c, h, w], images).map_err(|e| format!("{e:#}"))?;
        let outputs = plan.run(tvec!(input.into())).map_err(|e| format!("{e:#}"))?;
        let one = |output: &TValue| {
            let view = output.try_as_plain_ram().and_then(|view| view.as_slice::<f32>().map(<[f32]>::to_vec));
            view.map(|values| (output.shape().to_vec(), values)).map_err(|e| format!("{e:#}"))
        };
        outputs.iter().map(one).collect()
    })
}
