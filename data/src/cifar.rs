//! CIFAR-10 and CIFAR-100: the binary version, records of one or two label bytes and 3 x 32 x 32 pixel bytes, and the version
//! for Python, pickled dictionaries of the same bytes.

use std::path::Path;

use attar_formats::read;

use crate::dataset::{InMemory, Splits};
use crate::error::{Error, Result};
use crate::files::{Files, lines};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// What tells the two sets apart.
struct Layout {
    name: &'static str,
    /// The folders in the official archives.
    inside: &'static [&'static str],
    binary: Names,
    python: Names,
    classes: usize,
    /// Label bytes before the pixels; the last one is the class (CIFAR-100 has the coarse class before the fine one).
    label_bytes: usize,
    /// Keys of the version for Python: the labels, and in the file of names the names.
    keys: [&'static str; 2],
}

/// The files of a version.
struct Names {
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The file of class names.
    classes: &'static str,
}

impl Names {
    fn all(&self) -> Vec<&'static str> {
        [self.train, self.test, &[self.classes]].concat()
    }
}

const CIFAR10: Layout = Layout {
    name: "CIFAR-10",
    inside: &["cifar-10-batches-bin", "cifar-10-batches-py"],
    binary: Names {
        train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        test: &["test_batch.bin"],
        classes: "batches.meta.txt",
    },
    python: Names {
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: &["test_batch"],
        classes: "batches.meta",
    },
    classes: 10,
    label_bytes: 1,
    keys: ["labels", "label_names"],
};

const CIFAR100: Layout = Layout {
    name: "CIFAR-100",
    inside: &["cifar-100-binary", "cifar-100-python"],
    binary: Names { train: &["train.bin"], test: &["test.bin"], classes: "fine_label_names.txt" },
    python: Names { train: &["train"], test: &["test"], classes: "meta" },
    classes: 100,
    label_bytes: 2,
    keys: ["fine_labels", "fine_label_names"],
};

/// CIFAR-10 from the unpacked directory or the official `.tar.gz`.
pub(crate) fn open_10(root: &Path) -> Result<Splits> {
    open(root, &CIFAR10)
}

/// CIFAR-100 with its fine labels, from the unpacked directory or the official `.tar.gz`.
pub(crate) fn open_100(root: &Path) -> Result<Splits> {
    open(root, &CIFAR100)
}

fn open(root: &Path, layout: &Layout) -> Result<Splits> {
    let files = Files::open(root, layout.inside, &[layout.binary.all(), layout.python.all()].concat())?;
    // The binary version is asked for where neither is there; its names are those of the official archive.
    let of_python = files.find(&[layout.binary.classes])?.is_none() && files.find(&[layout.python.classes])?.is_some();
    let names = if of_python { &layout.python } else { &layout.binary };
    let (path, text) = files.read(&[names.classes])?;
    let classes = if of_python { python_names(&path, &text, layout)? } else { lines(&String::from_utf8_lossy(&text)) };
    if classes.len() != layout.classes {
        let (got, expected, name) = (classes.len(), layout.classes, layout.name);
        return Err(Error::format(&path, format!("{got} class names, {name} has {expected}")));
    }
    let read = if of_python { read_python } else { read_records };
    let split = |names: &[&str], split: &str| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let (path, bytes) = files.read(&[name])?;
            read(&path, &bytes, layout, &mut pixels, &mut labels)?;
        }
        InMemory::new([SIDE as u32; 2], 3, pixels, labels, classes.clone(), split)
    };
    Ok(Splits::new(split(names.train, "train")?, split(names.test, "test")?))
}

fn python_names(path: &Path, bytes: &[u8], layout: &Layout) -> Result<Vec<String>> {
    let mut batch = read::python_batch(bytes).map_err(|problem| Error::format(path, problem))?;
    let [_, key] = layout.keys;
    batch.texts.remove(key).ok_or_else(|| Error::format(path, format!("no list of names under `{key}`")))
}

/// A batch for Python: `data`, one row of planes an image, and a list of labels.
fn read_python(path: &Path, bytes: &[u8], layout: &Layout, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let fail = |problem: String| Error::format(path, problem);
    let batch = read::python_batch(bytes).map_err(fail)?;
    let ([key, _], name) = (layout.keys, layout.name);
    let (shape, data) = batch.arrays.get("data").ok_or_else(|| fail("no array of bytes under `data`".to_owned()))?;
    let given = batch.numbers.get(key).ok_or_else(|| fail(format!("no list of labels under `{key}`")))?;
    if *shape != [given.len(), PIXELS] {
        let expected = [given.len(), PIXELS];
        return Err(fail(format!("`data` has the shape {shape:?}, expected {expected:?}: one row for each label")));
    }
    for (index, label) in given.iter().enumerate() {
        let known = u32::try_from(*label).ok().filter(|label| (*label as usize) < layout.classes);
        let classes = layout.classes;
        labels
            .push(known.ok_or_else(|| fail(format!("image {index} has label {label}; {name} has {classes} classes")))?);
    }
    data.chunks_exact(PIXELS).for_each(|planes| interleave(planes, pixels));
    Ok(())
}

/// From three planes to pixels.
fn interleave(planes: &[u8], pixels: &mut Vec<u8>) {
    pixels.extend((0..SIDE * SIDE).flat_map(|at| [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at])));
}

fn read_records(path: &Path, bytes: &[u8], layout: &Layout, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let record = layout.label_bytes + PIXELS;
    let name = layout.name;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let (count, at) = (bytes.len() / record, bytes.len() / record * record);
        let (rest, length) = (bytes.len() - at, bytes.len());
        return Err(Error::format(
            path,
            format!(
                "{length} bytes are not whole {name} records of {record}: {rest} bytes left at offset {at}, after {count} records"
            ),
        ));
    }
    pixels.reserve(bytes.len() / record * PIXELS);
    for (index, record_bytes) in bytes.chunks_exact(record).enumerate() {
        let (head, planes) = record_bytes.split_at(layout.label_bytes);
        let label = head[layout.label_bytes - 1];
        if usize::from(label) >= layout.classes {
            let (offset, classes) = (index * record + layout.label_bytes - 1, layout.classes);
            return Err(Error::format(
                path,
                format!("record {index} has label {label} at offset {offset}; {name} has {classes} classes"),
            ));
        }
        labels.push(u32::from(label));
        interleave(planes, pixels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::Source;

    fn record(labels: &[u8], seed: usize) -> Vec<u8> {
        let pixels = (0..PIXELS).map(|at| ((at * 7 + seed) % 256) as u8);
        labels.iter().copied().chain(pixels).collect()
    }

    fn names(count: usize) -> String {
        (0..count).map(|class| format!("class {class}\n")).collect::<String>() + "\n"
    }

    fn write_100(directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("train.bin"), [record(&[3, 99], 0), record(&[0, 7], 1)].concat()).unwrap();
        std::fs::write(directory.join("test.bin"), record(&[19, 0], 2)).unwrap();
        std::fs::write(directory.join("fine_label_names.txt"), names(100)).unwrap();
    }

    fn write_10(directory: &Path) {
        for (number, name) in CIFAR10.binary.train.iter().chain(CIFAR10.binary.test).enumerate() {
            std::fs::write(directory.join(name), record(&[number as u8], number)).unwrap();
        }
        std::fs::write(directory.join("batches.meta.txt"), names(10)).unwrap();
    }

    #[test]
    fn fine_labels_and_interleaved_pixels() {
        let root = tempfile::tempdir().unwrap();
        write_100(&root.path().join("cifar-100-binary"));
        let splits = Source::Cifar100 { root: root.path().to_owned() }.open().unwrap();
        assert_eq!(splits.train.labels(), [99, 7]);
        assert_eq!(splits.train.classes()[99], "class 99");
        let image = splits.train.image(1).unwrap();
        assert_eq!((image.height(), image.width(), image.channels()), (32, 32, 3));
        let expected = |plane: usize, y: usize, x: usize| (((plane * 1024 + y * 32 + x) * 7 + 1) % 256) as u8;
        for (at, rgb) in image.pixels().chunks_exact(3).enumerate() {
            assert_eq!(rgb, [0, 1, 2].map(|plane| expected(plane, at / 32, at % 32)));
        }
    }

    #[test]
    fn cifar_10_joins_its_batches_from_a_directory_or_an_archive() {
        let root = tempfile::tempdir().unwrap();
        write_10(root.path());
        let plain = open_10(root.path()).unwrap();
        assert_eq!((plain.train.labels(), plain.test.labels()), (vec![0, 1, 2, 3, 4], vec![5]));

        let path = root.path().join("cifar-10-binary.tar.gz");
        let gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for name in CIFAR10.binary.train.iter().chain(CIFAR10.binary.test).chain(&[CIFAR10.binary.classes]) {
            archive.append_path_with_name(root.path().join(name), format!("cifar-10-batches-bin/{name}")).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap().flush().unwrap();
        let packed = open_10(&path).unwrap();
        assert_eq!(packed.train.labels(), plain.train.labels());
        assert_eq!(packed.train.image(4).unwrap(), plain.train.image(4).unwrap());

        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 40) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = open_10(&path).unwrap_err().to_string();
            assert!(error.contains("cifar-10-binary.tar.gz"), "{error}");
        }
        std::fs::write(&path, b"no archive").unwrap();
        assert!(open_10(&path).unwrap_err().to_string().contains("broken archive"));
    }

    /// A dictionary as Python 2 pickled it; `names` in the place of images where there are none.
    fn pickled(key: &str, labels: &[u8], names: &[String]) -> Vec<u8> {
        let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
        let mut bytes = [&b"\x80\x02}("[..], &text(key), b"]("].concat();
        labels.iter().for_each(|label| bytes.extend([b'K', *label]));
        names.iter().for_each(|name| bytes.extend(text(name)));
        bytes.push(b'e');
        if !labels.is_empty() {
            bytes.extend(text("data"));
            bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01");
            bytes.extend([b'K', labels.len() as u8, b'M', 0x00, 0x0c, 0x86]);
            bytes.extend(
                b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            );
            bytes.extend([&b"T"[..], &((labels.len() * PIXELS) as u32).to_le_bytes()].concat());
            labels.iter().for_each(|label| bytes.extend(&record(&[], usize::from(*label))));
            bytes.extend(b"tb");
        }
        bytes.extend(b"u.");
        bytes
    }

    #[test]
    fn the_version_for_python_gives_the_same_images() {
        let (binary, python) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_10(binary.path());
        let below = python.path().join("cifar-10-batches-py");
        std::fs::create_dir(&below).unwrap();
        for (number, name) in CIFAR10.python.train.iter().chain(CIFAR10.python.test).enumerate() {
            std::fs::write(below.join(name), pickled("labels", &[number as u8], &[])).unwrap();
        }
        std::fs::write(below.join("batches.meta"), pickled("label_names", &[], &lines(&names(10)))).unwrap();
        let of = |root: &Path| open_10(root).map(|splits| crate::fingerprint(splits.train.as_ref()).unwrap());
        assert_eq!(of(python.path()).unwrap(), of(binary.path()).unwrap());
        assert_eq!(open_10(&below).unwrap().test.labels(), [5]);
        let problem = |bytes: &[u8]| {
            std::fs::write(below.join("data_batch_2"), bytes).unwrap();
            of(python.path()).unwrap_err().to_string()
        };
        assert!(problem(&pickled("labels", &[10], &[])).contains("image 0 has label 10; CIFAR-10 has 10 classes"));
        assert!(problem(&pickled("fine_labels", &[1], &[])).contains("no list of labels under `labels`"));
        let whole = pickled("labels", &[1, 2], &[]);
        for length in (0..whole.len()).step_by(97) {
            assert!(problem(&whole[..length]).contains("data_batch_2: "));
        }
        assert!(problem(b"\x80\x02cos\nsystem\nU\x02ls\x85R.").contains("runs code"));
    }

    #[test]
    fn broken_records_are_named_with_their_offset() {
        let cases: [(&str, Vec<u8>, &str); 5] = [
            ("test.bin", record(&[0, 0], 0)[..3073].to_vec(), "3073 bytes left at offset 0, after 0 records"),
            ("test.bin", vec![], "0 bytes are not whole"),
            ("train.bin", [record(&[0, 0], 0), vec![1, 2]].concat(), "2 bytes left at offset 3074, after 1 records"),
            ("train.bin", [record(&[0, 0], 0), record(&[0, 100], 0)].concat(), "record 1 has label 100 at offset 3075"),
            ("fine_label_names.txt", names(99).into_bytes(), "99 class names, CIFAR-100 has 100"),
        ];
        for (file, bytes, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            write_100(root.path());
            std::fs::write(root.path().join(file), bytes).unwrap();
            let error = open_100(root.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(file), "{error}");
        }
        let root = tempfile::tempdir().unwrap();
        assert!(open_100(root.path()).unwrap_err().to_string().contains("no file fine_label_names.txt"));
    }
}
