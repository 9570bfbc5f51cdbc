//! Real browsers, headless: Chromium and Firefox, both over the commands of WebDriver.
//!
//! Absent: a driver for Firefox. The browser itself takes the commands (Marionette).

mod chromium;
mod command;
mod console;
mod credentials;
mod event_source;
mod firefox;
mod pages;
mod protected;
mod relay;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::support::PATIENCE;
use chromium::Chromium;
use command::Command;
use firefox::Firefox;

/// A kind of browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chromium,
    Firefox,
}

/// The names that lead to this machine in every browser of the tests: three sites.
const HOSTS: [&str; 7] = [
    "app.one.test",
    "stream.one.test",
    "cookie.one.test",
    "credentials.one.test",
    "ticket.one.test",
    "app.two.test",
    "app.three.test",
];

/// A browser with a profile of its own, which accepts every certificate. Dropping it ends it.
#[derive(Debug)]
struct Browser {
    kind: Kind,
    driver: Mutex<Driver>,
}

/// The way to a browser.
#[derive(Debug)]
enum Driver {
    Chromium(Chromium),
    Firefox(Firefox),
}

impl Browser {
    async fn start(kind: Kind) -> Browser {
        let driver = match kind {
            Kind::Chromium => Driver::Chromium(Chromium::start().await),
            Kind::Firefox => Driver::Firefox(Firefox::start().await),
        };
        Browser { kind, driver: Mutex::new(driver) }
    }

    /// Sends a command. The error is the browser's text.
    async fn send(&self, command: &Command<'_>) -> Result<Value, String> {
        match &mut *self.driver.lock().await {
            Driver::Chromium(chromium) => chromium.send(command).await,
            Driver::Firefox(firefox) => firefox.send(command).await,
        }
    }

    /// Sends a command that has to succeed.
    async fn order(&self, command: &Command<'_>) -> Value {
        match self.send(command).await {
            Ok(value) => value,
            Err(text) => panic!("{self}: {command:?}: {text}"),
        }
    }

    async fn open(&self, url: &str) {
        self.order(&Command::Open(url)).await;
    }

    /// Opens a tab and shows it.
    async fn open_tab(&self) -> String {
        let tab = self.order(&Command::OpenTab).await["handle"].as_str().unwrap().to_owned();
        self.show(&tab).await;
        tab
    }

    /// Sends the commands that follow to this tab.
    async fn show(&self, tab: &str) {
        self.order(&Command::Show(tab)).await;
    }

    /// Waits until the page has an element that matches `css`.
    async fn find(&self, css: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(element) = self.send(&Command::Find(css)).await {
                // The key is that of the standard (WebDriver, section 12).
                let id = &element["element-6066-11e4-a52e-4f735466cecf"];
                return id.as_str().expect("an element has an id").to_owned();
            }
            if Instant::now() > deadline {
                self.screenshot("failure").await;
                panic!(
                    "{self}: no {css} after {PATIENCE:?}; see target/screenshots/{self}-failure.png"
                );
            }
            sleep(PAUSE).await;
        }
    }

    async fn text(&self, css: &str) -> String {
        let element = self.find(css).await;
        self.order(&Command::Text(&element)).await.as_str().expect("a text").to_owned()
    }

    async fn count(&self, css: &str) -> usize {
        let script = format!("return document.querySelectorAll({}).length", json!(css));
        usize::try_from(self.run(&script).await.as_u64().expect("a number")).unwrap()
    }

    async fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.order(&Command::Type(&element, text)).await;
    }

    async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.order(&Command::Click(&element)).await;
    }

    /// Runs a script in the page and returns its result.
    async fn run(&self, script: &str) -> Value {
        self.order(&Command::Run(script)).await
    }

    /// Runs a script until `right` accepts its result.
    async fn until(&self, script: &str, right: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let result = self.run(script).await;
            if right(&result) {
                return;
            }
            assert!(Instant::now() < deadline, "{self}: {script}: {result} after {PATIENCE:?}");
            sleep(PAUSE).await;
        }
    }

    /// Saves a screenshot of the page in `target/screenshots`.
    async fn screenshot(&self, name: &str) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        let png = self.order(&Command::Screenshot).await;
        let png = STANDARD.decode(png.as_str().expect("base64")).expect("base64");
        std::fs::write(directory.join(format!("{self}-{name}.png")), png).unwrap();
    }

    /// Ends the browser as its user would.
    async fn quit(self) {
        match self.driver.into_inner() {
            Driver::Chromium(chromium) => chromium.quit().await,
            Driver::Firefox(firefox) => firefox.quit().await,
        }
    }
}

/// The pause between two looks at a page.
const PAUSE: Duration = Duration::from_millis(20);

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Chromium => "chromium",
            Kind::Firefox => "firefox",
        })
    }
}
