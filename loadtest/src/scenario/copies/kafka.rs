//! A topic of Kafka as a source.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::system::{SourceRecord, System, Writer};
use crate::machine::{Foreign, Port};

/// A broker, which is its own controller.
#[derive(Debug)]
pub(super) struct Kafka {
    broker: Foreign,
    address: String,
    libraries: PathBuf,
    _ports: [Port; 2],
}

/// The topic of Kafka. Its records have the topics of Tailwater as keys.
const TOPIC: &str = "records";
/// The number of its partitions.
const PARTITIONS: u32 = 4;
/// The longest wait for acknowledgements: longer than the broker is away.
const WRITE_MAX: Duration = Duration::from_mins(2);
/// The name of a cluster, as Kafka wants it.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
/// The program that writes records.
const PRODUCER: &str = include_str!("Producer.java");

impl Kafka {
    pub(super) async fn start(directory: &Path) -> Result<Self> {
        let libraries = std::path::absolute("target/kafka/current/libs")?;
        ensure!(
            libraries.exists(),
            "no {}: scripts/setup-kafka installs Kafka",
            libraries.display()
        );
        let directory = directory.join("kafka");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("Producer.java"), PRODUCER)?;
        let ports = [Port::reserve()?, Port::reserve()?];
        let [address, controller] = ports.each_ref().map(|port| port.addr().to_string());
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             controller.quorum.voters=1@{controller}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n\
             num.partitions={PARTITIONS}\noffsets.topic.replication.factor=1\n",
            directory.join("logs").display()
        );
        let file = directory.join("server.properties");
        std::fs::write(&file, config)?;
        let file = file.to_string_lossy().into_owned();
        let format = ["format", "-t", CLUSTER_ID, "-c", &file];
        let output = Command::new("java")
            .args(java(&libraries, "kafka.tools.StorageTool"))
            .args(format)
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut args = java(&libraries, "kafka.Kafka");
        args.push(file);
        let broker = Foreign::start("kafka", &[], "java", args, &directory)?;
        let mut kafka = Self { broker, address, libraries, _ports: ports };
        kafka.wait_ready().await?;
        // The first record makes the topic, and a relay wants to find it.
        let mut writer = kafka.producer(&directory)?;
        writer.write(&[]).await?;
        Ok(kafka)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let address = self.address.clone();
        self.broker
            .wait_until(async || Ok(tokio::net::TcpStream::connect(&address).await.is_ok()))
            .await
    }

    fn producer(&self, directory: &Path) -> Result<Producer> {
        let mut command = Command::new("java");
        command.args(["-Xmx300m", "-cp"]).arg(self.libraries.join("*"));
        command.arg(directory.join("Producer.java")).args([&self.address, TOPIC]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.kill_on_drop(true).spawn()?;
        let input = child.stdin.take().context("it has an input")?;
        let output = child.stdout.take().context("it has an output")?;
        Ok(Producer { _child: child, input, answers: BufReader::new(output).lines() })
    }
}

fn java(libraries: &Path, class: &str) -> Vec<String> {
    let path = libraries.join("*").to_string_lossy().into_owned();
    ["-Xmx400m", "-XX:+UseSerialGC", "-cp", &path, class].map(str::to_owned).into()
}

#[async_trait(?Send)]
impl System for Kafka {
    fn table(&self) -> String {
        format!(
            "topic = \"{{key}}\"\n[source.s.kafka]\nbrokers = [\"{}\"]\ntopic-name = \"{TOPIC}\"\n",
            self.address
        )
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        let directory = self.broker.directory().to_owned();
        Ok(Box::new(self.producer(&directory)?))
    }

    async fn kill_nine(&mut self) -> Result<()> {
        self.broker.kill_nine()
    }

    async fn restart(&mut self) -> Result<()> {
        self.broker.start_again()?;
        self.wait_ready().await
    }
}

/// A producer, which sends each record once as long as it lives.
struct Producer {
    _child: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[async_trait(?Send)]
impl Writer for Producer {
    async fn write(&mut self, records: &[SourceRecord]) -> Result<()> {
        let mut lines = String::new();
        for SourceRecord { topic, data, .. } in records {
            lines.extend([topic, "\t", data, "\n"]);
        }
        lines.push_str(".\n");
        self.input.write_all(lines.as_bytes()).await?;
        self.input.flush().await?;
        let answer = timeout(WRITE_MAX, self.answers.next_line()).await;
        let answer = answer.context("Kafka does not acknowledge records")??;
        ensure!(answer.as_deref() == Some("."), "the producer has stopped");
        Ok(())
    }
}
