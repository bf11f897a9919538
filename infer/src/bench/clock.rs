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
            Clock::Cpu => {
                let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
                let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
                let problem =
                    "this system does not say how long a thread ran (/proc/thread-self/schedstat); only Linux does";
                nanoseconds
                    .map(|ns| ns / 1e6)
                    .ok_or_else(|| Error::Setting { setting: "cpu-time", problem: problem.to_owned() })
            }
        }
    }
}
