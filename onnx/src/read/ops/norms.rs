//! Batch and layer normalisation.

use attar_models::Op;
use attar_models::op::{BatchNorm2d, LayerNorm2d, Scale};

use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::tensor::Tensor;
use crate::read::value::{Live, View, join};

/// ONNX's momentum is the share of the old statistic, PyTorch's that of the new one.
pub(super) fn batch_norm<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let channels = *input.shape.first().ok_or("normalises nothing")?;
    let suffixes = ["weight", "bias", "running_mean", "running_var"];
    let mut params = Vec::new();
    for (at, suffix) in (1..).zip(suffixes) {
        let tensor = reader.tensor(node, at)?;
        if tensor.len() != channels {
            return Err(format!("{} numbers for {suffix} of {channels} channels", tensor.len()));
        }
        params.push((suffix, tensor));
    }
    let eps = f64::from(node.float("epsilon").unwrap_or(1e-5));
    let name = node.output();
    let array = |tensor: &Tensor| tensor.array(vec![channels]);
    if input.image().is_ok() {
        // 0.9 comes back as 0.1, not as 0.10000002.
        let momentum = (1.0 - f64::from(node.float("momentum").unwrap_or(0.9))) as f32;
        let momentum = (f64::from(momentum) * 1e6).round() / 1e6;
        let params =
            params.iter().map(|(suffix, tensor)| Ok((*suffix, array(tensor)?))).collect::<Result<_, String>>()?;
        return reader.add(name, Op::BatchNorm2d(BatchNorm2d { channels, eps, momentum }), &[&input], params);
    }
    if input.channel_axis().is_none() {
        return Err(format!(
            "normalises [N, {}] over its axis 1, which is not the channels' here",
            join(&input.seen())
        ));
    }
    // Of features, or with the channels last: what it is in evaluation.
    if input.view != View::Plain {
        return Err("normalises over the axis 1 of images whose channels are last".to_owned());
    }
    let floats: Vec<Vec<f32>> = params
        .iter()
        .map(|(_, tensor)| tensor.to_floats().ok_or("statistics of a batch's size"))
        .collect::<Result<_, _>>()?;
    let factor: Vec<f32> = floats[0]
        .iter()
        .zip(&floats[3])
        .map(|(w, var)| (f64::from(*w) / (f64::from(*var) + eps).sqrt()) as f32)
        .collect();
    let shift = floats[1].iter().zip(&floats[2]).zip(&factor).map(|((b, mean), factor)| b - mean * factor).collect();
    let params = vec![
        ("weight", array(&Tensor::floats(vec![channels], factor))?),
        ("bias", array(&Tensor::floats(vec![channels], shift))?),
    ];
    reader.add(name, Op::Scale(Scale { channels, bias: true, trained: true }), &[&input], params)
}

/// Over the channels of each position.
pub(super) fn layer_norm<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let axis = input.axis(node.int("axis").unwrap_or(-1))?;
    let last = input.seen().len();
    if axis != last || input.channel_axis() != Some(last) {
        return Err(format!(
            "normalises [N, {}] from axis {axis} on; only over the channels is known here",
            join(&input.seen())
        ));
    }
    let floats = |tensor: &Tensor| tensor.to_floats().ok_or("numbers that depend on the batch");
    let weight = floats(&*reader.tensor(node, 1)?)?;
    let bias = match reader.maybe_tensor(node, 2)? {
        Some(bias) => floats(&bias)?,
        None => vec![0.0; weight.len()],
    };
    let eps = f64::from(node.float("epsilon").unwrap_or(1e-5));
    layer_norm_node(reader, node.output(), &input, eps, weight, bias)
}

/// A layer norm of `input` over its channels as a node called `name`.
pub(super) fn layer_norm_node(
    reader: &mut Reader<'_>,
    name: &str,
    input: &Live,
    eps: f64,
    weight: Vec<f32>,
    bias: Vec<f32>,
) -> Result<Live, String> {
    let channels = input.shape[0];
    let array = |values: Vec<f32>| Tensor::floats(vec![values.len()], values).array(vec![channels]);
    let params = vec![("weight", array(weight)?), ("bias", array(bias)?)];
    let made = reader.add(name, Op::LayerNorm2d(LayerNorm2d { channels, eps }), &[input], params)?;
    Ok(Live { view: input.view, ..made })
}
