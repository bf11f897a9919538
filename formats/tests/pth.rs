//! PyTorch checkpoints written by PyTorch (`tests/fixtures/make/pth.py`): what is read, and what is refused in words.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests too

use std::path::{Path, PathBuf};

use attar_formats::read;
use attar_models::{Array, Weights};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pth").join(format!("{name}.pth"))
}

fn both(name: &str) -> [Weights; 2] {
    ["zip", "legacy"].map(|format| read::pth(&fixture(&format!("{name}-{format}"))).unwrap())
}

fn ramp(shape: &[usize], start: f32) -> Array {
    let count: usize = shape.iter().product();
    Array::new::<f32>(shape.to_vec(), (0..count).map(|i| start + 0.5 * i as f32).collect()).unwrap()
}

fn refusal(name: &str) -> String {
    read::pth(&fixture(name)).unwrap_err().to_string()
}

#[test]
fn a_state_dictionary_is_read_with_names_shapes_and_values() {
    for weights in both("plain") {
        let names: Vec<&str> = weights.0.keys().map(String::as_str).collect();
        let expected =
            ["bn.bias", "bn.num_batches_tracked", "bn.running_mean", "bn.running_var", "bn.weight", "conv.weight"];
        assert_eq!(names, expected);
        assert_eq!(weights.0["conv.weight"], ramp(&[3, 2, 1, 1], 0.0));
        assert_eq!(weights.0["bn.running_var"], ramp(&[3], 40.0));
        assert_eq!(weights.0["bn.num_batches_tracked"], Array::new::<f32>(vec![], vec![7.0]).unwrap());
    }
}

#[test]
fn a_wrapped_one_is_found_among_scalars_arguments_and_an_optimiser() {
    for weights in both("wrapped") {
        assert_eq!(weights.0.len(), 6);
        assert_eq!(weights.0["module.conv.weight"], ramp(&[3, 2, 1, 1], 0.0));
    }
}

#[test]
fn every_element_type_becomes_f32() {
    for weights in both("types") {
        for float in ["f64", "f32", "f16", "bf16"] {
            assert_eq!(weights.0[float].f32().unwrap(), [0.0, 0.5, 1.0], "{float}");
        }
        for integer in ["i32", "i16", "i8"] {
            assert_eq!(weights.0[integer].f32().unwrap(), [-1.0, 2.0, 3.0], "{integer}");
        }
        assert_eq!(weights.0["i64"].f32().unwrap(), [-1.0, 2f32.powi(40), 3.0]);
        assert_eq!(weights.0["u8"].f32().unwrap(), [255.0, 2.0, 3.0]);
        assert_eq!(weights.0["bool"].f32().unwrap(), [1.0, 0.0, 1.0]);
    }
}

#[test]
fn strides_and_offsets_are_followed() {
    let at = |row: usize, column: usize| 0.5 * (6 * row + column) as f32;
    for weights in both("views") {
        let get = |name: &str| weights.0[name].clone();
        assert_eq!(get("whole"), ramp(&[4, 6], 0.0));
        let transposed = (0..6).flat_map(|c| (0..4).map(move |r| at(r, c))).collect();
        assert_eq!(get("transposed"), Array::new::<f32>(vec![6, 4], transposed).unwrap());
        assert_eq!(
            get("stepped"),
            Array::new::<f32>(vec![2, 2], vec![at(1, 0), at(1, 3), at(3, 0), at(3, 3)]).unwrap()
        );
        assert_eq!(get("row"), ramp(&[6], 6.0));
        assert_eq!(get("expanded"), Array::new::<f32>(vec![3, 1], vec![0.0; 3]).unwrap());
        assert_eq!(get("channels_last"), ramp(&[1, 2, 2, 3], 0.0));
        assert_eq!(get("scalar"), Array::new::<f32>(vec![], vec![1.5]).unwrap());
        assert_eq!(get("empty"), Array::new::<f32>(vec![0, 4], vec![]).unwrap());
        assert_eq!(get("parameter"), ramp(&[2, 2], 0.0));
    }
}

#[test]
fn formats_are_told_apart_by_their_contents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    let [weights, _] = both("plain");
    attar_formats::write::safetensors(&path, &weights, &Default::default()).unwrap();
    assert_eq!(read::any(&path).unwrap().weights, weights);
    for name in ["plain-zip", "plain-legacy"] {
        assert_eq!(read::any(&fixture(name)).unwrap().weights, weights);
    }
    std::fs::write(&path, "hello, world").unwrap();
    assert!(read::any(&path).unwrap_err().to_string().contains("neither safetensors nor a PyTorch checkpoint"));
}

#[test]
fn what_is_no_state_dictionary_is_refused_in_words() {
    for format in ["zip", "legacy"] {
        let average = read::keyed(&fixture(&format!("two-{format}")), None).unwrap();
        let said = average.note.unwrap();
        assert!(said.contains("`ema`, the average") && said.contains("not `model`"), "{said}");
        assert!(refusal(&format!("nothing-{format}")).contains("no dictionary of tensors"));
        let module = refusal(&format!("module-{format}"));
        assert!(module.contains("holds a `torch.nn.modules.container.Sequential`"), "{module}");
        assert!(module.contains("torch.save(torch.load('FILE', 'cpu', weights_only=False).state_dict()"), "{module}");
        let complex = refusal(&format!("complex-{format}"));
        assert!(complex.contains("element type"), "{complex}");
    }
    assert!(refusal("archive").contains("without `data.pkl`"));
    assert!(refusal("pickle").contains("magic number"));
    assert!(refusal("compressed").contains("compress"), "{}", refusal("compressed"));
}

#[test]
fn a_file_that_wants_to_run_something_is_refused() {
    for name in ["attack-zip", "attack-legacy"] {
        let message = refusal(name);
        assert!(message.contains("refused: it names `posix.system`"), "{message}");
    }
}

#[test]
fn every_truncation_is_an_error_and_never_a_panic() {
    for name in ["plain-zip", "plain-legacy", "views-legacy"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in 0..whole.len() {
            let read = read::parse_pth(&whole[..length], Path::new(name));
            assert!(read.is_err(), "{name} cut to {length} of {} bytes was read", whole.len());
        }
    }
}

/// A flipped bit in a number cannot be seen in the legacy format; what must hold is no panic, no endless loop, and
/// tensors no larger than the file could hold. The zip format has checksums.
#[test]
fn flipped_bytes_never_panic() {
    for name in ["plain-zip", "plain-legacy", "wrapped-legacy", "views-zip"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= mask;
                if let Ok(weights) = read::parse_pth(&damaged, Path::new(name)) {
                    let elements: usize = weights.0.values().map(|array| array.elements.len()).sum();
                    assert!(elements <= 4 * whole.len());
                }
            }
        }
    }
}

/// A legacy file around a pickle of one's own.
fn legacy(object: &[u8]) -> Vec<u8> {
    let whole = std::fs::read(fixture("plain-legacy")).unwrap();
    let head = whole.windows(2).position(|w| w == b".\x80").unwrap();
    let second = head + 1 + whole[head + 1..].windows(2).position(|w| w == b".\x80").unwrap();
    let third = second + 1 + whole[second + 1..].windows(2).position(|w| w == b".\x80").unwrap();
    [&whole[..=third], object, b"\x80\x02].".as_slice()].concat()
}

fn bomb(object: &[u8]) -> String {
    read::parse_pth(&legacy(object), Path::new("bomb")).unwrap_err().to_string()
}

#[test]
fn bombs_are_defused() {
    let proto: &[u8] = b"\x80\x02";
    assert!(bomb(&[proto, b"}."].concat()).contains("no dictionary of tensors"), "an honest pickle gets through");
    // A million nested tuples, and a list that holds itself: no recursion.
    let nested = [proto, b")".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    assert!(bomb(&nested).contains("expected a state dictionary"));
    assert!(bomb(b"\x80\x02]q\x00h\x00a.").contains("expected a state dictionary"));
    // A dictionary that holds itself.
    assert!(bomb(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.").contains("no dictionary of tensors"));
    // More steps than any checkpoint takes.
    assert!(bomb(&[proto, &b"N0".repeat(1 << 20), b"N."].concat()).contains("steps"));
    // Lengths that lie.
    assert!(bomb(b"\x80\x02X\xff\xff\xff\xffabc.").contains("bytes expected"));
    assert!(bomb(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.").contains("bytes expected"));
    // Nothing on the stack, no mark, nothing remembered, an opcode that builds objects.
    for (object, problem) in [
        (b"\x80\x020.".as_slice(), "stack is empty"),
        (b"\x80\x02t.", "no mark"),
        (b"\x80\x02h\x07.", "nothing is remembered under 7"),
        (b"\x80\x02(ios\nsystem\n.", "opcode 0x69"),
        (b"\x80\x02cbuiltins\neval\n.", "refused"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "refused"),
    ] {
        assert!(bomb(object).contains(problem), "{problem}: {}", bomb(object));
    }
}

/// A dictionary as a pickle writes it.
fn dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = b"}".to_vec();
    for (key, value) in entries {
        all.extend([b"X".as_slice(), &(key.len() as u32).to_le_bytes(), key.as_bytes(), value, b"s"].concat());
    }
    all
}

/// A tensor of one number, the first or the second of the only storage.
fn one_of(which: u8) -> Vec<u8> {
    let storage = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
          X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ";
    [storage.as_slice(), &[b'K', which], b"K\x01\x85K\x01\x85\x89}tR"].concat()
}

/// A checkpoint around a dictionary; its storage holds 1 and 2.
fn checkpoint(object: &[u8]) -> tempfile::NamedTempFile {
    let behind: &[u8] = b".\x80\x02]X\x01\x00\x00\x000a.\x02\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40";
    let mut whole = legacy(&[b"\x80\x02".as_slice(), object, behind].concat());
    whole.truncate(whole.len() - 4); // the empty list of keys
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), whole).unwrap();
    file
}

#[test]
fn a_key_names_a_dictionary_or_a_part_of_one() {
    let [first, second] = [0, 1].map(one_of);
    let last = dict(&[("w", &first), ("inner.w", &first)]);
    let average = dict(&[("module", &dict(&[("w", &second)]))]);
    let file = checkpoint(&dict(&[("state_dict", &last), ("ema", &average), ("epoch", b"K\x03")]));
    let keyed = |key: Option<&str>| read::keyed(file.path(), key);
    let number = |key: &str| keyed(Some(key)).unwrap().weights.0["w"].f32().unwrap()[0];
    assert_eq!(["state_dict", "ema", "ema.module", "state_dict.inner", "inner"].map(number), [1.0, 2.0, 2.0, 1.0, 1.0]);
    let guessed = keyed(None).unwrap();
    assert_eq!(guessed.weights.0["w"].f32().unwrap(), [2.0]);
    assert!(guessed.note.unwrap().contains("`ema.module`"));
    assert!(keyed(Some("ema")).unwrap().note.is_none());
    let message = keyed(Some("model")).unwrap_err().to_string();
    assert!(message.contains("no tensors under the key `model`: state_dict, ema.module"), "{message}");
    // Of two that are neither the average nor the usual name nobody can tell.
    let file = checkpoint(&dict(&[("generator", &last), ("critic", &last)]));
    let message = read::keyed(file.path(), None).unwrap_err().to_string();
    assert!(message.contains("generator, critic") && message.contains("key = \"generator\""), "{message}");
    // Whole modules in a dictionary.
    let module = b"cmodels.yolo\nModel\n)\x81";
    let file = checkpoint(&dict(&[("best", &first), ("model", module)]));
    let message = read::keyed(file.path(), None).unwrap_err().to_string();
    assert!(message.contains("`model` is a whole `models.yolo.Model`") && message.contains("['model']"), "{message}");
}

#[test]
fn a_key_is_the_beginning_of_names_in_a_safetensors_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let weights = Weights([("ema.w", 1.0), ("w", 2.0)].map(|(name, x)| (name.to_owned(), ramp(&[1], x))).into());
    attar_formats::write::safetensors(&path, &weights, &Default::default()).unwrap();
    assert_eq!(read::keyed(&path, Some("ema")).unwrap().weights.0["w"], ramp(&[1], 1.0));
    assert!(read::keyed(&path, Some("emma")).unwrap_err().to_string().contains("leave `key` out"));
}

/// `{'w': _rebuild_tensor_v2(storage of 2 floats, offset, shape, strides)}` with numbers of one's own.
fn tensor_bomb(offset: &[u8], shape: &[u8], strides: &[u8]) -> String {
    let object = [
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
          X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
            .as_slice(),
        offset,
        shape,
        strides,
        b"\x89}tRs.\x80\x02]X\x01\x00\x00\x000a.\x02\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40",
    ]
    .concat();
    let mut file = legacy(&object);
    file.truncate(file.len() - 4); // the empty list of keys
    match read::parse_pth(&file, Path::new("bomb")) {
        Ok(weights) => format!("{:?}", weights.0["w"].f32().unwrap()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn tensors_cannot_be_larger_than_their_file() {
    assert_eq!(tensor_bomb(b"K\x00", b"K\x02\x85", b"K\x01\x85"), "[1.0, 2.0]");
    assert_eq!(tensor_bomb(b"K\x01", b"K\x03\x85", b"K\x00\x85"), "[2.0, 2.0, 2.0]");
    assert!(tensor_bomb(b"K\x01", b"K\x02\x85", b"K\x01\x85").contains("outside of its storage"));
    assert!(tensor_bomb(b"J\xff\xff\xff\xff", b"K\x02\x85", b"K\x01\x85").contains("not at most"));
    // Four billion elements by a stride of 0, and a product that overflows.
    assert!(tensor_bomb(b"K\x00", b"J\xff\xff\xff\x7fK\x02\x86", b"K\x00K\x00\x86").contains("more elements"));
    let huge: &[u8] = b"\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86";
    assert!(tensor_bomb(b"K\x00", huge, b"K\x00K\x00\x86").contains("more elements"));
}
