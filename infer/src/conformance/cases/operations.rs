//! Every operation of the graph, alone, as our writer writes it: by the usual operator set, and by the oldest and the newest where
//! those are written otherwise.

use attar_models::op::{
    Add, Concat, Conv2d, Flatten, GlobalAvgPool, LayerNorm2d, Linear, Mul, PRelu, Pool2d, Quantize, Reshape, Scale,
    SliceChannels, Softmax,
};
use attar_models::{Activation, Array, Graph, GraphBuilder, NodeId, Op, generated};
use attar_onnx::proto::ModelProto;
use attar_onnx::{Options, SUPPORTED_OPSETS, Storage};

use crate::conformance::case::{Case, FEW, Family, Judge};
use crate::error::{Error, Result};

/// A linear layer behind the operation that changes no number: networks end in one.
const HEAD: &str = "head";

/// All of them.
pub(super) fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (op, shapes) in Op::examples() {
        let others = others(&op);
        if matches!(op, Op::Input(_)) {
            continue; // every case has one
        }
        let name = op.kind().to_owned();
        for (suffix, op, shapes) in std::iter::once((String::new(), op, shapes)).chain(others) {
            let name = if suffix.is_empty() { name.clone() } else { format!("{name}-{suffix}") };
            by_opsets(&mut cases, &name, &op, &shapes)?;
        }
    }
    for (name, storage) in [("f16", Storage::F16), ("int8", Storage::Int8)] {
        let conv = Op::Conv2d(Conv2d::square(4, 6, 3, 1, 1).with_bias());
        let graph = around("stored", conv, &[vec![4, 6, 6]])?;
        let options = Options { weights: storage, ..Options::default() };
        let model = written(&graph, &options)?;
        let about = format!("a convolution whose weight is stored as {name} and made floats by plain operations");
        cases.push(Case::new(Family::Operations, format!("conv2d-stored-{name}"), about, Judge::Floats, model));
    }
    Ok(cases)
}

/// What else than its example an operation does; the match has no catch-all, so that a new one has to be thought about.
fn others(op: &Op) -> Vec<(String, Op, Vec<Vec<usize>>)> {
    let image = || vec![vec![4, 5, 6]];
    let row = || vec![vec![120]];
    let pooled = || vec![vec![4, 7, 8]];
    let of = |all: Vec<(&str, Op, Vec<Vec<usize>>)>| {
        all.into_iter().map(|(name, op, shapes)| (name.to_owned(), op, shapes)).collect()
    };
    match op {
        Op::Activation(example) => {
            let rest = Activation::ALL.into_iter().filter(|other| other != example);
            rest.map(|other| (other.name().to_owned(), Op::Activation(other), image())).collect()
        }
        Op::Conv2d(_) => of(vec![
            ("pointwise", Op::Conv2d(Conv2d::square(4, 7, 1, 1, 0)), image()),
            ("depthwise", Op::Conv2d(Conv2d::square(4, 4, 3, 1, 1).with_groups(4).with_bias()), image()),
            ("depthwise-5", Op::Conv2d(Conv2d::square(4, 4, 5, 2, 2).with_groups(4)), vec![vec![4, 9, 8]]),
            ("dilated", Op::Conv2d(Conv2d { dilation: [2, 1], ..Conv2d::square(4, 5, 3, 1, 2) }), image()),
            (
                "uneven",
                Op::Conv2d(Conv2d { kernel: [1, 3], padding: [0, 1], ..Conv2d::square(4, 5, 1, 1, 0) }),
                image(),
            ),
            ("3x3", Op::Conv2d(Conv2d::square(4, 8, 3, 1, 1)), vec![vec![4, 12, 12]]),
        ]),
        Op::Add(_) => broadcast(|| Op::Add(Add {})),
        Op::Mul(_) => broadcast(|| Op::Mul(Mul {})),
        Op::MaxPool2d(_) | Op::AvgPool2d(_) => {
            let pool = || Pool2d::square(3, 2, 1);
            let alone = Pool2d { count_include_pad: false, ..pool() };
            let all = vec![
                ("rounded-up", Pool2d { ceil_mode: true, ..pool() }),
                ("uneven", Pool2d { padding_end: Some([2, 0]), ..pool() }),
                ("alone", alone.clone()),
                ("alone-rounded-up", Pool2d { ceil_mode: true, ..alone }),
                ("whole", Pool2d::new([7, 8], [1, 1], [0, 0])),
            ];
            let of_kind = |pool| if matches!(op, Op::MaxPool2d(_)) { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) };
            of(all.into_iter().map(|(name, pool)| (name, of_kind(pool), pooled())).collect())
        }
        Op::Scale(_) => of(vec![
            ("factor", Op::Scale(Scale { channels: 4, bias: false, trained: false }), image()),
            ("row", Op::Scale(Scale { channels: 120, bias: true, trained: true }), row()),
        ]),
        Op::PRelu(_) => of(vec![("one", Op::PRelu(PRelu { channels: 1 }), image())]),
        Op::LayerNorm2d(_) => of(vec![("row", Op::LayerNorm2d(LayerNorm2d { channels: 120, eps: 1e-6 }), row())]),
        Op::Concat(_) => of(vec![("row", Op::Concat(Concat { inputs: 2 }), vec![vec![120], vec![120]])]),
        Op::SliceChannels(_) => of(vec![("row", Op::SliceChannels(SliceChannels { start: 4, end: 90 }), row())]),
        Op::Softmax(_) => of(vec![("row", Op::Softmax(Softmax {}), row())]),
        Op::Quantize(_) => of(vec![
            ("signed", Op::Quantize(Quantize { signed: true, high: None }), image()),
            ("clipped", Op::Quantize(Quantize { signed: false, high: Some(40) }), image()),
        ]),
        Op::Reshape(_) => of(vec![("row", Op::Reshape(Reshape { shape: vec![120, 1, 1] }), row())]),
        Op::Linear(_) => {
            let wide = Linear { in_features: 120, out_features: 17, bias: false, quantized: false };
            of(vec![("without-bias", Op::Linear(wide), row())])
        }
        Op::Input(_)
        | Op::BatchNorm2d(_)
        | Op::Subsample(_)
        | Op::PadChannels(_)
        | Op::GlobalAvgPool(_)
        | Op::Flatten(_)
        | Op::Dropout(_)
        | Op::StochasticDepth(_)
        | Op::ChannelShuffle(_)
        | Op::Pad2d(_)
        | Op::Dequantize(_) => Vec::new(),
    }
}

fn broadcast(op: impl Fn() -> Op) -> Vec<(String, Op, Vec<Vec<usize>>)> {
    let parts = [[4, 5, 6], [4, 1, 1], [1, 5, 6], [1, 1, 1]];
    parts
        .into_iter()
        .map(|part| (format!("{}x{}x{}", part[0], part[1], part[2]), op(), vec![vec![4, 5, 6], part.to_vec()]))
        .collect()
}

fn by_opsets(cases: &mut Vec<Case>, name: &str, op: &Op, shapes: &[Vec<usize>]) -> Result<()> {
    let graph = around(name, op.clone(), shapes)?;
    let judge = match op {
        Op::Quantize(_) => Judge::Steps { step: 1.0, ties: FEW },
        _ => Judge::Floats,
    };
    let usual = Options::default();
    let mut seen: Vec<ModelProto> = Vec::new();
    for opset in [usual.opset, *SUPPORTED_OPSETS.start(), *SUPPORTED_OPSETS.end()] {
        let model = written(&graph, &Options { opset, ..Options::default() })?;
        if seen.iter().any(|known| known.graph == model.graph) {
            continue;
        }
        let (name, about) = match opset == usual.opset {
            true => (name.to_owned(), format!("`{}`{}", op.kind(), settings(op))),
            false => (format!("{name}-opset-{opset}"), format!("`{}` as operator set {opset} has it", op.kind())),
        };
        cases.push(Case::new(Family::Operations, name, about, judge, model.clone()));
        seen.push(model);
    }
    Ok(())
}

/// The settings of an operation as its file has them.
fn settings(op: &Op) -> String {
    let mut text = serde_json::to_value(op).unwrap_or_default();
    let all = text.as_object_mut().map(|all| {
        all.remove("kind");
        all.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
    });
    all.filter(|all| !all.is_empty()).map(|all| format!(": {all}")).unwrap_or_default()
}

fn written(graph: &Graph, options: &Options) -> Result<ModelProto> {
    let failed = |problem: String| Error::Engine { engine: "definition", problem };
    let mut weights = generated::weights(graph, 3);
    if let Some(head) = weights.0.get_mut(&format!("{HEAD}.weight")) {
        let size = head.shape[0];
        let one = |at: usize| f32::from(u8::from(at / size == at % size));
        *head = Array::new(head.shape.clone(), (0..size * size).map(one).collect())?;
    }
    let bytes = attar_onnx::write(graph, &weights, options).map_err(|error| failed(error.to_string()))?;
    ModelProto::from_bytes(&bytes).ok_or_else(|| failed("what was written is no ONNX file".to_owned()))
}

/// A network of one operation, led to by what every runtime has.
fn around(name: &str, op: Op, shapes: &[Vec<usize>]) -> Result<Graph> {
    let image = match shapes.first().map(Vec::as_slice) {
        Some(&[c, h, w]) => [c, h, w],
        Some(&[features]) if features.is_multiple_of(30) => [features / 30, 5, 6],
        Some(&[features]) if features.is_multiple_of(4) => [features / 4, 2, 2],
        Some(&[features]) => [1, 1, features],
        _ => [4, 5, 6],
    };
    let (mut builder, x) = GraphBuilder::new(name, image)?;
    let mut inputs = Vec::new();
    for (at, shape) in shapes.iter().enumerate() {
        inputs.push(lead_to(&mut builder, x, image, at, shape)?);
    }
    let mut end = builder.add("op", op, &inputs)?;
    if builder.shape(end).len() > 1 {
        end = builder.add("flatten", Op::Flatten(Flatten {}), &[end])?;
    }
    let length = builder.shape(end)[0];
    let head = Linear { in_features: length, out_features: length, bias: false, quantized: false };
    let end = builder.add(HEAD, Op::Linear(head), &[end])?;
    Ok(builder.finish(end))
}

/// A node of this shape that depends on the image; no two inputs of an operation are the same numbers.
fn lead_to(builder: &mut GraphBuilder, x: NodeId, image: [usize; 3], at: usize, shape: &[usize]) -> Result<NodeId> {
    let conv = |out: usize, kernel: [usize; 2]| {
        Op::Conv2d(Conv2d { out_channels: out, kernel, ..Conv2d::square(image[0], out, 1, 1, 0) }.with_bias())
    };
    let whole = [image[1], image[2]];
    let op = match *shape {
        [c, h, w] if [c, h, w] == image && at == 0 => return Ok(x),
        [c, h, w] if [h, w] == whole => conv(c, [1, 1]),
        [c, 1, 1] => conv(c, whole),
        [features] if features == image.iter().product::<usize>() && at == 0 => Op::Flatten(Flatten {}),
        [features] => {
            let made = builder.add(format!("lead{at}"), conv(features, [1, 1]), &[x])?;
            return Ok(builder.add(format!("means{at}"), Op::GlobalAvgPool(GlobalAvgPool {}), &[made])?);
        }
        _ => {
            let problem = format!("no way from an image {image:?} to {shape:?}");
            return Err(Error::Engine { engine: "definition", problem });
        }
    };
    Ok(builder.add(format!("lead{at}"), op, &[x])?)
}
