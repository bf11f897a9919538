//! IDX, the format of MNIST and Fashion-MNIST: a magic number, big-endian sizes, then bytes.

use std::path::Path;

use crate::dataset::{Dataset, InMemory, Splits};
use crate::error::{Error, Result};
use crate::files::{Files, gunzip};

/// Fashion-MNIST's class names, in the order of its labels.
pub(crate) const FASHION_MNIST_CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Opens the four files below `root`.
pub(crate) fn open(root: &Path, classes: Option<&[String]>) -> Result<Splits> {
    let (files, classes) = files(root, classes)?;
    let train = split(&files, "train", classes.as_deref(), "train")?;
    let test = split(&files, "t10k", Some(train.classes()), "test")?;
    Ok(Splits::new(train, test))
}

/// Opens the two files of the images to learn from, or of those to judge by.
pub(crate) fn open_split(root: &Path, classes: Option<&[String]>, learned: bool) -> Result<InMemory> {
    let (files, classes) = files(root, classes)?;
    let (prefix, name) = if learned { ("train", "train") } else { ("t10k", "test") };
    split(&files, prefix, classes.as_deref(), name)
}

/// Whether the data names its classes itself.
pub(crate) fn names_classes(root: &Path) -> Result<bool> {
    Ok(files(root, None)?.1.is_some())
}

fn files(root: &Path, classes: Option<&[String]>) -> Result<(Files, Option<Vec<String>>)> {
    let names: Vec<String> = ["train-images.idx3", "train-labels.idx1", "t10k-images.idx3", "t10k-labels.idx1"]
        .iter()
        .flat_map(|stem| spellings(stem))
        .chain(["labels.txt".to_owned()])
        .collect();
    let files = Files::open(root, &[], &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let classes = match classes {
        Some(classes) => Some(classes.to_vec()),
        None => named_classes(&files)?,
    };
    Ok((files, classes))
}

/// A file's usual names: with a dash or a dot before `idx`, plain or compressed.
fn spellings(stem: &str) -> [String; 4] {
    let dashed = stem.replace('.', "-");
    [format!("{dashed}-ubyte"), format!("{dashed}-ubyte.gz"), format!("{stem}-ubyte"), format!("{stem}-ubyte.gz")]
}

/// The names in `labels.txt`, one a line, if it is there.
fn named_classes(files: &Files) -> Result<Option<Vec<String>>> {
    let Some((path, text)) = files.find(&["labels.txt"])? else { return Ok(None) };
    let text = String::from_utf8(text).map_err(|_| Error::format(&path, "not UTF-8 text"))?;
    Ok(Some(crate::files::lines(&text)))
}

fn split(files: &Files, prefix: &str, classes: Option<&[String]>, name: &str) -> Result<InMemory> {
    let read = |stem: String| -> Result<_> {
        let names = spellings(&stem);
        let (path, bytes) = files.read(&names.each_ref().map(String::as_str))?;
        let bytes = gunzip(&path, bytes)?;
        Ok((path, bytes))
    };
    let (images_path, images) = read(format!("{prefix}-images.idx3"))?;
    let (labels_path, labels) = read(format!("{prefix}-labels.idx1"))?;
    let ([count, height, width], pixels) = parse::<3>(&images_path, images)?;
    let ([label_count], labels) = parse::<1>(&labels_path, labels)?;
    if label_count != count {
        return Err(Error::format(
            &labels_path,
            format!("{label_count} labels for the {count} images of {}", images_path.display()),
        ));
    }
    if height == 0 || width == 0 {
        return Err(Error::format(&images_path, format!("images of {height}x{width} pixels")));
    }
    let classes = classes.map(<[String]>::to_vec).unwrap_or_else(|| {
        let most = labels.iter().max().map_or(0, |&label| usize::from(label));
        (0..=most.max(9)).map(|class| class.to_string()).collect()
    });
    if let Some(at) = labels.iter().position(|&label| usize::from(label) >= classes.len()) {
        let (label, offset, known) = (labels[at], at + 8, classes.len());
        return Err(Error::format(
            &labels_path,
            format!(
                "label {label} of image {at} (byte {offset}), but there are {known} classes\n  hint: name all classes in the recipe's `classes` or in labels.txt"
            ),
        ));
    }
    let labels = labels.into_iter().map(u32::from).collect();
    InMemory::new([height, width], 1, pixels, labels, classes, name)
}

/// Sizes and content of an IDX file of unsigned bytes with `D` dimensions.
fn parse<const D: usize>(path: &Path, mut bytes: Vec<u8>) -> Result<([u32; D], Vec<u8>)> {
    let header = 4 + 4 * D;
    if bytes.len() < header {
        let got = bytes.len();
        return Err(Error::format(path, format!("truncated: {got} bytes, an IDX header has {header}")));
    }
    if bytes[..4] != [0, 0, 8, D as u8] {
        let magic = &bytes[..4];
        return Err(Error::format(
            path,
            format!(
                "not IDX: starts with {magic:02x?}, expected [00, 00, 08, {D:02x}] (unsigned bytes, {D} dimensions)"
            ),
        ));
    }
    let mut sizes = [0; D];
    for (size, raw) in sizes.iter_mut().zip(bytes[4..header].chunks_exact(4)) {
        *size = u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]);
    }
    let expected = sizes.iter().fold(1_u128, |product, &size| product * u128::from(size));
    let got = bytes.len() - header;
    if expected != got as u128 {
        return Err(Error::format(
            path,
            format!("{got} bytes after the header, but its sizes {sizes:?} ask for {expected}: truncated or garbage"),
        ));
    }
    bytes.drain(..header);
    Ok((sizes, bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(content);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn write(root: &Path) {
        let images: Vec<u8> = (0..3 * 2 * 4).collect();
        std::fs::write(root.join("train-images-idx3-ubyte"), idx(&[3, 2, 4], &images)).unwrap();
        std::fs::write(root.join("train-labels-idx1-ubyte.gz"), gzip(&idx(&[3], &[2, 0, 9]))).unwrap();
        std::fs::write(root.join("t10k-images.idx3-ubyte.gz"), gzip(&idx(&[1, 2, 4], &images[..8]))).unwrap();
        std::fs::write(root.join("t10k-labels-idx1-ubyte"), idx(&[1], &[1])).unwrap();
    }

    #[test]
    fn reads_plain_and_compressed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path());
        let splits = open(root.path(), None).unwrap();
        assert_eq!(splits.train.labels(), [2, 0, 9]);
        let image = splits.train.image(1).unwrap();
        assert_eq!((image.width(), image.height(), image.channels()), (4, 2, 1));
        assert_eq!(image.pixels(), (8..16).collect::<Vec<u8>>());
        assert_eq!(splits.test.name(0), "test[0]");
        assert_eq!(splits.test.classes()[9], "9");
        let encoded = splits.train.encoded(1).unwrap();
        assert_eq!(attar_pixels::decode(&encoded, Path::new("png")).unwrap(), image);
        assert!(splits.train.image(3).unwrap_err().to_string().contains("train[3]"));
    }

    #[test]
    fn class_names_are_given_or_found_and_never_guessed() {
        let root = tempfile::tempdir().unwrap();
        let fashion = root.path().join("fashion-mnist");
        std::fs::create_dir(&fashion).unwrap();
        write(&fashion);
        assert_eq!(open(&fashion, None).unwrap().test.classes()[9], "9", "the name of a folder says nothing");
        let given = FASHION_MNIST_CLASSES.map(str::to_owned);
        assert_eq!(open(&fashion, Some(&given)).unwrap().test.classes()[9], "Ankle boot");
        std::fs::write(fashion.join("labels.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
        assert_eq!(open(&fashion, None).unwrap().test.classes()[9], "j");
        assert_eq!(open(&fashion, Some(&given)).unwrap().train.classes()[9], "Ankle boot");
        let error = open(&fashion, Some(&["one".to_owned(), "two".to_owned(), "three".to_owned()])).unwrap_err();
        assert!(error.to_string().contains("label 9 of image 2 (byte 10), but there are 3 classes"), "{error}");
    }

    #[test]
    fn every_truncation_is_a_readable_error() {
        for file in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "t10k-images.idx3-ubyte.gz"] {
            let root = tempfile::tempdir().unwrap();
            write(root.path());
            let path = root.path().join(file);
            let whole = std::fs::read(&path).unwrap();
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let error = open(root.path(), None).unwrap_err().to_string();
                assert!(error.contains(file), "{error}");
            }
        }
    }

    #[test]
    fn garbage_and_mismatches_are_readable_errors() {
        let cases: [(&str, Vec<u8>, &str); 5] = [
            ("train-images-idx3-ubyte", b"<html>not found</html>".to_vec(), "not IDX: starts with"),
            ("train-images-idx3-ubyte", idx(&[u32::MAX, u32::MAX, u32::MAX], &[1]), "ask for"),
            ("train-images-idx3-ubyte", idx(&[3, 0, 4], &[]), "0x4 pixels"),
            ("t10k-labels-idx1-ubyte", idx(&[2], &[1, 1]), "2 labels for the 1 images"),
            ("t10k-labels-idx1-ubyte", idx(&[1], &[10]), "label 10 of image 0 (byte 8)"),
        ];
        for (file, bytes, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            write(root.path());
            std::fs::write(root.path().join(file), bytes).unwrap();
            let error = open(root.path(), None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_missing_file_names_what_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let error = open(root.path(), None).unwrap_err().to_string();
        assert!(error.contains("no file train-images-idx3-ubyte or train-images-idx3-ubyte.gz"), "{error}");
        let error = open(&root.path().join("nowhere"), None).unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }
}
