//! Topics in a later format than this version knows.

use event_log::{AppendError, Log, Position, ReadError};

use crate::server::Server;
use crate::support::{PAGE, Reader, append, audited, event, eventually, open, topic, try_append};

const LATER: &str = "v2 whatever it holds";

async fn convert(server: &Server, key: &str) {
    let mut command = redis::cmd("SET");
    server.run::<()>(command.arg(key).arg(LATER)).await;
}

#[tokio::test]
async fn a_topic_in_a_later_format_is_left_as_it_is() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let (a, other) = (topic("a"), topic("other"));
    append(&log, &a, "1").await;
    log.bounds(&a).await.unwrap();
    convert(&server, "h:{9}:a").await;

    let refused = try_append(&log, event(&a, "2")).await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::Unavailable(text) if text.contains("format 2")),
        "{refused}"
    );
    assert_eq!(server.words::<String>("GET h:{9}:a").await, LATER);
    assert_eq!(server.words::<u64>("XLEN e:{9}:a").await, 1);
    let ReadError::Unavailable(refused) = log.read(&a, Position::START, PAGE).await.unwrap_err();
    assert!(refused.contains("format 2"), "{refused}");
    // From now on the node is not ready: both of its probes fail.
    assert!(log.bounds(&other).await.is_err());
    assert!(log.echo(&other).await.is_err());
}

#[tokio::test]
async fn a_reader_of_a_topic_that_is_converted_under_it_is_not_told_wrong() {
    let server = Server::start().await;
    let log = open(audited(&server)).await;
    let a = topic("a");
    let mut reader = Reader::latest(&log, &a).await;
    append(&log, &a, "1").await;
    assert_eq!(reader.until(1).await, [1]);
    convert(&server, "h:{9}:a").await;
    let stats = log.stats();
    eventually("the audit fails", || stats.errors(redis_log::Op::Audit) > 0).await;
    assert!(log.echo(&a).await.is_err());
    // No gap is told of what this version cannot read.
    let more = tokio::time::timeout(std::time::Duration::from_millis(300), reader.step()).await;
    assert!(more.is_err(), "{more:?}");
}
