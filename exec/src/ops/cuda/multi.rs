//! One launch for all parameters: steps of optimisers, averages, running statistics, scaling, the
//! common norm.
//!
//! All results of one call lie in one allocation and are views of it. Tensors of rank 4 are weights
//! of convolutions and are left channels last, which is how the convolutions read them.

use candle_core::Tensor;

use super::launch::{Arg, File, Gpu, Shape, failed};
use super::memory::{Buffer, Dense};
use crate::error::Result;

/// Elements that one block handles; `CHUNK` of the kernels.
const CHUNK: usize = 8192;

/// Words of a table's entry.
const WORDS: usize = 8;

/// Results start at multiples of this many elements, 256 bytes, as allocations do.
const ALIGNMENT: usize = 64;

/// A parameter, its gradient and what the optimiser kept of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stepped<'a> {
    pub(crate) weight: &'a Tensor,
    pub(crate) gradient: &'a Tensor,
    /// Weight decay for SGD, `1 - lr * decay` for AdamW.
    pub(crate) factor: f32,
}

/// The numbers of a step of SGD.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SgdStep {
    pub(crate) lr: f32,
    pub(crate) momentum: f32,
    pub(crate) nesterov: bool,
}

/// The numbers of a step of AdamW: `1 - b1`, `b2`, `1 - b2`, `lr / (1 - b1^t)`, `sqrt(1 - b2^t)`,
/// `eps`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamwStep {
    pub(crate) rest1: f32,
    pub(crate) b2: f32,
    pub(crate) rest2: f32,
    pub(crate) step: f32,
    pub(crate) root: f32,
    pub(crate) eps: f32,
}

/// New weights, and new velocities where there is momentum.
pub(crate) fn sgd(all: &[(Stepped<'_>, Option<&Tensor>)], step: SgdStep) -> Result<Vec<(Tensor, Option<Tensor>)>> {
    let Some((first, _)) = all.first() else { return Ok(Vec::new()) };
    let gpu = Gpu::of(first.weight)?;
    let keeps = step.momentum != 0.0;
    let results = Results::new(&gpu, all.iter().map(|(one, _)| one.weight), if keeps { 2 } else { 1 })?;
    let mut table = Table::default();
    for (at, (one, velocity)) in all.iter().enumerate() {
        let next_velocity = if keeps { results.address(1, at) } else { 0 };
        let inputs = [Some(one.weight), Some(one.gradient), *velocity];
        table.push(one.weight, one.factor, inputs, &[results.address(0, at), next_velocity])?;
    }
    // SAFETY: `multi_sgd` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe {
        table.launch(&gpu, "multi_sgd", &[step.lr.into(), step.momentum.into(), i32::from(step.nesterov).into()])
    }?;
    let flat = results.flat();
    let pair = |at| Ok((flat.view(0, at)?, keeps.then(|| flat.view(1, at)).transpose()?));
    (0..all.len()).map(pair).collect()
}

/// New weights, first and second averages; the old averages may be missing, which is zero.
pub(crate) fn adamw(all: &[(Stepped<'_>, [Option<&Tensor>; 2])], step: AdamwStep) -> Result<Vec<[Tensor; 3]>> {
    let Some((first, _)) = all.first() else { return Ok(Vec::new()) };
    let gpu = Gpu::of(first.weight)?;
    let results = Results::new(&gpu, all.iter().map(|(one, _)| one.weight), 3)?;
    let mut table = Table::default();
    for (at, (one, [m, v])) in all.iter().enumerate() {
        let inputs = [Some(one.weight), Some(one.gradient), *m, *v];
        table.push(one.weight, one.factor, inputs, &[results.address(0, at)])?;
    }
    let AdamwStep { rest1, b2, rest2, step, root, eps } = step;
    let after = results.section as u64;
    let numbers = [rest1, b2, rest2, step, root, eps].map(Arg::from);
    // SAFETY: `multi_adamw` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { table.launch(&gpu, "multi_adamw", &[&numbers[..], &[after.into(), (2 * after).into()]].concat()) }?;
    let flat = results.flat();
    (0..all.len()).map(|at| Ok([flat.view(0, at)?, flat.view(1, at)?, flat.view(2, at)?])).collect()
}

/// `keep * a + rest * b` of each pair.
pub(crate) fn mix(all: &[(&Tensor, &Tensor)], keep: f32, rest: f32) -> Result<Vec<Tensor>> {
    let Some((first, _)) = all.first() else { return Ok(Vec::new()) };
    let gpu = Gpu::of(first)?;
    let results = Results::new(&gpu, all.iter().map(|(a, _)| *a), 1)?;
    let mut table = Table::default();
    for (at, (a, b)) in all.iter().enumerate() {
        table.push(a, 0.0, [Some(*a), Some(*b)], &[results.address(0, at)])?;
    }
    // SAFETY: `multi_mix` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { table.launch(&gpu, "multi_mix", &[keep.into(), rest.into()]) }?;
    let flat = results.flat();
    (0..all.len()).map(|at| flat.view(0, at)).collect()
}

/// `factor * x` of each.
pub(crate) fn scale(all: &[&Tensor], factor: f32) -> Result<Vec<Tensor>> {
    let Some(first) = all.first() else { return Ok(Vec::new()) };
    let gpu = Gpu::of(first)?;
    let results = Results::new(&gpu, all.iter().copied(), 1)?;
    let mut table = Table::default();
    for (at, x) in all.iter().enumerate() {
        table.push(x, 0.0, [Some(*x)], &[results.address(0, at)])?;
    }
    // SAFETY: `multi_scale` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { table.launch(&gpu, "multi_scale", &[factor.into()]) }?;
    let flat = results.flat();
    (0..all.len()).map(|at| flat.view(0, at)).collect()
}

/// The Euclidean norm of all elements together. Waits for the card.
pub(crate) fn norm(all: &[&Tensor]) -> Result<f64> {
    let Some(first) = all.first() else { return Ok(0.0) };
    let gpu = Gpu::of(first)?;
    let mut table = Table::default();
    for x in all {
        table.push(x, 0.0, [Some(*x)], &[])?;
    }
    let count = table.chunks.len();
    let partial = Buffer::<f64>::new(&gpu, count)?;
    // SAFETY: `multi_squares` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { table.launch(&gpu, "multi_squares", &[(&partial).into()]) }?;
    let sum = Buffer::<f64>::new(&gpu, 1)?;
    let one = Shape { grid: [1, 1, 1], block: [256, 1], shared: 0 };
    // SAFETY: `total` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch(File::Multi, "total", one, &[(&partial).into(), (count as u32).into(), (&sum).into()]) }?;
    Ok(sum.to_host(&gpu)?.iter().sum::<f64>().sqrt())
}

/// The tensors of a launch and how they are cut into blocks.
#[derive(Debug, Default)]
struct Table {
    entries: Vec<u64>,
    chunks: Vec<u64>,
    /// Keeps dense copies alive until the launch is queued.
    held: Vec<Dense>,
}

impl Table {
    /// Adds a tensor of as many elements as `like`: its operands in the order of the kernel (0
    /// where there is none), then where results go. All operands have the shape of `like`.
    fn push<const N: usize>(
        &mut self,
        like: &Tensor,
        factor: f32,
        inputs: [Option<&Tensor>; N],
        outputs: &[u64],
    ) -> Result<()> {
        let number = (self.entries.len() / WORDS) as u64;
        self.entries.extend([like.elem_count() as u64, u64::from(factor.to_bits())]);
        for input in inputs {
            let address = match input {
                Some(input) if input.dims() != like.dims() => {
                    return Err(failed("a step", format_args!("shapes {:?} and {:?}", input.dims(), like.dims())));
                }
                Some(input) => {
                    let dense = Dense::channels_last(input)?;
                    let address = dense.address;
                    self.held.push(dense);
                    address
                }
                None => 0,
            };
            self.entries.push(address);
        }
        self.entries.extend(outputs);
        self.entries.resize((number as usize + 1) * WORDS, 0);
        self.chunks.extend((0..like.elem_count().div_ceil(CHUNK) as u64).map(|chunk| number << 32 | chunk));
        Ok(())
    }

    /// # Safety
    /// `kernel` takes a table whose entries have these operands, then `args`.
    unsafe fn launch(mut self, gpu: &Gpu, kernel: &str, args: &[Arg]) -> Result<()> {
        let (tensors, blocks) = ((self.entries.len() / WORDS) as i32, self.chunks.len() as u32);
        self.entries.append(&mut self.chunks);
        let table = Buffer::from_host(gpu, &self.entries)?;
        let shape = Shape { grid: [blocks, 1, 1], block: [256, 1], shared: 0 };
        // SAFETY: as the caller says; the table lists as many tensors and blocks as it is said to.
        unsafe { gpu.launch(File::Multi, kernel, shape, &[&[(&table).into(), tensors.into()], args].concat()) }
    }
}

/// Memory for the results: one section a kind of result, in each the tensors one after the other.
#[derive(Debug)]
struct Results<'a> {
    gpu: &'a Gpu,
    buffer: Buffer,
    shapes: Vec<Vec<usize>>,
    offsets: Vec<usize>,
    /// Elements of a section.
    section: usize,
    sections: usize,
}

impl<'a> Results<'a> {
    fn new<'t>(gpu: &'a Gpu, like: impl Iterator<Item = &'t Tensor>, sections: usize) -> Result<Self> {
        let (mut shapes, mut offsets, mut section) = (Vec::new(), Vec::new(), 0);
        for tensor in like {
            offsets.push(section);
            section += tensor.elem_count().next_multiple_of(ALIGNMENT);
            shapes.push(tensor.dims().to_vec());
        }
        // Nobody reads the gaps between the tensors.
        let buffer = Buffer::new(gpu, section * sections)?;
        Ok(Self { gpu, buffer, shapes, offsets, section, sections })
    }

    fn address(&self, section: usize, at: usize) -> u64 {
        self.buffer.address + ((section * self.section + self.offsets[at]) * size_of::<f32>()) as u64
    }

    /// Once a kernel has been launched that fills it.
    fn flat(self) -> Flat {
        let Self { gpu, buffer, shapes, offsets, section, sections } = self;
        Flat { all: buffer.tensor(gpu, &[section * sections]), shapes, offsets, section }
    }
}

/// Results of which tensors are views.
#[derive(Debug)]
struct Flat {
    all: Tensor,
    shapes: Vec<Vec<usize>>,
    offsets: Vec<usize>,
    section: usize,
}

impl Flat {
    fn view(&self, section: usize, at: usize) -> Result<Tensor> {
        let shape = &self.shapes[at];
        let part = self.all.narrow(0, section * self.section + self.offsets[at], shape.iter().product())?;
        Ok(match shape[..] {
            [o, i, kh, kw] => part.reshape((o, kh, kw, i))?.permute((0, 3, 1, 2))?,
            [o, i, p] => part.reshape((o, p, i))?.transpose(1, 2)?,
            _ => part.reshape(shape.as_slice())?,
        })
    }
}
