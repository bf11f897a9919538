//! What a recipe may say about losses, and what it is told when networks and settings do not fit.

use attar_models::op::{Conv2d, GlobalAvgPool, Linear};
use attar_models::{Graph, GraphBuilder, Op, Outline};

use super::{BuildContext, Described, LossSpec, described};

/// A network with one convolution for each stage.
fn network(name: &str, channels: &[usize], classes: usize) -> Outline {
    let (mut builder, mut at) = GraphBuilder::new(name, [3, 8, 8]).unwrap();
    let mut from = 3;
    for (i, &to) in channels.iter().enumerate() {
        let layer = format!("layer{}", i + 1);
        at = builder.add(format!("{layer}.conv"), Op::Conv2d(Conv2d::square(from, to, 3, 1, 1)), &[at]).unwrap();
        builder.stage(layer, at);
        from = to;
    }
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[at]).unwrap();
    let linear = Op::Linear(Linear { in_features: from, out_features: classes, bias: true, quantized: false });
    let fc = builder.add("fc", linear, &[pool]).unwrap();
    Outline::from(&builder.finish(fc))
}

fn spec(text: &str) -> LossSpec {
    toml::from_str(text).unwrap()
}

/// Where the loss `name` stands among these networks.
fn context<'a>(name: &'a str, student: &'a Outline, teachers: &'a [Outline]) -> BuildContext<'a> {
    BuildContext { name, student, teachers, logits: &[], samples: 10, seed: 0 }
}

/// Name, input shape, output shape, number of nodes after the input.
type ConnectorFacts = (String, Vec<usize>, Vec<usize>, usize);

/// The connectors of a channel loss.
fn connectors(text: &str) -> Vec<Option<ConnectorFacts>> {
    let (student, teacher) = (network("small", &[4, 8], 10), network("large", &[4, 16], 10));
    let taps = spec(text).build(&context("cd", &student, &[teacher])).unwrap().taps();
    assert_eq!(taps.student.len(), taps.teachers[0].len());
    let shape = |graph: &Graph| (graph.input_shape().to_vec(), graph.output_shape().to_vec(), graph.nodes().len() - 1);
    taps.student
        .into_iter()
        .map(|tap| tap.connector.map(|c| (c.name.clone(), shape(&c.graph).0, shape(&c.graph).1, shape(&c.graph).2)))
        .collect()
}

#[test]
fn connectors_stand_where_the_recipe_says() {
    // Convolution, norm, ReLU and mean; or the mean alone.
    let first = Some(("layer1".to_owned(), vec![4, 8, 8], vec![4], 4));
    let second = Some(("layer2".to_owned(), vec![8, 8, 8], vec![16], 4));
    let mean = Some(("layer1".to_owned(), vec![4, 8, 8], vec![4], 1));
    assert_eq!(connectors("kind = \"channel\""), [first, second.clone()]);
    assert_eq!(connectors("kind = \"channel\"\nconnector = \"on-mismatch\""), [mean.clone(), second]);
    let linear = connectors("kind = \"channel\"\nrelu = false");
    assert!(linear.iter().flatten().all(|connector| connector.3 == 3), "convolution, norm, mean: {linear:?}");
    let one = connectors("kind = \"channel\"\nconnector = \"none\"\npairs = [[\"layer1\", \"layer1\"]]");
    assert_eq!(one, std::slice::from_ref(&mean));
    let twice = connectors("kind = \"channel\"\npairs = [[\"layer1\", \"layer1\"], [\"layer1\", \"layer2.conv\"]]");
    assert_eq!(twice[1].as_ref().map(|connector| connector.0.as_str()), Some("layer1-2"));
    let vector =
        connectors("kind = \"channel\"\nconnector = \"none\"\npairs = [[\"layer1\", \"layer1\"], [\"fc\", \"fc\"]]");
    assert_eq!(vector, [mean, None]);
}

#[test]
fn what_does_not_fit_is_told_at_build_time() {
    let student = network("small", &[4, 8], 10);
    let cases = [
        ("kind = \"kd\"\ntemperature = 4", vec![], "losses.x.loss.kind: this loss learns from a teacher"),
        (
            "kind = \"kd\"\ntemperature = 4",
            vec![network("large", &[4], 100)],
            "`small` answers with [10] logits, `large` answers with [100] logits",
        ),
        ("kind = \"kd\"\ntemperature = 0", vec![network("large", &[4], 10)], "losses.x.loss.temperature: 0 is not"),
        ("kind = \"kd\"\ntemperature = inf", vec![network("large", &[4], 10)], "losses.x.loss.temperature: inf"),
        ("kind = \"cross-entropy\"\nlabel_smoothing = 1.5", vec![], "losses.x.loss.label_smoothing: 1.5 is not in"),
        (
            "kind = \"channel\"",
            vec![network("large", &[4, 8, 16], 10)],
            "losses.x.loss.pairs: stages cannot be paired: student `small` has 2 (layer1, layer2), teacher `large` has 3",
        ),
        (
            "kind = \"channel\"\npairs = [[\"layer1\", \"layer9\"]]",
            vec![network("large", &[4, 8], 10)],
            "losses.x.loss.pairs: teacher: unknown tap `layer9`, did you mean `layer1`?",
        ),
        (
            "kind = \"channel\"\npairs = []",
            vec![network("large", &[4, 8], 10)],
            "losses.x.loss.pairs: the list is empty",
        ),
        (
            "kind = \"channel\"\nconnector = \"none\"",
            vec![network("large", &[4, 16], 10)],
            "losses.x.loss.connector: `layer2.conv` of the student has 8 channels, `layer2.conv` of the teacher 16",
        ),
        (
            "kind = \"channel\"\npairs = [[\"avgpool\", \"avgpool\"]]",
            vec![network("large", &[4, 8], 10)],
            "a connector needs a tap of shape [C, H, W], `avgpool` of the student has [8]",
        ),
        (
            "kind = \"channel\"",
            vec![network("large", &[4, 8], 10), network("larger", &[4, 8], 10)],
            "this loss reads one teacher, and the recipe has 2",
        ),
    ];
    for (text, teachers, expected) in cases {
        let message = spec(text).build(&context("x", &student, &teachers)).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn what_is_written_wrongly_is_told_with_the_valid_names() {
    for (text, expected) in [
        ("kind = \"kl\"", "unknown variant `kl`, expected one of `cross-entropy`, `kd`, "),
        ("kind = \"kd\"", "missing field `temperature`"),
        (
            "kind = \"kd\"\ntemperature = 4\ngates = \"none\"",
            "unknown field `gates`, expected one of `temperature`, `gate`, `wrong`",
        ),
        ("kind = \"kd\"\ntemperature = 4\ngate = \"right\"", "unknown variant `right`, expected one of "),
        ("kind = \"kd\"\ntemperature = 4\nstandardise = 2", "expected true, false or { std ="),
        ("kind = \"dtd\"\ndynamic = { by = \"flow\" }", "unknown variant `flow`, expected `flsw` or `cwsm`"),
        ("kind = \"dtd\"\ndynamic = { by = \"cwsm\", gamma = 2 }", "unknown field `gamma`"),
        ("kind = \"wkd-l\"", "missing field `cost`"),
        ("kind = \"wkd-l\"\ncost = { file = \"x\" }", "expected \"equal\" or { file, tensor, holds"),
        ("kind = \"meal\"\ndiscriminator = { game = \"fair\" }", "expected `adversarial` or `joint`"),
        ("kind = \"channel\"\npairs = \"layers\"", "unknown variant `layers`, expected one of `stages`, `middle`"),
        ("kind = \"channel\"\npairs = 1", "expected a rule such as \"stages\", or a list of pairs"),
        ("kind = \"channel\"\npairs = [[\"layer1\"]]", "[\"layer1\"] is not a pair"),
        ("kind = \"channel\"\nrelu = \"on\"", "expected a boolean"),
    ] {
        let message = toml::from_str::<LossSpec>(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn a_resolved_loss_reads_back_equal_with_its_defaults_spelled_out() {
    for (text, spelled) in [
        ("kind = \"cross-entropy\"", "label_smoothing = 0.0"),
        ("kind = \"kd\"\ntemperature = 1", "denominator = \"correct\""),
        ("kind = \"kd\"\ntemperature = 1\ngate = \"teacher-right\"", "wrong = \"drop\""),
        ("kind = \"kd\"\ntemperature = 1\nstandardise = true", "standardise = true"),
        ("kind = \"kd\"\ntemperature = 1\nstandardise = { std = \"population\" }", "eps = 0.0000001"),
        ("kind = \"dtd\"\ndynamic = { by = \"cwsm\", beta = 2 }", "least = 1.0"),
        ("kind = \"wkd-l\"\ncost = \"equal\"", "cost = \"equal\""),
        ("kind = \"wkd-l\"\ncost = { file = \"a.pth\", tensor = \"fc.weight\", holds = \"prototypes\" }", "fc.weight"),
        ("kind = \"meal\"\ndiscriminator = { game = \"joint\" }", "weight = 1.0"),
        ("kind = \"channel\"", "connector = \"always\""),
        ("kind = \"channel\"\npairs = [[\"layer1\", \"layer2.conv\"]]", "[\"layer1\", \"layer2.conv\"]"),
    ] {
        let written = toml::to_string(&spec(text)).unwrap();
        assert_eq!(spec(&written), spec(text));
        assert!(written.contains(spelled), "{written}");
    }
}

#[test]
fn the_catalog_names_every_setting_and_its_default() {
    for Described { entry, settings } in described() {
        let needed = match entry.kind {
            "cross-entropy" => "class_weights = \"balanced\"",
            "kd" => "temperature = 1",
            "ttm" => "gamma = 0.2",
            "wkd-l" => "cost = \"equal\"",
            "meal" => "discriminator = { game = \"joint\" }",
            _ => "",
        };
        let text = format!("kind = \"{}\"\n{needed}", entry.kind);
        let table: toml::Table = toml::to_string(&spec(&text)).unwrap().parse().unwrap();
        assert_eq!(table["kind"].as_str(), Some(entry.kind));
        assert_eq!(table.len() - 1, settings.len(), "{}", entry.kind);
        for setting in settings {
            let value = &table[&setting.name];
            let Some(default) = setting.default else { continue };
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(shown.trim_end_matches(".0"), default, "{}.{}", entry.kind, setting.name);
        }
    }
}
