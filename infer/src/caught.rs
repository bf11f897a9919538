//! Panics in other people's code, which become errors. Nothing is printed of one: who asked is told.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// Stands in the error that such a panic becomes.
pub(crate) const PANICKED: &str = "it panicked";

thread_local! {
    /// Whether a panic of this thread is on its way to being an error.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` comes to, or what it panicked with. What it worked on is dropped.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                before(panic);
            }
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(outer);
    done.map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn a_panic_is_what_it_says() {
        assert_eq!(caught(|| 3), Ok(3));
        assert_eq!(caught(|| -> u8 { panic!("of {}", "this") }), Err("of this".to_owned()));
        let nested = caught(|| caught(|| -> u8 { panic!("within") }));
        assert_eq!(nested, Ok(Err("within".to_owned())));
    }
}
