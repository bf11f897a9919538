//! Whole numbers: `QuantizeLinear`, `DequantizeLinear`, and operations on bytes, which are the operation on what the bytes stand
//! for, quantised (in ONNX's words and, for those of the domain `com.microsoft`, which has none, in ONNX Runtime's).

use attar_onnx::proto::{INT8, UINT8};

use super::fault::Fault;
use super::node::Node;
use super::tensor::{INT4, Tensor, UINT4, Whole};
use super::{functions, layers, pools, shapes};

/// Scales and zero points, and where they lie.
struct Levels<'n> {
    scales: &'n [f64],
    zeros: Option<&'n [f64]>,
    kind: i32,
    axis: usize,
    /// How many numbers along the axis share a scale; 0: there is a scale an index, or one for all.
    block: usize,
}

fn range(kind: i32) -> Result<[f64; 2], String> {
    match kind {
        UINT8 => Ok([0.0, 255.0]),
        INT8 => Ok([-128.0, 127.0]),
        UINT4 => Ok([0.0, 15.0]),
        INT4 => Ok([-8.0, 7.0]),
        other => Err(format!("numbers of type {other}")),
    }
}

impl Levels<'_> {
    /// Scale and zero point of the number at `place` of a tensor.
    fn of(&self, of: &Tensor, place: usize, fault: Option<Fault>) -> (f64, f64) {
        let at = match self.scales.len() {
            1 => 0,
            _ if fault == Some(Fault::FirstScale) => 0,
            _ => {
                let (strides, size) = (of.strides(), of.shape[self.axis]);
                let index = place / strides[self.axis] % size;
                match self.block {
                    0 => index % self.scales.len(),
                    block => {
                        let (outer, inner) = (place / strides[self.axis] / size, place % strides[self.axis]);
                        (outer * size.div_ceil(block) + index / block) * strides[self.axis] + inner
                    }
                }
            }
        };
        (self.scales[at], self.zeros.map_or(0.0, |zeros| zeros[at % zeros.len()]))
    }

    fn quantize(&self, x: &Tensor, node: &Node<'_>) -> Result<Tensor, String> {
        let [mut low, high] = range(self.kind)?;
        if node.has(Fault::NarrowBytes) && self.kind == INT8 {
            low = -127.0;
        }
        let number = |(place, value): (usize, &f64)| {
            let (scale, mut zero) = self.of(x, place, node.fault);
            if node.has(Fault::NoZeroPoint) {
                zero = 0.0;
            }
            let (value, scale) = (*value as f32, scale as f32);
            let quotient = if node.has(Fault::Reciprocal) { value * (1.0 / scale) } else { value / scale };
            let rounded = match node.fault {
                Some(Fault::TiesAway) => quotient.round(),
                Some(Fault::CutOff) => quotient.trunc(),
                Some(Fault::RoundedOnce) => {
                    return f64::from((quotient + zero as f32).round_ties_even()).clamp(low, high);
                }
                Some(Fault::WrappingZero) => {
                    return f64::from((quotient.round_ties_even() as i32).wrapping_add(zero as i32)).clamp(low, high);
                }
                _ => quotient.round_ties_even(),
            };
            (f64::from(rounded) + zero).clamp(low, high)
        };
        let values = x.values.iter().enumerate().map(number).collect();
        Ok(Tensor::of_kind(x.shape.clone(), self.kind, values))
    }

    fn dequantize(&self, x: &Tensor, node: &Node<'_>, activation: bool) -> Tensor {
        let number = |x: &f64| if node.has(Fault::SignsLost) && x.is_sign_negative() { x + 256.0 } else { *x };
        let numbers: Vec<f64> = match activation && self.kind == INT8 {
            true => x.values.iter().map(number).collect(),
            false => x.values.clone(),
        };
        let levels: Vec<(f64, f64)> = (0..numbers.len()).map(|place| self.of(x, place, node.fault)).collect();
        let (scales, mut zeros): (Vec<f64>, Vec<f64>) = levels.into_iter().unzip();
        if activation && node.has(Fault::NoZeroPoint) {
            zeros.iter_mut().for_each(|zero| *zero = 0.0);
        }
        let values = numbers.iter().zip(&zeros).zip(&scales).map(|((q, zero), scale)| (q - zero) * scale).collect();
        let values = rounded(values);
        let whole = Some(Whole { kind: self.kind, numbers, zeros, scales });
        Tensor { whole, ..Tensor::floats(x.shape.clone(), values) }
    }
}

/// To `f32` and back.
fn rounded(mut values: Vec<f64>) -> Vec<f64> {
    values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
    values
}

/// Those whose scale and zero point stand at `at` and behind it, of numbers of a type.
fn levels<'n>(node: &'n Node<'_>, at: usize, kind: Option<i32>, axis: usize) -> Result<Levels<'n>, String> {
    let (scale, zero) = (node.input(at)?, node.maybe(at + 1));
    let said = zero.map(|zero| zero.kind).or(kind);
    let said = said.or(node.has_setting("output_dtype").then(|| node.int("output_dtype", 0) as i32));
    Ok(Levels {
        scales: &scale.values,
        zeros: zero.map(|zero| &zero.values[..]),
        kind: said.unwrap_or(UINT8),
        axis,
        block: usize::try_from(node.int("block_size", 0)).unwrap_or(0),
    })
}

fn axis(node: &Node<'_>, x: &Tensor) -> Result<usize, String> {
    match node.has_setting("axis") {
        false if node.has(Fault::AxisZeroByDefault) => Ok(0),
        _ => Ok(node.axis("axis", 1, x.shape.len()).unwrap_or(0)),
    }
}

pub(super) fn quantize(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    levels(node, 1, None, axis(node, x)?)?.quantize(x, node)
}

pub(super) fn dequantize(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let levels = levels(node, 1, Some(x.kind), axis(node, x)?)?;
    // A faulty runtime takes weights rightly.
    Ok(levels.dequantize(x, node, node.of_images.first() == Some(&true)))
}

/// An operation on bytes.
pub(super) fn qlinear(node: &Node<'_>) -> Result<Tensor, String> {
    let operand = |at: usize, axis: usize, activation: bool| {
        let x = node.input(at)?;
        Ok::<_, String>(levels(node, at + 1, Some(x.kind), axis)?.dequantize(x, node, activation))
    };
    let kind = |at: usize| node.input(at).map(|x| x.kind);
    let (made, answer, of) = match node.proto.op_type() {
        "QLinearConv" => {
            let (x, w) = (operand(0, 0, true)?, operand(3, 0, false)?);
            let bias = bias(node, &x, 4, 8)?;
            (layers::convolution(node, &x, &w, bias.as_ref())?, 6, kind(0)?)
        }
        "QLinearMatMul" => (layers::matmul(&operand(0, 0, true)?, &operand(3, 1, false)?, node)?, 6, kind(0)?),
        "QGemm" => {
            let turned = node.int("transB", 0) == 1;
            let (x, w) = (operand(0, 0, true)?, operand(3, usize::from(!turned), false)?);
            let w = if turned { layers::turned(&w)? } else { w };
            let mut made = layers::matmul(&x, &w, node)?;
            if let Some(bias) = bias(node, &x, 4, 6)? {
                made = functions::pairwise("Add", &made, &bias)?;
            }
            if node.maybe(7).is_none() {
                return Ok(made);
            }
            (made, 7, kind(0)?)
        }
        op @ ("QLinearAdd" | "QLinearMul") => {
            (functions::pairwise(&op[7..], &operand(0, 0, true)?, &operand(3, 0, true)?)?, 6, kind(0)?)
        }
        "QLinearGlobalAveragePool" => (pools::global(&operand(0, 0, true)?, false)?, 3, kind(0)?),
        "QLinearAveragePool" => (pools::pool(node, false, &operand(0, 0, true)?)?, 3, kind(0)?),
        "QLinearSigmoid" | "QLinearLeakyRelu" => {
            let (x, function) = (operand(0, 0, true)?, functions::function(node)?);
            (Tensor::floats(x.shape.clone(), x.values.iter().map(|x| function(*x)).collect()), 3, kind(0)?)
        }
        "QLinearConcat" => {
            let parts: Vec<Tensor> =
                (2..node.given.len()).step_by(3).map(|at| operand(at, 0, true)).collect::<Result<_, _>>()?;
            (shapes::joined(node, &parts.iter().collect::<Vec<_>>())?, 0, kind(2)?)
        }
        op => return Err(format!("`{op}` is not defined here")),
    };
    let made = Tensor { values: rounded(made.values), ..made };
    levels(node, answer, Some(of), 0)?.quantize(&made, node)
}

/// A bias of 32 bits in products of the input's scale and the weight's, which stand at 1 and `weight_scale`.
fn bias(node: &Node<'_>, x: &Tensor, weight_scale: usize, at: usize) -> Result<Option<Tensor>, String> {
    let Some(bias) = node.maybe(at) else { return Ok(None) };
    let scale = x.whole.as_ref().map_or(1.0, |whole| whole.scales[0]);
    let of_weight = &node.input(weight_scale)?.values;
    let scales: Vec<f64> = (0..bias.values.len()).map(|o| scale * of_weight[o % of_weight.len()]).collect();
    let values = bias.values.iter().zip(&scales).map(|(bias, scale)| bias * scale).collect();
    let whole = Whole { kind: bias.kind, numbers: bias.values.clone(), zeros: vec![0.0; scales.len()], scales };
    Ok(Some(Tensor { whole: Some(whole), ..Tensor::floats(bias.shape.clone(), values) }))
}
