//! Batches made on a thread of their own while the network works; the same batches in the same order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use attar_data::{Batch, Dataset, Pipeline, eval_batch, train_batch};
use attar_pixels::Preprocessing;
use rayon::ThreadPool;

use crate::error::{Error, Result};

/// Batches that wait at most; enough to hide a slow one, few enough for memory.
const WAITING: usize = 2;

/// How images become batches.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// Augmented, once a pipeline, each keyed by its seed and the epoch.
    Train { pipelines: Vec<(Pipeline, u64)>, epoch: u64 },
    /// As on the device.
    Eval(Preprocessing),
}

/// Batches under way.
#[derive(Debug)]
pub(crate) struct Prefetch {
    batches: Receiver<attar_data::Result<Vec<Batch>>>,
}

impl Prefetch {
    /// Starts making the batches whose images `indices` names. The pool must not be the one that the consumer runs in:
    /// a consumer that waits for a batch is a worker lost, and with one worker nobody would be left to make it.
    pub(crate) fn start(dataset: Arc<dyn Dataset>, indices: Vec<Vec<u32>>, how: How, pool: Arc<ThreadPool>) -> Self {
        let (sender, batches) = sync_channel(WAITING);
        std::thread::spawn(move || {
            for ids in indices {
                let batch = pool.install(|| match &how {
                    How::Train { pipelines, epoch } => pipelines
                        .iter()
                        .map(|(pipeline, seed)| train_batch(dataset.as_ref(), &ids, pipeline, *seed, *epoch))
                        .collect(),
                    How::Eval(preprocessing) => eval_batch(dataset.as_ref(), &ids, preprocessing).map(|one| vec![one]),
                });
                if sender.send(batch).is_err() {
                    break; // nobody is waiting any more: the run has stopped
                }
            }
        });
        Self { batches }
    }

    /// The next images, as each pipeline makes them; call it once for each batch that was asked for.
    pub(crate) fn next(&self) -> Result<Vec<Batch>> {
        match self.batches.recv() {
            Ok(batches) => Ok(batches?),
            Err(_) => Err(Error::Format {
                path: "data".into(),
                problem: "the thread that prepares batches has died; its message is above".to_owned(),
            }),
        }
    }
}

/// `ids` cut into batches of `size`, the last one smaller if need be.
pub(crate) fn batches(ids: &[u32], size: usize) -> Vec<Vec<u32>> {
    ids.chunks(size.max(1)).map(<[u32]>::to_vec).collect()
}
