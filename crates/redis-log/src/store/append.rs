//! Sends appends to the primaries of their logs, and tries failed ones again.
//!
//! An append is sent again only if certainly nothing was stored, or if it has a key or a bookmark, by which the log
//! recognises it; and only until a later append to its log has been stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use event_log::{Append, AppendError, LogName, Receipt};
use futures_util::future::join_all;

use super::patience::Patience;
use super::peer::Part;
use super::{Side, Store, lane};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::keys;
use crate::publish::ScriptAnswer;

/// The server that some appends go to: a primary, or a guest, to which their slot is moving.
type Route = (Address, Part);

/// An append that failed, and the meaning of its failure.
#[derive(Debug, Clone)]
struct Missed {
    failure: Failure,
    meaning: Meaning,
}

/// A batch whose appends are answered in rounds.
struct Batch<'a> {
    appends: &'a [Append],
    /// The log of each.
    logs: Vec<LogName>,
    answers: Vec<Result<ScriptAnswer, Missed>>,
    /// The appends that are to be sent, by index, in order.
    open: Vec<usize>,
}

impl Store {
    /// Appends events in the order given; one result for each.
    pub(crate) async fn append(
        &self,
        appends: &Arc<[Append]>,
    ) -> Vec<Result<Receipt, AppendError>> {
        let mut patience = Patience::new(self.retry, &self.topology);
        let logs = appends.iter().map(|append| self.publisher.log_of(append)).collect();
        let mut batch = Batch::new(appends, logs);
        loop {
            let routes = self.routes(&mut batch);
            let rounds = routes.iter().map(|(route, some)| self.send(route, appends, some));
            let mut evidence = HashSet::new();
            let answers = join_all(rounds).await;
            for (((address, _), indices), answers) in routes.iter().zip(answers) {
                for (i, answer) in indices.iter().zip(answers) {
                    batch.answers[*i] = answer.map_err(|failure| {
                        self.refusals.note(address, &failure);
                        self.formats.note(&failure);
                        let meaning = failure.meaning(address);
                        evidence.insert((address.clone(), meaning.clone()));
                        Missed { failure, meaning }
                    });
                }
            }
            for (address, meaning) in evidence {
                self.take_evidence(&address, &meaning);
            }
            batch.open = batch.again();
            if batch.open.is_empty() || !patience.pause().await {
                break;
            }
            self.stats.retried(batch.open.len());
        }
        let stored = batch.logs.iter().zip(&batch.answers);
        let stored =
            stored.filter_map(|(log, answer)| Some((log, answer.as_ref().ok()?.position()?)));
        self.witnesses.saw(stored);
        for missed in batch.answers.iter().filter_map(|answer| answer.as_ref().err()) {
            self.stats.not_appended(missed.failure.of_append());
        }
        let answers = appends.iter().zip(batch.answers);
        answers.map(|(append, answer)| answer.map_err(|m| m.failure)?.receipt(append)).collect()
    }

    /// Groups the open appends by route. The appends of a partition without a primary stay open.
    fn routes(&self, batch: &mut Batch<'_>) -> Vec<(Route, Vec<usize>)> {
        // As many routes as primaries: a search is faster than a map.
        let mut routes: Vec<(Route, Vec<usize>)> = Vec::new();
        let mut of_partition: HashMap<u32, Route> = HashMap::new();
        for i in &batch.open {
            let partition = keys::partition(&batch.logs[*i]);
            let route = match (of_partition.get(&partition), &batch.answers[*i]) {
                // The first append of a partition decides for all of them, so that they stay in order.
                (Some(route), _) => Ok(route.clone()),
                (None, Err(Missed { meaning: Meaning::Ask { to }, .. })) => {
                    Ok((to.clone(), Part::Guest))
                }
                (None, _) => self.server_on(Side::Primary, partition),
            };
            match route {
                Ok(route) => {
                    match routes.iter_mut().find(|(known, _)| *known == route) {
                        Some((_, some)) => some.push(*i),
                        None => routes.push((route.clone(), vec![*i])),
                    }
                    of_partition.insert(partition, route);
                }
                Err(failure) => {
                    self.topology.suspect();
                    batch.answers[*i] = Err(Missed { failure, meaning: Meaning::Elsewhere });
                }
            }
        }
        routes
    }

    async fn send(
        &self,
        (address, part): &Route,
        appends: &Arc<[Append]>,
        some: &[usize],
    ) -> Vec<Result<ScriptAnswer, Failure>> {
        let peer = match self.peers.get(address, *part) {
            Ok(peer) => peer,
            Err(failure) => return vec![Err(failure); some.len()],
        };
        let lane = match peer.lane() {
            Ok(lane) => lane,
            Err(failure) => return vec![Err(failure); some.len()],
        };
        let is_asking = *part == Part::Guest;
        let mut answers = Vec::with_capacity(some.len());
        for some in some.chunks(lane::BATCH_MAX) {
            answers.extend(lane.append(appends, some.to_vec(), is_asking).await);
        }
        answers
    }
}

impl<'a> Batch<'a> {
    fn new(appends: &'a [Append], logs: Vec<LogName>) -> Self {
        let untried = Missed { failure: Failure::Closed, meaning: Meaning::Elsewhere };
        Self {
            appends,
            logs,
            answers: vec![Err(untried); appends.len()],
            open: (0..appends.len()).collect(),
        }
    }

    /// The appends that are to be sent again.
    fn again(&self) -> Vec<usize> {
        let mut overtaken = HashSet::new();
        let mut again = Vec::new();
        for i in self.open.iter().rev() {
            let (append, log) = (&self.appends[*i], &self.logs[*i]);
            match &self.answers[*i] {
                Ok(_) => {
                    overtaken.insert(log);
                }
                Err(missed) if missed.may_be_sent_again(append) => {
                    if !overtaken.contains(log) {
                        again.push(*i);
                    }
                }
                Err(_) => {}
            }
        }
        again.reverse();
        again
    }
}

impl Missed {
    fn may_be_sent_again(&self, append: &Append) -> bool {
        match self.meaning {
            Meaning::Moved { .. } | Meaning::Ask { .. } | Meaning::NotYet | Meaning::Elsewhere => {
                true
            }
            Meaning::Unsure => append.key.is_some() || append.advance.is_some(),
            Meaning::Final => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use event_log::{Key, NewEvent, Topic};
    use redis::RedisError;

    use super::*;

    fn append(topic: &str, key: Option<&str>) -> Append {
        Append {
            key: key.map(|key| Key::new(key).unwrap()),
            ..Append::new(Topic::new(topic).unwrap(), NewEvent::default())
        }
    }

    fn missed(meaning: Meaning) -> Result<ScriptAnswer, Missed> {
        let error = RedisError::from(std::io::Error::other("gone"));
        Err(Missed { failure: Failure::Redis(error), meaning })
    }

    fn batch(appends: &[Append]) -> Batch<'_> {
        Batch::new(appends, appends.iter().map(|append| (*append.topic).clone()).collect())
    }

    #[test]
    fn an_append_that_may_be_stored_is_sent_again_only_with_a_key() {
        let appends =
            [append("a", None), append("a", Some("k")), append("b", None), append("b", None)];
        let mut batch = batch(&appends);
        assert_eq!(batch.again(), [0, 1, 2, 3], "nothing was sent yet");
        batch.answers =
            [Meaning::Unsure, Meaning::Unsure, Meaning::NotYet, Meaning::Final].map(missed).into();
        assert_eq!(batch.again(), [1, 2]);
    }

    #[test]
    fn an_append_behind_a_stored_one_of_its_topic_is_not_sent_again() {
        let appends = [append("a", None), append("b", None), append("a", None), append("a", None)];
        let mut batch = batch(&appends);
        batch.answers = vec![
            missed(Meaning::NotYet),
            missed(Meaning::NotYet),
            Ok(ScriptAnswer::stored(1)),
            missed(Meaning::NotYet),
        ];
        assert_eq!(batch.again(), [1, 3]);
    }
}
