//! Image folders: order, splits, what is left out and what is refused.

use super::*;
use crate::{Source, Splits};

fn open(root: &Path, test: Option<&str>) -> Result<Splits> {
    let test = test.map(str::to_owned);
    Source::ImageFolder { root: root.to_owned(), test, classes: None, allow_empty: Vec::new() }.open()
}

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

fn problem(root: &Path, test: Option<&str>) -> String {
    open(root, test).unwrap_err().to_string()
}

#[test]
fn classes_and_files_are_sorted() {
    let root = tree();
    let splits = Source::image_folder(root.path()).open().unwrap();
    let train = &splits.train;
    assert_eq!(train.classes(), ["cat", "dog"]);
    let names: Vec<String> = (0..train.len()).map(|index| train.name(index)).collect();
    assert_eq!(names, ["train/cat/nested/z.png", "train/cat/y.png", "train/dog/a.PNG", "train/dog/b.png"]);
    assert_eq!(train.labels(), [0, 0, 1, 1]);
    assert_eq!(train.image(3).unwrap().pixels(), [1; 6]);
    assert_eq!(train.encoded(3).unwrap(), std::fs::read(root.path().join("train/dog/b.png")).unwrap());
    assert_eq!((splits.test.labels(), splits.test.classes()), (vec![1], train.classes()));
    assert!(train.image(4).is_err());
    assert_eq!(splits.notes, ["2 left out: 1 .txt, 1 with a dot in front"]);
}

#[test]
fn what_does_not_fit_is_a_readable_error() {
    let root = tree();
    png(&root.path().join("val/bird/a.png"), 0);
    assert!(problem(root.path(), None).contains("bird: a class that train does not have"));
    let root = tree();
    png(&root.path().join("test/dog/a.png"), 0);
    let both = open(root.path(), None).unwrap();
    assert!(both.test.name(0) == "test/dog/a.png" && both.notes[0].contains("test judges"), "{:?}", both.notes);
    assert!(open(root.path(), Some("val")).is_ok());
    assert!(problem(root.path(), Some("valid")).contains("no folder valid; found test, train, val"));
    let root = tree();
    for file in ["train/cat/c.gif", "train/cat/c.bmp", "train/cat/photo", "val/dog/photo.jpg_large"] {
        std::fs::write(root.path().join(file), "GIF89a").unwrap();
    }
    let all = problem(root.path(), None);
    let said = [
        "4 things",
        "train/cat/c.gif: PNG, JPEG and WebP are read",
        "c.bmp",
        "cat/photo: begins like a GIF",
        "jpg_large",
    ];
    assert!(said.iter().all(|part| all.contains(part)), "{all}");
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

#[test]
fn browsers_names_of_jpegs_are_read_and_the_systems_files_counted() {
    let root = tree();
    let jpeg = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pixels/jpeg-grey.jpg");
    for name in ["a.jfif", "b.JPE", "c.jif", "d.pjpeg"] {
        std::fs::copy(&jpeg, root.path().join("train/cat").join(name)).unwrap();
    }
    for folder in ["@eaDir", "__MACOSX", "lost+found"] {
        png(&root.path().join("train/dog").join(folder).join("thumb.png"), 9);
        png(&root.path().join("train").join(folder).join("dog/thumb.png"), 9);
    }
    std::fs::write(root.path().join("train/cat/BMW.txt"), "BMW makes cars, not bitmaps").unwrap();
    let splits = open(root.path(), None).unwrap();
    assert_eq!((splits.train.len(), splits.train.classes().len()), (8, 2));
    assert_eq!(splits.train.left_out().count(), 9);
    assert!(splits.notes[0].contains("2 @eaDir") && splits.notes[0].contains("2 .txt"), "{:?}", splits.notes);
}

#[test]
fn a_class_without_an_image_is_refused_unless_it_is_allowed() {
    let root = tree();
    std::fs::create_dir_all(root.path().join("train/eel")).unwrap();
    std::fs::create_dir_all(root.path().join("train/fox/deeper")).unwrap();
    let message = problem(root.path(), None);
    assert!(message.contains("train/eel: a class without an image") && message.contains("train/fox"), "{message}");
    let allow = |names: &[&str]| {
        let allow_empty = names.iter().map(|name| (*name).to_owned()).collect();
        Source::ImageFolder { root: root.path().to_owned(), test: None, classes: None, allow_empty }.open()
    };
    assert_eq!(allow(&["eel", "fox"]).unwrap().train.classes(), ["cat", "dog", "eel", "fox"]);
    assert!(allow(&["eel"]).unwrap_err().to_string().contains("train/fox: a class without an image"));
    assert!(allow(&["eel", "fox", "gnu"]).unwrap_err().to_string().contains("gnu: named in `allow_empty`"));
}

#[test]
fn the_order_of_the_classes_can_be_stated() {
    let root = tree();
    let stated = |names: &[&str]| {
        let classes = Some(names.iter().map(|name| (*name).to_owned()).collect());
        Source::ImageFolder { root: root.path().to_owned(), test: None, classes, allow_empty: Vec::new() }.open()
    };
    let splits = stated(&["dog", "cat"]).unwrap();
    assert_eq!((splits.train.labels(), splits.test.labels()), (vec![0, 0, 1, 1], vec![0]));
    assert_eq!(splits.train.name(0), "train/dog/a.PNG");
    let message = stated(&["dog", "cow"]).unwrap_err().to_string();
    let said =
        ["cat: a class folder that `classes` does not name", "cow: named in `classes`, but there is no such folder"];
    assert!(said.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn names_are_meant_and_not_spelt() {
    let root = tree();
    png(&root.path().join("train/caf\u{e9}/a.png"), 7);
    png(&root.path().join("val/cafe\u{301}/a.png"), 8);
    png(&root.path().join("val/cat\r/a.png"), 9);
    let splits = open(root.path(), None).unwrap();
    assert_eq!(splits.test.classes(), ["caf\u{e9}", "cat", "dog"]);
    assert_eq!(splits.test.labels(), [0, 1, 2]);
    let notes = splits.notes.join("\n");
    assert!(notes.contains("NFC against NFD") && notes.contains("\"cat\\r\"") && notes.contains("`cat`"), "{notes}");
    png(&root.path().join("val/cat/a.png"), 9);
    assert!(problem(root.path(), None).contains("a second folder of the class `cat`"));
}

#[test]
fn a_split_of_its_own_is_chosen_by() {
    let root = tree();
    png(&root.path().join("test/dog/a.png"), 0);
    let source = Source::image_folder(root.path());
    let splits = source.open_with(Some("val")).unwrap();
    assert_eq!(splits.validation.unwrap().name(0), "val/dog/c.png");
    assert!(source.open_with(Some("test")).unwrap_err().to_string().contains("at once"));
    assert!(source.open_with(Some("dev")).unwrap_err().to_string().contains("no folder dev"));
    assert!(Source::Cifar10 { root: root.path().to_owned() }.open_with(Some("val")).is_err());
}

#[test]
fn images_of_known_classes_are_enough_to_judge() {
    let known = ["dog", "eel", "cat"].map(str::to_owned);
    let root = tempfile::tempdir().unwrap();
    for file in ["cat/a.png", "dog/b.png"] {
        png(&root.path().join(file), 1);
    }
    let source = Source::image_folder(root.path());
    let images = source.open_judged(None, &known).unwrap();
    assert_eq!((images.labels(), images.classes()), (vec![0, 2], known.as_slice()));
    assert!(images.notes().join("\n").contains("2 of 3 classes have images"), "{:?}", images.notes());
    assert_eq!(source.open_judged(None, &[]).unwrap().classes(), ["cat", "dog"]);
    png(&root.path().join("fox/b.png"), 1);
    let message = source.open_judged(None, &known).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("fox: a class that is not one of those expected"), "{message}");
    let root = tree();
    png(&root.path().join("test/dog/a.png"), 0);
    let source = Source::image_folder(root.path());
    assert_eq!(source.open_judged(None, &known).unwrap().name(0), "test/dog/a.png");
    assert_eq!(source.open_judged(Some("val"), &known).unwrap().name(0), "val/dog/c.png");
    assert_eq!(source.open_judged(Some("train"), &[]).unwrap().len(), 4);
    assert!(source.open_judged(Some("../x"), &[]).is_err());
}

#[test]
fn a_survey_stops_at_nothing() {
    let root = tree();
    png(&root.path().join("val/bird/a.png"), 0);
    png(&root.path().join("test/dog/a.png"), 0);
    std::fs::write(root.path().join("train/cat/c.gif"), "GIF89a").unwrap();
    std::fs::create_dir_all(root.path().join("train/eel")).unwrap();
    let survey = Source::image_folder(root.path()).survey(None).unwrap();
    let names: Vec<&str> = survey.splits.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["train", "val", "test"]);
    let found: Vec<&str> = survey.findings.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(found, ["train/cat/c.gif", "val/bird"]);
    assert_eq!(survey.left_out.count(), 2);
    let one = Source::image_folder(root.path()).survey(Some("test")).unwrap();
    assert!(one.splits.len() == 1 && one.findings.is_empty());
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_ends_and_a_pipe_is_no_image() {
    let root = tree();
    std::os::unix::fs::symlink(root.path().join("train/cat"), root.path().join("train/cat/again")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.path().join("train/cat/endless.png")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("train/cat/broken.png")).unwrap();
    let error = problem(root.path(), None);
    let said = ["folders deep", "endless.png: neither a file nor a folder", "broken.png: No such file"];
    assert!(said.iter().all(|part| error.contains(part)), "{error}");
}
