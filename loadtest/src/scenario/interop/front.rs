//! The way of one client to the cluster: a proxy that counts its requests and can cut inside an event.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// The size of one read: more than any event of this scenario, so that most reads have whole events.
const PIECE: usize = 16 * 1024;
/// The part of an event's data that passes before a cut.
const DATA_PART: usize = 8;
/// Most requests that are remembered; a client that floods sends more.
const REQUESTS_MAX: usize = 100_000;
/// The beginning of the first request of a connection to a gateway; a page has another path.
const TO_GATEWAYS: [&[u8]; 3] = [b"GET /v1/", b"POST /v1/", b"OPTIONS /v1/"];

/// The beginning of a connection that publishes, as the program of a framework does before it subscribes.
const PUBLISHES: &[u8] = b"POST /v1/events";

/// A place inside an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutPlace {
    /// In the middle of the data.
    InData,
    /// After the line of the data, before the id.
    AfterData,
    /// After the line of the id, before the blank line.
    AfterId,
}

impl CutPlace {
    pub(super) const ALL: [CutPlace; 3] =
        [CutPlace::InData, CutPlace::AfterData, CutPlace::AfterId];

    /// Finds the place in these bytes of a stream; `None` if no publisher's event is whole in them.
    fn find(self, bytes: &[u8]) -> Option<usize> {
        if memchr::memmem::find(bytes, b"tailwater.").is_some() {
            return None;
        }
        let data = memchr::memmem::find(bytes, b"data: ")?;
        let after_data = data + memchr::memchr(b'\n', &bytes[data..])? + 1;
        let id = after_data + memchr::memmem::find(&bytes[after_data..], b"id: ")?;
        let after_id = id + memchr::memchr(b'\n', &bytes[id..])? + 1;
        Some(match self {
            CutPlace::InData => data + b"data: ".len() + DATA_PART,
            CutPlace::AfterData => after_data,
            CutPlace::AfterId => after_id,
        })
    }
}

/// A count of the cuts so far, and the place of the last one.
type Cuts = (u64, CutPlace);

/// The front door of one client. Dropping it closes all connections.
#[derive(Debug)]
pub(super) struct Front {
    addr: SocketAddr,
    record: Arc<Mutex<Record>>,
    cuts: watch::Sender<Cuts>,
    _accepting: AbortOnDropHandle<()>,
}

/// The requests of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// The time of each request for events.
    pub(super) requests: Vec<Instant>,
    /// The status of each answer.
    pub(super) statuses: Vec<String>,
}

impl Record {
    /// True if the client has had a stream.
    pub(super) fn was_open(&self) -> bool {
        self.statuses.iter().any(|status| status == "200")
    }

    /// The greatest number of requests within any second.
    pub(super) fn peak(&self) -> usize {
        let second = Duration::from_secs(1);
        let within = |from: usize| {
            let end = self.requests[from] + second;
            self.requests[from..].partition_point(|at| *at < end)
        };
        (0..self.requests.len()).map(within).max().unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
struct Route {
    gateways: SocketAddr,
    pages: SocketAddr,
    record: Arc<Mutex<Record>>,
    cuts: watch::Receiver<Cuts>,
}

impl Front {
    /// Listens on a port of its own. Requests for `/v1/` go to the gateways, all others to `pages`.
    pub(super) async fn start(gateways: SocketAddr, pages: SocketAddr) -> Result<Front> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (cuts, seen) = watch::channel((0, CutPlace::InData));
        let record = Arc::<Mutex<Record>>::default();
        let way = Route { gateways, pages, record: Arc::clone(&record), cuts: seen };
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, way)));
        Ok(Front { addr, record, cuts, _accepting: accepting })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts each open stream at this place of its next event.
    pub(super) fn cut(&self, place: CutPlace) {
        self.cuts.send_modify(|cuts| *cuts = (cuts.0 + 1, place));
    }

    pub(super) fn record(&self) -> Record {
        self.record.lock().expect("nobody panics with it in hand").clone()
    }
}

async fn accept(listener: TcpListener, way: Route) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => drop(connections.spawn(way.clone().forward(client))),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Route {
    /// One connection, until either side closes or it is cut. A broken one is normal here.
    async fn forward(self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut start = [0; 16];
        let length = client.peek(&mut start).await?;
        let start = &start[..length];
        let is_for_gateways = TO_GATEWAYS.iter().any(|prefix| start.starts_with(prefix));
        let subscribes = is_for_gateways && !start.starts_with(PUBLISHES);
        let target = if is_for_gateways { self.gateways } else { self.pages };
        let server = TcpStream::connect(target).await?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = self.carry_up(from_client, to_server) => ended,
            ended = self.carry_down(from_server, to_client, subscribes) => ended,
        }
    }

    async fn carry_up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut bytes = vec![0; PIECE];
        loop {
            let length = from.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            let is_request = [b"GET /v1/".as_slice(), b"POST /v1/"];
            let start = &bytes[..length];
            if is_request.iter().any(|prefix| start.starts_with(prefix))
                && !start.starts_with(PUBLISHES)
            {
                let mut record = self.record.lock().expect("nobody panics with it in hand");
                if record.requests.len() < REQUESTS_MAX {
                    record.requests.push(Instant::now());
                }
            }
            to.write_all(&bytes[..length]).await?;
        }
    }

    async fn carry_down(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        subscribes: bool,
    ) -> io::Result<()> {
        let mut cuts = self.cuts.clone();
        let before = cuts.borrow_and_update().0;
        let mut bytes = vec![0; PIECE];
        loop {
            let length = from.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            let piece = &bytes[..length];
            if subscribes {
                self.note_status(piece);
            }
            let (count, place) = *cuts.borrow();
            if subscribes
                && count != before
                && let Some(end) = place.find(piece)
            {
                to.write_all(&piece[..end]).await?;
                return to.shutdown().await;
            }
            to.write_all(piece).await?;
        }
    }

    fn note_status(&self, piece: &[u8]) {
        let Some(status) = piece.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
            return;
        };
        let mut record = self.record.lock().expect("nobody panics with it in hand");
        if record.statuses.len() < REQUESTS_MAX {
            record.statuses.push(String::from_utf8_lossy(status).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{CutPlace, Record};

    const EVENT: &[u8] = b"2a\r\ndata: 0123456789abcdef\nid: 5-1\n\n\r\n";

    #[test]
    fn each_place_is_inside_the_event() {
        let left = |place: CutPlace| place.find(EVENT).map(|end| &EVENT[..end]);
        assert_eq!(left(CutPlace::InData), Some(&b"2a\r\ndata: 01234567"[..]));
        assert_eq!(left(CutPlace::AfterData), Some(&b"2a\r\ndata: 0123456789abcdef\n"[..]));
        assert_eq!(left(CutPlace::AfterId), Some(&b"2a\r\ndata: 0123456789abcdef\nid: 5-1\n"[..]));
    }

    #[test]
    fn heartbeats_and_control_events_are_not_cut() {
        let ready = b"event: tailwater.ready\ndata: {\"cursor\":\"5-1\"}\nid: 5-1\n\n";
        for bytes in [&b"3\r\n:\n\n\r\n"[..], ready] {
            assert_eq!(CutPlace::InData.find(bytes), None);
        }
    }

    #[test]
    fn peak_is_of_any_second() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let record = |requests| Record { requests, statuses: Vec::new() };
        assert_eq!(record(Vec::new()).peak(), 0);
        assert_eq!(record(vec![at(0), at(900), at(1100), at(1899), at(4000)]).peak(), 3);
    }
}
