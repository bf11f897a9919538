//! Truncated, damaged and hostile image files: always a readable error or an image, never a panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be read fails the test")]

use std::path::{Path, PathBuf};

use attar_pixels::decode;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pixels")
}

/// One file of every kind that the decoders treat differently.
const FILES: [&str; 12] = [
    "rgba.png",
    "palette-transparent.png",
    "rgb-16-bit.png",
    "exif-6.png",
    "jpeg-420-odd.jpg",
    "jpeg-progressive.jpg",
    "jpeg-grey.jpg",
    "jpeg-cmyk.jpg",
    "exif-6.jpg",
    "rgba.webp",
    "exif-6.webp",
    "webp-lossy.webp",
];

#[test]
fn every_prefix_is_an_error_that_names_the_file() {
    for file in FILES {
        let bytes = std::fs::read(directory().join(file)).unwrap();
        assert!(decode(&bytes, Path::new(file)).is_ok());
        // A PNG may lack its end chunk: every pixel is there, and checked.
        let spare = if file.ends_with(".png") { 16 } else { 0 };
        for length in 0..bytes.len() - spare {
            let result = decode(&bytes[..length], Path::new(file));
            let error = result.err().unwrap_or_else(|| panic!("{file} decodes from {length} of {} bytes", bytes.len()));
            assert!(error.to_string().starts_with(file), "{error}");
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    // A small generator of its own: the same damage in every run.
    let mut state = 1_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut decoded, mut refused) = (0, 0);
    for file in FILES {
        let whole = std::fs::read(directory().join(file)).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..1 + next(4) {
                // Half of the damage goes to the headers, where the decisions are.
                let at = if next(2) == 0 { next(bytes.len().min(64)) } else { next(bytes.len()) };
                bytes[at] = [0, 0xff, 0x7f, next(256) as u8][next(4)];
            }
            match decode(&bytes, Path::new(file)) {
                Ok(_) => decoded += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(decoded > 100 && refused > 100, "{decoded} decoded, {refused} refused");
}

#[test]
fn other_formats_and_garbage_are_told_apart() {
    let problem = |bytes: &[u8]| decode(bytes, Path::new("x")).unwrap_err().to_string();
    assert!(
        problem(b"GIF89a\x01\x00\x01\x00").contains("x: a Gif image; PNG, JPEG and WebP are read\n  hint: convert")
    );
    assert!(problem(b"BM\x46\x00\x00\x00").contains("a Bmp image"));
    assert!(problem(b"II*\x00\x08\x00\x00\x00").contains("a Tiff image"));
    assert!(problem(b"<!doctype html>").contains("not an image of a known format"));
    assert_eq!(problem(b""), "x: an empty file");
}

#[test]
fn a_bomb_is_refused_before_memory_is_taken() {
    // A PNG header that promises 60000 x 60000 pixels; the checksum is that of the changed header.
    let mut png = std::fs::read(directory().join("grey.png")).unwrap();
    for at in [16, 20] {
        png[at..at + 4].copy_from_slice(&60_000_u32.to_be_bytes());
    }
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = decode(&png, Path::new("bomb.png")).unwrap_err().to_string();
    assert!(error.contains("60000x60000 pixels; at most 100000000 are read"), "{error}");

    // The same for the frame header of a JPEG.
    let mut jpeg = std::fs::read(directory().join("jpeg-grey.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    let error = decode(&jpeg, Path::new("bomb.jpg")).unwrap_err().to_string();
    assert!(error.contains("65535x65535 pixels"), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
