//! Properties: no input makes reading a snapshot panic. A snapshot that was read is rendered as a page that reads back
//! as the same snapshot and renders as the same page, through every serde entry point.
//!
//! Exceptions: a time before the year 0 is written as the nearest time that RFC 3339 can represent, and a count above
//! 2^63 - 1 as that.

#![no_main]

use std::collections::BTreeMap;
use std::time::SystemTime;

use fuzzing::json::Json;
use fuzzing::moment::read_rfc3339;
use fuzzing::text;
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{Format, Snapshot};

/// Returns the snapshot with the times and counts that its page shows.
fn as_written(snapshot: &Snapshot) -> Snapshot {
    let first = fuzzing::moment::system_time(read_rfc3339("0000-01-01T00:00:00Z").expect("a valid time"));
    let clamp = |at: &mut SystemTime| *at = (*at).max(first);
    let mut written = snapshot.clone();
    clamp(&mut written.at);
    clamp(&mut written.started_at);
    for alert in &mut written.alerts {
        clamp(&mut alert.at);
        clamp(&mut alert.since);
    }
    for rule in &mut written.rules {
        rule.since.as_mut().map(clamp);
        rule.resolved_at.as_mut().map(clamp);
    }
    saturate(&mut written);
    written
}

fn saturate(snapshot: &mut Snapshot) {
    let maps = [&mut snapshot.channels.by_pattern, &mut snapshot.envelopes.by_aspect];
    let keyed = maps.into_iter().flat_map(BTreeMap::values_mut);
    let counts = [
        &mut snapshot.channels.total_active,
        &mut snapshot.presence.total_users,
        &mut snapshot.presence.total_agents,
        &mut snapshot.history.total_envelopes_buffered,
        &mut snapshot.tokens.issued_last_hour,
        &mut snapshot.tokens.revoked_last_hour,
        &mut snapshot.cache.size_bytes,
        &mut snapshot.cache.size_entries,
        &mut snapshot.cache.evictions_last_hour,
    ];
    let rules = snapshot.rules.iter_mut();
    let rules = rules.flat_map(|rule| [&mut rule.fired_total, &mut rule.failures_total]);
    let sources = snapshot.sources.iter_mut();
    let sources = sources.flat_map(|source| [&mut source.panics_total, &mut source.timeouts_total]);
    for count in keyed.chain(counts).chain(rules).chain(sources) {
        *count = (*count).min(i64::MAX.unsigned_abs());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else {
        return;
    };
    let page = Format::Json.render(&snapshot);
    Json::read(&page).unwrap_or_else(|error| panic!("invalid JSON page: {error}"));
    let written: Snapshot = serde_json::from_slice(&page).expect("a page reads back");
    assert_eq!(written, as_written(&snapshot));
    assert_eq!(Format::Json.render(&written), page);

    let from_reader: Snapshot = serde_json::from_reader(bytes).expect("a slice and a reader are equivalent");
    assert_eq!(from_reader, snapshot);
    let value: serde_json::Value = serde_json::from_slice(&page).expect("a page is JSON");
    let from_value: Snapshot = serde_json::from_value(value).expect("a page and a value are equivalent");
    assert_eq!(from_value, written);

    let page = Format::Prometheus.render(&snapshot);
    text::read(&page).unwrap_or_else(|error| panic!("invalid text page: {error}"));
});
