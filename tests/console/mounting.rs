//! The console at several paths, and behind a token.

use parsec_telemetry::Server;

use crate::site::{Panel, Site};
use crate::support::browser::Browser;
use crate::support::server::RunningServer;

#[test]
fn nested_console_works_with_and_without_a_trailing_slash() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::nested(Panel::calm().aggregator());
    for path in ["/ops", "/ops/"] {
        site.open(&browser, &format!("{path}#minute"));
        assert_works(&browser, &site.url("/ops/"));
    }
    site.assert_clean(&browser);
}

#[test]
fn console_behind_a_token_works_once_the_browser_has_it() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let builder = Server::builder(Panel::calm().aggregator()).bearer_token("s3cret").expect("a valid token");
    let site = Site::of(RunningServer::of(builder.build()));
    browser.open(&site.url("/").replace("//", "//operator:wrong@"));
    assert_eq!(browser.evaluate("document.querySelectorAll('[data-chart]').length"), 0);
    browser.open(&site.url("/#minute").replace("//", "//operator:s3cret@"));
    assert_works(&browser, &site.url("/"));
    // The browser keeps the token for the origin.
    site.open(&browser, "/#minute");
    assert_works(&browser, &site.url("/"));
    // The browser logs the 401.
    let messages = browser.messages();
    assert!(messages.iter().all(|message| message.origin == "network"), "{messages:#?}");
    site.assert_own_requests(&browser);
}

/// Asserts that numbers, series and links work.
fn assert_works(browser: &Browser, base: &str) {
    browser.wait_for("document.body.dataset.state === 'live'");
    browser.wait_for("document.querySelector('[data-field=\"channels.total_active\"]').dataset.value === '6'");
    browser.wait_for("document.querySelector('#channels path.line').getAttribute('d')");
    for (link, path) in [("json", "parsec/metrics"), ("text", "parsec/telemetry/metrics")] {
        assert_eq!(browser.evaluate(&format!("document.getElementById('{link}').href")), format!("{base}{path}"));
    }
}
