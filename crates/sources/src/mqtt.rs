//! Topics of an MQTT 5 broker.
//!
//! MQTT has no positions. The broker keeps a session for the client id and sends each message of QoS 1 again until it is
//! acknowledged, so a message is acknowledged after it is stored. Between the two a relay may die, and the broker
//! sends the message again under no name that would tell it apart from a new one. With a key in the payload the
//! copy is known by it: a place holds the last [`window::KEYS_MAX`] keys, and no more messages than that are
//! unacknowledged at any time (`window.rs`).
//!
//! Subscribes with QoS 1 at most: the exactness of QoS 2 ends at this process, which may die too.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mqtt_proto::TopicFilter;
use serde::Deserialize;
use url::Url;

use crate::copying::Copying;
use crate::kind::Kind;
use crate::place::Place;
use crate::source::{Failure, Item, Reading, Source};

mod message;
mod session;
#[cfg(test)]
mod tests;
mod window;
mod wire;

use message::Shape;
use session::MqttSession;
use window::Window;

/// The table `mqtt` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MqttSettings {
    url: String,
    client_id: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    filters: Vec<String>,
    session_expiry: Option<String>,
    keep_alive: Option<String>,
    key: Option<String>,
    retained: Option<String>,
}

/// Most topic filters: all of them are in one packet.
const FILTERS_MAX: usize = 100;
/// The longest client id, in bytes.
const CLIENT_ID_MAX: usize = 128;
/// The life of a session without a connection, if the configuration does not say.
const SESSION_EXPIRY: Duration = Duration::from_hours(1);
/// The bounds of `session-expiry`: a restarted relay must find its session, and the packet has 32 bits for seconds.
const SESSION_EXPIRY_BOUNDS: [Duration; 2] =
    [Duration::from_mins(1), Duration::from_hours(24 * 365)];
/// The interval of keep-alive, if the configuration does not say.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The bounds of `keep-alive`; the packet has 16 bits for seconds.
const KEEP_ALIVE_BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(1)];
/// The longest wait for a connection and the broker's consent.
const OPEN_MAX: Duration = Duration::from_secs(10);

impl crate::kind::Settings for MqttSettings {
    fn fields(&self) -> &'static [&'static str] {
        &["topic"]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        let settings = *self;
        let url = Url::parse(&settings.url)
            .map_err(|error| format!("url = {:?}: {error}", settings.url))?;
        let (is_encrypted, port) = match url.scheme() {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => {
                return Err(format!(
                    "url = {:?}; it must begin with mqtt:// or mqtts://",
                    settings.url
                ));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url has a user; it must be in user and password-file".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("url = {:?} has no host", settings.url))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(format!(
                "url = {:?}; it must end after the host and the port",
                settings.url
            ));
        }
        if settings.ca_file.is_some() && !is_encrypted {
            return Err("ca-file needs a url that begins with mqtts://".to_owned());
        }
        if settings.password_file.is_some() && settings.user.is_none() {
            return Err("password-file needs user".to_owned());
        }
        let client_id =
            settings.client_id.unwrap_or_else(|| format!("tailwater-{}", copying.source));
        if client_id.is_empty() || client_id.len() > CLIENT_ID_MAX {
            let bytes = client_id.len();
            return Err(format!("client-id has {bytes} bytes; it must have 1 to {CLIENT_ID_MAX}"));
        }
        let retained = match settings.retained.as_deref() {
            None | Some("skip") => Retained::Skip,
            Some("once") => Retained::Once,
            Some(other) => return Err(format!("retained = {other:?}; it must be skip or once")),
        };
        let key = match settings.key {
            Some(key) if !key.is_empty() && !key.starts_with('/') => {
                return Err(format!("key = {key:?}; it must be a JSON Pointer, as /id is one"));
            }
            key => key,
        };
        let broker = Broker {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(port),
            is_encrypted,
            ca_file: settings.ca_file,
            client_id,
            user: settings.user,
            password_file: settings.password_file,
            filters: filters(&settings.filters)?,
            retained,
            session_expiry: duration(
                "session-expiry",
                settings.session_expiry,
                SESSION_EXPIRY,
                SESSION_EXPIRY_BOUNDS,
            )?,
            keep_alive: duration("keep-alive", settings.keep_alive, KEEP_ALIVE, KEEP_ALIVE_BOUNDS)?,
        };
        let shape = Shape { key, topic: copying.topic.clone(), bytes_max: copying.event_bytes_max };
        Ok(Arc::new(Mqtt {
            broker: Arc::new(broker),
            shape: Arc::new(shape),
            told: Arc::default(),
        }))
    }
}

fn filters(written: &[String]) -> Result<Vec<TopicFilter>, String> {
    if written.is_empty() || written.len() > FILTERS_MAX {
        return Err(format!(
            "there are {} filters; there must be 1 to {FILTERS_MAX}",
            written.len()
        ));
    }
    let parse = |filter: &String| {
        TopicFilter::try_from(filter.as_str())
            .map_err(|_| format!("filters has {filter:?}, which is no topic filter of MQTT"))
    };
    written.iter().map(parse).collect()
}

fn duration(
    name: &str,
    written: Option<String>,
    default: Duration,
    [least, most]: [Duration; 2],
) -> Result<Duration, String> {
    let Some(written) = written else { return Ok(default) };
    let show = humantime::format_duration;
    let read =
        humantime::parse_duration(&written).ok().filter(|read| (least..=most).contains(read));
    read.ok_or_else(|| {
        format!("{name} = {written:?}; it must be {} to {}, as 30s is one", show(least), show(most))
    })
}

/// The rule about messages that the broker has kept for new subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retained {
    /// They are not copied.
    Skip,
    /// They are copied when the broker makes a session.
    Once,
}

/// A broker, and the session that is asked of it.
#[derive(Debug)]
struct Broker {
    host: String,
    port: u16,
    is_encrypted: bool,
    ca_file: Option<PathBuf>,
    client_id: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    filters: Vec<TopicFilter>,
    retained: Retained,
    session_expiry: Duration,
    keep_alive: Duration,
}

/// The kind `mqtt`, and its source: a broker has one order for a session.
#[derive(Clone)]
struct Mqtt {
    broker: Arc<Broker>,
    shape: Arc<Shape>,
    /// True when the loss of the last session is stored as a gap, and no session was made since.
    told: Arc<AtomicBool>,
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.broker, f)
    }
}

impl Kind for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Source for Mqtt {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let window = Window::after(after);
        let in_flight = self.shape.in_flight_max();
        let opening =
            tokio::time::timeout(OPEN_MAX, wire::connect(&self.broker, &self.shape, in_flight));
        let late = |_| Failure::Away(format!("no answer within {} s", OPEN_MAX.as_secs()));
        let connection = opening.await.map_err(late)??;
        // A loss is stored before a session exists that would hide it from the next relay.
        if after.is_some() && !connection.is_session_present && !self.told.load(Ordering::Relaxed) {
            connection.forget().await?;
            let reason = "the broker had no session of this client any more".to_owned();
            let gap = Item::Gap { missed: None, reason, place: window.place(0, None) };
            return Ok(Box::new(LostSession { gap: Some(gap), told: Arc::clone(&self.told) }));
        }
        self.told.store(false, Ordering::Relaxed);
        let shape = Arc::clone(&self.shape);
        let session = MqttSession::begin(connection, &self.broker, shape, window, after.is_none());
        Ok(Box::new(session))
    }

    fn has(&self, known: &Place, place: &Place) -> bool {
        window::has(known, place)
    }
}

/// A session that the broker has lost: it tells so, and is opened again.
struct LostSession {
    gap: Option<Item>,
    told: Arc<AtomicBool>,
}

#[async_trait]
impl Reading for LostSession {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        let anew = || Failure::Away("the broker had no session; a new one is made".to_owned());
        self.gap.take().map(|gap| vec![gap]).ok_or_else(anew)
    }

    async fn stored(&mut self, _up_to: &Place) -> Result<(), Failure> {
        self.told.store(true, Ordering::Relaxed);
        Ok(())
    }
}
