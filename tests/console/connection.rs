//! A server that goes away and comes back, and a console that is paused.

use std::time::SystemTime;

use parsec_telemetry::Snapshot;
use serde_json::Value;

use crate::site::{Panel, Site};
use crate::support::browser::Browser;
use crate::support::poll::poll;

const RUNS: &str = "(document.querySelector('[data-chart=\"channels.total_active\"] path.line').getAttribute('d') ?? '').split('M').length - 1";

#[test]
fn lost_server_is_shown_and_its_return_leaves_a_break_in_the_chart() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let panel = Panel::calm();
    let mut site = Site::start(panel.aggregator());
    site.open(&browser, "/#minute");
    browser.wait_for(&format!("{RUNS} === 1"));
    assert_eq!(browser.evaluate("document.getElementById('lost').hidden"), true);
    assert!(is_dimmed(&browser).is_empty());
    site.assert_clean(&browser);

    site.stop();
    browser.wait_for("document.body.dataset.state === 'lost'");
    browser.wait_for(
        "/^No answer since .*\\d, next try in \\d+ s/.test(document.getElementById('connection').textContent)",
    );
    assert_eq!(browser.evaluate("document.getElementById('lost').hidden"), false);
    browser.wait_for("document.getElementById('say').textContent.includes('no answer')");
    // The last values stay, dimmed.
    assert_eq!(browser.evaluate("document.querySelector('[data-field=\"channels.total_active\"]').dataset.value"), "6");
    assert!(is_dimmed(&browser).len() >= 14);

    panel.set(|report| report.channels.as_mut().expect("measured").total_active = 7);
    site.start_again(panel.aggregator());
    browser.wait_for("document.body.dataset.state === 'live'");
    assert_eq!(browser.evaluate("document.getElementById('lost').hidden"), true);
    browser.wait_for("document.querySelector('[data-field=\"channels.total_active\"]').dataset.value === '7'");
    assert!(is_dimmed(&browser).is_empty());
    browser.wait_for(&format!("{RUNS} === 2"));

    // A request that fails is logged by the browser itself.
    let messages = browser.messages();
    assert!(messages.iter().all(|message| message.origin == "network"), "{messages:#?}");
    site.assert_own_requests(&browser);
}

#[test]
fn paused_console_sends_no_request() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::start(Panel::calm().aggregator());
    site.open(&browser, "/#minute");
    for _ in 0..2 {
        browser.evaluate("document.getElementById('pause').click()");
        browser.wait_for("document.body.dataset.state === 'paused'");
        assert_eq!(browser.evaluate("document.getElementById('pause').getAttribute('aria-pressed')"), "true");
        // A request that was in flight may still be answered.
        wait_for_server(&site, 1);
        let sent = browser.requests().len();
        wait_for_server(&site, 3);
        assert_eq!(browser.requests().len(), sent);
        browser.evaluate("document.getElementById('pause').click()");
        browser.wait_for("document.body.dataset.state === 'live'");
        poll("further requests", || (browser.requests().len() >= sent + 2).then_some(()));
    }
    site.assert_clean(&browser);
}

/// Waits until the server's own time has advanced by this many seconds.
fn wait_for_server(site: &Site, seconds: u64) {
    let now = || -> SystemTime {
        let snapshot: Snapshot = serde_json::from_value(site.json()).expect("a snapshot");
        snapshot.at
    };
    let start = now();
    let has_passed = |now: SystemTime| now.duration_since(start).is_ok_and(|elapsed| elapsed.as_secs() >= seconds);
    poll("the server's time", || has_passed(now()).then_some(()));
}

/// The values that are shown dimmer than the text of the page's heading.
fn is_dimmed(browser: &Browser) -> Vec<Value> {
    let script = "
        const opacity = node => node ? getComputedStyle(node).opacity * opacity(node.parentElement) : 1;
        const shade = node => getComputedStyle(node).color;
        const heading = document.querySelector('h1');
        return [...document.querySelectorAll('[data-field]')]
            .filter(node => opacity(node) < 1 || getComputedStyle(node).filter !== 'none' || shade(node) !== shade(heading))
            .map(node => node.dataset.field);";
    browser.execute(script, &[]).as_array().expect("a list").clone()
}
