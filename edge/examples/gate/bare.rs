//! What `gate` asks of a system, by the C library alone.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Arguments, Write};

#[link(name = "c")]
unsafe extern "C" {
    fn calloc(count: usize, bytes: usize) -> *mut c_void;
    fn open(path: *const c_char, how: c_int, ...) -> c_int;
    #[link_name = "read"]
    fn read_bytes(from: c_int, into: *mut c_void, most: usize) -> isize;
    fn write(to: c_int, bytes: *const c_void, count: usize) -> isize;
    fn abort() -> !;
    #[link_name = "__errno_location"]
    fn errno() -> *mut c_int;
    #[link_name = "strerror"]
    fn words(number: c_int) -> *const c_char;
}

/// `EINTR`: a call to be made once more.
const INTERRUPTED: c_int = 4;

/// `ENAMETOOLONG`.
const NAME_TOO_LONG: c_int = 36;

/// Longest name of a file, with its zero.
const MOST_NAME: usize = 4096;

/// What the system says.
pub(crate) struct Problem(c_int);

impl Problem {
    fn last() -> Self {
        // SAFETY: it is this thread's own number.
        Self(unsafe { *errno() })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: it gives a text that stays until the next call, and there is one thread.
        let words = unsafe { CStr::from_ptr(words(self.0)) };
        f.write_str(words.to_str().unwrap_or("unknown"))
    }
}

/// Memory, of zeros, for the rest of the program.
pub(crate) fn memory(bytes: usize) -> Option<&'static mut [u8]> {
    // SAFETY: what it gives has this many bytes, of zeros, and is nobody else's.
    unsafe {
        let first = calloc(bytes.max(1), 1).cast::<u8>();
        (!first.is_null()).then(|| core::slice::from_raw_parts_mut(first, bytes))
    }
}

/// Fills `into` from an open file and says how many bytes there were.
fn fill(source: c_int, into: &mut [u8]) -> Result<usize, Problem> {
    let mut filled = 0;
    while filled < into.len() {
        let rest = &mut into[filled..];
        // SAFETY: the slice has room for so many.
        match unsafe { read_bytes(source, rest.as_mut_ptr().cast(), rest.len()) } {
            0 => break,
            more if more > 0 => filled += more as usize,
            _ => match Problem::last() {
                Problem(INTERRUPTED) => {}
                problem => return Err(problem),
            },
        }
    }
    Ok(filled)
}

/// The same from the file of this name, or from standard input.
pub(crate) fn read(file: Option<&str>, into: &mut [u8]) -> Result<usize, Problem> {
    let Some(file) = file else { return fill(0, into) };
    let mut name = [0u8; MOST_NAME];
    let room = name.get_mut(..file.len()).filter(|room| room.len() < MOST_NAME).ok_or(Problem(NAME_TOO_LONG))?;
    room.copy_from_slice(file.as_bytes());
    // SAFETY: the name ends in a zero; 0 opens it for reading.
    match unsafe { open(name.as_ptr().cast(), 0) } {
        source if source >= 0 => fill(source, into),
        _ => Err(Problem::last()),
    }
}

/// An open file that text is written to, and what became of it.
struct Text {
    to: c_int,
    problem: Option<Problem>,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // SAFETY: the slice has so many bytes.
            match unsafe { write(self.to, rest.as_ptr().cast(), rest.len()) } {
                written if written >= 0 => rest = rest.get(written as usize..).unwrap_or_default(),
                _ => match Problem::last() {
                    Problem(INTERRUPTED) => {}
                    problem => {
                        self.problem = Some(problem);
                        return Err(fmt::Error);
                    }
                },
            }
        }
        Ok(())
    }
}

fn tell(to: c_int, text: Arguments<'_>) -> Result<(), Problem> {
    let mut out = Text { to, problem: None };
    let _ = out.write_fmt(text);
    out.problem.map_or(Ok(()), Err)
}

pub(crate) fn print(text: Arguments<'_>) -> Result<(), Problem> {
    tell(1, text)
}

pub(crate) fn complain(text: Arguments<'_>) -> Result<(), Problem> {
    tell(2, text)
}

/// Where the C library begins.
///
/// # Safety
/// `arguments` are `count` texts that end in a zero, the program's name first.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let mut texts = ["", ""];
    let given = (count.max(1) - 1) as usize;
    for (at, text) in texts.iter_mut().enumerate().take(given) {
        // SAFETY: there are `count` of them, for the whole of the program.
        let bytes = unsafe { CStr::from_ptr(*arguments.add(at + 1)) };
        *text = bytes.to_str().unwrap_or("a name that is no UTF-8");
    }
    crate::run(&texts[..given.min(2)]).into()
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it asks for nothing.
    unsafe { abort() }
}
