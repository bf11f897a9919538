//! tract's values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use attar_models::{Array, Elements};
use attar_onnx::cut::Graph;
use tract_onnx::prelude::*;

use super::Values;
use crate::engine::tract::{check_proto, guarded};
use crate::error::{Error, Result};

/// Shapes and types of inputs, for which tract makes a plan.
type Facts = Vec<(Vec<usize>, &'static str)>;

/// A model, and the plan of the inputs that it was asked about last.
pub(super) struct Tract {
    model: InferenceModel,
    /// Names of its inputs in their order.
    inputs: Vec<String>,
    plan: Option<(Facts, Arc<TypedSimplePlan>)>,
}

impl Tract {
    pub(super) fn open(model: &[u8], origin: &Path) -> Result<Self> {
        let inputs = Graph::read(model).inputs().iter().map(|name| (*name).to_owned()).collect();
        let model = guarded(|| {
            let onnx = tract_onnx::onnx().with_ignore_value_info(true);
            let proto = onnx.proto_model_for_read(&mut &model[..]).map_err(|e| format!("not an ONNX file: {e:#}"))?;
            check_proto(&proto)?;
            onnx.model_for_proto_model(&proto).map_err(|e| format!("{e:#}"))
        });
        let model = model.map_err(|problem| failed(format!("{}: {problem}", origin.display())))?;
        Ok(Self { model, inputs, plan: None })
    }

    fn plan_for(&mut self, arrays: &[&Array]) -> std::result::Result<Arc<TypedSimplePlan>, String> {
        let facts: Facts = arrays.iter().map(|array| (array.shape.clone(), array.elements.type_name())).collect();
        if let Some((_, plan)) = self.plan.as_ref().filter(|(known, _)| *known == facts) {
            return Ok(Arc::clone(plan));
        }
        let planned = guarded(|| {
            let mut model = self.model.clone();
            for (at, array) in arrays.iter().enumerate() {
                let fact = datum_type(&array.elements)?.fact(&array.shape);
                model = model.with_input_fact(at, fact.into()).map_err(|e| format!("{e:#}"))?;
            }
            let planned = model.into_optimized().and_then(|typed| typed.into_runnable());
            planned.map_err(|e| format!("{e:#}"))
        })?;
        self.plan = Some((facts, Arc::clone(&planned)));
        Ok(planned)
    }

    fn answer(&mut self, inputs: &[(&str, &Array)]) -> std::result::Result<Vec<Array>, String> {
        let by_name: BTreeMap<&str, &Array> = inputs.iter().copied().collect();
        let missing = |name: &String| format!("its input `{name}` was not given");
        let ordered = self.inputs.iter().map(|name| by_name.get(name.as_str()).copied().ok_or_else(|| missing(name)));
        let ordered: Vec<&Array> = ordered.collect::<std::result::Result<_, _>>()?;
        let plan = self.plan_for(&ordered)?;
        guarded(|| {
            let given: TVec<TValue> =
                ordered.iter().map(|array| Ok(tensor(array)?.into())).collect::<std::result::Result<_, String>>()?;
            let outputs = plan.run(given).map_err(|e| format!("{e:#}"))?;
            outputs.iter().map(|output| array(output)).collect()
        })
    }
}

impl Values for Tract {
    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<Array>> {
        self.answer(inputs).map_err(failed)
    }
}

fn failed(problem: String) -> Error {
    Error::Engine { engine: "tract", problem }
}

fn datum_type(elements: &Elements) -> std::result::Result<DatumType, String> {
    Ok(match elements {
        Elements::F32(_) => DatumType::F32,
        Elements::U8(_) => DatumType::U8,
        Elements::I8(_) => DatumType::I8,
        Elements::I32(_) => DatumType::I32,
        Elements::I64(_) => DatumType::I64,
        Elements::F16(_) | Elements::Bf16(_) | Elements::U32(_) => {
            return Err(format!("an input of type {}", elements.type_name()));
        }
    })
}

fn tensor(array: &Array) -> std::result::Result<Tensor, String> {
    let shape = &array.shape;
    let made = match &array.elements {
        Elements::F32(values) => Tensor::from_shape(shape, values),
        Elements::U8(values) => Tensor::from_shape(shape, values),
        Elements::I8(values) => Tensor::from_shape(shape, values),
        Elements::I32(values) => Tensor::from_shape(shape, values),
        Elements::I64(values) => Tensor::from_shape(shape, values),
        other @ (Elements::F16(_) | Elements::Bf16(_) | Elements::U32(_)) => {
            return Err(format!("an input of type {}", other.type_name()));
        }
    };
    made.map_err(|e| format!("{e:#}"))
}

fn array(output: &Tensor) -> std::result::Result<Array, String> {
    let shape = output.shape().to_vec();
    // Sizes that tract computes with are of a type of their own.
    let sizes = output.datum_type() == DatumType::TDim;
    let cast = if sizes { output.cast_to_dt(DatumType::I64) } else { output.cast_to_dt(output.datum_type()) };
    let output = cast.map_err(|e| format!("{e:#}"))?;
    let view = output.try_as_plain_ram().map_err(|e| format!("{e:#}"))?;
    macro_rules! of {
        ($kind:ident, $type:ty) => {
            view.as_slice::<$type>().map(|values| Elements::$kind(values.to_vec())).map_err(|e| format!("{e:#}"))?
        };
    }
    let elements = match output.datum_type().unquantized() {
        DatumType::F32 => of!(F32, f32),
        DatumType::U8 => of!(U8, u8),
        DatumType::I8 => of!(I8, i8),
        DatumType::I32 => of!(I32, i32),
        DatumType::I64 => of!(I64, i64),
        other => return Err(format!("an output of type {other:?}")),
    };
    Array::of_elements(shape, elements).map_err(|error| error.to_string())
}
