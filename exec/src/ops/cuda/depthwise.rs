//! Convolutions whose groups have one input channel each, by our own kernels: memory to stream, no
//! product worth a tile.

use super::conv::{Direction, Job, numbers};
use super::elementwise::by_four;
use super::launch::{File, Shape};
use super::memory::Buffer;
use super::norm::Rows;
use crate::error::Result;

pub(super) fn run(job: &Job<'_>) -> Result<()> {
    let Job { gpu, shape, stored, image: a, ours: [b, result], .. } = *job;
    let numbers = numbers(shape)?;
    // The weight is read one by one, whatever its address.
    let single = shape.in_channels == shape.out_channels;
    let four = |addresses: &[u64]| single && by_four(shape.in_channels, addresses);
    let items = |count: usize, four: bool| Shape::items(if four { count / 4 } else { count });
    match job.direction {
        Direction::Forward => {
            let four = four(&[a, result]);
            let args = [numbers, four.into(), a.into(), b.into(), result.into()];
            // SAFETY: `depthwise_forward` declares these arguments, and the buffers are as large as
            // it reads and writes.
            unsafe {
                gpu.launch_for(stored, File::Depthwise, "depthwise_forward", items(shape.output_len(), four), &args)
            }
        }
        Direction::InputGrad => {
            let four = four(&[a, result]);
            let args = [numbers, four.into(), a.into(), b.into(), result.into()];
            // SAFETY: `depthwise_input_grad` declares these arguments, and the buffers are as large
            // as it reads and writes.
            unsafe {
                gpu.launch_for(stored, File::Depthwise, "depthwise_input_grad", items(shape.input_len(), four), &args)
            }
        }
        Direction::WeightGrad => {
            let (taps, channels) = (shape.kernel[0] * shape.kernel[1], shape.out_channels);
            let rows = shape.batch * shape.out_h() * shape.out_w();
            let four = four(&[a, b]);
            let mut grid = Rows { rows, channels, four }.sums();
            grid.grid[1] = grid.grid[1].min((2048 / taps).max(1) as u32);
            grid.grid[2] = taps as u32;
            let splits = grid.grid[1] as usize;
            let partial = Buffer::<f64>::new(gpu, taps * splits * channels)?;
            let args = [numbers, four.into(), a.into(), b.into(), (&partial).into()];
            // SAFETY: `depthwise_weight_grad` declares these arguments, and the buffers are as
            // large as it reads and writes.
            unsafe { gpu.launch_for(stored, File::Depthwise, "depthwise_weight_grad", grid, &args) }?;
            let finish = Shape { grid: [channels as u32, taps as u32, 1], block: [128, 1], shared: 0 };
            let args = [(&partial).into(), (splits as i32).into(), (channels as i32).into(), result.into()];
            // SAFETY: `depthwise_weight_finish` declares these arguments, and the buffers are as
            // large as it reads and writes.
            unsafe { gpu.launch_for(stored, File::Depthwise, "depthwise_weight_finish", finish, &args) }
        }
    }
}
