//! A browser for one test: chromedriver as a child process, a fresh profile, and waiting for elements.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use loadtest::machine::Port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, until};

/// A page in a headless Chromium. Dropping it ends the browser and its driver.
#[derive(Debug)]
pub(super) struct Chromium {
    client: Client,
    driver: Child,
    /// The process of the browser, which the driver does not end if the test panics.
    browser: Option<Pid>,
    _profile: TempDir,
    _port: Port,
}

/// Flags that let Chromium run in a container and disable its background traffic.
const ARGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--window-size=1280,900",
    "--hide-scrollbars",
];

impl Chromium {
    pub(super) async fn start() -> Chromium {
        let port = Port::reserve().unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", port.number()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed");
        let url = format!("http://{}", port.addr());
        until("chromedriver listens", async || {
            tokio::net::TcpStream::connect(port.addr()).await.is_ok()
        })
        .await;
        let profile = tempfile::Builder::new().prefix("tailwater-chromium-").tempdir().unwrap();
        let mut args: Vec<_> = ARGS.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let Value::Object(capabilities) = json!({
            "goog:chromeOptions": { "args": args },
        }) else {
            unreachable!("it is an object")
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = timeout(PATIENCE, builder.capabilities(capabilities).connect(&url)).await;
        let client = client.expect("Chromium starts").expect("a session");
        let pid = client.capabilities().and_then(|given| given.get("goog:processID")?.as_i64());
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).expect("the driver says which it is");
        let browser = Some(Pid::from_raw(pid));
        Chromium { client, driver, browser, _profile: profile, _port: port }
    }

    pub(super) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    /// Waits until the page has an element that matches `css`.
    pub(super) async fn find(&self, css: &str) -> fantoccini::elements::Element {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(element) = self.client.find(Locator::Css(css)).await {
                return element;
            }
            if Instant::now() > deadline {
                self.screenshot("failure").await;
                panic!("there is no {css} after {PATIENCE:?}; see target/screenshots/failure.png");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.expect("it is still there")
    }

    pub(super) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.expect("a valid selector").len()
    }

    pub(super) async fn type_into(&self, css: &str, text: &str) {
        self.find(css).await.send_keys(text).await.expect("it takes text");
    }

    pub(super) async fn click(&self, css: &str) {
        self.find(css).await.click().await.expect("it can be clicked");
    }

    /// Runs a script in the page and returns its result.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// Runs a script until `right` accepts its result.
    pub(super) async fn until(&self, script: &str, right: impl Fn(&Value) -> bool) {
        until(script, async || right(&self.run(script).await)).await;
    }

    /// Saves a screenshot of the page in `target/screenshots`.
    pub(super) async fn screenshot(&self, name: &str) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        let png = self.client.screenshot().await.expect("a screenshot");
        std::fs::write(directory.join(format!("{name}.png")), png).unwrap();
    }

    /// Ends the browser, and then its driver.
    pub(super) async fn quit(mut self) {
        self.client.clone().close().await.expect("the session ends");
        self.driver.kill().await.expect("the driver ends");
        self.browser = None;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Some(pid) = self.browser {
            // The browser may have ended already. Its helper processes then stop writing into the
            // profile, which is deleted afterwards.
            kill(pid, Signal::SIGKILL).ok();
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
