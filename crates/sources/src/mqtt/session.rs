//! A session: messages as they come, and their acknowledgements when they are stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mqtt_proto::v5::{
    Disconnect, DisconnectReasonCode, Packet, PacketType, Puback, RetainHandling, Suback,
    Subscribe, SubscribeReasonCode, SubscriptionOptions,
};
use mqtt_proto::{Pid, QoS};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::message::{Arrival, Shape};
use super::window::Window;
use super::wire::{BrokerLink, Incoming, Outgoing, next, send};
use super::{Broker, Retained};
use crate::place::Place;
use crate::source::{BATCH_MAX, Failure, Item, Reading};

/// An open session. Two tasks read and write, so that the broker hears of this client however long the log takes.
pub(super) struct MqttSession {
    shape: Arc<Shape>,
    window: Window,
    retained: Retained,
    /// The ordinal of the last message.
    last: u64,
    /// The place at which the first session of all begins, until it is returned: with it the next relay knows that there was
    /// a session, although no message came.
    begin: Option<Place>,
    incoming: mpsc::Receiver<Result<Arrival, Failure>>,
    /// A failure that came behind messages.
    failure: Option<Failure>,
    /// The ordinals and identifiers of messages that are not acknowledged. The broker sends no more than
    /// [`Shape::in_flight_max`] of them.
    unacknowledged: VecDeque<(u64, Pid)>,
    acknowledge: mpsc::Sender<Vec<Pid>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// The longest wait until a packet is on its way.
const SEND_MAX: Duration = Duration::from_secs(10);

impl MqttSession {
    pub(super) fn begin(
        connection: BrokerLink,
        broker: &Broker,
        shape: Arc<Shape>,
        window: Window,
        is_first: bool,
    ) -> Self {
        let BrokerLink { reader, writer, keep_alive, .. } = connection;
        let (messages, incoming) = mpsc::channel(usize::from(shape.in_flight_max()));
        let (acknowledge, stored) = mpsc::channel(1);
        let filters = broker.filters.iter().map(|filter| filter.to_string()).collect();
        let read = read(reader, filters, 2 * keep_alive, messages);
        let write = write(writer, subscribe(broker), keep_alive / 2, stored);
        let tasks = [tokio::spawn(read), tokio::spawn(write)];
        Self {
            shape,
            begin: is_first.then(|| window.place(0, None)),
            window,
            retained: broker.retained,
            last: 0,
            incoming,
            failure: None,
            unacknowledged: VecDeque::new(),
            acknowledge,
            _tasks: tasks.map(AbortOnDropHandle::new),
        }
    }

    fn item(&mut self, message: &Arrival) -> Item {
        self.last += 1;
        if let Some(pid) = message.pid {
            self.unacknowledged.push_back((self.last, pid));
        }
        if message.is_retained && self.retained == Retained::Skip {
            return Item::Passed(self.window.place(self.last, None));
        }
        let copy = match self.shape.convert(message) {
            Ok(copy) => copy,
            Err(reason) => {
                let (excerpt, place) = (message.excerpt(), self.window.place(self.last, None));
                return Item::Bad { excerpt, reason, place };
            }
        };
        if let Some(key) = &copy.key {
            if self.window.has(key) {
                return Item::Passed(self.window.place(self.last, None));
            }
            // The broker does not send one of QoS 0 again, which needs no room in the window.
            if message.pid.is_some() {
                self.window.add(key);
            }
        }
        let place = self.window.place(self.last, copy.key.as_ref());
        Item::Event { topic: copy.topic, event: copy.event, place }
    }
}

#[async_trait]
impl Reading for MqttSession {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        if let Some(place) = self.begin.take() {
            return Ok(vec![Item::Passed(place)]);
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut came = Vec::new();
        // Cancel-safe: nothing is taken unless it is returned.
        self.incoming.recv_many(&mut came, BATCH_MAX).await;
        let mut items = Vec::with_capacity(came.len());
        for message in came {
            match message {
                Ok(message) => items.push(self.item(&message)),
                Err(failure) => self.failure = Some(failure),
            }
        }
        match (items.is_empty(), self.failure.take_if(|_| items.is_empty())) {
            (true, failure) => Err(failure.unwrap_or_else(ended)),
            (false, _) => Ok(items),
        }
    }

    async fn stored(&mut self, up_to: &Place) -> Result<(), Failure> {
        if !self.window.is_of(up_to) {
            return Ok(());
        }
        let count = self.unacknowledged.partition_point(|(ordinal, _)| *ordinal <= up_to.major);
        if count == 0 {
            return Ok(());
        }
        let pids = self.unacknowledged.drain(..count).map(|(_, pid)| pid).collect();
        let sent = timeout(SEND_MAX, self.acknowledge.send(pids)).await;
        sent.map_err(|_| Failure::Away("the broker takes no acknowledgements".to_owned()))?
            .map_err(|_| ended())
    }
}

fn ended() -> Failure {
    Failure::Away("the connection to the broker has ended".to_owned())
}

fn subscribe(broker: &Broker) -> Packet {
    let topics = broker.filters.iter().map(|filter| {
        // Each member of a shared subscription would get all of the kept messages, each time that it subscribes.
        let retain_handling = match broker.retained {
            Retained::Once if !filter.is_shared() => RetainHandling::SendAtSubscribeIfNotExist,
            Retained::Once | Retained::Skip => RetainHandling::DoNotSend,
        };
        let options = SubscriptionOptions {
            max_qos: QoS::Level1,
            no_local: false,
            retain_as_published: false,
            retain_handling,
        };
        (filter.clone(), options)
    });
    Subscribe::new(Pid::default(), topics.collect()).into()
}

/// Reads until the connection ends. A full channel stops it, and so the broker.
async fn read(
    mut reader: Incoming,
    filters: Vec<String>,
    silence_max: Duration,
    messages: mpsc::Sender<Result<Arrival, Failure>>,
) {
    loop {
        let message = match timeout(silence_max, next(&mut reader)).await {
            Ok(Ok(frame)) if frame.header.typ == PacketType::Publish => {
                Arrival::parse(frame.header, frame.body).map_err(Failure::Away)
            }
            Ok(Ok(frame)) => match frame.packet().and_then(|packet| heed(packet, &filters)) {
                Ok(()) => continue,
                Err(failure) => Err(failure),
            },
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Away(format!("the broker is silent for {silence_max:?}"))),
        };
        let is_last = message.is_err();
        if messages.send(message).await.is_err() || is_last {
            return;
        }
    }
}

/// Looks at a packet that is no message.
fn heed(packet: Packet, filters: &[String]) -> Result<(), Failure> {
    match packet {
        Packet::Suback(Suback { topics, .. }) => {
            let refused = topics.iter().zip(filters).find(|(reason, _)| {
                // With QoS 0 messages would be lost in silence.
                !matches!(
                    reason,
                    SubscribeReasonCode::GrantedQoS1 | SubscribeReasonCode::GrantedQoS2
                )
            });
            match refused {
                Some((reason, filter)) => Err(Failure::Refused(format!(
                    "the broker answers the filter {filter:?} with {reason:?}; QoS 1 is needed"
                ))),
                None => Ok(()),
            }
        }
        Packet::Disconnect(Disconnect { reason_code, properties }) => {
            let reason = properties.reason_string.as_deref().unwrap_or("it gives no reason");
            let text = format!("the broker ends the connection with {reason_code:?}: {reason}");
            Err(match reason_code {
                DisconnectReasonCode::SessionTakenOver => Failure::Refused(
                    "another client with this client-id has taken the session over".to_owned(),
                ),
                DisconnectReasonCode::NotAuthorized => Failure::Refused(text),
                _ => Failure::Away(text),
            })
        }
        _ => Ok(()),
    }
}

/// Subscribes, and then writes acknowledgements and signs of life until one cannot be written.
async fn write(
    mut writer: Outgoing,
    subscribe: Packet,
    ping_every: Duration,
    mut stored: mpsc::Receiver<Vec<Pid>>,
) {
    let mut pings = interval(ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut packets = vec![subscribe];
    loop {
        if !matches!(timeout(SEND_MAX, send(&mut writer, packets)).await, Ok(Ok(()))) {
            return;
        }
        packets = tokio::select! {
            pids = stored.recv() => match pids {
                Some(pids) => pids.into_iter().map(|pid| Puback::new_success(pid).into()).collect(),
                None => return,
            },
            _ = pings.tick() => vec![Packet::Pingreq],
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_beside_messages_is_heeded() {
        let filters = ["a".to_owned(), "b/#".to_owned()];
        let suback = |reasons: [SubscribeReasonCode; 2]| {
            heed(Suback::new(Pid::default(), reasons.to_vec()).into(), &filters)
        };
        let (one, two) = (SubscribeReasonCode::GrantedQoS1, SubscribeReasonCode::GrantedQoS2);
        suback([one, two]).unwrap();
        for refused in [SubscribeReasonCode::GrantedQoS0, SubscribeReasonCode::NotAuthorized] {
            let failure = suback([one, refused]).unwrap_err();
            assert!(matches!(&failure, Failure::Refused(text) if text.contains("\"b/#\"")));
        }
        let cut = |reason| heed(Disconnect::new(reason).into(), &filters).unwrap_err();
        let taken = cut(DisconnectReasonCode::SessionTakenOver);
        assert!(matches!(&taken, Failure::Refused(text) if text.contains("client-id")), "{taken}");
        assert!(matches!(cut(DisconnectReasonCode::ServerShuttingDown), Failure::Away(_)));
        heed(Packet::Pingresp, &filters).unwrap();
    }
}
