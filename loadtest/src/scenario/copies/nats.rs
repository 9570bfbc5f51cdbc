//! A stream of JetStream as a source.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::system::{SourceRecord, System, Writer};
use crate::machine::{Foreign, Port};

/// A server with one stream.
#[derive(Debug)]
pub(super) struct Nats {
    server: Foreign,
    address: String,
    _port: Port,
}

/// The stream.
const STREAM: &str = "COPIES";
/// The prefix of all subjects.
const SUBJECTS: &str = "copies";
/// The longest time for which a write is repeated.
const WRITE_MAX: Duration = Duration::from_mins(1);
/// The longest wait for one acknowledgement.
const ACK_MAX: Duration = Duration::from_secs(3);

impl Nats {
    pub(super) async fn start(directory: &Path) -> Result<Self> {
        let directory = directory.join("nats");
        std::fs::create_dir_all(&directory)?;
        let port = Port::reserve()?;
        let number = port.number().to_string();
        let store = directory.join("store").to_string_lossy().into_owned();
        let args = ["-a", "127.0.0.1", "-p", &number, "-js", "-sd", &store];
        let args = args.map(str::to_owned).into();
        let server = Foreign::start("nats", &[], "nats-server", args, &directory)?;
        let address = port.addr().to_string();
        let mut nats = Self { server, address, _port: port };
        nats.wait_ready(false).await?;
        let context = jetstream::new(async_nats::connect(&nats.address).await?);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{SUBJECTS}.>")],
            duplicate_window: Duration::from_mins(10),
            ..stream::Config::default()
        };
        context.create_stream(config).await?;
        Ok(nats)
    }

    /// Waits until the server answers, and has the stream if it is to have it.
    async fn wait_ready(&mut self, has_stream: bool) -> Result<()> {
        let address = self.address.clone();
        self.server
            .wait_until(async || {
                let context = jetstream::new(async_nats::connect(&address).await?);
                if has_stream {
                    context.get_stream(STREAM).await?;
                }
                Ok(true)
            })
            .await
    }
}

#[async_trait(?Send)]
impl System for Nats {
    fn table(&self) -> String {
        format!(
            "topic = \"{{subject}}\"\n[source.s.nats]\nservers = [\"nats://{}\"]\nstream = \"{STREAM}\"\n",
            self.address
        )
    }

    fn topic(&self, number: usize) -> String {
        format!("{SUBJECTS}.t-{number:04}")
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(StreamWriter { address: self.address.clone(), context: None }))
    }

    async fn kill_nine(&mut self) -> Result<()> {
        self.server.kill_nine()
    }

    async fn restart(&mut self) -> Result<()> {
        self.server.start_again()?;
        self.wait_ready(true).await
    }
}

/// Publishes with a message id, by which the server knows a repetition.
struct StreamWriter {
    address: String,
    context: Option<jetstream::Context>,
}

impl StreamWriter {
    async fn try_write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let context = match &self.context {
            Some(context) => context,
            None => {
                let client = timeout(ACK_MAX, async_nats::connect(&self.address)).await??;
                self.context.insert(jetstream::new(client))
            }
        };
        let mut acknowledged = Vec::new();
        // In the order of the records: the server stores a connection's messages as they come.
        for SourceRecord { id, topic, data } in records {
            let publish = jetstream::message::PublishMessage::build()
                .message_id(id.to_string())
                .payload(data.clone().into());
            acknowledged
                .push(timeout(ACK_MAX, context.send_publish(topic.clone(), publish)).await??);
        }
        let all = join_all(acknowledged.into_iter().map(|ack| async move {
            timeout(ACK_MAX, ack).await.context("no acknowledgement")?.map_err(anyhow::Error::from)
        }));
        for ack in all.await {
            ack?;
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Writer for StreamWriter {
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let until = Instant::now() + WRITE_MAX;
        while let Err(error) = self.try_write(records).await {
            ensure!(Instant::now() < until, "NATS does not take messages: {error:#}");
            self.context = None;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
