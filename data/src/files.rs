//! The files of a data set, whether they lie in a directory or in a `.tar.gz`, with bounds on what is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use attar_formats::files;
use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// No file of the data sets known here comes near this; a larger one is a mistake or a decompression bomb.
const MAX_BYTES: u64 = 4 << 30;

/// Files by name.
pub(crate) enum Files {
    Directory(PathBuf),
    Archive { path: PathBuf, files: BTreeMap<String, Vec<u8>> },
}

impl Files {
    /// Opens a directory, the first of its subdirectories `inside` that is there (as the official archives unpack), or a
    /// `.tar.gz`, of which the files called `names` are kept, in whichever folder they are.
    pub(crate) fn open(root: &Path, inside: &[&str], names: &[&str]) -> Result<Self> {
        let metadata = std::fs::metadata(root).map_err(|error| Error::io(root, error))?;
        if metadata.is_dir() {
            let below = inside.iter().map(|name| root.join(name)).find(|below| below.is_dir());
            return Ok(Self::Directory(below.unwrap_or_else(|| root.to_owned())));
        }
        let name = root.to_string_lossy().to_lowercase();
        if !name.ends_with(".tar.gz") && !name.ends_with(".tgz") {
            return Err(Error::format(root, "neither a directory nor a .tar.gz archive"));
        }
        Self::unpack(root, names)
    }

    fn unpack(path: &Path, names: &[&str]) -> Result<Self> {
        let broken = |error: std::io::Error| Error::format(path, format!("broken archive: {error}"));
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
        let mut files = BTreeMap::new();
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = entry.path().map_err(broken)?.file_name().map(|name| name.to_string_lossy().into_owned());
            if let Some(name) = name.filter(|name| names.contains(&name.as_str())) {
                let bytes = read_bounded(entry).map_err(|error| Error::format(path, format!("{name}: {error}")))?;
                files.insert(name, bytes);
            }
        }
        // To the very end, so that gzip's checksum is compared too.
        std::io::copy(&mut archive.into_inner().take(MAX_BYTES), &mut std::io::sink()).map_err(broken)?;
        Ok(Self::Archive { path: path.to_owned(), files })
    }

    /// The content of the first of `names` that is there, with the path to name in messages.
    pub(crate) fn read(&self, names: &[&str]) -> Result<(PathBuf, Vec<u8>)> {
        let found = self.find(names)?;
        found.ok_or_else(|| {
            let list = names.join(" or ");
            Error::format(self.path(), format!("no file {list}"))
        })
    }

    /// The same, or `None` when none of them is there.
    pub(crate) fn find(&self, names: &[&str]) -> Result<Option<(PathBuf, Vec<u8>)>> {
        match self {
            Self::Archive { path, files } => {
                let found = names.iter().find_map(|&name| Some((path.join(name), files.get(name)?.clone())));
                Ok(found)
            }
            Self::Directory(directory) => {
                let Some(path) = names.iter().map(|name| directory.join(name)).find(|path| path.is_file()) else {
                    return Ok(None);
                };
                let bytes = files::read(&path, MAX_BYTES).map_err(|error| Error::io(&path, error))?;
                Ok(Some((path, bytes)))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive { path, .. } => path,
        }
    }
}

/// The lines of a list of names: without a byte order mark, and without blanks and carriage returns around them, which are no
/// part of a name whatever the line ends are; empty lines are none.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Undoes gzip if `bytes` start like it.
pub(crate) fn gunzip(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    read_bounded(MultiGzDecoder::new(bytes.as_slice()))
        .map_err(|error| Error::format(path, format!("broken or truncated gzip: {error}")))
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!("more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}
