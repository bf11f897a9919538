use attar_kernels::*;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|v| v.parse().unwrap()).collect();
    let [side, c, k, s, dir, reps] = a[..] else { return };
    let shape = ConvShape {
        batch: 64,
        in_channels: c,
        in_h: side,
        in_w: side,
        out_channels: c,
        kernel: [k; 2],
        stride: [s; 2],
        padding: [k / 2; 2],
        dilation: [1; 2],
        groups: c,
    };
    let x: Vec<f32> = vec![0.3; shape.input_len()];
    let mut y: Vec<f32> = vec![0.3; shape.output_len()];
    let mut dx = x.clone();
    let mut w: Vec<f32> = vec![0.3; shape.weight_len()];
    let start = std::time::Instant::now();
    let mut best = f64::INFINITY;
    for _ in 0..reps {
        let now = std::time::Instant::now();
        match dir {
            0 => conv2d(&shape, &x, &w, None, &mut y),
            1 => conv2d_input_grad(&shape, &y, &w, &mut dx),
            _ => conv2d_weight_grad(&shape, &x, &y, &mut w),
        }
        best = best.min(now.elapsed().as_secs_f64());
    }
    println!(
        "{a:?} best {:.1} GFLOP/s mean {:.1}",
        2e-9 * shape.macs() as f64 / best,
        2e-9 * (shape.macs() * reps as u64) as f64 / start.elapsed().as_secs_f64()
    );
}
