//! A server of NATS as a process, with its streams on disk.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, Context, stream};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub(super) struct Server {
    child: Option<Child>,
    pub(super) port: u16,
    pub(super) dir: TempDir,
    /// Lines of the server's configuration.
    lines: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    pub(super) fn with(lines: &str) -> Self {
        // Freed again at once: the server takes no port of ours.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = TempDir::new().unwrap();
        let mut server = Self { child: None, port, dir, lines: lines.to_owned() };
        server.restart();
        server
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(super) fn store(&self) -> std::path::PathBuf {
        self.dir.path().join("store")
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn restart(&mut self) {
        let (port, store, lines) = (self.port, self.store(), &self.lines);
        let config =
            format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?} }}\n{lines}");
        let file = self.dir.path().join("nats.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("scripts/setup installs nats-server"));
    }

    pub(super) async fn connect(&self) -> Context {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let client = options.connect(self.url()).await.unwrap();
        let context = jetstream::new(client);
        let ready = async {
            loop {
                // Not of a stream that there is: the answer shows that JetStream is there.
                match context.get_stream("none").await.map_err(|error| error.kind()) {
                    Err(GetStreamErrorKind::JetStream(error)) if error.code() == 404 => return,
                    _ => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("the server is not ready");
        context
    }

    /// The payloads of all messages of the stream `S`.
    pub(super) async fn contents(&self) -> Vec<String> {
        let stream = self.connect().await.get_stream("S").await.unwrap();
        let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
        let consumer = stream.create_consumer(config).await.unwrap();
        let count = usize::try_from(stream.cached_info().state.messages).unwrap();
        let messages = consumer.messages().await.unwrap().take(count);
        let texts =
            messages.map(|message| String::from_utf8(message.unwrap().payload.to_vec()).unwrap());
        timeout(Duration::from_secs(20), texts.collect()).await.unwrap()
    }

    /// Connects, and makes the stream `S` of the subjects `s.>`.
    pub(super) async fn stream(&self, config: stream::Config) -> Context {
        let context = self.connect().await;
        make(&context, config).await;
        context
    }
}

/// Debian installs it in a place of its own.
fn program() -> &'static str {
    let debian = "/usr/sbin/nats-server";
    if Path::new(debian).exists() { debian } else { "nats-server" }
}

pub(super) async fn make(context: &Context, config: stream::Config) {
    let subjects = vec!["s.>".to_owned()];
    let config = stream::Config { name: "S".to_owned(), subjects, ..config };
    context.create_stream(config).await.unwrap();
}

/// Publishes numbers, and returns when the server has stored all. Publishes again what was not answered.
pub(super) async fn publish(context: &Context, subject: &str, from: u64, to: u64) {
    let mut open = from;
    while open <= to {
        let end = to.min(open + 499);
        // In one order: what the server had stored before it died is a beginning of the chunk.
        if chunk(context, subject, open, end).await.is_ok() {
            open = end + 1;
        }
    }
}

async fn chunk(
    context: &Context,
    subject: &str,
    from: u64,
    to: u64,
) -> Result<(), async_nats::Error> {
    let mut answers = Vec::new();
    for n in from..=to {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{subject} {n}"));
        let payload = n.to_string().into();
        answers.push(context.publish_with_headers(subject.to_owned(), headers, payload).await?);
    }
    for answer in answers {
        timeout(Duration::from_secs(2), answer).await??;
    }
    Ok(())
}
