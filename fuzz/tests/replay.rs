//! Feeds every target the files of its corpus, and mutations of them that are the same in every run:
//! the part of fuzzing that needs no fuzzer.

use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// Largest file of the corpus, in bytes, and most files of a target: it stays quick to read and replay.
const FILE_BYTES_MAX: usize = 16 * 1024;
const FILES_MAX: usize = 100;
/// Mutations of each file.
const MUTATIONS: u64 = 40;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> =
        files.map(|file| file.expect("a folder that can be read").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file that can be read");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_target_has_a_corpus_of_a_small_size() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!((1..=FILES_MAX).contains(&files.len()), "{}: {} files", target.name, files.len());
        for (path, bytes) in files {
            assert!(bytes.len() <= FILE_BYTES_MAX, "{}: {} bytes", path.display(), bytes.len());
        }
    }
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = folder.unwrap().file_name();
        assert!(
            TARGETS.iter().any(|target| target.name == name),
            "no target has the name {name:?}"
        );
    }
}

#[test]
fn the_properties_hold_for_the_corpus_and_its_mutations() {
    for target in TARGETS {
        let files = corpus(target.name);
        for (at, (path, bytes)) in files.iter().enumerate() {
            run(target, path, "as it is", bytes);
            let other = &files[(at * 7 + 1) % files.len()].1;
            for seed in 0..MUTATIONS {
                let changed = mutated(bytes, other, seed);
                run(target, path, &format!("mutation {seed}"), &changed);
            }
        }
    }
}

/// Runs a target, and names the input before a panic goes on.
fn run(target: &Target, path: &Path, change: &str, bytes: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| (target.run)(bytes));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("{} fails with {}, {change}: {bytes:?}", target.name, path.display());
        std::panic::resume_unwind(panic);
    }
}

/// Changes some bytes, cuts some out, repeats some, or goes on with those of another file.
fn mutated(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut random = |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).expect("31 bits") % below.max(1)
    };
    let mut changed = bytes.to_vec();
    for _ in 0..=random(3) {
        let at = random(changed.len() + 1);
        let end = at + random(changed.len() - at + 1);
        match random(5) {
            0 if at < changed.len() => changed[at] ^= 1 << random(8),
            1 if at < changed.len() => changed[at] = b"\0\r\n: ,-{}[]\"\xff\x80"[random(14)],
            2 => drop(changed.drain(at..end)),
            3 => changed.splice(at..at, bytes[..end.min(bytes.len())].to_vec()).for_each(drop),
            _ => changed.splice(at.., other[random(other.len() + 1)..].to_vec()).for_each(drop),
        }
    }
    changed
}
