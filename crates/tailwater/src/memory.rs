//! The memory that this process may use: the least of its control groups' limits and the machine's
//! memory.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Memory that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    /// In bytes, above 0.
    pub(crate) bytes: u64,
    /// The thing that sets it.
    pub(crate) source: MemorySource,
}

/// The thing that limits the memory of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemorySource {
    /// A control group, as of a container or a systemd unit.
    Group,
    /// The machine has no more.
    Machine,
    /// The system tells neither, so a number is assumed.
    Assumed,
}

/// Memory where the system tells none, in bytes: that of a small virtual machine.
const ASSUMED: u64 = 2 << 30;
/// Directory of the unified hierarchy of control groups (version 2).
const UNIFIED: &str = "/sys/fs/cgroup";
/// Directory of the memory hierarchy of version 1.
const MEMORY_V1: &str = "/sys/fs/cgroup/memory";

impl MemoryLimit {
    /// Reads the limit of this process.
    pub(crate) fn read() -> Self {
        Self::of(|path| std::fs::read_to_string(path).ok())
    }

    /// Finds the limit in the files of a system, each `None` if it cannot be read.
    fn of(read: impl Fn(&Path) -> Option<String>) -> Self {
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let group = groups.lines().flat_map(limit_files).filter_map(|file| {
            // `max` stands for no limit in version 2.
            read(&file)?.trim().parse().ok().filter(|bytes| *bytes > 0)
        });
        let group = group.min().map(|bytes| Self { bytes, source: MemorySource::Group });
        let machine = read(Path::new("/proc/meminfo")).and_then(|info| total(&info));
        let machine = machine.map(|bytes| Self { bytes, source: MemorySource::Machine });
        // Version 1 writes a number near 2^63 for no limit.
        let least = [machine, group].into_iter().flatten().min_by_key(|limit| limit.bytes);
        least.unwrap_or(Self { bytes: ASSUMED, source: MemorySource::Assumed })
    }
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "of the control group",
            Self::Machine => "of the machine",
            Self::Assumed => "assumed, as the system tells none",
        })
    }
}

/// Returns the files that may limit the memory of a process with this line in `/proc/self/cgroup`: those
/// of its group and of all groups around it. A container often sees its own group as the root.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, file) = match controllers {
        "" => (UNIFIED, "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (MEMORY_V1, "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let names = Path::new(group).components();
    // A group outside of this namespace begins with `..`, and its files cannot be seen.
    let names = names.filter(|name| matches!(name, Component::Normal(_)));
    let own: PathBuf = names.collect();
    own.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

/// Reads the line `MemTotal:  16384 kB`.
fn total(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\n");
    const GROUP: &str = "/proc/self/cgroup";

    fn limit(files: &[(&str, &str)]) -> MemoryLimit {
        MemoryLimit::of(|path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(file.1.to_owned())
        })
    }

    fn group(bytes: u64) -> MemoryLimit {
        MemoryLimit { bytes, source: MemorySource::Group }
    }

    #[test]
    fn the_least_limit_of_the_groups_and_the_machine_counts() {
        let v2 = (GROUP, "0::/pod/container\n");
        let own = ("/sys/fs/cgroup/pod/container/memory.max", "4096\n");
        let outer = ("/sys/fs/cgroup/pod/memory.max", "2048\n");
        assert_eq!(limit(&[MEMINFO, v2, own]), group(4096));
        assert_eq!(limit(&[MEMINFO, v2, own, outer]), group(2048));
        let unlimited = ("/sys/fs/cgroup/pod/memory.max", "max\n");
        assert_eq!(limit(&[MEMINFO, v2, own, unlimited]), group(4096));
        let machine = MemoryLimit { bytes: 1 << 20, source: MemorySource::Machine };
        assert_eq!(limit(&[MEMINFO, v2, unlimited]), machine);
        assert_eq!(limit(&[MEMINFO]), machine);
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root_of_its_namespace() {
        let root = ("/sys/fs/cgroup/memory.max", "4096");
        assert_eq!(limit(&[MEMINFO, (GROUP, "0::/"), root]), group(4096));
        assert_eq!(limit(&[MEMINFO, (GROUP, "0::/../../other"), root]), group(4096));
    }

    #[test]
    fn the_first_version_of_control_groups_is_read_too() {
        let lines = (GROUP, "12:cpu,cpuacct:/a\n5:memory:/docker/x\n0::/system.slice\n");
        let own = ("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "8192\n");
        assert_eq!(limit(&[MEMINFO, lines, own]), group(8192));
        let seen_inside = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
        assert_eq!(limit(&[MEMINFO, lines, seen_inside]), group(4096));
        let none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(limit(&[MEMINFO, lines, none]).source, MemorySource::Machine);
    }

    #[test]
    fn a_system_that_tells_nothing_gets_an_assumed_limit() {
        let assumed = MemoryLimit { bytes: ASSUMED, source: MemorySource::Assumed };
        assert_eq!(limit(&[]), assumed);
        assert_eq!(limit(&[("/proc/meminfo", "MemTotal: 0 kB")]), assumed);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_limit_above_zero(groups: String, info: String, max: String) {
            let read = |path: &Path| {
                Some(match path.to_str()? {
                    GROUP => format!("0::/a\n{groups}"),
                    "/proc/meminfo" => info.clone(),
                    _ => max.clone(),
                })
            };
            prop_assert!(MemoryLimit::of(read).bytes > 0);
        }

        #[test]
        fn no_group_leads_out_of_the_hierarchies(line in "[0-9]{1,2}:(memory)?:[/.a-z]{0,20}") {
            for file in limit_files(&line) {
                prop_assert!(file.starts_with(UNIFIED));
                prop_assert!(file.components().all(|name| name != Component::ParentDir));
            }
        }
    }
}
