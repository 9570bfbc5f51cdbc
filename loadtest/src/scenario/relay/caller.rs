//! Callers that read their answers, and clients that read them again, all on one core.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use sse::Parser;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::cost::chat::{ChatTranscript, PATH};
use crate::machine::pin;
use crate::report::histogram::Histogram;

/// The load of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) answers: usize,
    /// Tokens of an answer.
    pub(super) tokens: u64,
    /// Tokens a second.
    pub(super) rate: f64,
}

/// Numbers of answers that were complete, and as they were sent.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Heard {
    pub(super) called: usize,
    /// At the gateway, while they were written.
    pub(super) read: usize,
    /// After their end.
    pub(super) read_again: usize,
}

/// The answers of a run.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The age of tokens when their callers have them.
    pub(super) callers: Histogram,
    /// The same for those that read at the gateway.
    pub(super) readers: Histogram,
    pub(super) whole: Heard,
    /// Differences, the first few.
    pub(super) wrong: Vec<String>,
    /// The stored answers: their location, and the times of their tokens.
    stored: Vec<(String, Vec<u64>)>,
}

/// One answer.
struct Call {
    called: Result<Vec<u64>>,
    ages: Histogram,
    read: Option<Result<Vec<u64>>>,
    read_ages: Histogram,
    location: Option<String>,
}

/// The time in which all callers ask.
const BEGIN: Duration = Duration::from_secs(1);
/// The time beyond the script after which an answer is not complete.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers that are read again at a time.
const AT_A_TIME: usize = 32;
/// Differences that are told.
const WRONG_MAX: usize = 5;
const BODY: &str =
    r#"{"model":"scripted","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;

/// Asks for all answers, and reads each at the gateway too if there is one.
///
/// # Errors
/// When the core is not there.
pub(super) fn call(
    core: usize,
    server: SocketAddr,
    gateway: Option<SocketAddr>,
    script: Script,
) -> Result<Asked> {
    on_core(core, async {
        let mut calls = JoinSet::new();
        for number in 0..script.answers {
            calls.spawn(async move {
                sleep(BEGIN.mul_f64(number as f64 / script.answers as f64)).await;
                one(server, gateway, script).await
            });
        }
        let mut asked = Asked::default();
        while let Some(call) = calls.join_next().await {
            asked.add(call.context("a caller panicked")?);
        }
        Ok(asked)
    })
}

/// Reads all stored answers again, from their beginning.
///
/// # Errors
/// When the core is not there.
pub(super) fn read_again(
    core: usize,
    server: SocketAddr,
    script: Script,
    asked: &mut Asked,
) -> Result<()> {
    let mut stored = std::mem::take(&mut asked.stored).into_iter();
    on_core(core, async {
        let mut reads = JoinSet::new();
        loop {
            while reads.len() < AT_A_TIME
                && let Some((location, sent)) = stored.next()
            {
                reads.spawn(async move {
                    let mut ages = Histogram::default();
                    let again = read(server, &location, script, &mut ages).await?;
                    ensure!(again == sent, "the tokens of a topic are not those of its answer");
                    Ok(())
                });
            }
            let Some(read) = reads.join_next().await else { return Ok(()) };
            match read.context("a reader panicked")? {
                Ok(()) => asked.whole.read_again += 1,
                Err(error) => asked.differs("read again", &error),
            }
        }
    })
}

impl Asked {
    fn add(&mut self, call: Call) {
        let Call { called, ages, read, read_ages, location } = call;
        self.callers.add(&ages);
        self.readers.add(&read_ages);
        match (&called, read) {
            (Ok(called), Some(Ok(read))) if *called == read => self.whole.read += 1,
            (Ok(_), Some(Ok(_))) => {
                self.wrong.push("the tokens of a reader are not those of its caller".to_owned());
            }
            (_, Some(Err(error))) => self.differs("read", &error),
            (_, _) => {}
        }
        match called {
            Ok(sent) => {
                self.whole.called += 1;
                self.stored.extend(location.map(|location| (location, sent)));
            }
            Err(error) => self.differs("called", &error),
        }
    }

    fn differs(&mut self, act: &str, error: &anyhow::Error) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(format!("{act}: {error:#}"));
        }
    }
}

fn on_core<T>(core: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
    pin(core)?;
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Asks for one answer.
async fn one(server: SocketAddr, gateway: Option<SocketAddr>, script: Script) -> Call {
    let (mut ages, mut read_ages) = (Histogram::default(), Histogram::default());
    let path = format!("{PATH}?tokens={}&rate={}", script.tokens, script.rate);
    let (response, _connection) = match send(server, Method::POST, &path, BODY).await {
        Ok(answered) => answered,
        Err(error) => {
            return Call { called: Err(error), ages, read: None, read_ages, location: None };
        }
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(str::to_owned);
    let reading = async {
        let (gateway, location) = (gateway?, location.as_deref()?);
        Some(read(gateway, location, script, &mut read_ages).await)
    };
    let (called, read) = tokio::join!(hear(response, script, &mut ages), reading);
    Call { called, ages, read, read_ages, location }
}

/// Reads the upstream's bytes.
async fn hear(
    response: Response<Incoming>,
    script: Script,
    ages: &mut Histogram,
) -> Result<Vec<u64>> {
    let mut transcript = ChatTranscript::new(script.tokens);
    let heard = async {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame?.into_data() {
                transcript.read(&piece, ages)?;
            }
        }
        transcript.finish()
    };
    within(script, heard).await?;
    Ok(transcript.sent)
}

/// Reads the events of a topic.
async fn read(
    server: SocketAddr,
    location: &str,
    script: Script,
    ages: &mut Histogram,
) -> Result<Vec<u64>> {
    let (response, _connection) = send(server, Method::GET, location, "").await?;
    let (mut transcript, mut parser) = (ChatTranscript::new(script.tokens), Parser::default());
    let heard = async {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            let mut events = String::new();
            parser.feed(&piece, &mut |event| {
                // As the upstream has sent it: without the id.
                events.push_str(&format!("data: {}\n\n", event.data));
            });
            transcript.read(events.as_bytes(), ages)?;
        }
        transcript.finish()
    };
    within(script, heard).await?;
    Ok(transcript.sent)
}

/// Waits for the whole answer, as long as the script is and a minute more.
async fn within(script: Script, heard: impl Future<Output = Result<()>>) -> Result<()> {
    let time = PATIENCE + Duration::from_secs_f64(script.tokens as f64 / script.rate);
    timeout(time, heard).await.with_context(|| format!("the answer took more than {time:?}"))?
}

/// Sends a request over a connection of its own.
async fn send(
    server: SocketAddr,
    method: Method,
    path: &str,
    body: &'static str,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>)> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error reaches the reader of the body as well.
    let connection = tokio::spawn(async { connection.await.unwrap_or_default() });
    let request = Request::builder().method(method).uri(path).header(HOST, server.to_string());
    let request = request.header(CONTENT_TYPE, "application/json");
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    ensure!(response.status() == StatusCode::OK, "{path} was answered {}", response.status());
    Ok((response, AbortOnDropHandle::new(connection)))
}
