//! A student in 8-bit integers: it learns by everything that a student in floats does, and
//! a killed run ends with the same bits.

use attar_compress::exactness;
use attar_formats::reference::Goldens;
use attar_formats::{graph, read};
use attar_models::{Op, Weights};

use super::resume::{assert_equal, contents, kill_at};
use super::scene::{STUDENT, Scene};

/// The student's recipe, whose student is the teacher's run in integers, and which is its own teacher.
fn in_integers(rewrite: &str) -> String {
    let from = format!("[student]\nfrom = {{ kind = \"run\", path = \"runs/teacher\", rewrites = [{rewrite}] }}\n");
    let network = "[student]\nnetwork = { name = \"resnet8\" }\n";
    let teacher = "[[teachers]]\nname = \"big\"\nfrom = { kind = \"run\", path = \"runs/teacher\" }\n";
    let text = STUDENT.replace(network, &from).replace(teacher, "");
    // It sees images as it did in floats.
    text.replace("mean = [0.25], std = [0.3]", "mean = [0.3], std = [0.25]")
}

fn scene(rewrite: &str) -> Scene {
    let scene = Scene::new();
    std::fs::write(scene.root().join("integers.toml"), in_integers(rewrite)).unwrap();
    scene
}

fn model(scene: &Scene, run: &str, which: &str) -> Weights {
    read::any(&scene.run(run).join(format!("checkpoints/{which}/model.safetensors"))).unwrap().weights
}

const PLAIN: &str = "{ kind = \"quantise\" }";

#[test]
fn everything_teaches_and_what_is_left_is_in_integers() {
    let scene = scene(PLAIN);
    let plan = scene.plan("integers", &[]).unwrap();
    let text = plan.describe().to_string();
    for part in ["self       resnet8", "gkd, from self", "cd, from self", " layers in integers", "student layer1"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let receipt = scene.start("integers", "one", &[]).unwrap();
    assert_eq!(receipt.teachers[0].name, "self");
    let float = graph::read(&scene.run("teacher").join("graph.json")).unwrap();
    let own = graph::read(&scene.run("one").join("graph.json")).unwrap();
    assert!(own.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_))) && own != float);
    for which in ["last", "best"] {
        assert_eq!(exactness(&own, &model(&scene, "one", which)).unwrap(), [], "{which}");
    }
    // The floats that it learns by are kept beside it, with their average, and have moved; so have scales.
    let trainer = read::arrays(&scene.run("one").join("checkpoints/last/trainer.safetensors")).unwrap().into_weights();
    let floats = |name: &str| trainer.get(name).unwrap().f32().unwrap().to_vec();
    for under in ["student.", "average."] {
        assert!(floats(&format!("{under}conv1.weight_step")).iter().any(|step| *step != 0.0), "{under}");
        assert!(floats(&format!("{under}input.q.step"))[0] != 0.0, "{under}");
    }
    assert_ne!(floats("student.conv1.weight"), floats("average.conv1.weight"));
    let whole = model(&scene, "one", "last");
    assert!(whole.0.keys().all(|name| !name.ends_with("step")), "what it learns by leaves with it");
    // Losses read it by the names of the network in floats, behind its quantisers.
    let pairs = "losses.cd.loss.pairs=[[\"layer1.0.conv1\", \"layer1.0.conv1\"], [\"layer3.0.bn2\", \"layer3.0.bn2\"]]";
    let named = scene.plan("integers", &[pairs]).unwrap().describe().to_string();
    assert!(named.contains("~ teacher layer3.0.bn2"), "{named}");
    scene.start("integers", "named", &["train.epochs=1", "losses.cd.weight=1.0", pairs]).unwrap();
}

#[test]
fn beside_others_the_network_itself_teaches_where_it_is_named() {
    let scene = Scene::new();
    let teacher = "[[teachers]]\nname = \"big\"\nfrom = { kind = \"run\", path = \"runs/teacher\" }\n";
    let text = format!("{}\n{teacher}", in_integers(PLAIN));
    std::fs::write(scene.root().join("integers.toml"), text).unwrap();
    let says = |set: &[&str]| scene.plan("integers", set).unwrap().describe().to_string();
    let alone = says(&[]);
    assert!(alone.contains("gkd, from big") && !alone.contains("self"), "{alone}");
    let both = says(&["losses.cd.teacher=self"]);
    assert!(both.contains("gkd, from big") && both.contains("cd, from self"), "{both}");
}

#[test]
fn a_killed_run_in_integers_ends_with_the_same_bits() {
    let free = in_integers("{ kind = \"quantize\", scales = \"free\", weight_bits = 4, images = 30 }");
    let exact = in_integers("{ kind = \"quantise\", learn_scales = false }");
    for (name, text) in [("averaged", &free), ("exact", &exact), ("plain", &free.replace("ema = 0.9\n", ""))] {
        let scene = Scene::new();
        std::fs::write(scene.root().join("student.toml"), text).unwrap();
        scene.start("student", "whole", &[]).unwrap();
        kill_at(&scene, name, "step 3+5");
        scene.resume("student", name, &[]).unwrap();
        assert_equal(name, &contents(&scene.run("whole")), &contents(&scene.run(name)));
    }
}

/// What the run says of its goldens is what its whole numbers are defined to give.
#[test]
fn answers_of_the_run_are_those_of_the_file() {
    let scene = scene(PLAIN);
    scene.start("integers", "run", &["train.epochs=1", "losses.cd.weight=1.0"]).unwrap();
    let own = graph::read(&scene.run("run").join("graph.json")).unwrap();
    let weights = model(&scene, "run", "best");
    let exact = attar_exec::Context::composed(&candle_core::Device::Cpu);
    let network = attar_exec::Network::from_weights(own, &weights, exact).unwrap();
    let path = scene.run("run").join("reference/golden.safetensors");
    let goldens = Goldens::parse(&path, &std::fs::read(&path).unwrap()).unwrap();
    let [c, h, w] = goldens.input_shape;
    let count = goldens.input.len() / (c * h * w);
    let x = candle_core::Tensor::from_vec(goldens.input.clone(), (count, c, h, w), &candle_core::Device::Cpu).unwrap();
    let logits = network.eval(&x, &[]).unwrap().logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(goldens.logits, logits, "sums of whole numbers do not depend on who adds them");
}

#[test]
fn what_is_wrong_is_said_before_the_first_batch() {
    let scene = scene(PLAIN);
    let rewrites =
        |text: &str| format!("student.from={{ kind = \"run\", path = \"runs/teacher\", rewrites = [{text}] }}");
    let quantise = |more: &str| rewrites(&format!("{{ kind = \"quantise\", {more} }}"));
    let twice = rewrites(&format!("{PLAIN}, {PLAIN}"));
    let all: String = graph::read(&scene.run("teacher").join("graph.json"))
        .unwrap()
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Conv2d(_) | Op::Linear(_)))
        .map(|node| format!("\"{}\", ", node.name))
        .collect();
    let cases: Vec<(String, &str, &str)> = vec![
        (quantise("weight_bits = 9"), "student.from.rewrites.0.weight_bits", "9, expected 2 to 8"),
        (quantise("weight_bits = 1"), "student.from.rewrites.0.weight_bits", "expected 2 to 8"),
        (quantise("images = 0"), "student.from.rewrites.0.images", "expected at least 1"),
        (quantise("calibrator = { percentile = 0.0 }"), "student.from.rewrites.0.calibrator", "above 0, to 100"),
        (quantise("calibrator = \"max\""), "student.from", "unknown value `max`"),
        (quantise("weight_bit = 4"), "student.from", "did you mean `weight_bits`?"),
        (quantise("keep = [\"layer1.0.conv9\"]"), "student.from.rewrites.0.keep", "did you mean `layer1.0.conv"),
        (quantise(&format!("keep = [{all}]")), "student.from.rewrites.0.keep", "no convolution and no linear layer"),
        (twice, "student.from.rewrites", "more than once"),
        (rewrites("{ kind = \"prune\" }"), "student.from", "unknown value `prune`"),
        ("train.precision=bf16".to_owned(), "train.precision", "trains in f32"),
    ];
    for (setting, key, problem) in &cases {
        let message = scene.plan("integers", &[setting.as_str()]).map(drop).unwrap_err().to_string();
        assert!(message.contains(key) && message.contains(problem), "{setting}: {message}");
    }
    let staged = scene.recipe("integers", &["stages=[{ name = \"a\" }]"]).unwrap();
    let message = staged.chain(&scene.run("chain")).unwrap_err().to_string();
    assert!(message.contains("student.from.rewrites") && message.contains("hint:"), "{message}");
    // A network in integers is one already, and is none that trains as it is.
    scene.start("integers", "ready", &["train.epochs=1", "losses.cd.weight=1.0"]).unwrap();
    let again = |text: &str| format!("student.from={{ kind = \"run\", path = \"runs/ready\", rewrites = [{text}] }}");
    for (setting, problem) in
        [(again(PLAIN), "in integers already"), (again(""), "rewrites = [{ kind = \"quantise\" }]")]
    {
        let alone = "losses=[{ name = \"ce\", weight = 1.0, loss = { kind = \"cross-entropy\" } }]";
        let message = scene.plan("integers", &[&setting, alone]).map(drop).unwrap_err().to_string();
        assert!(message.contains(problem), "{setting}: {message}");
    }
}

/// Parts that are frozen stay as they are, and what else moves is told by the floats' names.
#[test]
fn frozen_floats_stay() {
    let scene = scene(PLAIN);
    let set = ["train.epochs=1", "train.freeze=[\"conv1\", \"input\"]", "losses.cd.weight=1.0"];
    scene.start("integers", "frozen", &set).unwrap();
    scene.start("integers", "still", &[&set[..], &["train.learning_rate=0.0"]].concat()).unwrap();
    let [frozen, still] = ["frozen", "still"].map(|run| model(&scene, run, "last"));
    for name in ["conv1.weight", "conv1.weight_scale", "input.q.scale"] {
        assert_eq!(frozen.get(name), still.get(name), "{name}");
    }
    assert_ne!(frozen.get("layer1.0.conv1.weight"), still.get("layer1.0.conv1.weight"));
    let message = scene.plan("integers", &["train.freeze=[\"conv9\"]"]).map(drop).unwrap_err().to_string();
    assert!(message.contains("train.freeze"), "{message}");
}
