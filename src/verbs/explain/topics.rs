//! What can be explained beside the kinds of loss: methods that are settings of one, and parts of the recipe language.

/// A method that has no kind of its own.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) names: &'static [&'static str],
    /// The loss that it is a setting of.
    pub(super) kind: Option<&'static str>,
    /// The recipe of `recipes/compare` that shows it.
    pub(super) recipe: Option<&'static str>,
    pub(super) paper: &'static str,
    pub(super) text: &'static str,
}

/// A part of the recipe language.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) names: &'static [&'static str],
    pub(super) text: &'static str,
    pub(super) example: &'static str,
}

const ZHOU: &str = "Zhou et al. 2020, arXiv 2006.01683";
const WEN: &str = "Wen et al. 2019, arXiv 1911.07471; our reading";

pub(super) const METHODS: &[Named] = &[
    Named {
        names: &["cd", "channel-distillation"],
        kind: Some("channel"),
        recipe: Some("cd"),
        paper: ZHOU,
        text: "Channel distillation is the loss `channel`: the means of the channels of each stage are those of the teacher's, through a connector where their numbers differ.",
    },
    Named {
        names: &["gkd", "guided-kd"],
        kind: Some("kd"),
        recipe: Some("gkd"),
        paper: ZHOU,
        text: "Guided distillation is the loss `kd` with wrong = \"drop\": only images that the teacher gets right are learned from it.",
    },
    Named {
        names: &["edt", "early-decay", "early-decay-teacher"],
        kind: None,
        recipe: Some("cd-gkd-edt"),
        paper: ZHOU,
        text: "The early-decay teacher is no loss but knots on weights: the teacher's channels lead first and count for less as the run goes on, the labels join later. See `schedules`.",
    },
    Named {
        names: &["cd-gkd"],
        kind: Some("channel"),
        recipe: Some("cd-gkd"),
        paper: ZHOU,
        text: "Channel distillation beside guided distillation and the labels, with weights that stay.",
    },
    Named {
        names: &["cd-gkd-edt"],
        kind: Some("channel"),
        recipe: Some("cd-gkd-edt"),
        paper: ZHOU,
        text: "Channel distillation, guided distillation and the early-decay teacher together. recipes/cd-gkd-edt-imagenet.toml has the settings of the authors' code for ImageNet.",
    },
    Named {
        names: &["ka", "knowledge-adjustment"],
        kind: Some("kd"),
        recipe: Some("ka"),
        paper: WEN,
        text: "Knowledge adjustment is the loss `kd` with wrong = \"swap\" (or \"smooth\"): where the teacher errs, its answer is repaired before it is learned from.",
    },
    Named {
        names: &["lskd", "logit-standardisation", "logit-standardization"],
        kind: Some("kd"),
        recipe: Some("lskd"),
        paper: "Sun et al. 2024, arXiv 2403.01427",
        text: "Logit standardisation is the loss `kd` with standardise = true: both sides' logits are brought to mean 0 and deviation 1 of each image before the softmax.",
    },
    Named {
        names: &["wttm"],
        kind: Some("ttm"),
        recipe: Some("wttm"),
        paper: "Zheng and Yang 2024, arXiv 2402.11148",
        text: "Weighted transformed teacher matching is the loss `ttm` with a weight for each image.",
    },
];

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        names: &["schedules", "schedule", "knots", "weights", "learning-rate"],
        text: "A loss's weight and the learning rate are a number, or knots: values at times, joined by hold (steps), linear or cosine. Time is the epoch, counted from 1, or with unit = \"fraction\" the share of the run, 0 to 1. Before the first knot its value holds, behind the last one that one's. Where a weight is 0 its loss is not computed.",
        example: "weight = 0.9\nweight = { at = [[1, 0.0], [61, 1.0]], join = \"hold\" }\nlearning_rate = { at = [[0.0, 0.01], [0.05, 0.1], [1.0, 0.0]], join = [\"linear\", \"cosine\"], unit = \"fraction\" }",
    },
    Topic {
        names: &["views", "view"],
        text: "Another look at each batch, which a loss names as its `view`: augmented (by the loaders, another way), mixup, cutmix, adversarial (moved so that a network errs), extracurricular (between pairs, where the teacher is least sure). Student and teacher see the same images in it. Without a name a loss reads `clean`, the batch as it was loaded.",
        example: "[[views]]\nname = \"mixed\"\nkind = \"mixup\"\nalpha = 0.2\n\n[[losses]]\nname = \"kd\"\nweight = 1.0\nview = \"mixed\"\nloss = { kind = \"kd\", temperature = 4.0 }",
    },
    Topic {
        names: &["teachers", "teacher"],
        text: "Networks to learn from: a run, a bundle, a file of weights of a network of the zoo (.pth, .safetensors) with its network and preprocessing, an ONNX file with its preprocessing (logits only), or answers that `attar labels` stored. Preprocessing is stated, never guessed. A loss learns from all of them, or from those that its `teacher` names. A method is a loss; a teacher is only who answers.",
        example: "[[teachers]]\nname = \"big\"\nfrom = { kind = \"run\", path = \"runs/teacher\" }\nfrom = { kind = \"bundle\", path = \"bundles/teacher\" }\nfrom = { kind = \"weights\", path = \"big.pth\", network = { name = \"resnet34\" }, preprocessing = { channels = 3, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] } }",
    },
    Topic {
        names: &["peers", "dml", "deep-mutual-learning"],
        text: "Networks that learn beside the student and are never exported. A loss says with `student` who learns and with `teacher` from whom: mutual learning is a peer and four losses (recipes/schemes/deep-mutual-learning.toml).",
        example: "[[peers]]\nname = \"friend\"\nnetwork = { name = \"resnet20\" }",
    },
    Topic {
        names: &["stages", "generations", "born-again", "teacher-assistant"],
        text: "Networks that are trained one after the other before the student, each the teacher of the next: born-again networks, teacher assistants. Each is a run of its own; --resume goes on where the chain stopped.",
        example: "[[stages]]\nname = \"first\"",
    },
    Topic {
        names: &["precision", "bf16", "tf32"],
        text: "What a step computes in. bf16 stores images and gradients in half the memory and is quicker on processors with AVX512-BF16 and on CUDA; weights, losses, the optimiser and every evaluation stay f32. tf32 exists on CUDA only. f32 is the default.",
        example: "[train]\nprecision = \"bf16\"",
    },
    Topic {
        names: &["from", "init", "fine-tuning", "fine-tune"],
        text: "Weights that the student starts from instead of random ones: a run, a bundle, or a file, .pth or .safetensors, in the names of torchvision and the usual CIFAR repositories. With head = \"new\" they may be of other classes: the last layer is made anew. `attar new ... --init FILE` writes it.",
        example: "[student]\nfrom = { kind = \"weights\", path = \"mobilenet_v2.pth\", head = \"new\" }\nfrom = { kind = \"run\", path = \"runs/teacher\" }",
    },
    Topic {
        names: &["classes", "labels"],
        text: "Classes go by name. Those of an image folder are the names of its folders, sorted; a card carries them for runs and bundles. Where a teacher has the same names in another order, they are aligned and it is said; names that are not there are an error that lists them.",
        example: "",
    },
    Topic {
        names: &["data", "image-folder"],
        text: "Where images come from: image-folder (train/CLASS/*.jpg and test/CLASS/*.jpg or val/), idx (MNIST's format), cifar10, cifar100. A share of the training images is held out by `validation`; by it the epoch is chosen that is exported. `attar data check` looks at every image.",
        example: "[data]\nsource = { kind = \"image-folder\", root = \"photos\" }\nvalidation = 0.1",
    },
    Topic {
        names: &["preprocessing", "resize", "crop"],
        text: "How pixels become the network's input, in this order: channels, resize, centre crop, values scaled to 0 to 1, less mean, over std. The exported model carries it and does the same on the device. mean and std are of values from 0 to 1.",
        example: "[data.preprocessing]\nchannels = 3\nresize = { to = { shorter-edge = 256 }, interpolation = \"bilinear\" }\ncrop = [224, 224]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]",
    },
    Topic {
        names: &["augment", "augmentation"],
        text: "Random changes of training images, in order, drawn by seed, epoch and image: pad-crop, flip, random-resized-crop (in the place of resize and crop), rand-augment, random-erasing, colour-jitter.",
        example: "augment = [{ kind = \"random-resized-crop\", size = 224 }, { kind = \"flip\" }]",
    },
    Topic {
        names: &["stored", "stored-labels", "fkd"],
        text: "A teacher's answers to the augmented training images, written once by `attar labels`: students learn from them without it. They are to one recipe's images, order and augmentation, and refused for others.",
        example: "attar labels recipe.toml --out labels/x\nfrom = { kind = \"stored\", path = \"labels/x\" }",
    },
    Topic {
        names: &["resident"],
        text: "data.resident says whether training images live on the device as bytes and are augmented there, to the same bits: auto, never or always.",
        example: "[data]\nresident = \"auto\"",
    },
    Topic {
        names: &["export", "best", "last"],
        text: "Which weights leave a run: best by validation accuracy (the default), or last. With nothing held out the last epoch is the best.",
        example: "[export]\nweights = \"last\"",
    },
];
