//! The state of a TCP connection, as the kernel sees it.
//!
//! Heartbeats keep a connection from being idle, so no keep-alive probe is sent on it, and a peer that
//! vanished is only given up after the kernel's last retransmission, a quarter of an hour later. The
//! state tells earlier. It comes by netlink (`sock_diag(7)`), since `getsockopt` with `TCP_INFO` has no
//! safe interface.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use tokio::net::TcpStream;

/// The peer of a connection, by its acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcpState {
    /// Retransmissions of the oldest data that the peer has not acknowledged.
    retransmits: u8,
    /// Probes of a closed window, or of an idle peer, that the peer has not answered.
    probes: u8,
    /// Time since the peer last acknowledged anything.
    silence: Duration,
}

/// The longest silence of a peer that was asked for a sign of life. A reader that stalls answers the
/// probes of its window.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Unanswered retransmissions that count as having asked: the first few may be lost, or slow.
const RETRANSMITS_MIN: u8 = 3;
/// Unanswered probes that count as having asked. The pause before the second is long enough for an answer
/// to the first.
const PROBES_MIN: u8 = 2;

const INET_DIAG_REQ: u16 = 20;
const REQUEST: u16 = 1;
/// Attribute `INET_DIAG_INFO`: a `tcp_info`.
const INFO: u16 = 2;
const PROTOCOL_TCP: u8 = 6;
const ANY_STATE: u32 = u32::MAX;
const NO_COOKIE: u64 = u64::MAX;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// An `inet_diag_msg` before its attributes.
const MESSAGE_BYTES: usize = 72;
/// Room for an answer, which has a few hundred bytes.
const ANSWER_BYTES: usize = 4096;
/// Offsets in a `tcp_info`.
const RETRANSMITS_AT: usize = 2;
const PROBES_AT: usize = 3;
const LAST_ACK_RECV_AT: usize = 56;

thread_local! {
    /// The kernel answers at once, so a thread needs one socket.
    static DIAG: io::Result<OwnedFd> = Ok(socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(SOCK_DIAG),
    )?);
}

impl TcpState {
    /// Asks the kernel. `None` if it does not tell, as in a sandbox without netlink.
    pub(crate) fn of(stream: &TcpStream) -> Option<Self> {
        let request = request(stream.local_addr().ok()?, stream.peer_addr().ok()?);
        let mut answer = [0; ANSWER_BYTES];
        let count = DIAG.with(|socket| {
            let socket = socket.as_ref().ok()?;
            send(socket, &request, SendFlags::empty()).ok()?;
            Some(recv(socket, &mut answer[..], RecvFlags::empty()).ok()?.0)
        })?;
        Self::parse(answer.get(..count)?)
    }

    /// Returns true if the peer has not given a sign of life for too long, although it was asked.
    pub(crate) fn is_of_vanished_peer(self) -> bool {
        let was_asked = self.retransmits >= RETRANSMITS_MIN || self.probes >= PROBES_MIN;
        self.silence >= SILENCE_MAX && was_asked
    }

    /// Reads an answer: a header, a message, attributes.
    fn parse(answer: &[u8]) -> Option<Self> {
        if u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?) != INET_DIAG_REQ {
            return None;
        }
        let mut rest = answer.get(HEADER_BYTES + MESSAGE_BYTES..)?;
        loop {
            let word = |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
            let (length, kind) = (usize::from(word(0)?), word(2)?);
            let value = rest.get(4..length)?;
            if kind == INFO {
                let silence = value.get(LAST_ACK_RECV_AT..LAST_ACK_RECV_AT + 4)?;
                let silence_ms = u32::from_ne_bytes(silence.try_into().ok()?);
                return Some(Self {
                    retransmits: value[RETRANSMITS_AT],
                    probes: value[PROBES_AT],
                    silence: Duration::from_millis(silence_ms.into()),
                });
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// A request for one connection: a header and an `inet_diag_req_v2`.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_BYTES);
    out.extend((REQUEST_BYTES as u32).to_ne_bytes());
    out.extend(INET_DIAG_REQ.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    // Sequence number and port id.
    out.extend([0; 8]);
    let family = if local.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    let extensions = 1 << (INFO - 1);
    out.extend([family, PROTOCOL_TCP, extensions, 0]);
    out.extend(ANY_STATE.to_ne_bytes());
    out.extend(local.port().to_be_bytes());
    out.extend(peer.port().to_be_bytes());
    for address in [local.ip(), peer.ip()] {
        let mut octets = [0; 16];
        match address {
            IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => octets = address.octets(),
        }
        out.extend(octets);
    }
    // No interface.
    out.extend([0; 4]);
    out.extend(NO_COOKIE.to_ne_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const fn state(retransmits: u8, probes: u8, seconds: u64) -> TcpState {
        TcpState { retransmits, probes, silence: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_peer_has_vanished_if_it_was_asked_and_is_silent() {
        assert!(state(3, 0, 45).is_of_vanished_peer());
        assert!(state(0, 2, 600).is_of_vanished_peer());
        // A reader that stalls, whose window was probed just now.
        assert!(!state(0, 1, 119).is_of_vanished_peer());
        // Idle, with the first data on its way.
        assert!(!state(0, 0, 600).is_of_vanished_peer());
        assert!(!state(2, 0, 600).is_of_vanished_peer());
        // A lossy network.
        assert!(!state(9, 0, 44).is_of_vanished_peer());
    }

    #[tokio::test]
    async fn the_kernel_tells_the_state_of_a_connection() {
        for (listen, connect) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(listen).await else { continue };
            let address = (connect, listener.local_addr().unwrap().port());
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            for stream in [&client, &server] {
                let state = TcpState::of(stream).expect("this machine has netlink");
                assert!(state.silence < SILENCE_MAX, "{state:?}");
                assert_eq!((state.retransmits, state.probes), (0, 0), "{listen}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_an_error_tells_nothing() {
        let mut answer = vec![0; HEADER_BYTES + MESSAGE_BYTES];
        answer[4..6].copy_from_slice(&INET_DIAG_REQ.to_ne_bytes());
        // An attribute of another kind with a padding, then the state.
        answer.extend([5_u16.to_ne_bytes(), 8_u16.to_ne_bytes()].concat());
        answer.extend([0; 4]);
        answer.extend([64_u16.to_ne_bytes(), INFO.to_ne_bytes()].concat());
        let mut info = [0; 60];
        (info[RETRANSMITS_AT], info[PROBES_AT]) = (4, 1);
        info[LAST_ACK_RECV_AT..].copy_from_slice(&50_000_u32.to_ne_bytes());
        answer.extend(info);
        assert_eq!(TcpState::parse(&answer), Some(state(4, 1, 50)));
        for cut in 0..answer.len() {
            assert_eq!(TcpState::parse(&answer[..cut]), None, "{cut}");
        }
        answer[4] ^= 1;
        assert_eq!(TcpState::parse(&answer), None);
    }
}
