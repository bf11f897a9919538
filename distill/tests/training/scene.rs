//! A tiny data set on disk, a teacher trained on it, and recipes over both.

use std::path::{Path, PathBuf};

use attar_distill::checkpoint::Failpoint;
use attar_distill::recipe::Recipe;
use attar_distill::run::{self, Receipt, Silent};
use attar_distill::{Plan, PlanOptions, Result};
use attar_measures::random::Stream;

/// Height and width of the images.
const SIZE: usize = 12;

/// Writes an IDX data set of three classes (a bright bar at the top, in the middle, at the bottom, in noise).
pub(crate) fn write_data(root: &Path, train: usize, test: usize) {
    std::fs::create_dir_all(root).unwrap();
    let mut rng = Stream::of_number(5);
    for (name, count) in [("train", train), ("t10k", test)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        let mut images = Vec::new();
        for label in &labels {
            let mut pixels = vec![0u8; SIZE * SIZE];
            rng.fill(&mut pixels);
            pixels.iter_mut().for_each(|v| *v /= 2);
            let top = usize::from(*label) * 4 * SIZE;
            pixels[top..top + 4 * SIZE].iter_mut().for_each(|v| *v = v.saturating_add(90));
            images.extend(pixels);
        }
        let mut file = [0u32.to_be_bytes(), (count as u32).to_be_bytes()].concat();
        file[2..4].copy_from_slice(&[8, 3]);
        file.extend([SIZE as u32, SIZE as u32].iter().flat_map(|v| v.to_be_bytes()));
        file.extend(images);
        std::fs::write(root.join(format!("{name}-images-idx3-ubyte")), file).unwrap();
        let mut file = [0u32.to_be_bytes(), (count as u32).to_be_bytes()].concat();
        file[2..4].copy_from_slice(&[8, 1]);
        file.extend(labels);
        std::fs::write(root.join(format!("{name}-labels-idx1-ubyte")), file).unwrap();
    }
}

/// Plain training of a teacher, one epoch.
pub(crate) const TEACHER: &str = r#"
name = "teacher"
seed = 3
device = "cpu"

[data]
source = { kind = "idx", root = "data", classes = ["top", "middle", "bottom"] }
validation = 0.2
preprocessing = { channels = 1, mean = [0.3], std = [0.25] }

[student]
network = { name = "resnet8" }

[train]
epochs = 1
batch = 8
learning_rate = 0.05
optimiser = { kind = "sgd", momentum = 0.9 }
threads = 1

[[losses]]
name = "ce"
weight = 1.0
loss = { kind = "cross-entropy" }
"#;

/// Everything at once: CE, GKD and CD under changing weights, augmentation, momentum, clipping, an average, checkpoints
/// inside epochs, and a teacher that normalises its own way.
pub(crate) const STUDENT: &str = r#"
name = "student"
seed = 7
device = "cpu"

[data]
source = { kind = "idx", root = "data", classes = ["top", "middle", "bottom"] }
validation = 0.2
preprocessing = { channels = 1, mean = [0.25], std = [0.3] }
augment = [{ kind = "pad-crop", padding = 1 }, { kind = "flip" }]

[student]
network = { name = "resnet8" }

[[teachers]]
name = "big"
from = { kind = "run", path = "runs/teacher" }

[train]
epochs = 4
batch = 8
learning_rate = { at = [[1, 0.02], [5, 0.001]], join = "cosine" }
optimiser = { kind = "sgd", momentum = 0.9, nesterov = true, weight_decay = 5e-4 }
clip = 5.0
ema = 0.9
threads = 2
checkpoint_every_steps = 3
report_best_on_test = true

[[losses]]
name = "ce"
weight = { at = [[1, 0.0], [2, 1.0]] }
loss = { kind = "cross-entropy", label_smoothing = 0.1 }

[[losses]]
name = "gkd"
weight = { at = [[1, 0.0], [2, 0.5]] }
loss = { kind = "kd", temperature = 2.0, gate = "teacher-right" }

[[losses]]
name = "cd"
weight = { at = [[1, 6.0], [3, 5.4]] }
loss = { kind = "channel" }
"#;

/// Losses that train layers of their own and remember images.
pub(crate) const ADAPTERS: &str = r#"
[[losses]]
name = "ce"
weight = 1.0
loss = { kind = "cross-entropy" }

[[losses]]
name = "review"
weight = { at = [[1, 0.0], [3, 1.0]], join = "linear" }
loss = { kind = "reviewkd" }

[[losses]]
name = "crd"
weight = 0.1
loss = { kind = "crd", dim = 8, negatives = 16 }

[[losses]]
name = "feed"
weight = 10.0
loss = { kind = "feed" }

[[losses]]
name = "gacd"
weight = { at = [[1, 0.0], [2, 0.1]] }
loss = { kind = "gacd", dim = 8, queue = 20 }
"#;

/// A directory with data, recipes and a trained teacher.
pub(crate) struct Scene {
    _keep: Option<tempfile::TempDir>,
    root: PathBuf,
}

impl Scene {
    /// Makes everything, teacher included.
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().to_owned();
        write_data(&root.join("data"), 66, 30);
        std::fs::write(root.join("teacher.toml"), TEACHER).unwrap();
        std::fs::write(root.join("student.toml"), STUDENT).unwrap();
        let scene = Self { _keep: Some(keep), root };
        scene.start("teacher", "teacher", &[]).unwrap();
        scene
    }

    /// The scene that another process has made.
    pub(crate) fn at(root: &Path) -> Self {
        Self { _keep: None, root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.root.join("runs").join(name)
    }

    /// Writes `kd.toml`: the student's recipe up to the losses that read inside of the teacher.
    pub(crate) fn write_kd(&self) {
        let end = STUDENT.find("[[losses]]\nname = \"cd\"").unwrap();
        std::fs::write(self.root.join("kd.toml"), &STUDENT[..end]).unwrap();
    }

    /// The mean loss of an epoch, from 1.
    pub(crate) fn train_loss(&self, run: &str, epoch: usize) -> f64 {
        let text = std::fs::read_to_string(self.run(run).join("metrics.csv")).unwrap();
        text.lines().nth(epoch).unwrap().split(',').nth(3).unwrap().parse().unwrap()
    }

    pub(crate) fn recipe(&self, recipe: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Recipe::load(&self.root.join(format!("{recipe}.toml")), &overrides)
    }

    /// Short runs leave late losses idle.
    pub(crate) fn plan(&self, recipe: &str, overrides: &[&str]) -> Result<Plan> {
        let options = PlanOptions { allow_idle: true, ..PlanOptions::default() };
        Plan::new(self.recipe(recipe, overrides)?, options)
    }

    pub(crate) fn plan_with(&self, recipe: &str, overrides: &[&str], failpoint: Failpoint) -> Result<Plan> {
        Ok(self.plan(recipe, overrides)?.stopping_at(failpoint))
    }

    pub(crate) fn start(&self, recipe: &str, run: &str, overrides: &[&str]) -> Result<Receipt> {
        run::start(self.plan(recipe, overrides)?, &self.run(run), &mut Silent)
    }

    pub(crate) fn resume(&self, recipe: &str, run: &str, overrides: &[&str]) -> Result<Receipt> {
        run::resume(self.plan(recipe, overrides)?, &self.run(run), &mut Silent)
    }
}
