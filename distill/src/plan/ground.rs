//! What a plan stands on: device, images, the student and its first weights.

use attar_data::Splits;
use attar_exec::Params;
use attar_formats::card::Origin;
use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Graph, Outline};
use candle_core::Device;

use super::data::PlannedData;
use super::rewrite::InIntegers;
use super::scan::Look;
use super::start::Start;
use super::{GivenStudent, fail, numbers};
use crate::error::Result;
use crate::recipe::{NetworkSection, Recipe};

/// Everything that is resolved before teachers and losses are looked at.
pub(super) struct Ground {
    pub(super) device: Device,
    /// Why it is not the device that people may have hoped for.
    pub(super) device_note: Option<String>,
    pub(super) data: PlannedData,
    pub(super) student: Graph,
    /// Where that network came from.
    pub(super) origin: Origin,
    pub(super) params: Params,
    /// Of a student in integers what it learns by.
    pub(super) integers: Option<InIntegers>,
    /// sha256 of the file of weights that the student starts from.
    pub(super) init_sha256: Option<String>,
    /// What people should know of the start.
    pub(super) notes: Vec<String>,
}

impl Ground {
    /// Images and student are opened as the recipe says where a program gave none. Without a `look` somebody else has looked at
    /// these images.
    pub(super) fn of(
        recipe: &Recipe,
        images: Option<Splits>,
        student: Option<GivenStudent>,
        look: Option<&Look<'_>>,
    ) -> Result<Self> {
        numbers::check(recipe)?;
        if !recipe.stages.is_empty() {
            return Err(fail("stages", "a plan is of one stage; `Recipe::chain` takes them apart"));
        }
        let opened = recipe.device.open()?;
        recipe.train.precision.check(&opened.device)?;
        let data = PlannedData::open(&recipe.data, images, recipe.data.split_seed.unwrap_or(recipe.seed), look)?;
        let start = Start::of(recipe, student, &data, &opened.device)?;
        Ok(Self {
            device: opened.device,
            device_note: opened.note,
            data,
            student: start.student,
            origin: start.origin,
            params: start.params,
            integers: start.integers,
            init_sha256: start.sha256,
            notes: start.notes,
        })
    }
}

impl Ground {
    /// The student as losses know it.
    pub(super) fn outline(&self) -> Outline {
        self.integers.as_ref().map_or_else(|| Outline::from(&self.student), |own| own.outline(&self.student))
    }
}

/// A network that learns, and its graph, with what the recipe leaves open taken from the data.
pub(super) fn build_network(section: &NetworkSection, key: &str, data: &PlannedData) -> Result<(NetworkSpec, Graph)> {
    let (classes, input) = (data.classes().len(), data.input);
    if let Some(stated) = section.classes.filter(|stated| *stated != classes) {
        return Err(fail(&format!("{key}.classes"), format!("{stated}, but the data has {classes}")));
    }
    if let Some(stated) = section.input.filter(|stated| *stated != input) {
        return Err(fail(&format!("{key}.input"), format!("{stated:?}, but the data comes as {input:?}")));
    }
    let network = section.resolve(classes, input);
    let graph = zoo::build(&network).map_err(|error| fail(key, error.to_string()))?;
    Ok((network, graph))
}
