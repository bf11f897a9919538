//! A teacher whose logits are put into the order of the data's classes, those of other classes dropped.

use attar_exec::Outputs;
use attar_models::NodeId;
use candle_core::{Device, Tensor};

use super::{Question, Teacher};
use crate::error::Result;

/// A teacher, and which of its logits are the data's classes.
pub(crate) struct Aligned {
    inner: Box<dyn Teacher>,
    /// `[K]`: for each class of the data its logit.
    columns: Tensor,
}

impl Aligned {
    pub(crate) fn new(inner: Box<dyn Teacher>, columns: &[usize], device: &Device) -> Result<Self> {
        let columns: Vec<u32> = columns.iter().map(|column| *column as u32).collect();
        let count = columns.len();
        Ok(Self { inner, columns: Tensor::from_vec(columns, count, device)? })
    }
}

impl Teacher for Aligned {
    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let Outputs { logits, taps } = self.inner.outputs(question, taps)?;
        Ok(Outputs { logits: logits.contiguous()?.index_select(&self.columns, 1)?, taps })
    }

    fn only_samples(&self) -> bool {
        self.inner.only_samples()
    }

    /// The dropped logits have no slope.
    fn input_gradient(&mut self, input: &Tensor, slope: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let columns = self.columns.clone();
        self.inner.input_gradient(input, &|logits| {
            let picked = slope(&logits.contiguous()?.index_select(&columns, 1)?)?;
            Ok(logits.zeros_like()?.index_add(&columns, &picked.contiguous()?, 1)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `[1, 2, 3, 4]` to every image; its gradient in the pixels is the slope in the logits itself.
    struct Four;

    impl Teacher for Four {
        fn outputs(&mut self, question: &Question<'_>, _: &[NodeId]) -> Result<Outputs> {
            let row = Tensor::new(&[[1f32, 2.0, 3.0, 4.0]], &Device::Cpu)?;
            Ok(Outputs { logits: row.repeat((question.pixels.dim(0)?, 1))?, taps: Vec::new() })
        }

        fn input_gradient(&mut self, input: &Tensor, slope: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
            slope(&self.outputs(&Question { pixels: input, samples: None }, &[])?.logits)
        }
    }

    #[test]
    fn logits_are_picked_and_slopes_go_back_to_their_places() {
        let mut teacher = Aligned::new(Box::new(Four), &[3, 0], &Device::Cpu).unwrap();
        let pixels = Tensor::zeros((2, 1, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let logits = teacher.outputs(&Question { pixels: &pixels, samples: None }, &[]).unwrap().logits;
        assert_eq!(logits.to_vec2::<f32>().unwrap(), [[4.0, 1.0], [4.0, 1.0]]);
        let slope = teacher.input_gradient(&pixels, &|logits| Ok((logits * 10.0)?)).unwrap();
        assert_eq!(slope.to_vec2::<f32>().unwrap(), [[10.0, 0.0, 0.0, 40.0], [10.0, 0.0, 0.0, 40.0]]);
    }
}
