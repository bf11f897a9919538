//! Operations that ONNX has in no operator set, or in new ones alone, written out.
//!
//! What lies between is called `node/what`, as constants are; the last operation makes the node's value.

use std::f32::consts::{FRAC_2_SQRT_PI, SQRT_2};

use attar_models::Node;

use super::proto::AttributeProto;
use super::write::{CONSTANT_MARK, Writer, constant, indices, int, ints, proto, scalar, string};

/// The first operator set that has `Gelu`.
const GELU: i64 = 20;

/// The first operator set in which a mean is told its axes by an input.
const AXES_AS_INPUT: i64 = 18;

impl Writer<'_> {
    /// `x sigmoid(x)`.
    pub(super) fn silu(&mut self, node: &Node, inputs: &[String], output: &str) {
        let gate = self.between(node, "gate", "Sigmoid", inputs.to_vec());
        self.last(node, "Mul", [inputs, &[gate]].concat(), output);
    }

    /// `x / 2 (1 + erf(x / sqrt(2)))`; with the approximation `tanh`, of
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    pub(super) fn gelu(&mut self, node: &Node, approximation: &str, inputs: &[String], output: &str) {
        if self.opset >= GELU {
            let settings = vec![string("approximate", approximation)];
            self.nodes.push(proto(&node.name, "Gelu", inputs.to_vec(), output, settings));
            return;
        }
        let x = inputs.to_vec();
        let [one, half] = [("one", 1.0), ("half", 0.5)].map(|(what, value)| self.number(node, what, value));
        let bent = if approximation == "tanh" {
            let [cube, scale] = [("cube", 0.044_715), ("scale", FRAC_2_SQRT_PI / SQRT_2)]
                .map(|(what, value)| self.number(node, what, value));
            let squared = self.between(node, "squared", "Mul", [&x[..], &x].concat());
            let cubed = self.between(node, "cubed", "Mul", [vec![squared], x.clone()].concat());
            let small = self.between(node, "small", "Mul", vec![cubed, cube]);
            let sum = self.between(node, "sum", "Add", [x.clone(), vec![small]].concat());
            let inner = self.between(node, "inner", "Mul", vec![sum, scale]);
            self.between(node, "tanh", "Tanh", vec![inner])
        } else {
            let root = self.number(node, "root", SQRT_2);
            let inner = self.between(node, "inner", "Div", [x.clone(), vec![root]].concat());
            self.between(node, "erf", "Erf", vec![inner])
        };
        let raised = self.between(node, "raised", "Add", vec![bent, one]);
        let twice = self.between(node, "twice", "Mul", [x, vec![raised]].concat());
        self.last(node, "Mul", vec![twice, half], output);
    }

    /// `x weight + bias`, of inputs `x`, `weight` and, if there is one, `bias`.
    pub(super) fn scale(&mut self, node: &Node, inputs: &[String], output: &str) {
        match inputs {
            [x, weight, bias] => {
                let scaled = self.between(node, "scaled", "Mul", vec![x.clone(), weight.clone()]);
                self.last(node, "Add", vec![scaled, bias.clone()], output);
            }
            _ => self.last(node, "Mul", inputs.to_vec(), output),
        }
    }

    /// `(x - mean) / sqrt(variance + eps) weight + bias` along the channels, of inputs `x`, `weight` and `bias`.
    /// `LayerNormalization` normalises the last axes, and not every runtime has it.
    pub(super) fn layer_norm(&mut self, node: &Node, eps: f64, inputs: &[String], output: &str) {
        let [x, weight, bias] = inputs else { return self.last(node, "Identity", inputs.to_vec(), output) };
        let axes = (self.opset >= AXES_AS_INPUT).then(|| constant(&mut self.constants, node, "axes", indices([1])));
        let eps = self.number(node, "eps", eps as f32);
        let mean = self.channel_mean(node, "mean", x, axes.as_ref());
        let centred = self.between(node, "centred", "Sub", vec![x.clone(), mean]);
        let squares = self.between(node, "squares", "Mul", vec![centred.clone(), centred.clone()]);
        let variance = self.channel_mean(node, "variance", &squares, axes.as_ref());
        let raised = self.between(node, "raised", "Add", vec![variance, eps]);
        let spread = self.between(node, "spread", "Sqrt", vec![raised]);
        let normalised = self.between(node, "normalised", "Div", vec![centred, spread]);
        let scaled = self.between(node, "scaled", "Mul", vec![normalised, weight.clone()]);
        self.last(node, "Add", vec![scaled, bias.clone()], output);
    }

    /// Over the channels, which stay as an axis of 1.
    fn channel_mean(&mut self, node: &Node, what: &str, x: &str, axes: Option<&String>) -> String {
        let mut settings = vec![int("keepdims", 1)];
        if axes.is_none() {
            settings.push(ints("axes", [1]));
        }
        let inputs = std::iter::once(x.to_owned()).chain(axes.cloned()).collect();
        self.with_settings(node, what, "ReduceMean", inputs, settings)
    }

    fn number(&mut self, node: &Node, what: &str, value: f32) -> String {
        constant(&mut self.constants, node, what, scalar(value))
    }

    /// Adds an operation on the way to a node's value and returns the name of what it makes.
    fn between(&mut self, node: &Node, what: &str, op_type: &str, inputs: Vec<String>) -> String {
        self.with_settings(node, what, op_type, inputs, Vec::new())
    }

    fn with_settings(
        &mut self,
        node: &Node,
        what: &str,
        op_type: &str,
        inputs: Vec<String>,
        settings: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{}{CONSTANT_MARK}{what}", node.name);
        self.nodes.push(proto(&name, op_type, inputs, &name, settings));
        name
    }

    fn last(&mut self, node: &Node, op_type: &str, inputs: Vec<String>, output: &str) {
        self.nodes.push(proto(&node.name, op_type, inputs, output, Vec::new()));
    }
}
