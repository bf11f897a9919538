//! ONNX Runtime's own answers, to the bit: what 1.32.0 gave on an x86 with AVX-512 and VNNI for the QDQ file that
//! `examples/gate/gate.attar` was compiled from. They are the answers on every CPU, at every level.

use attar_edge::{Input, Level, Session, reference};

const PLAN: &[u8] = include_bytes!("../examples/gate/gate.attar");

/// Bits of the logits of twelve images.
const LOGITS: [[u32; 10]; 12] = [
    [
        0xbde5e24d, 0xbd522dfd, 0x3da433ee, 0x3d6c73bd, 0xbdec73bd, 0xbe035cbe, 0xbea28f92, 0xbe4853d5, 0xbe035cbe,
        0x3eddac81,
    ],
    [
        0x3d5f50dd, 0xbc835cbe, 0x3dbe79ad, 0x3e13c856, 0xbe13c856, 0xbe06a576, 0xbdd8bf6d, 0x3d107f9e, 0xbe98b56a,
        0x3ef9969c,
    ],
    [
        0xbe035cbe, 0xbdf3052d, 0x3dbe79ad, 0x3e001406, 0xbe73052d, 0xbd2ac55e, 0xbe58bf6d, 0x3d450b1d, 0xbe5f50dd,
        0x3ee5e24d,
    ],
    [
        0xbe06a576, 0xbda433ee, 0x3e001406, 0x3e0d36e6, 0xbe0d36e6, 0xbdcb9c8d, 0xbea28f92, 0xbde5e24d, 0xbe4b9c8d,
        0x3eda63c9,
    ],
    [
        0x3d450b1d, 0xbc9da27e, 0x3dd8bf6d, 0x3e17110e, 0xbe20eb36, 0xbdf9969c, 0xbdd8bf6d, 0x3d107f9e, 0xbe956cb2,
        0x3ef7f240,
    ],
    [
        0xbdf9969c, 0xbdcb9c8d, 0x3da433ee, 0x3d79969c, 0xbdf9969c, 0xbe2433ee, 0xbea28f92, 0xbd97110e, 0xbe764de4,
        0x3eb49f85,
    ],
    [
        0xbe06a576, 0xbdbe79ad, 0x3e107f9e, 0x3e13c856, 0xbe20eb36, 0xbe1a59c6, 0xbea28f92, 0xbe522dfd, 0xbe3156cd,
        0x3ee786a9,
    ],
    [
        0x3d37e83d, 0xbb522dfd, 0x3e001406, 0x3e13c856, 0xbe2433ee, 0xbdec73bd, 0xbde5e24d, 0x3c9da27e, 0xbe98b56a,
        0x3efb3af8,
    ],
    [
        0xbe73052d, 0xbdf3052d, 0x3daac55e, 0x3b522dfd, 0xbda433ee, 0xbddf50dd, 0xbea28f92, 0xbe277ca6, 0xbe97110e,
        0x3ee5e24d,
    ],
    [
        0xbdb156cd, 0xbc835cbe, 0x3db7e83d, 0x3daac55e, 0xbdcb9c8d, 0xbd907f9e, 0xbea28f92, 0xbe2433ee, 0xbe37e83d,
        0x3ee43df1,
    ],
    [
        0x3d835cbe, 0xbcec73bd, 0x3dd22dfd, 0x3e2433ee, 0xbe09ee2e, 0xbdec73bd, 0xbdd8bf6d, 0x3d450b1d, 0xbe9da27e,
        0x3ef160d1,
    ],
    [
        0xbe0d36e6, 0xbe2e0e16, 0x3e1da27e, 0x3df3052d, 0xbe93c856, 0xbe4b9c8d, 0xbe835cbe, 0xbd97110e, 0xbe764de4,
        0x3ee29995,
    ],
];

/// Numbers without order (Steele et al. 2014, SplitMix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An image of 32 x 32: noise, noise of little contrast, or squares of one colour.
fn image(number: usize) -> Vec<u8> {
    let noise = |at: usize| mix((number * 3072 + at) as u64) as u8;
    let byte = |at: usize| {
        let (y, x, channel) = (at / 96, at / 3 % 32, at % 3);
        match number % 3 {
            0 => noise(at),
            1 => noise(at) / 8 + 100,
            _ => noise((y / 8 * 8 * 32 + x / 8 * 8) * 3 + channel),
        }
    };
    (0..3072).map(byte).collect()
}

#[test]
fn every_level_gives_the_bits_of_onnx_runtime() {
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        let mut session = Session::new(PLAN.to_vec(), level).unwrap();
        for (number, expected) in LOGITS.iter().enumerate() {
            let mut logits = [0.0; 10];
            session.run(Input::Rgb8(&image(number)), &mut logits).unwrap();
            assert_eq!(logits.map(f32::to_bits), *expected, "image {number} at {level}");
        }
    }
}

#[test]
fn so_does_the_reference() {
    let session = Session::new(PLAN.to_vec(), Level::Scalar).unwrap();
    let logits = reference::run(&session.model(), Input::Rgb8(&image(0))).unwrap();
    assert_eq!(logits.iter().map(|logit| logit.to_bits()).collect::<Vec<u32>>(), LOGITS[0]);
}

/// A level that is not found is tested by no test. `cargo xtask neon` says which it should be on the CPU that it plays.
#[cfg(target_arch = "aarch64")]
#[test]
fn an_aarch64_has_its_levels() {
    match std::env::var("ATTAR_BEST_LEVEL") {
        Ok(name) => assert_eq!(Level::best().name(), name),
        Err(_) => assert!(Level::best() >= Level::Neon),
    }
}
