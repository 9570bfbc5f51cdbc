//! Copies of documents that are asked for again and again.

use std::sync::Mutex;

use super::*;
use crate::http::stage::{Server, Stage, answer, status};

/// A server of a document that a test changes.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<String>>);

impl Shelf {
    fn put(&self, document: &str) {
        document.clone_into(&mut self.0.lock().unwrap());
    }

    async fn serve(&self) -> Server {
        let shelf = self.clone();
        Server::start(move |_, request| {
            let text = shelf.0.lock().unwrap().clone();
            let tag = format!("\"{}\"", String::from(Prints::from_iter([Print::of(&[&text])])));
            if request.header("if-none-match") == Some(&tag) {
                return (status("304 Not Modified", ""), false);
            }
            let kind = format!("application/json\r\netag: {tag}");
            (answer(&kind, &text), false)
        })
        .await
    }
}

fn items(range: impl Iterator<Item = u32>) -> String {
    let items: Vec<_> = range.map(|n| format!("{{\"id\":{n}, \"x\": 1.10}}")).collect();
    format!("{{\"data\":[{}]}}", items.join(","))
}

fn data(range: impl Iterator<Item = u32>) -> Vec<String> {
    range.map(|n| format!("{{\"id\":{n}, \"x\": 1.10}}")).collect()
}

#[tokio::test]
async fn new_items_are_copied_once_through_restarts() {
    let shelf = Shelf::default();
    shelf.put(&items(1..=30));
    let server = shelf.serve().await;
    let stage = Stage::new();
    let url = server.url("/");
    let table = format!("poll = {{ url = '{url}', every = '1s', items = '/data', key = '/id' }}");
    let mut relay = stage.relay(&table);
    for n in 1..=20_u32 {
        let seen = stage.entries("t", (27 + 3 * n) as usize).await;
        assert_eq!(seen, data(1..=27 + 3 * n));
        shelf.put(&items(n * 3..=30 + 3 * n));
        // Three relays of one node take the lead from each other.
        drop(relay);
        relay = stage.relay(&table);
    }
    assert_eq!(stage.entries("t", 90).await, data(1..=90));
    // It asks on, and there is nothing new.
    let asked = server.requests().len();
    while server.requests().len() < asked + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.requests().last().unwrap().header("if-none-match").is_some());
    assert_eq!(stage.now("t").await, data(1..=90));
}

#[tokio::test]
async fn relays_that_both_lead_lose_and_double_nothing() {
    let shelf = Shelf::default();
    shelf.put(&items(1..=300));
    let server = shelf.serve().await;
    let stage = Stage::new();
    let url = server.url("/");
    let table = format!("poll = {{ url = '{url}', every = '1s', items = '/data', key = '/id' }}");
    let _relays = [(); 3].map(|()| stage.relay(&table));
    stage.entries("t", 100).await;
    shelf.put(&items(50..=350));
    stage.entries("t", 350).await;
    shelf.put(&items(300..=600));
    stage.entries("t", 600).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(stage.now("t").await, data(1..=600));
}

#[tokio::test]
async fn a_whole_document_is_an_event_when_it_changes() {
    let shelf = Shelf::default();
    let server = shelf.serve().await;
    let stage = Stage::new();
    shelf.put("{\"state\": \"up\"}");
    let _relay = stage.relay(&format!("poll = {{ url = '{}', every = '1s' }}", server.url("/")));
    stage.entries("t", 1).await;
    shelf.put("{\"state\":\"down\"}");
    stage.entries("t", 2).await;
    // Only white space differs from the document before.
    shelf.put("{ \"state\" :\"down\" }");
    let asked = server.requests().len();
    while server.requests().len() < asked + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shelf.put("{\"state\":\"up\"}");
    let wanted = ["{\"state\": \"up\"}", "{\"state\":\"down\"}", "{\"state\":\"up\"}"];
    assert_eq!(stage.entries("t", 3).await, wanted);
}

fn poll(settings: &str) -> Poll {
    let config = format!("[source.s]\ntopic = 't'\npoll = {{ url = 'http://h', {settings} }}");
    let config: toml::Table = toml::from_str(&config).unwrap();
    let settings: PollSettings = config["source"]["s"]["poll"].clone().try_into().unwrap();
    Poll {
        remote: Remote::new(&settings.url, BTreeMap::new(), None, "1m").unwrap(),
        topic: Topic::new("t").unwrap(),
        every: Duration::from_secs(1),
        items: settings.items.map(|text| Pointer::parse("items", &text).unwrap()),
        key: settings.key.map(|text| Pointer::parse("key", &text).unwrap()),
        newest_first: settings.newest_first,
        pause: Pause::default(),
    }
}

fn document(text: &str) -> Document {
    Document { text: text.into(), etag: "\"e\"".to_owned(), modified: "m".to_owned() }
}

#[test]
fn a_place_within_a_document_leads_to_the_rest_of_it() {
    let poll = poll("items = '', newest-first = true");
    let mut known = Known::default();
    let all = poll.read(&document("[5,4,4,3]"), &mut known).unwrap();
    assert_eq!(all.len(), 3);
    for (n, item) in all.iter().enumerate() {
        let Item::Event { event, place, .. } = item else { panic!("{item:?}") };
        assert_eq!(&*event.data, ["3", "4", "5"][n]);
        let mut again = Known::up_to(Some(place));
        assert_eq!(again.etag.is_empty(), n < 2, "the rest must not be hidden by 304");
        let rest = poll.read(&document("[6,5,4,3]"), &mut again).unwrap();
        assert_eq!(rest.len(), 3 - n);
        assert_eq!(rest[0].place().major, place.major + 1);
    }
    // Nothing new, and the order of places rises.
    let passed = poll.read(&document("[4]"), &mut known).unwrap();
    assert_eq!(passed[0].place().order(), [0, 3, 1]);
    assert_eq!(poll.read(&document("[5,4]"), &mut known).unwrap()[0].place().order(), [0, 3, 2]);
}

#[test]
fn the_largest_place_is_allowed_and_more_items_are_refused() {
    let poll = poll("items = ''");
    let numbers = |count: usize| {
        let items: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        format!("[{}]", items.join(","))
    };
    let mut largest = document(&numbers(ITEMS_MAX));
    largest.etag = "\"".repeat(CONDITION_BYTES_MAX / 2);
    largest.modified = "\\".repeat(CONDITION_BYTES_MAX / 2);
    let items = poll.read(&largest, &mut Known::default()).unwrap();
    assert!(Place::allows(&items[ITEMS_MAX - 1].place().text));
    let failure = poll.read(&document(&numbers(401)), &mut Known::default()).unwrap_err();
    assert_eq!(failure.to_string(), "the document has 401 items; the limit is 400");
    for (text, refused) in [("{}", true), ("[1", false)] {
        let failure = poll.read(&document(text), &mut Known::default()).unwrap_err();
        assert_eq!(matches!(failure, Failure::Refused(_)), refused, "{failure}");
    }
}

#[test]
fn an_item_without_its_key_is_no_event() {
    let poll = poll("items = '', key = '/id'");
    let mut known = Known::default();
    let items = poll.read(&document("[{\"id\":1},{\"no\":1}]"), &mut known).unwrap();
    assert!(matches!(&items[1], Item::Bad { reason, .. } if reason == "an item has no key"));
    let again = poll.read(&document("[{\"id\":1},{\"no\":1}]"), &mut known).unwrap();
    assert!(matches!(again[..], [Item::Passed(_)]));
}
