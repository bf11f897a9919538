//! What time is: of the wall, or of the CPU that the calling thread had.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which time is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Of the wall.
    #[default]
    Wall,
    /// Of the CPU that the calling thread had; of engines with one thread.
    Cpu,
}

/// A clock that runs.
pub(super) struct Stopwatch {
    clock: Clock,
    start: Instant,
}

impl Stopwatch {
    /// # Errors
    /// [`Error::Setting`] where the system does not tell a thread's time.
    pub(super) fn new(clock: Clock) -> Result<Self> {
        let stopwatch = Self { clock, start: Instant::now() };
        stopwatch.now()?;
        Ok(stopwatch)
    }

    /// Milliseconds since some moment.
    pub(super) fn now(&self) -> Result<f64> {
        match self.clock {
            Clock::Wall => Ok(1000.0 * self.start.elapsed().as_secs_f64()),
            Clock::Cpu => thread_ms().ok_or_else(|| Error::Setting {
                setting: "cpu-time",
                problem: "this system does not say how long a thread ran; Linux, Android and macOS do".to_owned(),
            }),
        }
    }
}

/// Milliseconds that the calling thread had of a CPU. Not by `/proc/thread-self/schedstat`, which may go in ticks of the
/// scheduler, 4 ms: shorter turns came out as nothing.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
fn thread_ms() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(1000.0 * time.tv_sec as f64 + time.tv_nsec as f64 / 1e6)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn thread_ms() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick of the scheduler is 1 to 10 ms.
    #[test]
    #[cfg(target_os = "linux")]
    fn time_of_a_thread_is_finer_than_ticks_and_stands_still_while_it_sleeps() {
        let stopwatch = Stopwatch::new(Clock::Cpu).unwrap();
        let steps = (0..100).map(|_| {
            let began = stopwatch.now().unwrap();
            loop {
                let now = stopwatch.now().unwrap();
                if now > began {
                    break now - began;
                }
            }
        });
        let least = steps.fold(f64::INFINITY, f64::min);
        assert!(least < 0.1, "{least} ms");
        let began = stopwatch.now().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(stopwatch.now().unwrap() - began < 25.0);
    }
}
