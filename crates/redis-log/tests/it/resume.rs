//! The commands that a resume costs, counted by the server.

use event_log::{Log, Position, Topic};

use crate::server::Server;
use crate::support::{PAGE, config, fill, open, topic};

/// Commands that read from Redis.
#[derive(Debug, PartialEq, Eq)]
struct Reads {
    heads: u64,
    forwards: u64,
    backwards: u64,
}

impl Reads {
    async fn so_far(server: &Server) -> Self {
        Self {
            heads: server.calls("get").await + server.calls("mget").await,
            forwards: server.calls("xrange").await,
            backwards: server.calls("xrevrange").await,
        }
    }

    async fn since(&self, server: &Server) -> Self {
        let now = Self::so_far(server).await;
        Self {
            heads: now.heads - self.heads,
            forwards: now.forwards - self.forwards,
            backwards: now.backwards - self.backwards,
        }
    }
}

/// A server with a topic of this many events, and the position of the tenth.
async fn filled(events: u64) -> (Server, Topic, Position) {
    let server = Server::start().await;
    let (log, t) = (open(config(&server)).await, topic("t"));
    fill(&log, &t, 1..=events).await;
    let page = log.read(&t, Position::START, PAGE).await.unwrap();
    (server, t, page.events[9].position())
}

#[tokio::test]
async fn a_cold_resume_of_one_page_reads_the_window_and_the_page_once() {
    for (events, backwards) in [(20, 1), (300, 2)] {
        let (server, t, tenth) = filled(events).await;
        let log = open(config(&server)).await;
        let before = Reads::so_far(&server).await;
        log.tail(&t).await.unwrap();
        // The size of events is unknown before the first of two reads of a large window.
        let window = Reads { heads: 1, forwards: 0, backwards };
        assert_eq!(before.since(&server).await, window, "{events}");

        let before = Reads::so_far(&server).await;
        let page = log.read(&t, tenth, PAGE).await.unwrap();
        assert_eq!(page.events[0].position().n, 11);
        let read = Reads { heads: 1, forwards: 1, backwards: 0 };
        assert_eq!(before.since(&server).await, read, "{events}");
    }
}

#[tokio::test]
async fn a_resume_at_a_gap_reads_twice() {
    let (server, t, tenth) = filled(300).await;
    server.words::<()>(&format!("XTRIM {} MAXLEN 50", crate::gaps::key(&server, 'e').await)).await;
    let log = open(config(&server)).await;
    log.tail(&t).await.unwrap();
    let before = Reads::so_far(&server).await;
    let gap = log.read(&t, tenth, PAGE).await.unwrap().gap.unwrap();
    assert_eq!(gap.missed, Some(240));
    // The second read also asks for the oldest and the newest event, which tell the gap.
    let reads = Reads { heads: 2, forwards: 3, backwards: 1 };
    assert_eq!(before.since(&server).await, reads);
}

#[tokio::test]
async fn a_log_that_appends_nothing_loads_no_script_again() {
    let (server, t, tenth) = filled(20).await;
    let log = open(config(&server)).await;
    // The check loads one script, and the first read of the other log has loaded all.
    let loaded = server.calls("script|load").await;
    log.tail(&t).await.unwrap();
    log.read(&t, tenth, PAGE).await.unwrap();
    assert_eq!(server.calls("script|load").await, loaded);
}
