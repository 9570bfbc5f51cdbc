//! A load balancer in front of two gateways.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::timeout;

use super::loopback::Loopback;
use super::product::{Form, Product};
use crate::client::control::{Control, Ready};
use crate::client::http;
use crate::client::sse::Connection;
use crate::machine::{Balancer, Place, Redis, Tailwater};

/// The longest wait for the head of a stream and its ready event.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// The files and programs of all rigs.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    pub(super) tailwater: &'a Path,
    pub(super) redis: &'a Redis,
    /// The directory deploy/lb.
    pub(super) files: &'a Path,
    /// The directory of logs.
    pub(super) out: &'a Path,
}

/// A load balancer and its gateways, which take events as well.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) gateways: [Tailwater; 2],
    balancer: Balancer,
    /// Distinguishes its topics from those of other rigs.
    name: String,
}

/// An open stream and the gateway that serves it.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) connection: Connection,
    pub(super) node: String,
}

impl Installation {
    pub(super) async fn start(
        workshop: &Workshop<'_>,
        loopback: &Loopback<'_>,
        product: &Product,
        form: Form,
        program: &Path,
    ) -> Result<Installation> {
        let name = format!("{}-{}", loopback.number, product.folder);
        let directory: PathBuf = workshop.out.join(format!("{name}-{}", form.as_str()));
        let node = async |index: u8| {
            let place = Place { ip: loopback.upstream(index), ..Place::default() };
            let ports = &loopback.ports;
            let (listen, admin) =
                (ports.listen.clone().on(place.ip), ports.admin.clone().on(place.ip));
            let node =
                Tailwater::serve(workshop.tailwater).redis(workshop.redis).ports(listen, admin);
            // nginx calls its upstreams by the name of their group.
            let node =
                node.flag("--allow-host", "gateways").flag("--allow-host", "events.example.com");
            node.node(format!("gateway-{index}")).directory(&directory).start().await
        };
        let gateways = [node(1).await?, node(2).await?];
        let balancer = loopback
            .start(product, form, program, workshop.files, &directory.join("proxy"))
            .await?;
        Ok(Installation { gateways, balancer, name })
    }

    /// The address of the load balancer.
    pub(super) fn web(&self) -> SocketAddr {
        self.balancer.addr()
    }

    /// A topic of this installation.
    pub(super) fn topic(&self, purpose: &str) -> String {
        format!("{}-{purpose}", self.name)
    }

    /// Opens a stream through the load balancer and waits for its ready event.
    pub(super) async fn open(&self, topic: &str) -> Result<OpenStream> {
        open(self.web(), topic).await
    }

    /// Publishes an event at a gateway itself.
    pub(super) async fn publish(&self, topic: &str, data: &str) -> Result<()> {
        let path = format!("/v1/events?topic={topic}");
        let kind = [("content-type", "text/plain")];
        let mut http = http::Client::new(self.gateways[0].addr());
        let answer = http.post(&path, &kind, data.to_owned()).await?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    }

    /// The streams that both gateways count.
    pub(super) async fn connections(&self) -> Result<u64> {
        let mut sum = 0;
        for gateway in &self.gateways {
            let text = gateway.metrics().await?;
            let value = text.lines().find_map(|line| line.strip_prefix("tailwater_connections "));
            sum += value.context("no tailwater_connections")?.parse::<u64>()?;
        }
        Ok(sum)
    }
}

pub(super) async fn open(web: SocketAddr, topic: &str) -> Result<OpenStream> {
    let path = format!("/v1/events?topic={topic}");
    let open = async {
        let mut connection = Connection::open(web, &path, &[]).await?;
        if connection.status() != 200 {
            bail!("status {}", connection.status());
        }
        let ready = connection.next_event().await.context("the stream ended")?;
        match Control::read(&ready)? {
            Some(Control::Ready(Ready { node, .. })) => Ok(OpenStream { connection, node }),
            other => bail!("the first event is {other:?}"),
        }
    };
    timeout(OPEN_MAX, open).await.context("nothing arrives")?
}
