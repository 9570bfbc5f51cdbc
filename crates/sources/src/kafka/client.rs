//! The connection to a cluster, and its answers about a topic.

use std::time::Duration;

use krafka::KrafkaError;
use krafka::admin::{ConfigResource, DescribeConfigsOptions, OffsetForLeaderEpochOptions};
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{AutoOffsetReset, Consumer, IsolationLevel, TopicPartition};
use krafka::error::ErrorCode;

use super::{Mechanism, Reached};
use crate::secret;
use crate::source::{BATCH_MAX, Failure};

const _: () = assert!(TAKEN_MAX as usize <= BATCH_MAX, "a reading returns no more at once");

/// The longest wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The largest answer of a broker, in bytes. Kafka's own limit of a batch of records is 1 MiB, if it is not raised.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The bytes of records that are asked for at once. A batch that is larger comes alone.
const ASKED_BYTES: i32 = 4 << 20;
/// Most records that are returned at once.
const TAKEN_MAX: i32 = 256;
/// Most records that are held and not taken.
const HELD_MAX: i32 = 512;

/// A topic, as the cluster tells of it.
pub(super) struct Told {
    /// Of this topic and of no other that has had or will have its name.
    pub(super) id: [u8; 16],
    pub(super) partitions: u32,
}

impl Reached {
    /// Connects to the cluster. Passwords and certificates are read anew.
    pub(super) async fn connect(&self) -> Result<krafka::Kafka, Failure> {
        let security = match &self.sasl {
            None => AuthConfig::plaintext(),
            Some(sasl) => {
                let user = sasl.user.clone();
                let password = secret::read("kafka.sasl.password-file", &sasl.password_file)
                    .map_err(Failure::Refused)?;
                match sasl.mechanism {
                    Mechanism::Plain => AuthConfig::sasl_plain(user, password),
                    Mechanism::Scram256 => AuthConfig::sasl_scram_sha256(user, password),
                    Mechanism::Scram512 => AuthConfig::sasl_scram_sha512(user, password),
                }
            }
        };
        let security = if self.tls {
            let tls = TlsConfig::new();
            let tls = match &self.ca_file {
                Some(file) => tls.with_ca_cert(file.to_string_lossy()),
                None => tls.with_native_roots(),
            };
            security.with_tls(tls)
        } else {
            security
        };
        krafka::Kafka::builder(&self.brokers)
            .client_id("tailwater")
            .security(security)
            .connect_timeout(WAIT_MAX)
            .request_timeout(WAIT_MAX)
            .max_response_size(ANSWER_BYTES_MAX)
            .connect()
            .await
            .map_err(|error| failure(&error))
    }

    /// Makes a reader that belongs to no group, and commits nothing.
    pub(super) async fn consumer(&self, kafka: &krafka::Kafka) -> Result<Consumer, Failure> {
        kafka
            .consumer_without_group()
            .isolation_level(IsolationLevel::ReadCommitted)
            // If our place is not in the log, we look ourselves.
            .auto_offset_reset(AutoOffsetReset::None)
            .enable_auto_commit(false)
            .metrics_push(false)
            .fetch_max_bytes(ASKED_BYTES)
            .max_partition_fetch_bytes(ASKED_BYTES)
            .max_poll_records(TAKEN_MAX)
            .max_buffered_records(HELD_MAX)
            .build()
            .await
            .map_err(|error| failure(&error))
    }

    /// Asks how many partitions the topic has.
    pub(super) async fn partitions(&self) -> Result<u32, Failure> {
        let kafka = self.connect().await?;
        let consumer = self.consumer(&kafka).await?;
        Ok(self.ask(&consumer).await?.partitions)
    }

    /// Asks for the topic.
    pub(super) async fn ask(&self, consumer: &Consumer) -> Result<Told, Failure> {
        let found = consumer.fetch_metadata(Some(&self.name)).await;
        let topics = found.map_err(|error| failure(&error))?.topics;
        let topic = topics.iter().find(|topic| topic.name == self.name);
        let topic =
            topic.ok_or_else(|| Failure::Away(format!("topic {} is not there", self.name)))?;
        // They are numbered from 0, and never removed.
        let last = topic.partitions.keys().max().copied().unwrap_or(-1);
        let partitions = u32::try_from(last + 1).unwrap_or(0);
        Ok(Told { id: topic.topic_id, partitions })
    }

    /// Asks where a leader epoch ends in a partition.
    pub(super) async fn epoch_end(
        &self,
        kafka: &krafka::Kafka,
        partition: i32,
        epoch: i32,
    ) -> Result<Option<u64>, Failure> {
        let key = TopicPartition::new(&*self.name, partition);
        let options = OffsetForLeaderEpochOptions::default();
        let asked = kafka.admin().offset_for_leader_epoch([(key.clone(), epoch)], options).await;
        let mut answers = asked.map_err(|error| failure(&error))?;
        let Some(answer) = answers.remove(&key) else { return Ok(None) };
        // Below zero where the leader does not know.
        Ok(u64::try_from(answer.map_err(|error| failure(&error))?.end_offset).ok())
    }

    /// Returns true if the topic keeps every record up to its limits, as far as the cluster tells.
    pub(super) async fn is_whole(&self, kafka: &krafka::Kafka) -> bool {
        let topic = ConfigResource::topic(&self.name);
        let names = vec!["cleanup.policy".to_owned()];
        let options = DescribeConfigsOptions::default().config_names(names);
        // Many clusters do not let a reader see the settings.
        let Ok(answers) = kafka.admin().describe_configs([topic.clone()], options).await else {
            return false;
        };
        let Some(Ok(entries)) = answers.get(&topic) else { return false };
        entries
            .iter()
            .find(|entry| entry.name == "cleanup.policy")
            .and_then(|entry| entry.value.as_deref())
            .is_some_and(|policy| !policy.contains("compact"))
    }
}

/// An error that an operator has to mend, or one that goes by.
pub(super) fn failure(error: &KrafkaError) -> Failure {
    match error {
        KrafkaError::Auth { .. } | KrafkaError::Config { .. } => {
            Failure::Refused(error.to_string())
        }
        KrafkaError::Broker {
            code:
                ErrorCode::TopicAuthorizationFailed
                | ErrorCode::ClusterAuthorizationFailed
                | ErrorCode::SaslAuthenticationFailed,
            ..
        } => Failure::Refused(error.to_string()),
        _ => Failure::Away(error.to_string()),
    }
}
