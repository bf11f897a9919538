//! ReviewKD (knowledge review: Chen et al. 2021, arXiv 2104.09044): each stage of the teacher is followed by the student's
//! stages up to its depth, fused from deep to shallow by attention, and compared at several sizes.
//!
//! `L = sum_i HCL(out_i(r_i), F_i)` with the residual fusion [`review`] and the hierarchical context loss [`hcl`]. Stages of the
//! student pass a 1x1 convolution and batch norm each to a common width; below the last stage lies its mean over positions, a
//! map of one position. Teacher features are those before a stage's last ReLU. Benchmarks add it to the cross-entropy with
//! weight 5 rising over 20 epochs on CIFAR-100, 1 or 8 rising over one on ImageNet: `weight = { at = [[1, 0.25], [20, 5.0]], join = "linear" }`.
//!
//! Written from the benchmark's code (megvii-research/mdistiller); deviations: the 1x1 convolutions start from normal numbers
//! as the student's do (theirs uniform; a batch norm behind them takes out the scale); the student's features are those after
//! the ReLU, as on CIFAR-100 (its ImageNet settings take those before, as of the teacher). The common width is that of the
//! student's deepest features, at most `width`.

mod fusion;

use attar_models::op::{BatchNorm2d, Conv2d, Pool2d};
use attar_models::{Graph, GraphBuilder, NodeId, Op, Outline, ValueKind};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::losses::parts::embedding::map_behind;
use crate::losses::{Basis, BuildContext, Connector, Entry, Init, Loss, Pairs, Param, Spec, Step, Tap, Taps, Teachers};

pub use fusion::{Fusion, hcl, review};

/// Settings of ReviewKD; the defaults are the benchmark's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewKdSpec {
    /// Which stages lead to which, shallow to deep.
    pub pairs: Pairs,
    /// Whether the pooled features follow the last pair.
    pub pooled: bool,
    /// Whether teacher features are taken before a stage's last ReLU.
    pub pre_activation: bool,
    /// Most channels inside fusions.
    #[schemars(extend("minimum" = 1))]
    pub width: usize,
}

impl Default for ReviewKdSpec {
    fn default() -> Self {
        Self { pairs: Pairs::stages(), pooled: true, pre_activation: true, width: 512 }
    }
}

impl Spec for ReviewKdSpec {
    const ENTRY: Entry = Entry {
        kind: "reviewkd",
        summary: "Stages of the student, fused from deep to shallow, follow the teacher's stages at several sizes: squared error.",
        paper: "Chen et al. 2021, arXiv 2104.09044 (ReviewKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if self.width == 0 {
            return Err(context.error("width", "0, expected at least 1"));
        }
        let (student, teacher) = (context.student, context.teacher()?);
        let mut reviewed = Vec::new();
        for pair in self.pairs.resolve(context)? {
            let (map, target) = pair.maps(context)?;
            let other = if self.pre_activation { before_activation(teacher, pair.teacher) } else { pair.teacher };
            reviewed.push((pair.name, pair.student, map, other, target));
        }
        if self.pooled {
            let pair = Pairs::penultimate().only(context)?;
            let (own, map) = map_behind(context, student, pair.student)?;
            let channels = teacher.value(pair.teacher).shape.first().copied().unwrap_or_default();
            reviewed.push((pair.name, own, map, pair.teacher, [channels, 1, 1]));
        }
        let deepest = reviewed.last().map_or(1, |(_, _, [channels, ..], ..)| *channels);
        let (width, last) = (deepest.min(self.width), reviewed.len());
        let mut loss = ReviewKd { taps: Taps::default(), params: Vec::new(), stages: Vec::new() };
        let mut others = Vec::new();
        for (i, (name, own, map, other, target)) in (1..).zip(reviewed) {
            let (fuses, pooled) = (i < last, self.pooled && i == last);
            let reduce = format!("{name}.reduce"); // apart from the names of the stage's other parameters
            let graph = reduction(&reduce, map, width, pooled)?;
            loss.taps.student.push(Tap { node: own, connector: Some(Connector { name: reduce, graph }) });
            others.push(other);
            loss.params.extend(params(&name, width, target[0], fuses));
            loss.stages.push(Stage { name, fuses, target });
        }
        loss.taps.teachers.push(others);
        Ok(Box::new(loss))
    }
}

/// What the last ReLU of a stage reads, if it ends in one.
fn before_activation(network: &Outline, id: NodeId) -> NodeId {
    let value = network.value(id);
    match (value.kind, value.inputs.as_slice()) {
        (ValueKind::Activation, [input]) => *input,
        _ => id,
    }
}

/// 1x1 convolution and batch norm, after the mean over positions for the pooled features.
fn reduction(name: &str, map: [usize; 3], width: usize, pooled: bool) -> attar_models::Result<Graph> {
    let (mut builder, mut at) = GraphBuilder::new(name, map)?;
    let [channels, height, columns] = map;
    if pooled {
        let size = [height, columns];
        at = builder.add("mean", Op::AvgPool2d(Pool2d::new(size, size, [0, 0])), &[at])?;
    }
    at = builder.add("conv", Op::Conv2d(Conv2d::square(channels, width, 1, 1, 0)), &[at])?;
    at = builder.add("bn", Op::BatchNorm2d(BatchNorm2d { channels: width, eps: 1e-5, momentum: 0.1 }), &[at])?;
    Ok(builder.finish(at))
}

/// What a fusion trains, initialised as in the benchmark.
fn params(stage: &str, width: usize, channels: usize, fuses: bool) -> Vec<Param> {
    let param =
        |name: &str, shape: &[usize], init| Param { name: format!("{stage}.{name}"), shape: shape.to_vec(), init };
    let attention = Init::Uniform(1.0 / (2.0 * width as f64).sqrt());
    let mut params = vec![
        param("out.weight", &[channels, width, 3, 3], Init::Uniform((3.0 / (9.0 * width as f64)).sqrt())),
        param("out.scale", &[channels], Init::Constant(1.0)),
        param("out.shift", &[channels], Init::Constant(0.0)),
    ];
    if fuses {
        params.push(param("attention.weight", &[2, 2 * width, 1, 1], attention));
        params.push(param("attention.bias", &[2], attention));
    }
    params
}

#[derive(Debug)]
struct ReviewKd {
    taps: Taps,
    params: Vec<Param>,
    stages: Vec<Stage>,
}

/// One stage: its fusion and the teacher's map that it leads to.
#[derive(Debug)]
struct Stage {
    name: String,
    fuses: bool,
    target: [usize; 3],
}

impl Stage {
    fn fusion(&self, step: &Step<'_>) -> Result<Fusion> {
        let param = |name: &str| step.param(&format!("{}.{name}", self.name)).cloned();
        let attention = if self.fuses { Some([param("attention.weight")?, param("attention.bias")?]) } else { None };
        Ok(Fusion { attention, weight: param("out.weight")?, scale: param("out.scale")?, shift: param("out.shift")? })
    }
}

impl Loss for ReviewKd {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn params(&self) -> Vec<Param> {
        self.params.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let fusions = self.stages.iter().map(|stage| stage.fusion(step)).collect::<Result<Vec<_>>>()?;
        let sizes: Vec<[usize; 2]> = self.stages.iter().map(|Stage { target: [_, h, w], .. }| [*h, *w]).collect();
        let others = &view.teacher()?.taps;
        if others.len() != self.stages.len() {
            return Err(Error::Tensor(candle_core::Error::Msg(format!(
                "ReviewKD reads {} teacher taps, got {}",
                self.stages.len(),
                others.len()
            ))));
        }
        let map = |(other, stage): (&Tensor, &Stage)| {
            let [channels, height, width] = stage.target;
            Ok(other.reshape(((), channels, height, width))?) // pooled features are [N, C]
        };
        let teacher = others.iter().zip(&self.stages).map(map).collect::<Result<Vec<_>>>()?;
        hcl(&review(&view.student.taps, &fusions, &sizes)?, &teacher)
    }
}
