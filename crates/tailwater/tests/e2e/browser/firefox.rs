//! Firefox: the browser as a child process, which takes commands itself.
//!
//! Marionette is the protocol that geckodriver translates to: JSON over TCP, each message with its length and a
//! colon in front. It needs no driver, which no distribution's package has for Firefox ESR.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command as Program};
use tokio::time::timeout;

use super::HOSTS;
use super::command::Command;
use crate::support::{PATIENCE, until};

/// A Firefox. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Firefox {
    wire: BufReader<TcpStream>,
    /// The number of commands.
    sent: u32,
    browser: Child,
    _profile: TempDir,
}

/// Settings that disable background traffic and first-run pages. Cookies, connections and pages are as
/// shipped: the settings that Marionette recommends to itself would change them.
const SETTINGS: &str = r#"
user_pref("remote.prefs.recommended", false);
user_pref("marionette.port", 0);
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.startup.page", 0);
user_pref("browser.newtabpage.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"#;

impl Firefox {
    pub(super) async fn start() -> Firefox {
        let profile = tempfile::Builder::new().prefix("tailwater-firefox-").tempdir().unwrap();
        let hosts = HOSTS.join(",");
        let names = format!("user_pref(\"network.dns.localDomains\", \"{hosts}\");\n");
        std::fs::write(profile.path().join("user.js"), format!("{SETTINGS}{names}")).unwrap();
        let browser = Program::new(program())
            .args(["--headless", "--no-remote", "--marionette", "--profile"])
            .arg(profile.path())
            .env("HOME", profile.path())
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .envs([("MOZ_HEADLESS_WIDTH", "1280"), ("MOZ_HEADLESS_HEIGHT", "900")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Firefox is installed");
        let mut port = None;
        until("Firefox listens", async || {
            let text = std::fs::read_to_string(profile.path().join("MarionetteActivePort"));
            port = text.ok().and_then(|text| text.trim().parse::<u16>().ok());
            port.is_some()
        })
        .await;
        let stream = TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut firefox =
            Firefox { wire: BufReader::new(stream), sent: 0, browser, _profile: profile };
        let greeting = firefox.receive().await;
        assert_eq!(greeting["marionetteProtocol"], 3, "{greeting}");
        let capabilities = json!({ "acceptInsecureCerts": true });
        firefox.call("WebDriver:NewSession", &capabilities).await.expect("a session");
        firefox
    }

    pub(super) async fn send(&mut self, command: &Command<'_>) -> Result<Value, String> {
        let mut result = self.call(command.in_marionette(), &command.parameters()).await?;
        // Objects of more than a value come as they are.
        Ok(result.get_mut("value").map(Value::take).unwrap_or(result))
    }

    /// Ends the browser.
    pub(super) async fn quit(mut self) {
        let force = json!({ "flags": ["eForceQuit"] });
        self.call("Marionette:Quit", &force).await.expect("Firefox quits");
        let exited = timeout(PATIENCE, self.browser.wait()).await.expect("Firefox ends in time");
        assert!(exited.unwrap().success());
    }

    /// Sends a command and returns its result, or the text of its error.
    async fn call(&mut self, name: &str, parameters: &Value) -> Result<Value, String> {
        let text = json!([0, self.sent, name, parameters]).to_string();
        let message = format!("{}:{text}", text.len());
        self.wire.write_all(message.as_bytes()).await.expect("Firefox listens");
        let mut answer = timeout(PATIENCE, self.receive()).await.expect("Firefox answers");
        assert_eq!((&answer[0], &answer[1]), (&json!(1), &json!(self.sent)), "{answer}");
        self.sent += 1;
        match answer[2].take() {
            Value::Null => Ok(answer[3].take()),
            error => Err(format!("{}: {}", error["error"], error["message"])),
        }
    }

    async fn receive(&mut self) -> Value {
        let mut length = Vec::new();
        self.wire.read_until(b':', &mut length).await.expect("Firefox answers");
        let digits = length.strip_suffix(b":").and_then(|digits| str::from_utf8(digits).ok());
        let length: usize = digits.and_then(|digits| digits.parse().ok()).expect("a length");
        let mut text = vec![0; length];
        self.wire.read_exact(&mut text).await.expect("Firefox answers");
        serde_json::from_slice(&text).expect("JSON")
    }
}

/// Debian's name of the ESR, or the name elsewhere.
fn program() -> &'static str {
    let debian = "/usr/bin/firefox-esr";
    if Path::new(debian).exists() { debian } else { "firefox" }
}
