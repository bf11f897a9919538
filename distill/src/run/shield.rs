//! Watching never ends a run: an observer that panics is heard no more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::events::{Event, Observer};

/// Passes events on as long as their receiver bears them.
pub(super) struct Shield<'a> {
    observer: &'a mut dyn Observer,
    fell: bool,
}

impl<'a> Shield<'a> {
    pub(super) fn over(observer: &'a mut dyn Observer) -> Self {
        Self { observer, fell: false }
    }
}

impl Observer for Shield<'_> {
    fn event(&mut self, event: &Event) {
        if !self.fell {
            // An observer that fell is not called again, so nobody sees what it left half done.
            self.fell = catch_unwind(AssertUnwindSafe(|| self.observer.event(event))).is_err();
        }
    }
}
