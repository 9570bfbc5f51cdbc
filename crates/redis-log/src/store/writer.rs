//! The connection by which a primary gets its appends, many as one.
//!
//! What was sent and not answered may have been stored or not, so as little as possible is sent into a
//! connection that is dead: one that has ended is noticed before, and one that was silent for a while
//! is asked for a sign of life.

use std::sync::Arc;
use std::time::Duration;

use event_log::Append;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use crate::access::Access;
use crate::address::Address;
use crate::config::Config;
use crate::durability::Durability;
use crate::error::Failure;
use crate::publish::{self, Answer, Publisher, forgot};
use crate::url::Kind;
use crate::wire::{Broken, Wire, field};

/// A silence after which a connection is not trusted without a sign of life.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// Room that is kept from one batch to the next: few have larger events.
const BYTES_KEPT: usize = 256 * 1024;

/// Sends batches of appends to one primary, over a connection that is made when it is needed.
pub(super) struct Writer {
    address: Address,
    access: Access,
    publisher: Arc<Publisher>,
    /// Whether a server may have been demoted without ending what it had with us.
    demotable: bool,
    /// The connection, if there is one, and when anything came by it.
    wire: Option<(Wire, Instant)>,
    /// Whether its disk was as it must be when it was looked at last.
    proven: bool,
    /// What is sent, kept for its room.
    bytes: Vec<u8>,
}

/// One of a batch, and whether its topic's slot is still on its way to the primary.
pub(super) type Guest<'a> = (&'a Append, bool);

impl Writer {
    pub(super) fn new(address: Address, config: &Config, publisher: Arc<Publisher>) -> Self {
        let demotable = matches!(config.url.kind, Kind::Sentinel { .. });
        let access = config.access();
        Self { address, access, publisher, demotable, wire: None, proven: false, bytes: Vec::new() }
    }

    /// Ends the connection: what is behind it is not what it was.
    pub(super) fn distrust(&mut self) {
        self.wire = None;
    }

    /// Sees to it that something can be sent.
    ///
    /// # Errors
    /// It cannot, and nothing was.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        if let Some((wire, heard)) = &mut self.wire {
            let silent = heard.elapsed() >= SILENCE_MAX;
            if wire.has_ended() || silent && !is_alive(wire).await {
                self.wire = None;
            }
        }
        if self.wire.is_none() {
            // Boxed: it has room for a whole handshake.
            self.wire = Some((Box::pin(self.connect()).await?, Instant::now()));
        }
        if self.publisher.proof.level == Durability::Disk && !self.proven {
            // Nothing is stored that would not be acknowledged, where that is known beforehand.
            let (_, proof) = self.send(&[]).await;
            proof?;
            self.proven = true;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Wire, Failure> {
        let connected = Wire::connect(&self.access, &self.address, 2, "tailwater-append").await;
        let (mut wire, greeting) = connected.map_err(unreached)?;
        if self.demotable && field(&greeting, "role") != "master" {
            let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
            return Err(Failure::Unreached((kind, "it is a replica now").into()));
        }
        // A restarted server has lost the script, and all connections with it: loaded here, no batch
        // finds it missing half-way, which would upset the order of its appends.
        load(&mut wire).await.map_err(unreached)?;
        Ok(wire)
    }

    /// Appends a batch; one answer for each. To be called when it is ready.
    pub(super) async fn append(&mut self, batch: &[Guest<'_>]) -> Vec<Result<Answer, Failure>> {
        let mut answers = self.proved(batch).await;
        let missed: Vec<usize> =
            (0..answers.len()).filter(|i| answers[*i].as_ref().is_err_and(forgot)).collect();
        if !missed.is_empty() {
            self.run_again(batch, &missed, &mut answers).await;
        }
        if answers.iter().any(|answer| matches!(answer, Err(Failure::Disk(_)))) {
            self.proven = false;
        }
        answers
    }

    /// Runs again what was not run because somebody has flushed the scripts.
    async fn run_again(
        &mut self,
        batch: &[Guest<'_>],
        missed: &[usize],
        answers: &mut [Result<Answer, Failure>],
    ) {
        tracing::info!(appends = missed.len(), "redis has forgotten the script: loading it again");
        let Some((wire, _)) = &mut self.wire else { return };
        if let Err(broken) = load(wire).await {
            self.wire = None;
            let failure = unreached(broken);
            missed.iter().for_each(|i| answers[*i] = Err(failure.clone()));
            return;
        }
        let again: Vec<_> = missed.iter().map(|i| batch[*i]).collect();
        for (i, answer) in missed.iter().zip(self.proved(&again).await) {
            answers[*i] = answer;
        }
    }

    /// One round trip, in which nothing counts as stored that is not proved to be.
    async fn proved(&mut self, batch: &[Guest<'_>]) -> Vec<Result<Answer, Failure>> {
        let (mut answers, proof) = self.send(batch).await;
        if let Err(unmet) = proof {
            let stored = |answer: &&mut Result<Answer, Failure>| {
                answer.as_ref().is_ok_and(|answer| answer.position().is_some())
            };
            answers.iter_mut().filter(stored).for_each(|answer| *answer = Err(unmet.clone()));
        }
        answers
    }

    async fn send(
        &mut self,
        batch: &[Guest<'_>],
    ) -> (Vec<Result<Answer, Failure>>, Result<(), Failure>) {
        let runs = self.runs(batch);
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.shrink_to(BYTES_KEPT);
        for (asking, run) in &runs {
            if *asking {
                redis::cmd("ASKING").write_packed_command(bytes);
            }
            self.publisher.write(run.iter().map(|i| batch[*i].0), bytes);
        }
        let proof = self.publisher.proof.commands();
        proof.iter().for_each(|command| command.write_packed_command(bytes));

        let mut replies = Replies::of(&mut self.wire, bytes).await;
        let mut answers = vec![Err(Failure::Closed); batch.len()];
        for (asking, run) in &runs {
            if *asking {
                // What it leads to says whether it was understood.
                let _granted = replies.next().await.is_ok();
            }
            let said = match replies.next().await {
                Ok(reply) => publish::answers(reply, run.len()),
                Err(unsure) => vec![Err(unsure); run.len()],
            };
            for (i, answer) in run.iter().zip(said) {
                answers[*i] = answer;
            }
        }
        let mut proofs = Vec::new();
        for _ in &proof {
            match replies.next().await {
                Ok(reply) => proofs.push(reply),
                Err(unsure) => return (answers, Err(unsure)),
            }
        }
        (answers, self.publisher.proof.judge(proofs))
    }

    /// Runs of the script, by index. Guests, who are rare, come by themselves.
    fn runs(&self, batch: &[Guest<'_>]) -> Vec<(bool, Vec<usize>)> {
        let mut runs = Vec::new();
        for asking in [false, true] {
            let some: Vec<_> = (0..batch.len()).filter(|i| batch[*i].1 == asking).collect();
            let appends: Vec<_> = some.iter().map(|i| batch[*i].0).collect();
            for run in self.publisher.runs(&appends) {
                runs.push((asking, run.into_iter().map(|i| some[i]).collect()));
            }
        }
        runs
    }
}

/// The answers to what was sent, until the connection breaks: from then on, why.
struct Replies<'a> {
    wire: &'a mut Option<(Wire, Instant)>,
    until: Instant,
    broken: Option<Failure>,
}

impl<'a> Replies<'a> {
    async fn of(wire: &'a mut Option<(Wire, Instant)>, bytes: &[u8]) -> Self {
        let mut replies = Self { until: Instant::now(), broken: None, wire };
        let Some((wire, _)) = replies.wire else {
            replies.broken = Some(Failure::Closed);
            return replies;
        };
        replies.until += wire.timeout();
        if let Err(broken) = wire.send(bytes).await {
            replies.fail(broken);
        }
        replies
    }

    async fn next(&mut self) -> Result<Result<Value, RedisError>, Failure> {
        if let Some((wire, heard)) = &mut self.wire {
            match wire.answer_until(self.until).await {
                Ok(value) => {
                    *heard = Instant::now();
                    return Ok(value.extract_error());
                }
                Err(broken) => self.fail(broken),
            }
        }
        Err(self.broken.clone().unwrap_or(Failure::Closed))
    }

    /// What was sent is of unknown fate, and whatever may still come would answer something else.
    fn fail(&mut self, broken: Broken) {
        *self.wire = None;
        self.broken = Some(Failure::Redis(broken.into_error()));
    }
}

async fn is_alive(wire: &mut Wire) -> bool {
    let sent = wire.send(&redis::cmd("PING").get_packed_command()).await;
    sent.is_ok() && wire.answer().await.is_ok_and(|pong| pong.extract_error().is_ok())
}

async fn load(wire: &mut Wire) -> Result<(), Broken> {
    wire.send(&publish::loading().get_packed_command()).await?;
    wire.answer().await?.extract_error()?;
    Ok(())
}

/// Nothing was sent that could have been stored.
fn unreached(broken: Broken) -> Failure {
    match broken {
        Broken::Late(after) => Failure::Late(after),
        broken => Failure::Unreached(broken.into_error()),
    }
}
