//! The console without a pointer.

use parsec_telemetry::{ManualClock, Monitor};
use serde_json::Value;

use crate::site::{Panel, Site, record, start_browser};
use crate::support::browser::{Browser, END, ENTER, HOME, LEFT, RIGHT, SPACE, TAB};

/// What the Tab key has to reach: of the radio buttons, the one that is chosen.
const CONTROLS: &str = "[...document.querySelectorAll(
        'a[href], button, input, select, textarea, summary, [contenteditable], [tabindex]:not([tabindex=\"-1\"])')]
    .filter(node => node.checkVisibility() && !node.disabled && !(node.type === 'radio' && !node.checked))";

#[test]
fn keys_reach_and_operate_every_control_and_read_the_charts() {
    let Some(browser) = start_browser() else {
        return;
    };
    let (panel, clock) = (Panel::calm(), ManualClock::new());
    let aggregator = panel.aggregator().clock(clock.clock());
    let monitor = Monitor::start(&aggregator);
    for channels in 1..=60 {
        panel.set(|report| report.channels.as_mut().expect("measured").total_active = channels);
        record(&clock, &monitor, 1);
    }
    let site = Site::start(aggregator);
    tab_key_reaches_every_control_in_order(&browser, &site);
    controls_are_operated_by_keys(&browser, &site);
    arrow_keys_read_the_points_of_a_chart(&browser, &site);
    site.assert_clean(&browser);
}

fn tab_key_reaches_every_control_in_order(browser: &Browser, site: &Site) {
    site.open(browser, "/#minute");
    browser.wait_for("document.querySelector('path.line').getAttribute('d')");

    let controls = browser.execute(&format!("window.controls = {CONTROLS}; return window.controls.length;"), &[]);
    let controls = controls.as_u64().expect("a number");
    // Pause, the spans, six charts with their tables, the inactive rules and two links.
    assert!(controls >= 17, "{controls}");
    for expected in 0..controls {
        browser.press(TAB);
        let reached = browser.evaluate("window.controls.indexOf(document.activeElement)");
        assert_eq!(reached, expected, "{}", describe_focus(browser));
        let outline = "[document.activeElement, ...document.activeElement.labels ?? []]
            .flatMap(node => [node, ...node.children])
            .some(node => getComputedStyle(node).outlineStyle !== 'none')";
        assert_eq!(browser.evaluate(outline), true, "no focus ring: {}", describe_focus(browser));
    }
}

fn controls_are_operated_by_keys(browser: &Browser, site: &Site) {
    site.open(browser, "/#minute");

    tab_to(browser, "#pause");
    browser.press(SPACE);
    browser.wait_for("document.body.dataset.state === 'paused'");
    browser.press(ENTER);
    browser.wait_for("document.body.dataset.state === 'live'");

    tab_to(browser, "[name=span]");
    for (key, span) in [(RIGHT, "hour"), (RIGHT, "day"), (LEFT, "hour"), (LEFT, "minute")] {
        browser.press(key);
        browser.wait_for(&format!("document.querySelector('[name=span]:checked').value === '{span}'"));
    }

    tab_to(browser, "#channels summary");
    browser.press(ENTER);
    browser.wait_for("document.querySelectorAll('#channels table tbody tr').length === 60");
}

fn arrow_keys_read_the_points_of_a_chart(browser: &Browser, site: &Site) {
    site.open(browser, "/#minute");
    browser.wait_for("document.querySelector('#channels path.line').getAttribute('d')");

    tab_to(browser, "[data-chart=\"channels.total_active\"]");
    assert_eq!(reading(browser), "");
    for (key, channels) in [(LEFT, 60), (LEFT, 59), (LEFT, 58), (RIGHT, 59), (HOME, 1), (RIGHT, 2), (END, 60)] {
        browser.press(key);
        let reading = reading(browser);
        assert!(reading.contains(&format!(" {channels} open")), "{reading}");
        let spoken = browser.evaluate("document.activeElement.getAttribute('aria-valuetext')");
        assert_eq!(spoken, reading.as_str());
    }

    // The table has the same points, newest first.
    tab_to(browser, "#channels summary");
    browser.press(ENTER);
    browser.wait_for("document.querySelectorAll('#channels tbody tr').length === 60");
    let cells =
        browser.evaluate("[...document.querySelectorAll('#channels tbody tr')].map(row => row.lastChild.innerText)");
    let expected: Vec<Value> = (1..=60).rev().map(|channels: u32| channels.to_string().into()).collect();
    assert_eq!(cells, Value::Array(expected));
}

fn reading(browser: &Browser) -> String {
    let text = browser.evaluate("document.querySelector('#channels .reading').textContent");
    text.as_str().expect("text").to_owned()
}

/// Presses the Tab key until an element that matches the selector has the focus.
fn tab_to(browser: &Browser, selector: &str) {
    for _ in 0..100 {
        browser.press(TAB);
        if browser.evaluate(&format!("document.activeElement.matches('{selector}')")) == true {
            return;
        }
    }
    panic!("the Tab key does not reach {selector}");
}

fn describe_focus(browser: &Browser) -> String {
    browser.evaluate("document.activeElement.outerHTML.slice(0, 200)").to_string()
}
