//! axe-core finds no violation of WCAG 2.2 AA or of its best practices.

use std::env;
use std::fs;
use std::path::PathBuf;

use parsec_telemetry::{Aggregator, ManualClock, Monitor};
use serde_json::{Value, json};

use crate::site::{PENDING, Panel, Site, Store, record, start_browser};
use crate::support::browser::Browser;

#[test]
fn axe_reports_no_violation_in_any_state_size_and_scheme() {
    let (Some(axe), Some(browser)) = (find_axe(), start_browser()) else {
        return;
    };
    let (panel, store, clock) = (Panel::calm(), Store::default(), ManualClock::new());
    let aggregator = panel.aggregator().clock(clock.clock()).named_source("sessions", store.clone());
    let monitor = Monitor::start(&aggregator);
    record(&clock, &monitor, 60);
    let mut site = Site::start(aggregator);
    site.open(&browser, "/#minute");
    browser.execute(&axe, &[]);
    browser.wait_for("document.querySelector('path.line').getAttribute('d')");
    assert_accessible(&browser, "calm", &ALL);
    browser.evaluate("document.getElementById('pause').click()");
    assert_accessible(&browser, "paused", &ALL[3..]);
    browser.evaluate("document.getElementById('pause').click()");

    panel.set_revoked(101);
    panel.set_hit_rate(50.0);
    store.fail("connection refused");
    browser.wait_for("document.querySelectorAll('#problems li').length === 1");
    browser.wait_for("document.querySelectorAll('#alerts [data-state=firing]').length === 1");
    browser.wait_for("document.querySelectorAll('#alerts [data-state=pending]').length === 1");
    browser.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })");
    assert_accessible(&browser, "alarmed", &ALL);

    clock.advance(PENDING);
    panel.set_revoked(0);
    browser.wait_for("document.querySelectorAll('#alerts [data-state=resolved]').length === 1");
    browser.wait_for("document.querySelectorAll('#alerts [data-state=firing]').length === 1");
    site.assert_clean(&browser);
    site.stop();
    browser.wait_for("document.body.dataset.state === 'lost'");
    assert_accessible(&browser, "lost", &ALL);

    let empty = Site::start(Aggregator::new());
    empty.open(&browser, "/#minute");
    browser.execute(&axe, &[]);
    assert_accessible(&browser, "empty", &ALL[..1]);
}

const ALL: [(u32, &str); 4] = [(320, "light"), (320, "dark"), (1440, "light"), (1440, "dark")];

fn assert_accessible(browser: &Browser, state: &str, cases: &[(u32, &str)]) {
    for &(width, scheme) in cases {
        let case = format!("{state}, {width} px, {scheme}");
        browser.resize(width, 900);
        browser.set_media(&[("prefers-color-scheme", scheme)]);
        let overflow = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "{case}: the page scrolls sideways");
        let violations = browser.execute_async(
            "const done = arguments[1];
             axe.run(document, arguments[0]).then(({violations, passes}) => done({
                 passes: passes.length,
                 violations: violations.map(({id, help, nodes}) => ({
                     id, help, nodes: nodes.slice(0, 5).map(({html, failureSummary}) => [html, failureSummary]),
                 })),
             }), error => done(String(error)));",
            &[json!({"resultTypes": ["violations"], "preload": false, "runOnly": [
                "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice",
            ]})],
        );
        assert_eq!(violations["violations"], Value::Array(Vec::new()), "{case}: {violations:#}");
        assert!(violations["passes"].as_u64() > Some(20), "{case}: {violations:#}");
    }
}

/// The source of axe-core, as `.ci/install` leaves it. Skips the test as `find_program` does.
fn find_axe() -> Option<String> {
    let file = env::var_os("PARSEC_AXE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js"),
        PathBuf::from,
    );
    let source = fs::read_to_string(&file);
    if source.is_err() {
        let file = file.display();
        assert!(env::var_os("CI").is_none(), "{file} does not exist, and CI skips no test: run .ci/install");
        eprintln!("skipped: {file} does not exist");
    }
    source.ok()
}
