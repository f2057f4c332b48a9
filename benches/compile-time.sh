#!/usr/bin/env bash
# Compile time of 500 annotated functions, compared with 500 with `#[tracing::instrument]` and 500 plain ones:
# wall time of `cargo check` and `cargo build` of each crate, with its dependencies already built. The target is at
# most 2x tracing.
#
#   benches/compile-time.sh [functions] [runs]
set -euo pipefail

functions=${1:-500}
runs=${2:-5}
repository=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Of five functions one is generic, one borrows, and one returns a `Result`, as in a typical program.
write_crate() { # name, attribute, dependency
    local crate=$work/$1 attribute=$2 dependency=$3
    mkdir -p "$crate/src"
    cat > "$crate/Cargo.toml" <<TOML
[package]
name = "compile-time-$1"
version = "0.0.0"
edition = "2024"

[dependencies]
$dependency
TOML
    for ((n = 0; n < functions; n++)); do
        echo "$attribute"
        case $((n % 5)) in
            0) echo "pub fn f$n(a: u64, b: u64) -> u64 { a.wrapping_mul(b).wrapping_add($n) }" ;;
            1) echo "pub fn f$n(words: &[String]) -> usize { words.iter().map(String::len).sum::<usize>() + $n }" ;;
            2) echo "pub fn f$n(a: i32) -> Result<i32, String> {"
                echo "    a.checked_add($n).ok_or_else(|| String::from(\"too large\"))"
                echo "}" ;;
            3) echo "pub fn f$n<T: Clone + Send + std::fmt::Debug>(value: T) -> Vec<T> { vec![value; $n] }" ;;
            4) echo "pub fn f$n(mut numbers: Vec<u64>) -> Vec<u64> { numbers.push($n); numbers }" ;;
        esac
    done > "$crate/src/lib.rs"
}

tracing=$(sed -n '/name = "tracing"$/{n;s/version = "\(.*\)"/\1/p}' "$repository/Cargo.lock" | head -1)
write_crate plain "" ""
write_crate tracing "#[tracing::instrument]" "tracing = \"=${tracing:-0.1}\""
write_crate fanfold '#[fanfold::parallel(kind = "cpu")]' "fanfold = { path = \"$repository/runtime\" }"
printf '[workspace]\nresolver = "3"\nmembers = ["plain", "tracing", "fanfold"]\n' > "$work/Cargo.toml"
cp "$repository/Cargo.lock" "$work/Cargo.lock"
cd "$work"

# The fastest of several runs, in milliseconds: other load only adds time.
best() { # command, crate
    local least=
    for ((run = 0; run < runs; run++)); do
        touch "$2/src/lib.rs"
        local start end
        start=$(date +%s%N)
        cargo "$1" --quiet --package "compile-time-$2"
        end=$(date +%s%N)
        local took=$(((end - start) / 1000000))
        if [[ -z $least || $took -lt $least ]]; then least=$took; fi
    done
    echo "$least"
}

for command in check build; do
    cargo $command --quiet --workspace
    plain=$(best $command plain)
    traced=$(best $command tracing)
    fanned=$(best $command fanfold)
    awk -v c="$command" -v n="$functions" -v p="$plain" -v t="$traced" -v f="$fanned" 'BEGIN {
        printf "cargo %-5s %d functions: plain %d ms, tracing %d ms, fanfold %d ms: ", c, n, p, t, f
        printf "%.2fx tracing\n", f / t
    }'
done
