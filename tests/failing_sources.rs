//! Sources and rules that panic: each is caught and counted, and the rest of the snapshot is right.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use common::exposition::value_of;
use common::sources::{Intercepted, ManualCache, Reports, everything, hit_rate, snapshot_of};
use common::{MINUTE, firing, json, page, sections_of};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, CacheStatter, EnvelopeStats, Format, ManualClock,
    PresenceStats, Severity, Snapshot, Source, evaluate_alerts,
};

/// The panics of all sources and the failures of all rules, as of a snapshot.
fn panics(snapshot: &Snapshot) -> (u64, u64) {
    let sources = snapshot.sources.iter().map(|source| source.panics_total);
    let rules = snapshot.rules.iter().map(|rule| rule.failures_total);
    (sources.sum(), rules.sum())
}

/// A source that panics in one section.
fn panics_in(panicking: &'static str) -> impl Source {
    let on_section = move |section| assert_ne!(section, panicking, "this section panics");
    Intercepted(on_section, Reports::default())
}

/// A rule that panics whenever it is evaluated.
fn panicking_rule(name: &str) -> AlertRule {
    AlertRule::new(name, Severity::Critical, |_| panic!("this rule panics"))
}

#[test]
fn source_that_panics_in_any_section_keeps_its_last_report_whole() {
    let good = || everything(3, 30.0, "good");
    let bad = || everything(5, 50.0, "bad");
    let without = snapshot_of([good()]);
    let with = snapshot_of([good(), bad()]);
    for panicking in ["channels", "envelopes", "presence", "history", "tokens", "cache"] {
        let panics_now = Arc::new(AtomicBool::new(true));
        let on_section = {
            let panics_now = Arc::clone(&panics_now);
            move |section| assert!(section != panicking || !panics_now.load(SeqCst), "this section panics")
        };
        let aggregator =
            Aggregator::new().source(Intercepted(on_section, bad())).source(good()).clock(ManualClock::new().clock());
        for (times, panics_again, expected) in [(1, true, &without), (1, false, &with), (2, true, &with)] {
            panics_now.store(panics_again, SeqCst);
            let snapshot = aggregator.snapshot();
            assert_eq!(sections_of(&snapshot), *expected, "{panicking} panics");
            assert_eq!(panics(&snapshot), (times, 0));
        }
    }
}

#[test]
fn rule_that_panics_does_not_fire_and_the_others_do() {
    let aggregator = Aggregator::new()
        .source(everything(1, 1.0, "one"))
        .with_alerts(vec![
            AlertRule::new("c", Severity::Info, |_| true),
            AlertRule::new("b", Severity::Info, |s| s.channels.by_pattern["absent"] > 0),
            AlertRule::new("a", Severity::Info, |_| true),
        ])
        .expect("valid rules");
    for times in 1..=2 {
        let snapshot = aggregator.snapshot();
        assert_eq!(firing(&snapshot), ["a", "c"]);
        assert_eq!(snapshot.channels.total_active, 1);
        assert_eq!(panics(&snapshot), (0, times));
    }
}

#[test]
fn evaluate_alerts_skips_a_rule_that_panics() {
    let rules = ["c", "a"].map(|name| AlertRule::new(name, Severity::Info, |_| true));
    let rules = [&rules[..], &[panicking_rule("b")]].concat();
    let alerts = evaluate_alerts(&Snapshot::default(), &rules);
    let names: Vec<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn clones_of_an_aggregator_share_the_counts_of_panics() {
    let aggregator =
        Aggregator::new().source(panics_in("cache")).with_alerts(vec![panicking_rule("bad")]).expect("valid rules");
    let clone = aggregator.clone();
    for (times, aggregator) in (1..).zip([&aggregator, &clone, &clone.clone(), &aggregator]) {
        let snapshot = aggregator.snapshot();
        assert_eq!(panics(&snapshot), (times, times));
    }
}

#[test]
fn panic_with_a_payload_that_panics_when_dropped_is_caught() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the payload panics");
        }
    }
    struct Bombs;
    impl Source for Bombs {
        fn cache(&self) -> Option<CacheStats> {
            panic_any(Bomb)
        }
    }
    let bomb = AlertRule::new("bomb", Severity::Info, |_| panic_any(Bomb));
    let aggregator =
        Aggregator::new().source(Bombs).source(everything(1, 1.0, "one")).with_alerts(vec![bomb]).expect("valid rules");
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.cache.size_bytes, 1);
    assert_eq!(panics(&snapshot), (1, 1));
}

#[test]
fn absent_source_is_not_counted_as_failed() {
    let absent: Option<CacheSource<fn() -> CacheCounters>> = None;
    let boxed: Option<Box<dyn Source>> = None;
    let aggregator = Aggregator::new().source(absent).source(boxed);
    let snapshot = aggregator.snapshot();
    assert_eq!(panics(&snapshot), (0, 0));
}

#[test]
fn statter_that_panics_once_keeps_its_last_report_and_loses_nothing() {
    let clock = ManualClock::new();
    let (cache, calls) = (ManualCache::default(), AtomicU64::new(0));
    let statter = {
        let cache = cache.clone();
        move || {
            assert_ne!(calls.fetch_add(1, SeqCst), 1, "the second call panics");
            cache.stats()
        }
    };
    let aggregator = Aggregator::new().source(CacheSource::new(statter).clock(clock.clock()));
    cache.add(3, 1, 10);
    assert_eq!(aggregator.snapshot().cache.hit_rate_pct, 75.0);
    cache.add(0, 1, 10);
    clock.advance(MINUTE);
    assert_eq!(aggregator.snapshot().cache.hit_rate_pct, 75.0);
    clock.advance(MINUTE);
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.cache.hit_rate_pct, 60.0);
    assert_eq!(snapshot.cache.evictions_last_hour, 20);
    assert_eq!(panics(&snapshot), (1, 0));
}

/// A source of which two sections panic.
struct Broken;

impl Source for Broken {
    fn envelopes(&self) -> Option<EnvelopeStats> {
        panic!("this section panics")
    }

    fn cache(&self) -> Option<CacheStats> {
        panic!("this section panics, too")
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats { total_users: 5, ..Default::default() })
    }
}

/// Fault 9: one source or rule that panicked left no page at all.
#[test]
fn source_and_rule_that_panic_do_not_break_the_pages() {
    let cold = AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0);
    let aggregator = Aggregator::new()
        .source(Broken)
        .source(everything(1, 1.0, "data"))
        .source(hit_rate(139.0))
        .with_alerts(vec![panicking_rule("broken"), cold])
        .expect("valid rules");
    let snapshot = json(&aggregator);
    assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
    assert_eq!(snapshot.presence.total_users, 1, "a source that panics has no report");
    assert_eq!(snapshot.cache.hit_rate_pct, 70.0);
    assert_eq!(firing(&snapshot), ["cache_cold"]);
    let page = page(&aggregator, Format::Prometheus);
    assert_eq!(value_of(&page, "parsec_telemetry_cache_hit_rate_pct"), 70.0);
    assert_eq!(panics(&snapshot), (1, 1));
}

/// Faults 8 and 9: the response was 500 after a panic, and an empty 200 after NaN.
#[cfg(feature = "serve")]
#[tokio::test]
async fn source_and_rule_that_panic_do_not_break_the_responses() {
    use http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use parsec_telemetry::Server;

    let aggregator = Aggregator::new()
        .source(Broken)
        .source(hit_rate(f64::NAN))
        .source(hit_rate(70.0))
        .with_alerts(vec![panicking_rule("broken")])
        .expect("valid rules");
    let server = Server::builder(aggregator).build();
    let mut pages = Vec::new();
    for path in ["/parsec/metrics", "/parsec/telemetry/metrics"] {
        let request = Request::builder().uri(path).body(()).expect("a request");
        let response = server.handle(&request);
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a whole body");
        pages.push(String::from_utf8(body.to_bytes().into()).expect("pages are UTF-8"));
    }
    let snapshot: Snapshot = serde_json::from_str(&pages[0]).expect("JSON");
    assert_eq!(snapshot.cache.hit_rate_pct, 70.0);
    assert_eq!(snapshot.presence.total_users, 0);
    let hit_rate = value_of(&pages[1], "parsec_telemetry_cache_hit_rate_pct");
    assert_eq!(hit_rate, 70.0);
}
