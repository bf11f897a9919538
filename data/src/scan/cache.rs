//! What scans of files saw, kept between runs: one file a data set in the user's cache folder.
//!
//! An entry is found by what the system says of a file (path, size, times, inode), so that a changed file is another one. A
//! cache that is damaged, of another version or cannot be written is no cache; nothing depends on it but time.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attar_formats::{files, write};
use sha2::{Digest, Sha256};

use super::Seen;

/// How a file begins: what it is, its version, and that of the decoders, whose pixels are hashed.
const MAGIC: &[u8] = concat!("attar scan 1, attar ", env!("CARGO_PKG_VERSION"), ", pixels 1\n").as_bytes();
const KEY: usize = 16;
/// Key, day of the last use, height, width, channels, sha256.
const ENTRY: usize = KEY + 4 + 4 + 4 + 1 + 32;
/// Longest cache of a data set, in bytes: some eight million images.
const MOST_BYTES: u64 = 512 << 20;
/// All caches together; the oldest go first.
const MOST_IN_FOLDER: u64 = 2 << 30;
/// Entries that nobody asked for in so many days are dropped when a cache is written.
const DAYS_KEPT: u32 = 180;
/// A file that has changed so lately may change again within the same tick of the file system's clock.
const SETTLED: Duration = Duration::from_secs(2);

/// Where caches are: `$ATTAR_CACHE_DIR`, else `attar` in the user's cache folder. `None` where there is no such place.
pub fn cache_folder() -> Option<PathBuf> {
    let stated = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = || stated("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let home = || stated("HOME").map(|home| home.join(".cache"));
    stated("ATTAR_CACHE_DIR")
        .or_else(|| Some(of_user().or_else(home).or_else(|| stated("LOCALAPPDATA"))?.join("attar")))
}

/// The entries of one data set.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    /// Entries by key, as they were read: sorted, one after the other.
    known: Vec<u8>,
    today: u32,
    settled: Duration,
    /// What this scan used and made.
    used: Mutex<BTreeMap<[u8; KEY], Seen>>,
    /// How many of these were not known.
    made: std::sync::atomic::AtomicUsize,
}

impl Cache {
    /// The cache of the data set at `root`, in `folder`. What cannot be read is empty.
    pub fn open(folder: &Path, root: &Path) -> Self {
        let name: String =
            hash(absolute(root).as_os_str().as_encoded_bytes())[..12].iter().map(|b| format!("{b:02x}")).collect();
        let path = folder.join("scans").join(name);
        let known = files::read(&path, MOST_BYTES).ok().and_then(|bytes| entries(&bytes)).unwrap_or_default();
        let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| (time.as_secs() / 86_400) as u32);
        Self { path, known, today, settled: SETTLED, used: Mutex::default(), made: 0.into() }
    }

    /// As it is, but trusting files that have changed just now.
    #[cfg(test)]
    pub(super) fn trusting(mut self) -> Self {
        self.settled = Duration::ZERO;
        self
    }

    /// What was seen of `file` before, or what `look` sees now; and whether it was known.
    pub(super) fn seen(
        &self,
        file: &Path,
        look: impl FnOnce() -> Result<Seen, String>,
    ) -> Result<(Seen, bool), String> {
        let Some((key, settled)) = self.key(file) else { return look().map(|seen| (seen, false)) };
        if let Some(seen) = self.find(&key) {
            self.keep(key, seen);
            return Ok((seen, true));
        }
        let seen = look()?;
        // What changed while it was read, or just before, may be another file by now.
        if settled && self.key(file).is_some_and(|(now, _)| now == key) {
            self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.keep(key, seen);
        }
        Ok((seen, false))
    }

    fn keep(&self, key: [u8; KEY], seen: Seen) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key, seen);
    }

    /// The key of a file, and whether it has been left alone for long enough.
    fn key(&self, file: &Path) -> Option<([u8; KEY], bool)> {
        let metadata = std::fs::metadata(file).ok()?;
        let mut text = absolute(file).into_os_string().into_encoded_bytes();
        text.push(0);
        let mut latest = metadata.modified().ok()?;
        for number in numbers(&metadata, &mut latest) {
            text.extend(number.to_le_bytes());
        }
        let mut key = [0; KEY];
        key.copy_from_slice(&hash(&text)[..KEY]);
        let settled = SystemTime::now().duration_since(latest).is_ok_and(|age| age >= self.settled);
        Some((key, settled))
    }

    fn find(&self, key: &[u8; KEY]) -> Option<Seen> {
        let (entries, _) = self.known.as_chunks::<ENTRY>();
        let at = entries.binary_search_by(|entry| entry[..KEY].cmp(key)).ok()?;
        read(&entries[at])
    }

    /// Writes what was used and what others may still use, all or nothing. Where it cannot be written nothing is lost but time.
    pub(super) fn write(&self) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if self.made.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            return;
        }
        let mut entries: BTreeMap<[u8; KEY], Vec<u8>> = BTreeMap::new();
        let room = MOST_BYTES as usize / ENTRY - 1;
        for (key, seen) in used.iter().take(room) {
            entries.insert(*key, entry(key, self.today, seen));
        }
        for known in self.known.as_chunks::<ENTRY>().0 {
            let mut key = [0; KEY];
            key.copy_from_slice(&known[..KEY]);
            let fresh = day(known).is_some_and(|day| day.saturating_add(DAYS_KEPT) >= self.today);
            if fresh && entries.len() < room {
                entries.entry(key).or_insert_with(|| known.to_vec());
            }
        }
        let mut bytes = MAGIC.to_vec();
        entries.values().for_each(|entry| bytes.extend(entry));
        bytes.extend(hash(&bytes));
        let Some(folder) = self.path.parent() else { return };
        if std::fs::create_dir_all(folder).is_ok() {
            drop(write::atomically(&self.path, |file| file.write_all(&bytes)));
            make_room(folder, &self.path);
        }
    }
}

/// Removes the oldest caches beside `own` until all of them together are small enough.
fn make_room(folder: &Path, own: &Path) {
    let Ok(found) = std::fs::read_dir(folder) else { return };
    let mut caches: Vec<(SystemTime, u64, PathBuf)> = found
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    caches.sort();
    let mut total: u64 = caches.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in caches.iter().filter(|(_, _, path)| path != own) {
        if total > MOST_IN_FOLDER && std::fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
}

/// The entries of a cache file, if it is whole and of this version.
fn entries(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(32)?;
    let body = bytes.get(MAGIC.len()..end).filter(|body| body.len().is_multiple_of(ENTRY))?;
    (bytes.starts_with(MAGIC) && hash(&bytes[..end]) == bytes[end..]).then(|| body.to_vec())
}

fn entry(key: &[u8; KEY], today: u32, seen: &Seen) -> Vec<u8> {
    let numbers = [today, seen.height, seen.width].into_iter().flat_map(u32::to_le_bytes);
    key.iter().copied().chain(numbers).chain([seen.channels]).chain(seen.sha256).collect()
}

fn number(entry: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?))
}

fn day(entry: &[u8]) -> Option<u32> {
    number(entry, KEY)
}

fn read(entry: &[u8]) -> Option<Seen> {
    let (height, width) = (number(entry, KEY + 4)?, number(entry, KEY + 8)?);
    let channels = *entry.get(KEY + 12)?;
    let sha256 = entry.get(KEY + 13..ENTRY)?.try_into().ok()?;
    (height > 0 && width > 0 && matches!(channels, 1 | 3)).then_some(Seen { height, width, channels, sha256 })
}

/// What is told of a file, with the latest of its times.
#[cfg(unix)]
fn numbers(metadata: &Metadata, latest: &mut SystemTime) -> [u64; 7] {
    use std::os::unix::fs::MetadataExt;
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    let changed = u64::try_from(seconds).ok().map(|seconds| UNIX_EPOCH + Duration::new(seconds, nanoseconds as u32));
    *latest = changed.map_or(*latest, |changed| changed.max(*latest));
    let times = [metadata.mtime(), metadata.mtime_nsec(), seconds, nanoseconds].map(|time| time as u64);
    [metadata.len(), metadata.ino(), metadata.dev(), times[0], times[1], times[2], times[3]]
}

/// What is told of a file, with the latest of its times.
#[cfg(not(unix))]
fn numbers(metadata: &Metadata, latest: &mut SystemTime) -> [u64; 2] {
    [metadata.len(), latest.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)]
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
