//! A small real data set, recipes over it, and a student trained and exported with them by the real program, made once.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use attar_data::{Dataset, Source};

use super::program::{Said, attar};

/// The folder that everything is in; tests write only into folders of their own.
pub(crate) struct Scene {
    root: PathBuf,
}

/// Training images, of which 20 are held out: enough to learn a little.
const TRAIN: usize = 240;

/// Test images: without a flip the margin of half a point needs 765.
const TEST: usize = 800;

const DATA: &str = r#"
seed = 1
device = "cpu"

[data]
source = { kind = "idx", root = "data" }
validation = 0.1
preprocessing = { channels = 1, mean = [0.2860], std = [0.3530] }
augment = [{ kind = "pad-crop", padding = 2 }, { kind = "flip" }]

[train]
epochs = 2
batch = 24
threads = 1
learning_rate = { at = [[1, 0.05], [3, 0.0]], join = "cosine" }
optimiser = { kind = "sgd", momentum = 0.9, nesterov = true, weight_decay = 5e-4 }

[[losses]]
name = "ce"
weight = 1.0
loss = { kind = "cross-entropy" }
"#;

/// Channel distillation with a connector at every stage, guided KD, weights that change with the epochs, and an attack at the end.
const TAUGHT: &str = r#"
[[teachers]]
name = "big"
from = { kind = "run", path = "runs/teacher" }

[[losses]]
name = "gkd"
weight = { at = [[1, 0.0], [2, 0.5]], join = "hold" }
loss = { kind = "kd", temperature = 4.0, gate = "teacher-right" }

[[losses]]
name = "cd"
weight = { at = [[1, 6.0], [2, 5.4]], join = "hold" }
loss = { kind = "channel", pairs = "stages", connector = "always" }

[[robustness]]
name = "fgsm"
steps = 1
step = 0.03
epsilon = 0.03
random_start = false
"#;

impl Scene {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Runs `attar ARGS` in the scene.
    pub(crate) fn attar(&self, args: &[&str]) -> Said {
        attar(&self.root, args)
    }

    /// A copy of the exported student for a test that spoils it.
    pub(crate) fn copy_of_bundle(&self, into: &Path) -> PathBuf {
        let bundle = into.join("bundle");
        copy(&self.root.join("bundles/student"), &bundle);
        bundle
    }

    /// A copy of the student's run for a test that spoils it.
    pub(crate) fn copy_of_run(&self, into: &Path) -> PathBuf {
        let run = into.join("run");
        copy(&self.root.join("runs/student"), &run);
        run
    }
}

/// The scene with a teacher `runs/teacher` (resnet14), its student `runs/student` (resnet8) and `bundles/student`.
pub(crate) fn scene() -> &'static Scene {
    static SCENE: LazyLock<Scene> = LazyLock::new(make);
    &SCENE
}

fn make() -> Scene {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scene");
    if root.exists() {
        std::fs::remove_dir_all(&root).expect("the scene of an earlier run can be removed");
    }
    std::fs::create_dir_all(&root).expect("a folder for the scene");
    write_data(&root.join("data"), TRAIN, TEST);
    let student = |network: &str| format!("{DATA}\n[student]\nnetwork = {{ {network} }}\n");
    let recipes = [
        ("teacher", format!("name = \"teacher\"\n{}", student("name = \"resnet14\""))),
        ("student", format!("name = \"student\"\n{}{TAUGHT}", student("name = \"resnet8\""))),
        ("alone", format!("name = \"alone\"\n{}", student("name = \"resnet8\""))),
    ];
    for (name, text) in recipes {
        std::fs::write(root.join(format!("{name}.toml")), text).expect("a recipe can be written");
    }
    attar(&root, &["train", "teacher.toml"]).ok();
    attar(&root, &["distill", "student.toml"]).ok();
    attar(&root, &["export", "runs/student"]).ok();
    Scene { root }
}

/// Fashion-MNIST of the demo, cut to a few images, the same number of each class.
pub(crate) fn write_data(into: &Path, train: usize, test: usize) {
    std::fs::create_dir_all(into).expect("a folder for data");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/data");
    std::fs::copy(demo.join("labels.txt"), into.join("labels.txt")).expect("labels can be copied");
    let splits = Source::Idx { root: demo, classes: None }.open().expect("the demo's data opens");
    for (name, split, count) in [("train", &*splits.train, train), ("t10k", &*splits.test, test)] {
        write_split(into, name, split, count / split.classes().len());
    }
}

fn write_split(into: &Path, name: &str, split: &dyn Dataset, of_each: usize) {
    let mut taken = vec![0; split.classes().len()];
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for index in 0..split.len() {
        let label = split.label(index);
        if taken[label as usize] < of_each {
            taken[label as usize] += 1;
            labels.push(label as u8);
            pixels.extend_from_slice(split.image(index).expect("an image of the demo").pixels());
        }
    }
    let count = labels.len() as u32;
    let idx = |sizes: &[u32], content: &[u8]| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend_from_slice(content);
        bytes
    };
    let put = |file: String, bytes: Vec<u8>| std::fs::write(into.join(file), bytes).expect("data can be written");
    put(format!("{name}-images-idx3-ubyte"), idx(&[count, 28, 28], &pixels));
    put(format!("{name}-labels-idx1-ubyte"), idx(&[count], &labels));
}

/// Copies a folder with all in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder to copy") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("a file can be copied")),
        }
    }
}
