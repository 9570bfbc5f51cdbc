//! Sends commands to one side of a partition, and again if another server is there now.

use deadpool_redis::Connection;
use redis::{Cmd, RedisError, Value};
use tokio::time::Instant;

use super::patience::Patience;
use super::peer::Part;
use super::{Side, Store};
use crate::address::Address;
use crate::error::{Failure, Meaning};
use crate::scripts;

impl Store {
    /// Runs commands of one key each, all of one partition, in their order.
    pub(super) async fn ask(
        &self,
        side: Side,
        partition: u32,
        commands: &[Cmd],
    ) -> Result<Vec<Value>, Failure> {
        // Half of the reader's time-out: the reader then gets the reason, and not only a time-out.
        let mut patience = Patience::new(self.timeout / 2, &self.topology);
        loop {
            let (failure, meaning) = match self.server_on(side, partition) {
                Ok((server, part)) => match self.ask_at(&server, part, commands).await {
                    Ok(values) => return Ok(values),
                    Err(failure) => {
                        self.refusals.note(&server, &failure);
                        let meaning = failure.meaning(&server);
                        self.take_evidence(&server, &meaning);
                        (failure, meaning)
                    }
                },
                Err(failure) => {
                    self.topology.suspect();
                    (failure, Meaning::Elsewhere)
                }
            };
            let again = match meaning {
                Meaning::Moved { .. } | Meaning::NotYet | Meaning::Ask { .. } => true,
                // Where no other server can take its place, the reader gets the failure at once.
                Meaning::Elsewhere | Meaning::Unsure => self.has_others(side),
                Meaning::Final => false,
            };
            if !again || !patience.pause().await {
                return Err(failure);
            }
        }
    }

    /// Returns true if another server can take the place of the one on this side.
    fn has_others(&self, side: Side) -> bool {
        !self.topology.is_fixed() || side == Side::Source && !self.topology.reads_primaries()
    }

    pub(super) async fn ask_at(
        &self,
        server: &Address,
        part: Part,
        commands: &[Cmd],
    ) -> Result<Vec<Value>, Failure> {
        let peer = self.peers.get(server, part)?;
        let mut connection = peer.connection().await?;
        let begin = Instant::now();
        let replies = run(&mut connection, commands).await?;
        self.stats.answered(begin.elapsed());
        let asked = |reply: &Result<Value, RedisError>| {
            let Err(error) = reply else { return false };
            matches!(Failure::Redis(error.clone()).meaning(server), Meaning::Ask { .. })
        };
        if replies.iter().any(asked) {
            return self.one_by_one(server, connection, commands).await;
        }
        Ok(replies.into_iter().collect::<Result<_, _>>()?)
    }

    /// Runs the commands while the slot is moving to another node, with some keys here and some there:
    /// one after the other, so that a later answer is never older than an earlier one.
    async fn one_by_one(
        &self,
        owner: &Address,
        mut connection: Connection,
        commands: &[Cmd],
    ) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::with_capacity(commands.len());
        for command in commands {
            let reply = run(&mut connection, std::slice::from_ref(command)).await?.pop();
            let failure = match reply.ok_or(Failure::Answer("none to a command"))? {
                Ok(value) => {
                    values.push(value);
                    continue;
                }
                Err(error) => Failure::Redis(error),
            };
            let Meaning::Ask { to } = failure.meaning(owner) else { return Err(failure) };
            let mut there = self.peers.get(&to, Part::Guest)?.connection().await?;
            let asked = [redis::cmd("ASKING"), command.clone()];
            let reply = run(&mut there, &asked).await?.into_iter().nth(1);
            values.push(reply.ok_or(Failure::Answer("none to a command after ASKING"))??);
        }
        Ok(values)
    }
}

/// Runs commands in one pipeline. If the server lacks a script, all scripts are loaded and they
/// run again: the connections of a pool do not load scripts, because few of them ever run one.
async fn run(
    connection: &mut Connection,
    commands: &[Cmd],
) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command.clone());
    }
    let replies: Vec<Result<Value, RedisError>> = pipeline.query_async(connection).await?;
    if !replies.iter().any(|reply| reply.as_ref().is_err_and(scripts::lacks_script)) {
        return Ok(replies);
    }
    scripts::loading_all().exec_async(connection).await?;
    pipeline.query_async(connection).await
}
