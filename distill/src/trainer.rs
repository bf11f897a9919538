//! Training from one's own program: student, images, teachers and losses put together by hand, planned and run like a recipe's.
//!
//! A [`Trainer`] fills in a [`Recipe`] and hands over what no recipe can name: a [`Dataset`](attar_data::Dataset), a teacher, a
//! [`Loss`](crate::losses::Loss) of one's own. What comes of it is a run directory like any other. It is exported by
//! `attar export`, and resumed by the same program: `attar train --resume` refuses it, because it does not have the parts.

use std::path::Path;

use attar_data::{Augment, Source, Splits};
use attar_exec::optim::OptimiserSpec;
use attar_exec::{DeviceChoice, Precision};
use attar_models::zoo::NetworkSpec;
use attar_models::{Graph, Rewritten, Weights};
use attar_pixels::Preprocessing;

use crate::error::Result;
use crate::knots::Knots;
use crate::losses::AnyLoss;
use crate::plan::{GivenParts, GivenStudent, Plan, PlanOptions};
use crate::recipe::{
    DataSection, ExportSection, LossSection, Names, NetworkSection, OnDivergence, Recipe, Resident, Sampling,
    StudentSection, StudentSource, TeacherSection, TeacherSource, TrainSection, Update, Validation,
};
use crate::run::{self, Observer, Receipt};
use crate::teacher::Given;

/// What stands in a recipe for images of a program.
const IMAGES: &str = "images of a program";

/// What stands in a recipe for a student of a program.
const STUDENT: &str = "a network of a program";

/// The network that a [`Trainer`] trains. Names and specs of the zoo, sources as recipes have them, graphs alone, with weights and
/// rewritten become one by `into()`.
#[derive(Debug, Clone)]
pub enum Student {
    /// One of the zoo, from random weights.
    Zoo(NetworkSection),
    /// The network and weights of a run or a bundle.
    From(StudentSource),
    /// Any graph that takes `[C, H, W]` as the images come and gives `[K]` logits of their classes.
    Graph {
        /// The network, batch norms not folded.
        graph: Graph,
        /// Parameters and buffers under the graph's names; random ones, each drawn as its operation says, if none are given.
        weights: Option<Weights>,
    },
}

impl From<&str> for Student {
    fn from(name: &str) -> Self {
        Self::Zoo(name.into())
    }
}

impl From<NetworkSection> for Student {
    fn from(network: NetworkSection) -> Self {
        Self::Zoo(network)
    }
}

impl From<NetworkSpec> for Student {
    fn from(network: NetworkSpec) -> Self {
        Self::Zoo(network.into())
    }
}

impl From<StudentSource> for Student {
    fn from(from: StudentSource) -> Self {
        Self::From(from)
    }
}

impl From<Graph> for Student {
    fn from(graph: Graph) -> Self {
        Self::Graph { graph, weights: None }
    }
}

impl From<(Graph, Weights)> for Student {
    fn from((graph, weights): (Graph, Weights)) -> Self {
        Self::Graph { graph, weights: Some(weights) }
    }
}

impl From<Rewritten> for Student {
    fn from(Rewritten { graph, weights, .. }: Rewritten) -> Self {
        (graph, weights).into()
    }
}

/// A training run under construction.
///
/// ```
/// use attar_data::{InMemory, Splits};
/// use attar_distill::losses::cross_entropy::CrossEntropySpec;
/// use attar_distill::{Trainer, run::Silent};
/// use attar_pixels::Preprocessing;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let classes = vec!["dark".to_owned(), "bright".to_owned()];
/// // 32 grey images of 8x8, every other one bright.
/// let images = |name| {
///     let pixels = (0..32u8).flat_map(|i| [100 * (i % 2) + i; 64]).collect();
///     InMemory::new([8, 8], 1, pixels, (0..32).map(|i| i % 2).collect(), classes.clone(), name)
/// };
/// let splits = Splits::new(images("train")?, images("test")?);
/// let directory = tempfile::tempdir()?;
/// let receipt = Trainer::new("resnet8", splits, Preprocessing::normalise(vec![0.5], vec![0.25]))
///     .loss("ce", 1.0, CrossEntropySpec::default())
///     .epochs(1)
///     .batch(16)
///     .run_in(directory.path().join("run"), &mut Silent)?;
/// assert_eq!(receipt.epochs, 1);
/// # Ok(())
/// # }
/// ```
///
/// In the place of `"resnet8"` may stand any graph, with weights to start from or without:
///
/// ```
/// use attar_models::GraphBuilder;
/// use attar_models::op::{Activation, Conv2d, GlobalAvgPool, Linear, Op};
/// # use attar_data::{InMemory, Splits};
/// # use attar_distill::losses::cross_entropy::CrossEntropySpec;
/// # use attar_distill::{Trainer, run::Silent};
/// # use attar_pixels::Preprocessing;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut graph, image) = GraphBuilder::new("tiny", [1, 8, 8])?;
/// let conv = graph.add("conv", Op::Conv2d(Conv2d::square(1, 4, 3, 1, 1)), &[image])?;
/// let relu = graph.add("relu", Op::Activation(Activation::Relu), &[conv])?;
/// let pool = graph.add("pool", Op::GlobalAvgPool(GlobalAvgPool {}), &[relu])?;
/// let fc = graph.add("fc", Op::Linear(Linear { in_features: 4, out_features: 2, bias: true, quantized: false }), &[pool])?;
/// let tiny = graph.finish(fc);
/// # let classes = vec!["dark".to_owned(), "bright".to_owned()];
/// # let images = |name| {
/// #     let pixels = (0..32u8).flat_map(|i| [100 * (i % 2) + i; 64]).collect();
/// #     InMemory::new([8, 8], 1, pixels, (0..32).map(|i| i % 2).collect(), classes.clone(), name)
/// # };
/// # let splits = Splits::new(images("train")?, images("test")?);
/// # let directory = tempfile::tempdir()?;
/// let receipt = Trainer::new(tiny, splits, Preprocessing::normalise(vec![0.5], vec![0.25]))
///     .loss("ce", 1.0, CrossEntropySpec::default())
///     .epochs(1)
///     .batch(16)
///     .run_in(directory.path().join("run"), &mut Silent)?;
/// assert_eq!(receipt.network.name, "tiny");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    recipe: Recipe,
    given: GivenParts,
    options: PlanOptions,
}

impl Trainer {
    /// A network that learns from `splits.train`, is chosen by images held out from these (a tenth, or `splits.validation`), and
    /// judged by `splits.test`. Classes and input size of one of the zoo follow from the images; a [`Graph`] must have them.
    ///
    /// The rest is as a recipe has it that says nothing, or as most have it: 100 epochs in batches of 128, SGD with momentum 0.9
    /// and weight decay 5e-4 at a learning rate that falls from 0.1 to 0 in half a cosine wave.
    pub fn new(student: impl Into<Student>, splits: Splits, preprocessing: Preprocessing) -> Self {
        let (student, own) = match student.into() {
            Student::Zoo(network) => (StudentSection { network: Some(network), from: None }, None),
            Student::From(from) => (StudentSection { network: None, from: Some(from) }, None),
            Student::Graph { graph, weights } => {
                let from = StudentSource::Given { what: STUDENT.to_owned() };
                (StudentSection { network: None, from: Some(from) }, Some(GivenStudent { graph, weights }))
            }
        };
        let data = DataSection {
            source: Source::Given { what: IMAGES.to_owned() },
            validation: Validation::Share(if splits.validation.is_some() { 0.0 } else { 0.1 }),
            preprocessing,
            augment: Vec::new(),
            sampling: Sampling::default(),
            resident: Resident::default(),
            split_seed: None,
            train_subset: None,
            test_subset: None,
        };
        let train = TrainSection {
            epochs: 100,
            batch: 128,
            accumulate: None,
            learning_rate: Knots::cosine(0.1, 0.0),
            optimiser: OptimiserSpec::Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 5e-4,
                no_decay_norm_and_bias: false,
            },
            learning_rate_factors: Vec::new(),
            freeze: Vec::new(),
            update: Update::default(),
            clip: None,
            ema: None,
            precision: Precision::default(),
            threads: None,
            eval_every: 1,
            patience: None,
            checkpoint_every_steps: None,
            on_divergence: OnDivergence::default(),
            report_best_on_test: false,
        };
        let recipe = Recipe {
            name: "run".to_owned(),
            note: None,
            seed: 0,
            device: DeviceChoice::default(),
            data,
            student,
            teachers: Vec::new(),
            stages: Vec::new(),
            peers: Vec::new(),
            views: Vec::new(),
            train,
            losses: Vec::new(),
            export: ExportSection::default(),
            robustness: Vec::new(),
        };
        let given = GivenParts { images: Some(splits), student: own, ..GivenParts::default() };
        Self { recipe, given, options: PlanOptions::default() }
    }

    /// A teacher of one's own: a [`Candle`](crate::teacher::Candle), an ONNX file that is open
    /// ([`OnnxTeacher`](crate::teacher::OnnxTeacher)), or whatever implements [`Teacher`](crate::teacher::Teacher), in a [`Given`].
    #[must_use]
    pub fn teacher(mut self, name: &str, teacher: impl Into<Given>) -> Self {
        self.recipe.teachers.push(TeacherSection::new(name, TeacherSource::Given { what: name.to_owned() }));
        self.given.teachers.insert(name.to_owned(), teacher.into());
        self
    }

    /// A teacher as a recipe names it: a run, a bundle, a file of weights, stored answers.
    #[must_use]
    pub fn teacher_from(mut self, name: &str, from: TeacherSource) -> Self {
        self.recipe.teachers.push(TeacherSection::new(name, from));
        self
    }

    /// A term of what is minimised, with its weight over time: a [`Loss`](crate::losses::Loss) of one's own, the settings of a kind
    /// that recipes have ([`KdSpec`](crate::losses::kd::KdSpec)), or [`AnyLoss::built`]. It learns from all teachers if it reads
    /// any.
    #[must_use]
    pub fn loss(self, name: &str, weight: impl Into<Knots>, loss: impl Into<AnyLoss>) -> Self {
        self.push(name, weight.into(), None, loss.into())
    }

    /// The same, learning from these teachers only.
    #[must_use]
    pub fn loss_from(self, name: &str, weight: impl Into<Knots>, teachers: &[&str], loss: impl Into<AnyLoss>) -> Self {
        let teachers = Names::Many(teachers.iter().map(|name| (*name).to_owned()).collect());
        self.push(name, weight.into(), Some(teachers), loss.into())
    }

    fn push(mut self, name: &str, weight: Knots, teacher: Option<Names>, loss: AnyLoss) -> Self {
        let (name, spec) = (name.to_owned(), loss.spec());
        let section = LossSection { name: name.clone(), weight, student: None, teacher, view: None, loss: spec };
        self.recipe.losses.push(section);
        self.given.losses.insert(name, loss);
        self
    }

    /// Number of epochs.
    #[must_use]
    pub fn epochs(self, epochs: usize) -> Self {
        self.train(|train| train.epochs = epochs)
    }

    /// Images a batch.
    #[must_use]
    pub fn batch(self, images: usize) -> Self {
        self.train(|train| train.batch = images)
    }

    /// Learning rate over time.
    #[must_use]
    pub fn learning_rate(self, rate: impl Into<Knots>) -> Self {
        let rate = rate.into();
        self.train(|train| train.learning_rate = rate)
    }

    /// Everything that `[train]` says in a recipe.
    #[must_use]
    pub fn train(mut self, change: impl FnOnce(&mut TrainSection)) -> Self {
        change(&mut self.recipe.train);
        self
    }

    /// Seed of everything random.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.recipe(|recipe| recipe.seed = seed)
    }

    /// Augmentation of training images, in order.
    #[must_use]
    pub fn augment(self, augment: Vec<Augment>) -> Self {
        self.recipe(|recipe| recipe.data.augment = augment)
    }

    /// The share of the training images that is held out to choose by, in [0, 1).
    #[must_use]
    pub fn validation(self, share: f64) -> Self {
        self.recipe(|recipe| recipe.data.validation = Validation::Share(share))
    }

    /// Everything that a recipe says: its name, peers, views, attacks. What a program gave goes by its name in it.
    #[must_use]
    pub fn recipe(mut self, change: impl FnOnce(&mut Recipe)) -> Self {
        change(&mut self.recipe);
        self
    }

    /// How it is planned: where hashes of images are kept, whether what does nothing is a mistake.
    #[must_use]
    pub fn options(self, options: PlanOptions) -> Self {
        Self { options, ..self }
    }

    /// Resolves and checks everything.
    ///
    /// # Errors
    /// As [`Plan::new`]: whatever does not fit, by its place in a recipe (`losses.focal`, `teachers.vit`).
    pub fn plan(self) -> Result<Plan> {
        Plan::with(self.recipe, self.given, self.options)
    }

    /// Trains in a run directory, from its last checkpoint where there is one: as [`run::start`] or [`run::resume`].
    ///
    /// # Errors
    /// What does not fit; another process that works there; a run that was made of other images, teachers, losses or settings;
    /// anything that goes wrong on the way, with the last good checkpoint kept.
    pub fn run_in(self, directory: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Receipt> {
        let directory = directory.as_ref();
        let plan = self.plan()?;
        match run::has_checkpoint(directory) {
            true => run::resume(plan, directory, observer),
            false => run::start(plan, directory, observer),
        }
    }
}
