#!/usr/bin/env bash
# What `cargo xtask neon` needs, on a Debian of x86-64 without rustup and without root: a Rust compiler with the standard library
# of AArch64, a linker, objdump and qemu, taken from Debian's packages and unpacked into a folder (1.3 GB); nothing is installed.
#
#     bash tools/cross-aarch64.sh [FOLDER]        # target/cross, where the chore looks
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-target/cross}")
mkdir -p "$folder"/{lists/partial,cache,packages,root,bin}

apt=(-o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::Lists="$folder/lists"
    -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update --quiet

# The newest Rust of Debian's, whose libraries belong to exactly this version of it.
version=$(apt-cache "${apt[@]}" policy rustc-web | awk '/Candidate/ { print $2 }')
[[ $version == *.*.* ]] || { echo "error: this Debian has no package rustc-web" >&2; exit 2; }
runtime=libstd-rust-web-$(cut -d. -f1,2 <<<"$version")
llvm=$(apt-cache "${apt[@]}" show "$runtime:amd64=$version" | grep --only-matching 'libllvm[0-9]*' | head -n 1)
cd "$folder/packages"
apt-get "${apt[@]}" download "rustc-web=$version" "$runtime:amd64=$version" "libstd-rust-web-dev:amd64=$version" \
    "libstd-rust-web-dev:arm64=$version" "$llvm:amd64" binutils-aarch64-linux-gnu gcc-12-aarch64-linux-gnu \
    cpp-12-aarch64-linux-gnu gcc-12-aarch64-linux-gnu-base gcc-12-cross-base libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross \
    libc6-arm64-cross libc6-dev-arm64-cross linux-libc-dev-arm64-cross libcapstone4 qemu-user
for package in *.deb; do dpkg -x "$package" "$folder/root"; done

# Programs that find their own libraries.
root=$folder/root
program() {
    printf '#!/bin/sh\nexec env LD_LIBRARY_PATH=%s %s "$@"\n' "$root/usr/lib/x86_64-linux-gnu" "$2" >"$folder/bin/$1"
    chmod +x "$folder/bin/$1"
}
cross=$root/usr/aarch64-linux-gnu
program rustc "$root/usr/bin/rustc --sysroot $root/usr"
program aarch64-linux-gnu-gcc "$root/usr/bin/aarch64-linux-gnu-gcc-12 --sysroot=$root -B$cross/bin -B$cross/lib -L$cross/lib"
program aarch64-linux-gnu-objdump "$root/usr/bin/aarch64-linux-gnu-objdump"
program qemu-aarch64 "$root/usr/bin/qemu-aarch64"
echo "$folder/bin: $(ls "$folder/bin" | tr '\n' ' ')"
