//! How a network leaves: ONNX and safetensors writers, the bundle.
