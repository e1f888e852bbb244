//! What the console shows is what the JSON page has.

use std::collections::BTreeMap;
use std::time::Duration;

use parsec_telemetry::{
    Aggregator, AlertRule, ChannelStats, EnvelopeCounters, EnvelopeStats, Report, Severity, TokenCounters,
};
use serde_json::{Value, json};

use crate::site::{Panel, Site, Store, map, start_browser};
use crate::support::browser::Browser;
use crate::support::poll::poll;

/// Each value with the text that it is shown as, without its unit.
const CALM: [(&str, &str); 14] = [
    ("channels.total_active", "6"),
    ("envelopes.rate_per_second", "112.5"),
    ("presence.total_users", "3"),
    ("presence.total_agents", "2"),
    ("presence.average_per_channel", "0.75"),
    ("history.total_envelopes_buffered", "600"),
    ("history.buffer_utilization_pct", "37.5"),
    ("tokens.issued_last_hour", "106"),
    ("tokens.revoked_last_hour", "7"),
    ("tokens.active_count", "64"),
    ("cache.hit_rate_pct", "84.3"),
    ("cache.size_bytes", "4"),
    ("cache.size_entries", "65"),
    ("cache.evictions_last_hour", "12"),
];

#[test]
fn numbers_equal_the_json_and_names_are_shown_as_text() {
    let Some(browser) = start_browser() else {
        return;
    };
    numbers_on_the_page_equal_the_json_and_follow_it(&browser);
    recorded_events_move_the_numbers(&browser);
    section_without_a_source_says_that_it_is_not_measured(&browser);
    html_in_names_is_shown_as_text(&browser);
}

fn numbers_on_the_page_equal_the_json_and_follow_it(browser: &Browser) {
    let panel = Panel::calm();
    let site = Site::start(panel.aggregator());
    site.open(browser, "/");
    assert_eq!(wait_for_json(browser, &site).keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut fields = CALM.map(|(field, _)| field);
        fields.sort_unstable();
        fields
    });
    for (field, expected) in CALM {
        let text = text_of(browser, field);
        let number = text.split(|c: char| c != '.' && !c.is_ascii_digit()).next();
        assert_eq!(number, Some(expected), "{field}: {text}");
        assert!(field == "cache.size_bytes" || text.contains(' '), "{field} has a unit: {text}");
    }
    assert_eq!(keys(browser, "aspects"), json!([["data", 6120], ["cursor", 1600]]));
    assert_eq!(keys(browser, "patterns"), json!([["public:*", 4], ["agents:*", 2]]));

    let before = CALM.map(|(field, _)| text_of(browser, field));
    panel.set(|report| {
        let Report { channels, envelopes, presence, history, tokens, cache } = report;
        *channels = Some(ChannelStats { total_active: 7, by_pattern: map([("agents:*", 5), ("public:*", 2)]) });
        *envelopes = Some(EnvelopeStats { rate_per_second: 1e6, by_aspect: map([("cursor", 9_000), ("data", 8_000)]) });
        let presence = presence.as_mut().expect("measured");
        (presence.total_users, presence.total_agents, presence.average_per_channel) = (1, 20, 1.5);
        let history = history.as_mut().expect("measured");
        (history.total_envelopes_buffered, history.buffer_utilization_pct) = (1, 99.96);
        let tokens = tokens.as_mut().expect("measured");
        (tokens.issued_last_hour, tokens.revoked_last_hour, tokens.active_count) = (1 << 52, 0, -3);
        let cache = cache.as_mut().expect("measured");
        (cache.hit_rate_pct, cache.size_bytes, cache.size_entries, cache.evictions_last_hour) = (100.0, 1 << 40, 1, 0);
    });
    browser.wait_for("document.querySelector('[data-field=\"channels.total_active\"]').dataset.value === '7'");
    wait_for_json(browser, &site);
    // What is not full does not read as full.
    assert_eq!(text_of(browser, "history.buffer_utilization_pct"), "99.96 % full");
    for ((field, _), before) in CALM.iter().zip(before) {
        assert_ne!(text_of(browser, field), before, "{field}");
    }
    assert_eq!(keys(browser, "aspects"), json!([["cursor", 9000], ["data", 8000]]));
    assert_eq!(keys(browser, "patterns"), json!([["agents:*", 5], ["public:*", 2]]));
    site.assert_clean(browser);
}

fn recorded_events_move_the_numbers(browser: &Browser) {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    let site = Site::start(Aggregator::new().source(envelopes.clone()).source(tokens.clone()));
    let data = envelopes.aspect("data");
    data.observe();
    site.open(browser, "/#minute");
    for total in [2, 3] {
        data.observe();
        tokens.issued();
        browser.wait_for(&format!("document.querySelector('#aspects [data-key=data]')?.dataset.value === '{total}'"));
        let issued = total - 1;
        browser.wait_for(&format!(
            "document.querySelector('[data-field=\"tokens.issued_last_hour\"]').dataset.value === '{issued}'"
        ));
    }
    // The rate of the aspect comes from the series of the monitor.
    browser.wait_for("/[1-9]/.test(document.querySelector('#aspects [data-key=data] .number').textContent)");
    site.assert_clean(browser);
}

fn section_without_a_source_says_that_it_is_not_measured(browser: &Browser) {
    let panel = Panel::calm();
    panel.set(|report| {
        report.presence = None;
        report.tokens = None;
        report.cache.as_mut().expect("measured").hit_rate_pct = f64::NAN;
    });
    let site = Site::start(panel.aggregator());
    site.open(browser, "/");
    let measured = "Object.fromEntries([...document.querySelectorAll('section[data-measured]')]\
                    .map(section => [section.id, section.dataset.measured]))";
    assert_eq!(
        browser.evaluate(measured),
        json!({"channels": "true", "envelopes": "true", "presence": "false", "history": "true", "tokens": "false",
               "cache": "true"}),
    );
    for section in ["presence", "tokens"] {
        let text = browser.evaluate(&format!("document.getElementById('{section}').innerText"));
        let text = text.as_str().expect("text");
        assert!(text.contains("No source measures this"), "{section}: {text}");
        assert!(!text.contains(|c: char| c.is_ascii_digit()), "{section}: {text}");
    }
    // A value that is not known is not a zero.
    let text = text_of(browser, "cache.hit_rate_pct");
    assert!(!text.contains(|c: char| c.is_ascii_digit()), "{text}");
    assert_eq!(
        browser.evaluate("'value' in document.querySelector('[data-field=\"cache.hit_rate_pct\"]').dataset"),
        false
    );
    site.assert_clean(browser);
}

fn html_in_names_is_shown_as_text(browser: &Browser) {
    const HTML: &str = "<img src=/stolen onerror=document.title='run'>";
    let panel = Panel::calm();
    panel.set(|report| {
        report.channels.as_mut().expect("measured").by_pattern = map([(HTML, 2)]);
        report.envelopes.as_mut().expect("measured").by_aspect =
            map([(HTML, 3), ("__proto__", 2), ("\" onload=\"", 1)]);
    });
    let store = Store::default();
    store.fail(HTML);
    let rule = |name: &str| AlertRule::new(name, Severity::Info, |_| true).description(HTML);
    let rules = vec![rule(HTML), rule("pending").for_at_least(Duration::from_secs(3600))];
    let aggregator = Aggregator::new().named_source("panel", panel).named_source(HTML, store);
    let site = Site::start(aggregator.with_alerts(rules).expect("valid rules"));
    site.open(browser, "/#minute");
    for list in ["alerts", "problems", "aspects", "patterns", "sources"] {
        browser.wait_for(&format!("document.getElementById('{list}').textContent.includes(\"{HTML}\")"));
    }
    // The rates come with the series.
    browser
        .wait_for("[...document.querySelectorAll('#aspects .number')].every(node => node.textContent.includes('/s'))");
    assert_eq!(keys(browser, "aspects"), json!([[HTML, 3], ["__proto__", 2], ["\" onload=\"", 1]]));
    assert_eq!(browser.evaluate("document.querySelectorAll('img, [onload], [onerror]').length"), 0);
    assert!(!browser.requests().iter().any(|url| url.contains("stolen")));
    site.assert_clean(browser);
}

/// Polls until each number of the console equals that of the JSON page. Returns them.
fn wait_for_json(browser: &Browser, site: &Site) -> BTreeMap<String, f64> {
    let script = "return Object.fromEntries([...document.querySelectorAll('[data-field]')]\
                  .map(node => [node.dataset.field, Number(node.dataset.value)]));";
    poll("the numbers of the JSON page", || {
        let json = site.json();
        let shown = browser.execute(script, &[]);
        let shown: BTreeMap<String, f64> = serde_json::from_value(shown).expect("numbers");
        let number = |field: &String| json.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_f64);
        shown.iter().all(|(field, value)| number(field) == Some(*value)).then_some(shown)
    })
}

fn text_of(browser: &Browser, field: &str) -> String {
    let text = browser.evaluate(&format!("document.querySelector('[data-field=\"{field}\"]').innerText"));
    text.as_str().expect("text").to_owned()
}

/// The rows of a list of bars, in the order of the page.
fn keys(browser: &Browser, list: &str) -> Value {
    let rows = format!("[...document.querySelectorAll('#{list} [data-key]')]");
    browser.evaluate(&format!("{rows}.map(row => [row.dataset.key, Number(row.dataset.value)])"))
}
