//! Dialects, prefixes, strangers and heads of the weights of generated networks.

use super::*;
use attar_models::{generated, zoo};

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
    let counter = Array::new::<f32>(vec![], vec![7.0]).unwrap();
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
    weights.0.insert("zzz".to_owned(), Array::new::<f32>(vec![1], vec![0.0]).unwrap());
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
    assert!(message.contains("head = \"new\""), "{message}");
}

#[test]
fn any_prefix_is_taken_off_where_all_that_is_left_fits() {
    let graph = graph(RESNET20_B);
    let mut weights = renamed(&graph, |name| format!("module.encoder.backbone.{name}"));
    let extra = |names: &[&str], weights: &mut Weights| {
        let counter = Array::new::<f32>(vec![], vec![7.0]).unwrap();
        weights.0.extend(names.iter().map(|name| ((*name).to_owned(), counter.clone())));
    };
    extra(&["n_averaged", "criterion.weight", "module.encoder.backbone.conv1.total_ops"], &mut weights);
    let fitted = fit_head(&graph, weights.clone(), &Head::Given).unwrap();
    assert_eq!(fitted.weights, generated::weights(&graph, 1));
    let said = fitted.notes.join("; ");
    assert!(said.contains("`module.encoder.backbone.`"), "{said}");
    assert!(said.contains("3 arrays") && said.contains("criterion (1), n_averaged (1), total_ops (1)"), "{said}");
    // A usual prefix, and counters that every state dictionary has, are not worth a word.
    let mut usual = renamed(&graph, |name| format!("_orig_mod.module.{name}"));
    extra(&["_orig_mod.module.bn1.num_batches_tracked"], &mut usual);
    assert!(fit_head(&graph, usual, &Head::Given).unwrap().notes.is_empty());
    // What is not known to be a stranger is one.
    extra(&["module.encoder.normalize.mean"], &mut weights);
    let message = fit(&graph, weights).unwrap_err().to_string();
    assert!(message.contains("normalize.mean"), "{message}");
}

#[test]
fn of_two_networks_in_one_dictionary_the_key_is_told() {
    let graph = graph(RESNET20_B);
    let mut both = renamed(&graph, |name| format!("model.online.{name}"));
    both.0.extend(renamed(&graph, |name| format!("model.target.{name}")).0);
    let message = fit(&graph, both).unwrap_err().to_string();
    assert!(message.contains("`model.online` and `model.target`"), "{message}");
    assert!(message.contains("key = \"model.online\""), "{message}");
}

#[test]
fn a_new_head_leaves_the_old_one_out_whatever_its_size_and_name() {
    let other = graph(r#"{"name": "resnet20", "classes": 100, "input": [3, 32, 32], "shortcut": "b"}"#);
    let own = graph(RESNET20_B);
    for name in ["fc", "head.fc", "linear"] {
        let weights = renamed(&other, |own| format!("module.{}", own.replace("fc.", &format!("{name}."))));
        let fitted = fit_head(&own, weights, &Head::New).unwrap();
        assert_eq!(fitted.fresh, ["fc.weight", "fc.bias"]);
        assert_eq!(fitted.weights.0.len(), own.params().count() - 2);
    }
    let mut lacking = generated::weights(&other, 1);
    lacking.0.remove("layer2.0.conv1.weight");
    assert!(fit_head(&own, lacking, &Head::New).unwrap_err().to_string().contains("layer2.0.conv1.weight"));
}

#[test]
fn rows_of_the_head_are_taken_in_the_order_of_the_classes() {
    let (other, own) =
        (graph(r#"{"name": "resnet20", "classes": 12, "input": [3, 32, 32], "shortcut": "b"}"#), graph(RESNET20_B));
    let weights = generated::weights(&other, 1);
    let columns: Vec<usize> = (0..10).map(|class| 11 - class).collect();
    let head = Head::Rows { columns, of: 12 };
    let fitted = fit_head(&own, weights.clone(), &head).unwrap().weights;
    assert_eq!(fitted.0["fc.weight"].shape, [10, 64]);
    assert_eq!(fitted.0["fc.weight"].f32().unwrap()[..64], weights.0["fc.weight"].f32().unwrap()[11 * 64..]);
    assert_eq!(fitted.0["fc.bias"].f32().unwrap()[9], weights.0["fc.bias"].f32().unwrap()[2]);
    assert_eq!(fitted.0["conv1.weight"], weights.0["conv1.weight"]);
}

#[test]
fn a_nan_is_named() {
    let graph = graph(RESNET20_B);
    let mut weights = renamed(&graph, |name| format!("module.{name}"));
    weights.0.get_mut("module.fc.bias").unwrap().f32_mut().unwrap()[4] = f32::NAN;
    assert!(fit(&graph, weights).unwrap_err().to_string().contains("fc.bias[4] is NaN"));
}
