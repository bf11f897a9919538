//! Which of cuDNN's algorithms a convolution takes: measured on its own operands, the first time
//! its shape is met.
//!
//! A measurement differs from run to run, and algorithms differ in their last bits. So that a run
//! can be repeated bit for bit all the same, only deterministic algorithms are taken, and among
//! those within [`NEAR`] of the fastest the first in cuDNN's numbering; in this order of memory
//! there are one or two candidates, far apart.

use std::ffi::c_int;

use candle_core::cuda_backend::cudarc::cudnn::{result::CudnnError, sys};
use candle_core::cuda_backend::cudarc::driver::DriverError;
use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;

use super::descriptors::Descriptors;
use super::{Algorithm, Plan};
use crate::error::Result;
use crate::ops::cuda::conv::{Direction, Job, by_kernels};
use crate::ops::cuda::launch::{Stored, failed};
use crate::ops::cuda::memory::Buffer;

/// How much slower than the fastest still counts as equal.
const NEAR: f32 = 1.25;

/// Most bytes of workspace that an algorithm may ask for.
const ROOM: usize = 1 << 30;

/// Algorithms asked for; cuDNN has at most 8 of each direction, some with two kinds of arithmetic.
const MOST: usize = 16;

/// One algorithm as measured.
struct Candidate {
    algorithm: Algorithm,
    number: u32,
    time: f32,
    workspace: usize,
    math: sys::cudnnMathType_t,
    repeats: bool,
}

/// The plan for `job`, or `None` where our own kernel does it: cuDNN has no algorithm that gives
/// the same bits twice, or the groups have one channel each and ours is about as fast or faster.
/// Overwrites the job's result.
pub(super) fn plan(handle: sys::cudnnHandle_t, job: &Job<'_>, tf32: bool) -> Result<Option<Plan>> {
    let descriptors = Descriptors::new(job.shape, job.stored)?;
    // The default lets `f32` go through tensor cores in TF32, FMA does not.
    let exact = sys::cudnnMathType_t::CUDNN_FMA_MATH;
    let any = tf32 || job.stored == Stored::Bf16;
    descriptors.set_math(match job.stored {
        Stored::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        Stored::F32 if tf32 => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
        Stored::F32 => exact,
    })?;
    let free = job.gpu.stream.context().mem_get_info().map_or(ROOM, |(free, _)| free / 4);
    let room = ROOM.min(free);
    let workspace = Buffer::<u8>::new(job.gpu, room.max(1))?;
    let mut found = match measure(handle, &descriptors, job, workspace.address, room) {
        Ok(found) => found,
        Err(CudnnError(status)) if not_supported(status) => Vec::new(),
        Err(error) => return Err(failed("the search for a convolution's algorithm", error)),
    };
    found.retain(|one| one.repeats && one.workspace <= room && (any || one.math == exact));
    let fastest = found.iter().map(|one| one.time).fold(f32::INFINITY, f32::min);
    found.retain(|one| one.time <= NEAR * fastest);
    let Some(best) = found.into_iter().min_by_key(|one| one.number) else { return Ok(None) };
    if job.shape.in_channels == job.shape.groups && time_of_ours(job)? <= NEAR * best.time {
        return Ok(None);
    }
    descriptors.set_math(best.math)?;
    Ok(Some(Plan { descriptors, algorithm: best.algorithm, workspace: best.workspace }))
}

/// Milliseconds of our own kernel.
fn time_of_ours(job: &Job<'_>) -> Result<f32> {
    const RUNS: u8 = 3;
    by_kernels(job)?; // compiles
    let timed = |error: DriverError| failed("a measurement", error);
    let stream = &job.gpu.stream;
    let start = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(timed)?;
    for _ in 0..RUNS {
        by_kernels(job)?;
    }
    let end = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(timed)?;
    Ok(start.elapsed_ms(&end).map_err(timed)? / f32::from(RUNS))
}

fn not_supported(status: sys::cudnnStatus_t) -> bool {
    // cuDNN 9 has a thousand numbers for each kind of refusal; 3000 is "not supported".
    status as u32 / 1000 == 3
}

/// What cuDNN measures, fastest first. `workspace` points to `room` bytes.
fn measure(
    handle: sys::cudnnHandle_t,
    descriptors: &Descriptors,
    job: &Job<'_>,
    workspace: u64,
    room: usize,
) -> std::result::Result<Vec<Candidate>, CudnnError> {
    let Descriptors { x, y, weight, conv } = descriptors;
    let [a, b] = [job.image, job.theirs[0]].map(|operand| operand as *const std::ffi::c_void);
    let (to, space) = (job.theirs[1] as *mut std::ffi::c_void, workspace as *mut std::ffi::c_void);
    let mut count: c_int = 0;

    /// Calls one direction's search and reads its results.
    macro_rules! find {
        ($call:ident, $perf:ty, $kind:path, ($($argument:expr),*)) => {{
            // SAFETY: the structure is plain numbers, for which zero is a value of each enum in it.
            let mut found: [$perf; MOST] = unsafe { std::mem::zeroed() };
            // SAFETY: handle and descriptors are alive and describe the job's buffers; there is
            // room for as many results as are asked for, and `workspace` has `room` bytes.
            unsafe {
                sys::$call(handle, $($argument,)* MOST as c_int, &raw mut count, found.as_mut_ptr(), space, room)
                    .result()?;
            }
            let found = found.into_iter().take(usize::try_from(count).unwrap_or(0));
            let found = found.filter(|one| one.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS);
            found
                .map(|one| Candidate {
                    algorithm: $kind(one.algo),
                    number: one.algo as u32,
                    time: one.time,
                    workspace: one.memory,
                    math: one.mathType,
                    repeats: one.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                })
                .collect()
        }};
    }

    Ok(match job.direction {
        Direction::Forward => find!(
            cudnnFindConvolutionForwardAlgorithmEx,
            sys::cudnnConvolutionFwdAlgoPerf_t,
            Algorithm::Forward,
            (x.0, a, weight.0, b, conv.0, y.0, to)
        ),
        Direction::InputGrad => find!(
            cudnnFindConvolutionBackwardDataAlgorithmEx,
            sys::cudnnConvolutionBwdDataAlgoPerf_t,
            Algorithm::InputGrad,
            (weight.0, b, y.0, a, conv.0, x.0, to)
        ),
        Direction::WeightGrad => find!(
            cudnnFindConvolutionBackwardFilterAlgorithmEx,
            sys::cudnnConvolutionBwdFilterAlgoPerf_t,
            Algorithm::WeightGrad,
            (x.0, a, y.0, b, conv.0, weight.0, to)
        ),
    })
}
