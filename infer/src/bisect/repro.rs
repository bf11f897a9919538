//! The smallest file that shows a difference: the guilty node cut out, its input, both answers, a script, and words for an
//! issue.

use std::path::Path;

use attar_formats::npy;
use attar_formats::write::bytes;
use attar_models::Array;

use super::part::{Shapes, as_cut, model, part, run_part};
use super::report::{Bisection, Compared, Finding, Found};
use super::text::sentence;
use super::walk::{Sides, batch, given_values};
use super::{Images, Live, Other, pairs};
use crate::error::{Error, Result};

/// The script that shows it; what stands in `@` is filled in.
const SCRIPT: &str = include_str!("show.py.txt");

/// Writes the folder for what was found first, and names it in the report. Without a part that can be cut out (nothing was
/// found, or the difference is not one node's) nothing is written.
///
/// # Errors
/// As [`super::bisect`], and when a file cannot be written.
pub fn write(folder: &Path, a: &Live<'_>, b: &Other<'_>, images: &Images<'_>, found: &mut Bisection) -> Result<()> {
    let Some(first) =
        found.first.clone().filter(|first| first.finding == Finding::Own || first.finding == Finding::Inherited)
    else {
        return Ok(());
    };
    let is_first = |row: &&Compared| row.value == first.value || row.other.as_ref() == Some(&first.value);
    let Some(row) = found.values.iter().find(is_first).cloned() else { return Ok(()) };
    let sides = Sides::new(a, b, images.count);
    let same_file = matches!(b, Other::Live(b) if b.model.sha256() == a.model.sha256());
    let (pairs, _) = pairs(sides.cut, &sides.given, sides.cut_is_b, same_file);
    let (Some(pair), true) = (pairs.iter().find(|pair| pair.cut.value == first.value), sides.cut.cuts()) else {
        return Ok(());
    };
    let refuse = |problem: String| Error::Engine { engine: sides.cut.spec.kind.name(), problem };
    let part = part(sides.cut, &pairs, pair).map_err(refuse)?;
    let image = batch(images, row.image, sides.cut.batch.unwrap_or(1))?;
    let wanted: Vec<_> = part.from.iter().flatten().copied().chain([pair]).collect();
    let names: Vec<&str> = wanted.iter().map(|pair| pair.cut.value.as_str()).collect();
    let own = sides.cut.watch(&names)?.of(&image)?;
    let shapes: Shapes =
        names.iter().zip(&own).map(|(name, array)| ((*name).to_owned(), array.shape.clone())).collect();
    let mut given = given_values(&sides.given, &wanted, &image, row.image)?;
    let answer = given.pop().ok_or_else(|| refuse("no answer".to_owned()))?;
    let answer = as_cut(&answer, pair, &shapes).map_err(refuse)?;
    let mut given = given.iter();
    let mut inputs = Vec::new();
    for from in &part.from {
        inputs.push(match from {
            None => image.clone(),
            Some(pair) => {
                let array = given.next().ok_or_else(|| refuse("an input without numbers".to_owned()))?;
                as_cut(array, pair, &shapes).map_err(refuse)?
            }
        });
    }
    let made = run_part(sides.cut, &part, pair, &inputs, &mut None)?;
    let (of_a, of_b) = if sides.cut_is_b { (&answer, &made) } else { (&made, &answer) };
    let named: Vec<(&str, &Array)> = part.segment.inputs.iter().copied().zip(&inputs).collect();
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    bytes(&folder.join("node.onnx"), &model(sides.cut, &part, &pair.cut.value, &named, Some(&made)))?;
    for (at, (_, array)) in named.iter().enumerate() {
        bytes(&folder.join(format!("input-{at}.npy")), &npy::bytes(array))?;
    }
    bytes(&folder.join("a.npy"), &npy::bytes(of_a))?;
    bytes(&folder.join("b.npy"), &npy::bytes(of_b))?;
    let names: Vec<&str> = part.segment.inputs.clone();
    bytes(&folder.join("show.py"), script(found, &first, &row, &names).as_bytes())?;
    let cut = [&found.a, &found.b][usize::from(sides.cut_is_b)].file.display().to_string();
    bytes(&folder.join("issue.md"), issue(found, &first, &row, &named, &cut, of_a).as_bytes())?;
    found.repro = Some(folder.to_owned());
    Ok(())
}

/// A text in quotes that both JSON and Python read.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn script(found: &Bisection, first: &Found, row: &Compared, inputs: &[&str]) -> String {
    let list = inputs.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    SCRIPT
        .replace("@WHAT@", &sentence(first, Some(row)).replace('\\', "/").replace('"', "'"))
        .replace("@A@", &quoted(&found.a.to_string()))
        .replace("@B@", &quoted(&found.b.to_string()))
        .replace("@INPUTS@", &list)
}

fn issue(
    found: &Bisection,
    first: &Found,
    row: &Compared,
    inputs: &[(&str, &Array)],
    cut: &str,
    answer: &Array,
) -> String {
    let shape = |array: &Array| format!("{} {:?}", array.elements.type_name().to_lowercase(), array.shape);
    let inputs: Vec<String> = inputs
        .iter()
        .enumerate()
        .map(|(at, (name, array))| format!("`{name}`, {}, in `input-{at}.npy`", shape(array)))
        .collect();
    format!(
        "# {op} gives other numbers\n\n{sentence}.\n\n\
         * A: {a}\n* B: {b}\n{differences}\n\
         `node.onnx` is this node with what belongs to it, cut out of {cut}. It takes {inputs} and makes `{value}`, {made}. \
         `a.npy` is what A gives for it and `b.npy` what B gives, of image {image}. `python show.py` (numpy, onnxruntime) runs \
         the node and prints how far the answers are apart.\n\n\
         Machine: {system} {machine}.\n",
        op = first.op,
        sentence = sentence(first, Some(row)),
        a = found.a,
        b = found.b,
        differences =
            first.differences.iter().map(|line| format!("* the files differ there: {line}\n")).collect::<String>(),
        inputs = inputs.join(" and "),
        value = first.value,
        made = shape(answer),
        image = row.image,
        system = std::env::consts::OS,
        machine = std::env::consts::ARCH,
    )
}
