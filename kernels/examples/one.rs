use attar_kernels::*;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|s| s.parse().unwrap()).collect();
    let shape = ConvShape {
        batch: 64,
        in_channels: a[0],
        in_h: a[2],
        in_w: a[2],
        out_channels: a[1],
        kernel: [a[3]; 2],
        stride: [a[4]; 2],
        padding: [a[3] / 2; 2],
        dilation: [1, 1],
        groups: 1,
    };
    let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect::<Vec<f32>>();
    let (x, w, dy) = (ramp(shape.input_len()), ramp(shape.weight_len()), ramp(shape.output_len()));
    let (mut y, mut dw) = (dy.clone(), w.clone());
    let mut dx = x.clone();
    let mut best = f64::INFINITY;
    for _ in 0..a[6] {
        let t = std::time::Instant::now();
        match a[5] {
            0 => conv2d(&shape, &x, &w, Tail::default(), &mut y),
            1 => conv2d_input_grad(&shape, &dy, &w, &mut dx),
            _ => conv2d_weight_grad(&shape, &x, &dy, &mut dw),
        }
        best = best.min(t.elapsed().as_secs_f64());
    }
    println!("{:.3} ms {:.1} GFLOP/s", best * 1e3, 2.0 * shape.macs() as f64 / best / 1e9);
}
