//! A full server: publishing fails, reading goes on.

use event_log::{AppendError, Log, Origin, Position, Seek};

use crate::gaps::Replica;
use crate::server::Server;
use crate::support::{
    PAGE, Reader, append, audited, config, event, eventually, fill, open, topic, try_append,
};

/// Takes all free memory from a server, as a flood of events would.
async fn fill_up(server: &Server) {
    server.words::<()>("CONFIG SET maxmemory-policy noeviction").await;
    server.words::<()>("CONFIG SET maxmemory 1").await;
}

#[tokio::test]
async fn a_full_server_refuses_events_and_serves_every_reader() {
    let server = Server::start().await;
    let (log, t) = (open(audited(&server)).await, topic("t"));
    fill(&log, &t, 1..=200).await;
    let mut live = Reader::latest(&log, &t).await;
    fill_up(&server).await;
    let refused = try_append(&log, event(&t, "201")).await;
    assert!(matches!(refused, Err(AppendError::Full(_))), "{refused:?}");
    assert_eq!(log.stats().full(), 1);

    // A node that starts now, with its check, and loads the scripts for reading.
    server.words::<()>("SCRIPT FLUSH").await;
    let log = open(audited(&server)).await;
    let stats = log.stats();
    for topic in [&t, &topic("empty")] {
        log.echo(topic).await.unwrap();
    }
    for origin in [Origin::Resume("0-0".into()), Origin::Seek(Seek::Earliest)] {
        let mut reader = Reader::open(&log, &t, origin).await;
        assert!(reader.until(200).await.into_iter().eq(1..=200));
    }
    let mut last = Reader::open(&log, &t, Origin::Seek(Seek::Last(3))).await;
    assert_eq!(last.until(200).await, [198, 199, 200]);
    Reader::open(&log, &t, Origin::Seek(Seek::Since(1))).await.until(200).await;
    assert_eq!(log.bounds(&t).await.unwrap().unwrap().length, 200);
    assert!(log.read(&topic("none"), Position::new(9, 9), PAGE).await.unwrap().gap.is_some());
    server.words::<()>("CLIENT KILL TYPE pubsub").await;
    eventually("the feed is back", || stats.reconnects() > 0 && stats.connected()).await;
    log.echo(&t).await.unwrap();

    server.words::<()>("CONFIG SET maxmemory 0").await;
    append(&log, &t, "201").await;
    assert_eq!(live.until(201).await, [201]);
    assert_eq!(last.until(201).await, [201]);
    for op in redis_log::Op::ALL {
        let expected = u64::from(op == redis_log::Op::Feed);
        assert_eq!(stats.errors(op), expected, "{}", op.as_str());
    }
}

/// The server that took over has lost events, and has no memory to raise its head.
#[tokio::test]
async fn a_head_that_cannot_be_raised_stops_no_reader_and_is_raised_later() {
    let server = Server::start().await;
    let (log, t) = (open(audited(&server)).await, topic("t"));
    fill(&log, &t, 1..=3).await;
    let replica = Replica::of(&server).await;
    append(&log, &t, "4").await;
    let mut reader = Reader::latest(&log, &t).await;
    replica.promote(&server).await;
    fill_up(&server).await;
    server.words::<()>("CLIENT KILL TYPE pubsub").await;
    let stats = log.stats();
    eventually("the feed is back", || stats.reconnects() > 0 && stats.connected()).await;
    let mut late = Reader::resume(&log, &t, "0-0").await;
    assert_eq!(late.until(3).await, [1, 2, 3]);
    assert_eq!(log.bounds(&t).await.unwrap().unwrap().head.n, 3);
    server.words::<()>("CONFIG SET maxmemory 0").await;
    // Another node, which has no witness, appends after the head was raised.
    let other = open(config(&server)).await;
    loop {
        if log.bounds(&t).await.unwrap().unwrap().head.n == 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(append(&other, &t, "5").await.position.n, 5);
    loop {
        if let event_log::Step::Events { events, .. } = reader.step().await
            && events.iter().any(|event| event.position().n == 5)
        {
            break;
        }
    }
}
