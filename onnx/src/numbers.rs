//! Quantisers as ONNX has them: numbers in a type of their own between `QuantizeLinear` and `DequantizeLinear`, and as floats
//! for whoever else reads them.

use attar_models::op::Quantize;
use attar_models::{Array, Node, NodeId, Op, Weights};

use super::proto::{FLOAT, INT8, TensorProto, UINT8};
use super::write::{CONSTANT_MARK, Writer, int, proto, scalar};
use crate::error::{Error, Result};

impl Writer<'_> {
    /// The numbers, and floats of them where somebody reads those.
    pub(super) fn quantize(
        &mut self,
        id: NodeId,
        quantize: &Quantize,
        inputs: Vec<String>,
        weights: &Weights,
    ) -> Result<()> {
        let (node, output, numbers) = (self.graph.node(id), self.value(id), self.numbers(id));
        let levels = self.levels(node, weights, Some(quantize.range()))?;
        let inputs = [inputs, levels.into()].concat();
        self.nodes.push(proto(&numbers, "QuantizeLinear", inputs, &numbers, Vec::new()));
        if numbers != output {
            let float = vec![int("to", FLOAT as usize)];
            self.nodes.push(proto(&node.name, "Cast", vec![numbers], &output, float));
        }
        Ok(())
    }

    /// What numbers stand for. Of a quantiser's they are in its type; of others they are floats, and it is arithmetic.
    pub(super) fn dequantize(&mut self, id: NodeId, inputs: Vec<String>, weights: &Weights) -> Result<()> {
        let (node, output) = (self.graph.node(id), self.value(id));
        let from = node.inputs[0];
        if let Op::Quantize(quantize) = &self.graph.node(from).op {
            let levels = self.levels(node, weights, Some(quantize.range()))?;
            let inputs = [vec![self.numbers(from)], levels.into()].concat();
            self.nodes.push(proto(&node.name, "DequantizeLinear", inputs, &output, Vec::new()));
            return Ok(());
        }
        let centred = format!("{}{CONSTANT_MARK}centred", node.name);
        let [scale, zero_point] = self.levels(node, weights, None)?;
        self.nodes.push(proto(&centred, "Sub", [inputs, vec![zero_point]].concat(), &centred, Vec::new()));
        self.nodes.push(proto(&node.name, "Mul", vec![centred, scale], &output, Vec::new()));
        Ok(())
    }

    /// Name of the numbers that a quantiser makes, in their own type. It is its own name where nobody asks for floats.
    fn numbers(&self, id: NodeId) -> String {
        let all = |node: &Node| !node.inputs.contains(&id) || matches!(node.op, Op::Dequantize(_));
        if id != self.graph.output() && self.graph.nodes().iter().all(all) {
            return self.value(id);
        }
        format!("{}{CONSTANT_MARK}numbers", self.graph.node(id).name)
    }

    /// Names of the scale and the zero point of a quantiser, both without axes. The zero point is one of the numbers, from
    /// `low` to `high`; of numbers that are floats, a float.
    fn levels(&mut self, node: &Node, weights: &Weights, range: Option<[f32; 2]>) -> Result<[String; 2]> {
        let [scale, zero_point] = ["scale", "zero_point"].map(|suffix| format!("{}.{suffix}", node.name));
        let one = |name: &str| -> Result<f32> {
            let values = weights.get(name).map(Array::f32).transpose()?.unwrap_or_default();
            let missing = || Error::Node { node: node.name.clone(), problem: format!("{name} is missing") };
            values.first().copied().ok_or_else(missing)
        };
        let (step, middle) = (one(&scale)?, one(&zero_point)?);
        let typed = match range {
            None => scalar(middle),
            Some([low, high]) if middle < low || middle > high => {
                let problem = format!("its zero point is {middle}, and its numbers go from {low} to {high}");
                return Err(Error::Node { node: node.name.clone(), problem });
            }
            Some([low, _]) => TensorProto {
                data_type: Some(if low < 0.0 { INT8 } else { UINT8 }),
                raw_data: Some(vec![(middle as i16) as u8]),
                ..TensorProto::default()
            },
        };
        for (name, tensor) in [(&scale, scalar(step)), (&zero_point, typed)] {
            self.constants.push(TensorProto { name: Some(name.clone()), ..tensor });
        }
        Ok([scale, zero_point])
    }
}
