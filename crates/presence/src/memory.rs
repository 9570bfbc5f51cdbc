//! The members of a node that is alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use event_log::Topic;

use crate::store::{Away, Change, Counts, LISTED_MAX, Report, Store, TOPICS_MAX, Update, View};
use crate::{Member, MemberId};

/// The members of a single node, in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    topics: BTreeMap<Topic, BTreeMap<MemberId, Member>>,
    version: u64,
}

impl MemoryStore {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn report(&self, updates: &[Update], _follows: bool) -> Result<Report, Away> {
        let mut all = self.all();
        let since = now();
        let mut changes = BTreeMap::<&Topic, Change>::new();
        for Update { topic, id, info } in updates {
            let members = all.topics.entry(topic.clone()).or_default();
            match info {
                Some(info) if !members.contains_key(id) => {
                    let member = Member { id: *id, since, info: info.clone() };
                    members.insert(*id, member.clone());
                    changes.entry(topic).or_default().join(1, [member]);
                }
                Some(_) => {}
                None => {
                    if let Some(member) = members.remove(id) {
                        changes.entry(topic).or_default().leave(1, [member]);
                    }
                }
            }
        }
        let mut report = Report::default();
        for (topic, mut change) in changes {
            all.version += 1;
            change.version = all.version;
            change.count = all.topics.get(topic).map_or(0, |members| members.len() as u64);
            if change.count == 0 {
                all.topics.remove(topic);
            }
            report.changes.push((topic.clone(), change));
        }
        Ok(report)
    }

    async fn view(&self, topic: &Topic) -> Result<View, Away> {
        let all = self.all();
        let Some(members) = all.topics.get(topic) else {
            return Ok(View::new(all.version, 0, Vec::new()));
        };
        let listed = members.values().take(LISTED_MAX).cloned().collect();
        Ok(View::new(all.version, members.len() as u64, listed))
    }

    async fn counts(
        &self,
        prefix: &str,
        is_wanted: &(dyn for<'t> Fn(&'t Topic) -> bool + Sync),
    ) -> Result<Counts, Away> {
        let all = self.all();
        let of_prefix = |(topic, _): &(&Topic, _)| topic.as_str().starts_with(prefix);
        let wanted = all.topics.iter().filter(of_prefix).filter(|(topic, _)| is_wanted(topic));
        let counts = wanted.map(|(topic, members)| (topic.clone(), members.len() as u64));
        let mut topics: Vec<_> = counts.take(TOPICS_MAX + 1).collect();
        let more = topics.len() > TOPICS_MAX;
        topics.truncate(TOPICS_MAX);
        Ok(Counts { topics, more })
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
