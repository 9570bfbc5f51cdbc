//! Topics of an MQTT broker as a source.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::system::{SourceRecord, System, Writer};
use crate::machine::{Foreign, Port};

/// A broker that keeps sessions on disk.
#[derive(Debug)]
pub(super) struct Mosquitto {
    broker: Foreign,
    port: Port,
}

/// The longest time for which a write is repeated.
const WRITE_MAX: Duration = Duration::from_mins(1);
/// The longest life of one publisher.
const PUBLISH_MAX: Duration = Duration::from_secs(10);

impl Mosquitto {
    pub(super) async fn start(directory: &Path) -> Result<Self> {
        let directory = directory.join("mosquitto");
        std::fs::create_dir_all(directory.join("data"))?;
        let port = Port::reserve()?;
        let user = if nix::unistd::geteuid().is_root() { "user root\n" } else { "" };
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\n{user}persistence true\npersistence_location {}/\n\
             max_queued_messages 0\n",
            port.number(),
            directory.join("data").display()
        );
        std::fs::write(directory.join("mosquitto.conf"), config)?;
        let args = ["-c", "mosquitto.conf"].map(str::to_owned).into();
        let broker = Foreign::start("mosquitto", &[], "mosquitto", args, &directory)?;
        let mut mosquitto = Self { broker, port };
        mosquitto.wait_ready().await?;
        Ok(mosquitto)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let address = self.port.addr();
        self.broker
            .wait_until(async || Ok(tokio::net::TcpStream::connect(address).await.is_ok()))
            .await
    }
}

#[async_trait(?Send)]
impl System for Mosquitto {
    fn table(&self) -> String {
        format!(
            "topic = \"{{topic}}\"\n[source.s.mqtt]\nurl = \"mqtt://{}\"\nfilters = [\"mqtt/+\"]\nkey = \"/seq\"\n",
            self.port.addr()
        )
    }

    /// Each takes a process of the publisher for each write.
    fn topics(&self) -> usize {
        4
    }

    fn topic(&self, number: usize) -> String {
        format!("mqtt/t-{number:04}")
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Publishers { port: self.port.number().to_string() }))
    }

    /// Stops the broker as an operator does: Mosquitto saves sessions and messages every half an hour and at its end, so
    /// a kill loses what it has acknowledged.
    async fn kill_nine(&mut self) -> Result<()> {
        self.broker.terminate().await
    }

    async fn restart(&mut self) -> Result<()> {
        self.broker.start_again()?;
        self.wait_ready().await
    }
}

/// Publishes with QoS 1, a process for each topic of a write.
struct Publishers {
    port: String,
}

impl Publishers {
    async fn publish(&self, topic: &str, lines: &str) -> Result<()> {
        let mut command = Command::new("mosquitto_pub");
        command.args([
            "-V",
            "5",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port,
            "-q",
            "1",
            "-t",
            topic,
            "-l",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().context("mosquitto_pub")?;
        let mut input = child.stdin.take().context("it has an input")?;
        let all = async {
            input.write_all(lines.as_bytes()).await?;
            drop(input);
            let output = child.wait_with_output().await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        timeout(PUBLISH_MAX, all).await.context("mosquitto_pub does not come back")?
    }
}

#[async_trait(?Send)]
impl Writer for Publishers {
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let until = Instant::now() + WRITE_MAX;
        let mut topics = std::collections::BTreeMap::<&str, String>::new();
        for SourceRecord { topic, data, .. } in records {
            topics.entry(topic).or_default().extend([data, "\n"]);
        }
        let all = topics.iter().map(async |(topic, lines)| {
            while let Err(error) = self.publish(topic, lines).await {
                ensure!(Instant::now() < until, "Mosquitto does not take messages: {error:#}");
                sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        });
        try_join_all(all).await.map(drop)
    }
}
