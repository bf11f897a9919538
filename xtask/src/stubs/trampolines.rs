//! Writes trampolines in x86-64 assembly: one for each function of a library.
//!
//! A function is a jump through its slot. A slot starts at code that asks `RESOLVE(index)` for the real address, keeps it in the slot and
//! goes there with all arguments as they were: six integer and eight vector registers, the count of vector registers in `rax`, and
//! the stack. CUDA's functions take no vector wider than a `double`, so the lower halves of the registers are enough. The names are
//! hidden, so that NVIDIA's libraries find each other's functions and not the trampolines.

use std::fmt::Write;

/// Integer registers that may hold arguments.
const INTEGERS: [&str; 7] = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"];

/// Bytes below `rbp`: eight vector registers, the integer registers, the index, and what keeps the stack aligned to 16.
const FRAME: usize = 8 * 16 + 8 * 8;

/// The trampolines of `names`, which ask the function `resolve`.
pub(super) fn assembly(names: &[&str], resolve: &str) -> String {
    let mut text = String::from("    .section .note.GNU-stack, \"\", @progbits\n    .text\n");
    for (index, name) in names.iter().enumerate() {
        text += &trampoline(index, name);
    }
    text += &first_call(resolve);
    text += "    .section .data.rel.local, \"aw\"\n    .balign 8\n.Lslots:\n";
    for index in 0..names.len() {
        writeln!(text, "    .quad .Lfirst{index}").unwrap_or_default();
    }
    text
}

fn trampoline(index: usize, name: &str) -> String {
    let slot = 8 * index;
    format!(
        "    .globl {name}
    .hidden {name}
    .type {name}, @function
{name}:
    .cfi_startproc
    endbr64
    jmp *.Lslots+{slot}(%rip)
.Lfirst{index}:
    endbr64
    movl ${index}, %r11d
    jmp .Lfirst_call
    .cfi_endproc
    .size {name}, .-{name}
"
    )
}

/// Entered with the index in `r11`, which no argument uses, and the stack as the caller left it.
fn first_call(resolve: &str) -> String {
    let vectors = |order: &dyn Fn(usize, usize) -> String| (0..8).map(|i| order(i, 16 * i)).collect::<String>();
    let integers = |order: &dyn Fn(&str, usize) -> String| {
        INTEGERS.iter().enumerate().map(|(i, name)| order(name, 128 + 8 * i)).collect::<String>()
    };
    let index = FRAME - 8;
    let save_vectors = vectors(&|i, at| format!("    movaps %xmm{i}, {at}(%rsp)\n"));
    let save_integers = integers(&|name, at| format!("    movq %{name}, {at}(%rsp)\n"));
    let restore_vectors = vectors(&|i, at| format!("    movaps {at}(%rsp), %xmm{i}\n"));
    let restore_integers = integers(&|name, at| format!("    movq {at}(%rsp), %{name}\n"));
    format!(
        ".Lfirst_call:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    subq ${FRAME}, %rsp
{save_vectors}{save_integers}    movq %r11, {index}(%rsp)
    movl %r11d, %edi
    call {resolve}
    movq %rax, %r11
    movq {index}(%rsp), %rdi
    leaq .Lslots(%rip), %rsi
    movq %r11, (%rsi,%rdi,8)
{restore_vectors}{restore_integers}    leave
    .cfi_def_cfa %rsp, 8
    jmp *%r11
    .cfi_endproc
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trampoline_jumps_through_its_slot_and_starts_with_its_index() {
        let expected = "    .globl cuInit
    .hidden cuInit
    .type cuInit, @function
cuInit:
    .cfi_startproc
    endbr64
    jmp *.Lslots+24(%rip)
.Lfirst3:
    endbr64
    movl $3, %r11d
    jmp .Lfirst_call
    .cfi_endproc
    .size cuInit, .-cuInit
";
        assert_eq!(trampoline(3, "cuInit"), expected);
    }

    #[test]
    fn every_function_has_a_slot_and_every_saved_register_comes_back() {
        let text = assembly(&["cuInit", "cuDeviceGet"], "resolve_cuda");
        assert!(text.ends_with(".Lslots:\n    .quad .Lfirst0\n    .quad .Lfirst1\n"), "{text}");
        let saved = |line: &&str| line.contains("(%rsp)") && line.trim().starts_with("mov");
        // Eight vectors, seven integers and the index, each out and back.
        assert_eq!(text.lines().filter(saved).count(), 2 * 16);
        assert!(text.contains("    call resolve_cuda\n"));
    }
}
