//! The replicas of one primary, as the primary reports them.
//!
//! One report tells when each replica was last heard of, and how far it had come then. The reports of the last
//! seconds tell which replicas are behind by more than a bound.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use redis::RedisError;
use redis::aio::ConnectionLike;
use tokio::time::Instant;

use crate::address::Address;
use crate::server::info;

/// The longest time by which a replica may be behind its primary, and not be heard of, to be read from. A replica
/// reports its progress once a second.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(3);
/// Time between two reports after which the later one is no proof that a replica is silent or behind.
const REPORT_MAX: Duration = Duration::from_secs(2);
/// Time for which a replica is remembered that has left its primary: longer than a fail-over.
const NAMED_MAX: Duration = Duration::from_secs(60);
/// Most replicas that one report is believed to have.
const REPLICAS_MAX: u32 = 1000;
/// Reports that are remembered, whatever their pace.
const REPORTS_MAX: usize = 64;

/// A primary's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicationReport {
    /// The bytes of its replication stream so far.
    offset: u64,
    replicas: Vec<Replica>,
}

/// A replica that follows the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replica {
    address: Address,
    /// The bytes that it has taken, as it last reported.
    offset: u64,
    /// Time since that report.
    silence: Duration,
}

/// The role of a server, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    ReplicaOf {
        server: Address,
        /// Time since it last heard that server; `None` if their link is down.
        silence: Option<Duration>,
    },
}

impl Role {
    /// Asks a server.
    pub(crate) async fn ask(
        connection: &mut impl ConnectionLike,
        asked: &Address,
    ) -> Result<Option<Self>, RedisError> {
        Ok(Self::parse(asked, &info(connection, "replication").await?))
    }

    /// Parses the section `replication` of INFO.
    pub(crate) fn parse(asked: &Address, info: &str) -> Option<Self> {
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        match field("role:")? {
            "master" => Some(Self::Primary),
            _ => {
                let (host, port) = (field("master_host:")?, field("master_port:")?.parse().ok()?);
                let is_up = field("master_link_status:") == Some("up");
                let silence = field("master_last_io_seconds_ago:").filter(|_| is_up);
                let silence = silence.and_then(|s| s.parse().ok()).map(Duration::from_secs);
                Some(Self::ReplicaOf { server: asked.reported_parts(host, port), silence })
            }
        }
    }
}

/// The reports of one primary over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// When it reported last.
    last: Option<Instant>,
    /// The primary's offsets, oldest first.
    offsets: VecDeque<(Instant, u64)>,
    /// The replicas that can be read from, and since when.
    fit: HashMap<Address, Instant>,
    /// The replicas that were fit and have left the report since, and when they did, for [`LAG_MAX`].
    gone: HashMap<Address, Instant>,
    /// The replicas that it has named, and when it did so last.
    named: HashMap<Address, Instant>,
}

impl ReplicationReport {
    /// Parses the section `replication` of INFO. `None` if the server `asked` calls itself no primary.
    pub(crate) fn parse(asked: &Address, info: &str) -> Option<Self> {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| fields.get(name).map(|value| value.trim());
        let (Some("master"), Some(offset)) = (field("role"), field("master_repl_offset")) else {
            return None;
        };
        let count = field("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0_u32);
        let replica = |i: u32| Replica::parse(asked, field(&format!("slave{i}"))?);
        Some(Self {
            offset: offset.parse().ok()?,
            replicas: (0..count.min(REPLICAS_MAX)).filter_map(replica).collect(),
        })
    }
}

impl Replica {
    /// Parses `ip=…,port=…,state=online,offset=…,lag=…`. `None` for a replica that does not follow yet.
    fn parse(asked: &Address, text: &str) -> Option<Self> {
        let fields: HashMap<_, _> =
            text.split(',').filter_map(|pair| pair.split_once('=')).collect();
        if fields.get("state") != Some(&"online") {
            return None;
        }
        Some(Self {
            address: asked.reported_parts(fields.get("ip")?, fields.get("port")?.parse().ok()?),
            offset: fields.get("offset")?.parse().ok()?,
            silence: Duration::from_secs(fields.get("lag")?.parse().ok()?),
        })
    }
}

impl Reports {
    /// Takes the next report. Returns the replicas that can be read from, and since when each of them can.
    pub(crate) fn take(
        &mut self,
        report: &ReplicationReport,
        now: Instant,
    ) -> &HashMap<Address, Instant> {
        // A primary that was restarted counts anew.
        if self.offsets.back().is_some_and(|(_, offset)| report.offset < *offset) {
            self.offsets.clear();
        }
        // The newest offset that every replica must have passed, and all after it.
        while self.offsets.len() > 1 && now - self.offsets[1].0 >= LAG_MAX {
            self.offsets.pop_front();
        }
        let due = self.offsets.front().filter(|(at, _)| now - *at >= LAG_MAX);
        let due = due.map_or(0, |(_, offset)| *offset);
        if self.offsets.len() == REPORTS_MAX {
            self.offsets.pop_back();
        }
        self.offsets.push_back((now, report.offset));
        self.named.retain(|_, last| now - *last < NAMED_MAX);
        self.named.extend(report.replicas.iter().map(|replica| (replica.address.clone(), now)));
        // A primary that was frozen finds everybody silent, and is perhaps no primary any more.
        let has_paused = self.last.is_some_and(|last| now - last >= REPORT_MAX);
        self.last = Some(now);
        let is_fit = |replica: &&Replica| {
            let keeps_up = replica.silence < LAG_MAX && replica.offset >= due;
            keeps_up || has_paused && self.fit.contains_key(&replica.address)
        };
        let fit = report.replicas.iter().filter(is_fit).map(|replica| &replica.address);
        let since = |address: &Address| self.fit.get(address).copied().unwrap_or(now);
        let fit = fit.map(|address| (address.clone(), since(address))).collect();
        let before = std::mem::replace(&mut self.fit, fit);
        self.gone.extend(before.into_keys().map(|address| (address, now)));
        self.gone.retain(|address, since| {
            let is_reported = report.replicas.iter().any(|replica| replica.address == *address);
            !is_reported && now - *since < LAG_MAX
        });
        &self.fit
    }

    /// The replicas that readers wait for: those that are fit, and those whose link to the primary broke a moment ago.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &Address> {
        self.fit.keys().chain(self.gone.keys())
    }

    /// Returns true if the primary has named this server as its replica a while ago.
    pub(crate) fn has_named(&self, server: &Address) -> bool {
        self.named.contains_key(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Reports {
        /// Makes these replicas fit.
        pub(crate) fn say(
            &mut self,
            fit: impl Iterator<Item = Address>,
        ) -> HashMap<Address, Instant> {
            self.fit = fit.map(|address| (address, Instant::now())).collect();
            self.fit.clone()
        }
    }

    fn asked() -> Address {
        Address::new("primary", 1)
    }

    /// A report with replicas, each with its offset and its silence in seconds.
    fn report(offset: u64, replicas: &[(u64, u64)]) -> ReplicationReport {
        let mut info = format!(
            "# Replication\r\nrole:master\r\nconnected_slaves:{}\r\nmaster_repl_offset:{offset}\r\n",
            replicas.len()
        );
        for (i, (offset, lag)) in replicas.iter().enumerate() {
            info += &format!(
                "slave{i}:ip=10.0.0.{i},port=6379,state=online,offset={offset},lag={lag}\r\n"
            );
        }
        ReplicationReport::parse(&asked(), &info).unwrap()
    }

    fn hosts(fit: &HashMap<Address, Instant>) -> Vec<&str> {
        let mut hosts: Vec<_> = fit.keys().map(Address::host).collect();
        hosts.sort_unstable();
        hosts
    }

    #[test]
    fn only_a_primary_reports_and_only_of_replicas_that_follow() {
        assert_eq!(
            ReplicationReport::parse(&asked(), "role:slave\r\nmaster_repl_offset:5\r\n"),
            None
        );
        assert_eq!(ReplicationReport::parse(&asked(), ""), None);
        let info = "role:master\r\nconnected_slaves:3\r\nmaster_repl_offset:9\r\n\
            slave0:ip=10.0.0.7,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
            slave1:ip=,port=6380,state=online,offset=9,lag=1,type=replica\r\nslave2:garbage\r\n";
        let report = ReplicationReport::parse(&asked(), info).unwrap();
        assert_eq!(report.replicas.len(), 1);
        assert_eq!(report.replicas[0].address, Address::new("primary", 6380));
    }

    #[test]
    fn a_server_says_its_role() {
        let role = |info: &str| Role::parse(&asked(), info);
        assert_eq!(role("# Replication\r\nrole:master\r\n"), Some(Role::Primary));
        let replica = |link: &str, io| {
            let info =
                "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:";
            role(&format!("{info}{link}\r\nmaster_last_io_seconds_ago:{io}\r\n"))
        };
        let of =
            |silence| Some(Role::ReplicaOf { server: Address::new("10.0.0.1", 6379), silence });
        assert_eq!(replica("up", 7), of(Some(Duration::from_secs(7))));
        assert_eq!(replica("down", -1), of(None));
        assert_eq!(role("role:slave\r\n"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_silent_or_behind_for_too_long_cannot_be_read_from() {
        let mut reports = Reports::default();
        let start = Instant::now();
        assert_eq!(
            hosts(reports.take(&report(100, &[(0, 0), (90, 0), (90, 3)]), start)),
            ["10.0.0.0", "10.0.0.1"]
        );
        let later = start + Duration::from_secs(2);
        assert_eq!(hosts(reports.take(&report(900, &[(0, 0), (90, 0)]), later)).len(), 2);
        // Both must have what the primary had at the start: 100 bytes.
        let late = start + LAG_MAX;
        let fit = reports.take(&report(950, &[(99, 0), (100, 0)]), late);
        assert_eq!(hosts(fit), ["10.0.0.1"]);
        assert_eq!(fit[&Address::new("10.0.0.1", 6379)], start);
        // It is fit again from the moment in which it has caught up.
        let at_last = late + Duration::from_secs(1);
        let fit = reports.take(&report(960, &[(940, 0)]), at_last);
        assert_eq!(fit[&Address::new("10.0.0.0", 6379)], at_last);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_wait_a_while_for_a_replica_whose_link_has_broken() {
        let mut reports = Reports::default();
        let start = Instant::now();
        let awaited = |reports: &Reports| reports.awaited().count();
        reports.take(&report(100, &[(100, 0), (100, 0)]), start);
        assert_eq!(awaited(&reports), 2);
        reports.take(&report(100, &[(100, 0)]), start + LAG_MAX / 3);
        assert_eq!(awaited(&reports), 2);
        reports.take(&report(100, &[(100, 0)]), start + LAG_MAX);
        assert_eq!(awaited(&reports), 2);
        reports.take(&report(100, &[(100, 0)]), start + LAG_MAX / 3 + LAG_MAX);
        assert_eq!(awaited(&reports), 1);
        // One that is there and silent is left at once.
        reports.take(&report(100, &[(100, 3)]), start + LAG_MAX * 5 / 3);
        assert_eq!(awaited(&reports), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_was_frozen_is_not_believed_at_once_that_a_replica_is_silent() {
        let mut reports = Reports::default();
        let start = Instant::now();
        reports.take(&report(100, &[(100, 0)]), start);
        assert_eq!(hosts(reports.take(&report(200, &[(100, 5)]), start + LAG_MAX)), ["10.0.0.0"]);
        let later = start + LAG_MAX + Duration::from_secs(1);
        assert!(reports.take(&report(200, &[(100, 6)]), later).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_primary_that_was_restarted_counts_anew() {
        let mut reports = Reports::default();
        let start = Instant::now();
        reports.take(&report(5000, &[(5000, 0)]), start);
        let late = start + LAG_MAX * 2;
        assert_eq!(hosts(reports.take(&report(10, &[(10, 0)]), late)), ["10.0.0.0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn few_reports_are_remembered_however_fast_they_come() {
        let mut reports = Reports::default();
        for i in 0..1000 {
            reports.take(&report(i, &[]), Instant::now() + Duration::from_millis(i));
            assert!(reports.offsets.len() <= REPORTS_MAX);
        }
    }
}
