//! Names in other people's checkpoints to torchvision's: wrapper prefixes, and the dialects of the usual CIFAR
//! repositories kept as data. A dialect is chosen because afterwards every name and every shape fits, never by guess.

use std::collections::BTreeMap;

use crate::error::{Error, Result, edit_distance};
use crate::graph::Graph;
use crate::weights::{Array, Weights};

/// Prefixes that wrappers put before every name (DataParallel, Lightning, `torch.compile`).
const PREFIXES: [&str; 4] = ["module.", "model.", "net.", "_orig_mod."];

/// Counters of PyTorch's batch norms, which no network here has a use for.
const COUNTER: &str = "num_batches_tracked";

/// Most names an error lists for each side.
const SHOWN: usize = 12;

/// One repository's way of naming: runs of dotted parts and what stands for them, applied in order.
struct Dialect {
    rules: &'static [(&'static str, &'static str)],
}

const DIALECTS: [Dialect; 3] = [
    // torchvision; RepDistiller and mdistiller; chenyaofo/pytorch-cifar-models; timm's ResNets.
    Dialect { rules: &[] },
    // kuangliu/pytorch-cifar; akamaster/pytorch_resnet_cifar10 (option A has no `shortcut` parameters); RepDistiller's
    // `resnetv2`.
    Dialect { rules: &[("linear", "fc"), ("shortcut", "downsample")] },
    // weiaicunzai/pytorch-cifar100.
    Dialect {
        rules: &[
            ("conv1.0", "conv1"),
            ("conv1.1", "bn1"),
            ("conv2_x", "layer1"),
            ("conv3_x", "layer2"),
            ("conv4_x", "layer3"),
            ("conv5_x", "layer4"),
            ("residual_function.0", "conv1"),
            ("residual_function.1", "bn1"),
            ("residual_function.3", "conv2"),
            ("residual_function.4", "bn2"),
            ("residual_function.6", "conv3"),
            ("residual_function.7", "bn3"),
            ("shortcut", "downsample"),
        ],
    },
];

/// Weights under the names of `graph`, whatever usual names they came with.
///
/// # Errors
/// [`Error::Mismatch`] listing the names or shapes without a partner on both sides, the nearest first; or naming an
/// array that holds a NaN or an infinity.
pub fn fit(graph: &Graph, weights: Weights) -> Result<Weights> {
    let mut arrays = weights.0;
    arrays.retain(|name, _| name.rsplit('.').next() != Some(COUNTER));
    let arrays = without_prefixes(arrays);
    let wanted: BTreeMap<String, Vec<usize>> = graph.params().map(|param| (param.name, param.shape)).collect();
    let matches = |dialect: &Dialect| {
        let has = |(name, array): (&String, &Array)| wanted.get(&dialect.translate(name)) == Some(&array.shape);
        arrays.iter().filter(|entry| has(*entry)).count()
    };
    // The first dialect wins a tie, so that a complete miss is reported in the file's own names.
    let best = DIALECTS.iter().rev().max_by_key(|dialect| matches(dialect));
    let translated = |name: String| best.map_or_else(|| name.clone(), |dialect| dialect.translate(&name));
    let before = arrays.len();
    let renamed: BTreeMap<String, Array> = arrays.into_iter().map(|(name, array)| (translated(name), array)).collect();
    let fail = |problem: String| Error::Mismatch { network: graph.name().to_owned(), problem };
    if renamed.len() != before {
        return Err(fail("several arrays of the file have the same name in the network".to_owned()));
    }
    if let Some(problem) = differences(&wanted, &renamed) {
        return Err(fail(problem));
    }
    let weights = Weights(renamed);
    weights.check(graph)?;
    Ok(weights)
}

impl Dialect {
    fn translate(&self, name: &str) -> String {
        let mut parts: Vec<&str> = name.split('.').collect();
        for (from, to) in self.rules {
            let from: Vec<&str> = from.split('.').collect();
            if let Some(at) = parts.windows(from.len()).position(|window| window == from.as_slice()) {
                parts.splice(at..at + from.len(), [*to]);
            }
        }
        parts.join(".")
    }
}

/// Takes off a prefix as long as all names have it.
fn without_prefixes(mut arrays: BTreeMap<String, Array>) -> BTreeMap<String, Array> {
    while let Some(prefix) = PREFIXES.iter().find(|prefix| arrays.keys().all(|name| name.starts_with(**prefix))) {
        if arrays.is_empty() {
            break;
        }
        arrays = arrays.into_iter().map(|(name, array)| (name[prefix.len()..].to_owned(), array)).collect();
    }
    arrays
}

/// What has no partner, the nearest first; `None` when everything fits.
fn differences(wanted: &BTreeMap<String, Vec<usize>>, given: &BTreeMap<String, Array>) -> Option<String> {
    let shapes = wanted.iter().filter_map(|(name, shape)| {
        let array = given.get(name).filter(|array| array.shape != *shape)?;
        Some(format!("{name} is {:?} in the file, {shape:?} in the network", array.shape))
    });
    let shapes: Vec<String> = shapes.collect();
    let missing: Vec<&str> = wanted.keys().filter(|name| !given.contains_key(*name)).map(String::as_str).collect();
    let unknown: Vec<&str> = given.keys().filter(|name| !wanted.contains_key(*name)).map(String::as_str).collect();
    if shapes.is_empty() && missing.is_empty() && unknown.is_empty() {
        return None;
    }
    let mut problem = String::new();
    problem += &list("shapes that differ", &shapes);
    problem += &list("only in the network", &nearest_first(&missing, &unknown));
    problem += &list("only in the file", &nearest_first(&unknown, &missing));
    let only_head = missing.is_empty() && unknown.is_empty() && shapes.len() <= 2;
    if only_head {
        problem += "\n  hint: if these are the last layer, the number of classes is another one";
    }
    Some(problem)
}

/// Names ordered by how close they are to one of the other side. Comparing all pairs is slow for thousands of names, and
/// nobody reads further than the first dozen.
fn nearest_first(names: &[&str], others: &[&str]) -> Vec<String> {
    const COMPARED: usize = 400;
    let distance = |name: &str| {
        let distances = others.iter().take(COMPARED).map(|other| edit_distance(name, other));
        distances.min().unwrap_or(usize::MAX)
    };
    let mut ranked: Vec<(usize, &str)> = names.iter().take(COMPARED).map(|name| (distance(name), *name)).collect();
    ranked.sort_unstable();
    let rest = names.iter().skip(COMPARED).copied();
    ranked.into_iter().map(|(_, name)| name).chain(rest).map(str::to_owned).collect()
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {title} ({}):", lines.len());
    for line in lines.iter().take(SHOWN) {
        text += &format!("\n    {line}");
    }
    if lines.len() > SHOWN {
        text += &format!("\n    and {} more", lines.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generated, zoo};

    fn graph(spec: &str) -> Graph {
        zoo::build(&serde_json::from_str(spec).unwrap()).unwrap()
    }

    /// The weights of a graph under other names.
    fn renamed(graph: &Graph, rename: impl Fn(&str) -> String) -> Weights {
        let canonical = generated::weights(graph, 1);
        Weights(canonical.0.into_iter().map(|(name, array)| (rename(&name), array)).collect())
    }

    fn fits(graph: &Graph, weights: Weights) {
        assert_eq!(fit(graph, weights).unwrap(), generated::weights(graph, 1));
    }

    const RESNET20_B: &str = r#"{"name": "resnet20", "classes": 10, "input": [3, 32, 32], "shortcut": "b"}"#;

    #[test]
    fn prefixes_and_counters_are_taken_off() {
        let graph = graph(RESNET20_B);
        fits(&graph, generated::weights(&graph, 1));
        let mut parallel = renamed(&graph, |name| format!("module._orig_mod.{name}"));
        let counter = Array { shape: vec![], data: vec![7.0] };
        parallel.0.insert("module._orig_mod.bn1.num_batches_tracked".to_owned(), counter);
        fits(&graph, parallel);
    }

    #[test]
    fn kuangliu_and_akamaster_are_understood() {
        let dialect = |name: &str| name.replace("fc.", "linear.").replace("downsample", "shortcut");
        let option_b = graph(RESNET20_B);
        fits(&option_b, renamed(&option_b, dialect));
        let option_a = graph(r#"{"name": "resnet20", "classes": 10, "input": [3, 32, 32], "shortcut": "a"}"#);
        fits(&option_a, renamed(&option_a, |name| format!("module.{}", dialect(name))));
    }

    /// Written from the repository's module tree, the other way round than the table.
    #[test]
    fn weiaicunzai_is_understood() {
        let dialect = |name: &str| {
            let parts: Vec<&str> = name.split('.').collect();
            match parts.as_slice() {
                ["conv1", suffix] => format!("conv1.0.{suffix}"),
                ["bn1", suffix] => format!("conv1.1.{suffix}"),
                [stage, block, "downsample", i, suffix] => format!("{}.{block}.shortcut.{i}.{suffix}", x(stage)),
                [stage, block, layer, suffix] => {
                    let number: usize = layer[layer.len() - 1..].parse().unwrap();
                    let index = 3 * (number - 1) + usize::from(layer.starts_with("bn"));
                    format!("{}.{block}.residual_function.{index}.{suffix}", x(stage))
                }
                _ => name.to_owned(),
            }
        };
        fn x(stage: &str) -> String {
            format!("conv{}_x", stage["layer".len()..].parse::<usize>().unwrap() + 1)
        }
        for name in ["resnet18", "resnet50"] {
            let spec = format!(r#"{{"name": "{name}", "classes": 100, "input": [3, 32, 32], "stem": "cifar"}}"#);
            let graph = graph(&spec);
            let weights = renamed(&graph, dialect);
            assert!(weights.get("conv3_x.0.shortcut.1.running_mean").is_some());
            fits(&graph, weights);
        }
    }

    #[test]
    fn a_miss_lists_both_sides_with_the_nearest_first() {
        let graph = graph(RESNET20_B);
        let mut weights = renamed(&graph, |name| name.replace("layer2.0.conv1", "layer2.0.convl"));
        weights.0.insert("zzz".to_owned(), Array { shape: vec![1], data: vec![0.0] });
        let message = fit(&graph, weights).unwrap_err().to_string();
        assert!(message.contains("only in the network (1):\n    layer2.0.conv1.weight"), "{message}");
        assert!(message.contains("only in the file (2):\n    layer2.0.convl.weight\n    zzz"), "{message}");
        let nothing = fit(&graph, Weights::default()).unwrap_err().to_string();
        assert!(nothing.contains("and") && nothing.contains("more"), "{nothing}");
    }

    #[test]
    fn another_number_of_classes_is_told_as_shapes() {
        let other = graph(r#"{"name": "resnet20", "classes": 100, "input": [3, 32, 32], "shortcut": "b"}"#);
        let message = fit(&graph(RESNET20_B), generated::weights(&other, 1)).unwrap_err().to_string();
        assert!(message.contains("fc.weight is [100, 64] in the file, [10, 64] in the network"), "{message}");
        assert!(message.contains("hint: if these are the last layer"), "{message}");
    }

    #[test]
    fn a_nan_is_named() {
        let graph = graph(RESNET20_B);
        let mut weights = renamed(&graph, |name| format!("module.{name}"));
        weights.0.get_mut("module.fc.bias").unwrap().data[4] = f32::NAN;
        assert!(fit(&graph, weights).unwrap_err().to_string().contains("fc.bias[4] is NaN"));
    }
}
