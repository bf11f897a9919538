//! CIFAR-10 and CIFAR-100, the binary version: records of one or two label bytes and 3 x 32 x 32 pixel bytes.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::{InMemory, Splits};
use crate::error::{Error, Result};
use crate::files::Files;

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// What tells the two sets apart.
struct Layout {
    name: &'static str,
    /// The folder in the official archive.
    inside: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    names: &'static str,
    classes: usize,
    /// Label bytes before the pixels; the last one is the class (CIFAR-100 has the coarse class before the fine one).
    label_bytes: usize,
}

const CIFAR10: Layout = Layout {
    name: "CIFAR-10",
    inside: "cifar-10-batches-bin",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: &["test_batch.bin"],
    names: "batches.meta.txt",
    classes: 10,
    label_bytes: 1,
};

const CIFAR100: Layout = Layout {
    name: "CIFAR-100",
    inside: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
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
    let names: Vec<&str> = [layout.train, layout.test, &[layout.names]].concat();
    let files = Files::open(root, layout.inside, &names)?;
    let (path, text) = files.read(&[layout.names])?;
    let classes: Vec<String> = String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if classes.len() != layout.classes {
        let (got, expected, name) = (classes.len(), layout.classes, layout.name);
        return Err(Error::format(&path, format!("{got} class names, {name} has {expected}")));
    }
    let train = split(&files, layout.train, layout, &classes, "train")?;
    let test = split(&files, layout.test, layout, &classes, "test")?;
    Ok(Splits { train: Arc::new(train), test: Arc::new(test) })
}

fn split(files: &Files, names: &[&str], layout: &Layout, classes: &[String], split: &str) -> Result<InMemory> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let (path, bytes) = files.read(&[name])?;
        read_records(&path, &bytes, layout, &mut pixels, &mut labels)?;
    }
    InMemory::new([SIDE as u32; 2], 3, pixels, labels, classes.to_vec(), split)
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
        pixels.extend((0..SIDE * SIDE).flat_map(|at| [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at])));
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
        for (number, name) in CIFAR10.train.iter().chain(CIFAR10.test).enumerate() {
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
        for name in CIFAR10.train.iter().chain(CIFAR10.test).chain(&[CIFAR10.names]) {
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
