//! What TensorFlow's converter leaves of channels that come last.

use attar_models::Op;
use attar_models::op::{PRelu, Pad2d};

use super::files::File;
use super::files::Setting::Ints;
use super::{kinds, network};

const LAST: &[i64] = &[0, 2, 3, 1];
const FIRST: &[i64] = &[0, 3, 1, 2];

/// `x` `[3, 1, 2]` as `[N, 1, 2, 3]`, called `last`.
fn last() -> File {
    File::new(17, &[0, 3, 1, 2]).node("Transpose", &["x"], "last", &[("perm", Ints(LAST))])
}

#[test]
fn a_row_of_channels_that_came_last_meets_a_weight_in_the_networks_order() {
    // The file's row is p0c0 p0c1 p0c2 p1c0 p1c1 p1c2, the network's c0p0 c0p1 c1p0 c1p1 c2p0 c2p1.
    let weight = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
    let expected = [0.0, 10.0, 1.0, 11.0, 2.0, 12.0];
    let file = last().ints("shape", &[0, 6]).node("Reshape", &["last", "shape"], "row", &[]);
    let file = file.node("Relu", &["row"], "positive", &[]).floats("w", &[6, 1], &weight).floats("b", &[1], &[0.5]);
    let file = file.node("MatMul", &["positive", "w"], "product", &[]).node("Add", &["product", "b"], "y", &[]);
    let (graph, weights) = network(file.read("y"));
    assert_eq!(kinds(&graph), ["flatten", "activation", "linear"]);
    assert_eq!(weights.get("y.weight").unwrap().f32().unwrap(), expected);
    assert_eq!(weights.get("y.bias").unwrap().f32().unwrap(), [0.5]);
}

#[test]
fn such_a_row_is_no_answer_and_goes_with_no_other() {
    let row = || last().node("Flatten", &["last"], "row", &[]);
    let import = row().read("row");
    assert!(import.obstacles[0].problem.contains("another order than the network's"), "{}", import.obstacles[0]);
    let both = row().node("Flatten", &["x"], "plain", &[]).node("Add", &["row", "plain"], "sum", &[]);
    let import = both.weights("w", &[6, 2]).node("MatMul", &["sum", "w"], "y", &[]).read("y");
    assert!(import.obstacles[0].problem.contains("different order"), "{}", import.obstacles[0]);
}

#[test]
fn the_axis_of_one_channel_or_of_one_position_moves_by_a_shape() {
    let one_channel = File::new(17, &[0, 6, 5, 1]).ints("shape", &[-1, 1, 6, 5]);
    let file = one_channel.node("Reshape", &["x", "shape"], "first", &[]).weights("w", &[2, 1, 6, 5]);
    let (graph, _) = network(file.node("Conv", &["first", "w"], "y", &[]).read("y"));
    assert_eq!((graph.input_shape(), kinds(&graph)), (&[1, 6, 5][..], vec!["conv2d", "flatten"]));

    let mean = File::new(17, &[0, 3, 4, 4]).node("GlobalAveragePool", &["x"], "mean", &[]);
    let there = mean.ints("last", &[-1, 1, 1, 3]).node("Reshape", &["mean", "last"], "there", &[]);
    let back = there.ints("first", &[-1, 3, 1, 1]).node("Reshape", &["there", "first"], "back", &[]);
    let (graph, _) = network(back.weights("w", &[2, 3, 1, 1]).node("Conv", &["back", "w"], "y", &[]).read("y"));
    assert_eq!(kinds(&graph), ["avg-pool2d", "conv2d", "flatten"]);
}

/// The same shape may be meant as one: rows become channels.
#[test]
fn a_shape_behind_which_windows_slide_is_one() {
    let image = File::new(17, &[0, 1, 6, 5]).ints("rows", &[0, 6, 5, 1]).node("Reshape", &["x", "rows"], "image", &[]);
    let (graph, _) = network(image.weights("w", &[2, 6, 5, 1]).node("Conv", &["image", "w"], "y", &[]).read("y"));
    assert_eq!(kinds(&graph), ["reshape", "conv2d", "flatten"]);
    assert_eq!(graph.nodes()[1].shape, [6, 5, 1]);
}

#[test]
fn pads_and_slopes_lie_over_the_networks_axes() {
    let file = last().ints("pads", &[0, 1, 2, 0, 0, 3, 4, 0]).floats("slopes", &[3], &[0.25, 0.5, 0.75]);
    let file = file.node("Pad", &["last", "pads"], "padded", &[]).node("PRelu", &["padded", "slopes"], "sloped", &[]);
    let file = file.node("Transpose", &["sloped"], "first", &[("perm", Ints(FIRST))]).weights("w", &[2, 3, 5, 8]);
    let (graph, weights) = network(file.node("Conv", &["first", "w"], "y", &[]).read("y"));
    assert_eq!(graph.nodes()[1].op, Op::Pad2d(Pad2d { top: 1, left: 2, bottom: 3, right: 4 }));
    assert_eq!(graph.nodes()[2].op, Op::PRelu(PRelu { channels: 3 }));
    assert_eq!(weights.get("sloped.weight").unwrap().f32().unwrap(), [0.25, 0.5, 0.75]);
    // Slopes along the rows are none of channels.
    let file = File::new(17, &[0, 2, 1, 2]).floats("slopes", &[2], &[0.25, 0.5]);
    let import = file.node("PRelu", &["x", "slopes"], "y", &[]).read("y");
    assert!(import.obstacles[0].problem.contains("one a channel"), "{}", import.obstacles[0]);
}
