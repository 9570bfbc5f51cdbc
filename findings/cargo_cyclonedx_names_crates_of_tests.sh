#!/usr/bin/env bash
# cargo-cyclonedx 0.5.9: the bill of materials of a program names crates that only its tests build.
#
# A test asks for a feature of a library that the program uses, too, and the feature brings a crate. `cargo build` leaves the
# feature out of the program (resolver 2 and later), and `cargo tree --edges normal` does not show the crate. The bill of
# materials names it, although `cargo cyclonedx` promises to omit what only development needs: it reads `cargo metadata`, whose
# graph joins the features of the whole workspace. A scanner then reports faults of crates that are in no binary.
# CycloneDX/cyclonedx-rust-cargo#760 names the same cause for crates of build scripts.
#
# Seen on 2026-11-28, cargo-cyclonedx 0.5.9, cargo 1.95.0, twice:
#   cargo tree: library program
#   bill of materials: fastrand library program
#
# Needs cargo, and cargo-cyclonedx 0.5.9, which the script builds if it is missing. Exits with an error if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ "$(cargo-cyclonedx cyclonedx --version 2>/dev/null)" != "cargo-cyclonedx-cyclonedx 0.5.9" ]; then
    cargo install --quiet --locked --root . --version 0.5.9 cargo-cyclonedx
    PATH=$folder/bin:$PATH
fi
mkdir -p library/src program/src
cat >Cargo.toml <<'TOML'
[workspace]
resolver = "3"
members = ["library", "program"]
TOML
cat >library/Cargo.toml <<'TOML'
[package]
name = "library"
version = "0.0.0"
edition = "2024"
[dependencies]
fastrand = { version = "2", optional = true }
[features]
testing = ["dep:fastrand"]
TOML
cat >program/Cargo.toml <<'TOML'
[package]
name = "program"
version = "0.0.0"
edition = "2024"
[dependencies]
library = { path = "../library" }
[dev-dependencies]
library = { path = "../library", features = ["testing"] }
TOML
touch library/src/lib.rs
echo 'fn main() {}' >program/src/main.rs
cargo generate-lockfile --quiet
cargo cyclonedx --manifest-path program/Cargo.toml --format json --override-filename bill --quiet
{
    echo "cargo tree:" "$(cargo tree --package program --edges normal --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u | xargs)"
    echo "bill of materials:" "$(python3 -c '
import json
bill = json.load(open("program/bill.json"))
print(*sorted(part["name"] for part in [*bill["components"], bill["metadata"]["component"]]))')"
} | tee out
diff - out <<'EXPECTED'
cargo tree: library program
bill of materials: fastrand library program
EXPECTED
