//! The metrics of this process, read from `/proc` at each scrape, under the names that Prometheus
//! clients agree on. Where `/proc` is absent, so are they.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::Registry;
use crate::registry::Read;

/// Indexes for [`stat`]: field numbers of proc(5), of which the first after the name is 3.
const USER_TIME: usize = 14 - 3;
const SYSTEM_TIME: usize = 15 - 3;
const THREADS: usize = 20 - 3;
const START_TIME: usize = 22 - 3;
const VIRTUAL_BYTES: usize = 23 - 3;
const RESIDENT_PAGES: usize = 24 - 3;

/// Registers the metrics of this process: memory, CPU, threads, file descriptors.
pub fn register(registry: &Registry) {
    let ticks = clock_ticks_per_second() as f64;
    let page_bytes = page_size() as f64;
    let (Some(boot), Some(start)) = (boot_time(), stat(START_TIME)) else { return };
    registry.process_counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Box::new(move || (number(USER_TIME) + number(SYSTEM_TIME)) / ticks),
    );
    let start_seconds = (boot + start / ticks).floor();
    let gauges: [(&str, &str, Read<f64>); 6] = [
        ("process_open_fds", "Number of open file descriptors.", Box::new(open_files)),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            Box::new(|| {
                getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |max| max as f64)
            }),
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            Box::new(|| number(VIRTUAL_BYTES)),
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            Box::new(move || number(RESIDENT_PAGES) * page_bytes),
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            Box::new(move || start_seconds),
        ),
        ("process_threads", "Number of OS threads in the process.", Box::new(|| number(THREADS))),
    ];
    for (name, help, read) in gauges {
        registry.process_gauge(name, help, read);
    }
}

/// Returns a field of `/proc/self/stat`. The second one, the name, may hold spaces and parentheses, so
/// the fields are counted from its end.
fn stat(index: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(index)?.parse().ok()
}

fn number(index: usize) -> f64 {
    stat(index).unwrap_or_default()
}

/// Returns the time at which the system started, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Counts the open file descriptors, without the one that reads their directory.
fn open_files() -> f64 {
    fs::read_dir("/proc/self/fd").map_or(0.0, |files| files.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    fn registered() -> Registry {
        let registry = Registry::new();
        register(&registry);
        registry
    }

    fn value(registry: &Registry, name: &str) -> f64 {
        let text = registry.expose();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }

    #[test]
    fn memory_and_files_grow_with_the_process() {
        let registry = registered();
        let resident = value(&registry, "process_resident_memory_bytes");
        let files = value(&registry, "process_open_fds");
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let opened: Vec<_> = (0..100).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(value(&registry, "process_resident_memory_bytes") > resident + (32 << 20) as f64);
        assert!(value(&registry, "process_open_fds") > files + 50.0);
        assert!(value(&registry, "process_virtual_memory_bytes") > held.len() as f64);
        assert!(value(&registry, "process_max_fds") >= opened.len() as f64);
        assert!(value(&registry, "process_threads") >= 2.0);
    }

    #[test]
    fn cpu_time_is_counted_in_seconds() {
        let registry = registered();
        let before = value(&registry, "process_cpu_seconds_total");
        let mut state = 1_u64;
        let spent = loop {
            for _ in 0..1_000_000 {
                state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005));
            }
            let spent = value(&registry, "process_cpu_seconds_total") - before;
            if spent > 0.0 {
                break spent;
            }
        };
        // A tick is a hundredth of a second; other tests run beside this one.
        assert!(spent < 10.0, "{spent}");
    }

    #[test]
    fn the_start_of_the_process_is_in_the_recent_past() {
        let start = value(&registered(), "process_start_time_seconds");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start;
        assert!((-2.0..Duration::from_hours(1).as_secs_f64()).contains(&age), "{age}");
    }
}
