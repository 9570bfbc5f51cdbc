//! Chromium: chromedriver as a child process, which starts the browser and speaks HTTP.

use std::process::Stdio;

use hyper::Method;
use hyper::body::Bytes;
use loadtest::client::http;
use loadtest::machine::Port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command as Program};
use tokio::time::Duration;

use super::HOSTS;
use super::command::Command;
use crate::support::{PATIENCE, until};

/// A Chromium and its driver. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Chromium {
    http: http::Client,
    session: String,
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
        let driver = Program::new("chromedriver")
            .arg(format!("--port={}", port.number()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed");
        until("chromedriver listens", async || {
            tokio::net::TcpStream::connect(port.addr()).await.is_ok()
        })
        .await;
        let profile = tempfile::Builder::new().prefix("tailwater-chromium-").tempdir().unwrap();
        let rules = HOSTS.map(|host| format!("MAP {host} 127.0.0.1")).join(",");
        let mut args: Vec<_> = ARGS.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.push(format!("--host-resolver-rules={rules}"));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": args },
        } } });
        let mut http = http::Client::new(port.addr()).timeout(PATIENCE);
        let begun = ask(&mut http, Method::POST, "/session", &capabilities).await;
        let begun = begun.expect("Chromium starts");
        let session = begun["sessionId"].as_str().expect("a session has an id").to_owned();
        let pid = begun["capabilities"]["goog:processID"].as_i64().expect("the browser's process");
        let browser = Some(Pid::from_raw(i32::try_from(pid).unwrap()));
        Chromium { http, session, driver, browser, _profile: profile, _port: port }
    }

    pub(super) async fn send(&mut self, command: &Command<'_>) -> Result<Value, String> {
        let (method, path) = command.over_http();
        let path = format!("/session/{}/{path}", self.session);
        ask(&mut self.http, method, &path, &command.parameters()).await
    }

    /// Ends the browser, and then its driver.
    pub(super) async fn quit(mut self) {
        let path = format!("/session/{}", self.session);
        ask(&mut self.http, Method::DELETE, &path, &Value::Null).await.expect("the session ends");
        self.driver.kill().await.expect("the driver ends");
        self.browser = None;
    }
}

/// Sends a request to the driver and returns the value of its answer, or the text of its error.
async fn ask(
    http: &mut http::Client,
    method: Method,
    path: &str,
    parameters: &Value,
) -> Result<Value, String> {
    let body = match method {
        Method::POST => Bytes::from(parameters.to_string()),
        _ => Bytes::new(),
    };
    let response = http.request(method, path, &[], body).await.expect("chromedriver answers");
    let value = response.json::<Value>().expect("JSON")["value"].take();
    if response.status == 200 { Ok(value) } else { Err(value["message"].to_string()) }
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
