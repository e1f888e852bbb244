//! Alert rules: what is valid, what they see, and what fires.
//!
//! Properties:
//!
//! 1. Each rule has a name of its own.
//! 2. Rules see the merged snapshot, before any alert has fired.
//! 3. Firing alerts are sorted by name and have the snapshot's time.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use common::sources::everything;
use common::{firing, page};
use parsec_telemetry::{
    Aggregator, AlertRule, FiringAlert, Format, ManualClock, Severity, Snapshot, evaluate_alerts, validate_alert_rules,
};

/// A rule that always fires.
fn rule(name: &str) -> AlertRule {
    AlertRule::new(name, Severity::Warning, |_| true)
}

/// Property 1.
#[test]
fn rule_without_a_name_is_rejected_by_position_and_description() {
    let rules = [rule("a"), rule("").description("Cache is cold"), rule("")];
    let error = validate_alert_rules(&rules).expect_err("no name");
    assert!(error.is_empty_name() && !error.is_duplicate_name());
    let text = error.to_string();
    assert!(text.contains("rule 2") && text.contains("Cache is cold"), "{text}");
    let error = validate_alert_rules(&[rule("a"), rule("b"), rule("")]).expect_err("no name");
    assert!(error.to_string().contains("rule 3"), "{error}");
}

/// Property 1.
#[test]
fn duplicate_rule_name_is_rejected_by_name() {
    let rules = [rule("a"), rule("cache_cold"), rule("b"), rule("cache_cold")];
    let error = validate_alert_rules(&rules).expect_err("a name used twice");
    assert!(error.is_duplicate_name() && !error.is_empty_name());
    assert!(error.to_string().contains(r#""cache_cold""#), "{error}");
    assert!(!error.to_string().contains(r#""a""#), "{error}");
    // Case and spaces matter. An empty list is valid.
    assert_eq!(validate_alert_rules(&[rule("a"), rule("A"), rule("a "), rule(" ")]), Ok(()));
    assert_eq!(validate_alert_rules(&[]), Ok(()));
}

/// A label of that length could make Prometheus refuse the whole target.
#[test]
fn rule_name_above_128_bytes_is_rejected_with_the_limit() {
    assert_eq!(validate_alert_rules(&[rule(&"a".repeat(128)), rule(&"é".repeat(64))]), Ok(()));
    for long in ["a".repeat(129), "é".repeat(65), "\u{1f980}".repeat(10_000)] {
        let error = validate_alert_rules(&[rule("a"), rule(&long)]).expect_err("too long");
        assert!(error.is_name_too_long() && !error.is_empty_name() && !error.is_duplicate_name());
        let text = error.to_string();
        assert!(text.contains("at most 128") && text.contains(&long.len().to_string()), "{text}");
        assert!(text.len() < 300 && text.contains(&long[..100]), "{text}");
        let error = Aggregator::new().with_alerts(vec![rule(&long)]).expect_err("too long");
        assert!(error.is_name_too_long());
    }
}

#[test]
fn rule_is_rejected_if_an_earlier_call_added_its_name() {
    let aggregator = Aggregator::new().with_alerts(vec![rule("a"), rule("b")]).expect("valid rules");
    let error = aggregator.clone().with_alerts(vec![rule("c"), rule("b")]).expect_err("b is there");
    assert!(error.is_duplicate_name() && error.to_string().contains(r#""b""#), "{error}");
    let error = aggregator.clone().with_alerts(vec![rule("")]).expect_err("no name");
    assert!(error.is_empty_name());
    let aggregator = aggregator.with_alerts(vec![rule("0")]).expect("a new name");
    assert_eq!(firing(&aggregator.snapshot()), ["0", "a", "b"]);
}

#[test]
fn error_texts_are_lower_case_without_a_full_stop() {
    let errors: [Box<dyn std::error::Error + Send + Sync>; 4] = [
        Box::new(validate_alert_rules(&[rule(&"a".repeat(129))]).expect_err("too long")),
        Box::new(validate_alert_rules(&[rule("")]).expect_err("no name")),
        Box::new(validate_alert_rules(&[rule("a"), rule("a")]).expect_err("twice")),
        Box::new("fatal".parse::<Severity>().expect_err("unknown")),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.starts_with(char::is_lowercase) && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn unknown_severity_is_rejected_with_the_known_ones() {
    for word in ["fatal", "Warning", "CRITICAL", "", " info", "info ", "warn"] {
        let parsed = word.parse::<Severity>().expect_err(word).to_string();
        let json = serde_json::to_string(word).expect("JSON");
        let read = serde_json::from_str::<Severity>(&json).expect_err(word).to_string();
        for known in Severity::ALL {
            assert!(parsed.contains(known.as_str()), "{parsed}");
            assert!(read.contains(known.as_str()), "{read}");
        }
        assert!(parsed.contains(word) && read.contains(word), "{parsed}; {read}");
    }
}

#[test]
fn severity_is_one_lower_case_word_everywhere() {
    for (severity, word) in [(Severity::Info, "info"), (Severity::Warning, "warning"), (Severity::Critical, "critical")]
    {
        assert_eq!(severity.to_string(), word);
        assert_eq!(severity.as_str(), word);
        assert_eq!(word.parse(), Ok(severity));
        let json = serde_json::to_string(&severity).expect("JSON");
        assert_eq!(json, format!("\"{word}\""));
        assert_eq!(serde_json::from_str::<Severity>(&json).expect("reads back"), severity);
    }
}

/// Property 3.
#[test]
fn firing_alerts_are_sorted_by_name_and_describe_their_rules() {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 5);
    let snapshot = Snapshot { at, ..Snapshot::default() };
    let rules = [
        rule("b").description("Second"),
        AlertRule::new("a", Severity::Critical, |_| true),
        AlertRule::new("never", Severity::Critical, |_| false),
        rule("B"),
    ];
    let alert = |name: &str, severity, description: &str| FiringAlert {
        name: name.to_owned(),
        severity,
        description: description.to_owned(),
        at,
        since: at,
    };
    let expected = [
        alert("B", Severity::Warning, ""),
        alert("a", Severity::Critical, ""),
        alert("b", Severity::Warning, "Second"),
    ];
    assert_eq!(evaluate_alerts(&snapshot, &rules), expected);
    assert_eq!(evaluate_alerts(&snapshot, &[]), []);
}

/// Property 2.
#[test]
fn rule_sees_the_snapshot_without_alerts() {
    let fires_on_alerts = || AlertRule::new("echo", Severity::Info, |s| !s.alerts.is_empty());
    let aggregator = Aggregator::new().with_alerts(vec![rule("a"), fires_on_alerts(), rule("z")]).expect("valid rules");
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.alerts.len(), 2);
    // Alerts that a given snapshot already has are hidden from the rules.
    assert_eq!(evaluate_alerts(&snapshot, &[fires_on_alerts()]), []);
    let mut same = snapshot.clone();
    same.alerts.clear();
    same.rules.clear();
    let sees_the_rest = AlertRule::new("same", Severity::Info, move |s| *s == same);
    assert_eq!(evaluate_alerts(&snapshot, &[sees_the_rest]).len(), 1);
}

/// Properties 2 and 3.
#[test]
fn rules_see_sums_and_averages_and_alerts_have_the_snapshots_time() {
    let clock = ManualClock::new();
    clock.advance(Duration::new(12, 345));
    let aggregator = Aggregator::new()
        .source(everything(3, 10.0, "one"))
        .source(everything(4, 20.0, "one"))
        .clock(clock.clock())
        .with_alerts(vec![
            AlertRule::new("sum", Severity::Info, |s| s.channels.total_active == 7),
            AlertRule::new("mean", Severity::Info, |s| s.cache.hit_rate_pct == 15.0),
            AlertRule::new("one of them", Severity::Info, |s| s.channels.total_active == 4),
        ])
        .expect("valid rules");
    let snapshot = aggregator.snapshot();
    let firing: Vec<_> = snapshot.alerts.iter().map(|alert| (alert.name.as_str(), alert.at)).collect();
    assert_eq!(firing, [("mean", clock.now()), ("sum", clock.now())]);
    assert_eq!(snapshot.at, clock.now());
}

#[test]
fn rule_is_evaluated_once_a_snapshot() {
    let evaluated = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&evaluated);
    let counting = AlertRule::new("counting", Severity::Info, move |_| count.fetch_add(1, SeqCst) > 0);
    let aggregator = Aggregator::new().with_alerts(vec![counting]).expect("valid rules");
    assert_eq!(evaluated.load(SeqCst), 0);
    assert_eq!(aggregator.snapshot().alerts.len(), 0);
    let page = page(&aggregator, Format::Prometheus);
    assert_eq!(evaluated.load(SeqCst), 2);
    assert!(page.contains("parsec_alerts_firing{alert=\"counting\",severity=\"info\"} 1\n"), "{page}");
}
