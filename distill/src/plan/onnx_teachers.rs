//! ONNX files as teachers: on our executor where all of their operations are known, else by a runtime that knows them.

use std::collections::BTreeMap;

use attar_models::{Activation, Graph, Op, Outline};

use super::data::PlannedData;
use super::onnx;
use super::teacher_input::made_by;
use super::teachers::{Kind, LocatedWeights, batch_sizes};
use crate::error::{Error, Result};
use crate::recipe::{TeacherNorm, TeacherSection, TeacherSource};
use crate::teacher::{Answers, OnnxRequest, OnnxTeacher, OpenOnnx};

/// The teacher that an ONNX file is. Where the recipe names a runtime, that answers.
pub(super) fn find(
    section: &TeacherSection,
    data: &PlannedData,
    batch: usize,
    open: Option<&OpenOnnx>,
    fail: &dyn Fn(String) -> Error,
) -> Result<LocatedWeights> {
    let TeacherSource::Onnx { path, preprocessing, engine } = &section.from else {
        return Err(fail("is no ONNX file".to_owned()));
    };
    preprocessing.check().map_err(|error| fail(error.to_string()))?;
    let input = made_by(preprocessing, data)?;
    // What cannot be read at all, a runtime has words for, too.
    let import = if engine.is_none() { onnx::read(path, Some(input)).ok() } else { None };
    let labels = import.as_ref().map(attar_onnx::Import::said).transpose()?.and_then(|said| said.labels);
    let (outline, answers, kind, note) = match import.map(|import| (import.network, import.notes)) {
        Some((Some((graph, weights)), notes)) => {
            check_network(&graph, section.bn).map_err(fail)?;
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            (Outline::from(&graph), Answers::Logits, Kind::Network { graph, weights }, note)
        }
        _ => {
            let request = OnnxRequest { path, engine: engine.as_deref(), input: Some(input) };
            let opened = by_runtime(&request, section, (data.train.len(), batch), open, fail)?;
            (opened.outline().clone(), opened.answers(), Kind::Ready(Box::new(opened)), None)
        }
    };
    Ok(LocatedWeights {
        outline,
        preprocessing: preprocessing.clone(),
        labels,
        stated: BTreeMap::new(),
        file: path.clone(),
        answers,
        kind,
        note,
    })
}

/// Whether a network answers with logits, and by the norms that are asked for.
fn check_network(graph: &Graph, norms: TeacherNorm) -> std::result::Result<(), String> {
    let mut nodes = graph.nodes().iter();
    if norms == TeacherNorm::Batch && !nodes.any(|node| matches!(node.op, Op::BatchNorm2d(_))) {
        return Err("`bn = \"batch\"` needs the norms; those of this ONNX file are folded".to_owned());
    }
    match graph.node(graph.output()).op {
        Op::Activation(Activation::Sigmoid | Activation::HardSigmoid) => Err(
            "its answers come from a sigmoid: a probability for each class by itself, which do not exclude each other\n  \
             hint: export the network without its last activation, so that it gives logits"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn by_runtime(
    request: &OnnxRequest<'_>,
    section: &TeacherSection,
    (images, batch): (usize, usize),
    open: Option<&OpenOnnx>,
    fail: &dyn Fn(String) -> Error,
) -> Result<OnnxTeacher> {
    if section.bn == TeacherNorm::Batch {
        return Err(fail("`bn = \"batch\"` needs the norms; a runtime does not hand them out".to_owned()));
    }
    let Some(open) = open else {
        return Err(fail("this program was built without an engine for ONNX files".to_owned()));
    };
    let mut opened = open(request)?;
    rehearse(&mut opened, images, batch).map_err(fail)?;
    Ok(opened)
}

/// Asks for batches as an epoch has them, so that what fails at the first one fails in the plan.
fn rehearse(teacher: &mut OnnxTeacher, images: usize, batch: usize) -> std::result::Result<(), String> {
    let per_image: usize = teacher.outline().input_shape().iter().product();
    for size in batch_sizes(images, batch) {
        let input = vec![0.0; size * per_image];
        let found = teacher.logits(&input, size);
        let found = found.map_err(|problem| format!("asked for a batch of {size}: {problem}"))?;
        let expected = size * teacher.outline().classes();
        if found.len() != expected {
            return Err(format!("answers a batch of {size} with {} numbers, expected {expected}", found.len()));
        }
    }
    Ok(())
}
