//! The rights of the user, proven before the log is opened.
//!
//! A server looks at the rights to a command and its keys before it looks at anything else. So every
//! command is sent in a form that has no effect: on keys that do not exist, and that it does not create.
//! The proof leaves nothing in the store, and works while the store is full.

use event_log::{Key, Topic};
use redis::{Cmd, RedisError};

use super::Store;
use crate::address::Address;
use crate::error::Failure;
use crate::keys::{self, Keys};
use crate::plain::plain;
use crate::scripts::PUBLISH;
use crate::wire::{Broken, Wire};

/// A partition in which no node has leases: the commands on leases are sent there.
const RIGHTS_PARTITION: u32 = 1;

/// A name under which no script is known.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

impl Store {
    /// Proves the rights that the log needs on a primary. Returns the missing ones, each with its
    /// command and what the server said; with `has_presence` also those for members.
    pub(crate) async fn missing_rights(
        &self,
        address: &Address,
        has_presence: bool,
    ) -> Result<Vec<String>, Failure> {
        let mut needed = needed(&self.keys);
        if has_presence {
            needed.extend(needed_for_members(&self.keys));
        }
        // A connection of its own: the pool takes no subscriptions.
        let asked = async {
            let access = self.peers.access();
            let (mut wire, _) = Wire::connect(access, address, 3, "tailwater-check").await?;
            let mut bytes = Vec::new();
            needed.iter().for_each(|(_, command)| command.write_packed_command(&mut bytes));
            wire.send(&bytes).await?;
            let mut missing = Vec::new();
            for (name, _) in &needed {
                if let Err(error) = wire.answer().await?.extract_error()
                    && error.code() == Some("NOPERM")
                {
                    missing.push(format!("{name} ({})", said(&error)));
                }
            }
            Ok(missing)
        };
        asked.await.map_err(|broken: Broken| Failure::Unreached(broken.into_error()))
    }
}

fn said(error: &RedisError) -> String {
    plain(error.detail().unwrap_or("no reason"))
}

/// The commands that the log sends and that its scripts run, each with its name and kind of key.
fn needed(keys: &Keys) -> Vec<(&'static str, Cmd)> {
    let topic = Topic::reserved("check/rights").expect("a valid name");
    let key = Key::new("check").expect("a valid key");
    let tag = keys::partition(&topic).to_string();
    let (stream, head) = (keys.stream(&topic), keys.head(&topic));
    let once = keys.key_parts(&tag, &topic, &key).concat();
    // The name of no node.
    let (leases, counts) = (keys.leases(RIGHTS_PARTITION), keys.counts(RIGHTS_PARTITION) + " ");
    vec![
        ("PING", command(&["PING"])),
        ("UNWATCH", command(&["UNWATCH"])),
        ("INFO", command(&["INFO", "replication"])),
        ("TIME", command(&["TIME"])),
        ("SCRIPT LOAD", PUBLISH.loading()),
        (
            "EVALSHA on e:*, h:* and i:*",
            command(&["EVALSHA", NO_SCRIPT, "3", &stream, &head, &once]),
        ),
        ("GET on h:*", command(&["GET", &head])),
        ("GET on i:*", command(&["GET", &once])),
        ("MGET on h:*", command(&["MGET", &head])),
        ("SET on h:*", command(&["SET", &head, "", "XX", "KEEPTTL"])),
        ("SET on i:*", command(&["SET", &once, "", "XX", "KEEPTTL"])),
        ("PEXPIRE on e:*", command(&["PEXPIRE", &stream, "1000"])),
        ("PEXPIRE on h:*", command(&["PEXPIRE", &head, "1000"])),
        ("PEXPIRE on i:*", command(&["PEXPIRE", &once, "1000"])),
        ("XADD on e:*", command(&["XADD", &stream, "NOMKSTREAM", "*", "d", ""])),
        ("XTRIM on e:*", command(&["XTRIM", &stream, "MINID", "~", "0"])),
        ("XRANGE on e:*", command(&["XRANGE", &stream, "-", "+", "COUNT", "1"])),
        ("XREVRANGE on e:*", command(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"])),
        ("SPUBLISH on &e:*", command(&["SPUBLISH", &stream, ""])),
        ("SSUBSCRIBE on &e:*", command(&["SSUBSCRIBE", &stream])),
        ("EVALSHA on n:* and q:*", command(&["EVALSHA", NO_SCRIPT, "2", &leases, &counts])),
        ("ZADD on n:*", command(&["ZADD", &leases, "XX", "0", "check"])),
        ("ZREMRANGEBYSCORE on n:*", command(&["ZREMRANGEBYSCORE", &leases, "0", "0"])),
        ("ZRANGE on n:*", command(&["ZRANGE", &leases, "0", "0"])),
        ("PEXPIRE on n:*", command(&["PEXPIRE", &leases, "1000"])),
        ("HGET on q:*", command(&["HGET", &counts, "check"])),
        ("HDEL on q:*", command(&["HDEL", &counts, "check"])),
        // A field without a value: the server looks at the rights first.
        ("HSET on q:*", command(&["HSET", &counts, "check", "0", "again"])),
        ("PEXPIRE on q:*", command(&["PEXPIRE", &counts, "1000"])),
        ("SUNSUBSCRIBE", command(&["SUNSUBSCRIBE", &stream])),
    ]
}

/// The commands on the members of topics.
fn needed_for_members(keys: &Keys) -> Vec<(&'static str, Cmd)> {
    // The name of no topic.
    let none = keys.members(RIGHTS_PARTITION, " ");
    vec![
        ("HLEN on q:*", command(&["HLEN", &none])),
        ("HGETALL on q:*", command(&["HGETALL", &none])),
        ("HSCAN on q:*", command(&["HSCAN", &none, "0"])),
        ("ZREM on n:*", command(&["ZREM", &keys.members_leases(RIGHTS_PARTITION), "check"])),
    ]
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}
