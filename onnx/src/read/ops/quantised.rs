//! Whole numbers of 8 bits: `QuantizeLinear`, `DequantizeLinear`, and operations on quantised values, which are read as
//! Dequantise, the operation on floats, Quantise.

use attar_models::Op;
use attar_models::op::{Activation, Add, Dequantize, Mul, Quantize, Slope};

use super::arithmetic::Pair;
use super::{joins, linear, pools, windows};
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::size::Size;
use crate::read::tensor::{Steps, Tensor, kind};
use crate::read::value::Live;

/// Scale and zero point of values.
struct Affine {
    scale: f32,
    zero_point: f32,
    signed: bool,
}

/// The type of what is quantised without a zero point: `output_dtype`, which came with operator set 21, else unsigned bytes.
pub(super) fn said_type(node: &Node<'_>) -> i32 {
    let said = node.int("output_dtype").filter(|kind| *kind != 0 && node.op() == "QuantizeLinear");
    said.map_or(kind::UINT8, |kind| kind as i32)
}

/// Refuses scales for blocks of numbers (operator set 21), whose number may well be that of an axis.
pub(super) fn without_blocks(node: &Node<'_>) -> Result<(), String> {
    match node.int("block_size").unwrap_or(0) {
        0 => Ok(()),
        size => Err(format!("a scale for each block of {size} numbers, which is not known here")),
    }
}

fn affine<'f>(reader: &Reader<'f>, node: &Node<'f>, scale_at: usize, zero_at: usize) -> Result<Affine, String> {
    without_blocks(node)?;
    let scale = reader.tensor(node, scale_at)?;
    let zero = reader.maybe_tensor(node, zero_at)?;
    let one = |tensor: &Tensor| {
        tensor.scalar().ok_or("a scale for each channel of a value that depends on the images is not known here")
    };
    let kind = zero.as_ref().map_or(said_type(node), |zero| zero.kind);
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

    fn quantize(&self, reader: &mut Reader<'_>, name: &str, input: &Live, high: Option<u8>) -> Result<Live, String> {
        let op = Op::Quantize(Quantize { signed: self.signed, high });
        let made = reader.add(name, op, &[input], self.params()?)?;
        Ok(Live { view: input.view, ..made })
    }

    fn dequantize(&self, reader: &mut Reader<'_>, name: &str, input: &Live) -> Result<Live, String> {
        let made = reader.add(name, Op::Dequantize(Dequantize {}), &[input], self.params()?)?;
        Ok(Live { view: input.view, ..made })
    }
}

/// A quantiser, with the `Clip` behind it where that alone reads its bytes: then they end there.
pub(super) fn quantize<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let affine = affine(reader, node, 1, 2)?;
    let Some((at, clip)) = reader.only_reader(node, "Clip").filter(|_| !affine.signed) else {
        return affine.quantize(reader, node.output(), &input, None);
    };
    let bound = |at: usize| Ok::<_, String>(reader.maybe_tensor(&clip, at)?.and_then(|bound| bound.scalar()));
    let (low, high) = (bound(1)?.unwrap_or(0.0), bound(2)?.unwrap_or(255.0));
    if low != 0.0 || !(affine.zero_point..=255.0).contains(&high) {
        return Err(format!("its bytes are cut to {low} to {high}, which is not known here"));
    }
    let high = Some(high as u8).filter(|high| *high < 255);
    let made = affine.quantize(reader, clip.output(), &input, high)?;
    reader.take(at, &made);
    Ok(made)
}

pub(super) fn dequantize<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    affine(reader, node, 1, 2)?.dequantize(reader, node.output(), &input)
}

/// An operation on quantised values: dequantised, computed on floats as its float sister is, quantised.
pub(super) fn qlinear<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let inner = |what: &str| format!("{}.{what}", node.output());
    let (dequantised, float) = (inner("dequantised"), inner("float"));
    let (made, answer) = match node.op() {
        "QLinearConv" => {
            let x = operand(reader, node, 0, &dequantised)?;
            let (weight, scales) = weight(reader, node, 3, 0)?;
            let bias = float_bias(reader, node, 8, &scales)?;
            (windows::convolution(reader, node, &float, &x, &weight, bias.as_ref())?, affine(reader, node, 6, 7)?)
        }
        "QLinearMatMul" => {
            let x = operand(reader, node, 0, &dequantised)?;
            let (weight, _) = weight(reader, node, 3, 1)?;
            (linear::layer(reader, &float, &x, &linear::transposed(&weight)?, None)?, affine(reader, node, 6, 7)?)
        }
        // Without a scale of its own the answer stays floats.
        "QGemm" if node.input(7).is_none() => return gemm(reader, node, &dequantised, node.output()),
        "QGemm" => (gemm(reader, node, &dequantised, &float)?, affine(reader, node, 7, 8)?),
        "QLinearSigmoid" | "QLinearLeakyRelu" => {
            let slope = Slope::new(node.float("alpha").unwrap_or(0.01)).ok_or("a slope that is not finite")?;
            let sigmoid = node.op() == "QLinearSigmoid";
            let function = if sigmoid { Activation::Sigmoid } else { Activation::LeakyRelu(slope) };
            let x = operand(reader, node, 0, &dequantised)?;
            let made = reader.add(&float, Op::Activation(function), &[&x], Vec::new())?;
            (Live { view: x.view, ..made }, affine(reader, node, 3, 4)?)
        }
        "QLinearAdd" | "QLinearMul" => {
            let op = if node.op() == "QLinearAdd" { Op::Add(Add {}) } else { Op::Mul(Mul {}) };
            let a = operand(reader, node, 0, &inner("a"))?;
            let b = operand(reader, node, 3, &inner("b"))?;
            let Pair { wide, narrow } = Pair::of(&a, &b)?;
            let made = reader.add(&float, op, &[wide, narrow], Vec::new())?;
            (Live { view: wide.view, ..made }, affine(reader, node, 6, 7)?)
        }
        "QLinearGlobalAveragePool" | "QLinearAveragePool" if node.int("channels_last").unwrap_or(0) != 0 => {
            return Err("pools with the channels last".to_owned());
        }
        "QLinearGlobalAveragePool" => {
            let x = operand(reader, node, 0, &dequantised)?;
            let whole = Op::AvgPool2d(pools::whole(&x)?);
            (reader.add(&float, whole, &[&x], Vec::new())?, affine(reader, node, 3, 4)?)
        }
        "QLinearAveragePool" => {
            let x = operand(reader, node, 0, &dequantised)?;
            (pools::mean(reader, node, &float, &x)?, affine(reader, node, 3, 4)?)
        }
        "QLinearConcat" => {
            // Its scale and zero point come first, then value, scale and zero point of each part.
            let places = (2..node.proto.input.len()).step_by(3);
            let parts: Vec<Live> =
                places.map(|at| operand(reader, node, at, &inner(&format!("part{at}")))).collect::<Result<_, _>>()?;
            (joins::joined(reader, node, &float, &parts)?, affine(reader, node, 0, 1)?)
        }
        op => return Err(format!("`{op}` is no operation that is known here")),
    };
    answer.quantize(reader, node.output(), &made, None)
}

/// The value at `at`, whose scale and zero point follow it, as floats.
fn operand<'f>(reader: &mut Reader<'f>, node: &Node<'f>, at: usize, name: &str) -> Result<Live, String> {
    let live = reader.live(node, at)?;
    affine(reader, node, at + 1, at + 2)?.dequantize(reader, name, &live)
}

/// A quantised constant at `at` as floats, and its scales: one, or one for each index of `axis`.
fn weight<'f>(reader: &Reader<'f>, node: &Node<'f>, at: usize, axis: usize) -> Result<(Tensor, Vec<f32>), String> {
    let (values, scale) = (reader.tensor(node, at)?, reader.tensor(node, at + 1)?);
    let zero = reader.maybe_tensor(node, at + 2)?;
    let made = dequantized(&values, &scale, zero.as_deref(), axis)?;
    Ok((made, scale.to_floats().unwrap_or_default()))
}

/// The bias at `at`, if there is one: quantised by the product of the scales of the input, which stands at 1, and the weight.
fn float_bias<'f>(reader: &Reader<'f>, node: &Node<'f>, at: usize, scales: &[f32]) -> Result<Option<Tensor>, String> {
    let Some(bias) = reader.maybe_tensor(node, at)? else { return Ok(None) };
    let x_scale = affine(reader, node, 1, 2)?.scale;
    let whole = bias.to_floats().ok_or("a bias that depends on the batch")?;
    let scale = |at: usize| scales.get(at).or(scales.first()).copied().unwrap_or(1.0);
    let values = whole.iter().enumerate().map(|(at, value)| value * x_scale * scale(at)).collect();
    Ok(Some(Tensor::floats(bias.dims.clone(), values)))
}

/// ONNX Runtime's `QGemm`: a, scale, zero, b, scale, zero, c, y scale, y zero.
fn gemm<'f>(reader: &mut Reader<'f>, node: &Node<'f>, dequantised: &str, name: &str) -> Result<Live, String> {
    if node.int("transA").unwrap_or(0) != 0 || node.float("alpha").unwrap_or(1.0) != 1.0 {
        return Err("takes its input transposed or scaled, which is not known here".to_owned());
    }
    let x = operand(reader, node, 0, dequantised)?;
    let turned = node.int("transB").unwrap_or(0) != 0;
    let (weight, scales) = weight(reader, node, 3, usize::from(!turned))?;
    let weight = if turned { linear::rows(&weight)? } else { linear::transposed(&weight)? };
    let bias = float_bias(reader, node, 6, &scales)?;
    linear::layer(reader, name, &x, &weight, bias.as_ref())
}

/// `round(x / scale) + zero` of constants, with one scale for all; `said` is their type where no zero point has it.
pub(super) fn quantized(values: &Tensor, scale: &Tensor, zero: Option<&Tensor>, said: i32) -> Result<Tensor, String> {
    let floats = values.to_floats().ok_or("quantises numbers that depend on the batch")?;
    let scale = scale.scalar().ok_or("a scale for each channel of constants is not known here")?;
    let kind = zero.map_or(said, |zero| zero.kind);
    let zero = zero.map_or(Some(0.0), Tensor::scalar).ok_or("a zero point for each channel of constants")?;
    let [low, high] = match kind {
        kind::UINT8 => [0.0, 255.0],
        kind::INT8 => [-128.0, 127.0],
        other => return Err(format!("quantises to type {other} (TensorProto.DataType); 8 bits are known here")),
    };
    let whole = |x: f32| Size::of(((x / scale).round_ties_even() + zero).clamp(low, high) as i64);
    let numbers = floats.into_iter().map(whole).collect();
    Ok(Tensor { kind, ..Tensor::whole(values.dims.clone(), numbers) })
}

/// `(q - zero) * scale`, with one scale or one for each index of `axis`.
pub(super) fn dequantized(
    values: &Tensor,
    scale: &Tensor,
    zero: Option<&Tensor>,
    axis: usize,
) -> Result<Tensor, String> {
    let whole = values.indices().ok_or("dequantises what is no whole number")?;
    let scales = scale.to_floats().ok_or("scales that depend on the batch")?;
    let zeros = match zero {
        Some(zero) => zero.indices().ok_or("zero points that are no whole numbers")?,
        None => vec![0; scales.len()],
    };
    let size = values.dims.get(axis).copied().unwrap_or(1);
    if (scales.len() != 1 && scales.len() != size) || zeros.len() != scales.len() {
        return Err(format!("{} scales and {} zero points for {size} channels", scales.len(), zeros.len()));
    }
    let inner: usize = values.dims.iter().skip(axis + 1).product();
    let of = |at: usize| if scales.len() == 1 { 0 } else { (at / inner.max(1)) % size };
    let steps: Vec<i64> = whole.iter().enumerate().map(|(at, q)| q - zeros[of(at)]).collect();
    let floats = steps.iter().enumerate().map(|(at, step)| *step as f32 * scales[of(at)]).collect();
    let of_bytes = steps.iter().all(|step| (-128..=127).contains(step));
    let steps = of_bytes.then_some(Steps { axis, scales });
    Ok(Tensor { steps, ..Tensor::floats(values.dims.clone(), floats) })
}
