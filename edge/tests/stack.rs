//! No loop of a tile, a strip or a transform stores a vector to the stack, by the disassembly of this test itself: they are as
//! large as the registers allow, and one vector more would halve their speed without any other sign.
#![cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_os = "linux", not(debug_assertions)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use attar_edge::{Level, Model};

/// Where tiles are: paths of functions contain one of these.
const TILES: &[&str] = if cfg!(target_arch = "x86_64") {
    &[
        "attar_edge::level::x86::dense_u8::",
        "attar_edge::level::x86::dense_f32::tiles::",
        "attar_edge::level::x86::depthwise_u8::",
        "attar_edge::level::x86::depthwise_f32::tiles::",
        "attar_edge::level::x86::winograd::",
    ]
} else {
    &["attar_edge::level::arm::dense::", "attar_edge::level::arm::depthwise::"]
};

/// Instructions of products; the transforms of Winograd's method have some, too.
const PRODUCTS: &[&str] = if cfg!(target_arch = "x86_64") {
    &["vfmadd", "vfnmadd", "vpdpbusd", "vpmaddwd", "vpmaddubsw", "vpmulld"]
} else {
    &["fmla", "sdot", "smlal", "smull"]
};

/// What `objdump` prints of this program; without it, a miss that is said, and a failure in CI.
fn disassembly() -> Option<String> {
    let program = std::env::current_exe().unwrap();
    // Another one where this program is for another CPU than the machine's.
    let objdump = std::env::var_os("ATTAR_OBJDUMP").unwrap_or_else(|| "objdump".into());
    let printed = Command::new(objdump).args(["-d", "-C", "--no-show-raw-insn"]).arg(program).output();
    if let Ok(printed) = printed.as_ref()
        && printed.status.success()
    {
        return Some(String::from_utf8_lossy(&printed.stdout).into_owned());
    }
    let line = "tool: edge/tests/stack.rs: objdump";
    eprintln!("did not run: {line}");
    if let Some(file) = std::env::var_os("ATTAR_MISSED_TESTS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        writeln!(file.unwrap(), "{line}").unwrap();
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have objdump: {printed:?}");
    None
}

/// Whether an instruction stores a vector to the stack: on x86-64 of 256 or 512 bits.
fn stores_to_stack(text: &str) -> bool {
    if cfg!(target_arch = "aarch64") {
        let Some((name, operands)) = text.split_once(char::is_whitespace) else { return false };
        let vector = operands.trim_start().trim_start_matches('{').trim_start().starts_with(['q', 'd', 'v']);
        return name.starts_with("st") && vector && operands.contains("[sp");
    }
    let Some((register, place)) = text.strip_prefix("vmov").and_then(|operands| operands.split_once(',')) else {
        return false;
    };
    (register.contains("%ymm") || register.contains("%zmm")) && place.contains("(%rsp")
}

/// An instruction: its address, and its text behind that.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.trim_start().split_once(":\t")?;
    // So are instructions of AVX-VNNI marked.
    let text = text.strip_prefix("{vex} ").unwrap_or(text);
    Some((u64::from_str_radix(address, 16).ok()?, text))
}

/// Where a jump leads, if it is one: its last operand, before the name of the place.
fn target(text: &str) -> Option<u64> {
    let jumps: &[&str] = if cfg!(target_arch = "x86_64") { &["j"] } else { &["b.", "b\t", "cb", "tb"] };
    let jumps = jumps.iter().any(|jump| text.starts_with(jump));
    let operand = text.split(" <").next().filter(|_| jumps)?.split_whitespace().last()?;
    u64::from_str_radix(operand, 16).ok()
}

/// Stores of vectors to the stack in loops that multiply and add. What a tile does once, at its end, is not in them.
fn in_loops<'t>(function: &[(u64, &'t str)]) -> Vec<&'t str> {
    let mut found = Vec::new();
    for (from, jump) in function {
        let Some(to) = target(jump).filter(|to| to <= from) else { continue };
        let body: Vec<_> = function.iter().filter(|(at, _)| (to..=*from).contains(at)).copied().collect();
        if multiplies(&body) {
            found.extend(body.iter().map(|(_, text)| *text).filter(|text| stores_to_stack(text)));
        }
    }
    found
}

/// Whether there are instructions of products among them.
fn multiplies(function: &[(u64, &str)]) -> bool {
    function.iter().any(|(_, text)| PRODUCTS.iter().any(|product| text.starts_with(product)))
}

#[test]
fn no_tile_stores_vectors_to_the_stack() {
    // All levels' tables, and with them their tiles, are part of this program.
    let plan = std::hint::black_box(Vec::new());
    assert!(Model::load(&plan).and_then(|model| model.memory(Level::best())).is_err());
    let Some(text) = disassembly() else { return };
    // By address, as functions of several shapes have the same name.
    let (mut tiles, mut here) = (BTreeMap::<(&str, &str), Vec<(u64, &str)>>::new(), None);
    for line in text.lines() {
        if let Some((address, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            here = TILES.iter().any(|part| name.contains(part)).then_some((name, address));
        } else if let (Some(here), Some(instruction)) = (here, instruction(line)) {
            tiles.entry(here).or_default().push(instruction);
        }
    }
    for part in TILES {
        let with_products = tiles.iter().filter(|((name, _), function)| name.contains(part) && multiplies(function));
        assert!(with_products.count() >= 4, "{part} has no tiles: {:?}", tiles.keys());
    }
    let stores = |function: &[_]| in_loops(function).iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = tiles.iter().map(|(name, function)| (name, stores(function))).filter(|(_, stores)| !stores.is_empty());
    assert_eq!(found.collect::<Vec<_>>(), []);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_store_to_the_stack_is_seen() {
    assert!(stores_to_stack("vmovups %zmm16,0x40(%rsp)") && stores_to_stack("vmovdqa64 %ymm1,(%rsp,%rax,1)"));
    assert!(!stores_to_stack("vmovups 0x40(%rsp),%zmm16") && !stores_to_stack("vmovups %zmm16,0x40(%rdi)"));
    let tile = |store: &str| {
        let text = format!(
            "  10:\tvmovups %ymm1,(%rsp)\n  20:\tvfmadd231ps %ymm0,%ymm1,%ymm2\n{store}  40:\tjne    20 <f+0x10>"
        );
        let lines: Vec<_> = text.lines().map(|line| instruction(line).unwrap()).collect();
        in_loops(&lines).len()
    };
    assert_eq!((tile(""), tile("  30:\tvmovups %ymm1,(%rsp)\n")), (0, 1));
    assert!(multiplies(&[instruction(" 8:\t{vex} vpdpbusd (%rax),%ymm0,%ymm1").unwrap()]));
}

#[cfg(target_arch = "aarch64")]
#[test]
fn a_store_to_the_stack_is_seen() {
    assert!(stores_to_stack("str\tq1, [sp, #16]") && stores_to_stack("stp\tq1, q2, [sp]"));
    assert!(
        !stores_to_stack("ldr\tq1, [sp, #16]")
            && !stores_to_stack("str\tx1, [sp]")
            && !stores_to_stack("str\tq1, [x2]")
    );
    let tile = |store: &str, jump: &str| {
        let text = format!(
            "  10:\tstr\tq1, [sp]\n  20:\tsdot\tv0.4s, v1.16b, v2.4b[0]\n{store}  40:\t{jump}20 <f+0x10>  // b.any"
        );
        let lines: Vec<_> = text.lines().map(|line| instruction(line).unwrap()).collect();
        in_loops(&lines).len()
    };
    for jump in ["b.ne\t", "cbnz\tx8, ", "tbz\tw8, #3, "] {
        assert_eq!((tile("", jump), tile("  30:\tstr\tq1, [sp]\n", jump)), (0, 1), "{jump}");
    }
}
