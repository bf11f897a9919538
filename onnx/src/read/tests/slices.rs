//! Slices that take every second row and column.

use attar_models::Op;
use attar_models::op::Subsample;

use super::behind_a_convolution;
use super::files::File;
use super::files::Setting::Ints;

/// `x[:, :, ::2, ::2]` as PyTorch's exporters write it, and one whose second half is of another stride.
#[test]
fn a_stride_in_two_halves_is_one_node() {
    let halves = |first: i64, second: i64| {
        move |f: File| {
            f.ints("from", &[0])
                .ints("to", &[i64::MAX])
                .ints("rows", &[2])
                .ints("columns", &[3])
                .ints("first", &[first])
                .ints("second", &[second])
                .node("Slice", &["c", "from", "to", "rows", "first"], "half", &[])
                .node("Slice", &["half", "from", "to", "columns", "second"], "a", &[])
        }
    };
    // As it stands in files of its script exporter: what the second half reads is made between the two.
    let late = |f: File| {
        f.ints("from", &[0])
            .ints("to", &[i64::MAX])
            .ints("rows", &[2])
            .ints("first", &[2])
            .node("Slice", &["c", "from", "to", "rows", "first"], "half", &[])
            .node("Constant", &[], "columns", &[("value_ints", Ints(&[3]))])
            .node("Constant", &[], "second", &[("value_ints", Ints(&[2]))])
            .node("Slice", &["half", "from", "to", "columns", "second"], "a", &[])
    };
    let (graph, _) = behind_a_convolution(17, late);
    assert_eq!(graph.nodes()[2].op, Op::Subsample(Subsample { stride: 2 }));
    let (graph, _) = behind_a_convolution(17, halves(2, 2));
    assert_eq!(graph.nodes()[2].op, Op::Subsample(Subsample { stride: 2 }));
    assert_eq!(graph.nodes()[2].name, "a");
    let file = File::new(17, &[0, 3, 8, 8]).weights("w", &[2, 3, 3, 3]).node("Conv", &["x", "w"], "c", &[]);
    let import = halves(2, 3)(file).read("a");
    assert!(import.obstacles[0].problem.contains("steps [1, 1, 2, 1]"), "{}", import.obstacles[0]);
}
