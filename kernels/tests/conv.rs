//! Convolution in its three directions against its definition, over many shapes; repeatability; bad shapes.

mod common;

use attar_kernels::{ConvShape, ShapeError, Tail, conv2d, conv2d_input_grad, conv2d_sums, conv2d_weight_grad};
use common::{assert_close, for_products, values};

const PLAIN: ConvShape = ConvShape {
    batch: 2,
    in_channels: 3,
    in_h: 8,
    in_w: 7,
    out_channels: 4,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    groups: 1,
};

struct Results {
    y: Vec<f32>,
    dx: Vec<f32>,
    dweight: Vec<f32>,
}

struct Operands {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Operands {
    fn new(shape: &ConvShape) -> Self {
        Self {
            x: values(1, shape.input_len()),
            weight: values(2, shape.weight_len()),
            bias: values(3, shape.out_channels),
            dy: values(4, shape.output_len()),
        }
    }

    /// Outputs start as NaN, so that a value that is never written or only added to is seen.
    fn run(&self, shape: &ConvShape) -> Results {
        let mut results = Results {
            y: vec![f32::NAN; shape.output_len()],
            dx: vec![f32::NAN; shape.input_len()],
            dweight: vec![f32::NAN; shape.weight_len()],
        };
        let tail = Tail { bias: Some(&self.bias), ..Tail::default() };
        conv2d(shape, &self.x, &self.weight, tail, &mut results.y);
        conv2d_input_grad(shape, &self.dy, &self.weight, &mut results.dx);
        conv2d_weight_grad(shape, &self.x, &self.dy, &mut results.dweight);
        results
    }

    fn by_definition(&self, shape: &ConvShape) -> Results {
        let bias = |i: usize| f64::from(self.bias[i % shape.out_channels]);
        let mut y: Vec<f64> = (0..shape.output_len()).map(bias).collect();
        let mut dx = vec![0.0f64; shape.input_len()];
        let mut dweight = vec![0.0f64; shape.weight_len()];
        for_products(shape, |input, weight, output| {
            let (x, w, dy) = (f64::from(self.x[input]), f64::from(self.weight[weight]), f64::from(self.dy[output]));
            y[output] += x * w;
            dx[input] += dy * w;
            dweight[weight] += dy * x;
        });
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        Results { y: single(y), dx: single(dx), dweight: single(dweight) }
    }
}

fn assert_right(shape: ConvShape) {
    assert_within(shape, 2e-6);
}

fn assert_within(shape: ConvShape, tolerance: f64) {
    assert_eq!(shape.checked().err(), None, "{shape:?}");
    let operands = Operands::new(&shape);
    let (got, want) = (operands.run(&shape), operands.by_definition(&shape));
    assert_close(&format!("y of {shape:?}"), &got.y, &want.y, tolerance);
    assert_close(&format!("dx of {shape:?}"), &got.dx, &want.dx, tolerance);
    assert_close(&format!("dweight of {shape:?}"), &got.dweight, &want.dweight, tolerance);
}

#[test]
fn every_setting_agrees_with_the_definition() {
    for (in_h, in_w) in [(8, 7), (5, 9), (6, 6)] {
        for kernel in [[1, 1], [3, 3], [2, 3], [5, 1]] {
            for stride in [[1, 1], [2, 2], [3, 1], [2, 3]] {
                for (padding, dilation) in [([0, 0], [1, 1]), ([1, 1], [1, 1]), ([2, 1], [1, 2]), ([3, 4], [2, 3])] {
                    for (in_channels, out_channels, groups) in [(3, 4, 1), (4, 6, 2), (5, 5, 5), (3, 6, 3), (1, 1, 1)] {
                        let shape = ConvShape {
                            in_channels,
                            out_channels,
                            groups,
                            in_h,
                            in_w,
                            kernel,
                            stride,
                            padding,
                            dilation,
                            ..PLAIN
                        };
                        match shape.checked() {
                            Ok(shape) => assert_right(shape),
                            Err(ShapeError::Window { .. }) => {}
                            Err(other) => panic!("{shape:?}: {other}"),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn edge_cases_agree_with_the_definition() {
    let one_pixel = ConvShape { in_h: 1, in_w: 1, ..PLAIN };
    let edges = [
        ConvShape { batch: 1, ..PLAIN },
        one_pixel,
        ConvShape { kernel: [1, 1], padding: [0, 0], ..one_pixel },
        ConvShape { in_channels: 4, groups: 4, ..one_pixel },
        ConvShape { kernel: [8, 7], padding: [0, 0], ..PLAIN },
        ConvShape { kernel: [1, 1], padding: [2, 3], ..PLAIN }, // more padding than the kernel reaches
        ConvShape { kernel: [1, 1], padding: [2, 3], in_channels: 4, groups: 4, ..PLAIN },
        ConvShape { in_w: 1, padding: [1, 4], ..PLAIN },
        ConvShape { in_w: 2, kernel: [3, 9], padding: [1, 4], ..PLAIN }, // taps that never see the image
        ConvShape { in_h: 2, stride: [5, 5], padding: [1, 1], ..PLAIN },
        ConvShape { in_h: 2, in_channels: 4, groups: 4, stride: [5, 9], padding: [1, 1], ..PLAIN },
        ConvShape { out_channels: 64, ..PLAIN },
        ConvShape { batch: 5, in_channels: 4, out_channels: 134, groups: 2, ..PLAIN },
        ConvShape { batch: 35, in_h: 4, in_w: 3, ..PLAIN }, // parts of the batch of unequal size
        ConvShape { in_channels: 40, in_h: 33, in_w: 31, kernel: [5, 5], padding: [2, 2], ..PLAIN }, // several tiles
        ConvShape { in_channels: 40, in_h: 63, in_w: 61, kernel: [5, 5], stride: [2, 2], ..PLAIN },
    ];
    edges.into_iter().for_each(assert_right);
}

/// 3x3 kernels of stride 1 over channels by the sixteen are computed by Winograd's algorithm, which rounds more.
#[test]
fn minimal_filtering_agrees_with_the_definition() {
    let plain = ConvShape { in_channels: 16, out_channels: 32, ..PLAIN };
    let shapes = [
        plain,
        ConvShape { batch: 1, in_h: 4, in_w: 4, ..plain },
        ConvShape { in_h: 9, in_w: 12, padding: [0, 2], ..plain },
        ConvShape { in_h: 7, in_w: 13, padding: [2, 0], ..plain },
        ConvShape { in_h: 6, in_w: 10, padding: [0, 0], in_channels: 48, ..plain },
        ConvShape { batch: 7, in_channels: 80, out_channels: 144, ..plain }, // several blocks of channels
        ConvShape { batch: 67, in_h: 8, in_w: 8, out_channels: 16, ..plain }, // several groups of tiles
    ];
    for shape in shapes {
        assert_within(shape, 1e-5);
    }
}

#[test]
fn bits_do_not_depend_on_the_run_or_the_threads() {
    let dense = ConvShape { batch: 19, in_channels: 8, in_h: 16, in_w: 16, out_channels: 24, ..PLAIN };
    let shapes = [
        dense,
        ConvShape { stride: [2, 2], ..dense },
        ConvShape { out_channels: 64, ..dense },
        ConvShape { in_channels: 16, out_channels: 32, ..dense },
        ConvShape { kernel: [1, 1], padding: [0, 0], ..dense },
        ConvShape { out_channels: 8, groups: 8, ..dense },
        ConvShape { out_channels: 8, groups: 8, stride: [2, 2], ..dense },
    ];
    for shape in shapes {
        let operands = Operands::new(&shape);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| operands.run(&shape))
        };
        let first = with_threads(1);
        for threads in [1, 2, 3, 7] {
            let again = with_threads(threads);
            assert!(first.y == again.y, "y of {shape:?} with {threads} threads");
            assert!(first.dx == again.dx, "dx of {shape:?} with {threads} threads");
            assert!(first.dweight == again.dweight, "dweight of {shape:?} with {threads} threads");
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    let zero = |what| Some(ShapeError::Zero { what });
    assert_eq!(ConvShape { batch: 0, ..PLAIN }.checked().err(), zero("batch"));
    assert_eq!(ConvShape { stride: [1, 0], ..PLAIN }.checked().err(), zero("stride"));
    assert_eq!(ConvShape { kernel: [0, 1], ..PLAIN }.checked().err(), zero("kernel"));
    assert_eq!(ConvShape { dilation: [0, 1], ..PLAIN }.checked().err(), zero("dilation"));
    assert_eq!(ConvShape { groups: 0, ..PLAIN }.checked().err(), zero("groups"));
    assert!(matches!(ConvShape { groups: 2, ..PLAIN }.checked(), Err(ShapeError::Groups { .. })));
    let window = ConvShape { kernel: [3, 10], ..PLAIN }.checked().unwrap_err();
    assert_eq!(window, ShapeError::Window { axis: "width", span: 10, size: 7, padding: 1 });
    assert!(matches!(ConvShape { batch: usize::MAX / 8, ..PLAIN }.checked(), Err(ShapeError::TooLarge { .. })));
    assert!(matches!(ConvShape { padding: [usize::MAX, 0], ..PLAIN }.checked(), Err(ShapeError::TooLarge { .. })));
    assert!(matches!(ConvShape { dilation: [usize::MAX, 1], ..PLAIN }.checked(), Err(ShapeError::TooLarge { .. })));
}

#[test]
#[should_panic(expected = "weight of")]
fn a_slice_that_does_not_fit_panics() {
    let operands = Operands::new(&PLAIN);
    conv2d(&PLAIN, &operands.x, &operands.weight[1..], Tail::default(), &mut vec![0.0; PLAIN.output_len()]);
}

/// Bytes times whole weights in steps of a power of two, where Winograd's transforms would fit: plain sums are exact.
#[test]
fn sums_of_whole_numbers_are_whole() {
    let shape = ConvShape { in_channels: 32, in_h: 12, in_w: 12, out_channels: 32, ..PLAIN }.checked().unwrap();
    let whole = |seed, len, most: f32, step: f32| -> Vec<f32> {
        values(seed, len).iter().map(|value| (value * most).round() * step).collect()
    };
    let x = whole(1, shape.input_len(), 255.0, 1.0 / 32.0);
    let weight = whole(2, shape.weight_len(), 64.0, 1.0 / 256.0);
    let mut expected = vec![0.0f64; shape.output_len()];
    for_products(&shape, |input, at, output| expected[output] += f64::from(x[input]) * f64::from(weight[at]));
    let mut y = vec![f32::NAN; shape.output_len()];
    conv2d_sums(&shape, &x, &weight, Tail::default(), &mut y);
    assert_eq!(y.iter().map(|y| f64::from(*y)).collect::<Vec<_>>(), expected);
    conv2d(&shape, &x, &weight, Tail::default(), &mut y);
    assert!(y.iter().zip(&expected).any(|(y, expected)| f64::from(*y) != *expected), "no transform rounds here");
}
