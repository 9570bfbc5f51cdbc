//! A stream of JetStream as a source: connects, compares its place with the stream, and asks for what follows.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    ConsumerError, ConsumerErrorKind, Info, RawMessageErrorKind, RetentionPolicy,
};
use async_nats::jetstream::{self, stream};
use async_nats::{ConnectErrorKind, ConnectOptions, Event, datetime};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::origin::{FirstMessage, Origin, Stamp, StreamState};
use super::reading::{Reader, StreamReading};
use super::{Login, Nats};
use crate::place::Place;
use crate::source::{Failure, Reading, Source};
use crate::{secret, tls};

/// The longest wait for a connection and for an answer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The server forgets a consumer that nobody has asked for so long: that of a relay that was killed.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);
/// Most messages that are asked for and not taken. Their bytes are bounded too (`Reader::new`).
const ASKED_MAX: usize = 512;
/// The longest time that one request for messages waits at the server.
const ASK_WAIT: Duration = Duration::from_secs(30);
/// The server shows in this interval that a request still waits; after two without it the connection counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The bytes that are asked for at once, if no message may be larger.
const ASKED_BYTES: usize = 4 << 20;
/// Bytes of subjects and headers around the payload of one message, generously.
const AROUND_BYTES: usize = 64 * 1024;

/// The source.
pub(super) struct StreamSource {
    nats: Arc<Nats>,
}

impl StreamSource {
    pub(super) const fn new(nats: Arc<Nats>) -> Self {
        Self { nats }
    }
}

#[async_trait]
impl Source for StreamSource {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let nats = &self.nats;
        let (client, lost) = nats.connect().await?;
        // The server's own limit bounds a message; two must fit, or the second would wait for a request of its own.
        let largest = client.server_info().max_payload + AROUND_BYTES;
        let mut context = jetstream::new(client);
        context.set_timeout(WAIT_MAX);
        let stream = context.get_stream(&nats.stream).await.map_err(no_stream)?;
        let facts = nats.facts(&stream, after).await?;
        let origin = Origin::of(after, nats.begin, &facts);
        let consumer = nats.consumer(&stream, &origin).await?;
        // Had the stream been made anew before there was a consumer, the consumer would be of the new one.
        let created = nanoseconds(stream.get_info().await.map_err(away)?.created);
        if created != facts.created {
            return Err(Failure::Away("the stream was made again just now".to_owned()));
        }
        let start = match origin.start {
            FirstMessage::Sequence(sequence) => sequence,
            FirstMessage::Time => consumer.cached_info().delivered.stream_sequence + 1,
        };
        let stamp = Stamp { created, time: origin.time };
        let place = stamp.place(origin.era, start - 1);
        let first = origin.before.item(place);
        let messages = consumer
            .stream()
            .max_messages_per_batch(ASKED_MAX)
            .max_bytes_per_batch(ASKED_BYTES.max(2 * largest))
            .expires(ASK_WAIT)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(away)?;
        let reader = Reader {
            nats: Arc::clone(nats),
            era: origin.era,
            created,
            is_whole: facts.is_whole,
            last: start - 1,
            time: origin.time,
            taken: 0,
            pending: consumer.cached_info().num_pending,
        };
        Ok(Box::new(StreamReading::new(reader, first, stream, consumer, messages, lost)))
    }
}

impl Nats {
    /// Connects. The token is cancelled when the connection is lost: the client would connect again by itself, and
    /// nobody would compare the place with the stream.
    async fn connect(&self) -> Result<(async_nats::Client, CancellationToken), Failure> {
        let refused = Failure::Refused;
        let tls = tls::client(self.ca_file.as_deref()).map_err(refused)?;
        let lost = CancellationToken::new();
        let on_loss = lost.clone();
        let options = ConnectOptions::new()
            .name("tailwater")
            .connection_timeout(WAIT_MAX)
            .request_timeout(Some(WAIT_MAX))
            .require_tls(self.tls)
            .tls_client_config(tls)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    on_loss.cancel();
                }
                std::future::ready(())
            });
        let options = match &self.login {
            Login::None => options,
            Login::Password { user, file } => {
                let password = secret::read("nats.password-file", file).map_err(refused)?;
                options.user_and_password(user.clone(), password)
            }
            Login::Token(file) => {
                options.token(secret::read("nats.token-file", file).map_err(refused)?)
            }
            Login::Credentials(file) => {
                let text = secret::read("nats.credentials-file", file).map_err(refused)?;
                // The library's own error may quote the file.
                let bad = |_| "nats.credentials-file has no credentials of NATS".to_owned();
                options.credentials(&text).map_err(bad).map_err(refused)?
            }
        };
        let connected = options.connect(&self.servers[..]).await;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Failure::Refused(format!("the server refuses the login: {error}"))
            }
            _ => Failure::Away(format!("no connection: {error}")),
        })?;
        Ok((client, lost))
    }

    /// Asks for the state of the stream.
    async fn facts(
        &self,
        stream: &stream::Stream,
        after: Option<&Place>,
    ) -> Result<StreamState, Failure> {
        let Info { config, created, state, .. } = stream.cached_info();
        if config.retention != RetentionPolicy::Limits {
            return Err(Failure::Refused(format!(
                "stream {} has the retention {:?}: it removes messages that others have read; it must have Limits",
                self.stream, config.retention
            )));
        }
        let (first, last) = (state.first_sequence, state.last_sequence);
        let ours = match after {
            Some(place) if (first..=last).contains(&place.major) => {
                match stream.get_raw_message(place.major).await {
                    Ok(message) => Some(nanoseconds(message.time)),
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => None,
                    Err(error) => return Err(away(error)),
                }
            }
            _ => None,
        };
        let is_superseding = config.max_messages_per_subject > 0 || config.allow_rollup;
        Ok(StreamState {
            created: nanoseconds(*created),
            first: if state.messages == 0 { last + 1 } else { first },
            first_time: nanoseconds(state.first_timestamp),
            last,
            last_time: nanoseconds(state.last_timestamp),
            ours,
            is_whole: self.subjects.is_empty() && !is_superseding,
        })
    }

    /// Makes a consumer, which lives as long as the reading.
    async fn consumer(
        &self,
        stream: &stream::Stream,
        origin: &Origin,
    ) -> Result<PullConsumer, Failure> {
        let deliver_policy = match origin.start {
            FirstMessage::Sequence(start_sequence) => {
                DeliverPolicy::ByStartSequence { start_sequence }
            }
            FirstMessage::Time => DeliverPolicy::ByStartTime {
                start_time: datetime::from_nanos(i128::from(origin.time) + 1).map_err(away)?,
            },
        };
        let (filter_subject, filter_subjects) = match &*self.subjects {
            [one] => (one.clone(), Vec::new()),
            many => (String::new(), many.to_vec()),
        };
        let config = pull::Config {
            description: Some("a reading of tailwater".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            filter_subject: filter_subject.clone(),
            filter_subjects: filter_subjects.clone(),
            inactive_threshold: FORGOTTEN_AFTER,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|e| no_consumer(&e))?;
        // Servers before 2.10 do not know of several subjects, and take all messages for asked.
        let got = &consumer.cached_info().config;
        if got.filter_subject != filter_subject || got.filter_subjects != filter_subjects {
            return Err(Failure::Refused(
                "the server selects by one subject at most; nats.subjects has several, which 2.10 knows".to_owned(),
            ));
        }
        Ok(consumer)
    }
}

/// Nanoseconds since 1970. Zero stands for a time that no clock of ours has shown, as that of no message.
pub(super) fn nanoseconds(time: datetime::DateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or(0)
}

pub(super) fn away(error: impl std::fmt::Display) -> Failure {
    Failure::Away(error.to_string())
}

fn no_stream(error: GetStreamError) -> Failure {
    match error.kind() {
        // It may be made at any time.
        GetStreamErrorKind::JetStream(reason) => Failure::Away(reason.to_string()),
        GetStreamErrorKind::InvalidStreamName => Failure::Refused(error.to_string()),
        _ => away(error),
    }
}

fn no_consumer(error: &ConsumerError) -> Failure {
    match error.kind() {
        ConsumerErrorKind::JetStream(reason) if reason.code() == 400 => {
            Failure::Refused(format!("the server makes no consumer: {reason}"))
        }
        _ => away(error),
    }
}
