//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use attar_distill::run::{Event, Observer, Row};
use attar_infer::cli::say;
use indicatif::{ProgressBar, ProgressStyle};

/// Draws a run's progress.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The steps of an epoch; hidden when stderr is not a terminal.
    bar: ProgressBar,
    epochs: usize,
    steps: u64,
    started: Instant,
}

impl Progress {
    /// For a run of so many epochs of so many steps.
    pub(crate) fn new(epochs: usize, steps_per_epoch: usize) -> Self {
        Self { bar: bar(0), epochs, steps: steps_per_epoch as u64, started: Instant::now() }
    }

    /// A line above the bar, or a plain line.
    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            say(line);
        } else {
            self.bar.println(line);
        }
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix:>15} {wide_bar} {pos}/{len} {msg} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Progress of a look at many images: a bar on a terminal, a line every few seconds elsewhere.
pub(crate) fn scanning() -> attar_distill::plan::Progress {
    let bar = bar(0);
    let said = Mutex::new(Instant::now());
    Box::new(move |what, done, of| {
        if !bar.is_hidden() {
            bar.set_prefix(what.to_owned());
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            if done == of {
                bar.finish_and_clear();
            }
            return;
        }
        let Ok(mut last) = said.lock() else { return };
        if last.elapsed() >= BETWEEN_LINES {
            *last = Instant::now();
            attar_infer::cli::say(format_args!("{what}: {done} of {of}"));
        }
    })
}

/// Time between two lines about one long piece of work.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

impl Observer for Progress {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Preparing { what } => self.say(what),
            Event::Started { name, epochs, steps_per_epoch, device, train, validation, test } => {
                self.say(&format!(
                    "{name}: {epochs} epochs of {steps_per_epoch} steps on {device}; {train} images to learn from, {validation} held out, {test} to test"
                ));
            }
            Event::Resumed { epochs_done, steps_done } => {
                self.say(&format!("going on after epoch {epochs_done}, step {steps_done}"));
            }
            Event::Extended { from, to, epochs_done, .. } => self.say(&format!(
                "extended from {from} to {to} epochs: the first {epochs_done} were trained under the schedule of {from}; from here on schedules are those of a run of {to} epochs"
            )),
            Event::TestImagesChanged { then, now } => self.say(&format!(
                "WARNING: the test images have changed since the run was started (fingerprint {} then, {} now); it is judged by those of now, and its receipt names both",
                &then[..then.len().min(12)],
                &now[..now.len().min(12)]
            )),
            Event::RolledBack { epoch, step, what, epochs_done, steps_done, rate } => self.say(&format!(
                "WARNING: diverged in epoch {epoch}, step {step} ({what}): going back to epoch {epochs_done}, step {steps_done}, and on at {rate} times the learning rate"
            )),
            Event::Teacher { name, check, .. } => {
                let Some(check) = check else {
                    return self.say(&format!("teacher {name}: not measured, its logits are of other classes"));
                };
                self.say(&format!("teacher {name}: {:.2} % on {}", check.top1(), check.images_in_words()));
                if let Some(warning) = &check.warning {
                    self.say(&format!("WARNING: {warning}"));
                }
            }
            Event::Step { epoch, step, loss, .. } => {
                self.bar.set_length(self.steps);
                self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
                self.bar.set_message(format!("loss {loss:.3}"));
                self.bar.set_position(*step as u64);
            }
            Event::Evaluated { split, done, of } => {
                self.bar.set_prefix((*split).to_owned());
                self.bar.set_length(*of as u64);
                self.bar.set_position(*done as u64);
            }
            Event::Epoch(row) => self.say(&epoch_line(row, self.epochs)),
            Event::StoppedEarly { epoch, best_epoch } => {
                self.say(&format!(
                    "stopped after epoch {epoch}: none since epoch {best_epoch} was better on validation"
                ));
            }
            Event::Finished { best_epoch, test_top1_last, test_top1_best } => {
                self.bar.finish_and_clear();
                let seconds = self.started.elapsed().as_secs_f64();
                self.say(&format!(
                    "done in {seconds:.0} s; test accuracy {test_top1_last:.2} % after the last epoch, {test_top1_best:.2} % at epoch {best_epoch} (best on validation)"
                ));
            }
            _ => {}
        }
    }
}

fn epoch_line(row: &Row, epochs: usize) -> String {
    let validation = row.val_top1.map(|v| format!(", validation {v:.2} %")).unwrap_or_default();
    format!(
        "epoch {}/{epochs}: loss {:.4}, train {:.2} %{validation}, learning rate {:.4}, {:.1} s",
        row.epoch, row.train_loss, row.train_top1, row.lr, row.seconds
    )
}
