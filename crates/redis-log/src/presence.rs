//! Members of topics on all nodes, each held by the lease of its node (`presence.lua`).
//!
//! Members are in a few partitions, as the counts of subjects are, so that a node has few leases to renew. The
//! changes of a partition are a short stream, whose versions have no holes: a node that missed some finds out, and
//! looks at the members again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use event_log::Topic;
use presence::{
    Away, Change, Counts, LISTED_MAX, Member, Report, Store as Members, TOPICS_MAX, Update, View,
};
use redis::{Cmd, Value};

use crate::error::Failure;
use crate::keys::{self, PARTITIONS};
use crate::life::Life;
use crate::scripts::{COUNTS, MEMBERS, PRESENCE};
use crate::store::Store;

/// The members of topics on all nodes, for one node.
#[derive(Debug)]
pub struct RedisPresence {
    store: Arc<Store>,
    life: Life,
    lease: Duration,
    node: Mutex<Node>,
}

/// This node, as the partitions know it.
#[derive(Debug)]
struct Node {
    /// Another one after the members of the last were lost: those end with its lease, while the same members are
    /// told again under this name.
    name: Box<str>,
    /// The number of the last report.
    number: u64,
    partitions: Vec<Partition>,
}

/// A partition as this node knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Partition {
    /// The number of the last report that was answered.
    answered: Option<u64>,
    /// The version of the last change that this node knows.
    version: Option<u64>,
    /// The version before that. A watcher that begins between two reports starts here.
    earlier: Option<u64>,
    /// True if the last report asked for changes.
    follows: bool,
}

/// The answer of a partition.
struct Answer {
    had: Option<u64>,
    version: u64,
    changes: Vec<(u64, Topic, Change)>,
}

/// The partitions that hold members. Each costs every node a command a second. It can never change while nodes of
/// two versions run together.
const MEMBER_PARTITIONS: u32 = 16;
/// Changes that one report reads, as in the script.
const READ_MAX: usize = 256;
/// Topics of one partition that are looked at for one list of counts.
const EXAMINED_MAX: usize = 4096;
/// The least time of a lease: some reports.
const LEASE_MIN: Duration = Duration::from_secs(6);
/// The beginning of a bound by name that excludes nothing of it: no topic has a character as large.
const AFTER_NAMES: char = '\u{7f}';

impl RedisPresence {
    pub(crate) fn new(store: &Arc<Store>, life: &Life, grace: Duration) -> Self {
        let (store, lease) = (Arc::clone(store), grace.max(LEASE_MIN));
        Self { store, life: life.clone(), lease, node: Mutex::new(Node::new()) }
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commands of a report.
    fn commands(&self, updates: &[Update], follows: bool) -> Vec<(u32, Cmd)> {
        let keys = self.store.keys();
        let mut node = self.node();
        node.number += 1;
        let mut commands: Vec<_> = (0..MEMBER_PARTITIONS)
            .zip(&node.partitions)
            .map(|(index, known)| {
                let partition = at(index);
                let mut command = redis::cmd("EVALSHA");
                command.arg(PRESENCE.sha()).arg(2);
                command.arg(keys.members_leases(partition)).arg(keys.members(partition, "v"));
                command.arg(&*node.name).arg(self.lease.as_millis() as u64).arg(node.number);
                match known.from().filter(|_| follows) {
                    Some(version) => command.arg(version),
                    None => command.arg(""),
                };
                (partition, command)
            })
            .collect();
        for Update { topic, id, info } in updates {
            let (_, command) = &mut commands[index(topic) as usize];
            command.arg(topic.as_str()).arg(id.to_string()).arg(info.as_deref().unwrap_or(""));
        }
        commands
    }

    /// Takes the answers of all partitions.
    fn take(&self, answers: Vec<(u32, Value)>, follows: bool) -> Result<Report, Failure> {
        let mut node = self.node();
        let number = node.number;
        let mut report = Report::default();
        for (partition, value) in answers {
            let Answer { had, version, changes } = parsed(&value)?;
            let known = &mut node.partitions[(partition / at(1)) as usize];
            // A report without an answer may have come.
            let is_known = match known.answered {
                Some(answered) => had.is_some_and(|had| (answered..number).contains(&had)),
                None => true,
            };
            report.lost |= !is_known;
            known.answered = Some(number);
            let read = known.read(version, &changes, follows);
            report.missed |= read == Read::Missed;
            report.more |= changes.len() == READ_MAX;
            report.changes.extend(changes.into_iter().map(|(_, topic, change)| (topic, change)));
        }
        if report.lost {
            node.rename();
            report.missed |= follows;
        }
        Ok(report)
    }
}

impl Node {
    fn new() -> Self {
        let partitions = vec![Partition::default(); MEMBER_PARTITIONS as usize];
        Self { name: new_name(), number: 0, partitions }
    }

    fn rename(&mut self) {
        self.name = new_name();
        self.partitions.iter_mut().for_each(|known| known.answered = None);
    }
}

/// The result of reading the changes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    All,
    Missed,
}

impl Partition {
    /// The version after which changes are to be read.
    fn from(&self) -> Option<u64> {
        if self.follows { self.version } else { self.earlier }
    }

    /// Notes what was read.
    fn read(&mut self, now: u64, changes: &[(u64, Topic, Change)], follows: bool) -> Read {
        let from = self.from().filter(|_| follows);
        let next = changes.last().map_or(now, |(version, ..)| *version);
        let is_whole = match (from, changes.first()) {
            // It has not looked before, and so knows no version that a watcher could have begun with.
            (None, _) => !follows,
            (Some(from), Some((first, ..))) => *first == from + 1,
            (Some(from), None) => now == from,
        };
        self.earlier = self.version;
        self.version = Some(next);
        self.follows = follows;
        if is_whole { Read::All } else { Read::Missed }
    }
}

#[async_trait]
impl Members for RedisPresence {
    async fn report(&self, updates: &[Update], follows: bool) -> Result<Report, Away> {
        let commands = self.commands(updates, follows);
        let answers = self.life.at_home(self.store.each(commands)).await;
        answers.and_then(|answers| self.take(answers, follows)).map_err(|failure| away(&failure))
    }

    async fn view(&self, topic: &Topic) -> Result<View, Away> {
        let (keys, partition) = (self.store.keys(), at(index(topic)));
        let mut command = redis::cmd("EVALSHA");
        command.arg(MEMBERS.sha()).arg(2).arg(keys.members_of(partition, topic));
        command.arg(keys.members(partition, "v")).arg(LISTED_MAX);
        let answer = self.life.at_home(self.store.each(vec![(partition, command)])).await;
        let answer = answer.and_then(|answer| match answer.first() {
            Some((_, value)) => view(value),
            None => Err(Failure::Answer("none to a question for members")),
        });
        answer.map_err(|failure| away(&failure))
    }

    async fn counts(
        &self,
        prefix: &str,
        is_wanted: &(dyn for<'t> Fn(&'t Topic) -> bool + Sync),
    ) -> Result<Counts, Away> {
        let keys = self.store.keys();
        let commands = (0..MEMBER_PARTITIONS).map(at).map(|partition| {
            let mut command = redis::cmd("EVALSHA");
            command.arg(COUNTS.sha()).arg(1).arg(keys.members(partition, "t"));
            command.arg(format!("[{prefix}")).arg(format!("({prefix}{AFTER_NAMES}"));
            command.arg(EXAMINED_MAX);
            (partition, command)
        });
        let answers = self.life.at_home(self.store.each(commands.collect())).await;
        let mut counts = Counts::default();
        for (_, value) in answers.map_err(|failure| away(&failure))? {
            let pairs: Vec<(String, u64)> = redis::from_redis_value_ref(&value)
                .map_err(|_| away(&Failure::Answer("counts of members are no pairs")))?;
            counts.more |= pairs.len() >= EXAMINED_MAX;
            let known = pairs.into_iter().filter_map(|(name, count)| Some((topic(&name)?, count)));
            counts.topics.extend(known.filter(|(topic, _)| is_wanted(topic)));
        }
        counts.topics.sort();
        counts.more |= counts.topics.len() > TOPICS_MAX;
        counts.topics.truncate(TOPICS_MAX);
        Ok(counts)
    }
}

/// The number of the partition that holds the members of a topic, among those that hold members.
fn index(topic: &Topic) -> u32 {
    keys::partition(topic) % MEMBER_PARTITIONS
}

/// The partition of such a number.
const fn at(index: u32) -> u32 {
    index * (PARTITIONS / MEMBER_PARTITIONS)
}

/// A name that no other node has, nor this node after a new start.
fn new_name() -> Box<str> {
    format!("{:016x}", RandomState::new().hash_one(SystemTime::now())).into()
}

/// A change as its stream holds it: its id, and its fields by name.
type Entry = (String, Vec<(String, String)>);

fn parsed(value: &Value) -> Result<Answer, Failure> {
    let bad = || Failure::Answer("a report of members has another answer");
    let (had, version, entries): (String, u64, Vec<Entry>) =
        redis::from_redis_value_ref(value).map_err(|_| bad())?;
    let changes = entries.iter().map(|entry| change(entry).ok_or_else(bad));
    Ok(Answer { had: had.parse().ok(), version, changes: changes.collect::<Result<_, _>>()? })
}

fn change((id, fields): &Entry) -> Option<(u64, Topic, Change)> {
    let version = id.split('-').next()?.parse().ok()?;
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, of)| of);
    let number = |name| field(name)?.parse::<u64>().ok();
    let names = |name| Some(field(name)?.lines().filter_map(named));
    let mut change = Change::new(version, number("c")?);
    change.join(number("j")?, names("J")?);
    change.leave(number("l")?, names("L")?);
    Some((version, topic(field("t")?)?, change))
}

fn view(value: &Value) -> Result<View, Failure> {
    let bad = |_| Failure::Answer("a question for members has another answer");
    let (version, count, members): (u64, u64, Vec<(String, String)>) =
        redis::from_redis_value_ref(value).map_err(bad)?;
    let members = members.iter().filter_map(|(id, held)| {
        let (since, owners) = held.split_once('\n')?;
        let (_, info) = owners.lines().next()?.split_once('\t')?;
        Some(Member { id: id.parse().ok()?, since: since.parse().ok()?, info: info.into() })
    });
    Ok(View::new(version, count, members.collect()))
}

/// A member of a change.
fn named(line: &str) -> Option<Member> {
    let mut parts = line.splitn(3, '\t');
    let (id, since, info) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Member { id: id.parse().ok()?, since: since.parse().ok()?, info: info.into() })
}

/// A topic that a node has recorded.
fn topic(name: &str) -> Option<Topic> {
    match name.strip_prefix(Topic::RESERVED) {
        Some(rest) => Topic::reserved(rest).ok(),
        None => Topic::new(name).ok(),
    }
}

fn away(failure: &Failure) -> Away {
    Away(failure.to_string())
}
