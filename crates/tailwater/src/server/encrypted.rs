//! TLS as a transport of event streams.
//!
//! A delivery is encrypted into the session and sent with one system call. The session holds ciphertext
//! only while the socket is full, at most as much as `tls.rs` allows.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use gateway::{Transport, send_now};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection after its TLS handshake.
#[derive(Debug)]
pub(super) struct Encrypted(TlsStream<TcpStream>);

/// The socket, as the session writes to it.
struct Direct<'a>(&'a TcpStream);

impl Encrypted {
    pub(super) const fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(stream)
    }
}

impl Transport for Encrypted {
    fn try_send(&mut self, bytes: &mut Bytes) -> io::Result<bool> {
        let (socket, session) = self.0.get_mut();
        loop {
            // The session has a limited buffer, so a large page is sent record by record.
            let taken = session.writer().write(bytes)?;
            bytes.advance(taken);
            while session.wants_write() {
                match session.write_tls(&mut Direct(socket)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            if bytes.is_empty() {
                return Ok(true);
            }
        }
    }

    fn has_vanished(&self) -> bool {
        self.0.get_ref().0.has_vanished()
    }
}

impl io::Write for Direct<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match send_now(self.0, bytes)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
