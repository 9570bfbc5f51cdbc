//! A connection to a broker, up to its consent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use mqtt_proto::v5::{
    Connack, Connect, ConnectReasonCode, Disconnect, DisconnectReasonCode, ErrorV5, Header, Packet,
    PacketType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::codec::{Decoder, FramedRead};

use super::Broker;
use super::message::Shape;
use crate::source::Failure;
use crate::{secret, tls};

pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(super) type Incoming = FramedRead<ReadHalf<Box<dyn Transport>>, Frames>;
pub(super) type Outgoing = WriteHalf<Box<dyn Transport>>;

/// A connection that the broker has agreed to.
pub(super) struct BrokerLink {
    pub(super) reader: Incoming,
    pub(super) writer: Outgoing,
    /// True if the broker has kept the session of this client.
    pub(super) is_session_present: bool,
    /// The interval in which the broker wants to hear of this client.
    pub(super) keep_alive: Duration,
}

/// Connects, and asks for the session of the client id.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub(super) async fn connect(
    broker: &Broker,
    shape: &Shape,
    in_flight_max: u16,
) -> Result<BrokerLink, Failure> {
    let stream = stream(broker).await?;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FramedRead::new(reader, Frames { held_max: shape.packet_max(), skip: 0 });
    let seconds = |time: Duration| time.as_secs();
    let keep_alive =
        u16::try_from(seconds(broker.keep_alive)).expect("keep-alive is at most an hour");
    let expiry =
        u32::try_from(seconds(broker.session_expiry)).expect("an expiry is at most a year");
    let mut connect = Connect::new(broker.client_id.as_str().into(), keep_alive);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(expiry);
    connect.properties.receive_max = Some(in_flight_max);
    connect.username = broker.user.as_deref().map(Into::into);
    if let Some(file) = &broker.password_file {
        let password = secret::read("password-file", file).map_err(Failure::Refused)?;
        connect.password = Some(password.into());
    }
    send(&mut writer, [connect.into()]).await?;
    let answer = next(&mut reader).await?.packet()?;
    let Packet::Connack(answer) = answer else {
        return Err(Failure::Refused(format!("the broker began with {}", answer.get_type())));
    };
    let Connack { session_present, reason_code, properties } = answer;
    if reason_code != ConnectReasonCode::Success {
        let reason = properties.reason_string.as_deref().unwrap_or("it gives no reason");
        let text = format!("the broker refuses with {reason_code:?}: {reason}");
        return Err(match reason_code {
            ConnectReasonCode::ServerUnavailable
            | ConnectReasonCode::ServerBusy
            | ConnectReasonCode::ConnectionRateExceeded => Failure::Away(text),
            _ => Failure::Refused(text),
        });
    }
    if let Some(shorter) = properties.session_expiry_interval.filter(|granted| *granted < expiry) {
        let (host, client) = (&*broker.host, &*broker.client_id);
        tracing::warn!(
            host,
            client,
            shorter,
            expiry,
            "a broker keeps the session for fewer seconds"
        );
    }
    let keep_alive = properties.server_keep_alive.filter(|own| *own > 0).unwrap_or(keep_alive);
    Ok(BrokerLink {
        reader,
        writer,
        is_session_present: session_present,
        keep_alive: Duration::from_secs(u64::from(keep_alive)),
    })
}

impl BrokerLink {
    /// Leaves, and lets the broker forget the session.
    ///
    /// # Errors
    /// The connection was lost.
    pub(super) async fn forget(mut self) -> Result<(), Failure> {
        let mut packet = Disconnect::new(DisconnectReasonCode::NormalDisconnect);
        packet.properties.session_expiry_interval = Some(0);
        send(&mut self.writer, [packet.into()]).await?;
        self.writer.shutdown().await.map_err(|error| lost(&error))
    }
}

async fn stream(broker: &Broker) -> Result<Box<dyn Transport>, Failure> {
    let (host, port) = (&*broker.host, broker.port);
    let away = |error: io::Error| Failure::Away(format!("{host}:{port}: {error}"));
    let stream = TcpStream::connect((host, port)).await.map_err(away)?;
    stream.set_nodelay(true).map_err(away)?;
    if !broker.is_encrypted {
        return Ok(Box::new(stream));
    }
    let config = tls::client(broker.ca_file.as_deref()).map_err(Failure::Refused)?;
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| Failure::Refused(format!("{host:?} is no name of a server")))?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Box::new(connector.connect(name, stream).await.map_err(away)?))
}

/// Writes packets, all at once.
///
/// # Errors
/// The connection was lost.
pub(super) async fn send(
    writer: &mut Outgoing,
    packets: impl IntoIterator<Item = Packet>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for packet in packets {
        let packet = packet.encode().map_err(|error| Failure::Refused(error.to_string()))?;
        bytes.extend_from_slice(packet.as_ref());
    }
    writer.write_all(&bytes).await.map_err(|error| lost(&error))?;
    writer.flush().await.map_err(|error| lost(&error))
}

/// Reads the next packet.
///
/// # Errors
/// The connection was lost, or what came is no MQTT.
pub(super) async fn next(reader: &mut Incoming) -> Result<Frame, Failure> {
    let closed = || Failure::Away("the broker has closed the connection".to_owned());
    reader.next().await.ok_or_else(closed)?.map_err(|error| lost(&error))
}

fn lost(error: &io::Error) -> Failure {
    Failure::Away(format!("the connection was lost: {error}"))
}

/// A packet: its header, and its body up to a bound.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) body: Bytes,
}

impl Frame {
    /// Reads a packet that is no PUBLISH.
    ///
    /// # Errors
    /// It is malformed.
    pub(super) fn packet(self) -> Result<Packet, Failure> {
        let Self { header, body } = self;
        let mut offset = 0;
        let read = match header.typ {
            PacketType::Connack => Connack::decode(&body, &mut offset, header).map(Into::into),
            PacketType::Suback => {
                mqtt_proto::v5::Suback::decode(&body, &mut offset, header).map(Into::into)
            }
            PacketType::Disconnect => {
                Disconnect::decode(&body, &mut offset, header).map(Into::into)
            }
            PacketType::Pingresp => Ok(Packet::Pingresp),
            typ => {
                return Err(Failure::Away(format!(
                    "the broker sent {typ}, which nobody asked for"
                )));
            }
        };
        read.map_err(|error: ErrorV5| Failure::Away(format!("a packet cannot be read: {error}")))
    }
}

/// Cuts the bytes of a connection into packets. What a body has beyond the bound is skipped, so a
/// packet costs no more memory than it may become an event.
#[derive(Debug)]
pub(super) struct Frames {
    held_max: usize,
    /// Bytes of the last body that are still to be skipped.
    skip: usize,
}

impl Decoder for Frames {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Frame>> {
        let skipped = self.skip.min(bytes.len());
        bytes.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(error) if error.is_eof() => return Ok(None),
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
            }
        };
        let size = header.remaining_len as usize;
        // A byte for the type, and up to four for the length; all but the last one have the highest bit.
        let head = 2 + bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
        let held = size.min(self.held_max);
        if bytes.len() < head + held {
            bytes.reserve(head + held - bytes.len());
            return Ok(None);
        }
        bytes.advance(head);
        self.skip = size - held;
        Ok(Some(Frame { header, body: bytes.split_to(held).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_wherever_the_bytes_break_and_large_ones_are_held_in_part() {
        let mut whole = vec![0b1101_0000, 0, 0b0011_0000, 200, 1];
        whole.extend([7; 200]);
        whole.extend([0b1101_0000, 0]);
        for step in [1, 2, 3, 50, 500] {
            let (mut frames, mut bytes) = (Frames { held_max: 10, skip: 0 }, BytesMut::new());
            let (mut found, mut most) = (Vec::new(), 0);
            for part in whole.chunks(step) {
                bytes.extend_from_slice(part);
                while let Some(frame) = frames.decode(&mut bytes).unwrap() {
                    found.push((frame.header.typ, frame.header.remaining_len, frame.body.len()));
                }
                most = most.max(bytes.len());
            }
            let large = (PacketType::Publish, 200, 10);
            assert_eq!(found, [(PacketType::Pingresp, 0, 0), large, (PacketType::Pingresp, 0, 0)]);
            assert!(most <= 13, "{most} bytes were kept");
        }
    }

    #[test]
    fn what_is_no_mqtt_is_an_error() {
        let mut frames = Frames { held_max: 10, skip: 0 };
        frames.decode(&mut BytesMut::from(&b"\0\0HTTP"[..])).unwrap_err();
    }
}
