//! Files that grow node by node.

use std::path::Path;

use prost::Message;

use crate::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::read::{Import, ReadOptions, read};

pub(super) enum Setting<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
}
/// A file that grows node by node.
pub(super) struct File {
    pub(super) model: ModelProto,
}

impl File {
    /// With an input `x` of these sizes; 0 is a symbol.
    pub(super) fn new(opset: i64, input: &[i64]) -> Self {
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(opset) }];
        let graph = GraphProto { input: vec![info("x", input)], ..GraphProto::default() };
        Self { model: ModelProto { ir_version: Some(8), opset_import, graph: Some(graph), ..ModelProto::default() } }
    }

    pub(super) fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }

    pub(super) fn node(mut self, op: &str, inputs: &[&str], output: &str, settings: &[(&str, Setting<'_>)]) -> Self {
        let attribute = settings.iter().map(|(name, setting)| {
            let mut attribute = AttributeProto { name: Some((*name).to_owned()), ..AttributeProto::default() };
            match setting {
                Setting::Int(value) => attribute.i = Some(*value),
                Setting::Ints(values) => attribute.ints = values.to_vec(),
                Setting::Float(value) => attribute.f = Some(*value),
            }
            attribute
        });
        let node = NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            op_type: Some(op.to_owned()),
            attribute: attribute.collect(),
            ..NodeProto::default()
        };
        self.graph().node.push(node);
        self
    }

    pub(super) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph().initializer.push(tensor(name, dims, 1, raw_data));
        self
    }

    /// Values that are all different and of no round size.
    pub(super) fn weights(self, name: &str, dims: &[i64]) -> Self {
        let count = dims.iter().product::<i64>();
        let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 23) as f32 - 11.3) / 17.0).collect();
        self.floats(name, dims, &values)
    }

    pub(super) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph().initializer.push(tensor(name, &[values.len() as i64], 7, raw_data));
        self
    }

    /// Ends at `output` of `[N, ...]` and reads it back.
    pub(super) fn read(mut self, output: &str) -> Import {
        self.graph().output = vec![info(output, &[0, 2])];
        read(&self.model.encode_to_vec(), Path::new("net.onnx"), ReadOptions::default()).unwrap()
    }

    pub(super) fn refusal(mut self, output: &str, options: ReadOptions) -> String {
        self.graph().output = vec![info(output, &[0, 2])];
        read(&self.model.encode_to_vec(), Path::new("net.onnx"), options).unwrap_err().to_string()
    }
}

pub(super) fn tensor(name: &str, dims: &[i64], data_type: i32, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(data_type),
        name: Some(name.to_owned()),
        raw_data: Some(raw_data),
        ..TensorProto::default()
    }
}

pub(super) fn info(name: &str, sizes: &[i64]) -> ValueInfoProto {
    let value = |size: &i64| if *size == 0 { Dimension::Param("n".to_owned()) } else { Dimension::Value(*size) };
    let dim = sizes.iter().map(|size| DimensionProto { value: Some(value(size)) }).collect();
    let tensor_type = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
