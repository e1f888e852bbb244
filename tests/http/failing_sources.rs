//! Sources and rules that panic.

// Counts are whole numbers.
#![allow(clippy::float_cmp)]

use parsec_telemetry::{AlertRule, Server, Severity};

use crate::NEVER;
use crate::self_metrics::samples;
use crate::support::page::{JSON, get, snapshot, uncached};
use crate::support::sources::{CountsCalls, Panics, frozen_aggregator};

const SOURCE_PANICS: &str = "parsec_telemetry_source_panics_total{source=\"Panics\",type=\"Panics\"}";
const SOURCE_TIMEOUTS: &str = "parsec_telemetry_source_timeouts_total{source=\"Panics\",type=\"Panics\"}";
const RULE_FAILURES: &str = "parsec_telemetry_rule_failures_total{alert=\"panics\"}";

#[test]
fn panicking_source_does_not_affect_the_other_sections() {
    let aggregator = frozen_aggregator().source(Panics).source(CountsCalls::default());
    let server = Server::builder(aggregator).max_snapshot_age(NEVER).build();
    let page = server.handle(&get(JSON));
    assert_eq!(snapshot(&page).history.total_envelopes_buffered, 1);
    assert_eq!(samples(&server)[SOURCE_PANICS], 1.0);
}

#[test]
fn panics_are_counted() {
    let rule = AlertRule::new("panics", Severity::Info, |_| panic!("on purpose"));
    let aggregator = frozen_aggregator().source(Panics).with_alerts(vec![rule]);
    let samples = samples(&uncached(aggregator.expect("valid rules")));
    assert_eq!(samples[SOURCE_PANICS], 1.0);
    assert_eq!(samples[RULE_FAILURES], 1.0);
    assert_eq!(samples[SOURCE_TIMEOUTS], 0.0);
    assert_eq!(samples["parsec_telemetry_snapshot_duration_seconds_count"], 1.0);
}
