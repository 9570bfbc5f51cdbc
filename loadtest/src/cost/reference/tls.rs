//! The reference for HTTP/1.1 over TLS: one small task a connection, tokio-rustls and jemalloc.
//!
//! `tls-reference ADDRESS CERTIFICATE KEY` shakes hands, reads a request, answers the head of a
//! stream and then writes each published event. It is a program of its own because the allocator
//! belongs to the process. Absent: cursors, history, topics, limits, HTTP/2. Not for use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tikv_jemallocator::Jemalloc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n2\r\n:\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// A head or an event that is longer ends the connection.
const REQUEST_MAX: usize = 64 * 1024;
/// Events that a reader may lag: far more than the driver leaves unread.
const BACKLOG_EVENTS: usize = 1024;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name| arguments.next().with_context(|| format!("the {name} is missing"));
    let address: SocketAddr = next("address")?.parse()?;
    let (certificate, key) = (PathBuf::from(next("certificate")?), PathBuf::from(next("key")?));
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, _) = broadcast::channel(BACKLOG_EVENTS);
    let sender = Arc::new(sender);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, sender) = (acceptor.clone(), Arc::clone(&sender));
        tokio::spawn(async move {
            // A client that breaks off ends its own task only.
            serve(stream, &acceptor, &sender).await.ok();
        });
    }
}

/// Serves one connection. The boxes keep the states of the handshake and of the request out of the
/// task, which lives as long as the stream.
async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, sender: &Sender<Bytes>) -> Result<()> {
    let mut stream = Box::pin(acceptor.accept(stream)).await?;
    let mut events = Box::pin(subscription(&mut stream, sender)).await?;
    let mut ignored = [0; 16];
    loop {
        // Both arms are cancel-safe: an event stays in the channel, bytes stay in the connection.
        tokio::select! {
            event = events.recv() => {
                stream.write_all(&event?).await?;
                stream.flush().await?;
            }
            // Readers of a stream send nothing more.
            count = stream.read(&mut ignored) => ensure!(count? > 0, "closed"),
        }
    }
}

/// Publishes the client's posts, until the client asks for a stream.
async fn subscription(
    stream: &mut TlsStream<TcpStream>,
    sender: &Sender<Bytes>,
) -> Result<Receiver<Bytes>> {
    let mut read = Vec::new();
    for number in 1_u64.. {
        let end = loop {
            match memchr::memmem::find(&read, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => more(stream, &mut read).await?,
            }
        };
        let head = str::from_utf8(&read[..end])?.to_owned();
        read.drain(..end);
        if head.starts_with("GET") {
            let events = sender.subscribe();
            stream.write_all(HEAD).await?;
            stream.flush().await?;
            return Ok(events);
        }
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("no length")?.parse()?;
        while read.len() < length {
            more(stream, &mut read).await?;
        }
        let event = format!("data: {}\nid: {number}\n\n", str::from_utf8(&read[..length])?);
        read.drain(..length);
        // An error says that there is no reader.
        sender.send(format!("{:x}\r\n{event}\r\n", event.len()).into()).ok();
        stream.write_all(ACCEPTED).await?;
        stream.flush().await?;
    }
    bail!("too many events")
}

async fn more(stream: &mut TlsStream<TcpStream>, read: &mut Vec<u8>) -> Result<()> {
    ensure!(read.len() < REQUEST_MAX, "a request that does not end");
    ensure!(stream.read_buf(read).await? > 0, "closed");
    Ok(())
}
