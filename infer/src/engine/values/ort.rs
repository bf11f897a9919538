//! ONNX Runtime's values.

use std::path::Path;

use attar_models::{Array, Elements};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType};

use super::Values;
use crate::engine::ort_session::{builder, said};
use crate::engine::{EngineSpec, ort_library};
use crate::error::{Error, Result};

/// A session and the names of its inputs.
pub(super) struct Ort {
    session: Session,
}

impl Ort {
    pub(super) fn open(model: &[u8], origin: &Path, spec: &EngineSpec) -> Result<Self> {
        let library = ort_library::load(&spec.ort)?;
        let failed = |problem: String| Error::Engine {
            engine: spec.kind.name(),
            problem: format!("{}: {problem}", origin.display()),
        };
        let mut builder = builder(&library.environment, spec.threads, spec.unfused).map_err(failed)?;
        let session = builder.commit_from_memory(model).map_err(|error| failed(said(error)))?;
        Ok(Self { session })
    }

    fn answer(&mut self, inputs: &[(&str, &Array)]) -> std::result::Result<Vec<Array>, String> {
        let given =
            inputs.iter().map(|(name, array)| Ok(((*name).to_owned(), SessionInputValue::from(tensor(array)?))));
        let given: Vec<(String, SessionInputValue<'_>)> = given.collect::<std::result::Result<_, String>>()?;
        let outputs = self.session.run(given).map_err(said)?;
        (0..outputs.len()).map(|at| array(&outputs[at])).collect()
    }
}

impl Values for Ort {
    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<Array>> {
        self.answer(inputs).map_err(|problem| Error::Engine { engine: "ort", problem })
    }
}

fn tensor(array: &Array) -> std::result::Result<DynValue, String> {
    let shape = array.shape.clone();
    let made = match &array.elements {
        Elements::F32(values) => Tensor::from_array((shape, values.clone())).map_err(said)?.into_dyn(),
        Elements::U8(values) => Tensor::from_array((shape, values.clone())).map_err(said)?.into_dyn(),
        Elements::I8(values) => Tensor::from_array((shape, values.clone())).map_err(said)?.into_dyn(),
        Elements::I32(values) => Tensor::from_array((shape, values.clone())).map_err(said)?.into_dyn(),
        Elements::I64(values) => Tensor::from_array((shape, values.clone())).map_err(said)?.into_dyn(),
        other @ (Elements::F16(_) | Elements::Bf16(_) | Elements::U32(_)) => {
            return Err(format!("an input of type {}", other.type_name()));
        }
    };
    Ok(made)
}

fn array(value: &DynValue) -> std::result::Result<Array, String> {
    fn of<T>(value: &DynValue) -> std::result::Result<Array, String>
    where
        T: attar_models::Element + ort::value::PrimitiveTensorElementType,
    {
        let (shape, values) = value.try_extract_tensor::<T>().map_err(said)?;
        let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        Array::new(shape, values.to_vec()).map_err(|error| error.to_string())
    }
    let dtype = value.dtype();
    match dtype.tensor_type() {
        Some(TensorElementType::Float32) => of::<f32>(value),
        Some(TensorElementType::Uint8) => of::<u8>(value),
        Some(TensorElementType::Int8) => of::<i8>(value),
        Some(TensorElementType::Int32) => of::<i32>(value),
        Some(TensorElementType::Int64) => of::<i64>(value),
        _ => Err(format!("an output is {dtype:?}")),
    }
}
