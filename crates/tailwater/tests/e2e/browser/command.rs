//! The commands of WebDriver that the tests use, over HTTP and in Marionette.

use hyper::Method;
use serde_json::{Value, json};

/// A command.
#[derive(Debug)]
pub(super) enum Command<'a> {
    /// Loads a page.
    Open(&'a str),
    /// Opens a tab; the result has its `handle`.
    OpenTab,
    /// Turns to the tab of this handle.
    Show(&'a str),
    /// Runs a script in the page; the result is that of the script.
    Run(&'a str),
    /// Finds the first element that a selector matches.
    Find(&'a str),
    /// Reads the visible text of an element.
    Text(&'a str),
    /// Types into an element.
    Type(&'a str, &'a str),
    /// Clicks on an element.
    Click(&'a str),
    /// Draws the page; the result is a PNG in base64.
    Screenshot,
}

impl Command<'_> {
    /// The method, and the path below the session.
    pub(super) fn over_http(&self) -> (Method, String) {
        let (method, path) = match self {
            Self::Open(_) => (Method::POST, "url".to_owned()),
            Self::OpenTab => (Method::POST, "window/new".to_owned()),
            Self::Show(_) => (Method::POST, "window".to_owned()),
            Self::Run(_) => (Method::POST, "execute/sync".to_owned()),
            Self::Find(_) => (Method::POST, "element".to_owned()),
            Self::Text(element) => (Method::GET, format!("element/{element}/text")),
            Self::Type(element, _) => (Method::POST, format!("element/{element}/value")),
            Self::Click(element) => (Method::POST, format!("element/{element}/click")),
            Self::Screenshot => (Method::GET, "screenshot".to_owned()),
        };
        (method, path)
    }

    /// The name in Marionette.
    pub(super) fn in_marionette(&self) -> &'static str {
        match self {
            Self::Open(_) => "WebDriver:Navigate",
            Self::OpenTab => "WebDriver:NewWindow",
            Self::Show(_) => "WebDriver:SwitchToWindow",
            Self::Run(_) => "WebDriver:ExecuteScript",
            Self::Find(_) => "WebDriver:FindElement",
            Self::Text(_) => "WebDriver:GetElementText",
            Self::Type(..) => "WebDriver:ElementSendKeys",
            Self::Click(_) => "WebDriver:ElementClick",
            Self::Screenshot => "WebDriver:TakeScreenshot",
        }
    }

    /// The parameters. Marionette has the element among them, HTTP in the path.
    pub(super) fn parameters(&self) -> Value {
        match self {
            Self::Open(url) => json!({ "url": url }),
            Self::OpenTab => json!({ "type": "tab" }),
            Self::Show(tab) => json!({ "handle": tab }),
            Self::Run(script) => json!({ "script": script, "args": [] }),
            Self::Find(css) => json!({ "using": "css selector", "value": css }),
            Self::Text(element) | Self::Click(element) => json!({ "id": element }),
            Self::Type(element, text) => json!({ "id": element, "text": text }),
            Self::Screenshot => json!({ "full": false }),
        }
    }
}
