//! One side of a question: models, and what is known of how they are asked. A bundle says all of it; of an ONNX file what
//! its metadata leaves open is stated, and never guessed.

use std::path::{Path, PathBuf};

use attar_formats::card::stated::{self, Named};
use attar_formats::labels;
use attar_pixels::Preprocessing;

use crate::bundle::Bundle;
use crate::engine::EngineModel;
use crate::error::{Error, Result};
use crate::subject::Subject;

/// What somebody states about an ONNX file; it wins over the file's metadata.
#[derive(Debug, Clone, Default)]
pub struct Stated {
    /// A file of class names ([`attar_formats::labels`]).
    pub labels: Option<PathBuf>,
    /// A [name](Named) or a file ([`attar_formats::card::stated`]).
    pub preprocessing: Option<String>,
    /// `[C, H, W]`, for a file that leaves sizes open.
    pub input: Option<[usize; 3]>,
    /// What stands between `--` and the names of the options that state this, for hints: nothing, or `against-`.
    pub prefix: &'static str,
}

impl Stated {
    /// The options that were given.
    fn given(&self) -> Vec<String> {
        let all = [
            ("labels", self.labels.is_some()),
            ("preprocessing", self.preprocessing.is_some()),
            ("input-shape", self.input.is_some()),
        ];
        all.iter().filter(|(_, given)| *given).map(|(name, _)| self.option(name)).collect()
    }

    fn option(&self, name: &str) -> String {
        format!("--{}{name}", self.prefix)
    }
}

/// Models of equal classes and preprocessing, and what is known of both.
#[derive(Debug, Clone)]
pub struct Side {
    path: PathBuf,
    name: String,
    models: Vec<EngineModel>,
    input: [usize; 3],
    labels: Option<Vec<String>>,
    preprocessing: Option<Preprocessing>,
    bundle: Option<Bundle>,
    prefix: &'static str,
}

impl Side {
    /// Opens the bundle in the directory `path`, or the ONNX file there.
    ///
    /// # Errors
    /// As [`Bundle::open`] and [`EngineModel::read`]; [`Error::Setting`] when something is stated of a bundle, contradicts the
    /// file or leaves the size of its image open.
    pub fn open(path: &Path, stated: &Stated) -> Result<Self> {
        match path.is_file() {
            true => Self::of_file(path, stated),
            false => Self::of_bundle(Bundle::open(path)?, stated),
        }
    }

    fn of_bundle(bundle: Bundle, stated: &Stated) -> Result<Self> {
        if let [first, ..] = &stated.given()[..] {
            let problem = format!("{first} is for an ONNX file; a bundle says it itself");
            return Err(Error::format(bundle.root(), problem));
        }
        Ok(Self {
            path: bundle.root().to_owned(),
            name: bundle.card().network.name.clone(),
            models: bundle.engine_models()?,
            input: bundle.card().network.input,
            labels: Some(bundle.labels().to_vec()),
            preprocessing: Some(bundle.preprocessing().clone()),
            bundle: Some(bundle),
            prefix: stated.prefix,
        })
    }

    fn of_file(path: &Path, stated: &Stated) -> Result<Self> {
        let model = EngineModel::read(path)?;
        let said = model.said()?;
        let input = input(&model, stated, said.size)?;
        let labels = match &stated.labels {
            Some(file) => Some(stated_labels(file, &model, &stated.option("labels"))?),
            None => said.labels,
        };
        let preprocessing = match &stated.preprocessing {
            Some(text) => Some(stated::preprocessing(text, input)?),
            None => said.preprocessing,
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (path, prefix) = (path.to_owned(), stated.prefix);
        Ok(Self { path, name, models: vec![model], input, labels, preprocessing, bundle: None, prefix })
    }

    /// The directory or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its models, at least one.
    pub fn models(&self) -> &[EngineModel] {
        &self.models
    }

    /// `[C, H, W]` that they take.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// The bundle, where it is one.
    pub fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// How pixels become its input, where that is known.
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        self.preprocessing.as_ref()
    }

    /// Class names, where they are known.
    pub fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }

    /// How images reach it and what its answers are called, for images that are to be looked at. A bundle's has its
    /// reference answers.
    ///
    /// # Errors
    /// [`Error::Setting`] with all that is missing and the options that state it.
    pub fn subject(&self) -> Result<Subject> {
        if let Some(bundle) = &self.bundle {
            return Ok(Subject::from(bundle));
        }
        match (&self.labels, &self.preprocessing) {
            (Some(labels), Some(preprocessing)) => {
                Subject::new(&self.name, self.input, labels.clone(), preprocessing.clone())
            }
            (labels, preprocessing) => Err(self.missing(labels.is_none(), preprocessing.is_none())),
        }
    }

    /// The subjects of two sides that are asked about images without a label: what neither side knows is then no matter of
    /// belief. Without names, classes go by position; without preprocessing, both get the same numbers. Says what was done.
    ///
    /// # Errors
    /// [`Error::Setting`] when one side knows what the other does not, or both leave open what differs between them.
    pub fn subjects_of_numbers(&self, other: &Self, classes: usize) -> Result<(Subject, Subject, Vec<String>)> {
        let open = |side: &Self| (side.labels.is_none(), side.preprocessing.is_none());
        let (own, others) = (open(self), open(other));
        let mut notes = Vec::new();
        if own != others {
            let one = |missing: bool, there: bool| missing && !there;
            if one(own.0, others.0) || one(own.1, others.1) {
                return Err(self.missing(one(own.0, others.0), one(own.1, others.1)));
            }
            return Err(other.missing(one(others.0, own.0), one(others.1, own.1)));
        }
        if own.0 {
            notes.push("neither side names its classes: they were compared by position".to_owned());
        }
        if own.1 {
            if self.input != other.input {
                return Err(self.missing(false, true));
            }
            notes.push("no preprocessing was stated: both sides got the same numbers, from -2 to 2".to_owned());
        }
        let of = |side: &Self| {
            let labels = side.labels.clone().unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());
            let channels = side.input[0];
            let plain = || Preprocessing::normalise(vec![0.5; channels], vec![0.25; channels]);
            let how = side.preprocessing.clone().unwrap_or_else(plain);
            Subject::new(&side.name, side.input, labels, how)
        };
        Ok((of(self)?, of(other)?, notes))
    }

    fn missing(&self, labels: bool, preprocessing: bool) -> Error {
        let option = |name: &str| format!("--{}{name}", self.prefix);
        let names = Named::ALL.map(Named::name).join(", ");
        let mut what = Vec::new();
        let mut hints = Vec::new();
        if labels {
            what.push("the names of its classes");
            hints.push(format!(
                "\n  hint: {} FILE, one name a line in the order of its outputs, or JSON (`id2label`)",
                option("labels")
            ));
        }
        if preprocessing {
            what.push("how pixels become its input");
            hints.push(format!(
                "\n  hint: {} NAME|FILE, one of {names}, a `preprocessor_config.json` or timm's `config.json`",
                option("preprocessing")
            ));
        }
        let problem = format!("it does not say {}; nothing of it is guessed{}", what.join(", nor "), hints.concat());
        Error::format(&self.path, problem)
    }
}

/// Names out of a file; a model of ours names its classes itself, and they do not change by being stated.
fn stated_labels(file: &Path, model: &EngineModel, option: &str) -> Result<Vec<String>> {
    let stated = labels::read(file)?;
    match model.own_labels().filter(|own| *own != stated) {
        None => Ok(stated),
        Some(own) => {
            let problem = match attar_formats::classes::align(&stated, &own) {
                Ok(_) => "has the classes in another order than the file itself".to_owned(),
                Err(problem) => format!("names other classes than the file itself: {problem}"),
            };
            Err(Error::format(
                model.origin(),
                format!("{option} {problem}\n  hint: leave it out; the file says it itself"),
            ))
        }
    }
}

/// `[C, H, W]`: what the file fixes, then what is stated, then what its metadata says.
fn input(model: &EngineModel, stated: &Stated, said: Option<[usize; 2]>) -> Result<[usize; 3]> {
    let fixed = model.sizes()?;
    let said = said.map_or([None; 3], |[h, w]| [None, Some(h), Some(w)]);
    let mut input = [0; 3];
    for (axis, size) in input.iter_mut().enumerate() {
        let given = stated.input.map(|input| input[axis]);
        if let (Some(fixed), Some(given)) = (fixed[axis], given)
            && fixed != given
        {
            let problem = format!("{} says {given}, the file takes {fixed}", stated.option("input-shape"));
            return Err(Error::format(model.origin(), problem));
        }
        let Some(found) = fixed[axis].or(given).or(said[axis]).filter(|size| *size > 0) else {
            let shown = fixed.map(|size| size.map_or("?".to_owned(), |size| size.to_string())).join(", ");
            let problem = format!(
                "it leaves the size of its image open, [{shown}]\n  hint: {} C,H,W, e.g. 3,224,224",
                stated.option("input-shape")
            );
            return Err(Error::format(model.origin(), problem));
        };
        *size = found;
    }
    let values = input.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
    match values.filter(|values| *values <= 4 * attar_pixels::MAX_PIXELS) {
        Some(_) => Ok(input),
        None => Err(Error::format(model.origin(), format!("an image of {input:?} is too large"))),
    }
}
