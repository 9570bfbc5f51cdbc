//! The settings of an operator.

use std::sync::Arc;
use std::time::Duration;

/// The settings of a gateway, with the defaults of the command line.
#[derive(Debug, Clone)]
pub struct Config {
    /// This gateway's name, which clients see in `tailwater.ready`.
    pub node: String,
    /// Subscriptions at a time; one more is told to come back.
    pub max_connections: usize,
    /// Topics in one subscription.
    pub max_topics: usize,
    /// Silence after which a comment is sent, unless the request says otherwise.
    pub heartbeat: Duration,
    /// The least pause before a client reconnects; each is told one between this and twice this.
    pub retry: Duration,
    /// The age at which a connection is handed away, give or take a fifth.
    pub max_age: Duration,
    /// The origins whose pages may use this gateway, besides its own.
    pub cors: cors::Policy,
    /// The requests that it answers at all, by their host and the page that asks.
    pub site: cors::SiteRules,
    /// The decisions about its clients, which it shares with the node's other services.
    pub access: access::Access,
    /// The bounds of its clients, which it shares with the node's other services.
    pub rules: limits::Rules,
    /// Streams and long-polls of one subject, on all nodes together.
    pub subject_streams: u32,
    /// Topics that the streams and long-polls of one subject watch at a time on this node.
    pub subject_topics: u32,
    /// The counts of the other nodes; `None` if this node is alone.
    pub leases: Option<Arc<dyn limits::Leases>>,
    /// The topics that have presence.
    pub presence: access::Patterns,
    /// The members of topics on all nodes; `None` if this node is alone.
    pub members: Option<Arc<dyn presence::Store>>,
    /// Bytes a second that one subject, or one address without one, is sent of events that it has missed; a
    /// connection gets a quarter.
    pub replay_rate: u64,
    /// True if logs and reports name subjects by a hash.
    pub hash_subjects: bool,
    /// The Mercure hub that it serves, if it serves one.
    pub mercure: Option<Arc<mercure::Settings>>,
    /// True if the console offers to publish, because ingest answers at the same address.
    pub publish: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: "tailwater".to_owned(),
            max_connections: 10_000,
            max_topics: 64,
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            max_age: Duration::from_mins(30),
            cors: cors::Policy::default(),
            site: cors::SiteRules::default(),
            access: access::Access::open(&metrics::Registry::new()),
            rules: limits::Rules::default(),
            subject_streams: 10_000,
            subject_topics: 640_000,
            leases: None,
            presence: access::Patterns::default(),
            members: None,
            replay_rate: 64 * 1024 * 1024,
            hash_subjects: false,
            mercure: None,
            publish: false,
        }
    }
}
