//! Products with matrices: linear layers, and on images 1x1 convolutions.

use attar_models::Op;
use attar_models::op::{Conv2d, Linear};

use super::arithmetic::per_channel;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::tensor::{Numbers, Steps, Tensor};
use crate::read::value::{Live, View, join};

/// `alpha x W + beta c`, `W` transposed or not.
pub(super) fn gemm<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    if node.int("transA").unwrap_or(0) != 0 {
        return Err("takes its input transposed, which is not known here".to_owned());
    }
    let weight = reader.tensor(node, 1)?;
    let weight = if node.int("transB").unwrap_or(0) == 0 { transposed(&weight)? } else { rows(&weight)? };
    let weight = scaled(weight, node.float("alpha").unwrap_or(1.0));
    let bias = reader.maybe_tensor(node, 2)?;
    let bias = bias.map(|bias| repeated(&bias, weight.dims[0])).transpose()?;
    let bias = bias.map(|bias| scaled(bias, node.float("beta").unwrap_or(1.0)));
    layer(reader, node.output(), &input, &weight, bias.as_ref())
}

/// `x W`, and the bias that is added right behind it.
pub(super) fn matmul<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let weight = transposed(&*reader.tensor(node, 1)?)?;
    let out = weight.dims[0];
    let mut shape = input.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = out;
    }
    let view = if input.view == View::ChannelsLast { input.view } else { View::Plain };
    let like = Live { shape, view, ..input.clone() };
    if let Some((at, next)) = reader.only_reader(node, "Add")
        && let Some(bias) = reader.other_operand(&next, node.output())
        && let Ok(bias) = per_channel(&like, &bias)
    {
        let made = layer(reader, next.output(), &input, &weight, Some(&Tensor::floats(vec![out], bias)))?;
        reader.take(at, &made);
        return Ok(made);
    }
    layer(reader, node.output(), &input, &weight, None)
}

/// A layer called `name` whose weight is `[O, F]`: of features a linear one, of images with their channels last a 1x1 convolution.
pub(super) fn layer(
    reader: &mut Reader<'_>,
    name: &str,
    input: &Live,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Live, String> {
    let (out, features) = (weight.dims[0], weight.dims[1]);
    if input.shape.first() != Some(&features) {
        return Err(format!("its weight takes {features} features, but it is given [N, {}]", join(&input.seen())));
    }
    let in_order = of_channels_in_order(input.view, weight)?;
    let weight = in_order.as_ref().unwrap_or(weight);
    let scale = weight.row_steps(out);
    let quantized = scale.is_some();
    let (op, shape) = match (&input.shape[..], input.view) {
        ([_], _) => {
            let linear = Linear { in_features: features, out_features: out, bias: bias.is_some(), quantized };
            (Op::Linear(linear), vec![out, features])
        }
        ([_, _, _], View::ChannelsLast) => {
            let conv = Conv2d { bias: bias.is_some(), quantized, ..Conv2d::square(features, out, 1, 1, 0) };
            (Op::Conv2d(conv), vec![out, features, 1, 1])
        }
        _ => return Err(format!("a product of [N, {}] with a matrix is not known here", join(&input.seen()))),
    };
    let mut params = vec![("weight", weight.array(shape)?)];
    if let Some(bias) = bias {
        params.push(("bias", bias.array(vec![out])?));
    }
    params.extend(scale.map(|scale| ("weight_scale", scale)));
    let made = reader.add(name, op, &[input], params)?;
    let view = if input.view == View::ChannelsLast { input.view } else { View::Plain };
    Ok(Live { view, ..made })
}

/// A weight `[O, F]` for features as the network has them, where the file has each position's channels side by side.
fn of_channels_in_order(view: View, weight: &Tensor) -> Result<Option<Tensor>, String> {
    let View::RowsOfChannels { channels } = view else { return Ok(None) };
    let features = weight.dims[1];
    let positions = features / channels.max(1);
    let values = weight.to_floats().ok_or("a weight that depends on the batch")?;
    let row = |row: &[f32]| (0..features).map(|at| row[at % positions * channels + at / positions]).collect::<Vec<_>>();
    let values = values.chunks(features.max(1)).flat_map(row).collect();
    Ok(Some(Tensor { numbers: Numbers::Floats(values), ..weight.clone() }))
}

pub(super) fn rows(weight: &Tensor) -> Result<Tensor, String> {
    match weight.dims[..] {
        [_, _] => Ok(weight.clone()),
        ref dims => Err(format!("a weight of shape {dims:?}, expected a matrix")),
    }
}

/// A matrix with rows and columns exchanged.
pub(super) fn transposed(weight: &Tensor) -> Result<Tensor, String> {
    let &[rows, columns] = &weight.dims[..] else {
        return Err(format!("a weight of shape {:?}, expected a matrix", weight.dims));
    };
    let values = weight.to_floats().ok_or("a weight that depends on the batch")?;
    let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| values[r * columns + c]);
    let steps = weight.steps.as_ref().map(|steps| Steps { axis: 1 - steps.axis.min(1), ..steps.clone() });
    Ok(Tensor { steps, ..Tensor::floats(vec![columns, rows], turned.collect()) })
}

fn scaled(tensor: Tensor, factor: f32) -> Tensor {
    match tensor.to_floats() {
        Some(values) if factor != 1.0 => Tensor::floats(tensor.dims, values.iter().map(|v| v * factor).collect()),
        _ => tensor,
    }
}

/// A bias of one number for all, or one each.
fn repeated(bias: &Tensor, out: usize) -> Result<Tensor, String> {
    let values = bias.to_floats().ok_or("a bias that depends on the batch")?;
    match values[..] {
        [one] => Ok(Tensor::floats(vec![out], vec![one; out])),
        _ if values.len() == out => Ok(Tensor::floats(vec![out], values)),
        _ => Err(format!("a bias of shape {:?}, expected {out} numbers", bias.dims)),
    }
}
