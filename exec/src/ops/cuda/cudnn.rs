//! Convolutions by cuDNN: channels last, the algorithm found by measurement once per shape and kept
//! with its descriptors.

mod descriptors;
mod search;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::ManuallyDrop;

use attar_kernels::ConvShape;
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};

use super::conv::{Direction, Job};
use super::launch::{Gpu, Stored, failed};
use super::memory::Buffer;
use crate::error::Result;
use descriptors::Descriptors;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    direction: Direction,
    stored: Stored,
    tf32: bool,
    sizes: [usize; 6],
    window: [[usize; 2]; 4],
}

impl Key {
    fn of(job: &Job<'_>) -> Self {
        let &ConvShape { batch, in_channels, in_h, in_w, out_channels, kernel, stride, padding, dilation, groups } =
            job.shape;
        let sizes = [batch, in_channels, in_h, in_w, out_channels, groups];
        Self {
            direction: job.direction,
            stored: job.stored,
            tf32: job.tf32,
            sizes,
            window: [kernel, stride, padding, dilation],
        }
    }
}

/// One algorithm of one direction.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    InputGrad(sys::cudnnConvolutionBwdDataAlgo_t),
    WeightGrad(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// How a convolution is done: descriptors, algorithm, bytes of workspace.
#[derive(Debug)]
struct Plan {
    descriptors: Descriptors,
    algorithm: Algorithm,
    workspace: usize,
}

/// cuDNN on one card, for one thread.
#[derive(Debug)]
struct Cudnn {
    handle: sys::cudnnHandle_t,
    /// `None` where our own kernel does it.
    plans: BTreeMap<Key, Option<Plan>>,
    /// Grown when a plan needs more, never freed.
    workspace: Option<(Buffer<u8>, usize)>,
}

thread_local! {
    /// A handle may not be shared by threads. Never destroyed: at the end of a thread the driver
    /// may be gone already.
    static HANDLES: RefCell<Vec<(DeviceId, ManuallyDrop<Cudnn>)>> = const { RefCell::new(Vec::new()) };
}

/// Runs a convolution unless cuDNN has no deterministic algorithm for it, or one slower than our
/// own kernel: then `false`, and nothing was computed.
pub(super) fn run(job: &Job<'_>) -> Result<bool> {
    HANDLES.with_borrow_mut(|handles| {
        let id = job.gpu.device.id();
        if !handles.iter().any(|(known, _)| *known == id) {
            handles.push((id, ManuallyDrop::new(Cudnn::new(job.gpu)?)));
        }
        match handles.iter_mut().find(|(known, _)| *known == id) {
            Some((_, cudnn)) => cudnn.run(job),
            None => Ok(false),
        }
    })
}

impl Cudnn {
    fn new(gpu: &Gpu) -> Result<Self> {
        gpu.stream.context().bind_to_thread().map_err(|error| failed("cuDNN", error))?;
        let handle = result::create_handle().map_err(|error| failed("cuDNN", error))?;
        // SAFETY: the handle was just made, and the stream lives as long as the device, which
        // tensors keep alive.
        unsafe { result::set_stream(handle, gpu.stream.cu_stream().cast()) }.map_err(|error| failed("cuDNN", error))?;
        Ok(Self { handle, plans: BTreeMap::new(), workspace: None })
    }

    fn run(&mut self, job: &Job<'_>) -> Result<bool> {
        let key = Key::of(job);
        if !self.plans.contains_key(&key) {
            let plan = search::plan(self.handle, job, key.tf32)?;
            self.plans.insert(key, plan);
        }
        let Some(Some(plan)) = self.plans.get(&key) else { return Ok(false) };
        let room = self.workspace.as_ref().map_or(0, |(_, room)| *room);
        if plan.workspace > room {
            self.workspace = None; // freed before the larger one is asked for
            self.workspace = Some((Buffer::new(job.gpu, plan.workspace)?, plan.workspace));
        }
        let workspace = self.workspace.as_ref().map_or(0, |(buffer, _)| buffer.address);
        launch(self.handle, plan, job, workspace).map_err(|error| failed("a convolution by cuDNN", error))?;
        Ok(true)
    }
}

/// Queues the convolution. `workspace` points to at least `plan.workspace` bytes.
fn launch(
    handle: sys::cudnnHandle_t,
    plan: &Plan,
    job: &Job<'_>,
    workspace: u64,
) -> std::result::Result<(), result::CudnnError> {
    let Descriptors { x, y, weight, conv } = &plan.descriptors;
    let [a, b] = [job.image, job.theirs[0]].map(|operand| operand as *const c_void);
    let (to, workspace, room) = (job.theirs[1] as *mut c_void, workspace as *mut c_void, plan.workspace);
    let (one, zero) = (1f32, 0f32);
    let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
    // SAFETY: handle and descriptors are alive and describe the buffers of the job, which hold the
    // shape's number of elements and live until the work is queued; the workspace is as large as
    // this algorithm asked for; scaling factors are read before the call returns.
    unsafe {
        match plan.algorithm {
            Algorithm::Forward(algorithm) => result::convolution_forward(
                handle, one, x.0, a, weight.0, b, conv.0, algorithm, workspace, room, zero, y.0, to,
            ),
            Algorithm::InputGrad(algorithm) => result::convolution_backward_data(
                handle, one, weight.0, b, y.0, a, conv.0, algorithm, workspace, room, zero, x.0, to,
            ),
            Algorithm::WeightGrad(algorithm) => result::convolution_backward_filter(
                handle, one, x.0, a, y.0, b, conv.0, algorithm, workspace, room, zero, weight.0, to,
            ),
        }
    }
}
