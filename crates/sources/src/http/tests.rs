//! The settings and the requests of the HTTP kinds.

use super::stage::{Server, Stage, answer, status};
use crate::config::Config;

fn mistake(table: &str) -> String {
    let text = format!("[source.s]\ntopic = 't'\n{table}");
    Config::parse(&text).unwrap_err().to_string()
}

#[test]
fn mistakes_of_the_configuration_are_named() {
    for (table, error) in [
        ("sse = { url = 'x' }", "source s: url = \"x\": relative URL without a base"),
        ("sse = { url = 'ftp://h' }", "source s: url begins with ftp:; it must be http: or https:"),
        (
            "sse = { url = 'http://u:p@h' }",
            "source s: url has a user or a password; use headers.authorization = { file = \"...\", \
            prefix = \"Basic \" }",
        ),
        (
            "sse = { url = 'http://h', headers = { Host = 'x' } }",
            "source s: headers.Host: the relay sets this header itself",
        ),
        (
            "sse = { url = 'http://h', headers = { 'a b' = 'x' } }",
            "source s: headers.a b: this is no name of a header",
        ),
        (
            "sse = { url = 'http://h', headers = { a = \"x\\u0000\" } }",
            "source s: headers.a: the value has characters that no header may have",
        ),
        (
            "sse = { url = 'http://h', silence-max = '0s' }",
            "source s: silence-max = \"0s\"; it must be 1s to 1day",
        ),
        (
            "json-lines = { url = 'http://h', resume = { query = 'after' } }",
            "source s: resume needs id, the JSON Pointer to the id in a line",
        ),
        (
            "json-lines = { url = 'http://h', id = 'id' }",
            "source s: id = \"id\"; a JSON Pointer begins with a slash",
        ),
        (
            "poll = { url = 'http://h', every = '10ms' }",
            "source s: every = \"10ms\"; it must be 1s to 1day",
        ),
        (
            "poll = { url = 'http://h' }\nsse = { url = 'http://h' }",
            "source s: it has 2 kinds; it must have one of sse, json-lines, poll, postgres, nats, kafka, \
            mqtt",
        ),
    ] {
        assert_eq!(mistake(table), error);
    }
    let fields = "[source.s]\ntopic = '{id}'\nsse = { url = 'http://h' }";
    assert_eq!(
        Config::parse(fields).unwrap_err().to_string(),
        "source s: topic = \"{id}\": {id} is no field of this source; it has none"
    );
    let form = mistake("sse = { url = 'http://h', headers = { a = 1 } }");
    assert!(form.contains("a header is a text, or { file = \"...\" }"), "{form}");
}

#[test]
fn one_event_stream_needs_no_file() {
    let config = Config::event_stream("http://h/events?topic=a", "t").unwrap();
    let source = &config.sources["stream"];
    assert_eq!(source.kind.name(), "sse");
    assert_eq!(format!("{:?}", source.kind).matches("topic=a").count(), 0, "a query may be secret");
    let error = Config::event_stream("h", "t").unwrap_err().to_string();
    assert_eq!(error, "source stream: url = \"h\": relative URL without a base");
}

#[tokio::test]
async fn redirects_are_followed_and_credentials_stay_at_home() {
    let other = Server::start(|_, _| (answer("text/event-stream", "data: 1\n\n"), true)).await;
    let place = other.url("/events");
    let home = Server::start(move |_, request| match request.path() {
        "/" => (status("307 Temporary Redirect", "location: /near\r\n"), false),
        _ => (status("302 Found", &format!("location: {place}\r\n")), false),
    })
    .await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret\n").unwrap();
    let stage = Stage::new();
    let table = format!(
        "sse = {{ url = '{}', headers = {{ X-Key = 'k', authorization = {{ file = '{}', \
        prefix = 'Bearer ' }} }} }}",
        home.url("/"),
        secret.path().display()
    );
    let _relay = stage.relay(&table);
    assert_eq!(stage.entries("t", 1).await, ["1"]);
    let requests = home.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.header("authorization"), Some("Bearer secret"));
        assert_eq!(request.header("x-key"), Some("k"));
    }
    let request = &other.requests()[0];
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!((request.header("authorization"), request.header("x-key")), (None, None));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    for (bytes, error) in [
        (status("403 Forbidden", ""), "the server answers 403 Forbidden"),
        (status("302 Found", "location: /\r\n"), "there are more than 10 redirects, the limit"),
        (status("302 Found", ""), "the server answers 302 Found without a place"),
        (
            answer("text/html", "<p>"),
            "the answer is 200 OK \"text/html\"; it must be 200 with text/event-stream",
        ),
        (
            answer("text/event-stream\r\ncontent-encoding: br", ""),
            "the answer is encoded (br), unasked",
        ),
        (
            status("503 Service Unavailable", "retry-after: 100\r\n"),
            "the server has asked to come back in 1m 3",
        ),
    ] {
        let server = Server::start(move |_, _| (bytes.clone(), false)).await;
        let stage = Stage::new();
        let _relay = stage.relay(&format!("sse = {{ url = '{}' }}", server.url("/")));
        let first = stage.failure().await;
        if error.contains("come back") {
            assert_eq!(first, "the server answers 503 Service Unavailable");
            while !stage.failure().await.contains("come back") {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            assert_eq!(server.requests().len(), 1, "it is not asked before");
        } else {
            assert_eq!(first, error);
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let stage = Stage::new();
    let server = Server::start(|_, _| (status("204 No Content", ""), false)).await;
    let url = server.url("/");
    let table = format!("sse = {{ url = '{url}', headers = {{ a = {{ file = '/none/x' }} }} }}");
    let _relay = stage.relay(&table);
    assert_eq!(stage.failure().await, "/none/x: No such file or directory (os error 2)");
    let stage = Stage::new();
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = empty.path().display();
    let _relay = stage.relay(&format!("sse = {{ url = '{url}', ca-file = '{path}' }}"));
    let error = stage.failure().await;
    assert_eq!(error, format!("TLS cannot be set up: ca-file {path} has no certificate in PEM"));
}

#[tokio::test]
async fn a_silent_stream_is_opened_again() {
    let server =
        Server::start(|_, _| (answer("text/event-stream", "id: 1\ndata: 1\n\n"), true)).await;
    let stage = Stage::new();
    let table = format!("sse = {{ url = '{}', silence-max = '1s' }}", server.url("/"));
    let _relay = stage.relay(&table);
    stage.entries("t", 1).await;
    assert_eq!(stage.failure().await, "the server has sent nothing for 1s");
    while server.requests().len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(server.requests()[1].header("last-event-id"), Some("1"));
}
