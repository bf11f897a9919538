//! Opening a card so that training is quick on it: one stream for all threads, memory kept instead
//! of given back.

use candle_core::cuda_backend::cudarc::driver::{result, sys};
use candle_core::{Device, Result};

/// Opens the card with this number.
///
/// Candle's `Device::new_cuda` takes the per-thread stream, on which the work of two host threads
/// is not ordered, and makes two events for each allocation. Here everything runs on one stream, so
/// no events are needed; and freed memory stays in the pool, where by default it would go back to
/// the driver at each synchronisation.
pub(crate) fn open(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let Device::Cuda(card) = &device else { return Ok(device) };
    // SAFETY: all work of this process on this card goes to the one stream made above, which orders
    // every use, write and free of every allocation.
    unsafe { card.disable_event_tracking() };
    let stream = card.cuda_stream();
    let mut keep = u64::MAX;
    // SAFETY: the device is the one just opened, the pool belongs to it, and the attribute is an
    // unsigned 64-bit number that is read before the call returns.
    let kept = unsafe {
        result::device::get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast()).result()
        })
    };
    // A card without memory pools is slower, not wrong.
    let _ = kept;
    Ok(device)
}
