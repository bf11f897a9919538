//! Counts against published figures, names against torchvision's, and what a spec can get wrong.

use super::*;
use crate::op::{Op, PadChannels};

fn graph(name: &str, classes: usize, input: [usize; 3]) -> Graph {
    build(&NetworkSpec::new(name, classes, input)).unwrap()
}

/// Parameters: RepDistiller's README and its networks (CIFAR), akamaster's table (option A, 10 classes), torchvision's
/// documentation (ImageNet). MACs: counted by hooks on the PyTorch modules; torchvision documents the same, rounded.
#[test]
fn parameters_and_macs_are_the_published_ones() {
    let cases: [(&str, usize, usize, u64); 9] = [
        ("resnet8", 100, 83_892, 12_507_392),
        ("resnet14", 100, 181_108, 26_663_168),
        ("resnet20", 100, 278_324, 40_818_944),
        ("resnet32", 100, 472_756, 69_130_496),
        ("resnet44", 100, 667_188, 97_442_048),
        ("resnet56", 100, 861_620, 125_753_600),
        ("resnet110", 100, 1_736_564, 253_155_584),
        ("resnet8x4", 100, 1_233_540, 177_071_104),
        ("resnet32x4", 100, 7_433_860, 1_083_040_768),
    ];
    for (name, classes, parameters, macs) in cases {
        let graph = graph(name, classes, [3, 32, 32]);
        assert_eq!((graph.parameter_count(), graph.macs()), (parameters, macs), "{name}");
    }
    let cases: [(&str, usize, u64); 7] = [
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet34", 21_797_672, 3_663_761_408),
        ("resnet50", 25_557_032, 4_089_184_256),
        ("resnet101", 44_549_160, 7_801_405_440),
        ("resnet152", 60_192_808, 11_513_626_624),
        ("mobilenet_v2", 3_504_872, 300_774_272),
        ("mobilenet_v3_small", 2_542_856, 56_510_400),
    ];
    for (name, parameters, macs) in cases {
        let graph = graph(name, 1000, [3, 224, 224]);
        assert_eq!((graph.parameter_count(), graph.macs()), (parameters, macs), "{name}");
    }
}

#[test]
fn options_change_the_network_as_published() {
    for (name, parameters) in [("resnet20", 269_722), ("resnet56", 853_018), ("resnet110", 1_727_962)] {
        let spec = NetworkSpec::new(name, 10, [3, 32, 32]).with("shortcut", Shortcut::A);
        assert_eq!(build(&spec).unwrap().parameter_count(), parameters, "{name}, option A");
    }
    for (width, parameters, macs) in
        [(0.35, 1_677_128, 59_285_808), (0.75, 2_636_424, 209_069_792), (1.4, 6_108_776, 582_195_824)]
    {
        let spec = NetworkSpec::new("mobilenet_v2", 1000, [3, 224, 224]).with("width", width);
        let graph = build(&spec).unwrap();
        assert_eq!((graph.parameter_count(), graph.macs()), (parameters, macs), "width {width}");
    }
    let half = NetworkSpec::new("mobilenet_v3_small", 1000, [3, 224, 224]).with("width", 0.5);
    let half = build(&half).unwrap();
    assert_eq!((half.parameter_count(), half.macs()), (917_264, 18_970_736));
    for (name, parameters, macs) in [("resnet18", 11_220_132, 555_468_800), ("mobilenet_v2", 2_351_972, 88_091_648)] {
        let spec = NetworkSpec::new(name, 100, [3, 32, 32]).with("stem", Stem::Cifar);
        let graph = build(&spec).unwrap();
        assert_eq!((graph.parameter_count(), graph.macs()), (parameters, macs), "{name}, CIFAR stem");
    }
}

#[test]
fn the_option_a_shortcut_widens_without_striding_where_the_stride_is_one() {
    let spec = NetworkSpec::new("resnet8x4", 100, [3, 32, 32]).with("shortcut", Shortcut::A);
    let graph = build(&spec).unwrap();
    assert!(graph.tap("layer1.0.subsample").is_err());
    let pad = &graph.node(graph.tap("layer1.0.pad").unwrap()).op;
    assert_eq!(*pad, Op::PadChannels(PadChannels { before: 16, after: 16 }));
}

#[test]
fn stages_have_the_shapes_of_the_papers() {
    let shapes = |graph: &Graph| -> Vec<(String, Vec<usize>)> {
        graph.stages().iter().map(|(name, id)| (name.clone(), graph.node(*id).shape.clone())).collect()
    };
    let expect = |wanted: &[(&str, [usize; 3])]| -> Vec<(String, Vec<usize>)> {
        wanted.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
    };
    assert_eq!(
        shapes(&graph("resnet8", 10, [1, 28, 28])),
        expect(&[("layer1", [16, 28, 28]), ("layer2", [32, 14, 14]), ("layer3", [64, 7, 7])])
    );
    assert_eq!(
        shapes(&graph("resnet50", 1000, [3, 224, 224])),
        expect(&[
            ("layer1", [256, 56, 56]),
            ("layer2", [512, 28, 28]),
            ("layer3", [1024, 14, 14]),
            ("layer4", [2048, 7, 7])
        ])
    );
    assert_eq!(
        shapes(&graph("mobilenet_v2", 1000, [3, 224, 224])),
        expect(&[
            ("features.3", [24, 56, 56]),
            ("features.6", [32, 28, 28]),
            ("features.13", [96, 14, 14]),
            ("features.17", [320, 7, 7])
        ])
    );
}

#[test]
fn names_are_torchvisions() {
    let has = |graph: &Graph, name: &str, shape: &[usize]| {
        let found = graph.params().find(|param| param.name == name);
        assert_eq!(found.map(|param| param.shape).as_deref(), Some(shape), "{name} of {}", graph.name());
    };
    let resnet = graph("resnet50", 1000, [3, 64, 64]);
    has(&resnet, "conv1.weight", &[64, 3, 7, 7]);
    has(&resnet, "layer2.0.conv2.weight", &[128, 128, 3, 3]);
    has(&resnet, "layer2.0.downsample.1.running_var", &[512]);
    has(&resnet, "fc.bias", &[1000]);
    let Op::Conv2d(conv) = &resnet.node(resnet.tap("layer2.0.conv2").unwrap()).op else { panic!("not a convolution") };
    assert_eq!(conv.stride, [2, 2], "the stride is in the 3x3 convolution");
    let mobile = graph("mobilenet_v2", 7, [3, 64, 64]);
    has(&mobile, "features.0.0.weight", &[32, 3, 3, 3]);
    has(&mobile, "features.1.conv.0.0.weight", &[32, 1, 3, 3]);
    has(&mobile, "features.1.conv.2.weight", &[16]);
    has(&mobile, "features.2.conv.1.0.weight", &[96, 1, 3, 3]);
    has(&mobile, "features.18.1.weight", &[1280]);
    has(&mobile, "classifier.1.weight", &[7, 1280]);
    let mobile = graph("mobilenet_v3_small", 7, [3, 64, 64]);
    has(&mobile, "features.1.block.0.0.weight", &[16, 1, 3, 3]);
    has(&mobile, "features.1.block.1.fc1.weight", &[8, 16, 1, 1]);
    has(&mobile, "features.2.block.2.1.running_var", &[24]);
    has(&mobile, "features.11.block.2.fc2.bias", &[576]);
    has(&mobile, "classifier.3.weight", &[7, 1024]);
}

#[test]
fn every_entry_builds_at_odd_and_tiny_sizes_with_unique_parameter_names() {
    for entry in catalog() {
        for input in [[1, 1, 1], [4, 13, 9]] {
            let graph = graph(entry.name, 3, input);
            assert_eq!(graph.output_shape(), [3], "{}", entry.name);
            let mut names: Vec<String> = graph.params().map(|param| param.name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", entry.name);
        }
    }
}

#[test]
fn what_a_spec_can_get_wrong_is_said() {
    let message = |spec: NetworkSpec| build(&spec).unwrap_err().to_string();
    let spec = |name: &str| NetworkSpec::new(name, 10, [3, 32, 32]);
    assert!(message(spec("resnet21")).contains("did you mean `resnet20`?"));
    assert!(message(spec("mobilenetv2")).contains("did you mean `mobilenet_v2`?"));
    let stem = message(spec("resnet20").with("stem", Stem::Cifar));
    assert_eq!(stem, "stem: `resnet20` has no such option\n  hint: it has shortcut; remove this one");
    assert!(message(spec("resnet18").with("width", 0.5)).starts_with("width: `resnet18` has no"));
    assert!(message(spec("mobilenet_v2").with("shortcut", Shortcut::A)).starts_with("shortcut:"));
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        assert!(message(spec("mobilenet_v2").with("width", width)).starts_with("width:"), "{width}");
    }
    assert!(message(spec("mobilenet_v2").with("dropout", 1.0)).contains("classifier.0"));
    assert!(message(NetworkSpec { classes: 0, ..spec("resnet20") }).starts_with("classes: 0"));
    assert!(message(NetworkSpec { input: [3, 0, 32], ..spec("resnet20") }).starts_with("input:"));
    assert!(message(NetworkSpec { input: [usize::MAX, 2, 2], ..spec("resnet20") }).starts_with("input:"));
}

#[test]
fn a_spec_reads_from_text_and_refuses_options_of_nobody() {
    let read = |options: &str| -> NetworkSpec {
        let text = format!(r#"{{"name": "resnet18", "classes": 5, "input": [3, 32, 32]{options}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let spec = read(r#", "stem": "cifar""#);
    assert_eq!(spec, NetworkSpec::new("resnet18", 5, [3, 32, 32]).with("stem", Stem::Cifar));
    assert_eq!(serde_json::from_str::<NetworkSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
    let message = |options: &str| build(&read(options)).unwrap_err().to_string();
    assert!(message(r#", "stm": "cifar""#).contains("did you mean `stem`?"));
    assert!(message(r#", "stem": "cfar""#).starts_with("stem: unknown variant `cfar`, expected"));
    assert!(message(r#", "stem": null"#).starts_with("stem: "));
}

#[test]
fn every_option_says_what_it_does() {
    for entry in catalog() {
        for option in entry.options() {
            assert!(option.about.ends_with('.') && option.about.contains("unless said otherwise"), "{option:?}");
        }
    }
}
