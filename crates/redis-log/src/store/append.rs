//! Appends on their way to the primaries of their topics, again if need be.
//!
//! One is sent again only if it is certain that nothing was stored, or if it has a key, by which the
//! log knows it again; and only as long as nothing that was to follow it in its topic has overtaken it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use event_log::{Append, AppendError, Receipt};
use futures_util::future::join_all;

use super::patience::Patience;
use super::{Store, lane};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::keys;
use crate::publish::Answer;

/// Where some appends go, and whether as guests of a slot that is on its way there.
type Route = (Address, bool);

/// An append that was not answered for, and what that means.
#[derive(Debug, Clone)]
struct Missed {
    failure: Failure,
    meaning: Meaning,
}

/// A batch whose appends are answered one round after the other.
struct Batch<'a> {
    appends: &'a [Append],
    answers: Vec<Result<Answer, Missed>>,
    /// Those to be sent, in order.
    open: Vec<usize>,
}

impl Store {
    /// Appends in the order given; one result for each.
    pub(crate) async fn append(
        &self,
        appends: &Arc<[Append]>,
    ) -> Vec<Result<Receipt, AppendError>> {
        let mut patience = Patience::new(self.retry, &self.topology);
        let mut batch = Batch::new(appends);
        loop {
            let routes = self.routes(&mut batch);
            let rounds = routes.iter().map(|(route, some)| self.send(route, appends, some));
            let mut evidence = HashSet::new();
            let answers = join_all(rounds).await;
            for (((address, _), indices), answers) in routes.iter().zip(answers) {
                for (i, answer) in indices.iter().zip(answers) {
                    batch.answers[*i] = answer.map_err(|failure| {
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
        let stored = appends.iter().zip(&batch.answers).filter_map(|(append, answer)| {
            Some((&append.topic, answer.as_ref().ok()?.position()?))
        });
        self.publisher.witnesses.saw(stored);
        let answers = appends.iter().zip(batch.answers);
        answers.map(|(append, answer)| answer.map_err(|m| m.failure)?.receipt(append)).collect()
    }

    /// The open appends by where they go. Those of a partition that nobody serves stay open.
    fn routes(&self, batch: &mut Batch<'_>) -> Vec<(Route, Vec<usize>)> {
        // As many as there are primaries: a search is quicker than a map.
        let mut routes: Vec<(Route, Vec<usize>)> = Vec::new();
        let mut of_partition: HashMap<u32, Route> = HashMap::new();
        for i in &batch.open {
            let partition = keys::partition(&batch.appends[*i].topic);
            let route = match (of_partition.get(&partition), &batch.answers[*i]) {
                // The first of a partition decides for all, which are to stay in their order.
                (Some(route), _) => Ok(route.clone()),
                (None, Err(Missed { meaning: Meaning::Ask { to }, .. })) => Ok((to.clone(), true)),
                (None, _) => self.topology.owner(partition).map(|owner| (owner, false)),
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
        (address, asking): &Route,
        appends: &Arc<[Append]>,
        some: &[usize],
    ) -> Vec<Result<Answer, Failure>> {
        let peer = match self.peers.get(address, *asking) {
            Ok(peer) => peer,
            Err(failure) => return vec![Err(failure); some.len()],
        };
        let mut answers = Vec::with_capacity(some.len());
        for some in some.chunks(lane::BATCH_MAX) {
            answers.extend(peer.lane.append(appends, some.to_vec(), *asking).await);
        }
        answers
    }
}

impl<'a> Batch<'a> {
    fn new(appends: &'a [Append]) -> Self {
        let untried = Missed { failure: Failure::Closed, meaning: Meaning::Elsewhere };
        Self {
            appends,
            answers: vec![Err(untried); appends.len()],
            open: (0..appends.len()).collect(),
        }
    }

    /// Those that are to be sent again.
    fn again(&self) -> Vec<usize> {
        let mut overtaken = HashSet::new();
        let mut again = Vec::new();
        for i in self.open.iter().rev() {
            let append = &self.appends[*i];
            match &self.answers[*i] {
                Ok(_) => {
                    overtaken.insert(&append.topic);
                }
                Err(missed) if missed.may_be_sent_again(append) => {
                    if !overtaken.contains(&append.topic) {
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
            Meaning::Unsure => append.key.is_some(),
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
            topic: Topic::new(topic).unwrap(),
            event: NewEvent::default(),
            key: key.map(|key| Key::new(key).unwrap()),
        }
    }

    fn missed(meaning: Meaning) -> Result<Answer, Missed> {
        let error = RedisError::from(std::io::Error::other("gone"));
        Err(Missed { failure: Failure::Redis(error), meaning })
    }

    #[test]
    fn what_may_have_been_stored_is_sent_again_only_with_a_key() {
        let appends =
            [append("a", None), append("a", Some("k")), append("b", None), append("b", None)];
        let mut batch = Batch::new(&appends);
        assert_eq!(batch.again(), [0, 1, 2, 3], "nothing was sent yet");
        batch.answers =
            [Meaning::Unsure, Meaning::Unsure, Meaning::NotYet, Meaning::Final].map(missed).into();
        assert_eq!(batch.again(), [1, 2]);
    }

    #[test]
    fn what_was_overtaken_in_its_topic_is_not_sent_again() {
        let appends = [append("a", None), append("b", None), append("a", None), append("a", None)];
        let mut batch = Batch::new(&appends);
        batch.answers = vec![
            missed(Meaning::NotYet),
            missed(Meaning::NotYet),
            Ok(Answer::stored(1)),
            missed(Meaning::NotYet),
        ];
        assert_eq!(batch.again(), [1, 3]);
    }
}
