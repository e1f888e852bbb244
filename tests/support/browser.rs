//! Headless Chromium, driven by `chromedriver` with the `WebDriver` protocol.
//!
//! A dozen commands of the protocol are enough here. They need no crate: a client library brings sixty.

use std::cell::RefCell;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::browser_process::Driver;
use super::poll::try_poll;
use super::program::find_program;
use super::socket::try_connect;

/// The keys of `WebDriver` that have no character of their own.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const END: &str = "\u{e010}";
pub(crate) const HOME: &str = "\u{e011}";
pub(crate) const LEFT: &str = "\u{e012}";
pub(crate) const RIGHT: &str = "\u{e014}";
pub(crate) const SPACE: &str = " ";

/// One browser with one tab. Drop ends it and removes its profile.
pub(crate) struct Browser {
    driver: Driver,
    session: String,
    log: RefCell<Log>,
}

/// What the browser has logged so far.
#[derive(Default)]
struct Log {
    /// Messages of the console, among them failed requests and violations of the policy.
    messages: Vec<Message>,
    /// The addresses of all requests.
    requests: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// `network` for a request that failed.
    pub(crate) origin: String,
    pub(crate) text: String,
}

impl Browser {
    /// Returns `None`, and prints that the test is skipped, if a program is missing.
    pub(crate) fn start() -> Option<Self> {
        let (driver, chromium) = (find_program("chromedriver")?, find_program("chromium")?);
        Some(Self::start_programs(&driver, &chromium))
    }

    fn start_programs(driver: &Path, chromium: &Path) -> Self {
        let driver = Driver::start(driver);
        let profile = driver.directory.join("profile");
        let arguments = [
            "--headless",
            "--no-sandbox", // Chromium's sandbox refuses to run as root
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--lang=en-US",
            "--no-first-run",
            "--window-size=1440,900",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": chromium,
                "args": arguments,
                // The page for new tabs may take 5 seconds.
                "prefs": {"session": {"restore_on_startup": 4, "startup_urls": ["about:blank"]}},
                "perfLoggingPrefs": {"enableNetwork": true, "enablePage": false},
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let response = request(driver.address, "/session", &capabilities);
        let session = response["sessionId"].as_str().expect("an id").to_owned();
        Self { driver, session, log: RefCell::default() }
    }

    /// Opens an address and waits until the document and its scripts are loaded.
    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Returns what the body of a function returns. It runs in the page, and the page's policy does not apply to it.
    pub(crate) fn execute(&self, body: &str, arguments: &[Value]) -> Value {
        self.post("execute/sync", &json!({"script": body, "args": arguments}))
    }

    /// As [`execute`](Self::execute), for a function that passes its result to its last argument, a callback.
    pub(crate) fn execute_async(&self, body: &str, arguments: &[Value]) -> Value {
        self.post("execute/async", &json!({"script": body, "args": arguments}))
    }

    pub(crate) fn evaluate(&self, expression: &str) -> Value {
        self.execute(&format!("return {expression};"), &[])
    }

    /// Polls until the expression is true, and then returns its value. Panics after the deadline, with what the page shows.
    pub(crate) fn wait_for(&self, expression: &str) -> Value {
        let is_true = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        let value = try_poll(|| Some(self.evaluate(expression)).filter(is_true));
        value.unwrap_or_else(|| {
            let page = self.evaluate("document.body.dataset.state + '\\n' + document.body.innerText");
            let page = page.as_str().unwrap_or_default();
            panic!("not in time: {expression}\nthe page: {page}\nits messages: {:#?}", self.messages());
        })
    }

    /// Types into the element that has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let actions = keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})));
        let actions: Vec<Value> = actions.collect();
        self.post("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Calls a method of the `DevTools` protocol.
    pub(crate) fn devtools(&self, method: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({"cmd": method, "params": parameters}))
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets media features such as `prefers-color-scheme`.
    pub(crate) fn set_media(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.read_log();
        self.log.borrow().messages.clone()
    }

    /// Returns the addresses of all requests since the start.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.read_log();
        self.log.borrow().requests.clone()
    }

    /// `chromedriver` returns each entry once.
    fn read_log(&self) {
        let mut log = self.log.borrow_mut();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        for entry in self.post("se/log", &json!({"type": "browser"})).as_array().expect("a list") {
            log.messages.push(Message { origin: text(&entry["source"]), text: text(&entry["message"]) });
        }
        for entry in self.post("se/log", &json!({"type": "performance"})).as_array().expect("a list") {
            let event: Value = serde_json::from_str(entry["message"].as_str().expect("text")).expect("an event");
            let event = &event["message"];
            let is_request = event["method"] == "Network.requestWillBeSent";
            // The page for new tabs sends requests of its own.
            let is_own = event["params"]["documentURL"].as_str().is_some_and(|url| url.starts_with("chrome:"));
            if is_request && !is_own {
                log.requests.push(text(&event["params"]["request"]["url"]));
            }
        }
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        request(self.driver.address, &format!("/session/{}/{command}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends in order. If this fails, it is killed with its driver.
        let _ = send(self.driver.address, "DELETE", &format!("/session/{}", self.session), &json!({}));
    }
}

/// Sends one command and returns its result. Panics if the command fails.
fn request(driver: SocketAddr, path: &str, body: &Value) -> Value {
    let (status, mut response) = send(driver, "POST", path, body).expect("chromedriver answers");
    assert!(status.contains(" 200 "), "{path} {body:.2000}: {response:#}");
    response["value"].take()
}

/// Sends one request and returns the status line and the body of its response.
fn send(driver: SocketAddr, method: &str, path: &str, body: &Value) -> io::Result<(String, Value)> {
    let mut stream = try_connect(driver)?;
    let body = body.to_string();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {driver}\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut response = BufReader::new(stream);
    let mut status = String::new();
    response.read_line(&mut status)?;
    let (mut line, mut length) = (status.clone(), 0);
    while !line.trim().is_empty() {
        line.clear();
        response.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    response.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body)?))
}
