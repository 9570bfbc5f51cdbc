//! An upstream that follows a script: it streams tokens as far as the test lets it.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::{RwLock, RwLockWriteGuard, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::support::until;

/// The number of tokens in an answer.
pub(crate) const TOKENS: usize = 500;

/// A server in this process, which ends with the test.
#[derive(Debug)]
pub(crate) struct Upstream {
    addr: SocketAddr,
    script: Arc<Script>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Script {
    /// The number of tokens that each answer may send.
    allowed: watch::Sender<usize>,
    requests: Mutex<Vec<(Parts, Bytes)>>,
    /// Taken by every request before its answer.
    gate: RwLock<()>,
    /// Answers that were dropped before their end.
    cancelled: AtomicUsize,
}

/// An answer on its way; dropped before its end, it was cancelled.
struct Sending {
    script: Arc<Script>,
    allowed: watch::Receiver<usize>,
    sent: usize,
    piece: fn(usize) -> Option<String>,
    is_over: bool,
}

impl Upstream {
    /// Starts a server that sends no token before it may.
    pub(crate) async fn start() -> Upstream {
        let script = Arc::new(Script {
            allowed: watch::channel(0).0,
            requests: Mutex::default(),
            gate: RwLock::default(),
            cancelled: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/messages", post(message))
            .route("/v1/responses", post(responses))
            .route("/v1/responses/{id}", get(echo))
            .route("/api/chat", post(ui_messages))
            .route("/threads/t/runs/stream", post(run))
            .route("/threads/t/runs/r", get(run_state))
            .route("/lines", post(lines))
            .route("/cut", post(cut))
            .route("/failed", post(failed))
            .route("/echo", any(echo))
            .route("/moved", get(moved))
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Upstream { addr, script, _server: AbortOnDropHandle::new(server) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Lets each answer send this number of tokens in all.
    pub(crate) fn allow(&self, tokens: usize) {
        self.script.allowed.send_replace(tokens);
    }

    /// Holds all answers, heads too, until the result is dropped.
    pub(crate) fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.script.gate.try_write().expect("no request is answered now")
    }

    /// Returns the requests so far: head and body.
    pub(crate) fn requests(&self) -> Vec<(Parts, Bytes)> {
        self.script.requests.lock().unwrap().clone()
    }

    /// Returns the number of answers that were cancelled so far.
    pub(crate) fn cancelled(&self) -> usize {
        self.script.cancelled.load(Ordering::Relaxed)
    }

    /// Waits until so many answers were cancelled.
    pub(crate) async fn until_cancelled(&self, count: usize) {
        until("the upstream's answer is cancelled", async || self.cancelled() == count).await;
    }
}

/// The bytes of one token of a chat.
pub(crate) fn token(n: usize) -> String {
    format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"token-{n} \"}}}}]}}")
}

/// The whole body of a chat, as an upstream sends it.
pub(crate) fn chat_body() -> String {
    (0..).map_while(chat_piece).collect()
}

fn chat_piece(n: usize) -> Option<String> {
    match n {
        // Comments, an own id and an own retry are the upstream's right.
        0 => Some(format!(": hello\n\nretry: 7000\nid: own-1\ndata: {}\n\n", token(0))),
        1..TOKENS => Some(format!("data: {}\n\n", token(n))),
        TOKENS => Some("data: [DONE]\n\n".to_owned()),
        _ => None,
    }
}

async fn chat(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::SERVER, "scripted")];
    (headers, Body::from_stream(script.send(chat_piece))).into_response()
}

/// A message as the API of Anthropic streams it.
fn message_piece(n: usize) -> Option<String> {
    const USAGE: &str = "{\"input_tokens\":1,\"output_tokens\":500}";
    let data = match n {
        0 => format!(
            "{{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_scripted\",\"type\":\"message\",\
             \"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
             \"usage\":{USAGE}}}}}"
        ),
        1 => "{\"type\":\"content_block_start\",\"index\":0,\
              \"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
            .to_owned(),
        _ if n < TOKENS + 2 => format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"token-{} \"}}}}",
            n - 2
        ),
        _ => match n - TOKENS {
            2 => "{\"type\":\"content_block_stop\",\"index\":0}".to_owned(),
            3 => format!(
                "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\
                 \"stop_sequence\":null}},\"usage\":{USAGE}}}"
            ),
            4 => "{\"type\":\"message_stop\"}".to_owned(),
            _ => return None,
        },
    };
    let kind = data.split('"').nth(3).expect("a type");
    Some(format!("event: {kind}\ndata: {data}\n\n"))
}

async fn message(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (headers, Body::from_stream(script.send(message_piece))).into_response()
}

/// The id of every response.
pub(crate) const RESPONSE: &str = "resp_scripted";

/// The deltas of a response, and before and after them an event that frames it.
fn response_piece(n: usize) -> Option<String> {
    let status = if n == 0 { "in_progress" } else { "completed" };
    let response = format!(
        "{{\"id\":\"{RESPONSE}\",\"object\":\"response\",\"created_at\":0,\"status\":\"{status}\",\"model\":\"m\",\
         \"output\":[],\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[]}}"
    );
    let (kind, rest) = match n {
        0 => ("response.created", format!("\"response\":{response}")),
        1..=TOKENS => (
            "response.output_text.delta",
            format!(
                "\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"token-{} \",\"logprobs\":[]",
                n - 1
            ),
        ),
        _ if n == TOKENS + 1 => ("response.completed", format!("\"response\":{response}")),
        _ => return None,
    };
    let data = format!("{{\"type\":\"{kind}\",\"sequence_number\":{n},{rest}}}");
    Some(format!("event: {kind}\ndata: {data}\n\n"))
}

async fn responses(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (headers, Body::from_stream(script.send(response_piece))).into_response()
}

/// The parts of a message for the AI SDK.
fn ui_message_piece(n: usize) -> Option<String> {
    let data = match n {
        0 => "{\"type\":\"start\",\"messageId\":\"m\"}".to_owned(),
        1 => "{\"type\":\"text-start\",\"id\":\"t\"}".to_owned(),
        _ if n < TOKENS + 2 => {
            format!("{{\"type\":\"text-delta\",\"id\":\"t\",\"delta\":\"token-{} \"}}", n - 2)
        }
        _ if n == TOKENS + 2 => "{\"type\":\"text-end\",\"id\":\"t\"}".to_owned(),
        _ if n == TOKENS + 3 => "{\"type\":\"finish\"}".to_owned(),
        _ if n == TOKENS + 4 => "[DONE]".to_owned(),
        _ => return None,
    };
    Some(format!("data: {data}\n\n"))
}

async fn ui_messages(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [("content-type", "text/event-stream"), ("x-vercel-ai-ui-message-stream", "v1")];
    (headers, Body::from_stream(script.send(ui_message_piece))).into_response()
}

fn run_piece(n: usize) -> Option<String> {
    match n {
        0..TOKENS => Some(format!(
            "event: messages\ndata: [{{\"type\":\"AIMessageChunk\",\"content\":\"token-{n} \"}},{{}}]\nid: own-{n}\n\n"
        )),
        TOKENS => Some("event: end\ndata: null\n\n".to_owned()),
        _ => None,
    }
}

async fn run(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [
        ("content-type", "text/event-stream"),
        ("location", "/threads/t/runs/r/stream"),
        ("content-location", "/threads/t/runs/r"),
    ];
    (headers, Body::from_stream(script.send(run_piece))).into_response()
}

async fn run_state() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"run_id\":\"r\",\"status\":\"success\"}")
        .into_response()
}

async fn lines(State(script): State<Arc<Script>>, request: Request) -> Response {
    fn piece(n: usize) -> Option<String> {
        (n < 5).then(|| format!("{{\"n\":{n}}}{}", if n < 4 { "\n" } else { "" }))
    }
    script.take(request).await;
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (headers, Body::from_stream(script.send(piece))).into_response()
}

/// An answer whose connection breaks within its third event, once that is allowed.
async fn cut(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let pieces = ["data: 1\n\n", "data: 2\n\ndata: unfinish"].map(|piece| Ok(Bytes::from(piece)));
    let mut allowed = script.allowed.subscribe();
    let broken = stream::once(async move {
        drop(allowed.wait_for(|allowed| *allowed > 0).await);
        Err(std::io::Error::other("cut"))
    });
    let body = Body::from_stream(stream::iter(pieces).chain(broken));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// An error in the type of a stream.
async fn failed(State(script): State<Arc<Script>>, request: Request) -> Response {
    script.take(request).await;
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, "data: overloaded\n\n").into_response()
}

async fn echo(State(script): State<Arc<Script>>, request: Request) -> Response {
    let body = script.take(request).await;
    (StatusCode::IM_A_TEAPOT, [("x-echo", "yes"), ("set-cookie", "a=1")], body).into_response()
}

async fn moved() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response()
}

impl Script {
    async fn take(&self, request: Request) -> Bytes {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.requests.lock().unwrap().push((parts, body.clone()));
        drop(self.gate.read().await);
        body
    }

    fn send(
        self: &Arc<Self>,
        piece: fn(usize) -> Option<String>,
    ) -> impl stream::Stream<Item = Result<String, Infallible>> + use<> {
        let (script, allowed) = (Arc::clone(self), self.allowed.subscribe());
        let sending = Sending { script, allowed, sent: 0, piece, is_over: false };
        stream::unfold(sending, |mut sending| async move {
            let n = sending.sent;
            let piece = (sending.piece)(n);
            // The end of the answer needs no permission.
            if piece.is_some() && sending.allowed.wait_for(|allowed| *allowed > n).await.is_err() {
                pending::<()>().await;
            }
            sending.sent += 1;
            sending.is_over = piece.is_none();
            piece.map(|piece| (Ok(piece), sending))
        })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_over {
            self.script.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
