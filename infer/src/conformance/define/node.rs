//! One operation of a file, with what it is given: its settings, and which definition is its own.

use attar_onnx::proto::NodeProto;

use super::fault::Fault;
use super::tensor::Tensor;
use super::{functions, layers, numbers, pools, shapes};

/// An operation and its inputs; one that is left out is `None`.
pub(super) struct Node<'n> {
    pub(super) proto: &'n NodeProto,
    pub(super) opset: i64,
    pub(super) given: Vec<Option<&'n Tensor>>,
    /// Which inputs depend on the images.
    pub(super) of_images: Vec<bool>,
    pub(super) fault: Option<Fault>,
}

impl Node<'_> {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn input(&self, at: usize) -> Result<&Tensor, String> {
        self.maybe(at).ok_or_else(|| format!("input {at} is missing"))
    }

    pub(super) fn maybe(&self, at: usize) -> Option<&Tensor> {
        self.given.get(at).copied().flatten()
    }

    fn attribute(&self, name: &str) -> Option<&attar_onnx::proto::AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name() == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i())
    }

    pub(super) fn has_setting(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    /// A pair of sizes, 1 where it is not said.
    pub(super) fn pair(&self, name: &str) -> [usize; 2] {
        let pair = self.ints(name).and_then(|ints| <[i64; 2]>::try_from(ints).ok());
        pair.map_or([1; 2], |pair| pair.map(|size| usize::try_from(size).unwrap_or(0)))
    }

    /// A float: what the file says, else ONNX's default.
    pub(super) fn float(&self, name: &str, default: f32, of_others: f32) -> f64 {
        let said = self.attribute(name).and_then(|attribute| attribute.f).filter(|_| !self.has(Fault::DefaultsOnly));
        let default = if self.has(Fault::OthersDefaults) { of_others } else { default };
        f64::from(said.unwrap_or(default))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(attribute.s()).ok())
    }

    /// Indices that are an attribute in old operator sets and an input in new ones.
    pub(super) fn axes(&self, name: &str, at: usize) -> Option<Vec<i64>> {
        self.maybe(at).map(Tensor::indices).or_else(|| self.ints(name).map(<[i64]>::to_vec))
    }

    /// An axis of `rank`, counted from the front.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, String> {
        let axis = self.int(name, default);
        if axis < 0 && self.has(Fault::AxisFromFront) {
            return Ok(0);
        }
        super::tensor::from_front(axis, rank)
    }

    pub(super) fn run(&self) -> Result<Vec<Tensor>, String> {
        let one = |made: Result<Tensor, String>| made.map(|tensor| vec![tensor]);
        match self.proto.op_type() {
            "Conv" => one(layers::conv(self)),
            "Gemm" => one(layers::gemm(self)),
            "MatMul" => one(layers::matmul(self.input(0)?, self.input(1)?, self)),
            "BatchNormalization" => one(layers::batch_norm(self)),
            "LayerNormalization" => one(layers::layer_norm(self)),
            "MaxPool" => one(pools::pool(self, true, self.input(0)?)),
            "AveragePool" => one(pools::pool(self, false, self.input(0)?)),
            "GlobalAveragePool" => one(pools::global(self.input(0)?, false)),
            "GlobalMaxPool" => one(pools::global(self.input(0)?, true)),
            "ReduceMean" => one(pools::reduce_mean(self)),
            "QuantizeLinear" => one(numbers::quantize(self)),
            "DequantizeLinear" => one(numbers::dequantize(self)),
            op if op.starts_with("QLinear") || op == "QGemm" => one(numbers::qlinear(self)),
            "Identity" | "Dropout" => one(self.input(0).cloned()),
            "Cast" => one(shapes::cast(self)),
            "Constant" => one(shapes::constant(self)),
            "Flatten" => one(shapes::flatten(self)),
            "Reshape" => one(shapes::reshape(self)),
            "Squeeze" | "Unsqueeze" => one(shapes::squeeze(self)),
            "Transpose" => one(shapes::transpose(self)),
            "Concat" => one(shapes::concat(self)),
            "Split" => shapes::split(self),
            "Slice" => one(shapes::slice(self)),
            "Gather" => one(shapes::gather(self)),
            "Shape" => one(shapes::shape(self)),
            "Pad" => one(shapes::pad(self)),
            "Softmax" => one(functions::softmax(self)),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" => one(functions::binary(self)),
            "Sum" => one(functions::sum(self)),
            _ => one(functions::unary(self)),
        }
    }
}
