//! A TCP proxy inside this process that misbehaves on command.
//!
//! It can stop to forward without closing (to either side the peer looks half-open), delay, slow
//! down to some bytes a second, cut, refuse, and lose single messages of a Redis subscription. It
//! holds little itself, so a sender notices a stopped one as it would notice a stalled connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::resp::frame_length;

/// The size of one read, and the number of pieces that may wait for their delay to pass.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

/// The receive buffer towards the server: small, so that a server notices a client that does not
/// read.
const BUFFER: u32 = 64 * 1024;

/// The prefixes of pushes that carry a message, and no confirmation of a subscription.
const MESSAGE: &[u8] = b">3\r\n$8\r\nsmessage\r\n";

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// The treatment of the bytes that pass.
#[derive(Clone, Debug, Default)]
struct Weather {
    held: [bool; 2],
    delay: [Duration; 2],
    /// Bytes a second towards the client.
    trickle: Option<u32>,
    /// Messages of subscriptions that contain this are lost.
    loses: Option<Arc<[u8]>>,
    refuses: bool,
    /// The target of new connections.
    target: Option<SocketAddr>,
    /// The number of times that all connections were cut.
    cuts: u64,
    /// The number of times that all connections were stranded, each way.
    strands: [u64; 2],
}

/// A proxy in front of one address. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Messages lost so far; `None` if this is not Redis's protocol.
    lost: Option<Arc<AtomicU64>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a port of its own and forwards to `target`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(target: SocketAddr) -> Result<Proxy> {
        Proxy::start_with(target, None).await
    }

    /// The same in front of a Redis server, for [`Proxy::lose_messages`].
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub async fn redis(target: SocketAddr) -> Result<Proxy> {
        Proxy::start_with(target, Some(Arc::new(AtomicU64::new(0)))).await
    }

    async fn start_with(target: SocketAddr, lost: Option<Arc<AtomicU64>>) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let weather = Weather { target: Some(target), ..Weather::default() };
        let (weather, seen) = watch::channel(weather);
        let accepting = tokio::spawn(accept(listener, seen, lost.clone()));
        Ok(Proxy { addr, weather, lost, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// The address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `redis://` and the address.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Stops to forward this way, or goes on. Connections stay open; new ones are accepted.
    pub fn hold(&self, way: Way, held: bool) {
        self.weather.send_modify(|weather| weather.held[way as usize] = held);
    }

    /// Stops for ever to forward this way on the connections that are open now, without closing
    /// them, as when something between has forgotten them. New connections are not affected.
    pub fn strand(&self, way: Way) {
        self.weather.send_modify(|weather| weather.strands[way as usize] += 1);
    }

    /// Delays all bytes of this direction.
    pub fn delay(&self, way: Way, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay[way as usize] = delay);
    }

    /// Forwards so many bytes a second to clients, at most 10 of them; as many as come with `None`.
    pub fn trickle(&self, bytes: Option<u32>) {
        self.weather.send_modify(|weather| weather.trickle = bytes);
    }

    /// Loses messages of Redis subscriptions that contain this text; none with `None`.
    pub fn lose_messages(&self, containing: Option<&str>) {
        let loses = containing.map(|text| Arc::from(text.as_bytes()));
        self.weather.send_modify(|weather| weather.loses = loses);
    }

    /// Closes all connections and takes no new ones, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.weather.send_modify(|weather| {
            weather.refuses = refuses;
            weather.cuts += u64::from(refuses);
        });
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Leads to another server from here on, and closes the connections to this one.
    pub fn lead_to(&self, target: SocketAddr) {
        self.weather.send_modify(|weather| {
            weather.target = Some(target);
            weather.cuts += 1;
        });
    }

    /// The number of lost messages.
    pub fn lost_messages(&self) -> u64 {
        self.lost.as_ref().map_or(0, |lost| lost.load(Relaxed))
    }
}

async fn accept(
    listener: TcpListener,
    weather: watch::Receiver<Weather>,
    lost: Option<Arc<AtomicU64>>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let target = weather.borrow().target;
        if let Some(target) = target.filter(|_| !weather.borrow().refuses) {
            connections.spawn(forward(client, target, weather.clone(), lost.clone()));
        }
    }
}

/// One connection, until either side closes or it is cut.
async fn forward(
    client: TcpStream,
    target: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    lost: Option<Arc<AtomicU64>>,
) {
    let (cuts, strands) = {
        let weather = weather.borrow_and_update();
        (weather.cuts, weather.strands)
    };
    let wire = |way: Way| {
        let strands = strands[way as usize];
        Wire { way, strands, weather: weather.clone(), lost: lost.clone() }
    };
    let (up, down) = (wire(Way::Up), wire(Way::Down));
    let exchange = async {
        let server = connect(target).await?;
        client.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = up.carry(from_client, to_server) => ended,
            ended = down.carry(from_server, to_client) => ended,
        }
    };
    tokio::select! {
        // A broken connection is normal for a proxy.
        _ended = exchange => {}
        _cut = weather.wait_for(|weather| weather.cuts != cuts) => {}
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    let server = socket.connect(target).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// One direction of one connection.
struct Wire {
    way: Way,
    /// The number of strandings before this connection began.
    strands: u64,
    weather: watch::Receiver<Weather>,
    lost: Option<Arc<AtomicU64>>,
}

impl Wire {
    async fn carry(self, from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
        let mut weather = self.weather.clone();
        let (way, strands) = (self.way, self.strands);
        let reading = self.read(from, sender);
        let writing = async {
            while let Some((due, bytes)) = pieces.recv().await {
                sleep_until(due).await;
                released(&mut weather, way, strands).await;
                let trickle = weather.borrow().trickle.filter(|_| way == Way::Down);
                match trickle {
                    Some(rate) => drip(&mut to, &bytes, rate, &mut weather).await?,
                    None => to.write_all(&bytes).await?,
                }
            }
            to.shutdown().await
        };
        let (read, written) = tokio::join!(reading, writing);
        read.and(written)
    }

    async fn read(
        mut self,
        mut from: OwnedReadHalf,
        sender: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut sieve = Sieve::default();
        loop {
            released(&mut self.weather, self.way, self.strands).await;
            let mut bytes = Vec::with_capacity(PIECE);
            if from.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let (delay, loses) = {
                let weather = self.weather.borrow();
                (weather.delay[self.way as usize], weather.loses.clone())
            };
            if let (Way::Down, Some(lost)) = (self.way, &self.lost) {
                bytes = sieve.pass(&bytes, loses.as_deref(), lost);
            }
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Waits until this way is not held; for ever on a stranded connection.
async fn released(weather: &mut watch::Receiver<Weather>, way: Way, strands: u64) {
    let way = way as usize;
    // It ends with an error when the proxy is gone, and the connection with it.
    weather.wait_for(|weather| !weather.held[way] && weather.strands[way] == strands).await.ok();
}

/// Writes slowly, until all is written or the rate is lifted.
async fn drip(
    to: &mut OwnedWriteHalf,
    bytes: &[u8],
    rate: u32,
    weather: &mut watch::Receiver<Weather>,
) -> io::Result<()> {
    for (index, byte) in bytes.iter().enumerate() {
        to.write_all(&[*byte]).await?;
        let is_lifted = tokio::select! {
            () = sleep(Duration::from_secs(1) / rate.max(1)) => false,
            _lifted = weather.wait_for(|weather| weather.trickle.is_none()) => true,
        };
        if is_lifted {
            return to.write_all(&bytes[index + 1..]).await;
        }
    }
    Ok(())
}

/// Takes the bytes of a Redis server apart into frames, and loses some of them.
#[derive(Debug, Default)]
struct Sieve {
    /// The beginning of a frame whose rest has not come.
    part: Vec<u8>,
}

impl Sieve {
    /// Returns the complete frames that are to be passed on.
    fn pass(&mut self, bytes: &[u8], loses: Option<&[u8]>, lost: &AtomicU64) -> Vec<u8> {
        self.part.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(self.part.len());
        let mut begin = 0;
        while let Some(length) = frame_length(&self.part[begin..]) {
            let frame = &self.part[begin..begin + length];
            let is_lost = frame.starts_with(MESSAGE)
                && loses.is_some_and(|needle| frame.windows(needle.len()).any(|w| w == needle));
            if is_lost {
                lost.fetch_add(1, Relaxed);
            } else {
                passed.extend_from_slice(frame);
            }
            begin += length;
        }
        self.part.drain(..begin);
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::{Proxy, Sieve, Way};

    #[test]
    fn only_messages_with_the_text_are_lost_wherever_a_read_ends() {
        let message = |topic: &str| format!(">3\r\n$8\r\nsmessage\r\n$1\r\n{topic}\r\n$1\r\nx\r\n");
        let all = [&message("a"), "+PONG\r\n", &message("b"), &message("a")].concat();
        for cut in 0..all.len() {
            let (mut sieve, lost) = (Sieve::default(), AtomicU64::new(0));
            let (one, two) = all.as_bytes().split_at(cut);
            let mut passed = sieve.pass(one, Some(b"b\r\n"), &lost);
            passed.extend(sieve.pass(two, Some(b"b\r\n"), &lost));
            let left = [message("a"), "+PONG\r\n".into(), message("a")].concat();
            assert_eq!(String::from_utf8_lossy(&passed), left, "cut at {cut}");
            assert_eq!(lost.into_inner(), 1);
        }
    }

    #[tokio::test]
    async fn what_is_held_arrives_when_it_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let proxy = Proxy::start(addr).await.expect("a proxy");
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        let (mut server, _) = listener.accept().await.expect("a client");
        proxy.hold(Way::Down, true);
        client.write_all(b"up").await.expect("written");
        let mut bytes = [0; 2];
        server.read_exact(&mut bytes).await.expect("this way is open");
        server.write_all(b"dn").await.expect("written");
        let blocked = timeout(Duration::from_millis(50), client.read_exact(&mut bytes)).await;
        assert!(blocked.is_err());
        proxy.hold(Way::Down, false);
        client.read_exact(&mut bytes).await.expect("let go");
        assert_eq!(&bytes, b"dn");
        proxy.cut();
        assert_eq!(client.read(&mut bytes).await.expect("closed"), 0);
    }
}
