//! SIGINT (Ctrl-C): ends the program at once with 130 and a word. Files are written under another name and then renamed, so
//! nothing is left half written.

/// From now on an interruption ends the program with [`Exit::Interrupted`](super::Exit) after `word` was said. A second one
/// does not wait for the word.
#[cfg(unix)]
pub fn watch(word: &'static str) {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::SIGINT;
    use signal_hook::{flag, iterator::Signals, low_level};

    use super::Exit;

    let code = i32::from(Exit::Interrupted.code());
    let before = Arc::new(AtomicBool::new(false));
    // In this order: the first interruption finds the flag down, and raises it. Where this fails, the signal ends the
    // program by itself, and a shell calls that 130, too.
    let _ = flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&before));
    let _ = flag::register(SIGINT, before);
    let Ok(mut signals) = Signals::new([SIGINT]) else { return };
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            super::complain(word);
            low_level::exit(code); // without destructors: other threads are at work
        }
    });
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub fn watch(_: &'static str) {}
