//! Names in other people's checkpoints to torchvision's: wrapper prefixes, and the dialects of the usual CIFAR
//! repositories kept as data. A dialect is chosen because afterwards every name and every shape fits, never by guess.

use std::collections::{BTreeMap, BTreeSet};

use attar_models::{Array, Elements, Error, Graph, Result, Weights};
use strsim::levenshtein;

use crate::strangers;

/// Prefixes that wrappers put before every name (DataParallel, Lightning, `torch.compile`).
const PREFIXES: [&str; 4] = ["module.", "model.", "net.", "_orig_mod."];

/// Most names an error lists for each side.
const SHOWN: usize = 12;

/// How many parts of a shared prefix may be taken off.
const DEEPEST: usize = 8;

/// Beginnings of names that are tried for a hint.
const MOST_PARTS: usize = 24;

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

/// What becomes of the last linear layer, whose rows are classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Head {
    /// It is taken as it is.
    #[default]
    Given,
    /// It is not taken, whatever its size: weights of other classes.
    New,
    /// Those of its `of` rows, in this order.
    Rows {
        /// For each class of the network its row in the file.
        columns: Vec<usize>,
        /// Rows in the file.
        of: usize,
    },
}

/// Weights that fit a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Under the graph's names; all of them but for `fresh`.
    pub weights: Weights,
    /// Names of the parameters that [`Head::New`] leaves to be started anew.
    pub fresh: Vec<String>,
    /// What people should know of the way here: a prefix taken off, strangers left out.
    pub notes: Vec<String>,
}

/// Weights under the names of `graph`, whatever usual names they came with.
///
/// # Errors
/// [`Error::Mismatch`] listing the names or shapes without a partner on both sides, the nearest first; or naming an
/// array that holds a NaN or an infinity.
pub fn fit(graph: &Graph, weights: Weights) -> Result<Weights> {
    fit_head(graph, weights, &Head::Given).map(|fitted| fitted.weights)
}

/// The same where the last layer may be another one. A prefix that all names share is taken off where what is left fits, and
/// what is known to be no part of a network is left out.
///
/// # Errors
/// As [`fit`].
pub fn fit_head(graph: &Graph, weights: Weights, head: &Head) -> Result<Fitted> {
    fit_whole(graph, weights, head, |renamed, prefix| one_part(graph, renamed, prefix, head))
}

/// `hint` is asked where they do not fit, with the arrays and the prefix that was taken off.
fn fit_whole(
    graph: &Graph,
    weights: Weights,
    head: &Head,
    hint: impl Fn(&BTreeMap<String, Array>, &str) -> Option<String>,
) -> Result<Fitted> {
    let mut arrays = weights.0;
    let mut wanted: BTreeMap<String, Vec<usize>> = graph.params().map(|param| (param.name, param.shape)).collect();
    let dropped = strangers::take_out(&mut arrays, |name| wanted.contains_key(name));
    let head_names = last_layer(graph);
    let mut fresh = Vec::new();
    match head {
        Head::Given => {}
        Head::New => {
            fresh.clone_from(&head_names);
            wanted.retain(|name, _| !head_names.contains(name));
        }
        Head::Rows { of, .. } => {
            let shapes = wanted.iter_mut().filter(|(name, _)| head_names.contains(name));
            shapes.filter_map(|(_, shape)| shape.first_mut()).for_each(|rows| *rows = *of);
        }
    }
    let (prefix, dialect) = reading(&wanted, &arrays);
    let (prefix, before) = (prefix.to_owned(), arrays.len());
    let own = |name: &str| dialect.translate(&name[prefix.len()..]);
    let mut renamed: BTreeMap<String, Array> = arrays.into_iter().map(|(name, array)| (own(&name), array)).collect();
    let fail = |problem: String| Error::Mismatch { network: graph.name().to_owned(), problem };
    if renamed.len() != before {
        return Err(fail("several arrays of the file have the same name in the network".to_owned()));
    }
    if *head == Head::New {
        renamed.retain(|name, _| wanted.contains_key(name) || !is_head(name, &head_names));
    }
    if let Some(mut problem) = differences(&wanted, &renamed, &head_names) {
        problem += &hint(&renamed, &prefix).unwrap_or_default();
        return Err(fail(problem));
    }
    if let Head::Rows { columns, .. } = head {
        let mut of_head = renamed.iter_mut().filter(|(name, _)| head_names.contains(name));
        of_head.try_for_each(|(_, array)| pick(array, columns))?;
    }
    let weights = Weights(renamed);
    weights.check_finite(graph)?;
    let usual = prefix.split_inclusive('.').all(|part| PREFIXES.contains(&part));
    let stripped = (!usual).then(|| format!("the names were read without their prefix `{prefix}`"));
    Ok(Fitted { weights, fresh, notes: stripped.into_iter().chain(strangers::note(&dropped)).collect() })
}

/// The parameters of the last linear layer.
fn last_layer(graph: &Graph) -> Vec<String> {
    graph.head().map(|id| graph.node(id).params().map(|param| param.name).collect()).unwrap_or_default()
}

/// How other networks call their last layer: what is left over under such a name goes with it.
const HEADS: [&str; 8] = ["fc", "classifier", "head", "heads", "linear", "last_linear", "output", "logits"];

fn is_head(name: &str, own: &[String]) -> bool {
    own.iter().any(|own| own == name) || name.split('.').next().is_some_and(|first| HEADS.contains(&first))
}

/// The rows of `columns`, in their order.
fn pick(array: &mut Array, columns: &[usize]) -> Result<()> {
    let width: usize = array.shape.iter().skip(1).product();
    let all = array.f32()?;
    let rows = columns.iter().filter_map(|row| all.get(row * width..(row + 1) * width));
    array.elements = Elements::F32(rows.flatten().copied().collect());
    if let Some(count) = array.shape.first_mut() {
        *count = columns.len();
    }
    Ok(())
}

/// The prefix of all names and the dialect under which most arrays find their place: with as little of either as will do, so
/// that a complete miss is reported in the file's own names.
fn reading<'a>(
    wanted: &BTreeMap<String, Vec<usize>>,
    arrays: &'a BTreeMap<String, Array>,
) -> (&'a str, &'static Dialect) {
    let mut found = ("", &DIALECTS[0]);
    let mut most = None;
    for prefix in prefixes(arrays) {
        for dialect in &DIALECTS {
            let has = |(name, array): &(&String, &Array)| {
                wanted.get(&dialect.translate(&name[prefix.len()..])) == Some(&array.shape)
            };
            let count = arrays.iter().filter(has).count();
            if most.is_none_or(|most| count > most) {
                (most, found) = (Some(count), (prefix, dialect));
            }
        }
    }
    found
}

/// The prefixes that may be taken off: first all usual ones that every name has, then one part more as long as all share it.
fn prefixes(arrays: &BTreeMap<String, Array>) -> Vec<&str> {
    let Some(first) = arrays.keys().next() else { return vec![""] };
    let shared = |end: &usize| arrays.keys().all(|name| name.len() > *end && name.starts_with(&first[..*end]));
    let ends: Vec<usize> =
        first.match_indices('.').map(|(at, _)| at + 1).take_while(|end| shared(end)).take(DEEPEST).collect();
    let mut usual = 0;
    while let Some(known) = PREFIXES.iter().find(|known| first[usual..].starts_with(**known)) {
        if !ends.contains(&(usual + known.len())) {
            break;
        }
        usual += known.len();
    }
    let further = ends.iter().filter(|end| **end > usual);
    std::iter::once(&usual).chain(further).map(|end| &first[..*end]).collect()
}

/// A hint where a part of the arrays, by the beginning of their names, would fit all by itself.
fn one_part(graph: &Graph, arrays: &BTreeMap<String, Array>, prefix: &str, head: &Head) -> Option<String> {
    let starts: BTreeSet<&str> =
        arrays.keys().flat_map(|name| name.match_indices('.').take(2).map(|(at, _)| &name[..at])).collect();
    let fits = |start: &&&str| {
        let inner = format!("{start}.");
        let part =
            arrays.iter().filter_map(|(name, array)| Some((name.strip_prefix(&inner)?.to_owned(), array.clone())));
        let part = Weights(part.collect());
        part.0.len() * 2 > graph.params().count()
            && part.0.len() < arrays.len()
            && fit_whole(graph, part, head, |_, _| None).is_ok()
    };
    let found: Vec<&&str> = starts.iter().take(MOST_PARTS).filter(fits).collect();
    let first = found.first()?;
    let all = found.iter().map(|start| format!("`{prefix}{start}`")).collect::<Vec<_>>().join(" and ");
    Some(format!("\n  hint: the arrays under {all} fit by themselves: `key = \"{prefix}{first}\"` takes them"))
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

/// What has no partner, the nearest first; `None` when everything fits.
fn differences(
    wanted: &BTreeMap<String, Vec<usize>>,
    given: &BTreeMap<String, Array>,
    head: &[String],
) -> Option<String> {
    let mut of_head = 0;
    let shapes = wanted.iter().filter_map(|(name, shape)| {
        let array = given.get(name).filter(|array| array.shape != *shape)?;
        of_head += usize::from(head.contains(name));
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
    if missing.is_empty() && unknown.is_empty() && shapes.len() == of_head {
        problem += "\n  hint: the last layer is of another number of classes; to fine-tune, let it start anew: \
                    student.from = { kind = \"weights\", path = \"...\", head = \"new\" }";
    }
    Some(problem)
}

/// Names ordered by how close they are to one of the other side. Comparing all pairs is slow for thousands of names, and
/// nobody reads further than the first dozen.
fn nearest_first(names: &[&str], others: &[&str]) -> Vec<String> {
    const COMPARED: usize = 400;
    let distance = |name: &str| {
        let distances = others.iter().take(COMPARED).map(|other| levenshtein(name, other));
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
mod tests;
