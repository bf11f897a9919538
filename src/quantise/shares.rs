//! What each layer's rounding costs in answers, and what giving it back to floats costs in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use attar_infer::EngineKind;
use attar_infer::bench::profile;
use attar_infer::engine::{EngineModel, EngineSpec};
use attar_infer::side::{Side, Stated};
use schemars::JsonSchema;
use serde::Serialize;

use super::{InFloats, Request};

/// Images by which layers are judged: each layer asks them twice.
const IMAGES: usize = 64;

/// How long each of the two models is timed.
const TIMED: Duration = Duration::from_millis(500);

/// Giving a layer back costs some time in any case: the quantisers around it.
const LEAST_COST_US: f64 = 1.0;

/// A layer's share in what is lost, and in the time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LayerShare {
    /// Name of the layer.
    pub layer: String,
    /// Mean KL divergence from the answers in floats, in nats, when this layer alone is in integers.
    pub alone: f64,
    /// By how much the mean KL divergence falls when this layer alone is given back to floats.
    pub given_back: f64,
    /// Microseconds in integers, in the engine `attar` on one thread of this machine; none where the plan has it in no step
    /// of its own.
    pub int8_us: Option<f64>,
    /// Microseconds in floats.
    pub f32_us: Option<f64>,
}

impl LayerShare {
    /// What giving it back gains, for each microsecond that it takes longer.
    pub fn worth(&self) -> f64 {
        let cost = self.f32_us.zip(self.int8_us).map_or(LEAST_COST_US, |(float, integer)| float - integer);
        (self.alone + self.given_back) / cost.max(LEAST_COST_US)
    }
}

/// The shares of all layers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Shares {
    /// Mean KL divergence with all layers in integers, in nats.
    pub all: f64,
    /// How many images it is a mean over.
    pub images: usize,
    /// In execution order.
    pub layers: Vec<LayerShare>,
}

impl Shares {
    /// Finds the shares of a model's layers. `floats` is what was looked at of it, and `quantised` what `request` made of that.
    ///
    /// # Errors
    /// As [`InFloats::quantised`]; a model that the engine `attar` does not run.
    pub fn of(
        (model, floats): (&EngineModel, &InFloats<'_>),
        quantised: &EngineModel,
        request: &Request,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let found = floats.sensitivity(request, IMAGES, progress)?;
        let [floats, integers] = [model, quantised].map(times);
        let (floats, integers) = (floats?, integers?);
        let share = |share: attar_compress::Share| LayerShare {
            int8_us: integers.get(&share.layer).copied(),
            f32_us: floats.get(&share.layer).copied(),
            layer: share.layer,
            alone: share.alone,
            given_back: share.given_back,
        };
        Ok(Self { all: found.all, images: found.images, layers: found.layers.into_iter().map(share).collect() })
    }

    /// Names of the layers, those first that are worth most.
    pub fn order(&self) -> Vec<String> {
        let mut layers: Vec<&LayerShare> = self.layers.iter().collect();
        layers.sort_by(|a, b| b.worth().total_cmp(&a.worth()));
        layers.into_iter().map(|share| share.layer.clone()).collect()
    }
}

/// Microseconds of each layer of a model.
fn times(model: &EngineModel) -> Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.bytes())?;
    let side = Side::open(&path, &Stated::default())?;
    let profiles = profile(&side, &EngineSpec::new(EngineKind::Attar), TIMED)?;
    let layers = profiles.into_iter().flat_map(|profile| profile.layers);
    Ok(layers.map(|layer| (layer.name, 1e3 * layer.ms)).collect())
}

/// Layers that are given back step by step: one, two, four, ... of those that are worth most.
pub fn given_back(order: &[String]) -> Vec<BTreeSet<String>> {
    let sizes = std::iter::successors(Some(1usize), |size| Some(size * 2)).take_while(|size| *size <= order.len() / 2);
    sizes.map(|size| order[..size].iter().cloned().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(layer: &str, gain: f64, int8_us: f64, f32_us: f64) -> LayerShare {
        let (int8_us, f32_us) = (Some(int8_us), Some(f32_us));
        LayerShare { layer: layer.to_owned(), alone: gain / 2.0, given_back: gain / 2.0, int8_us, f32_us }
    }

    #[test]
    fn what_gains_most_for_its_time_is_given_back_first() {
        let layers = vec![
            share("dear", 0.3, 10.0, 110.0),
            share("cheap", 0.2, 10.0, 12.0),
            share("free", 0.01, 9.0, 5.0), // quicker in floats: it counts as if it cost a microsecond
            share("harmful", -0.1, 10.0, 12.0),
        ];
        let order = Shares { all: 0.5, images: 8, layers }.order();
        assert_eq!(order, ["cheap", "free", "dear", "harmful"]);
        let steps: Vec<Vec<String>> = given_back(&order).into_iter().map(|step| step.into_iter().collect()).collect();
        assert_eq!(steps, [vec!["cheap".to_owned()], vec!["cheap".to_owned(), "free".to_owned()]]);
        assert!(given_back(&order[..1]).is_empty(), "at most half of them");
    }
}
