//! Credentials in browsers: cookies and tickets, on one origin, on one site, from another site and on localhost.
//!
//! All pages of a browser are open at the same time, each in a tab. Their tokens end, their gateways are killed,
//! their rights are revoked.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::protected::{Protected, TOPIC};
use super::{Browser, Kind, PAUSE};
use crate::access::Mint;

const RECORDER: &str = include_str!("pages/recorder.js");
const COOKIE: &str = include_str!("pages/cookie.js");
/// The page with tickets is the one that the documentation shows.
const SECURITY: &str = include_str!("../../../../../docs/security.md");

/// The origins of a page and of the gateways.
#[derive(Debug, Clone, Copy)]
enum Layout {
    SameOrigin,
    SameSite,
    OtherSite,
    /// Two ports of `http://localhost`.
    Localhost,
    /// One port of `http://127.0.0.1`.
    Loopback,
}

/// The way in which a page brings its right.
#[derive(Debug, Clone, Copy)]
enum Credential {
    /// A cookie and an `EventSource` without options.
    Cookie,
    /// A cookie and an `EventSource` with `withCredentials`.
    WithCredentials,
    /// The same, but a page of the gateways' own origin has taken the cookie.
    EarlierCookie,
    Ticket,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Follows,
    /// The browser brings no cookie, and the refusal ends the `EventSource`.
    Refused,
}
use Credential::{Cookie, EarlierCookie, Ticket, WithCredentials};
use Layout::{Localhost, Loopback, OtherSite, SameOrigin, SameSite};
use Outcome::{Follows, Refused};

/// docs/security.md, "In a browser". The outcomes are the same in both browsers.
const CELLS: [(Layout, Credential, Outcome); 14] = [
    (SameOrigin, Cookie, Follows),
    (SameOrigin, WithCredentials, Follows),
    (SameOrigin, Ticket, Follows),
    (SameSite, Cookie, Refused),
    (SameSite, WithCredentials, Follows),
    (SameSite, Ticket, Follows),
    (OtherSite, Cookie, Refused),
    (OtherSite, WithCredentials, Follows),
    (OtherSite, EarlierCookie, Refused),
    (OtherSite, Ticket, Follows),
    (Localhost, Cookie, Refused),
    (Localhost, WithCredentials, Follows),
    (Localhost, Ticket, Follows),
    (Loopback, Cookie, Follows),
];

/// The longest wait for a page: fourteen are open, and a browser on a busy machine serves them in turn.
const PATIENCE: Duration = Duration::from_mins(3);
/// The end of the first token, in seconds from now. With the leeway of 30 s the token is good for 18 s, because a
/// busy machine needs seconds to open the stream.
const SOON: i64 = -12;

#[tokio::test]
async fn every_credential_follows_its_topic_or_is_refused_in_chromium() {
    every_credential_follows_its_topic_or_is_refused(Kind::Chromium).await;
}

#[tokio::test]
async fn every_credential_follows_its_topic_or_is_refused_in_firefox() {
    every_credential_follows_its_topic_or_is_refused(Kind::Firefox).await;
}

async fn every_credential_follows_its_topic_or_is_refused(kind: Kind) {
    let mut cluster = Protected::start().await;
    let browser = Browser::start(kind).await;
    let publishing = cluster.publish();
    let (mut followers, mut refused) = (Vec::new(), 0);
    for (layout, credential, outcome) in CELLS {
        let page = Page::open(&browser, &cluster, (layout, credential, outcome)).await;
        match outcome {
            Refused => {
                page.is_refused().await;
                refused += 1;
                assert_eq!(cluster.refusals("no_token").await, refused, "{page}");
            }
            Follows => {
                page.until("the stream is open", |page| ready(page).is_some()).await;
                followers.push(page);
            }
        }
    }
    for page in &followers {
        page.until("the token ends", |page| page["told"][0]["reason"] == "token_expired").await;
        page.until("the page brings another", |page| readies(page).len() >= 2).await;
    }
    for index in [0, 1] {
        let killed = cluster.kill(index);
        for page in &followers {
            page.until("another gateway serves", |page| {
                ready(page).is_some_and(|ready| !killed.iter().any(|name| ready["node"] == **name))
            })
            .await;
        }
        cluster.restart(index).await;
    }
    let published = publishing.stop().await;
    for page in &followers {
        page.has_every_event_once(&published).await;
    }
    let revoked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let revoked = i64::try_from(revoked).unwrap();
    cluster.revoke().await;
    let mut last = 0;
    for page in &followers {
        last = last.max(page.stops().await - revoked);
    }
    assert_eq!(cluster.refusals("revoked").await, followers.len(), "each page came back once");
    eprintln!("{browser}: the last stream ended {last} ms after the revocation was sent");
    browser.quit().await;
}

/// A page in a tab of its own.
struct Page<'a> {
    browser: &'a Browser,
    tab: String,
    layout: Layout,
    credential: Credential,
}

impl<'a> Page<'a> {
    async fn open(
        browser: &'a Browser,
        cluster: &Protected,
        (layout, credential, outcome): (Layout, Credential, Outcome),
    ) -> Self {
        let page = Self { browser, tab: browser.open_tab().await, layout, credential };
        let (url, base) = page.addresses(cluster);
        // A page that is refused brings no other token, and must not leave a cookie behind that ends: pages of one
        // browser share the cookie of a host.
        let last = cluster.mint.token(TOPIC);
        let tokens = match outcome {
            Follows => vec![cluster.mint.sign(&Mint::claims(TOPIC, SOON)), last],
            Refused => vec![last],
        };
        if let EarlierCookie = credential {
            browser.open(&format!("{base}/")).await;
            page.run(&base, &tokens, COOKIE).await;
            page.until("the cookie works at home", |page| ready(page).is_some()).await;
        }
        browser.open(&url).await;
        let ticket;
        let script = match credential {
            Ticket => {
                ticket = documented();
                &*ticket
            }
            EarlierCookie => {
                "new EventSource(`${BASE}/v1/events?topic=steady`, { withCredentials: true })"
            }
            Cookie | WithCredentials => COOKIE,
        };
        page.run(&base, &tokens, script).await;
        page
    }

    /// The page's address, and that of the gateways.
    fn addresses(&self, cluster: &Protected) -> (String, String) {
        let (clear, tls) = (&cluster.clear, &cluster.tls);
        let stream = format!("https://stream.one.test:{}", tls.port());
        let own = |base: String| (format!("{base}/"), base);
        match (self.layout, self.credential) {
            // Hosts of their own, so that the cookie of one page serves no other.
            (SameOrigin, Ticket) => own(format!("https://ticket.one.test:{}", tls.port())),
            (SameOrigin, Cookie) => own(format!("https://cookie.one.test:{}", tls.port())),
            (SameOrigin, _) => own(format!("https://credentials.one.test:{}", tls.port())),
            (SameSite, _) => (format!("https://app.one.test:{}/", tls.pages()), stream),
            // A site of its own, because a partitioned cookie serves all pages of a site.
            (OtherSite, EarlierCookie) => {
                (format!("https://app.three.test:{}/", tls.pages()), stream)
            }
            (OtherSite, _) => (format!("https://app.two.test:{}/", tls.pages()), stream),
            (Localhost, _) => {
                let base = format!("http://localhost:{}", clear.port());
                (format!("http://localhost:{}/", clear.pages()), base)
            }
            (Loopback, _) => own(format!("http://127.0.0.1:{}", clear.port())),
        }
    }

    /// Runs a script in the page, with the recorder, the gateways' address, and tokens that it brings in turn.
    async fn run(&self, base: &str, tokens: &[String], script: &str) {
        let tokens = json!(tokens);
        let with_credentials = !matches!(self.credential, Cookie);
        let script = format!(
            "{RECORDER}\n\
             const BASE = {base:?}, WITH_CREDENTIALS = {with_credentials}, tokens = {tokens}\n\
             const token = async () => tokens.length > 1 ? tokens.shift() : tokens[0]\n\
             ;(async () => {{ {script} }})().catch(error => {{ page.error = String(error) }})"
        );
        self.browser.run(&script).await;
    }

    /// Waits until the page's records are `right`, and returns them without the events.
    async fn until(&self, goal: &str, right: impl Fn(&Value) -> bool) -> Value {
        self.browser.show(&self.tab).await;
        let records = "const { got, ...rest } = window.page; return { ...rest, count: got.length }";
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.browser.run(records).await;
            if right(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "{self}: not after {PATIENCE:?}: {goal}: {page}");
            sleep(PAUSE).await;
        }
    }

    async fn is_refused(&self) {
        let page = self.until("the stream is refused", |page| page["refused"] == 1).await;
        assert_eq!(readies(&page), &[] as &[Value], "{self}");
        if let Cookie = self.credential {
            assert_eq!(page["answered"], 200, "{self}: the cookie was set");
        }
    }

    /// Checks that the page has every event from its first stream on, and each reconnect continued there.
    async fn has_every_event_once(&self, published: &[[String; 2]]) {
        let last = json!(published.last().unwrap());
        self.browser.show(&self.tab).await;
        self.browser.until("return page.got.at(-1)", |got| *got == last).await;
        let page = self.until("it is there", |_| true).await;
        let readies = readies(&page);
        let begin = published.iter().position(|[id, _]| readies[0]["cursor"] == **id);
        let begin = begin.map_or(0, |at| at + 1);
        let got = self.browser.run("return page.got").await;
        let differs = got
            .as_array()
            .unwrap()
            .iter()
            .zip(&published[begin..])
            .position(|(got, published)| *got != json!(published));
        assert_eq!(differs.map(|at| (&got[at], &published[begin + at])), None, "{self}");
        assert_eq!(got.as_array().unwrap().len(), published.len() - begin, "{self}");
        for ready in &readies[1..] {
            assert_eq!(ready["outcome"], "exact", "{self}: {page}");
        }
        let reasons: Vec<_> =
            page["told"].as_array().unwrap().iter().map(|t| &t["reason"]).collect();
        assert_eq!(reasons, ["token_expired"], "{self}");
        assert_eq!(page["refused"], 0, "{self}: {page}");
    }

    /// Waits until the page has heard of the revocation and has stopped. Returns the time at which it heard of
    /// it, in milliseconds.
    async fn stops(&self) -> i64 {
        let told = |page: &Value| page["told"].as_array().unwrap().last().unwrap().clone();
        let heard = self.until("it is revoked", |page| told(page)["reason"] == "revoked").await;
        let stopped = self.until("the page stops", |page| match self.credential {
            Ticket => page["signedOut"] == true,
            _ => page["refused"] == 1,
        });
        let stopped = stopped.await;
        assert_eq!(readies(&stopped).len(), readies(&heard).len(), "{self}: it came back");
        told(&heard)["at"].as_i64().unwrap()
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}, {:?}", self.browser, self.layout, self.credential)
    }
}

/// The page with tickets of the documentation.
fn documented() -> String {
    let blocks = SECURITY.split("```js\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let subscribe = blocks.into_iter().find(|block| block.starts_with("function subscribe("));
    let subscribe = subscribe.expect("docs/security.md has the page");
    let subscribe = subscribe.replace("'https://stream.example.com'", "BASE");
    format!("{subscribe}\nsubscribe('{TOPIC}', token, () => {{ page.signedOut = true }})")
}

/// The first events of the page's streams.
fn readies(page: &Value) -> &[Value] {
    page["readies"].as_array().unwrap()
}

/// The first event of the page's last stream.
fn ready(page: &Value) -> Option<&Value> {
    readies(page).last()
}
