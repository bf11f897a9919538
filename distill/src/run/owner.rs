//! The owner of a directory: a lock of the operating system on a file in it, which ends with the process however that ends.
//!
//! The file says who holds it. A lock of which nobody is left is no lock: there is nothing to clean up after a crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::files::io;

/// The file that is locked.
pub(crate) use attar_formats::run::file::LOCK;

/// Tries before a lock counts as held: who only looks whether it is (see [`is_held`]) holds it for a moment.
const TRIES: usize = 5;

/// Holds a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Owner {
    file: File,
    /// Why nobody is kept out, where the file system has no locks.
    pub(crate) note: Option<String>,
}

impl Owner {
    /// Takes the directory.
    ///
    /// # Errors
    /// Another process holds it: which one, on which host.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK);
        let mut file = open(&path).map_err(|source| io(&path, source))?;
        let mut note = None;
        for left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if left == 0 => return Err(held(directory, &mut file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::Error(source)) if source.kind() == std::io::ErrorKind::Unsupported => {
                    note = Some(format!(
                        "{}: this file system has no locks; see to it yourself that no second process works on this run",
                        directory.display()
                    ));
                    break;
                }
                Err(TryLockError::Error(source)) => return Err(io(&path, source)),
            }
        }
        let mut say = || -> std::io::Result<()> {
            file.set_len(0)?;
            writeln!(file, "process {} on {}", std::process::id(), host())
        };
        say().map_err(|source| io(&path, source))?;
        Ok(Self { file, note })
    }
}

impl Drop for Owner {
    /// An empty file belongs to nobody. It stays: were it removed, two processes could hold two files of the same name.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Whether a living process holds the directory.
pub(crate) fn is_held(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Opened for appending, so that a file which is emptied begins anew.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).open(path)
}

fn held(directory: &Path, file: &mut File) -> Error {
    let mut who = String::new();
    let _ = file.take(200).read_to_string(&mut who);
    // Where locks keep readers out, too, the file cannot say.
    let who = if who.trim().is_empty() { "another process" } else { who.trim() };
    let problem = format!("is in use by {who}\n  hint: wait until that has ended, or choose another name with --out");
    Error::Format { path: directory.to_owned(), problem }
}

/// The name of this machine, as well as it can be known without asking the network.
fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let named = kernel.ok().or_else(|| ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok()));
    named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or("this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_held(folder.path()));
        let owner = Owner::take(folder.path()).unwrap();
        assert!(is_held(folder.path()));
        let message = Owner::take(folder.path()).unwrap_err().to_string();
        let who = format!("process {} on {}", std::process::id(), host());
        assert!(message.contains(&who) && message.contains("hint"), "{message}");
        drop(owner);
        assert!(!is_held(folder.path()));
        // What a killed process leaves is text without a lock.
        std::fs::write(folder.path().join(LOCK), "process 1 on nowhere\n").unwrap();
        let owner = Owner::take(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(LOCK)).unwrap(), who + "\n");
        drop(owner);
        assert_eq!(std::fs::read(folder.path().join(LOCK)).unwrap(), b"");
    }
}
