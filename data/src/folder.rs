//! ImageFolder: `train/CLASS/*.png` and `val/CLASS/*.png` (or `test/`), decoded when asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_models::files;

use crate::dataset::{Dataset, Splits};
use crate::decode::decode_file;
use crate::error::{Error, Result};
use crate::image::Image;

const READ: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Images all the same, so leaving them out quietly would change the data.
const UNSUPPORTED: [&str; 11] = ["gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jp2", "jxl", "ppm", "pgm"];
/// Folders below a class folder; deeper ones are a mistake or a loop of links.
const MAX_DEPTH: usize = 8;

/// Opens both splits; `test` names the folder of the test split.
pub(crate) fn open(root: &Path, test: Option<&str>) -> Result<Splits> {
    if !std::fs::metadata(root).map_err(|error| Error::io(root, error))?.is_dir() {
        return Err(Error::format(root, "not a directory\n  hint: unpack the archive first"));
    }
    let train = split_directory(root, "train")?;
    let test = match test {
        Some(name) => split_directory(root, name)?,
        None => only_test_directory(root)?,
    };
    let classes = class_names(&train)?;
    if classes.is_empty() {
        return Err(Error::format(&train, "no class folders; expected train/CLASS/*.png, .jpg or .webp"));
    }
    let unknown = class_names(&test)?.into_iter().find(|name| !classes.contains(name));
    if let Some(name) = unknown {
        return Err(Error::format(&test.join(name), "a class that train does not have"));
    }
    let split = |directory: &Path| Folder::open(root, directory, &classes);
    Ok(Splits { train: Arc::new(split(&train)?), test: Arc::new(split(&test)?) })
}

fn split_directory(root: &Path, name: &str) -> Result<PathBuf> {
    let directory = root.join(name);
    if directory.is_dir() {
        return Ok(directory);
    }
    let found = entries(root)?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect::<Vec<_>>();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(Error::format(
        root,
        format!(
            "no folder {name}; found {found}\n  hint: an image folder is train/CLASS/... and val/CLASS/... or test/CLASS/..."
        ),
    ))
}

fn only_test_directory(root: &Path) -> Result<PathBuf> {
    match (root.join("test").is_dir(), root.join("val").is_dir()) {
        (true, true) => Err(Error::format(
            root,
            "both test and val are there\n  hint: say which one judges, `test = \"test\"` or `test = \"val\"`",
        )),
        (true, false) => Ok(root.join("test")),
        _ => split_directory(root, "val"),
    }
}

fn class_names(directory: &Path) -> Result<Vec<String>> {
    let name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_str().map(str::to_owned);
        name.ok_or_else(|| Error::format(path, "a class name that is not UTF-8"))
    };
    entries(directory)?.iter().filter(|path| path.is_dir()).map(name).collect()
}

/// What lies in a directory, sorted, without hidden files.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(directory, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// One split: paths, read when an image is asked for.
struct Folder {
    root: PathBuf,
    files: Vec<(PathBuf, u32)>,
    classes: Vec<String>,
}

impl Folder {
    fn open(root: &Path, directory: &Path, classes: &[String]) -> Result<Self> {
        let mut files = Vec::new();
        for (class, label) in classes.iter().zip(0..) {
            let below = directory.join(class);
            if below.is_dir() {
                let mut images = Vec::new();
                collect_images(&below, MAX_DEPTH, &mut images)?;
                files.extend(images.into_iter().map(|path| (path, label)));
            }
        }
        if files.is_empty() {
            return Err(Error::format(directory, "no PNG, JPEG or WebP files in its class folders"));
        }
        Ok(Self { root: root.to_owned(), files, classes: classes.to_vec() })
    }

    fn path(&self, index: usize) -> Result<&Path> {
        let found = self.files.get(index).map(|(path, _)| path.as_path());
        found.ok_or_else(|| Error::setting("index", format!("image {index} of a set of {} images", self.files.len())))
    }
}

fn collect_images(directory: &Path, depth: usize, images: &mut Vec<PathBuf>) -> Result<()> {
    if depth == 0 {
        return Err(Error::format(directory, format!("more than {MAX_DEPTH} folders deep")));
    }
    for path in entries(directory)? {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            collect_images(&path, depth - 1, images)?;
        } else if READ.contains(&extension.as_str()) {
            images.push(path);
        } else if UNSUPPORTED.contains(&extension.as_str()) {
            return Err(Error::format(&path, "PNG, JPEG and WebP are read\n  hint: convert the file, or move it away"));
        }
    }
    Ok(())
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.files.get(index).map_or(0, |(_, label)| *label)
    }

    fn image(&self, index: usize) -> Result<Image> {
        decode_file(self.path(index)?)
    }

    fn encoded(&self, index: usize) -> Result<Vec<u8>> {
        let path = self.path(index)?;
        files::read(path, files::MOST_IMAGE).map_err(|error| Error::io(path, error))
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The path below the root: reports are shown to others.
    fn name(&self, index: usize) -> String {
        let path = self.path(index).unwrap_or(Path::new("?"));
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn png(path: &Path, value: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, Image::new(2, 3, 1, vec![value; 6]).unwrap().to_png().unwrap()).unwrap();
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, value) in [
            ("train/dog/b.png", 1),
            ("train/dog/a.PNG", 2),
            ("train/cat/nested/z.png", 3),
            ("train/cat/y.png", 4),
            ("val/dog/c.png", 5),
        ] {
            png(&root.path().join(file), value);
        }
        std::fs::write(root.path().join("train/dog/notes.txt"), "x").unwrap();
        std::fs::write(root.path().join("train/dog/.DS_Store"), "x").unwrap();
        root
    }

    #[test]
    fn classes_and_files_are_sorted() {
        let root = tree();
        let splits = Source::ImageFolder { root: root.path().to_owned(), test: None }.open().unwrap();
        let train = &splits.train;
        assert_eq!(train.classes(), ["cat", "dog"]);
        let names: Vec<String> = (0..train.len()).map(|index| train.name(index)).collect();
        assert_eq!(names, ["train/cat/nested/z.png", "train/cat/y.png", "train/dog/a.PNG", "train/dog/b.png"]);
        assert_eq!(train.labels(), [0, 0, 1, 1]);
        assert_eq!(train.image(3).unwrap().pixels(), [1; 6]);
        assert_eq!(train.encoded(3).unwrap(), std::fs::read(root.path().join("train/dog/b.png")).unwrap());
        assert_eq!((splits.test.labels(), splits.test.classes()), (vec![1], train.classes()));
        assert!(train.image(4).is_err());
    }

    #[test]
    fn what_does_not_fit_is_a_readable_error() {
        let problem = |root: &Path, test: Option<&str>| open(root, test).unwrap_err().to_string();
        let root = tree();
        png(&root.path().join("val/bird/a.png"), 0);
        assert!(problem(root.path(), None).contains("bird: a class that train does not have"));
        let root = tree();
        png(&root.path().join("test/dog/a.png"), 0);
        assert!(problem(root.path(), None).contains("both test and val"));
        assert!(open(root.path(), Some("val")).is_ok());
        assert!(problem(root.path(), Some("valid")).contains("no folder valid; found test, train, val"));
        let root = tree();
        std::fs::write(root.path().join("train/cat/c.gif"), "GIF89a").unwrap();
        assert!(problem(root.path(), None).contains("c.gif: PNG, JPEG and WebP are read"));
        let root = tempfile::tempdir().unwrap();
        assert!(problem(root.path(), None).contains("no folder train; found nothing"));
        std::fs::create_dir_all(root.path().join("train/cat")).unwrap();
        std::fs::create_dir_all(root.path().join("val/cat")).unwrap();
        assert!(problem(root.path(), None).contains("no PNG, JPEG or WebP files"));
        assert!(problem(&root.path().join("x.tar.gz"), None).contains("x.tar.gz"));
    }

    #[test]
    fn a_corrupt_file_is_named() {
        let root = tree();
        std::fs::write(root.path().join("train/dog/b.png"), [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0]).unwrap();
        let splits = open(root.path(), None).unwrap();
        let error = splits.train.image(3).unwrap_err().to_string();
        assert!(error.contains("b.png: cannot decode"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_of_links_ends() {
        let root = tree();
        std::os::unix::fs::symlink(root.path().join("train/cat"), root.path().join("train/cat/again")).unwrap();
        let error = open(root.path(), None).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("folders deep"), "{error}");
    }
}
