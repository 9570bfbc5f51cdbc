//! A server's description of itself: its version, its mode and its role.

use std::collections::HashMap;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::plain::plain;
use crate::stats::StoreMemory;
use crate::wire::{Greeting, field};

/// The first version with sharded channels. Valkey continues from it.
const VERSION_MIN: (u32, u32) = (7, 0);
/// The same for people.
pub(crate) const VERSION_NEEDED: &str = "Redis 7.0 or Valkey 7.2, or later";

/// A server's description of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// As the server gives it, `7.0.15`.
    pub(crate) version: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub(crate) mode: String,
    /// `master` or `slave`.
    role: String,
    /// A replica's link to its primary.
    link: Link,
}

/// A replica's link to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The replica has its primary's data.
    Up,
    /// It had them until its primary went away. Nothing that it has is wrong, and only the primary could tell more.
    Lost,
    /// It has never had them since it was started, or is about to replace its data by them.
    None,
}

/// A server's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryInfo {
    pub(crate) memory: StoreMemory,
    /// The policy by which it makes room.
    policy: String,
}

/// Asks a server for one section of INFO.
pub(crate) async fn info(
    connection: &mut impl ConnectionLike,
    section: &str,
) -> Result<String, RedisError> {
    redis::cmd("INFO").arg(section).query_async(connection).await
}

impl MemoryInfo {
    /// Parses a section of INFO.
    pub(crate) fn parse(info: &str) -> Option<Self> {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name| fields.get(name).map(|value| value.trim());
        let number = |name| field(name)?.parse().ok();
        let memory = StoreMemory { used: number("used_memory")?, max: number("maxmemory")? };
        Some(Self { memory, policy: plain(field("maxmemory_policy")?) })
    }

    /// The policy by which the server deletes keys that have not ended, if it does: without a bound of its memory
    /// it needs none.
    pub(crate) fn evicts(&self) -> Option<&str> {
        (self.memory.max > 0 && self.policy != "noeviction").then_some(&*self.policy)
    }
}

impl Link {
    /// Parses the fields of INFO.
    fn parse<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Self {
        if field("master_link_status") == Some("up") {
            return Self::Up;
        }
        let since = field("master_link_down_since_seconds");
        let had_data = since.is_some_and(|since| since.parse::<u64>().is_ok());
        match had_data && field("master_sync_in_progress") == Some("0") {
            true => Self::Lost,
            false => Self::None,
        }
    }
}

impl ServerInfo {
    /// Asks for one section of INFO: `server` has the version and the mode, `replication` the role.
    /// Fields of other sections stay empty.
    pub(crate) async fn ask(
        connection: &mut impl ConnectionLike,
        section: &str,
    ) -> Result<Self, RedisError> {
        Ok(Self::parse(&info(connection, section).await?))
    }

    /// Reads the answer to HELLO, which has all fields.
    pub(crate) fn greeted(greeting: &Greeting) -> Self {
        let field = |name| plain(field(greeting, name));
        let (version, mode, role) = (field("version"), field("mode"), field("role"));
        Self { version, mode, role, link: Link::None }
    }

    /// Parses the answer to INFO.
    pub(crate) fn parse(info: &str) -> Self {
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name| plain(fields.get(name).copied().unwrap_or_default().trim());
        // Valkey and Redict name the mode otherwise, and keep the version of Redis that they branched off at.
        let mode = ["redis_mode", "server_mode", "redict_mode"].map(field).concat();
        let link = Link::parse(|name| fields.get(name).map(|value| value.trim()));
        Self { version: field("redis_version"), mode, role: field("role"), link }
    }

    /// Returns true if the version has everything that the log needs.
    pub(crate) fn is_new_enough(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= VERSION_MIN
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.role == "master"
    }

    /// Refuses a server without sharded channels. It would store an event, and no reader could get it.
    pub(crate) fn refuse_old(&self) -> Result<(), String> {
        match self.is_new_enough() {
            true => Ok(()),
            false => Err(format!(
                "the server has version {}: the log needs {VERSION_NEEDED}",
                self.version
            )),
        }
    }

    /// Refuses a replica that may lack data for another reason than that it is a little behind.
    pub(crate) fn refuse_empty(&self) -> Result<(), RedisError> {
        let has_data = match self.link {
            _ if self.is_primary() => true,
            Link::Up => true,
            Link::Lost => true,
            Link::None => false,
        };
        match has_data {
            true => Ok(()),
            false => {
                let kind = ErrorKind::Server(ServerErrorKind::MasterDown);
                Err((kind, "the replica is not in step with its primary").into())
            }
        }
    }

    /// Refuses a replica: its answer to a read may lack events, which would look like a loss.
    pub(crate) fn refuse_replica(&self) -> Result<(), RedisError> {
        match self.is_primary() {
            true => Ok(()),
            false => {
                let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
                Err((kind, "the server is a replica now").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_never_had_its_primarys_data_is_refused() {
        let replica = |fields: &str| ServerInfo::parse(&format!("role:slave\r\n{fields}"));
        for fit in [
            "master_link_status:up\r\n",
            "master_link_status:down\r\nmaster_sync_in_progress:0\r\nmaster_link_down_since_seconds:99\r\n",
        ] {
            assert!(replica(fit).refuse_empty().is_ok(), "{fit}");
        }
        for unfit in [
            "master_link_status:down\r\nmaster_sync_in_progress:0\r\nmaster_link_down_since_seconds:-1\r\n",
            "master_link_status:down\r\nmaster_sync_in_progress:1\r\nmaster_link_down_since_seconds:9\r\n",
            "",
        ] {
            assert!(replica(unfit).refuse_empty().is_err(), "{unfit}");
        }
        assert!(ServerInfo::parse("role:master\r\n").refuse_empty().is_ok());
    }

    fn server(version: &str) -> ServerInfo {
        ServerInfo::parse(&format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n"
        ))
    }

    #[test]
    fn servers_without_sharded_channels_are_too_old() {
        for version in ["7.0.0", "7.2.4", "8.6.3", "10.0.0"] {
            assert!(server(version).is_new_enough(), "{version}");
        }
        for version in ["6.2.14", "5.0.3", "", "x"] {
            assert!(!server(version).is_new_enough(), "{version}");
        }
    }

    /// As Redis 8.6.3, Valkey 9.1.2 and Redict 7.3.6 answer.
    #[test]
    fn each_kind_of_server_names_its_mode() {
        for name in ["redis_mode", "server_mode", "redict_mode"] {
            let info = format!("# Server\r\nredis_version:7.2.4\r\n{name}:cluster\r\n");
            assert_eq!(ServerInfo::parse(&info).mode, "cluster", "{name}");
        }
    }

    #[test]
    fn a_server_evicts_by_a_policy_and_within_a_bound() {
        let memory = |max, policy| {
            let info = format!("used_memory:7\r\nmaxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n");
            MemoryInfo::parse(&info).unwrap()
        };
        assert_eq!(memory(9, "allkeys-lru").evicts(), Some("allkeys-lru"));
        assert_eq!(memory(0, "allkeys-lru").evicts(), None);
        assert_eq!(memory(9, "noeviction").evicts(), None);
        assert_eq!(memory(9, "noeviction").memory, StoreMemory { used: 7, max: 9 });
        assert_eq!(MemoryInfo::parse("used_memory:7\r\n"), None);
    }

    #[test]
    fn only_a_server_that_calls_itself_a_primary_is_accepted() {
        let refused = |info| ServerInfo::parse(info).refuse_replica().is_err();
        assert!(!refused("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"));
        assert!(refused("# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\n"));
        assert!(refused(""), "a server that does not tell its role");
    }
}
