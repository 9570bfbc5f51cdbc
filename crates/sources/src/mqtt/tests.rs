//! A real broker, Mosquitto, on a port of its own.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use event_log::{Key, Limit, Log, Mark, MemoryLog, Position, Retention, Topic};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::copier::{Copier, End};
use crate::stats::Stats;

/// The longest wait for anything. Only a failed test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, killed when it is dropped.
struct Mosquitto {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl Mosquitto {
    async fn start(lines: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!("listener {port} 127.0.0.1\nlog_type all\n{lines}\n");
        std::fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        let process = Self::spawn(dir.path());
        let broker = Self { dir, port, process };
        broker.wait().await;
        broker
    }

    async fn open() -> Self {
        Self::start("allow_anonymous true").await
    }

    fn spawn(dir: &Path) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        // As root it would take another user, who may not read the directory.
        Command::new("mosquitto")
            .args(["-c", "mosquitto.conf"])
            .current_dir(dir)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed: scripts/setup")
    }

    async fn wait(&self) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "mosquitto does not listen: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it with all it has in memory, and starts it again.
    async fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::spawn(self.dir.path());
        self.wait().await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until the log of the broker has a text.
    async fn logs(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?} in {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Publishes messages of QoS 1 on a topic, and returns when the broker has them.
    fn publish(&self, topic: &str, messages: &[&str]) {
        self.publish_with(topic, &["-l"], format!("{}\n", messages.join("\n")).as_bytes());
    }

    fn publish_with(&self, topic: &str, arguments: &[&str], input: &[u8]) {
        let port = self.port.to_string();
        let mut process = Command::new("mosquitto_pub")
            .args(["-V", "5", "-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto_pub is installed: scripts/setup");
        process.stdin.take().unwrap().write_all(input).unwrap();
        assert!(process.wait().unwrap().success());
    }

    /// The table of a source of this broker.
    fn table(&self, lines: &str) -> String {
        let port = self.port;
        format!("[source.s.mqtt]\nurl = 'mqtt://127.0.0.1:{port}'\nfilters = ['m/#']\n{lines}")
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // A broker that has ended already is as good.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Relays that copy a broker into one log.
struct Stage {
    log: Arc<MemoryLog>,
    stats: Stats,
}

impl Stage {
    fn new() -> Self {
        Self { log: Arc::new(MemoryLog::new(Retention::default())), stats: Stats::default() }
    }

    fn relay(&self, config: &str, make: impl FnOnce(Box<dyn Source>) -> Box<dyn Source>) -> Relay {
        let config = Config::parse(config).unwrap();
        let options = &config.sources["s"];
        let copier = Copier {
            log: Arc::<MemoryLog>::clone(&self.log),
            name: Key::new("s").unwrap(),
            kind: options.kind.name(),
            // The name of a relay that may take the lead at once.
            node: "node".to_owned(),
            source: make(options.kind.source(None)),
            copying: options.copying.clone(),
            stats: self.stats.clone(),
            leaving: CancellationToken::new(),
        };
        Relay(tokio::spawn(copier.run()))
    }

    async fn now(&self, topic: &str) -> Vec<String> {
        let topic = Topic::new(topic).unwrap();
        let all = Limit { events: 1000, bytes: usize::MAX };
        let page = self.log.read(&topic, Position::START, all).await.unwrap();
        let text = |event: &event_log::Event| match event.mark() {
            Mark::Open => event.data().to_owned(),
            mark => format!("{mark:?}"),
        };
        page.events.iter().map(text).collect()
    }

    /// Waits until the topic has so many entries, and returns them: data, or the mark of one without.
    async fn entries(&self, topic: &str, count: usize) -> Vec<String> {
        let began = Instant::now();
        loop {
            let entries = self.now(topic).await;
            if entries.len() >= count {
                return entries;
            }
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "{topic} has not {count} entries: {entries:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A relay that is killed when it is dropped.
struct Relay(JoinHandle<End>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A source whose acknowledgements do not arrive after some messages, as if the relay died before it sent them.
struct Mute(Box<dyn Source>, u64);

#[async_trait]
impl Source for Mute {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        Ok(Box::new(MuteReading(self.0.open(after).await?, self.1)))
    }

    fn has(&self, known: &Place, place: &Place) -> bool {
        self.0.has(known, place)
    }
}

struct MuteReading(Box<dyn Reading>, u64);

#[async_trait]
impl Reading for MuteReading {
    async fn next(&mut self) -> Result<Vec<Item>, Failure> {
        self.0.next().await
    }

    async fn stored(&mut self, up_to: &Place) -> Result<(), Failure> {
        if up_to.major > self.1 { Ok(()) } else { self.0.stored(up_to).await }
    }
}

/// Lets others read files: Mosquitto gives up being root before it reads them.
fn readable(directory: &Path, names: &[&str]) {
    let allow = |path: &Path, mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, permissions).unwrap();
    };
    allow(directory, 0o755);
    for name in names {
        allow(&directory.join(name), 0o644);
    }
}

fn source(config: &str) -> Box<dyn Source> {
    Config::parse(&format!("source.s.topic = 't'\n{config}")).unwrap().sources["s"]
        .kind
        .source(None)
}

/// Waits for the next items other than those that nothing is copied of.
async fn next(reading: &mut Box<dyn Reading>) -> Result<Vec<Item>, Failure> {
    loop {
        let items = timeout(PATIENCE, reading.next()).await.expect("items come")?;
        if !items.iter().all(|item| matches!(item, Item::Passed(_))) {
            return Ok(items);
        }
    }
}

fn data(items: &[Item]) -> Vec<String> {
    let data = |item: &Item| match item {
        Item::Event { event, .. } => event.data.to_string(),
        other => format!("{other:?}"),
    };
    items.iter().map(data).collect()
}

fn keyed(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| format!("{{\"id\":{n}}}")).collect()
}

fn words(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Opens the source once, so that the broker has a session of it.
async fn subscribe(broker: &Mosquitto, config: &str) {
    let _reading = source(config).open(None).await.unwrap();
    broker.logs("Sending SUBACK").await;
}

#[tokio::test]
async fn messages_that_come_again_are_stored_once_by_their_key() {
    for topic in ["t", "t/{topic}"] {
        let broker = Mosquitto::open().await;
        let config = broker.table("key = '/id'\nclient-id = 'relay-1'");
        subscribe(&broker, &config).await;
        let config = format!("source.s.topic = '{topic}'\nsource.s.gap-topic = 'gaps'\n{config}");
        let copy = if topic == "t" { "t" } else { "t/m/a" };
        let stage = Stage::new();
        let relay = stage.relay(&config, |source| Box::new(Mute(source, 50)));
        broker.publish("m/a", &words(&keyed(1, 50)));
        stage.entries(copy, 50).await;
        let began = Instant::now();
        while broker.log().matches("Received PUBACK from relay-1").count() < 50 {
            assert!(began.elapsed() < PATIENCE, "{}", broker.log());
            sleep(Duration::from_millis(20)).await;
        }
        broker.publish("m/a", &words(&keyed(51, 100)));
        assert_eq!(stage.entries(copy, 100).await, keyed(1, 100));
        drop(relay);
        broker.publish("m/a", &words(&keyed(101, 110)));
        let relay = stage.relay(&config, |source| source);
        broker.publish("m/a", &words(&keyed(111, 115)));
        assert_eq!(stage.entries(copy, 115).await, keyed(1, 115), "{topic}");
        // All is acknowledged now: nothing comes again.
        drop(relay);
        let _relay = stage.relay(&config, |source| source);
        broker.publish("m/a", &words(&keyed(116, 116)));
        assert_eq!(stage.entries(copy, 116).await, keyed(1, 116), "{topic}");
        assert_eq!(stage.now("gaps").await.len(), 0);
    }
}

#[tokio::test]
async fn without_a_key_what_was_not_acknowledged_is_stored_again() {
    let broker = Mosquitto::open().await;
    let config = broker.table("");
    subscribe(&broker, &config).await;
    let config = format!("source.s.topic = 't'\n{config}");
    let stage = Stage::new();
    let relay = stage.relay(&config, |source| Box::new(Mute(source, 0)));
    broker.publish("m/a", &words(&keyed(1, 5)));
    stage.entries("t", 5).await;
    drop(relay);
    let _relay = stage.relay(&config, |source| source);
    broker.publish("m/a", &words(&keyed(6, 6)));
    let twice = [keyed(1, 5), keyed(1, 6)].concat();
    assert_eq!(stage.entries("t", 11).await, twice);
}

#[tokio::test]
async fn what_a_killed_broker_forgets_is_told_once() {
    let mut broker = Mosquitto::open().await;
    let config = format!("source.s.topic = 't'\n{}", broker.table("keep-alive = '1s'"));
    let stage = Stage::new();
    let _relay = stage.relay(&config, |source| source);
    let (mut published, mut broken) = (0_u32, 0);
    for restarts in 0..3 {
        if restarts > 0 {
            broker.kill_and_restart().await;
        }
        // The relay subscribes at some moment; what is published before goes to nobody.
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "{}", broker.log());
            published += 1;
            broker.publish_with("m/a", &["-m", &published.to_string()], b"");
            sleep(Duration::from_millis(200)).await;
            let entries = stage.now("t").await;
            broken = entries.iter().filter(|entry| *entry == "Broken(Missing)").count();
            if broken == restarts && entries.contains(&published.to_string()) {
                break;
            }
        }
    }
    assert_eq!(broken, 2);
    let mut entries = stage.now("t").await;
    assert_ne!(entries[0], "Broken(Missing)", "a first connection has lost nothing");
    // Each loss stands between the messages before and after it, in their order.
    entries.retain(|entry| entry != "Broken(Missing)");
    let numbers: Vec<u32> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[tokio::test]
async fn a_loss_is_told_again_until_it_is_stored() {
    let mut broker = Mosquitto::open().await;
    let config = broker.table("");
    let mut first = source(&config);
    let mut reading = first.open(None).await.unwrap();
    let after = reading.next().await.unwrap()[0].place().clone();
    drop(reading);
    broker.kill_and_restart().await;
    // Two relays die before the loss is stored.
    for _ in 0..2 {
        let mut reading = source(&config).open(Some(&after)).await.unwrap();
        let items = reading.next().await.unwrap();
        assert!(matches!(&items[..], [Item::Gap { missed: None, .. }]), "{items:?}");
    }
    let mut reading = first.open(Some(&after)).await.unwrap();
    let gap = reading.next().await.unwrap()[0].place().clone();
    assert!(gap.order() > after.order());
    reading.stored(&gap).await.unwrap();
    assert!(matches!(reading.next().await, Err(Failure::Away(_))));
    let mut reading = first.open(Some(&gap)).await.unwrap();
    broker.logs("Sending SUBACK").await;
    broker.publish("m/a", &["one"]);
    assert_eq!(data(&next(&mut reading).await.unwrap()), ["one"]);
    drop(reading);
    // And the session, with the message, is there for the next relay.
    let mut reading = source(&config).open(Some(&gap)).await.unwrap();
    assert_eq!(data(&next(&mut reading).await.unwrap()), ["one"]);
}

#[tokio::test]
async fn retained_messages_are_skipped_or_copied_once_and_never_with_a_shared_subscription() {
    let broker = Mosquitto::open().await;
    broker.publish_with("m/state", &["-r", "-m", "kept"], b"");
    for (n, (filter, retained, copied)) in [
        ("m/#", "skip", false),
        ("m/#", "once", true),
        ("$share/relays/m/#", "skip", false),
        ("$share/relays/m/#", "once", false),
    ]
    .into_iter()
    .enumerate()
    {
        let config = format!(
            "source.s.topic = 't'\n[source.s.mqtt]\nurl = 'mqtt://127.0.0.1:{}'\n\
            filters = ['{filter}']\nclient-id = 'c{n}'\nretained = '{retained}'",
            broker.port
        );
        let mut after = None;
        for turn in 0..3 {
            let mut source = Config::parse(&config).unwrap().sources["s"].kind.source(None);
            let mut reading = source.open(after.as_ref()).await.unwrap();
            // The broker sends what it keeps before what is published later.
            let live = format!("live {turn}");
            let mut came = Vec::new();
            let began = Instant::now();
            while !came.contains(&live) {
                assert!(began.elapsed() < PATIENCE, "{filter} {retained}: {came:?}");
                broker.publish_with("m/a", &["-m", &live], b"");
                let waited = timeout(Duration::from_millis(500), next(&mut reading)).await;
                let Ok(items) = waited else { continue };
                let items = items.unwrap();
                came.extend(data(&items));
                let last = items.last().unwrap().place();
                reading.stored(last).await.unwrap();
                after = Some(last.clone());
            }
            sleep(Duration::from_millis(100)).await;
            let is_there = came.contains(&"kept".to_owned());
            assert_eq!(is_there, copied && turn == 0, "{filter} {retained} {turn}: {came:?}");
            drop(reading);
            // Two members of a group with one client id would share the messages.
            sleep(Duration::from_millis(100)).await;
        }
        // It gets no more messages, which the next one shares with it.
        let mut source = Config::parse(&config).unwrap().sources["s"].kind.source(None);
        drop(source.open(after.as_ref()).await.unwrap());
        let broker = Broker {
            host: "127.0.0.1".to_owned(),
            port: broker.port,
            is_encrypted: false,
            ca_file: None,
            client_id: format!("c{n}"),
            user: None,
            password_file: None,
            filters: vec![],
            retained: Retained::Skip,
            session_expiry: SESSION_EXPIRY,
            keep_alive: KEEP_ALIVE,
        };
        let topic = crate::template::Template::parse("t", &[]).unwrap();
        let shape = Shape { key: None, topic, bytes_max: 1 };
        wire::connect(&broker, &shape, 1).await.unwrap().forget().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_an_event_is_laid_aside_in_its_place() {
    let broker = Mosquitto::open().await;
    let config = broker.table("key = '/id'");
    subscribe(&broker, &config).await;
    let config = format!(
        "[source.s]\ntopic = '{{topic}}'\non-error = 'dead-letter'\ndead-letter = 'bad'\n\
        gap-topic = 'gaps'\nevent-bytes-max = 100\n{config}"
    );
    let stage = Stage::new();
    let _relay = stage.relay(&config, |source| source);
    broker.publish("m/a", &["{\"id\":1}"]);
    broker.publish_with("m/a", &["-s"], b"{\"id\":\"\xff\"}");
    broker.publish("m/a b", &["{\"id\":2}"]);
    broker.publish("m/a", &["{}", "no JSON"]);
    // More than is held of a packet, so that a part of it is skipped.
    let large = "x".repeat(200_000);
    broker.publish_with("m/a", &["-s"], large.as_bytes());
    broker.publish("m/a", &["{\"id\":3}"]);
    assert_eq!(stage.entries("m/a", 2).await, ["{\"id\":1}", "{\"id\":3}"]);
    let bad = stage.now("bad").await;
    let reasons = [
        "the payload is not UTF-8",
        "topic \\\"m/a b\\\" of MQTT: a topic's name must not contain ' '",
        "there is no key at \\\"/id\\\"",
        "the payload is no JSON",
        "a message has 200000 bytes; event-bytes-max is 100",
    ];
    assert_eq!(bad.len(), reasons.len(), "{bad:?}");
    for (letter, reason) in bad.iter().zip(reasons) {
        assert!(letter.contains(reason), "{letter} has not {reason}");
    }
    assert!(bad[4].len() < 5000, "only its beginning is stored");
}

#[tokio::test]
async fn the_broker_hears_of_a_relay_whose_log_hangs() {
    let broker = Mosquitto::start("allow_anonymous true\nmax_queued_messages 10000").await;
    let config = broker.table("keep-alive = '1s'");
    subscribe(&broker, &config).await;
    let mut reading = source(&config).open(None).await.unwrap();
    let numbers: Vec<_> = (1..=1000).map(|n| n.to_string()).collect();
    broker.publish("m/a", &words(&numbers));
    let mut came = next(&mut reading).await.unwrap();
    // The log takes nothing for as long as the broker would wait for a sign of life, and twice that.
    sleep(Duration::from_secs(4)).await;
    let refused = timeout(Duration::from_millis(1), reading.next());
    // The broker sends no more than this client asked for.
    if let Ok(more) = refused.await {
        came.extend(more.unwrap());
    }
    assert!(came.len() <= window::KEYS_MAX, "{} messages are in flight", came.len());
    let mut copied = data(&came);
    reading.stored(came.last().unwrap().place()).await.unwrap();
    while copied.len() < 1000 {
        let items = next(&mut reading).await.unwrap();
        copied.extend(data(&items));
        reading.stored(items.last().unwrap().place()).await.unwrap();
    }
    assert_eq!(copied, numbers);
    assert!(!broker.log().contains("exceeded timeout"), "{}", broker.log());
}

#[tokio::test]
async fn another_client_with_the_same_id_gets_the_session() {
    let broker = Mosquitto::open().await;
    let config = broker.table("");
    subscribe(&broker, &config).await;
    let mut first = source(&config).open(None).await.unwrap();
    let mut second = source(&config).open(None).await.unwrap();
    // Mosquitto 2.0 closes the connection without a word.
    next(&mut first).await.unwrap_err();
    broker.publish("m/a", &["one"]);
    assert_eq!(data(&next(&mut second).await.unwrap()), ["one"]);
}

#[tokio::test]
async fn a_password_is_read_anew_and_a_wrong_one_is_refused() {
    let secrets = TempDir::new().unwrap();
    let [users, password] = ["users", "password"].map(|name| secrets.path().join(name));
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c", users.to_str().unwrap(), "relay", "right"])
        .status()
        .expect("mosquitto_passwd is installed: scripts/setup");
    assert!(made.success());
    readable(secrets.path(), &["users"]);
    let broker = Mosquitto::start(&format!("password_file {}", users.display())).await;
    let config = format!("user = 'relay'\npassword-file = '{}'", password.display());
    let mut source = source(&broker.table(&config));
    let refused = |result: Result<Box<dyn Reading>, Failure>| match result {
        Err(Failure::Refused(text)) => text,
        other => panic!("{:?}", other.map(|_| "it is open")),
    };
    assert!(refused(source.open(None).await).contains("password-file"));
    std::fs::write(&password, "wrong").unwrap();
    assert!(refused(source.open(None).await).contains("the broker refuses with"));
    std::fs::write(&password, "right\n").unwrap();
    source.open(None).await.unwrap();
}

#[tokio::test]
async fn a_broker_is_asked_over_tls_and_its_certificate_is_checked() {
    let secrets = TempDir::new().unwrap();
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(secrets.path())
            .output()
            .expect("openssl is installed: scripts/setup");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -keyout ca.key -out ca.crt");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=broker -keyout broker.key -out broker.csr");
    std::fs::write(secrets.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        "x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
        -extfile names -out broker.crt",
    );
    let path = |name: &str| secrets.path().join(name).display().to_string();
    readable(secrets.path(), &["broker.key", "broker.crt"]);
    let [certificate, key] = [path("broker.crt"), path("broker.key")];
    let lines = format!("allow_anonymous true\ncertfile {certificate}\nkeyfile {key}");
    let broker = Mosquitto::start(&lines).await;
    let open = async |lines: &str| {
        let port = broker.port;
        let table = format!("url = 'mqtts://127.0.0.1:{port}'\nfilters = ['#']\n{lines}");
        source(&format!("[source.s.mqtt]\n{table}")).open(None).await.err()
    };
    assert_eq!(open(&format!("ca-file = '{}'", path("ca.crt"))).await, None);
    let failure = open("").await;
    assert!(matches!(&failure, Some(Failure::Away(text)) if text.contains("certificate")));
    let failure = open("ca-file = '/none'").await;
    assert!(matches!(&failure, Some(Failure::Refused(text)) if text.contains("/none")));
}

#[tokio::test]
async fn a_broker_that_is_away_or_never_answers_is_away() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("[source.s.mqtt]\nurl = 'mqtt://127.0.0.1:{port}'\nfilters = ['#']");
    let failure = source(&config).open(None).await.err();
    assert!(matches!(failure, Some(Failure::Away(_))), "{failure:?}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let config = format!("[source.s.mqtt]\nurl = 'mqtt://127.0.0.1:{port}'\nfilters = ['#']");
    std::thread::spawn(move || {
        let (mut socket, _) = other.accept().unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let failure = source(&config).open(None).await.err();
    assert!(matches!(failure, Some(Failure::Away(_))), "{failure:?}");
}

#[test]
fn mistakes_of_the_settings_are_named() {
    let error = |lines: &str| {
        let config = format!("source.s.topic = 't'\n[source.s.mqtt]\n{lines}");
        Config::parse(&config).unwrap_err().to_string()
    };
    let ok = "url = 'mqtt://b'\nfilters = ['a']";
    for (lines, expected) in [
        ("url = 'http://b'\nfilters = ['a']", "url = \"http://b\"; it must begin with mqtt://"),
        ("url = 'mqtt://u:p@b'\nfilters = ['a']", "it must be in user and password-file"),
        ("url = 'mqtt://'\nfilters = ['a']", "has no host"),
        ("url = 'mqtt://b/x'\nfilters = ['a']", "it must end after the host and the port"),
        ("url = 'mqtt://b'\nfilters = []", "there are 0 filters; there must be 1 to 100"),
        ("url = 'mqtt://b'\nfilters = ['a/#/b']", "\"a/#/b\", which is no topic filter of MQTT"),
        (&format!("{ok}\nca-file = 'x'"), "ca-file needs a url that begins with mqtts://"),
        (&format!("{ok}\npassword-file = 'x'"), "password-file needs user"),
        (&format!("{ok}\nclient-id = ''"), "client-id has 0 bytes; it must have 1 to 128"),
        (&format!("{ok}\nretained = 'all'"), "retained = \"all\"; it must be skip or once"),
        (&format!("{ok}\nkey = 'id'"), "key = \"id\"; it must be a JSON Pointer"),
        (&format!("{ok}\nsession-expiry = '1s'"), "session-expiry = \"1s\"; it must be 1m to"),
        (&format!("{ok}\nkeep-alive = 'x'"), "keep-alive = \"x\"; it must be 1s to 1h"),
        (&format!("{ok}\nqos = 2"), "unknown field `qos`"),
    ] {
        let found = error(lines);
        assert!(found.contains(expected), "{found:?} has not {expected:?}");
    }
    let config = format!("source.orders.topic = 't/{{topic}}'\n[source.orders.mqtt]\n{ok}");
    let shown = format!("{:?}", Config::parse(&config).unwrap().sources["orders"].kind);
    assert!(shown.contains("\"tailwater-orders\"") && shown.contains("port: 1883"), "{shown}");
}
