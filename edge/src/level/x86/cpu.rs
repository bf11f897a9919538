//! What this CPU and its operating system have, asked with `cpuid` and `xgetbv`, as there is no `std`.

use core::arch::x86_64::{__cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU8, Ordering};

/// Bits of `cpuid`, and of the register that says which vectors the operating system saves.
struct Cpu {
    leaf1_ecx: u32,
    leaf7_ebx: u32,
    leaf7_ecx: u32,
    leaf7_1_eax: u32,
    saved: u64,
}

fn cpu() -> Cpu {
    let most = __cpuid_count(0, 0).eax;
    let leaf = |leaf: u32, sub: u32| (most >= leaf).then(|| __cpuid_count(leaf, sub));
    let [one, seven] = [leaf(1, 0), leaf(7, 0)];
    let seven_1 = seven.filter(|seven| seven.eax >= 1).and_then(|_| leaf(7, 1));
    let leaf1_ecx = one.map_or(0, |one| one.ecx);
    const OSXSAVE: u32 = 1 << 27;
    // SAFETY: the bit says that the operating system lets programs use `xgetbv`.
    let saved = if leaf1_ecx & OSXSAVE != 0 { unsafe { saved() } } else { 0 };
    Cpu {
        leaf1_ecx,
        leaf7_ebx: seven.map_or(0, |seven| seven.ebx),
        leaf7_ecx: seven.map_or(0, |seven| seven.ecx),
        leaf7_1_eax: seven_1.map_or(0, |seven| seven.eax),
        saved,
    }
}

/// Which registers the operating system saves.
#[target_feature(enable = "xsave")]
fn saved() -> u64 {
    // SAFETY: register 0 is always there.
    unsafe { _xgetbv(0) }
}

fn all(word: u32, bits: &[u32]) -> bool {
    bits.iter().all(|bit| word & (1 << bit) != 0)
}

impl Cpu {
    /// AVX, AVX2 and FMA, and 256-bit registers saved.
    fn avx2(&self) -> bool {
        all(self.leaf1_ecx, &[12, 28]) && all(self.leaf7_ebx, &[5]) && self.saved & 0x6 == 0x6
    }
}

pub(crate) fn has_avx2() -> bool {
    cpu().avx2()
}

pub(crate) fn has_avx_vnni() -> bool {
    let cpu = cpu();
    cpu.avx2() && all(cpu.leaf7_1_eax, &[4])
}

/// AVX-512 F, DQ, BW, VL and VNNI, and 512-bit registers and masks saved.
pub(crate) fn has_avx512_vnni() -> bool {
    let cpu = cpu();
    cpu.avx2() && all(cpu.leaf7_ebx, &[16, 17, 30, 31]) && all(cpu.leaf7_ecx, &[11]) && cpu.saved & 0xe6 == 0xe6
}

/// AVX-512 VBMI, for tables of bytes; asked once, as virtual machines answer `cpuid` slowly.
pub(crate) fn has_avx512_vbmi() -> bool {
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    let known = ANSWER.load(Ordering::Relaxed);
    if known != 0 {
        return known == 2;
    }
    let has = all(cpu().leaf7_ecx, &[1]);
    ANSWER.store(1 + u8::from(has), Ordering::Relaxed);
    has
}
