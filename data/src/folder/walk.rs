//! What lies in a folder of images: those that are read, what is left out and counted, and what is wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Finding;

/// File names of images that are read. The last five are names under which browsers and old programs save JPEGs.
const READ: [&str; 9] = ["png", "jpg", "jpeg", "webp", "jfif", "jpe", "jif", "jfi", "pjpeg"];
/// Images all the same, so leaving them out quietly would change the data.
const UNSUPPORTED: [&str; 11] = ["gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl", "ppm", "pgm"];
/// What network drives, archivers and file systems put beside files; names with a dot in front are left out too.
const OF_THE_SYSTEM: [&str; 5] = ["@eaDir", "__MACOSX", "lost+found", "Thumbs.db", "desktop.ini"];
/// Folders below a class folder; deeper ones are a mistake or a loop of links.
pub(super) const MAX_DEPTH: usize = 8;
/// Longest extension that is counted by itself.
const LONGEST_EXTENSION: usize = 8;

/// What lies in a data set's folders and was not taken for an image: how many of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LeftOut(BTreeMap<String, usize>);

impl LeftOut {
    /// How many files and folders in all.
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// `3 left out: 2 with a dot in front, 1 .txt`; nothing where nothing was left out.
    pub fn note(&self) -> Option<String> {
        let kinds: Vec<String> = self.0.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        (!kinds.is_empty()).then(|| format!("{} left out: {}", self.count(), kinds.join(", ")))
    }

    pub(super) fn add(&mut self, kind: &str) {
        *self.0.entry(kind.to_owned()).or_insert(0) += 1;
    }

    /// Adds what another folder left out.
    pub fn extend(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind.clone()).or_insert(0) += count;
        }
    }
}

/// Goes through folders and collects.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) images: Vec<PathBuf>,
    pub(super) left_out: LeftOut,
    pub(super) findings: Vec<(PathBuf, String)>,
    too_deep: bool,
}

impl Walk {
    /// Collects the images below `directory`, sorted folder by folder.
    pub(super) fn collect(&mut self, directory: &Path, depth: usize) {
        if self.too_deep {
            return; // a loop of links: going on would multiply it
        }
        if depth == 0 {
            self.too_deep = true;
            return self.find(directory, format!("more than {MAX_DEPTH} folders deep"));
        }
        let paths = match self.entries(directory) {
            Ok(paths) => paths,
            Err(error) => return self.find(directory, error.to_string()),
        };
        for path in paths {
            match std::fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => self.collect(&path, depth - 1),
                Ok(kind) => self.file(path, kind.is_file()),
                Err(error) => self.find(&path, error.to_string()),
            }
        }
    }

    fn file(&mut self, path: PathBuf, is_file: bool) {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let (read, unsupported) = (READ.contains(&extension.as_str()), UNSUPPORTED.contains(&extension.as_str()));
        match (is_file, read, unsupported) {
            (true, true, _) => self.images.push(path),
            (true, _, true) => self.find(&path, "PNG, JPEG and WebP are read".to_owned()),
            (true, ..) => match begins_like(&path) {
                Some(format) => self.find(&path, format!("begins like {format}, but is not named like an image")),
                None => self.left_out.add(&by_extension(&extension)),
            },
            (false, true, _) | (false, _, true) => self.find(&path, "neither a file nor a folder".to_owned()),
            (false, ..) => self.left_out.add("that are neither files nor folders"),
        }
    }

    pub(super) fn find(&mut self, path: &Path, problem: String) {
        self.findings.push((path.to_owned(), problem));
    }

    /// What lies in a directory, sorted; what the system put there is counted and left out.
    pub(super) fn entries(&mut self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            match of_the_system(&entry.file_name().to_string_lossy()) {
                Some(kind) => self.left_out.add(kind),
                None => paths.push(entry.path()),
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// The findings with their paths below `root`, as reports show them.
    pub(super) fn findings_below(&mut self, root: &Path) -> Vec<Finding> {
        let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let found = std::mem::take(&mut self.findings);
        found.into_iter().map(|(path, problem)| Finding { name: below(&path), problem }).collect()
    }
}

/// How a file or folder that no person put there is counted.
fn of_the_system(name: &str) -> Option<&'static str> {
    match OF_THE_SYSTEM.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Some(known),
        None => name.starts_with('.').then_some("with a dot in front"),
    }
}

fn by_extension(extension: &str) -> String {
    match extension.len() {
        0 => "without an extension".to_owned(),
        1..=LONGEST_EXTENSION => format!(".{extension}"),
        _ => "of other kinds".to_owned(),
    }
}

/// The image format that a file begins like.
fn begins_like(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(32).read_to_end(&mut head)).ok()?;
    let at = |from: usize, expected: &[u8]| head.get(from..).is_some_and(|rest| rest.starts_with(expected));
    let of_brand = |brands: &[&[u8]]| at(4, b"ftyp") && brands.iter().any(|brand| at(8, brand));
    // Two letters would take any text for a bitmap: the reserved bytes and the header's length decide.
    let bitmap = at(0, b"BM")
        && at(6, &[0; 4])
        && head.get(14).is_some_and(|size| [12, 40, 52, 56, 64, 108, 124].contains(size));
    let found = [
        (at(0, b"\x89PNG\r\n\x1a\n"), "a PNG"),
        (at(0, b"\xff\xd8\xff"), "a JPEG"),
        (at(0, b"RIFF") && at(8, b"WEBP"), "a WebP"),
        (at(0, b"GIF87a") || at(0, b"GIF89a"), "a GIF"),
        (bitmap, "a bitmap"),
        (at(0, b"II*\0") || at(0, b"MM\0*"), "a TIFF"),
        (of_brand(&[b"avif", b"avis"]), "an AVIF"),
        (of_brand(&[b"heic", b"heix", b"hevc", b"mif1", b"msf1"]), "a HEIC"),
        (at(4, b"JXL \r\n\x87\n") || at(4, b"jP  \r\n\x87\n"), "a JPEG XL or JPEG 2000"),
    ];
    found.into_iter().find_map(|(is, format)| is.then_some(format))
}
