//! Which dictionary of a PyTorch checkpoint holds the weights: the only one, the one that a recipe's `key` names, or one that
//! is taken with a word.

use std::collections::BTreeSet;

use super::pickle::{Arena, Id, Object, Tensor};

/// Names under which training scripts put the weights, beside other dictionaries of tensors.
const WRAPPERS: [&str; 8] =
    ["state_dict", "model", "net", "network", "model_state", "model_state_dict", "student", "weights"];

/// How deep a state dictionary may be wrapped.
const DEEPEST: usize = 4;

/// Most keys that an error lists.
const SHOWN: usize = 12;

/// The dictionary that was taken.
pub(super) struct Chosen<'a> {
    /// Its tensors by name.
    pub(super) tensors: Vec<(&'a str, &'a Tensor)>,
    /// Why this one, where there was a choice.
    pub(super) note: Option<String>,
}

/// The tensors that `key` names, or without one those that are the weights by all appearance.
pub(super) fn state_dict<'a>(arena: &'a Arena, root: Id, key: Option<&str>) -> Result<Chosen<'a>, String> {
    if !matches!(arena.get(root), Object::Dict(_)) {
        return Err(no_dictionary(arena, root));
    }
    match key {
        Some(key) => named(arena, root, key),
        None => guessed(arena, root),
    }
}

/// By `key`: a way through dictionaries, dotted, and what is left of it as the beginning of the tensors' names.
fn named<'a>(arena: &'a Arena, root: Id, key: &str) -> Result<Chosen<'a>, String> {
    let key = key.trim_matches('.');
    let (mut at, mut rest) = (root, key);
    while !rest.is_empty() {
        let Some((inner, behind)) = enter(arena, at, rest) else { break };
        (at, rest) = (inner, behind);
    }
    let inside = |id: Id| -> Vec<(&'a str, &'a Tensor)> {
        let all = tensors(arena, id).into_iter();
        all.filter_map(|(name, tensor)| Some((under(name, rest)?, tensor))).collect()
    };
    // A wrapper around the one that is meant needs no name: `ema` finds `{"ema": {"module": {...}}}`.
    let mut all = inside(at);
    if all.is_empty() {
        let mut others = candidates(arena, at).into_iter().map(|(_, id)| inside(id)).filter(|found| !found.is_empty());
        if let (Some(one), None) = (others.next(), others.next()) {
            all = one;
        }
    }
    if all.is_empty() {
        return Err(format!("holds no tensors under the key `{key}`{}", keys(&candidates(arena, root))));
    }
    Ok(Chosen { tensors: all, note: None })
}

/// The name behind `prefix` and a dot; the name itself if there is no prefix.
fn under<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(name);
    }
    name.strip_prefix(prefix)?.strip_prefix('.')
}

/// The dictionary inside `at` whose key `path` begins with, and what is left of the path. The longest such key, for keys may
/// have dots in them.
fn enter<'p>(arena: &Arena, at: Id, path: &'p str) -> Option<(Id, &'p str)> {
    let Object::Dict(entries) = arena.get(at) else { return None };
    let behind = |key: &str| match path.strip_prefix(key)? {
        "" => Some(""),
        rest => rest.strip_prefix(['.', '/']),
    };
    let inner = entries.iter().filter(|(_, value)| matches!(arena.get(*value), Object::Dict(_)));
    let fits = inner.filter_map(|(key, value)| Some((*value, behind(arena.name(*key)?)?)));
    fits.min_by_key(|(_, rest)| rest.len())
}

/// Without a key. An average over the training is what timm and torchvision evaluate, so it is taken before the last weights.
fn guessed(arena: &Arena, root: Id) -> Result<Chosen<'_>, String> {
    let found = candidates(arena, root);
    let averages: Vec<_> = found.iter().filter(|(path, _)| is_average(path)).collect();
    let wrapped: Vec<_> = found.iter().filter(|(path, _)| is_wrapper(path)).collect();
    let (path, id) = match (found.as_slice(), averages.as_slice(), wrapped.as_slice()) {
        ([], _, _) => {
            return Err(whole_module(arena, root).unwrap_or_else(|| "holds no dictionary of tensors".to_owned()));
        }
        // Single numbers beside a module are not its weights.
        ([(path, _)], [], []) if path.is_empty() && whole_module(arena, root).is_some() => {
            return Err(whole_module(arena, root).unwrap_or_default());
        }
        ([one], _, _) => return Ok(Chosen { tensors: tensors(arena, one.1), note: None }),
        (_, [one], _) | (_, [], [one]) => *one,
        _ => return Err(format!("holds several dictionaries of tensors{}", keys(&found))),
    };
    let others: Vec<String> =
        found.iter().filter(|(other, _)| other != path).map(|(other, _)| format!("`{other}`")).collect();
    let why = if is_average(path) { ", the average over its training," } else { "" };
    let note = format!("`{path}`{why} was taken and not {}; `key` names another one", others.join(", "));
    Ok(Chosen { tensors: tensors(arena, *id), note: Some(note) })
}

fn is_wrapper(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| WRAPPERS.contains(&name))
}

/// Whether a name says that it is an exponential moving average: `ema`, `model_ema`, `state_dict_ema`, `ema.module`.
fn is_average(path: &str) -> bool {
    path.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case("ema"))
}

/// The innermost dictionaries of tensors below `root` and the keys that lead there, dotted.
fn candidates(arena: &Arena, root: Id) -> Vec<(String, Id)> {
    let mut found = Vec::new();
    collect(arena, root, "", 0, &mut BTreeSet::new(), &mut found);
    found
}

/// Each dictionary is visited once.
fn collect(arena: &Arena, id: Id, path: &str, depth: usize, seen: &mut BTreeSet<Id>, found: &mut Vec<(String, Id)>) {
    let Object::Dict(entries) = arena.get(id) else { return };
    if depth > DEEPEST || !seen.insert(id) {
        return;
    }
    let before = found.len();
    for (key, value) in entries {
        if let Some(key) = arena.name(*key) {
            let inner = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            collect(arena, *value, &inner, depth + 1, seen, found);
        }
    }
    if found.len() == before && !tensors(arena, id).is_empty() {
        found.push((path.to_owned(), id));
    }
}

/// The named tensors of a dictionary; whatever else is in it does not matter here.
fn tensors(arena: &Arena, id: Id) -> Vec<(&str, &Tensor)> {
    let Object::Dict(entries) = arena.get(id) else { return Vec::new() };
    let tensor = |(key, value): &(Id, Id)| match (arena.name(*key), arena.get(*value)) {
        (Some(name), Object::Tensor(tensor)) => Some((name, tensor)),
        _ => None,
    };
    entries.iter().filter_map(tensor).collect()
}

/// The keys that a recipe may write, for an error.
fn keys(found: &[(String, Id)]) -> String {
    let shown: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).filter(|path| !path.is_empty()).collect();
    let Some(first) = shown.first() else { return String::new() };
    let more = if shown.len() > SHOWN { format!(", and {} more", shown.len() - SHOWN) } else { String::new() };
    let listed = shown.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    format!(": {listed}{more}\n  hint: say which one with `key`, e.g. {{ path = \"...\", key = \"{first}\" }}")
}

/// The whole file is something else than a dictionary.
fn no_dictionary(arena: &Arena, root: Id) -> String {
    format!("holds a `{}`, expected a state dictionary{}", arena.describe(root), save_it("", arena, root))
}

/// A module that a script has put beside its epoch and its numbers, instead of the module's weights.
fn whole_module(arena: &Arena, root: Id) -> Option<String> {
    let Object::Dict(entries) = arena.get(root) else { return None };
    let module = |(key, value): &&(Id, Id)| {
        let name = arena.name(*key).unwrap_or_default();
        matches!(arena.get(*value), Object::Built(_)) && (WRAPPERS.contains(&name) || is_average(name))
    };
    let (key, value) = entries.iter().find(module)?;
    let name = arena.name(*key)?;
    let what = arena.describe(*value);
    Some(format!(
        "holds no dictionary of tensors: `{name}` is a whole `{what}`{}",
        save_it(&format!("['{name}']"), arena, *value)
    ))
}

/// How to get the weights out of a module that was pickled as a whole: its class is Python code, which only Python can run.
fn save_it(inside: &str, arena: &Arena, id: Id) -> String {
    let load = match arena.describe(id).starts_with("__torch__") {
        true => "torch.jit.load('FILE', 'cpu')".to_owned(),
        false => format!("torch.load('FILE', 'cpu', weights_only=False){inside}"),
    };
    format!(
        "\n  hint: a whole module needs its Python code; where that is at hand: python -c \"import torch; \
         torch.save({load}.state_dict(), 'weights.pth')\""
    )
}
