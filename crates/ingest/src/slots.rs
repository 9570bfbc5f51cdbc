//! The places of concurrent requests.

use std::sync::Arc;

use limits::{Client, Held, Quota, Terms};
use metrics::{IntGauge, Registry};

use crate::Config;
use crate::error::{Code, Error};

/// The bounds on concurrent requests. A request takes a place when the first bytes of its body are there.
#[derive(Debug)]
pub(crate) struct Slots {
    requests: Arc<Quota>,
    streams: Arc<Quota>,
    streaming: IntGauge,
}

/// The place of a streaming body.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    gauge: IntGauge,
    _place: Held,
}

/// The part of an address's places that one connection may take, so that the clients of a network which
/// share an address do not depend on one of them.
const CONNECTIONS_IN_ADDRESS: u64 = 8;

impl Slots {
    pub(crate) fn new(config: &Config, registry: &Registry) -> Self {
        let quota = |name, things, max: usize| {
            let max = u64::try_from(max).unwrap_or(u64::MAX);
            let terms = Terms::new(name, things, max, config.rules.share);
            let connection_max = (terms.address_max / CONNECTIONS_IN_ADDRESS).max(1);
            Quota::new(Terms { connection_max: Some(connection_max), ..terms }, registry)
        };
        Self {
            requests: quota("publishes", "concurrent requests", config.requests_max),
            streams: quota("publish_streams", "concurrent streams", config.streams_max),
            streaming: registry
                .gauge("publish_streams", "Request bodies that are streaming events now."),
        }
    }

    /// Takes a place for a body that is read as a whole.
    ///
    /// # Errors
    /// The node, the client's address or its connection has as many as it may.
    pub(crate) fn request(&self, client: Client) -> Result<Held, Error> {
        self.requests.take(client, 1).map_err(|full| Error::full(Code::TooManyRequests, full))
    }

    /// Takes a place for a streaming body.
    ///
    /// # Errors
    /// The node, the client's address or its connection has as many as it may.
    pub(crate) fn stream(&self, client: Client) -> Result<StreamSlot, Error> {
        let place = self.streams.take(client, 1);
        let place = place.map_err(|full| Error::full(Code::TooManyRequests, full))?;
        self.streaming.inc();
        Ok(StreamSlot { gauge: self.streaming.clone(), _place: place })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
