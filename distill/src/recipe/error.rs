//! Where in a recipe something is wrong, and what, for people: dotted key, problem, the nearest valid name.

use attar_models::suggest;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use super::Recipe;
use super::read::{Node, Problem};
use crate::error::Error;

/// Reads a recipe's whole tree.
pub(super) fn read(tree: Table) -> Result<Recipe, Error> {
    let tree = Value::Table(tree);
    serde_path_to_error::deserialize(Node(tree.clone())).map_err(|error| {
        let path = error.path().clone();
        explain(&tree, &path, error.into_inner())
    })
}

/// The problem at `path` of `tree`. Items of lists go by their names: `losses.cd.weight`.
fn explain(tree: &Value, path: &Path, problem: Problem) -> Error {
    let (mut key, mut at) = (String::new(), Some(tree));
    for segment in path {
        match segment {
            Segment::Map { key: name } => {
                at = at.and_then(|value| value.get(name));
                key = join(&key, name);
            }
            Segment::Seq { index } => {
                at = at.and_then(|value| value.get(*index));
                key = join(&key, &item_name(*index, at));
            }
            // Of what serde holds back to look at its `kind` first, the inner path is not known.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let problem = match problem {
        Problem::UnknownKey { name, known } => {
            let mut known = known.to_vec();
            // Where serde met the key itself, the path ends with it.
            if at.is_some_and(|value| value.get(&name).is_some()) {
                known.extend(key.is_empty().then_some("base"));
                key = join(&key, &name);
            } else if !key.contains('.') {
                known.push("base");
            }
            suggest("unknown key", &name, &known)
        }
        Problem::UnknownValue { name, known } => {
            // What a program gave stands in the recipe of its run; nobody writes it.
            let kinds = key.ends_with(".kind");
            let known: Vec<&str> = known.iter().copied().filter(|word| !kinds || *word != "given").collect();
            suggest(&format!("unknown value `{name}`"), &name, &known)
        }
        Problem::Missing(name) => {
            key = join(&key, name);
            "is missing".to_owned()
        }
        Problem::NoList if key.contains('.') => "expected a list".to_owned(),
        Problem::NoList => format!("expected a list of tables, written [[{key}]]"),
        Problem::Other(problem) => problem.trim().to_owned(),
    };
    Error::Recipe { key: if key.is_empty() { "(file)".to_owned() } else { key }, problem }
}

/// How an item of a list is called: by its name, or by its place where it has none.
pub(super) fn item_name(index: usize, item: Option<&Value>) -> String {
    let name = item.and_then(|item| item.get("name")).and_then(Value::as_str);
    name.map_or_else(|| index.to_string(), str::to_owned)
}

/// Joins two dotted keys, either of which may be empty.
pub(super) fn join(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::{PLAIN, Recipe};

    const CE: &str = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }\n";

    #[test]
    fn a_mistake_is_named_by_its_key() {
        let cases = [
            ("seed=-1", "seed: invalid value: integer `-1`"),
            ("nam=x", "nam: unknown key, did you mean `name`?\n  known: name, note, seed"),
            ("nonsense=x", "robustness, base"),
            ("train.batch=[1]", "train.batch: invalid type: sequence"),
            ("train.epoch=5", "train.epoch: unknown key, did you mean `epochs`?\n  known: epochs, batch"),
            ("train.train=5", "train.train: unknown key\n"),
            ("train={}", "train.epochs: is missing"),
            ("losses=3", "losses: expected a list of tables, written [[losses]]"),
            ("losses={ name = \"ce\" }", "losses: expected a list of tables, written [[losses]]"),
            ("losses.ce.wieght=1", "losses.ce.wieght: unknown key, did you mean `weight`?"),
            ("losses.ce.loss.kind=x", "losses.ce.loss.kind: unknown value `x`\n  known: cross-entropy, kd"),
            ("losses.ce.loss.loss=1", "losses.ce.loss.loss: unknown key"),
            ("losses.ce.loss.label_smothing=1", "losses.ce.loss.label_smothing: unknown key, did you mean"),
            ("losses.ce.loss={ kind = \"kd\" }", "losses.ce.loss.temperature: is missing"),
            ("losses.ce.weight={ join = \"hold\" }", "losses.ce.weight: `at` is missing"),
            ("data.augment={ kind = \"flip\" }", "data.augment: expected a list"),
            ("data.augment=[{ kind = \"flop\" }]", "data.augment.0.kind: unknown value `flop`, did you mean `flip`?"),
            ("data.source={ kind = \"idx\" }", "data.source.root: is missing"),
            ("data.validation=1979-05-27", "data.validation: "),
        ];
        let mut wrong = Vec::new();
        for (setting, expected) in cases {
            let error = Recipe::parse(&format!("{PLAIN}{CE}"), &[setting.to_owned()]).unwrap_err().to_string();
            if !error.contains(expected) {
                wrong.push(format!("{setting} should say `{expected}`:\n{error}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        let error = Recipe::parse(PLAIN, &[]).unwrap_err().to_string();
        assert_eq!(error, "recipe: losses: is missing");
        let error = Recipe::parse("name = ", &[]).unwrap_err().to_string();
        assert!(error.starts_with("recipe: (file): "), "{error}");
    }
}
