//! The program of the target that the variable `FUZZ_TARGET` names: the fuzzer under cargo-fuzz, else a
//! program that feeds files to the target, which needs no nightly compiler.
#![cfg_attr(fuzzing, no_main)]

use fuzz::{TARGETS, Target};

/// Reads the name of the target from the environment.
fn target() -> Target {
    let name = std::env::var_os("FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    name.to_str().and_then(Target::named).unwrap_or_else(|| {
        eprintln!("fuzz: FUZZ_TARGET is {name:?}; it must be one of {}", names());
        std::process::exit(2);
    })
}

#[cfg(fuzzing)]
static TARGET: std::sync::LazyLock<Target> = std::sync::LazyLock::new(target);

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let target = target();
    for file in std::env::args_os().skip(1) {
        (target.run)(&std::fs::read(&file)?);
        println!("{}: {} holds", file.display(), target.name);
    }
    Ok(())
}
