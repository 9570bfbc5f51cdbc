//! The writer: sends batches of appends to a primary over one connection.
//!
//! An append that was sent and not answered may be stored or not. So the writer avoids dead
//! connections: before a batch it notices one that has ended, and pings one that was silent for a
//! while.

use std::time::Duration;

use event_log::Append;
use redis::{RedisError, Value};
use tokio::time::Instant;

use super::peer::Appending;
use crate::access::Access;
use crate::address::Address;
use crate::error::Failure;
use crate::publish::{self, ScriptAnswer};
use crate::scripts::{PUBLISH, lacks_script};
use crate::server::ServerInfo;
use crate::wire::{Broken, Wire};

/// Silence after which a connection must answer a ping before it is used.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// Largest buffer that is kept from one batch to the next. Few batches are larger.
const BYTES_KEPT: usize = 256 * 1024;

/// Sends batches of appends to one primary. It connects when it has something to send.
pub(super) struct Writer {
    address: Address,
    access: Access,
    appending: Appending,
    /// True if a server may be demoted and keep its connections.
    demotable: bool,
    /// The connection, if there is one, and the time at which it last received anything.
    wire: Option<(Wire, Instant)>,
    /// True if the last look at the disk's settings proved them.
    proven: bool,
    /// The buffer of a batch, kept for the next one.
    bytes: Vec<u8>,
}

/// An append of a batch, and true if the slot of its topic is still moving to the primary.
pub(super) type Guest<'a> = (&'a Append, bool);

impl Writer {
    pub(super) fn new(
        address: Address,
        access: Access,
        appending: Appending,
        demotable: bool,
    ) -> Self {
        Self { address, access, appending, demotable, wire: None, proven: false, bytes: Vec::new() }
    }

    /// Ends the connection: the server may have changed, so the next batch reconnects.
    pub(super) fn distrust(&mut self) {
        self.wire = None;
    }

    /// Prepares to send a batch.
    ///
    /// # Errors
    /// Nothing can be sent, and nothing was sent.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        if let Some((wire, heard)) = &mut self.wire {
            let silent = heard.elapsed() >= SILENCE_MAX;
            if wire.has_ended() || silent && !is_alive(wire).await {
                self.wire = None;
            }
        }
        if self.wire.is_none() {
            // Boxed: the future has room for a whole handshake.
            self.wire = Some((Box::pin(self.connect()).await?, Instant::now()));
        }
        if self.appending.proof.can_be_asked_first() && !self.proven {
            // Known beforehand: an event that would not be acknowledged is not stored.
            let (_, proof) = self.send(&[]).await;
            proof?;
            self.proven = true;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Wire, Failure> {
        let connected = Wire::connect(&self.access, &self.address, 2, "tailwater-append").await;
        let (mut wire, greeting) = connected.map_err(unreached)?;
        let server = ServerInfo::greeted(&greeting);
        server.refuse_old().map_err(|reason| Failure::Unsuitable(reason.into()))?;
        if self.demotable {
            server.refuse_replica().map_err(Failure::Unreached)?;
        }
        // A restarted server has lost the script and all connections. Each connection loads the
        // script, so that no batch finds it missing half-way, which would break the order of appends.
        load(&mut wire).await.map_err(unreached)?;
        Ok(wire)
    }

    /// Appends a batch; one answer for each. Must be called after [`ready`](Self::ready).
    pub(super) async fn append(
        &mut self,
        batch: &[Guest<'_>],
    ) -> Vec<Result<ScriptAnswer, Failure>> {
        let mut answers = self.proved(batch).await;
        let lacking = |answer: &Result<_, _>| matches!(answer, Err(Failure::Redis(error)) if lacks_script(error));
        let missed: Vec<usize> = (0..answers.len()).filter(|i| lacking(&answers[*i])).collect();
        if !missed.is_empty() {
            self.run_again(batch, &missed, &mut answers).await;
        }
        if answers.iter().any(|answer| matches!(answer, Err(Failure::Disk(_)))) {
            self.proven = false;
        }
        answers
    }

    /// Loads the script again, and repeats the runs that a flush of the scripts has refused.
    async fn run_again(
        &mut self,
        batch: &[Guest<'_>],
        missed: &[usize],
        answers: &mut [Result<ScriptAnswer, Failure>],
    ) {
        tracing::info!(appends = missed.len(), "redis has lost the script: loading it again");
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

    /// Makes one round trip. Without the proof no append of it counts as stored.
    async fn proved(&mut self, batch: &[Guest<'_>]) -> Vec<Result<ScriptAnswer, Failure>> {
        let (mut answers, proof) = self.send(batch).await;
        if let Err(unmet) = proof {
            let stored = |answer: &&mut Result<ScriptAnswer, Failure>| {
                answer.as_ref().is_ok_and(|answer| answer.position().is_some())
            };
            answers.iter_mut().filter(stored).for_each(|answer| *answer = Err(unmet.clone()));
        }
        answers
    }

    async fn send(
        &mut self,
        batch: &[Guest<'_>],
    ) -> (Vec<Result<ScriptAnswer, Failure>>, Result<(), Failure>) {
        let runs = self.runs(batch);
        let Appending { publisher, witnesses, proof } = &self.appending;
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.shrink_to(BYTES_KEPT);
        for (asking, run) in &runs {
            if *asking {
                redis::cmd("ASKING").write_packed_command(bytes);
            }
            let run = run.iter().map(|i| {
                let append = batch[*i].0;
                (append, witnesses.of(&publisher.log_of(append)))
            });
            publisher.write(run, bytes);
        }
        let commands = proof.commands();
        commands.iter().for_each(|command| command.write_packed_command(bytes));

        let mut replies = Replies::of(&mut self.wire, bytes).await;
        let mut answers = vec![Err(Failure::Closed); batch.len()];
        for (asking, run) in &runs {
            if *asking {
                // The answer to the run tells if ASKING was understood.
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
        for _ in &commands {
            match replies.next().await {
                Ok(reply) => proofs.push(reply),
                Err(unsure) => return (answers, Err(unsure)),
            }
        }
        (answers, proof.judge(proofs))
    }

    /// Runs of the script, by index. Guests are rare and get runs of their own.
    fn runs(&self, batch: &[Guest<'_>]) -> Vec<(bool, Vec<usize>)> {
        let mut runs = Vec::new();
        for asking in [false, true] {
            let some: Vec<_> = (0..batch.len()).filter(|i| batch[*i].1 == asking).collect();
            let appends: Vec<_> = some.iter().map(|i| batch[*i].0).collect();
            for run in self.appending.publisher.runs(&appends) {
                runs.push((asking, run.into_iter().map(|i| some[i]).collect()));
            }
        }
        runs
    }
}

/// The replies to a batch until the connection breaks; from then on the reason.
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

    /// Drops the connection: the fate of the batch is unknown, and a later reply must not be taken for
    /// the reply to another batch.
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
    wire.send(&PUBLISH.loading().get_packed_command()).await?;
    wire.answer().await?.extract_error()?;
    Ok(())
}

/// The failure when no append was sent.
fn unreached(broken: Broken) -> Failure {
    match broken {
        Broken::Late(after) => Failure::Late(after),
        broken => Failure::Unreached(broken.into_error()),
    }
}
