//! Where the time of a step goes: a stopwatch with one lap for each part.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use candle_core::Device;

use crate::error::Result;

/// The parts of a step, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The batch becomes a tensor on the device, and its views are made, attacks included.
    Data,
    /// Teachers answer.
    Teacher,
    /// Student, connectors and the values of the losses.
    Forward,
    /// Gradients of the losses, then of connectors and student.
    Backward,
    /// Gradient norm, clipping, optimiser, average, and counting what the student got right.
    Update,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Data, Self::Teacher, Self::Forward, Self::Backward, Self::Update];

    /// In lower case, e.g. `forward`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Teacher => "teacher",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Update => "update",
        }
    }
}

/// Time spent in each part of one step, or of many. There is no time between the parts: they add up to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split([Duration; Part::ALL.len()]);

impl Split {
    /// Time spent in `part`.
    pub fn of(&self, part: Part) -> Duration {
        self.0[part as usize]
    }

    /// Time spent in all parts.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }
}

impl AddAssign for Split {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, part)| *sum += part);
    }
}

/// Times the parts of a step.
#[derive(Debug)]
pub(in crate::run) struct Stopwatch {
    lap: Instant,
    split: Split,
    /// Waited for before every lap, for the time of work that a device does later.
    wait: Option<Device>,
}

impl Stopwatch {
    /// Reads the clock only. On a device that works asynchronously a lap is then the time to ask for the work.
    pub(in crate::run) fn new() -> Self {
        Self { lap: Instant::now(), split: Split::default(), wait: None }
    }

    /// Waits for the device before every lap: true parts of a whole that is a little slower.
    pub(in crate::run) fn waiting(device: &Device) -> Self {
        Self { wait: Some(device.clone()), ..Self::new() }
    }

    /// Begins a step.
    pub(in crate::run) fn start(&mut self) {
        self.split = Split::default();
        self.lap = Instant::now();
    }

    /// Ends `part`: everything since the last lap was its.
    pub(in crate::run) fn lap(&mut self, part: Part) -> Result<()> {
        if let Some(device) = &self.wait {
            device.synchronize()?;
        }
        let now = Instant::now();
        self.split.0[part as usize] += now - self.lap;
        self.lap = now;
        Ok(())
    }

    /// What the laps since [`Stopwatch::start`] took.
    pub(in crate::run) fn split(&self) -> Split {
        self.split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_add_up_to_the_time_between_start_and_the_last_one() {
        let mut watch = Stopwatch::waiting(&Device::Cpu);
        watch.start();
        let begun = watch.lap;
        for part in Part::ALL {
            std::thread::sleep(Duration::from_millis(1));
            watch.lap(part).unwrap();
            assert!(watch.split().of(part) >= Duration::from_millis(1), "{}", part.name());
        }
        assert_eq!(watch.split().total(), watch.lap - begun);
        watch.start();
        assert_eq!(watch.split(), Split::default());
    }

    #[test]
    fn steps_add_up() {
        let mut sum = Split([1, 2, 3, 4, 5].map(Duration::from_millis));
        sum += sum;
        assert_eq!(sum.of(Part::Update), Duration::from_millis(10));
        assert_eq!(sum.total(), Duration::from_millis(30));
    }
}
