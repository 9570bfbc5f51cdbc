//! A broker of Kafka as a process, which is its own controller.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use krafka::admin::{
    CreatePartitionsOptions, CreateTopicsOptions, DeleteRecordsOptions, DeleteTopicsOptions,
    NewTopic,
};
use krafka::consumer::TopicPartition;
use krafka::{Kafka, Record};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// The longest wait for the broker.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) struct Broker {
    child: Option<Child>,
    port: u16,
    /// The port that asks for a password.
    pub(super) locked: u16,
    pub(super) dir: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn java(class: &str) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/kafka/current/libs");
    assert!(root.exists(), "scripts/setup-kafka installs Kafka");
    let mut command = Command::new("java");
    command.args(["-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(root.join("*")).arg(class).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Broker {
    /// Starts a broker with one topic `t` of one partition.
    pub(super) async fn start() -> Self {
        let (port, locked, controller) = (free_port(), free_port(), free_port());
        let dir = TempDir::new().unwrap();
        let broker = Self { child: None, port, locked, dir };
        let logs = broker.logs();
        let login = "org.apache.kafka.common.security";
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\n\
            listeners=PLAINTEXT://127.0.0.1:{port},LOCKED://127.0.0.1:{locked},CONTROLLER://127.0.0.1:{controller}\n\
            listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOCKED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
            controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
            listener.name.locked.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
            listener.name.locked.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_u=\"secret\";\n\
            listener.name.locked.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;\n\
            log.dirs={}\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
            transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n",
            logs.display()
        );
        std::fs::write(broker.file(), config).unwrap();
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(broker.file());
        format.args(["--add-scram", "SCRAM-SHA-512=[name=u,password=secret]"]);
        assert!(format.status().unwrap().success());
        let mut broker = broker;
        broker.restart().await;
        broker.make().await;
        broker
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("server.properties")
    }

    /// The directory of the partitions.
    pub(super) fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) async fn restart(&mut self) {
        self.child = Some(java("kafka.Kafka").arg(self.file()).spawn().unwrap());
        self.connect().await;
    }

    pub(super) async fn connect(&self) -> Kafka {
        let connect = async {
            loop {
                match Kafka::builder(self.address()).connect().await {
                    Ok(kafka) => return kafka,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        };
        timeout(WAIT_MAX, connect).await.expect("the broker is not ready")
    }

    /// Makes the topic `t`, as soon as there is none.
    pub(super) async fn make(&self) {
        let admin = self.connect().await.admin();
        let make = async {
            loop {
                let topic = NewTopic::new("t", 1, 1).unwrap();
                let made = admin.create_topics([topic], CreateTopicsOptions::default()).await;
                if made.is_ok_and(|made| made["t"].is_ok()) {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(WAIT_MAX, make).await.expect("the topic is not made");
    }

    pub(super) async fn delete(&self) {
        let admin = self.connect().await.admin();
        let deleted = admin.delete_topics(["t"], DeleteTopicsOptions::default()).await.unwrap();
        assert!(deleted["t"].is_ok(), "{deleted:?}");
    }

    pub(super) async fn widen(&self, partitions: i32) {
        let admin = self.connect().await.admin();
        let options = CreatePartitionsOptions::default();
        let made = admin.create_partitions([("t", partitions)], options).await.unwrap();
        assert!(made["t"].is_ok(), "{made:?}");
    }

    /// Removes the records before an offset.
    pub(super) async fn trim(&self, before: i64) {
        let admin = self.connect().await.admin();
        let key = TopicPartition::new("t", 0);
        let options = DeleteRecordsOptions::default();
        let done = admin.delete_records([(key.clone(), before)], options).await.unwrap();
        assert!(done[&key].is_ok(), "{done:?}");
    }

    /// Writes numbers to a partition, and returns when all are stored.
    pub(super) async fn write(&self, partition: i32, from: u64, to: u64) {
        let records = (from..=to).map(|n| Record::new("t", n.to_string()).partition(partition));
        self.records(records.collect()).await;
    }

    pub(super) async fn records(&self, records: Vec<Record>) {
        let producer = self.connect().await.producer().build().await.unwrap();
        let mut answers = Vec::new();
        for record in records {
            answers.push(producer.enqueue(record).await.unwrap());
        }
        for answer in answers {
            assert!(timeout(WAIT_MAX, answer).await.unwrap().is_ok());
        }
        producer.close().await.unwrap();
    }
}
