//! Threads that wait for work by spinning a little before they sleep: a layer of a small network takes microseconds, and
//! waking a thread that sleeps takes three.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::vec::Vec;

use super::team::Team;

/// Rounds of waiting before a thread sleeps, some tens of microseconds.
const SPINS: usize = 1 << 14;

/// A piece of work, without the lifetime that [`Team::run`] guards.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to is `Sync`, and lives until all threads are done with it.
unsafe impl Send for Job {}

struct Shared {
    /// Counts pieces of work; a thread that sees it move takes the next.
    round: AtomicUsize,
    /// Threads that are still at the present piece.
    busy: AtomicUsize,
    end: AtomicBool,
    /// Whether a thread's piece has panicked.
    failed: AtomicBool,
    job: Mutex<Option<Job>>,
    sleepers: Condvar,
}

/// A team of threads of its own.
pub struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// One call at a time.
    calls: Mutex<()>,
}

impl core::fmt::Debug for Threads {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Threads({})", self.workers())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Threads {
    /// A team of `workers`, the caller included. Where the system gives fewer threads, it is smaller.
    pub fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            end: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            job: Mutex::new(None),
            sleepers: Condvar::new(),
        });
        let start = |worker: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(std::format!("attar-edge-{worker}"))
                .spawn(move || serve(&shared, worker))
                .ok()
        };
        let handles = (1..workers.max(1)).map_while(start).collect();
        Self { shared, handles, calls: Mutex::new(()) }
    }
}

fn serve(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.round.load(Ordering::Acquire) == seen {
            spins += 1;
            if spins < SPINS {
                core::hint::spin_loop();
                continue;
            }
            let mut job = lock(&shared.job);
            while shared.round.load(Ordering::Acquire) == seen {
                job = shared.sleepers.wait(job).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
        seen = seen.wrapping_add(1);
        if shared.end.load(Ordering::Acquire) {
            return;
        }
        let job = *lock(&shared.job); // a copy: the lock is not held while the work is done
        if let Some(job) = job {
            // SAFETY: `run` does not return, and so the work does not end, before `busy` is 0.
            let work = std::panic::AssertUnwindSafe(|| unsafe { (*job.0)(worker) });
            if std::panic::catch_unwind(work).is_err() {
                shared.failed.store(true, Ordering::Release);
            }
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

// SAFETY: each thread calls with its own number; `Rest` waits for all of them.
unsafe impl Team for Threads {
    fn workers(&self) -> usize {
        self.handles.len() + 1
    }

    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        let _one = lock(&self.calls);
        // SAFETY: the lifetime is taken off here and held below, where this thread waits for all others.
        let job = Job(unsafe {
            core::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(work)
        });
        self.shared.busy.store(self.handles.len(), Ordering::Release);
        {
            *lock(&self.shared.job) = Some(job);
            self.shared.round.fetch_add(1, Ordering::Release);
            self.shared.sleepers.notify_all();
        }
        let rest = Rest(&self.shared);
        work(0);
        drop(rest);
        if self.shared.failed.swap(false, Ordering::AcqRel) {
            std::panic::resume_unwind(std::boxed::Box::new("a thread of the team panicked"));
        }
    }
}

/// Waits for the other threads, also when the caller's own piece panics.
struct Rest<'s>(&'s Shared);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let mut spins = 0;
        while self.0.busy.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS { core::hint::spin_loop() } else { std::thread::yield_now() }
        }
        *lock(&self.0.job) = None;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        {
            let _job = lock(&self.shared.job);
            self.shared.round.fetch_add(1, Ordering::Release);
            self.shared.sleepers.notify_all();
        }
        self.handles.drain(..).for_each(|handle| drop(handle.join()));
    }
}
