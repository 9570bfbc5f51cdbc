//! The primary, as its sentinels report it.
//!
//! Each refresh asks all sentinels and takes the answer with the latest epoch: a sentinel that was cut
//! off together with an old primary still names that one. The named server must call itself a primary
//! before anything is sent to it. When the sentinels name another server, the old one is dropped, even
//! if it still answers. A sentinel that leads a fail-over names the old primary until it knows that the replica is
//! promoted: its answer confirms nothing.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tokio::time::timeout;

use super::{Map, Named};
use crate::access::{Access, Party};
use crate::address::Address;
use crate::plain::plain;
use crate::server::ServerInfo;

/// The flag of a primary whose fail-over the asked sentinel leads.
const FAILS_OVER: &str = "failover_in_progress";

/// The sentinels of one primary.
pub(super) struct SentinelOracle {
    master: String,
    sentinels: Vec<Sentinel>,
    servers: Access,
}

struct Sentinel {
    address: Address,
    access: Access,
    connection: Option<MultiplexedConnection>,
}

/// The primary as one sentinel reports it.
pub(crate) struct Report {
    epoch: u64,
    pub(crate) primary: Address,
    /// True if the sentinel is about to name another one.
    is_replacing: bool,
}

impl SentinelOracle {
    pub(super) fn new(master: String, seeds: &[Address], servers: Access) -> Self {
        let sentinel = |address: &Address| Sentinel {
            address: address.clone(),
            access: servers.to(Party::Sentinel),
            connection: None,
        };
        Self { master, sentinels: seeds.iter().map(sentinel).collect(), servers }
    }

    pub(super) async fn ask(&mut self, known: &Map) -> Result<Named, String> {
        let master = &self.master;
        let reports =
            join_all(self.sentinels.iter_mut().map(|sentinel| sentinel.ask(master))).await;
        let Report { primary, is_replacing, .. } = believe(reports)?;
        let is_final = !is_replacing;
        if known.owner(0) == Some(&primary) {
            return Ok(Named { map: known.clone(), is_final });
        }
        let map = match self.verify(&primary).await {
            Ok(()) => Map::one(primary),
            Err(reason) => {
                Map::none(format!("the sentinels name {primary}, which cannot be used: {reason}"))
            }
        };
        Ok(Named { map, is_final })
    }

    /// Checks that a server calls itself a primary.
    async fn verify(&self, address: &Address) -> Result<(), String> {
        let asked = async {
            let mut connection = self.servers.connection(address).await?;
            ServerInfo::ask(&mut connection, "replication").await
        };
        match within(self.servers.timeout, asked).await?.is_primary() {
            true => Ok(()),
            false => Err("it is not a primary yet".to_owned()),
        }
    }
}

/// The report of the latest epoch, or the reasons why there is none. One sentinel of that epoch is enough to be about to
/// replace the primary: only the leader of a fail-over knows of it.
fn believe(reports: Vec<Result<Report, String>>) -> Result<Report, String> {
    let mut reasons = Vec::new();
    let mut latest: Option<Report> = None;
    for report in reports {
        match (report, &mut latest) {
            (Err(reason), _) => reasons.push(reason),
            (Ok(report), Some(latest)) if report.epoch == latest.epoch => {
                latest.is_replacing |= report.is_replacing;
            }
            (Ok(report), Some(latest)) if report.epoch < latest.epoch => {}
            (Ok(report), latest) => *latest = Some(report),
        }
    }
    latest.ok_or_else(|| reasons.join("; "))
}

impl Sentinel {
    async fn ask(&mut self, master: &str) -> Result<Report, String> {
        let limit = self.access.connect_timeout;
        let report = within(limit, self.report(master)).await;
        if report.is_err() {
            self.connection = None;
        }
        report
            .and_then(|report| report.ok_or_else(|| format!("it knows no master {master:?}")))
            .map_err(|reason| format!("sentinel {}: {reason}", self.address))
    }

    /// Asks for the address and the state in one pipeline: both change in the same moment.
    async fn report(&mut self, master: &str) -> Result<Option<Report>, RedisError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.access.connection(&self.address).await?),
        };
        let sentinel = |name| redis::cmd("SENTINEL").arg(name).arg(master).take();
        let mut pipeline = redis::pipe();
        pipeline.add_command(sentinel("GET-MASTER-ADDR-BY-NAME"));
        pipeline.add_command(sentinel("MASTER"));
        pipeline.ignore_errors();
        Report::parse(&self.address, pipeline.query_async(connection).await?)
    }
}

impl Report {
    /// Parses the answers of the sentinel `asked`; `None` if it knows no such primary.
    pub(crate) fn parse(
        asked: &Address,
        replies: Vec<Result<Value, RedisError>>,
    ) -> Result<Option<Self>, RedisError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(Ok(Value::Nil));
        let address: Option<(String, u16)> = redis::from_redis_value(next()?)?;
        let Some((host, port)) = address else { return Ok(None) };
        let about: Vec<(String, String)> = redis::from_redis_value(next()?)?;
        let field = |name| about.iter().find(|(field, _)| field == name).map(|(_, value)| &**value);
        let epoch = field("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        // After the promotion the fail-over goes on, but the address is already that of the promoted replica.
        let fails_over =
            field("flags").is_some_and(|flags| flags.split(',').any(|flag| flag == FAILS_OVER));
        let is_old =
            field("ip") == Some(&host) && field("port").and_then(|p| p.parse().ok()) == Some(port);
        let primary = asked.reported_parts(&host, port);
        Ok(Some(Self { epoch, primary, is_replacing: fails_over && is_old }))
    }
}

/// Asks within a time limit; returns errors as text.
pub(super) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    // Boxed: the future may hold a whole handshake.
    match timeout(limit, Box::pin(asked)).await {
        Ok(answer) => answer.map_err(plain),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_epoch_wins_however_many_sentinels_name_an_old_primary() {
        let report = |epoch, host: &str| {
            Ok(Report { epoch, primary: Address::new(host, 1), is_replacing: false })
        };
        let away = || Err("away".to_owned());
        let believed = |reports| believe(reports).map(|report| report.primary.host().to_owned());
        let reports =
            vec![report(3, "old"), report(3, "old"), away(), report(4, "new"), report(3, "old")];
        assert_eq!(believed(reports), Ok("new".to_owned()));
        assert_eq!(believed(vec![away(), away()]), Err("away; away".to_owned()));
    }

    #[test]
    fn a_primary_is_about_to_be_replaced_until_its_successor_is_named() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let report = |named: &str, flags: &str| {
            let address = Value::Array(vec![text(named), text("6379")]);
            let about = ["ip", "10.0.0.1", "port", "6379", "flags", flags, "config-epoch", "3"];
            let about = Value::Array(about.map(text).to_vec());
            let asked = Address::new("sentinel", 1);
            Report::parse(&asked, vec![Ok(address), Ok(about)]).unwrap().unwrap()
        };
        let replacing =
            |reports: [Report; 2]| believe(reports.map(Ok).into()).unwrap().is_replacing;
        let calm = || report("10.0.0.1", "master");
        let leader = |named| report(named, "master,s_down,o_down,failover_in_progress");
        assert!(!replacing([calm(), report("10.0.0.1", "s_down,master")]));
        assert!(replacing([calm(), leader("10.0.0.1")]));
        assert!(replacing([leader("10.0.0.1"), calm()]));
        assert!(!replacing([calm(), leader("10.0.0.2")]), "the replica is promoted");
        let newer = Report { epoch: 4, ..report("10.0.0.2", "master") };
        assert!(!replacing([leader("10.0.0.1"), newer]), "another sentinel knows more");
    }
}
