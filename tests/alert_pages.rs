//! Alert rules and their states as pages show them.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use common::alerts::Outcome::Failed;
use common::exposition::samples;
use common::{HOUR, MINUTE, SECOND, json, page, render};
use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, Format, ManualClock, Monitor, RuleStatus, Severity, Snapshot,
};
use serde_json::json;

use AlertState::{Firing, Inactive, Pending, Resolved};

#[test]
fn rule_serializes_without_its_condition() {
    let rule = AlertRule::new("cold", Severity::Critical, |_| true);
    let text = |rule: &AlertRule| serde_json::to_string(rule).expect("JSON");
    assert_eq!(text(&rule), r#"{"name":"cold","severity":"critical"}"#);
    let rule = rule.description("Cache is cold").for_at_least(90 * SECOND);
    let expected = r#"{"name":"cold","severity":"critical","description":"Cache is cold","for_seconds":90.0}"#;
    assert_eq!(text(&rule), expected);
    let rule = rule.for_at_least(Duration::from_millis(1500)).keep_firing_for(HOUR);
    let value = serde_json::to_value(&rule).expect("JSON");
    let expected = json!({
        "name": "cold", "severity": "critical", "description": "Cache is cold",
        "for_seconds": 1.5, "keep_firing_for_seconds": 3600.0,
    });
    assert_eq!(value, expected);
}

/// A thousand rules, in turn inactive, pending, firing and resolved.
struct Thousand {
    aggregator: Aggregator,
    phase: Arc<AtomicU64>,
    clock: ManualClock,
}

const TURN: [AlertState; 4] = [Inactive, Pending, Firing, Resolved];

impl Thousand {
    fn new() -> Self {
        let (clock, phase) = (ManualClock::new(), Arc::new(AtomicU64::new(0)));
        let rule = |index: usize| {
            let phase = Arc::clone(&phase);
            let condition = move |_: &Snapshot| match TURN[index % 4] {
                Inactive => false,
                Pending => phase.load(SeqCst) == 1,
                Firing => true,
                Resolved => phase.load(SeqCst) == 0,
            };
            let for_at_least = if TURN[index % 4] == Pending { MINUTE } else { Duration::ZERO };
            let severity = Severity::ALL[index % 3];
            AlertRule::new(format!("rule_{index:03}"), severity, condition).for_at_least(for_at_least)
        };
        let aggregator = Aggregator::new().clock(clock.clock()).with_alerts((0..1000).map(rule).collect());
        Self { aggregator: aggregator.expect("valid rules"), phase, clock }
    }

    /// Brings each rule into its state, and returns the time of the second evaluation.
    fn run(&self) -> SystemTime {
        let monitor = Monitor::start(&self.aggregator);
        monitor.tick();
        self.clock.advance(SECOND);
        self.phase.store(1, SeqCst);
        monitor.tick();
        self.clock.now()
    }
}

#[test]
fn thousand_rules_have_their_states_on_every_page() {
    let thousand = Thousand::new();
    let start = thousand.clock.now();
    let changed = thousand.run();
    let snapshot = json(&thousand.aggregator);
    assert_eq!(snapshot, thousand.aggregator.snapshot());
    assert_eq!(snapshot.rules.len(), 1000);
    for (index, rule) in snapshot.rules.iter().enumerate() {
        let state = TURN[index % 4];
        let (since, resolved_at) = match state {
            Inactive => (None, None),
            Pending => (Some(changed), None),
            Firing => (Some(start), None),
            Resolved => (Some(start), Some(changed)),
        };
        let expected = RuleStatus {
            name: format!("rule_{index:03}"),
            severity: Severity::ALL[index % 3],
            state,
            since,
            resolved_at,
            for_seconds: if state == Pending { 60.0 } else { 0.0 },
            fired_total: u64::from(matches!(state, Firing | Resolved)),
            ..RuleStatus::default()
        };
        assert_eq!(*rule, expected);
    }
    let alerts: Vec<_> = snapshot.alerts.iter().map(|alert| (alert.name.clone(), alert.since)).collect();
    let firing = (0..1000).filter(|index| TURN[index % 4] == Firing);
    assert_eq!(alerts, firing.map(|index| (format!("rule_{index:03}"), start)).collect::<Vec<_>>());

    for format in [Format::Prometheus, Format::OpenMetrics] {
        let page = page(&thousand.aggregator, format);
        // The value of each rule that has one, by index.
        let mut families = BTreeMap::<String, BTreeMap<usize, f64>>::new();
        for (family, labels, value) in samples(&page) {
            let [(alert, name), (severity, word)] = &labels[..] else { continue };
            assert_eq!([&**alert, &**severity], ["alert", "severity"]);
            let index: usize = name.strip_prefix("rule_").expect("a name").parse().expect("a number");
            assert_eq!(word, Severity::ALL[index % 3].as_str());
            let previous = families.entry(family).or_default().insert(index, value);
            assert_eq!(previous, None);
        }
        let unix = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let one_if = |is_so| if is_so { 1.0 } else { 0.0 };
        let expect = |family: &str, value: &dyn Fn(AlertState) -> Option<f64>| {
            let expected = (0..1000).filter_map(|index| Some((index, value(TURN[index % 4])?)));
            assert_eq!(families[family], expected.collect(), "{family}");
        };
        expect("parsec_alerts_firing", &|state| Some(one_if(state == Firing)));
        expect("parsec_telemetry_alerts_firing", &|state| (state == Firing).then_some(1.0));
        expect("parsec_alerts_pending", &|state| Some(one_if(state == Pending)));
        expect("parsec_alerts_since_timestamp_seconds", &|state| match state {
            Pending => Some(unix(changed)),
            Firing => Some(unix(start)),
            Inactive | Resolved => None,
        });
        expect("parsec_alerts_fired_total", &|state| Some(one_if(matches!(state, Firing | Resolved))));
        assert_eq!(families.len(), 5);
    }
}

#[test]
fn snapshot_with_every_state_reads_back() {
    let thousand = Thousand::new();
    thousand.run();
    let failing = AlertRule::new("fails", Severity::Info, |_| Failed.evaluate()).description("\"½\" \\ \n");
    let aggregator = thousand.aggregator.clone().with_alerts(vec![failing]).expect("valid rules");
    for snapshot in [thousand.aggregator.snapshot(), aggregator.snapshot()] {
        let text = render(Format::Json, &snapshot);
        let read: Snapshot = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, snapshot);
        assert_eq!(render(Format::Json, &read), text);
        let value = serde_json::to_value(&snapshot).expect("JSON");
        assert_eq!(serde_json::from_value::<Snapshot>(value).expect("JSON"), snapshot);
    }
}
