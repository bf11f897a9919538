//! Whole numbers of 8 bits: `QuantizeLinear`, `DequantizeLinear`, and operations on quantised values, which are read as
//! Dequantise, the operation on floats, Quantise.

use attar_models::Op;
use attar_models::op::{Add, Concat, Conv2d, Dequantize, Linear, Mul, Pad2d, Pool2d, Quantize};

use super::windows::pads;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::tensor::{Tensor, kind};
use crate::read::value::{Live, View, join};

/// Scale and zero point of values.
struct Affine {
    scale: f32,
    zero_point: f32,
    signed: bool,
}

fn affine<'f>(reader: &Reader<'f>, node: &Node<'f>, scale_at: usize, zero_at: usize) -> Result<Affine, String> {
    let scale = reader.tensor(node, scale_at)?;
    let zero = reader.maybe_tensor(node, zero_at)?;
    let one = |tensor: &Tensor| {
        tensor.scalar().ok_or("a scale for each channel of a value that depends on the images is not known here")
    };
    let kind = zero.as_ref().map_or(kind::UINT8, |zero| zero.kind);
    let signed = match kind {
        kind::INT8 => true,
        kind::UINT8 => false,
        other => return Err(format!("quantises to type {other} (TensorProto.DataType); 8 bits are known here")),
    };
    Ok(Affine { scale: one(&scale)?, zero_point: zero.map_or(Ok(0.0), |zero| one(&zero))?, signed })
}

impl Affine {
    fn params(&self) -> Result<Vec<(&'static str, attar_models::Array)>, String> {
        let one = |value: f32| Tensor::scalar_of(value).array(vec![1]);
        Ok(vec![("scale", one(self.scale)?), ("zero_point", one(self.zero_point)?)])
    }

    fn quantize(&self, reader: &mut Reader<'_>, name: &str, input: &Live) -> Result<Live, String> {
        let made = reader.add(name, Op::Quantize(Quantize { signed: self.signed }), &[input], self.params()?)?;
        Ok(Live { view: input.view, ..made })
    }

    fn dequantize(&self, reader: &mut Reader<'_>, name: &str, input: &Live) -> Result<Live, String> {
        let made = reader.add(name, Op::Dequantize(Dequantize {}), &[input], self.params()?)?;
        Ok(Live { view: input.view, ..made })
    }
}

pub(super) fn quantize<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    affine(reader, node, 1, 2)?.quantize(reader, node.output(), &input)
}

pub(super) fn dequantize<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    affine(reader, node, 1, 2)?.dequantize(reader, node.output(), &input)
}

/// An operation on quantised values.
pub(super) fn qlinear<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let name = node.output();
    let inner = |what: &str| format!("{name}.{what}");
    let (op, operands, answer, params) = match node.op() {
        "QLinearConv" => conv(reader, node)?,
        "QLinearMatMul" => matmul(reader, node, 3, 6, None)?,
        "QGemm" => gemm(reader, node)?,
        "QLinearAdd" | "QLinearMul" => {
            let op = if node.op() == "QLinearAdd" { Op::Add(Add {}) } else { Op::Mul(Mul {}) };
            let a = operand(reader, node, 0, &inner("a"))?;
            let b = operand(reader, node, 3, &inner("b"))?;
            let (a, b) = if a.shape.iter().product::<usize>() < b.shape.iter().product() { (b, a) } else { (a, b) };
            (op, vec![a, b], affine(reader, node, 6, 7)?, Vec::new())
        }
        "QLinearGlobalAveragePool" => {
            let x = operand(reader, node, 0, &inner("dequantised"))?;
            if node.int("channels_last").unwrap_or(0) != 0 {
                return Err("pools with the channels last".to_owned());
            }
            let [_, h, w] = x.image()?;
            let pool = Pool2d { kernel: [h, w], ..Pool2d::square(1, 1, 0) };
            (Op::AvgPool2d(pool), vec![x], affine(reader, node, 3, 4)?, Vec::new())
        }
        "QLinearAveragePool" => {
            let x = operand(reader, node, 0, &inner("dequantised"))?;
            let [_, h, w] = x.image()?;
            let (kernel, stride) = (node.pair("kernel_shape", 1)?, node.pair("strides", 1)?);
            let [top, left, bottom, right] = pads(node, [h, w], kernel, stride, [1, 1])?;
            let padding_end = ([top, left] != [bottom, right]).then_some([bottom, right]);
            let count_include_pad = node.int("count_include_pad").unwrap_or(0) != 0;
            let ceil_mode = node.int("ceil_mode").unwrap_or(0) != 0;
            let pool = Pool2d { kernel, stride, padding: [top, left], padding_end, ceil_mode, count_include_pad };
            (Op::AvgPool2d(pool), vec![x], affine(reader, node, 3, 4)?, Vec::new())
        }
        "QLinearConcat" => {
            // Its scale and zero point come first, then value, scale and zero point of each part.
            let parts = (2..node.proto.input.len()).step_by(3);
            let parts: Vec<Live> =
                parts.map(|at| operand(reader, node, at, &inner(&format!("part{at}")))).collect::<Result<_, _>>()?;
            (Op::Concat(Concat { inputs: parts.len() }), parts, affine(reader, node, 0, 1)?, Vec::new())
        }
        "QLinearSigmoid" | "QLinearLeakyRelu" => {
            return Err("is a function on bytes that is not known here; QDQ files spell it out".to_owned());
        }
        op => return Err(format!("`{op}` is no operation that is known here")),
    };
    let parts: Vec<&Live> = operands.iter().collect();
    let made = reader.add(&inner("float"), op, &parts, params)?;
    answer.quantize(reader, name, &made)
}

/// What an operation on quantised values is on floats: itself, what it is given, what its answer is quantised by, its weights.
type OnFloats = (Op, Vec<Live>, Affine, Vec<(&'static str, attar_models::Array)>);

/// The value at `at`, whose scale and zero point follow it, as floats.
fn operand<'f>(reader: &mut Reader<'f>, node: &Node<'f>, at: usize, name: &str) -> Result<Live, String> {
    let live = reader.live(node, at)?;
    affine(reader, node, at + 1, at + 2)?.dequantize(reader, name, &live)
}

/// A quantised constant at `at` as floats. Its scales are one, or one for each index of `axis`.
fn weight<'f>(reader: &Reader<'f>, node: &Node<'f>, at: usize, axis: usize) -> Result<(Tensor, Vec<f32>), String> {
    let (values, scale) = (reader.tensor(node, at)?, reader.tensor(node, at + 1)?);
    let zero = reader.maybe_tensor(node, at + 2)?;
    let made = super::fold::dequantized(&values, &scale, zero.as_deref(), axis)?;
    Ok((made, scale.to_floats().unwrap_or_default()))
}

fn conv<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<OnFloats, String> {
    let x_scale = affine(reader, node, 1, 2)?.scale;
    let mut x = operand(reader, node, 0, &format!("{}.dequantised", node.output()))?;
    let [channels, h, w] = x.image()?;
    let (weight, scales) = weight(reader, node, 3, 0)?;
    let &[out_channels, per_group, kh, kw] = &weight.dims[..] else {
        return Err(format!("a weight of shape {:?}, expected [out, in / groups, height, width]", weight.dims));
    };
    let groups = usize::try_from(node.int("group").unwrap_or(1)).map_err(|_| "a negative number of groups")?;
    if groups.checked_mul(per_group) != Some(channels) {
        return Err(format!("its weight takes {per_group} channels in {groups} groups, but it is given {channels}"));
    }
    let (stride, dilation, kernel) = (node.pair("strides", 1)?, node.pair("dilations", 1)?, [kh, kw]);
    let [top, left, bottom, right] = pads(node, [h, w], kernel, stride, dilation)?;
    let mut padding = [top, left];
    if [top, left] != [bottom, right] {
        x = reader.add(
            &format!("{}.padded", node.output()),
            Op::Pad2d(Pad2d { top, left, bottom, right }),
            &[&x],
            Vec::new(),
        )?;
        padding = [0, 0];
    }
    let bias = reader.maybe_tensor(node, 8)?;
    let conv =
        Conv2d { in_channels: channels, out_channels, kernel, stride, padding, dilation, groups, bias: bias.is_some() };
    let mut params = vec![("weight", weight.array(conv.weight_shape())?)];
    if let Some(bias) = bias {
        params.push(("bias", float_bias(&bias, x_scale, &scales, out_channels)?));
    }
    Ok((Op::Conv2d(conv), vec![x], affine(reader, node, 6, 7)?, params))
}

/// A bias is quantised by the product of the scales of input and weight.
fn float_bias(bias: &Tensor, x_scale: f32, scales: &[f32], out: usize) -> Result<attar_models::Array, String> {
    let whole = bias.to_floats().filter(|values| values.len() == out);
    let whole = whole.ok_or_else(|| format!("a bias of shape {:?}, expected {out} numbers", bias.dims))?;
    let scale = |at: usize| scales.get(at).or(scales.first()).copied().unwrap_or(1.0);
    let values = whole.iter().enumerate().map(|(at, value)| value * x_scale * scale(at)).collect();
    Tensor::floats(vec![out], values).array(vec![out])
}

fn matmul<'f>(
    reader: &mut Reader<'f>,
    node: &Node<'f>,
    weight_at: usize,
    answer_at: usize,
    bias: Option<Vec<f32>>,
) -> Result<OnFloats, String> {
    let x = operand(reader, node, 0, &format!("{}.dequantised", node.output()))?;
    let (weight, _) = weight(reader, node, weight_at, 1)?;
    let (&[features, out], Some(values)) = (&weight.dims[..], weight.to_floats()) else {
        return Err(format!("a weight of shape {:?}, expected a matrix", weight.dims));
    };
    if x.shape != [features] || x.view != View::Plain {
        return Err(format!("its weight takes {features} features, but it is given [N, {}]", join(&x.seen())));
    }
    let rows: Vec<f32> =
        (0..out).flat_map(|o| (0..features).map(move |f| (f, o))).map(|(f, o)| values[f * out + o]).collect();
    let linear = Linear { in_features: features, out_features: out, bias: bias.is_some() };
    let mut params = vec![("weight", Tensor::floats(vec![out, features], rows).array(vec![out, features])?)];
    if let Some(bias) = bias {
        params.push(("bias", Tensor::floats(vec![out], bias).array(vec![out])?));
    }
    Ok((Op::Linear(linear), vec![x], affine(reader, node, answer_at, answer_at + 1)?, params))
}

/// ONNX Runtime's `QGemm`: a, scale, zero, b, scale, zero, c, y scale, y zero.
fn gemm<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<OnFloats, String> {
    let x_scale = affine(reader, node, 1, 2)?.scale;
    let x = operand(reader, node, 0, &format!("{}.dequantised", node.output()))?;
    let turned = node.int("transB").unwrap_or(0) != 0;
    let (weight, scales) = weight(reader, node, 3, usize::from(!turned))?;
    let (&[first, second], Some(values)) = (&weight.dims[..], weight.to_floats()) else {
        return Err(format!("a weight of shape {:?}, expected a matrix", weight.dims));
    };
    let (features, out) = if turned { (second, first) } else { (first, second) };
    if x.shape != [features] || node.int("transA").unwrap_or(0) != 0 || node.float("alpha").unwrap_or(1.0) != 1.0 {
        return Err(format!("its weight takes {features} features, but it is given [N, {}]", join(&x.seen())));
    }
    let rows: Vec<f32> = match turned {
        true => values,
        false => (0..out).flat_map(|o| (0..features).map(move |f| f * out + o)).map(|at| values[at]).collect(),
    };
    let bias = reader.maybe_tensor(node, 6)?;
    let linear = Linear { in_features: features, out_features: out, bias: bias.is_some() };
    let mut params = vec![("weight", Tensor::floats(vec![out, features], rows).array(vec![out, features])?)];
    if let Some(bias) = bias {
        params.push(("bias", float_bias(&bias, x_scale, &scales, out)?));
    }
    Ok((Op::Linear(linear), vec![x], affine(reader, node, 7, 8)?, params))
}
