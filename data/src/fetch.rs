//! Well-known data sets: where their official files are, what their published checksums are, and how a file at hand becomes
//! an installed data set. Downloading itself is the front door's business; this room never opens a connection.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::error::{Error, Result};
use crate::idx::FASHION_MNIST_CLASSES;
use crate::source::Source;

/// A data set with official files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// MNIST, 28x28 grey digits.
    Mnist,
    /// Fashion-MNIST, 28x28 grey clothes (MIT).
    FashionMnist,
    /// CIFAR-10, binary version.
    Cifar10,
    /// CIFAR-100, binary version.
    Cifar100,
}

/// One official file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Name under which it is installed.
    pub name: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// Its length in bytes, for a progress bar.
    pub bytes: u64,
    /// Its published MD5, in hexadecimal. It guards against damage, not against malice.
    pub md5: &'static str,
}

impl Known {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Cifar100];

    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// The data set of this name.
    ///
    /// # Errors
    /// When there is none; the error lists all names.
    pub fn named(name: &str) -> Result<Self> {
        let unknown = || attar_models::Error::unknown("data set", name, &Self::ALL.map(Self::name));
        Ok(Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(unknown)?)
    }

    /// The source to write into a recipe once the files lie in `root`.
    pub fn source(self, root: &Path) -> Source {
        let classes = || Some(FASHION_MNIST_CLASSES.map(str::to_owned).to_vec());
        let archive = || root.join(self.files()[0].name);
        match self {
            Self::Mnist => Source::Idx { root: root.to_owned(), classes: None },
            Self::FashionMnist => Source::Idx { root: root.to_owned(), classes: classes() },
            Self::Cifar10 => Source::Cifar10 { root: archive() },
            Self::Cifar100 => Source::Cifar100 { root: archive() },
        }
    }

    /// Its official files, with their published checksums.
    pub fn files(self) -> &'static [RemoteFile] {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR10,
            Self::Cifar100 => &CIFAR100,
        }
    }
}

macro_rules! files {
    ($base:literal, $(($name:literal, $bytes:literal, $md5:literal)),+ $(,)?) => {
        [$(RemoteFile { name: $name, url: concat!($base, $name), bytes: $bytes, md5: $md5 }),+]
    };
}

/// The authors' own page no longer serves the files; this is the copy that PyTorch keeps, with the same checksums.
const MNIST: [RemoteFile; 4] = files!(
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    ("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    ("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    ("t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
);

const FASHION_MNIST: [RemoteFile; 4] = files!(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
    ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
);

const CIFAR10: [RemoteFile; 1] = files!(
    "https://www.cs.toronto.edu/~kriz/",
    ("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
);

const CIFAR100: [RemoteFile; 1] = files!(
    "https://www.cs.toronto.edu/~kriz/",
    ("cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8"),
);

/// Verifies `from` against the published checksums and copies it into the directory `into`, which is made if need be.
/// `from` is one official file under any name, or a directory with all of them under their own names. Nothing is installed
/// unless everything fits; files are renamed into place when they are complete. Returns what was installed.
///
/// # Errors
/// When a file is missing or is not the official one, or cannot be copied.
pub fn install(known: Known, from: &Path, into: &Path) -> Result<Vec<PathBuf>> {
    install_files(known.name(), known.files(), from, into)
}

fn install_files(set: &str, files: &[RemoteFile], from: &Path, into: &Path) -> Result<Vec<PathBuf>> {
    let sources = if from.is_dir() {
        files
            .iter()
            .map(|file| Ok((from.join(file.name), file, md5_of(&from.join(file.name))?)))
            .collect::<Result<Vec<_>>>()?
    } else {
        let md5 = md5_of(from)?;
        let Some(file) = files.iter().find(|file| file.md5 == md5).or(files.first().filter(|_| files.len() == 1))
        else {
            let known: Vec<_> = files.iter().map(|file| format!("{} {}", file.md5, file.name)).collect();
            let problem = format!("MD5 {md5} is none of {set}'s\n  expected: {}", known.join("\n            "));
            return Err(Error::format(from, problem));
        };
        vec![(from.to_owned(), file, md5)]
    };
    for (path, file, md5) in &sources {
        if file.md5 != md5 {
            let (name, expected) = (file.name, file.md5);
            return Err(Error::format(
                path,
                format!("MD5 {md5}, but {set}'s {name} has {expected}: a damaged, incomplete or different file"),
            ));
        }
    }
    std::fs::create_dir_all(into).map_err(|error| Error::io(into, error))?;
    sources.iter().map(|(path, file, _)| copy(path, into, file)).collect()
}

/// Copies the file, all or nothing: it may have changed since it was checked.
fn copy(from: &Path, into: &Path, file: &RemoteFile) -> Result<PathBuf> {
    let mut source = File::open(from).map_err(|error| Error::io(from, error))?;
    let target = into.join(file.name);
    attar_formats::write::atomically(&target, |target| {
        if copy_with_md5(&mut source, target)? == file.md5 {
            return Ok(());
        }
        Err(std::io::Error::other(format!("{} changed while it was copied", from.display())))
    })?;
    Ok(target)
}

fn md5_of(path: &Path) -> Result<String> {
    let sum = File::open(path).and_then(|mut file| copy_with_md5(&mut file, &mut std::io::sink()));
    sum.map_err(|error| Error::io(path, error))
}

/// Copies to the end and returns the MD5 of what was copied, in hexadecimal.
fn copy_with_md5(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<String> {
    let mut hash = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MD5 of `hello` and of `world`.
    const FILES: [RemoteFile; 2] = [
        RemoteFile { name: "a.gz", url: "u", bytes: 5, md5: "5d41402abc4b2a76b9719d911017c592" },
        RemoteFile { name: "b.gz", url: "u", bytes: 5, md5: "7d793037a0760186574b0282f2f435e7" },
    ];

    #[test]
    fn the_table_is_well_formed() {
        for known in Known::ALL {
            assert_eq!(Known::named(known.name()).unwrap(), known);
            for file in known.files() {
                assert!(file.url.ends_with(file.name) && file.url.starts_with("http"));
                assert!(file.md5.len() == 32 && file.md5.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
            let source = known.source(Path::new("data"));
            assert!(source.root().starts_with("data"));
            // The digits are their own names; the others' are in the files or stated here.
            let stated = matches!(&source, Source::Idx { classes: Some(names), .. } if names[9] == "Ankle boot");
            assert_eq!(stated, known == Known::FashionMnist);
        }
        let error = Known::named("cifar-10").unwrap_err().to_string();
        assert!(error.contains("cifar10") && error.contains("fashion-mnist"), "{error}");
    }

    #[test]
    fn installs_a_directory_or_a_renamed_file() {
        let root = tempfile::tempdir().unwrap();
        let (from, into) = (root.path().join("from"), root.path().join("deep/into"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("a.gz"), "hello").unwrap();
        std::fs::write(from.join("b.gz"), "world").unwrap();
        let installed = install_files("set", &FILES, &from, &into).unwrap();
        assert_eq!(installed, [into.join("a.gz"), into.join("b.gz")]);
        assert_eq!(std::fs::read(&installed[1]).unwrap(), b"world");

        let (renamed, alone) = (root.path().join("download(1).bin"), root.path().join("alone"));
        std::fs::write(&renamed, "world").unwrap();
        assert_eq!(install_files("set", &FILES, &renamed, &alone).unwrap(), [alone.join("b.gz")]);
    }

    #[test]
    fn what_does_not_fit_installs_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (from, into) = (root.path().join("from"), root.path().join("into"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("a.gz"), "hello").unwrap();
        let problem = |files: &[RemoteFile], from: &Path| {
            let error = install_files("set", files, from, &into).unwrap_err().to_string();
            assert!(!into.exists());
            error
        };
        assert!(problem(&FILES, &from).contains("b.gz"));
        std::fs::write(from.join("b.gz"), "worl").unwrap();
        let error = problem(&FILES, &from);
        assert!(error.contains("b.gz: MD5") && error.contains("7d793037a0760186574b0282f2f435e7"), "{error}");
        assert!(problem(&FILES, &from.join("b.gz")).contains("is none of set's"));
        assert!(problem(&FILES[..1], &from.join("b.gz")).contains("a damaged, incomplete or different file"));
        assert!(problem(&FILES, &root.path().join("nowhere")).contains("nowhere"));
    }
}
