//! What a scan sees, and what its cache keeps.

use super::*;
use crate::{InMemory, Source, fingerprint, pixel_hashes};

fn png(root: &Path, file: &str, value: u8) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, Image::new(2, 3, 1, vec![value; 6]).unwrap().to_png().unwrap()).unwrap();
}

fn photos() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, value) in [("train/cat/a.png", 1), ("train/cat/b.png", 2), ("train/dog/c.png", 3), ("test/dog/d.png", 4)]
    {
        png(root.path(), file, value);
    }
    root
}

/// Sizes and hashes of train, with how many came from the cache.
fn look(root: &Path, cache: Option<&Cache>) -> Scan {
    let splits = Source::image_folder(root).open().unwrap();
    let mut scans = scan(&[splits.train.as_ref(), splits.test.as_ref()], cache, &|_, _| {});
    scans.truncate(1);
    scans.remove(0)
}

#[test]
fn a_scan_gives_the_fingerprint_of_before() {
    let root = photos();
    let train = Source::image_folder(root.path()).open().unwrap().train;
    let scanned = scan(&[train.as_ref()], None, &|_, _| {}).remove(0);
    let seen = scanned.images[1].clone().unwrap();
    assert_eq!((seen.height, seen.width, seen.channels), (3, 2, 1));
    let hashed = Hashed::new(Arc::clone(&train), &scanned).unwrap();
    assert_eq!(fingerprint(&hashed).unwrap(), fingerprint(train.as_ref()).unwrap());
    // The hashes are those of the scan, not of another look.
    std::fs::remove_file(root.path().join("train/cat/b.png")).unwrap();
    assert_eq!(pixel_hashes(&hashed).unwrap()[1], seen.sha256);
    assert!(pixel_hashes(train.as_ref()).is_err());
}

#[test]
fn everything_wrong_is_seen_and_progress_is_told() {
    let root = photos();
    std::fs::write(root.path().join("train/cat/b.png"), "GIF89a").unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    std::fs::write(root.path().join("train/dog/c.png"), pointer).unwrap();
    let splits = Source::image_folder(root.path()).open().unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let scanned = scan(&[splits.train.as_ref()], None, &|done, of| told.lock().unwrap().push((done, of)));
    let problems: Vec<Option<&String>> = scanned[0].images.iter().map(|seen| seen.as_ref().err()).collect();
    assert!(problems[0].is_none() && problems[1].unwrap().contains("a Gif image"), "{problems:?}");
    assert!(problems[2].unwrap().contains("Git LFS pointer"), "{problems:?}");
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, [(1, 3), (2, 3), (3, 3)]);
    assert!(Hashed::new(splits.train, &scanned[0]).is_err());
}

#[test]
fn a_cache_saves_the_second_look_and_never_believes_a_changed_file() {
    let (root, folder) = (photos(), tempfile::tempdir().unwrap());
    let cache = || Cache::open(folder.path(), root.path()).trusting();
    let first = look(root.path(), Some(&cache()));
    assert_eq!(first.read_from_cache, 0);
    let second = look(root.path(), Some(&cache()));
    assert_eq!((second.read_from_cache, &second.images), (3, &first.images));
    png(root.path(), "train/cat/b.png", 9);
    let third = look(root.path(), Some(&cache()));
    assert_eq!(third.read_from_cache, 2);
    assert_ne!(third.images[1], first.images[1]);
    assert_eq!(third.images, look(root.path(), None).images);
}

#[test]
fn what_changed_just_now_is_not_kept() {
    let (root, folder) = (photos(), tempfile::tempdir().unwrap());
    look(root.path(), Some(&Cache::open(folder.path(), root.path())));
    assert_eq!(look(root.path(), Some(&Cache::open(folder.path(), root.path()).trusting())).read_from_cache, 0);
}

#[test]
fn a_damaged_cache_is_none() {
    let (root, folder) = (photos(), tempfile::tempdir().unwrap());
    let cache = || Cache::open(folder.path(), root.path()).trusting();
    let first = look(root.path(), Some(&cache()));
    let path = std::fs::read_dir(folder.path().join("scans")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let again = look(root.path(), Some(&cache()));
        assert_eq!((again.read_from_cache, &again.images), (0, &first.images), "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(look(root.path(), Some(&cache())).read_from_cache, 0);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(look(root.path(), Some(&cache())).read_from_cache, 3);
    // Where nothing can be written nothing is kept, and nothing fails.
    let nowhere = Cache::open(Path::new("/proc/nowhere"), root.path()).trusting();
    assert_eq!(look(root.path(), Some(&nowhere)).images, first.images);
}

#[test]
fn images_in_memory_need_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let images = InMemory::new([1, 2], 1, vec![1, 2, 3, 4], vec![0, 0], vec!["a".into()], "train").unwrap();
    let cache = Cache::open(folder.path(), Path::new("data"));
    let scanned = scan(&[&images], Some(&cache), &|_, _| {}).remove(0);
    assert_eq!((scanned.images.len(), scanned.read_from_cache), (2, 0));
    assert!(!folder.path().join("scans").exists());
}

#[test]
fn a_jpeg_cut_short_behind_which_somebody_put_an_end_marker() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pixels");
    // Between two scans of a progressive one an end marker may stand: what came before is a whole, blurred image.
    for (name, at_least) in [
        ("jpeg-420-odd.jpg", 5),
        ("jpeg-grey.jpg", 5),
        ("jpeg-progressive.jpg", 4),
        ("jpeg-cmyk.jpg", 5),
        ("exif-6.jpg", 5),
    ] {
        let whole = std::fs::read(fixtures.join(name)).unwrap();
        let judge = |bytes: &[u8]| {
            let image = decode(bytes, Path::new(name))?;
            check_whole(bytes, Path::new(name), &image)
        };
        judge(&whole).unwrap();
        let cut = |share: usize| [&whole[..whole.len() * share / 100], &[0xff, 0xd9]].concat();
        let refused = [50, 60, 70, 80, 90].into_iter().filter(|share| judge(&cut(*share)).is_err()).count();
        assert!(refused >= at_least, "{name}: {refused} of 5");
    }
    let root = photos();
    let whole = std::fs::read(fixtures.join("jpeg-grey.jpg")).unwrap();
    let cut = [&whole[..whole.len() * 7 / 10], &[0xff, 0xd9]].concat();
    std::fs::write(root.path().join("train/cat/b.jpg"), cut).unwrap();
    let problems: Vec<String> =
        look(root.path(), None).images.into_iter().filter_map(std::result::Result::err).collect();
    assert!(problems.len() == 1 && problems[0].contains("truncated JPEG"), "{problems:?}");
}
