//! The ten short runs: methods and schemes, f32 and bf16, one thread and two, over the demo's images and teacher.

use std::path::Path;

use anyhow::Result;

/// A run, by what it adds to the recipe that all have in common.
pub(crate) struct Run {
    /// Name of its folder.
    pub(crate) name: &'static str,
    /// Threads to compute with.
    threads: usize,
    /// Keys of `[train]`.
    train: &'static str,
    /// Whether the demo's teacher takes part.
    taught: bool,
    /// Whether the teacher's answers are stored first and learned from.
    pub(crate) stored: bool,
    /// Views, peers, generations and losses.
    rest: &'static str,
}

const CE: &str = "[[losses]]\nname = 'ce'\nweight = 1.0\nloss = { kind = 'cross-entropy' }\n";

pub(crate) const RUNS: [Run; 10] = [
    Run { name: "alone", threads: 1, train: "clip = 5.0", taught: false, stored: false, rest: CE },
    Run { name: "alone-two-threads", threads: 2, train: "ema = 0.99", taught: false, stored: false, rest: CE },
    Run { name: "alone-bf16", threads: 2, train: "precision = 'bf16'", taught: false, stored: false, rest: CE },
    Run {
        name: "cd-gkd-edt",
        threads: 2,
        train: "",
        taught: true,
        stored: false,
        rest: "[[losses]]\nname = 'ce'\nweight = { at = [[1, 0.0], [2, 1.0]], join = 'hold' }\nloss = { kind = 'cross-entropy' }\n\
               [[losses]]\nname = 'gkd'\nweight = { at = [[1, 0.0], [2, 0.1]], join = 'hold' }\nloss = { kind = 'kd', temperature = 4.0, gate = 'teacher-right' }\n\
               [[losses]]\nname = 'cd'\nweight = { at = [[1, 6.0], [2, 5.4]], join = 'hold' }\nloss = { kind = 'channel', pairs = 'stages', connector = 'always' }\n",
    },
    Run {
        name: "kd-bf16",
        threads: 1,
        train: "precision = 'bf16'",
        taught: true,
        stored: false,
        rest: "[[losses]]\nname = 'kd'\nweight = 0.9\nloss = { kind = 'kd', temperature = 4.0 }\n\
               [[losses]]\nname = 'ce'\nweight = 0.1\nloss = { kind = 'cross-entropy', label_smoothing = 0.1 }\n",
    },
    Run {
        name: "features",
        threads: 2,
        train: "",
        taught: true,
        stored: false,
        rest: "[[losses]]\nname = 'ce'\nweight = 1.0\nloss = { kind = 'cross-entropy' }\n\
               [[losses]]\nname = 'review'\nweight = 1.0\nloss = { kind = 'reviewkd' }\n\
               [[losses]]\nname = 'crd'\nweight = 0.8\nloss = { kind = 'crd' }\n\
               [[losses]]\nname = 'at'\nweight = 10.0\nloss = { kind = 'at' }\n",
    },
    Run {
        name: "function-matching",
        threads: 2,
        train: "",
        taught: true,
        stored: false,
        rest: "[[views]]\nname = 'mixed'\nkind = 'mixup'\n[[views]]\nname = 'cut'\nkind = 'cutmix'\n\
               [[losses]]\nname = 'match'\nview = 'mixed'\nweight = 1.0\nloss = { kind = 'kd', temperature = 1.0 }\n\
               [[losses]]\nname = 'dist'\nview = 'cut'\nweight = 1.0\nloss = { kind = 'dist' }\n",
    },
    Run {
        name: "mutual-in-turn",
        threads: 1,
        train: "update = 'in-turn'",
        taught: false,
        stored: false,
        rest: "[[peers]]\nname = 'peer'\nnetwork = { name = 'resnet8' }\n\
               [[losses]]\nname = 'ce'\nweight = 1.0\nloss = { kind = 'cross-entropy' }\n\
               [[losses]]\nname = 'from-peer'\nteacher = 'peer'\nweight = 1.0\nloss = { kind = 'kd', temperature = 1.0 }\n\
               [[losses]]\nname = 'peer-ce'\nstudent = 'peer'\nweight = 1.0\nloss = { kind = 'cross-entropy' }\n\
               [[losses]]\nname = 'peer-from-student'\nstudent = 'peer'\nteacher = 'student'\nweight = 1.0\nloss = { kind = 'kd', temperature = 1.0 }\n",
    },
    Run {
        name: "attacked-generations",
        threads: 2,
        train: "",
        taught: false,
        stored: false,
        // The older name of `[[stages]]`, which a base of before knows.
        rest: "[[generations]]\nname = 'first'\n[[views]]\nname = 'attacked'\nkind = 'adversarial'\nsteps = 2\n\
               [[losses]]\nname = 'ce'\nview = 'attacked'\nweight = 0.5\nloss = { kind = 'cross-entropy' }\n\
               [[losses]]\nname = 'kd'\nweight = 0.5\nloss = { kind = 'kd', temperature = 1.0 }\n\
               [[robustness]]\nname = 'fgsm'\nsteps = 1\n",
    },
    Run {
        name: "stored-labels",
        threads: 2,
        train: "",
        taught: true,
        stored: true,
        rest: "[[losses]]\nname = 'kd'\nweight = 1.0\nloss = { kind = 'kd', temperature = 2.0 }\n",
    },
];

impl Run {
    /// The verb that carries it out.
    pub(crate) fn verb(&self) -> &'static str {
        if self.rest == CE { "train" } else { "distill" }
    }

    /// Its recipe over the images and the teacher in the folder `demo`.
    pub(crate) fn recipe(&self, demo: &Path) -> Result<String> {
        self.with_teacher(demo, &format!("{{ kind = 'bundle', path = '{}' }}", demo.join("teacher").display()))
    }

    /// The same with the answers that were stored in `store`.
    pub(crate) fn with_store(&self, demo: &Path) -> Result<String> {
        self.with_teacher(demo, "{ kind = 'stored', path = 'store' }")
    }

    fn with_teacher(&self, demo: &Path, from: &str) -> Result<String> {
        let teacher =
            if self.taught { format!("[[teachers]]\nname = 'teacher'\nfrom = {from}\n") } else { String::new() };
        Ok(format!(
            "name = '{}'\nseed = 3\ndevice = 'cpu'\n[data]\nsource = {{ kind = 'idx', root = '{}' }}\nvalidation = 0.1\n\
             train_subset = 700\ntest_subset = 300\npreprocessing = {{ channels = 1, mean = [0.2860], std = [0.3530] }}\n\
             augment = [{{ kind = 'pad-crop', padding = 2 }}, {{ kind = 'flip' }}]\n[student]\nnetwork = {{ name = 'resnet8' }}\n\
             [train]\nepochs = 2\nbatch = 48\nthreads = {}\nlearning_rate = {{ at = [[1, 0.05], [3, 0.0]], join = 'cosine' }}\n\
             optimiser = {{ kind = 'sgd', momentum = 0.9, nesterov = true, weight_decay = 5e-4 }}\n{}\n{teacher}{}",
            self.name,
            demo.join("data").display(),
            self.threads,
            self.train,
            self.rest
        ))
    }
}
