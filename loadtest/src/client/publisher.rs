//! A publisher that does not give up: the same key again until the event is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use event_log::{Append, AppendError, Key, Log, NewEvent, Topic};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::client::endpoint::Endpoint;
use crate::client::http;
use crate::client::position::Position;

/// The time limit of one attempt. Short, because a killed ingest answers nothing and a retry with
/// the same key costs nothing.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The receiver of events.
#[derive(Clone, Debug)]
pub enum Target {
    /// An ingest.
    Ingest(Endpoint),
    /// The log itself.
    Log(Arc<dyn Log>),
}

impl<T: Into<Endpoint>> From<T> for Target {
    fn from(ingest: T) -> Self {
        Self::Ingest(ingest.into())
    }
}

/// The log's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The topic.
    pub topic: String,
    /// The position of the event.
    pub at: Position,
    /// The key was known: an earlier attempt had been stored.
    pub duplicate: bool,
    /// The number of attempts, with the successful one.
    pub attempts: u32,
}

/// The receipt as it is on the wire.
#[derive(Deserialize)]
struct Answer {
    topic: String,
    id: String,
    duplicate: bool,
}

/// Why an event has no receipt.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The answer says that a retry is pointless.
    #[error("refused: {0}")]
    Refused(String),
    /// No attempt succeeded in time. The log may have stored the event or not.
    #[error("not acknowledged within {deadline:?}, {attempts} attempts; the last one: {last:#}")]
    Deadline {
        /// The deadline.
        deadline: Duration,
        /// Attempts so far.
        attempts: u32,
        /// The result of the last attempt.
        last: anyhow::Error,
    },
}

/// Publishes one event after the other over one connection, or with others to one log.
#[derive(Debug)]
pub struct Publisher {
    way: PublishWay,
    deadline: Duration,
}

#[derive(Debug)]
enum PublishWay {
    Http(http::Client),
    Log(Arc<dyn Log>),
}

/// One attempt: an answer, a reason to try again, or (outside) a reason not to.
type Attempt = Result<Result<Answer>, PublishError>;

impl Publisher {
    /// A publisher that gives an event up after `deadline`.
    pub fn new(target: impl Into<Target>, deadline: Duration) -> Self {
        let way = match target.into() {
            Target::Ingest(ingest) => {
                PublishWay::Http(http::Client::new(ingest).timeout(ATTEMPT_TIMEOUT))
            }
            Target::Log(log) => PublishWay::Log(log),
        };
        Publisher { way, deadline }
    }

    /// Publishes until there is a receipt. `key` is sent as `Idempotency-Key`, the same with each
    /// attempt.
    ///
    /// # Errors
    /// When the event is refused for good, or the deadline passes.
    pub async fn publish(
        &mut self,
        topic: &str,
        key: &str,
        body: impl Into<Bytes>,
    ) -> Result<Receipt, PublishError> {
        let body = body.into();
        let until = Instant::now() + self.deadline;
        let mut pause = PAUSE_MIN;
        for attempts in 1.. {
            let attempt = match &mut self.way {
                PublishWay::Http(http) => post(http, topic, key, body.clone()).await?,
                PublishWay::Log(log) => append(&**log, topic, key, &body).await?,
            };
            let last = match attempt {
                Ok(answer) => match answer.id.parse() {
                    Ok(at) => return Ok(receipt(answer, at, attempts)),
                    Err(error) => anyhow::Error::from(error),
                },
                Err(error) => error,
            };
            if Instant::now() + pause > until {
                return Err(PublishError::Deadline { deadline: self.deadline, attempts, last });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("attempts are bounded by the deadline")
    }
}

async fn post(http: &mut http::Client, topic: &str, key: &str, body: Bytes) -> Attempt {
    let path = format!("/v1/events?topic={topic}");
    let headers = [("idempotency-key", key), ("content-type", "application/json")];
    let response = match http.post(&path, &headers, body).await {
        Ok(response) => response,
        Err(error) => return Ok(Err(error)),
    };
    let said = || format!("{}: {}", response.status, response.text());
    match response.status {
        200 => Ok(response.json()),
        // A load balancer answers 408 on a connection that it had given up.
        408 | 429 | 500.. => Ok(Err(anyhow::anyhow!(said()))),
        _ => Err(PublishError::Refused(said())),
    }
}

async fn append(log: &dyn Log, topic: &str, key: &str, body: &[u8]) -> Attempt {
    let refused = |error: &dyn ToString| PublishError::Refused(error.to_string());
    let data = String::from_utf8_lossy(body).into();
    let topic_name = Topic::new(topic).map_err(|error| refused(&error))?;
    let append = Append {
        key: Some(Key::new(key).map_err(|error| refused(&error))?),
        ..Append::new(topic_name, NewEvent { data, ..NewEvent::default() })
    };
    match log.append(vec![append]).await.pop().expect("one event has one answer") {
        Ok(receipt) => Ok(Ok(Answer {
            topic: topic.to_owned(),
            id: receipt.position.to_string(),
            duplicate: receipt.duplicate,
        })),
        Err(error @ AppendError::Ended { .. }) => Err(refused(&error)),
        Err(error) => Ok(Err(error.into())),
    }
}

fn receipt(answer: Answer, at: Position, attempts: u32) -> Receipt {
    Receipt { topic: answer.topic, at, duplicate: answer.duplicate, attempts }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use event_log::{Append, Log as _, Mark, MemoryLog, NewEvent, Retention, Topic};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::{PublishError, Publisher, Target};

    /// Answers each connection with one of these, and counts how often the key came.
    async fn serve(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let mut seen = 0;
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.expect("a request");
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                seen += text.matches("idempotency-key: k-1").count();
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
            seen
        });
        (addr, server)
    }

    fn answer(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn same_key_is_sent_until_there_is_a_receipt() {
        let receipt = r#"{"topic":"t","id":"5-1","duplicate":true}"#;
        let (addr, server) = serve(vec![
            String::new(),
            answer("503 Service Unavailable", "{}"),
            answer("200 OK", receipt),
        ])
        .await;
        let mut publisher = Publisher::new(addr, Duration::from_secs(5));
        let receipt = publisher.publish("t", "k-1", "x").await.expect("a receipt");
        assert_eq!((receipt.at.n, receipt.duplicate, receipt.attempts), (1, true, 3));
        assert_eq!(server.await.expect("served"), 3);
    }

    #[tokio::test]
    async fn bad_request_is_not_repeated() {
        let (addr, _server) = serve(vec![answer("400 Bad Request", "no")]).await;
        let mut publisher = Publisher::new(addr, Duration::from_secs(5));
        let error = publisher.publish("t", "k", "x").await.expect_err("refused");
        assert_eq!(error.to_string(), "refused: 400: no");
    }

    #[tokio::test]
    async fn deadline_ends_the_attempts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        drop(listener);
        let mut publisher = Publisher::new(addr, Duration::from_millis(50));
        let error = publisher.publish("t", "k", "x").await.expect_err("nobody there");
        assert!(matches!(error, PublishError::Deadline { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_log_itself_knows_a_key_again_and_refuses_what_follows_an_end() {
        let log = Arc::new(MemoryLog::new(Retention::default()));
        let target = Target::Log(Arc::clone(&log) as _);
        let mut publisher = Publisher::new(target, Duration::from_secs(5));
        for duplicate in [false, true] {
            let receipt = publisher.publish("t", "k-1", "x").await.expect("a receipt");
            assert_eq!((receipt.at.n, receipt.duplicate, receipt.attempts), (1, duplicate, 1));
        }
        let end = NewEvent { mark: Mark::End, ..NewEvent::default() };
        let end = Append::new(Topic::new("t").expect("a topic"), end);
        log.append(vec![end]).await.pop().expect("an answer").expect("ended");
        let error = publisher.publish("t", "k-2", "x").await.expect_err("ended");
        assert!(error.to_string().contains("nothing can follow"), "{error}");
    }
}
