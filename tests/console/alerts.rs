//! Alerts, stale sources and failing rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parsec_telemetry::{AlertRule, ManualClock, Severity};
use serde_json::json;

use crate::site::{PENDING, Panel, Site, Store, start_browser};
use crate::support::browser::Browser;

const STALE: &str = "[...document.querySelectorAll('section[data-stale=true]')].map(section => section.id)";

#[test]
fn alert_is_pending_then_fires_then_resolves() {
    let Some(browser) = start_browser() else {
        return;
    };
    let (panel, clock) = (Panel::calm(), ManualClock::new());
    let site = Site::start(panel.aggregator().clock(clock.clock()));
    site.open(&browser, "/");
    browser.wait_for("document.getElementById('inactive').textContent.includes('3')");
    assert_eq!(browser.evaluate("document.querySelectorAll('#alerts li').length"), 0);

    panel.set_hit_rate(50.0);
    wait_for_state(&browser, "cache_cold", "pending");
    browser.wait_for("document.getElementById('inactive').textContent.includes('2')");
    clock.advance(PENDING);
    wait_for_state(&browser, "cache_cold", "firing");
    browser.wait_for("document.getElementById('say').textContent.includes('cache_cold')");
    assert_eq!(browser.evaluate("document.querySelector('[data-alert=cache_cold]').dataset.severity"), "warning");
    panel.set_hit_rate(90.0);
    wait_for_state(&browser, "cache_cold", "resolved");

    // A critical alert is listed first, and interrupts a screen reader.
    assert_eq!(browser.evaluate("document.getElementById('say-critical').textContent"), "");
    panel.set_revoked(101);
    wait_for_state(&browser, "revocation_burst", "firing");
    browser.wait_for("document.getElementById('say-critical').textContent.includes('revocation_burst')");
    assert_eq!(browser.evaluate("document.querySelector('#alerts li').dataset.alert"), "revocation_burst");
    browser.wait_for("document.title.includes('critical')");

    // A resolved alert is listed for 15 minutes.
    panel.set_revoked(0);
    wait_for_state(&browser, "revocation_burst", "resolved");
    clock.advance(Duration::from_secs(15 * 60));
    browser.wait_for("document.querySelectorAll('#alerts li').length === 0");
    site.assert_clean(&browser);
}

#[test]
fn stale_source_and_failing_rule_are_listed_until_they_recover() {
    let Some(browser) = start_browser() else {
        return;
    };
    let (panel, store) = (Panel::calm(), Store::default());
    let panics = Arc::new(AtomicBool::new(false));
    let condition = Arc::clone(&panics);
    let rule = AlertRule::new("fragile", Severity::Info, move |_| {
        assert!(!condition.load(Relaxed), "on purpose");
        false
    });
    let aggregator = panel.aggregator().named_source("sessions", store.clone());
    let site = Site::start(aggregator.with_alerts(vec![rule]).expect("valid rules"));
    site.open(&browser, "/");
    for _ in 0..2 {
        browser.wait_for("document.querySelector('#sources [data-source=sessions]')?.dataset.up === 'true'");
        browser.wait_for("document.querySelectorAll('#problems li').length === 0");
        store.fail("connection refused");
        panics.store(true, Relaxed);
        browser.wait_for("document.querySelector('#sources [data-source=sessions]').dataset.up === 'false'");
        let problem = "document.querySelector('#problems [data-source=sessions]')";
        browser.wait_for(&format!("{problem}?.textContent.includes('connection refused')"));
        browser.wait_for("document.querySelector('#problems [data-rule=fragile]')");
        // The section that the source has reported says that its values are old.
        assert_eq!(browser.evaluate(&format!("{problem}.textContent.includes('(tokens)')")), true);
        assert_eq!(browser.evaluate(STALE), json!(["tokens"]));
        let main = browser.evaluate("document.querySelector('#tokens .main').innerText");
        assert!(main.as_str().is_some_and(|text| text.contains("last good value, ")), "{main}");
        assert_eq!(browser.evaluate("document.querySelector('#sources [data-source=panel]').dataset.up"), "true");
        store.recover();
        panics.store(false, Relaxed);
    }
    browser.wait_for("document.querySelectorAll('#problems li').length === 0");
    assert_eq!(browser.evaluate(STALE), json!([]));
    site.assert_clean(&browser);
}

fn wait_for_state(browser: &Browser, alert: &str, state: &str) {
    let row = format!("document.querySelector('#alerts [data-alert={alert}][data-state={state}]')");
    let text = browser.wait_for(&format!("{row}?.innerText"));
    // The word is there too, not only a colour or a shape.
    assert!(text.as_str().expect("text").contains(state), "{text}");
}
