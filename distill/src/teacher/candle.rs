//! A network of somebody else's program as a teacher: anything that Candle runs, a module of `candle-nn` for example. Values
//! from inside are handed over by a closure that names them as they are computed.

use std::collections::BTreeMap;
use std::fmt;

use attar_exec::Outputs;
use attar_models::{NodeId, Outline};
use candle_core::{Module, Tensor, Var};

use super::{Question, Teacher};
use crate::error::{Error, Result};

/// Hands values over by their names while a forward pass computes them: `tap.hand("blocks.3", &x)`.
#[derive(Debug)]
pub struct Handed<'a> {
    /// The names that are asked for.
    wanted: &'a [&'a str],
    values: BTreeMap<String, Tensor>,
}

impl Handed<'_> {
    /// Hands a value over: `[N, C, H, W]` or `[N, F]`. What nobody asked for is dropped at once.
    pub fn hand(&mut self, name: &str, value: &Tensor) {
        if self.wanted.contains(&name) {
            self.values.insert(name.to_owned(), value.clone());
        }
    }
}

/// From pixels `[N, C, H, W]` to logits `[N, K]`.
type Forward = Box<dyn FnMut(&Tensor, &mut Handed<'_>) -> candle_core::Result<Tensor> + Send>;

/// A network that Candle runs, frozen. Its tensors must lie on the device of the run.
///
/// It is attacked through Candle's own gradients; some of these are wrong (`exec/tests/candle_defects.rs` has them), so
/// that a teacher that adversarial views ask had better be a network of Attar's.
///
/// ```
/// use attar_distill::teacher::Candle;
/// use candle_core::{Device, Tensor};
///
/// # fn main() -> candle_core::Result<()> {
/// // Any `candle_core::Module` will do; one of `candle-nn` is in `examples/own_teacher.rs`.
/// let weight = Tensor::zeros((10, 3 * 8 * 8), candle_core::DType::F32, &Device::Cpu)?;
/// let linear = move |x: &Tensor| x.flatten_from(1)?.matmul(&weight.t()?);
/// let teacher = Candle::module("linear", [3, 8, 8], 10, linear);
/// # Ok(())
/// # }
/// ```
pub struct Candle {
    outline: Outline,
    forward: Forward,
}

impl fmt::Debug for Candle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candle").field("outline", &self.outline).finish_non_exhaustive()
    }
}

impl Candle {
    /// A module that answers images `[N, C, H, W]` with `classes` logits and hands over nothing else.
    pub fn module(
        name: impl Into<String>,
        input: [usize; 3],
        classes: usize,
        module: impl Module + Send + 'static,
    ) -> Self {
        Self::with_taps(Outline::logits_only(name, input, classes), move |x, _| module.forward(x))
    }

    /// A network that hands over the values of `outline`: `forward` computes the logits and gives each value to its second
    /// argument as it comes by.
    pub fn with_taps(
        outline: Outline,
        forward: impl FnMut(&Tensor, &mut Handed<'_>) -> candle_core::Result<Tensor> + Send + 'static,
    ) -> Self {
        Self { outline, forward: Box::new(forward) }
    }

    /// What it can be asked for.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Logits and the values called `wanted`, with their gradients where the pixels have one.
    fn run(&mut self, pixels: &Tensor, wanted: &[&str]) -> Result<(Tensor, Vec<Tensor>)> {
        let name = self.outline.name();
        let fail = |problem: String| Error::Teacher { problem: format!("`{name}` {problem}") };
        let mut handed = Handed { wanted, values: BTreeMap::new() };
        let logits = (self.forward)(pixels, &mut handed)?;
        let n = pixels.dim(0)?;
        let check = |what: &str, value: &Tensor, shape: &[usize]| {
            let expected = [&[n], shape].concat();
            if value.dims() == expected {
                return Ok(());
            }
            let problem = format!("hands over {what} of shape {:?}, its outline says {expected:?}", value.dims());
            Err(fail(problem))
        };
        check("logits", &logits, self.outline.output_shape())?;
        let mut values = Vec::with_capacity(wanted.len());
        for name in wanted {
            let Some(value) = handed.values.remove(*name) else {
                let problem = format!("was asked for `{name}`, which its outline names and its forward pass did not");
                return Err(fail(format!("{problem}\n  hint: hand it over there, `tap.hand(\"{name}\", &x)`")));
            };
            let shape = &self.outline.value(self.outline.tap(name)?).shape;
            check(&format!("`{name}`"), &value, shape)?;
            values.push(value);
        }
        Ok((logits, values))
    }
}

impl Teacher for Candle {
    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let names: Vec<String> = taps.iter().map(|tap| self.outline.value(*tap).name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (logits, taps) = self.run(&question.pixels.contiguous()?, &names)?;
        // Frozen: nobody goes back through it, and what Candle keeps for that is let go.
        Ok(Outputs { logits: logits.detach(), taps: taps.iter().map(Tensor::detach).collect() })
    }

    fn input_gradient(&mut self, input: &Tensor, slope: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let pixels = Var::from_tensor(&input.contiguous()?)?;
        let (logits, _) = self.run(pixels.as_tensor(), &[])?;
        let sum = (&logits * slope(&logits.detach())?.detach())?.sum_all()?;
        let gradient = sum.backward()?.get(pixels.as_tensor()).cloned();
        Ok(gradient.map_or_else(|| input.zeros_like(), Ok)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// `logits = W x`, with `x` handed over doubled as `twice`.
    fn linear(outline: Outline) -> Candle {
        let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        Candle::with_taps(outline, move |x, tap| {
            let x = x.flatten_from(1)?;
            tap.hand("twice", &(&x * 2.0)?);
            x.matmul(&weight.t()?)
        })
    }

    fn outline() -> Outline {
        Outline::logits_only("linear", [2, 1, 1], 3).with_value("twice", &[2]).unwrap()
    }

    fn pixels() -> Tensor {
        Tensor::from_vec(vec![1f32, -1.0, 0.5, 2.0], (2, 2, 1, 1), &Device::Cpu).unwrap()
    }

    #[test]
    fn a_closure_answers_and_hands_over_what_is_asked_for() {
        let (mut teacher, pixels) = (linear(outline()), pixels());
        let tap = outline().tap("twice").unwrap();
        let question = Question { pixels: &pixels, samples: None };
        let answer = teacher.outputs(&question, &[tap]).unwrap();
        assert_eq!(answer.logits.to_vec2::<f32>().unwrap(), [[-1.0, -1.0, -1.0], [4.5, 9.5, 14.5]]);
        assert_eq!(answer.taps[0].to_vec2::<f32>().unwrap(), [[2.0, -2.0], [1.0, 4.0]]);
        assert!(teacher.outputs(&question, &[]).unwrap().taps.is_empty());
    }

    #[test]
    fn its_gradient_in_the_pixels_is_the_slope_carried_back() {
        let gradient = linear(outline()).input_gradient(&pixels(), &|logits| Ok(logits.clone())).unwrap();
        // W^T W x
        let rows = gradient.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[-9.0, -12.0], [105.5, 134.0]]);
    }

    #[test]
    fn what_the_outline_promises_and_the_network_breaks_is_told() {
        let pixels = pixels();
        let question = Question { pixels: &pixels, samples: None };
        let more = outline().with_value("never", &[2]).unwrap();
        let never = more.tap("never").unwrap();
        let message = linear(more).outputs(&question, &[never]).map(drop).unwrap_err().to_string();
        assert!(message.contains("`never`") && message.contains("hint:"), "{message}");
        let wrong = Outline::logits_only("linear", [2, 1, 1], 4);
        let message = linear(wrong).outputs(&question, &[]).map(drop).unwrap_err().to_string();
        assert!(message.contains("[2, 3]") && message.contains("[2, 4]"), "{message}");
        let wide = Outline::logits_only("linear", [2, 1, 1], 3).with_value("twice", &[5]).unwrap();
        let tap = wide.tap("twice").unwrap();
        let message = linear(wide).outputs(&question, &[tap]).map(drop).unwrap_err().to_string();
        assert!(message.contains("`twice` of shape [2, 2]"), "{message}");
    }
}
