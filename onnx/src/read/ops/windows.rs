//! Convolutions and padding.

use attar_models::Op;
use attar_models::op::{Conv2d, Pad2d, PadChannels};

use super::arithmetic::per_channel;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::tensor::Tensor;
use crate::read::value::{Live, View, join};

/// Padding `[top, left, bottom, right]` of a window that slides over an image, by `pads` or `auto_pad`.
pub(super) fn pads(
    node: &Node<'_>,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Result<[usize; 4], String> {
    let same = |upper: bool| {
        let axis = |i: usize| {
            let out = size[i].div_ceil(stride[i].max(1));
            let span = dilation[i] * (kernel[i].max(1) - 1) + 1;
            let total = ((out.max(1) - 1) * stride[i] + span).saturating_sub(size[i]);
            let (small, large) = (total / 2, total - total / 2);
            if upper { (small, large) } else { (large, small) }
        };
        let ((top, bottom), (left, right)) = (axis(0), axis(1));
        [top, left, bottom, right]
    };
    match (node.text("auto_pad").unwrap_or("NOTSET"), node.ints("pads")) {
        ("SAME_UPPER", _) => Ok(same(true)),
        ("SAME_LOWER", _) => Ok(same(false)),
        ("VALID", _) | (_, None) => Ok([0; 4]),
        (_, Some(pads)) => {
            let sizes: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
            let sizes = sizes.and_then(|sizes| <[usize; 4]>::try_from(sizes).ok());
            sizes.ok_or_else(|| format!("pads = {pads:?}, expected four sizes, of top, left, bottom and right"))
        }
    }
}

/// A convolution, and the bias that is added right behind it.
pub(super) fn conv<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let weight = reader.tensor(node, 1)?;
    // A bias of zeros that nobody trained is how an exporter writes none.
    let is_none =
        |bias: &Tensor| !bias.stored && bias.to_floats().is_some_and(|values| values.iter().all(|v| *v == 0.0));
    let bias = reader.maybe_tensor(node, 2)?.filter(|bias| !is_none(bias));
    let out_channels = weight.dims.first().copied().unwrap_or(0);
    let like = Live { shape: vec![out_channels, 1, 1], ..input.clone() };
    if bias.is_none()
        && let Some((at, next)) = reader.only_reader(node, "Add")
        && let Some(shift) = reader.other_operand(&next, node.output())
        && let Ok(values) = per_channel(&like, &shift)
    {
        let bias = Tensor::floats(vec![out_channels], values);
        let made = convolution(reader, node, next.output(), &input, &weight, Some(&bias))?;
        reader.take(at, &made);
        return Ok(made);
    }
    convolution(reader, node, node.output(), &input, &weight, bias.as_deref())
}

/// `input` convolved with `weight` `[out, in / groups, height, width]` by the settings of `node`, as a node called `name`.
pub(super) fn convolution<'f>(
    reader: &mut Reader<'f>,
    node: &Node<'f>,
    name: &str,
    input: &Live,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Live, String> {
    let input = reader.image(node, input)?;
    let [channels, h, w] = input.image()?;
    let &[out_channels, per_group, kh, kw] = &weight.dims[..] else {
        return Err(format!("a weight of shape {:?}, expected [out, in / groups, height, width]", weight.dims));
    };
    let groups = usize::try_from(node.int("group").unwrap_or(1)).map_err(|_| "a negative number of groups")?;
    if groups.checked_mul(per_group) != Some(channels) {
        return Err(format!("its weight takes {per_group} channels in {groups} groups, but it is given {channels}"));
    }
    let (stride, dilation, kernel) = (node.pair("strides", 1)?, node.pair("dilations", 1)?, [kh, kw]);
    let [top, left, bottom, right] = pads(node, [h, w], kernel, stride, dilation)?;
    let (mut input, mut padding) = (input, [top, left]);
    if [top, left] != [bottom, right] {
        let pad = Op::Pad2d(Pad2d { top, left, bottom, right });
        input = reader.add(&format!("{}.padded", node.output()), pad, &[&input], Vec::new())?;
        padding = [0, 0];
    }
    let bias_is_there = bias.is_some();
    let scale = weight.row_steps(out_channels);
    let conv = Conv2d {
        in_channels: channels,
        out_channels,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        bias: bias_is_there,
        quantized: scale.is_some(),
    };
    let mut params = vec![("weight", weight.array(conv.weight_shape())?)];
    if let Some(bias) = bias {
        params.push(("bias", bias.array(vec![out_channels])?));
    }
    params.extend(scale.map(|scale| ("weight_scale", scale)));
    reader.add(name, Op::Conv2d(conv), &[&input], params)
}

/// Zeros around images, or before and after channels.
pub(super) fn pad<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let given = reader.maybe_tensor(node, 1)?.and_then(|pads| pads.indices());
    let all = given.or_else(|| node.ints("pads").map(<[i64]>::to_vec)).ok_or("pads that are not known")?;
    let all = match reader.maybe_tensor(node, 3)?.and_then(|axes| axes.indices()) {
        Some(axes) => by_axes(&input, &all, &axes)?,
        None => all,
    };
    if all.iter().all(|pad| *pad == 0) {
        return Ok(input);
    }
    let value = reader.maybe_tensor(node, 2)?.and_then(|value| value.scalar()).or_else(|| node.float("value"));
    if node.text("mode").is_some_and(|mode| mode != "constant") || value.unwrap_or(0.0) != 0.0 {
        return Err("pads with something else than zeros, which is not known here".to_owned());
    }
    let sizes: Option<Vec<usize>> = all.iter().map(|&pad| usize::try_from(pad).ok()).collect();
    let sizes = match (input.view, sizes.as_deref()) {
        (View::ChannelsLast, Some(&[n, top, left, before, m, bottom, right, after])) => {
            Some(vec![n, before, top, left, m, after, bottom, right])
        }
        (View::ChannelsLast, _) => None,
        _ => input.image().map(|_| sizes)?,
    };
    let op = match sizes.as_deref() {
        Some(&[0, 0, top, left, 0, 0, bottom, right]) => Op::Pad2d(Pad2d { top, left, bottom, right }),
        Some(&[0, before, 0, 0, 0, after, 0, 0]) => Op::PadChannels(PadChannels { before, after }),
        _ => {
            return Err(format!(
                "pads [N, {}] by {all:?}; only around images or channels is known here",
                join(&input.seen())
            ));
        }
    };
    let made = reader.add(node.output(), op, &[&input], Vec::new())?;
    Ok(Live { view: input.view, ..made })
}

/// Pads of some axes as pads of all.
fn by_axes(input: &Live, pads: &[i64], axes: &[i64]) -> Result<Vec<i64>, String> {
    let rank = input.seen().len() + 1;
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let mut all = vec![0; 2 * rank];
    for (at, axis) in axes.iter().enumerate() {
        let axis = input.axis(*axis)?;
        (all[axis], all[rank + axis]) = (pads[at], pads[axes.len() + at]);
    }
    Ok(all)
}
