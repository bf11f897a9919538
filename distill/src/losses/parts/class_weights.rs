//! Weights of classes as a recipe writes them, settled for a data set.

use std::collections::BTreeMap;

use attar_models::did_you_mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `"balanced"`, a list in the order of the data's classes, or a table by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"balanced\", a list of numbers, or a table of numbers by class")]
pub enum ClassWeights {
    /// Weights that need no numbers.
    Named(Named),
    /// One for each class.
    List(Vec<f64>),
    /// By the name of the class; 1 for those that are not in it.
    Table(BTreeMap<String, f64>),
}

/// Weights that follow from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// `N / (K n_c)` for `n_c` of `N` training images and the `K` classes that have any (scikit-learn's rule), so that the
    /// mean over the training images is 1.
    Balanced,
}

impl ClassWeights {
    /// One number for each class, or what is wrong in words.
    pub(in crate::losses) fn settled(&self, classes: &[String], counts: &[usize]) -> Result<Vec<f64>, String> {
        match self {
            Self::Named(Named::Balanced) => {
                let present = counts.iter().filter(|count| **count > 0).count() as f64;
                let all = counts.iter().sum::<usize>() as f64;
                let of = |count: &usize| if *count == 0 { 0.0 } else { all / (present * *count as f64) };
                Ok(counts.iter().map(of).collect())
            }
            Self::List(weights) => Ok(weights.clone()),
            Self::Table(table) => {
                if let Some(unknown) = table.keys().find(|name| !classes.contains(name)) {
                    let near = did_you_mean(unknown, classes.iter().map(String::as_str));
                    let known: Vec<&str> = classes.iter().take(20).map(String::as_str).collect();
                    return Err(format!("the data has no class `{unknown}`{near}\n  classes: {}", known.join(", ")));
                }
                Ok(classes.iter().map(|name| table.get(name).copied().unwrap_or(1.0)).collect())
            }
        }
    }

    /// Checks settled weights.
    pub(in crate::losses) fn check(weights: &[f64], classes: usize) -> Result<(), String> {
        if weights.len() != classes {
            return Err(format!("{} numbers for {classes} classes", weights.len()));
        }
        if let Some(wrong) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite())) {
            return Err(format!("{wrong} is no weight, expected finite numbers, 0 or above"));
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err("all weights are 0: nothing is learned".to_owned());
        }
        Ok(())
    }
}
