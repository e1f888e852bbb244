//! A server that goes away, hangs and comes back, and a console that is paused or hidden.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use parsec_telemetry::Snapshot;
use serde_json::Value;

use crate::site::{Panel, Site, start_browser};
use crate::support::browser::{Browser, Message};
use crate::support::poll::poll;

const RUNS: &str = "(document.querySelector('[data-chart=\"channels.total_active\"] path.line').getAttribute('d') ?? '').split('M').length - 1";

#[test]
fn lost_server_is_shown_and_its_return_leaves_a_break_in_the_chart() {
    let Some(browser) = start_browser() else {
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
    let has_failed = |message: &Message| message.text.contains("/parsec/series");
    poll("a failed request for the series", || browser.messages().iter().any(has_failed).then_some(()));
    // A pause does not hide the loss.
    browser.evaluate("document.getElementById('pause').click()");
    browser.wait_for("document.getElementById('connection').textContent.endsWith(', paused')");
    assert_eq!(browser.evaluate("document.body.dataset.state"), "lost");
    assert_eq!(browser.evaluate("document.getElementById('lost').hidden"), false);
    browser.evaluate("document.getElementById('pause').click()");

    panel.set(|report| report.channels.as_mut().expect("measured").total_active = 7);
    browser.execute(
        "document.getElementById('retry').focus();
         new MutationObserver(() => {
             if (document.body.dataset.state === 'live') window.listed ??= document.getElementById('problems').innerText;
         }).observe(document.body, {attributeFilter: ['data-state']});",
        &[],
    );
    site.start_again(panel.aggregator());
    browser.evaluate("document.getElementById('retry').click()");
    browser.wait_for("document.body.dataset.state === 'live'");
    browser.wait_for("document.getElementById('say').textContent.includes('live again')");
    // The series of the new process are there at once, and the focus is not lost with the button.
    assert_eq!(browser.evaluate("window.listed"), "");
    assert_eq!(browser.evaluate("document.activeElement.id"), "pause");
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
fn paused_or_hidden_console_sends_no_request_and_dates_its_title() {
    let Some(browser) = start_browser() else {
        return;
    };
    let site = Site::start(Panel::calm().aggregator());
    site.open(&browser, "/#minute");
    browser.wait_for("document.title.startsWith('✔ all quiet')");
    browser.wait_for("document.getElementById('verdict').textContent.startsWith('All quiet since the start ')");
    for _ in 0..2 {
        browser.evaluate("document.getElementById('pause').click()");
        browser.wait_for("document.body.dataset.state === 'paused'");
        assert_eq!(browser.evaluate("document.getElementById('pause').getAttribute('aria-pressed')"), "true");
        assert_idle(&browser, &site);
        browser.evaluate("document.getElementById('pause').click()");
        assert_live(&browser);
    }
    let hide = |hidden: bool| {
        let script = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});
                      document.dispatchEvent(new Event('visibilitychange'));";
        browser.execute(script, &[hidden.into()]);
    };
    hide(true);
    assert_idle(&browser, &site);
    hide(false);
    assert_live(&browser);
    site.assert_clean(&browser);
}

#[test]
fn console_of_a_hanging_server_is_late() {
    let Some(browser) = start_browser() else {
        return;
    };
    let mut site = Site::start(Panel::calm().aggregator());
    site.open(&browser, "/#minute");
    browser.evaluate("document.getElementById('pause').click()");
    browser.wait_for("document.body.dataset.state === 'paused'");
    wait_for_server(&site, Duration::from_millis(200));
    site.stop();
    let listener = TcpListener::bind(site.address).expect("the address is free");
    browser.execute("const now = Date.now; Date.now = () => now() + 3_600_000;", &[]);
    browser.evaluate("document.getElementById('pause').click()");
    browser.wait_for("document.body.dataset.state === 'late'");
    assert_eq!(
        browser.evaluate("document.getElementById('connection').textContent"),
        "late, last answer 1 h 0 min ago"
    );
    assert_eq!(browser.evaluate(IS_DATED), true);
    let said = browser.evaluate("document.getElementById('say').textContent");
    assert!(said.as_str().is_some_and(|text| text.ends_with("paused")), "{said}");
    drop(listener);
    browser.wait_for("document.body.dataset.state === 'lost'");
}

/// The title begins with the time of the values.
const IS_DATED: &str = "/^\\d\\d:\\d\\d:\\d\\d ✔ all quiet/.test(document.title)";

fn assert_idle(browser: &Browser, site: &Site) {
    // A request that was in flight may still be answered.
    wait_for_server(site, Duration::from_millis(200));
    let sent = browser.requests().len();
    assert_eq!(browser.evaluate(IS_DATED), true, "{}", browser.evaluate("document.title"));
    wait_for_server(site, Duration::from_millis(500));
    assert_eq!(browser.requests().len(), sent);
}

fn assert_live(browser: &Browser) {
    let sent = browser.requests().len();
    browser.wait_for("document.body.dataset.state === 'live'");
    poll("further requests", || (browser.requests().len() >= sent + 2).then_some(()));
    browser.wait_for("document.title.startsWith('✔ all quiet')");
}

/// Waits until the server's own time has advanced.
fn wait_for_server(site: &Site, duration: Duration) {
    let now = || -> SystemTime {
        let snapshot: Snapshot = serde_json::from_value(site.json()).expect("a snapshot");
        snapshot.at
    };
    let start = now();
    let has_passed = |now: SystemTime| now.duration_since(start).is_ok_and(|elapsed| elapsed >= duration);
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
