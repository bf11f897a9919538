//! Where a student's network comes from: the zoo, a run, a bundle, or a program that holds it.

use std::path::Path;

use attar_distill::losses::cross_entropy::CrossEntropySpec;
use attar_distill::recipe::{StartHead, StudentSource};
use attar_distill::run::{self, Receipt, Silent};
use attar_distill::{Params, Plan, PlanOptions, Recipe, Student, Trainer};
use attar_formats::card::{Card, Origin};
use attar_formats::{graph, read};
use attar_models::op::{Activation, BatchNorm2d, Conv2d, GlobalAvgPool, Linear, Op};
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Graph, GraphBuilder};
use attar_pixels::Preprocessing;

use super::resume::{assert_equal, contents};
use super::scene::{Scene, TEACHER};

/// A scene with `bare.toml`: the teacher's recipe without a network.
fn scene() -> Scene {
    let scene = Scene::new();
    std::fs::write(scene.root().join("bare.toml"), TEACHER.replace("network = { name = \"resnet8\" }\n", "")).unwrap();
    scene
}

const OF_RUN: &str = "student.from={ kind = \"run\", path = \"runs/teacher\" }";
const NEW_HEAD: &str = "student.from={ kind = \"run\", path = \"runs/teacher\", head = \"new\" }";

fn message(scene: &Scene, settings: &[&str]) -> String {
    scene.plan("bare", settings).map(drop).unwrap_err().to_string()
}

/// The text of a plan.
fn described(scene: &Scene, settings: &[&str]) -> String {
    scene.plan("bare", settings).unwrap().describe().to_string()
}

fn receipt(run: &Path) -> Receipt {
    Receipt::read(&run.join("receipt.json")).unwrap()
}

#[test]
fn the_network_of_a_run_is_taken_where_none_is_named() {
    let scene = scene();
    let more = ["train.epochs=1", OF_RUN];
    scene.start("bare", "bare", &more).unwrap();
    scene.start("teacher", "named", &more).unwrap();
    let model = |run: &str| read::any(&scene.run(run).join("checkpoints/last/model.safetensors")).unwrap().weights;
    assert_eq!(model("bare"), model("named"), "the same network by either way");
    let (bare, named) = (receipt(&scene.run("bare")), receipt(&scene.run("named")));
    assert_eq!((&bare.network, &bare.init_sha256), (&named.network, &named.init_sha256));
    assert_eq!(named.origin, Origin::Zoo(NetworkSpec::new("resnet8", 3, [1, 12, 12])));
    let Origin::Graph(file) = &bare.origin else { panic!("{:?}", bare.origin) };
    assert_eq!(file.path, Path::new("../teacher/graph.json"));
    let bytes = std::fs::read(scene.run("teacher").join("graph.json")).unwrap();
    assert_eq!(file.sha256, attar_formats::hash::sha256(&bytes));
    let card = std::fs::read_to_string(scene.run("bare").join("card.json")).unwrap();
    let card = Card::from_json(&card, Path::new("card.json")).unwrap();
    assert_eq!(card.provenance.network, Some(bare.origin.clone()));
    // The plan says it to people and to programs.
    let text = described(&scene, &[OF_RUN]);
    assert!(text.contains("student    resnet8 [1, 12, 12]") && text.contains("teacher/graph.json (sha256"), "{text}");
    let json = serde_json::to_value(scene.plan("bare", &[OF_RUN]).unwrap().describe()).unwrap();
    assert_eq!(json["student"]["origin"]["graph"]["sha256"], file.sha256.as_str());
    // A run goes on, and a finished one is what it was.
    let before = contents(&scene.run("bare"));
    scene.resume("bare", "bare", &more).unwrap();
    assert_equal("bare", &before, &contents(&scene.run("bare")));
}

/// Writes the teacher's graph as ONNX, with generated weights, as `net.onnx` of the scene.
fn write_onnx(scene: &Scene) -> Graph {
    let graph = graph::read(&scene.run("teacher").join("graph.json")).unwrap();
    let weights = attar_models::generated::weights(&graph, 3);
    let metadata = [("attar.labels".to_owned(), r#"["two", "zero", "one"]"#.to_owned())].into();
    let options = attar_onnx::Options { metadata, ..attar_onnx::Options::default() };
    std::fs::write(scene.root().join("net.onnx"), attar_onnx::write(&graph, &weights, &options).unwrap()).unwrap();
    graph
}

#[test]
fn an_onnx_file_is_a_student() {
    let scene = scene();
    let graph = write_onnx(&scene);
    let given = "student.from={ kind = \"onnx\", path = \"net.onnx\", head = \"new\" }";
    scene.start("bare", "foreign", &["train.epochs=1", given]).unwrap();
    let receipt = receipt(&scene.run("foreign"));
    let bytes = std::fs::read(scene.root().join("net.onnx")).unwrap();
    let Origin::Graph(file) = &receipt.origin else { panic!("{:?}", receipt.origin) };
    assert_eq!(
        (file.path.as_path(), &file.sha256),
        (Path::new("../../net.onnx"), &attar_formats::hash::sha256(&bytes))
    );
    let trained = graph::read(&scene.run("foreign").join("graph.json")).unwrap();
    assert_eq!((trained.macs(), trained.parameter_count()), (graph.macs(), graph.parameter_count()));
    // It starts from the weights of the file: without a step the stem is the file's.
    let still = ["train.epochs=1", given, "train.learning_rate=0.0"];
    scene.start("bare", "still", &still).unwrap();
    let model = read::any(&scene.run("still").join("checkpoints/last/model.safetensors")).unwrap().weights;
    let expected = attar_models::generated::weights(&graph, 3);
    assert_eq!(model.get("conv1.weight"), expected.get("conv1.weight"));
    // Its classes are others than the data's, which a head that is kept says.
    let kept = "student.from={ kind = \"onnx\", path = \"net.onnx\" }";
    let message = message(&scene, &[kept]);
    assert!(message.contains("the weights are of other classes, by") && message.contains("net.onnx"), "{message}");
    // What cannot be trained is said with its reason.
    std::fs::write(scene.root().join("no.onnx"), "nothing").unwrap();
    let message = self::message(&scene, &["student.from={ kind = \"onnx\", path = \"no.onnx\" }"]);
    assert!(message.contains("no.onnx: is no ONNX file"), "{message}");
}

#[test]
fn its_last_layer_is_of_the_datas_classes() {
    let scene = scene();
    let teacher = graph::read(&scene.run("teacher").join("graph.json")).unwrap();
    // Other classes, and more of them: the layer starts anew.
    let more = "data.source.classes=[\"a\", \"b\", \"c\", \"d\"]";
    let plan = scene.plan("bare", &[NEW_HEAD, more]).unwrap();
    assert_eq!(*plan.student(), teacher.with_classes(4).unwrap());
    let notes = plan.notes().collect::<Vec<_>>().join("\n");
    assert!(notes.contains("fc.weight and fc.bias start anew"), "{notes}");
    let refused = message(&scene, &[OF_RUN, more]);
    assert!(refused.contains("student.from: the weights are of other classes"), "{refused}");
    assert!(refused.contains("head = \"new\""), "{refused}");
    // As many, but new: the same network.
    assert_eq!(*scene.plan("bare", &[NEW_HEAD]).unwrap().student(), teacher);
}

#[test]
fn a_run_of_before_has_its_network_by_the_zoo() {
    let scene = scene();
    std::fs::remove_file(scene.run("teacher").join("graph.json")).unwrap();
    let plan = scene.plan("bare", &[OF_RUN]).unwrap();
    assert_eq!(*plan.student(), build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap());
    let notes = plan.notes().collect::<Vec<_>>().join("\n");
    assert!(notes.contains("student.from: there is no graph.json") && notes.contains("zoo's `resnet8`"), "{notes}");
    let classes = "data.source.classes=[\"a\", \"b\", \"c\", \"d\"]";
    scene.plan("bare", &[NEW_HEAD, classes]).unwrap();
}

#[test]
fn a_network_that_nobody_names_or_that_does_not_fit_is_an_error() {
    let scene = scene();
    let weights = "student.from={ kind = \"weights\", path = \"runs/teacher/checkpoints/best/model.safetensors\" }";
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["student.network: is missing\n", "hint: name a network of the zoo", "student.from name a run"]),
        (&[weights], &["student.network: is missing, and a file of weights does not say"]),
        (
            &[OF_RUN, "data.preprocessing.crop=[10, 12]"],
            &["student.from: its network `resnet8` takes [1, 12, 12], but the data comes as [1, 10, 12]", "hint:"],
        ),
        (&["student.from={ kind = \"run\", path = \"data\" }"], &["student.from: ", "has no card.json"]),
        (&["student.from={ kind = \"bundle\", path = \"runs/teacher\" }"], &["student.from: ", "has no config.json"]),
        (&["student.from={ kind = \"given\", what = \"mine\" }"], &["`mine` is of the program", "hint: only that"]),
    ];
    for (settings, expected) in cases {
        let message = message(&scene, settings);
        assert!(expected.iter().all(|part| message.contains(part)), "{settings:?}: {message}");
    }
    // The directory of a run does under any name, and a stage takes its student's.
    let directory = "student.from={ kind = \"weights\", path = \"runs/teacher\" }";
    scene.plan("bare", &[directory]).unwrap();
    let stages = scene.recipe("bare", &[OF_RUN, "stages=[{ name = \"first\" }]"]);
    let mut stages = stages.unwrap().chain(&scene.run("chain")).unwrap();
    let kd = "loss = { kind = \"kd\", temperature = 2.0 }";
    let kd: attar_distill::recipe::LossSection = toml::from_str(&format!("name = \"kd\"\nweight = 1.0\n{kd}")).unwrap();
    stages[1].0.losses.push(kd);
    Plan::check_stages(&stages, false).unwrap();
    std::fs::write(scene.run("teacher").join("graph.json"), "{}").unwrap();
    assert!(message(&scene, &[OF_RUN]).contains("graph.json: graph: there is no `graph_version`"));
}

/// Two convolutions, named as nothing in the zoo is.
fn own(classes: usize) -> Graph {
    let build = || -> attar_models::Result<Graph> {
        let (mut b, x) = GraphBuilder::new("two-convolutions", [1, 12, 12])?;
        let conv = b.add("stem", Op::Conv2d(Conv2d::square(1, 8, 3, 2, 1)), &[x])?;
        let norm = b.add("norm", Op::BatchNorm2d(BatchNorm2d::new(8)), &[conv])?;
        let relu = b.add("relu", Op::Activation(Activation::Relu), &[norm])?;
        let deep = b.add("deep", Op::Conv2d(Conv2d::square(8, 12, 3, 2, 1).with_bias()), &[relu])?;
        let pool = b.add("pool", Op::GlobalAvgPool(GlobalAvgPool {}), &[deep])?;
        let head = Linear { in_features: 12, out_features: classes, bias: true, quantized: false };
        let decide = b.add("decide", Op::Linear(head), &[pool])?;
        Ok(b.finish(decide))
    };
    build().unwrap()
}

/// Trains on the scene's images.
fn trainer(scene: &Scene, student: impl Into<Student>) -> Trainer {
    let recipe = scene.recipe("teacher", &[]).unwrap();
    Trainer::new(student, recipe.data.source.open().unwrap(), Preprocessing::normalise(vec![0.3], vec![0.25]))
        .loss("ce", 1.0, CrossEntropySpec::default())
        .epochs(3)
        .batch(8)
}

#[test]
fn a_program_trains_a_graph_of_its_own() {
    let scene = scene();
    let place = scene.run("own");
    let receipt = trainer(&scene, own(3)).run_in(&place, &mut Silent).unwrap();
    assert_eq!((receipt.network.name.as_str(), receipt.network.classes), ("two-convolutions", 3));
    let text = std::fs::read(place.join("graph.json")).unwrap();
    assert_eq!(receipt.origin, Origin::Program { sha256: attar_formats::hash::sha256(&text) });
    assert_eq!(
        (receipt.init_sha256.as_ref(), Receipt::read(&place.join("receipt.json")).unwrap()),
        (None, receipt.clone())
    );
    assert!(scene.train_loss("own", 3) < scene.train_loss("own", 1), "it learns");
    // What it left opens without the program: as a student, and as a teacher.
    let of_own = "student.from={ kind = \"run\", path = \"runs/own\" }";
    assert_eq!(*scene.plan("bare", &[of_own]).unwrap().student(), own(3));
    scene
        .plan("student", &["teachers.big.from.path=runs/own", "losses.cd.loss={ kind = \"kd\", temperature = 1.0 }"])
        .unwrap();
    // A recipe knows the program's network by name only.
    let recipe = Recipe::load(&place.join("recipe.toml"), &[]).unwrap();
    assert_eq!(recipe.student.from, Some(StudentSource::Given { what: "a network of a program".to_owned() }));
    let refused = Plan::new(recipe, PlanOptions::default()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("hint: only that program"), "{refused}");
    // It goes on with this network and with no other.
    let again = trainer(&scene, own(3)).run_in(&place, &mut Silent).unwrap();
    assert_eq!(again.weights_sha256, receipt.weights_sha256);
    let mut wider = own(3).to_json().unwrap();
    wider = wider.replace("\"deep\"", "\"deeper\"");
    let refused = trainer(&scene, Graph::from_json(&wider).unwrap()).run_in(&place, &mut Silent).map(drop);
    assert!(refused.unwrap_err().to_string().contains("another network"));
}

#[test]
fn a_program_gives_weights_with_its_graph() {
    let scene = scene();
    let start = Params::init(&own(3), 99, "", &candle_core::Device::Cpu).unwrap().to_weights().unwrap();
    let still = |trainer: Trainer| trainer.epochs(1).learning_rate(0.0);
    let place = scene.run("weights");
    let receipt = still(trainer(&scene, (own(3), start.clone()))).run_in(&place, &mut Silent).unwrap();
    let end = read::any(&place.join("checkpoints/last/model.safetensors")).unwrap().weights;
    assert_eq!(end.0["deep.weight"], start.0["deep.weight"]);
    assert_eq!(receipt.init_sha256, Some(attar_formats::write::safetensors_sha256(&start)));
    let mut other = start.clone();
    other.0.get_mut("deep.bias").unwrap().elements = attar_models::Elements::F32(vec![0.5; 12]);
    let refused = still(trainer(&scene, (own(3), other))).run_in(&place, &mut Silent).map(drop).unwrap_err();
    assert!(refused.to_string().contains("the weights to start from"), "{refused}");

    let said = |student: Student| trainer(&scene, student).plan().map(drop).unwrap_err().to_string();
    let mut short = start.clone();
    short.0.remove("deep.weight");
    assert!(said((own(3), short).into()).contains("only in the network (1):\n    deep.weight"));
    let message = said(own(5).into());
    assert!(message.contains("student.from: its network `two-convolutions` has 5 classes, the data 3"), "{message}");
    let beside = trainer(&scene, own(3)).recipe(|recipe| recipe.student.network = Some("resnet8".into()));
    assert!(beside.plan().map(drop).unwrap_err().to_string().contains("stands beside a network of the program"));
    // A run of a recipe is a student of a program, too.
    let from = StudentSource::Run {
        path: scene.run("teacher"),
        checkpoint: None,
        head: StartHead::Given,
        rewrites: Vec::new(),
    };
    let plan = trainer(&scene, from).plan().unwrap();
    assert_eq!(plan.student().name(), "resnet8");
    assert!(matches!(run::start(plan, &scene.run("from"), &mut Silent).unwrap().origin, Origin::Graph(_)));
}
