//! The console in headless Chromium.

#![cfg(all(feature = "serve", unix))]

#[path = "../support"]
mod support {
    pub(crate) mod browser;
    pub(crate) mod browser_process;
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod server;
    pub(crate) mod socket;
}

#[test]
fn smoke() {
    let Some(b) = support::browser::Browser::start() else { return };
    b.open("data:text/html,<title>x</title><input id=a autofocus><p>hi");
    b.evaluate("document.getElementById('a').focus()");
    b.press("abc");
    println!("{}", b.wait_for("document.getElementById('a').value"));
    println!("{:?} {:?}", b.messages(), b.requests());
    b.evaluate("console.error('bad')");
    b.evaluate("fetch('http://127.0.0.1:1/').catch(() => 0) && 1");
    b.wait_for("performance.now() > 500");
    println!("{:?} {:?}", b.messages(), b.requests());
}
