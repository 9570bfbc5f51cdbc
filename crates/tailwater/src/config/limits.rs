//! The bounds of a node on what clients can hold.

use anyhow::{Context as _, Result, ensure};
use limits::{AddressShare, Proxies, Rules};
use metrics::Registry;

use crate::args::{LimitArgs, Size};
use crate::memory::MemoryLimit;
use crate::server::Gate;

/// The bounds of a node on what its clients can hold.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) proxies: Proxies,
    pub(crate) share: AddressShare,
    /// Bytes for clients: pages that they do not take, bodies that they do not finish.
    pub(crate) memory: u64,
    /// Open connections on `--listen`.
    pub(crate) max_open: usize,
    /// True if each connection on `--listen` begins with the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The memory that this process may use.
    pub(crate) process: MemoryLimit,
    /// The files that this process may open.
    files: usize,
}

/// Open files kept for the log's connections, the admin port, and sockets that are closing.
const FILES_RESERVED: usize = 256;
/// The part of a small limit of open files that is kept instead: a quarter.
const FILES_RESERVED_PART: usize = 4;
/// The part of the process's memory that is the budget for clients: a quarter.
const BUDGET_PART: u64 = 4;
/// The part of the process's memory that subscriptions take by default: half.
const SUBSCRIPTIONS_PART: u64 = 2;
/// Memory of an idle subscription over HTTP/2 and TLS, the dearest, with a reserve, in bytes
/// (docs/performance.md).
const SUBSCRIPTION_BYTES: u64 = 16 * 1024;
/// Memory of an idle subscription in clear, the cheapest, in bytes.
const SUBSCRIPTION_BYTES_MIN: u64 = 2560;
/// The least that one connection must have of the memory, in bytes: a page, or the largest batch in a
/// buffer that has doubled.
const CONNECTION_BYTES_MIN: u64 = 2 << 20;

impl Limits {
    /// Validates the flags and raises the limit of open files as far as allowed.
    pub(super) fn new(args: &LimitArgs) -> Result<Self> {
        let process = MemoryLimit::read();
        let files = usize::try_from(open_files_max()?).unwrap_or(usize::MAX);
        let most = most_open(files);
        let max_open = args.max_open.unwrap_or(most);
        ensure!(
            (1..=most).contains(&max_open),
            "--max-open is {max_open}; it must be 1 to {most}, as this process may open {files} files \
             (ulimit -n)"
        );
        let memory = match args.memory_budget {
            Some(size) => u64::try_from(size.0).unwrap_or(u64::MAX),
            None => process.bytes / BUDGET_PART,
        };
        ensure!(
            (1..=process.bytes).contains(&memory),
            "--memory-budget is {}; it must be 1 to {}, the memory {}",
            Size::of(memory),
            Size::of(process.bytes),
            process.source
        );
        let limits = Self {
            proxies: proxies(&args.trusted_proxies)?,
            share: args.address_share,
            memory,
            max_open,
            proxy_protocol: args.proxy_protocol,
            process,
            files,
        };
        limits.ensure_holds("a page or a batch", CONNECTION_BYTES_MIN)?;
        Ok(limits)
    }

    /// The rules of a node, whose metrics are registered in `registry`.
    pub(crate) fn rules(&self, registry: &Registry) -> Rules {
        Rules::new(self.proxies.clone(), self.share, self.memory, registry)
    }

    /// The gate of `--listen`, whose metrics are registered in `registry`.
    pub(crate) fn gate(&self, rules: &Rules, has_subscribers: bool, registry: &Registry) -> Gate {
        Gate::public(rules, self.max_open, self.proxy_protocol, has_subscribers, registry)
    }

    /// Fails unless one connection may hold so many bytes of something.
    pub(super) fn ensure_holds(&self, thing: &str, bytes: u64) -> Result<()> {
        let rules = self.rules(&Registry::new());
        let terms = rules.memory.terms();
        let most = terms.connection_max.unwrap_or(terms.address_max);
        ensure!(
            bytes <= most,
            "--memory-budget {} with --address-share {} leaves {most} bytes for one connection, but \
             {thing} needs {bytes}",
            Size::of(self.memory),
            self.share
        );
        Ok(())
    }

    /// Returns the number of subscriptions: the given one, or what files and memory allow.
    pub(super) fn subscriptions(&self, given: Option<usize>) -> Result<usize> {
        let most = most_open(self.files);
        let of_memory = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let by_memory = of_memory(self.process.bytes / SUBSCRIPTIONS_PART / SUBSCRIPTION_BYTES);
        let number = given.unwrap_or_else(|| most.min(self.files / 10 * 9).min(by_memory).max(1));
        ensure!(
            (1..=most).contains(&number),
            "--max-connections is {number}; it must be 1 to {most}, as this process may open {} files \
             (ulimit -n)",
            self.files
        );
        let fits = of_memory(self.process.bytes / SUBSCRIPTION_BYTES_MIN);
        ensure!(
            number <= fits,
            "--max-connections is {number}; it must be 1 to {fits}, as an idle one takes \
             {SUBSCRIPTION_BYTES_MIN} bytes and the memory {} is {}",
            self.process.source,
            Size::of(self.process.bytes)
        );
        Ok(number)
    }

    /// Names the rule that bounds this number of subscriptions most tightly.
    pub(crate) fn rule_of(&self, subscriptions: usize) -> String {
        let memory = self.process.bytes / SUBSCRIPTIONS_PART;
        let Self { files, process, .. } = self;
        let by_memory = usize::try_from(memory / SUBSCRIPTION_BYTES).unwrap_or(usize::MAX);
        if subscriptions > by_memory {
            format!(
                "above half of the memory {} at {SUBSCRIPTION_BYTES} bytes each, {by_memory}",
                process.source
            )
        } else if subscriptions == by_memory {
            format!("half of the memory {} at {SUBSCRIPTION_BYTES} bytes each", process.source)
        } else {
            format!("within {files} open files (ulimit -n)")
        }
    }
}

/// Returns the most connections that a limit of open files allows.
fn most_open(files: usize) -> usize {
    files - FILES_RESERVED.min(files.div_ceil(FILES_RESERVED_PART))
}

fn proxies(networks: &[String]) -> Result<Proxies> {
    let names: Vec<&str> = networks.iter().map(|text| text.trim()).collect();
    if names == ["none"] {
        return Ok(Proxies::none());
    }
    Proxies::new(names).context("--trusted-proxies")
}

/// Raises the limit of open files as far as allowed, and returns the new limit.
fn open_files_max() -> Result<u64> {
    rlimit::increase_nofile_limit(rlimit::INFINITY).context("the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySource;

    fn limits(files: usize, memory: u64) -> Limits {
        Limits {
            proxies: Proxies::none(),
            share: AddressShare::default(),
            memory: memory / BUDGET_PART,
            max_open: most_open(files),
            proxy_protocol: false,
            process: MemoryLimit { bytes: memory, source: MemorySource::Group },
            files,
        }
    }

    #[test]
    fn files_are_kept_in_reserve_and_a_small_limit_keeps_a_part() {
        assert_eq!([100_000, 1024, 400, 1].map(most_open), [99_744, 768, 300, 0]);
    }

    #[test]
    fn the_tighter_of_files_and_memory_bounds_subscriptions() {
        let plenty = limits(10_000, 64 << 30);
        assert_eq!(plenty.subscriptions(None).unwrap(), 9000);
        assert!(plenty.rule_of(9000).contains("10000 open files"));
        let narrow = limits(1_000_000, 512 << 20);
        assert_eq!(narrow.subscriptions(None).unwrap(), 16_384);
        assert!(narrow.rule_of(16_384).starts_with("half of the memory of the control group"));
        assert!(narrow.rule_of(20_000).starts_with("above half of the memory"));
    }

    #[test]
    fn a_refusal_names_the_rule_and_its_number() {
        let files = limits(10_000, 64 << 30).subscriptions(Some(10_000)).unwrap_err().to_string();
        assert!(files.contains("1 to 9744") && files.contains("ulimit -n"), "{files}");
        let memory = limits(1_000_000, 256 << 20).subscriptions(Some(900_000));
        let memory = memory.unwrap_err().to_string();
        assert!(memory.contains("1 to 104857") && memory.contains("256MiB"), "{memory}");
    }

    #[test]
    fn one_connection_holds_the_largest_event_or_the_node_does_not_start() {
        let limits = limits(1000, 256 << 20);
        limits.ensure_holds("an event", 8 << 20).unwrap();
        let error = limits.ensure_holds("an event", (8 << 20) + 1).unwrap_err().to_string();
        assert!(error.contains("--memory-budget 64MiB"), "{error}");
    }

    #[test]
    fn the_word_none_trusts_nobody() {
        assert_eq!(proxies(&["none".to_owned()]).unwrap(), Proxies::none());
        assert!(proxies(&["none".to_owned(), "::1".to_owned()]).is_err());
    }
}
