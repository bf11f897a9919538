//! `attar new`: a recipe that nobody had to write. The images are measured, the rest is the field's usual practice, every line
//! says why, and a recipe that does not plan is never printed.

mod choice;
mod images;
mod method;
mod teacher;
#[cfg(test)]
mod tests;
mod weights;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use attar_data::Source;
use attar_data::measure::Levels;
use attar_distill::{Plan, Recipe};
use attar_models::Error;
use attar_models::zoo::{self, Entry, NetworkSpec};
use attar_pixels::Preprocessing;
use choice::{Pace, Size};
use images::Images;
use method::Method;
use schemars::JsonSchema;
use serde::Serialize;
use teacher::Teacher;
use write::Chosen;

use super::print;
use crate::source::source;

/// Mean and deviation of ImageNet's training images, as torchvision writes them.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// Classes of ImageNet.
const IMAGENET_CLASSES: usize = 1000;

/// Writes a commented recipe for your images to stdout: mean and deviation, sizes and classes are measured, the rest is usual
/// practice for the network.
///
/// The recipe is planned before it is printed, so it can be trained as it is; what is worth knowing goes to stderr. `attar train
/// --data` and `attar distill --data` take the same options and train at once.
#[derive(Debug, clap::Args)]
#[command(
    mut_arg("student", |arg| arg.required(true)),
    after_help = "Examples:\n  attar new image-folder:photos --student mobilenet_v2 > my.toml\n  attar new image-folder:photos --student resnet18 --init resnet18.pth --epochs 10 > tuned.toml\n  attar new image-folder:photos --student mobilenet_v2 --width 0.35 --teacher runs/teacher --method cd-gkd-edt > small.toml\n  attar new image-folder:photos --student resnet18 --teacher big.pth --teacher-network resnet34 --teacher-preprocessing imagenet > taught.toml"
)]
pub(crate) struct Args {
    /// `image-folder:DIR`, `idx:DIR`, `cifar10:PATH` or `cifar100:PATH`.
    #[arg(value_name = "KIND:PATH", value_parser = source)]
    data: Source,
    /// Print JSON: the recipe's text, what was measured, and the notes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wishes: Wishes,
}

/// Over the options that make a recipe, in `--help`.
pub(super) const HEADING: &str = "A recipe without writing one";

/// What a recipe is asked to be, beside the data.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Wishes {
    /// The network that learns (`attar models` lists them).
    #[arg(long, value_name = "NETWORK", requires = "data")]
    pub(super) student: Option<String>,
    /// Width multiplier of the student (MobileNetV2).
    #[arg(long, requires = "student")]
    width: Option<f64>,
    /// What it learns from: a run or bundle (folder), an ONNX file, or weights (.pth, .safetensors).
    #[arg(long, value_name = "FILE|DIR", requires = "student")]
    teacher: Option<PathBuf>,
    /// The network that the teacher's weights are of.
    #[arg(long, value_name = "NETWORK", requires = "teacher")]
    teacher_network: Option<String>,
    /// How a teacher that does not say it sees images: `imagenet` (torchvision's weights), or a table as recipes have it.
    #[arg(long, value_name = "imagenet|TABLE", requires = "teacher")]
    teacher_preprocessing: Option<String>,
    /// How it learns: a recipe of `recipes/compare`, e.g. kd, cd-gkd-edt, dkd; `kd` with a teacher, `alone` without one.
    #[arg(long, value_name = "METHOD", requires = "student")]
    method: Option<String>,
    /// Height and width of the student's input; by the teacher or the images without it.
    #[arg(long, value_name = "PIXELS", requires = "student")]
    size: Option<usize>,
    /// Epochs to train.
    #[arg(long, requires = "student")]
    epochs: Option<usize>,
    /// Weights to start from (.pth, .safetensors): fine-tuning, also where they are of other classes.
    #[arg(long, value_name = "FILE", requires = "student")]
    init: Option<PathBuf>,
    /// Mean and deviation: `measured` on the images, or `imagenet`'s. Without it those of ImageNet where --init is of its 1,000
    /// classes, else measured.
    #[arg(long, value_name = "WHOSE", value_parser = ["measured", "imagenet"], requires = "student")]
    normalise: Option<String>,
    /// Name of the run.
    #[arg(long, requires = "student")]
    name: Option<String>,
}

/// A recipe that was made.
pub(super) struct Made {
    /// TOML with comments; relative paths as they were given.
    pub(super) text: String,
    /// What people should know of it.
    pub(super) notes: Vec<String>,
    found: images::Found,
}

/// A recipe as it is printed for programs.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Said {
    /// TOML with comments.
    recipe: String,
    measured: images::Found,
    notes: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let made = make(&args.data, &args.wishes)?;
    let plan = Plan::new(read(&made, &[])?, super::train::options())
        .context("the recipe that these options make cannot be trained, so it is not printed")?;
    let notes: Vec<String> = made.notes.iter().cloned().chain(plan.notes()).collect();
    notes.iter().for_each(attar_infer::cli::say);
    if args.json {
        return print(&super::versioned(&Said { recipe: made.text, measured: made.found, notes })?);
    }
    print(&made.text)
}

/// The recipe that a text is, its paths taken from the current folder.
pub(super) fn read(made: &Made, overrides: &[String]) -> Result<Recipe> {
    let mut recipe = Recipe::parse(&made.text, overrides)?;
    recipe.resolve_paths(&std::env::current_dir()?);
    Ok(recipe)
}

/// Looks at the images and writes the recipe.
pub(super) fn make(data: &Source, wishes: &Wishes) -> Result<Made> {
    let Some(student) = &wishes.student else {
        bail!("no student is named\n  hint: --student NETWORK; `attar models` lists them")
    };
    let Some(network) = choice::entry(student) else {
        let known: Vec<&str> = zoo::catalog().iter().map(|entry| entry.name).collect();
        return Err(Error::unknown("network", student, &known).into());
    };
    if wishes.width.is_some() && !network.has("width") {
        bail!("--width: {student} has none\n  hint: mobilenet_v2 has");
    }
    let method = Method::find(wishes.method.as_deref(), wishes.teacher.is_some())?;
    let images = Images::look(data)?;
    let found = &images.found;
    let teacher = Teacher::find(wishes, found.classes.len())?;
    let size = Size::choose(wishes.size, teacher.as_ref().and_then(|teacher| teacher.size), &network, found);
    let start = Start::find(wishes, &network, &size, found.classes.len());
    let before = teacher.as_ref().and_then(|teacher| teacher.channels).unwrap_or(1);
    let channels = if wishes.init.is_some() { 3 } else { found.channels.max(before) };
    let (levels, levels_why) = levels(wishes, &images, &size, channels, &start)?;
    let learns = found.train - (found.train as f64 * share_held_out(&images)).round() as usize;
    let pace = Pace::choose(wishes.epochs, found.train, &network, &size, wishes.init.is_some());
    let pace = pace.without_single_images(learns);
    let name = wishes.name.clone().unwrap_or_else(|| name(data, student, &method));
    let notes = notes(&images, &name);
    let chosen = Chosen {
        name: &name,
        command: command(data, wishes),
        images: &images,
        network: &network,
        width: wishes.width,
        channels,
        size: &size,
        levels: &levels,
        levels_why,
        start: start.line,
        teacher: teacher.as_ref(),
        pace: &pace,
        method: &method,
    };
    let text = chosen.text();
    Ok(Made { text, notes, found: images.found })
}

/// Of the training images.
fn share_held_out(images: &Images) -> f64 {
    if images.validation.is_some() { 0.0 } else { choice::validation(images.found.train).0 }
}

/// The weights that the student starts from.
#[derive(Debug, Default)]
struct Start {
    /// `from = ...` and its reason.
    line: Option<(String, String)>,
    /// Classes of the network that they are of, where that can be seen.
    classes: Option<usize>,
}

impl Start {
    fn find(wishes: &Wishes, network: &Entry, size: &Size, classes: usize) -> Self {
        let Some(path) = &wishes.init else { return Self::default() };
        let [height, width] = size.input;
        let mut spec = NetworkSpec::new(network.name, classes, [3, height, width]);
        if size.wants_stem(network) {
            spec.options.set("stem", zoo::Stem::Cifar);
        }
        if let Some(width) = wishes.width {
            spec.options.set("width", width);
        }
        let own = weights::classes(path, &spec);
        let (line, why) = match own {
            Some(own) if own != classes => (
                format!("from = {{ kind = \"weights\", path = {}, head = \"new\" }}", write::quoted(path)),
                format!(
                    "Trained weights of {own} classes: the last layer is made anew for these {classes}, the others are fine-tuned"
                ),
            ),
            _ => (
                format!("from = {{ kind = \"weights\", path = {} }}", write::quoted(path)),
                "Trained weights, which are fine-tuned".to_owned(),
            ),
        };
        Self { line: Some((line, why)), classes: own }
    }
}

/// Mean, deviation, and where they are from.
fn levels(wishes: &Wishes, images: &Images, size: &Size, channels: usize, start: &Start) -> Result<(Levels, String)> {
    let likely = start.classes == Some(IMAGENET_CLASSES);
    let imagenet = wishes.normalise.as_deref().map_or(likely, |whose| whose == "imagenet");
    if imagenet && channels == 3 {
        let why = match wishes.normalise {
            Some(_) => "Mean and standard deviation of ImageNet, as asked for (--normalise)",
            None => {
                "Mean and standard deviation of ImageNet, because weights of 1,000 classes were trained so as a rule: --normalise measured is the other way"
            }
        };
        let [mean, std] = IMAGENET.map(|levels| levels.to_vec());
        return Ok((Levels { mean, std }, why.to_owned()));
    }
    if imagenet {
        bail!("--normalise imagenet: it is of three colours, and all of these images are grey");
    }
    let how = preprocessing(size, channels);
    let levels = images.levels(&how)?;
    let count = images.found.looked_at;
    Ok((
        levels,
        format!("Mean and standard deviation, 0 to 1, of what the network sees of {count} training images (seed 0)"),
    ))
}

/// Resize and crop; mean and deviation do not matter.
fn preprocessing(size: &Size, channels: usize) -> Preprocessing {
    use attar_pixels::{Interpolation, Resize, ResizeTo};
    let resize =
        size.resize.map(|edge| Resize { to: ResizeTo::ShorterEdge(edge), interpolation: Interpolation::Bilinear });
    Preprocessing {
        resize,
        crop: size.resize.is_some().then_some(size.input),
        ..Preprocessing::normalise(vec![0.0; channels], vec![1.0; channels])
    }
}

/// What people should know of the images.
fn notes(images: &Images, name: &str) -> Vec<String> {
    let found = &images.found;
    let mut notes = vec![format!(
        "{name}: {} images of {} classes to learn from, {} to test; {} of them looked at",
        found.train,
        found.classes.len(),
        found.test,
        found.looked_at
    )];
    let empty: Vec<&str> =
        found.classes.iter().filter(|(_, count)| *count == 0).map(|(name, _)| name.as_str()).collect();
    if !empty.is_empty() {
        notes.push(format!("note: no training image of {}", empty.join(", ")));
    } else if found.imbalance() > 3.0 {
        notes.push(format!("note: the largest class has {:.1} times the images of the smallest", found.imbalance()));
    }
    if let Some(folder) = images.validation {
        notes.push(format!("note: {folder}/ chooses the epoch, test/ judges it"));
    }
    notes
}

/// The losses and views of a method, as text.
pub(super) fn tables(method: &str) -> Option<String> {
    [false, true].into_iter().find_map(|taught| Method::find(Some(method), taught).ok()).map(|method| method.tables)
}

/// A name that a recipe may have: the data's folder, the student, the method.
fn name(data: &Source, student: &str, method: &Method) -> String {
    let folder = data.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = folder.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let folder: String = stem.chars().map(plain).collect();
    let parts = [folder.trim_matches('-'), student, if method.name == "alone" { "" } else { method.name }];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// The command that makes the same recipe, for a comment.
fn command(data: &Source, wishes: &Wishes) -> String {
    let kind = toml::Value::try_from(data).ok();
    let kind = kind.as_ref().and_then(|value| value.get("kind")).and_then(toml::Value::as_str).unwrap_or("data");
    let path = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|path| path.to_string());
    let given = [
        ("--student", wishes.student.clone()),
        ("--width", wishes.width.map(|width| width.to_string())),
        ("--teacher", path(&wishes.teacher)),
        ("--teacher-network", wishes.teacher_network.clone()),
        ("--teacher-preprocessing", wishes.teacher_preprocessing.clone()),
        ("--method", wishes.method.clone()),
        ("--size", wishes.size.map(|size| size.to_string())),
        ("--epochs", wishes.epochs.map(|epochs| epochs.to_string())),
        ("--init", path(&wishes.init)),
        ("--normalise", wishes.normalise.clone()),
        ("--name", wishes.name.clone()),
    ];
    let word = |text: String| {
        let plain = text.chars().all(|c| c.is_alphanumeric() || "-_./:=".contains(c));
        if plain { text } else { format!("'{}'", text.replace('\'', "'\\''").replace(['\n', '\r'], " ")) }
    };
    let mut words = vec!["attar new".to_owned(), word(format!("{kind}:{}", data.root().display()))];
    words.extend(given.into_iter().filter_map(|(flag, value)| Some(format!("{flag} {}", word(value?)))));
    words.join(" ")
}
