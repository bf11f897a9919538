//! Small ONNX files, written message by message: what no exporter of ours writes, and every setting said or left out at will.

use attar_models::generated::uniform;
use attar_onnx::proto::{
    AttributeProto, AttributeType, Dimension, DimensionProto, FLOAT, GraphProto, INT8, INT32, INT64, ModelProto,
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, UINT8, ValueInfoProto,
};

use super::define;

/// The operator set of cases that are about none.
pub(super) const USUAL: i64 = 17;

/// The domain of ONNX Runtime's own operations.
const MICROSOFT: &str = "com.microsoft";

/// A file in the making. Its input is `input`, its answer `logits`.
#[derive(Debug, Clone)]
pub(super) struct Build {
    opset: i64,
    image: [usize; 3],
    batch: Option<usize>,
    graph: GraphProto,
}

/// Scale and zero point of a value, and whether its bytes are signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) scale: f32,
    pub(super) zero: i16,
    pub(super) signed: bool,
}

impl Steps {
    /// Of unsigned bytes.
    pub(super) fn u8(scale: f32, zero: i16) -> Self {
        Self { scale, zero, signed: false }
    }

    /// Of signed bytes.
    pub(super) fn s8(scale: f32, zero: i16) -> Self {
        Self { scale, zero, signed: true }
    }
}

impl Build {
    pub(super) fn new(image: [usize; 3]) -> Self {
        Self::by_opset(USUAL, image)
    }

    pub(super) fn by_opset(opset: i64, image: [usize; 3]) -> Self {
        Self { opset, image, batch: None, graph: GraphProto::default() }
    }

    /// The same for batches of one size alone.
    pub(super) fn with_batch(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Adds a node that makes `output`, and returns that name.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], output: &str, settings: Vec<AttributeProto>) -> String {
        self.of_domain("", op, inputs, &[output], settings);
        output.to_owned()
    }

    /// The same of ONNX Runtime's own operations.
    pub(super) fn microsoft(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        settings: Vec<AttributeProto>,
    ) -> String {
        self.of_domain(MICROSOFT, op, inputs, &[output], settings);
        output.to_owned()
    }

    /// A node with several outputs.
    pub(super) fn nodes(&mut self, op: &str, inputs: &[&str], outputs: &[&str], settings: Vec<AttributeProto>) {
        self.of_domain("", op, inputs, outputs, settings);
    }

    fn of_domain(&mut self, domain: &str, op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: outputs.first().map(|output| format!("{output}_node")),
            op_type: Some(op.to_owned()),
            attribute,
            domain: Some(domain.to_owned()).filter(|domain| !domain.is_empty()),
        });
    }

    fn constant(&mut self, name: &str, kind: i32, shape: &[usize], bytes: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|size| *size as i64).collect(),
            data_type: Some(kind),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.constant(name, FLOAT, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    /// Seeded numbers in `[-size, size)`, keyed by the name.
    pub(super) fn seeded(&mut self, name: &str, shape: &[usize], size: f32) {
        let values: Vec<f32> = uniform(name, 8, shape.iter().product()).iter().map(|value| value * size).collect();
        self.floats(name, shape, &values);
    }

    pub(super) fn bytes(&mut self, name: &str, shape: &[usize], signed: bool, values: &[i16]) {
        let kind = if signed { INT8 } else { UINT8 };
        self.constant(name, kind, shape, values.iter().map(|value| *value as u8).collect());
    }

    /// Two numbers a byte, the lower half first.
    pub(super) fn nibbles(&mut self, name: &str, shape: &[usize], values: &[i16]) {
        let byte = |pair: &[i16]| (pair[0] as u8 & 15) | (pair.get(1).map_or(0, |high| *high as u8 & 15) << 4);
        self.constant(name, define::INT4, shape, values.chunks(2).map(byte).collect());
    }

    pub(super) fn whole(&mut self, name: &str, values: &[i64]) {
        self.constant(name, INT64, &[values.len()], values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    pub(super) fn of_32_bits(&mut self, name: &str, values: &[i32]) {
        self.constant(name, INT32, &[values.len()], values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    /// Scale and zero point, called `name_s` and `name_z`.
    pub(super) fn steps(&mut self, name: &str, steps: Steps) -> [String; 2] {
        let [scale, zero] = ["s", "z"].map(|what| format!("{name}_{what}"));
        self.floats(&scale, &[], &[steps.scale]);
        self.bytes(&zero, &[], steps.signed, &[steps.zero]);
        [scale, zero]
    }

    /// The bytes of a value, called `name_q`.
    pub(super) fn quantized(&mut self, of: &str, name: &str, steps: Steps) -> String {
        let [scale, zero] = self.steps(name, steps);
        self.node("QuantizeLinear", &[of, &scale, &zero], &format!("{name}_q"), Vec::new())
    }

    /// A value quantised and dequantised, called `name`.
    pub(super) fn rounded(&mut self, of: &str, name: &str, steps: Steps) -> String {
        let bytes = self.quantized(of, name, steps);
        let [scale, zero] = ["s", "z"].map(|what| format!("{name}_{what}"));
        self.node("DequantizeLinear", &[&bytes, &scale, &zero], name, Vec::new())
    }

    /// A weight of signed bytes, a scale each along `axis`, dequantised as `name`.
    pub(super) fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        numbers: &[i16],
        scales: &[f32],
        axis: Vec<AttributeProto>,
    ) -> String {
        let [q, scale, zero] = ["q", "s", "z"].map(|what| format!("{name}_{what}"));
        let of_scales: &[usize] = if scales.len() == 1 { &[] } else { &[scales.len()] };
        self.bytes(&q, shape, true, numbers);
        self.floats(&scale, of_scales, scales);
        self.bytes(&zero, of_scales, true, &vec![0; scales.len()]);
        self.node("DequantizeLinear", &[&q, &scale, &zero], name, axis)
    }

    /// A bias in products of `x` and a scale each.
    pub(super) fn bias(&mut self, name: &str, numbers: &[i32], x: f32, scales: &[f32]) -> String {
        let [q, scale] = ["q", "s"].map(|what| format!("{name}_{what}"));
        let each: Vec<f32> = (0..numbers.len()).map(|at| x * scales[at % scales.len()]).collect();
        self.of_32_bits(&q, numbers);
        self.floats(&scale, &[each.len()], &each);
        self.node("DequantizeLinear", &[&q, &scale], name, vec![int("axis", 0)])
    }

    /// The file whose answer is `value`, one row an image. Behind it stands a product with the unit matrix, which changes no
    /// number and is how a classifier ends; an answer that is an image some engines do not give.
    ///
    /// # Errors
    /// What the definition does not know.
    pub(super) fn finish(mut self, value: &str) -> Result<ModelProto, String> {
        self.node("Flatten", &[value], "row", vec![int("axis", 1)]);
        let batch = match self.batch {
            Some(batch) => Dimension::Value(batch as i64),
            None => Dimension::Param("batch".to_owned()),
        };
        let sized = |name: &str, sample: &[usize]| {
            let sizes = std::iter::once(batch.clone()).chain(sample.iter().map(|size| Dimension::Value(*size as i64)));
            let dim = sizes.map(|value| DimensionProto { value: Some(value) }).collect();
            let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(TensorShapeProto { dim }) };
            ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
        };
        self.graph.name = Some("case".to_owned());
        self.graph.input = vec![sized("input", &self.image)];
        let n = self.batch.unwrap_or(1);
        let images = vec![0.0; n * self.image.iter().product::<usize>()];
        let rows = ModelProto {
            graph: Some(GraphProto { output: vec![sized("row", &[1])], ..self.graph.clone() }),
            ..self.header()
        };
        let (_, length) = define::answer(&rows, &images, n, None)?;
        self.floats("one", &[length, length], &unit(length));
        self.node("Gemm", &["row", "one"], "logits", Vec::new());
        self.graph.output = vec![sized("logits", &[length])];
        Ok(ModelProto { graph: Some(self.graph.clone()), ..self.header() })
    }

    /// A file without its graph.
    fn header(&self) -> ModelProto {
        let set =
            |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
        let theirs = self.graph.node.iter().any(|node| node.domain() == MICROSOFT);
        ModelProto {
            ir_version: Some(ir_version(self.opset)),
            producer_name: Some("attar conformance".to_owned()),
            opset_import: std::iter::once(set("", self.opset)).chain(theirs.then(|| set(MICROSOFT, 1))).collect(),
            ..ModelProto::default()
        }
    }
}

/// The unit matrix, row-major.
fn unit(size: usize) -> Vec<f32> {
    (0..size * size).map(|at| f32::from(u8::from(at / size == at % size))).collect()
}

/// The version of the format that came with an operator set; that of sets before 9 is what lets initialisers be no inputs.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        _ => 12,
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}
