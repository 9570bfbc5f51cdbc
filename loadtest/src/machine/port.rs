//! A TCP port of this machine, reserved for one program.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Below the range that Linux uses for outgoing connections: a port from inside it can be taken by
/// a client's connection while its program restarts.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port on 127.0.0.1 that no other test of this machine is given until this is dropped.
///
/// It does not hold the port open, so that a program can listen on it, stop, and listen again.
/// A lock file keeps other test processes off. A clone shares the reservation.
#[derive(Clone, Debug)]
pub struct Port {
    ip: Ipv4Addr,
    number: u16,
    _lock: Arc<File>,
}

impl Port {
    /// Reserves a free port.
    ///
    /// # Errors
    /// When there is none, or the lock directory cannot be written.
    pub fn reserve() -> Result<Port> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let directory = std::env::temp_dir().join("tailwater-ports");
        std::fs::create_dir_all(&directory).context("cannot create the port lock directory")?;
        // Different processes start at different places, so that they rarely meet.
        let start = std::process::id().wrapping_mul(509) % u32::from(COUNT);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = u16::try_from((start + step) % u32::from(COUNT))
                .expect("less than COUNT, which is a u16");
            let number = FIRST + offset;
            let lock = File::create(directory.join(number.to_string()))?;
            let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if lock.try_lock().is_ok() && is_free() {
                let lock = Arc::new(lock);
                return Ok(Port { ip: Ipv4Addr::LOCALHOST, number, _lock: lock });
            }
        }
        bail!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The same number at another address, one of a network namespace.
    #[must_use]
    pub fn on(mut self, ip: Ipv4Addr) -> Port {
        self.ip = ip;
        self
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address: on the loopback interface, unless [`Port::on`] said otherwise.
    pub fn addr(&self) -> SocketAddr {
        (self.ip, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::Port;

    #[test]
    fn two_ports_differ_while_both_are_held() {
        let one = Port::reserve().expect("a port");
        let other = Port::reserve().expect("a port");
        assert_ne!(one.number(), other.number());
    }
}
