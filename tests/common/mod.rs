//! Helpers that several test files share.

#![allow(dead_code, reason = "each test file uses some of these helpers")]

pub(crate) mod alerts;
pub(crate) mod counters;
pub(crate) mod exposition;
pub(crate) mod model;
pub(crate) mod sources;
pub(crate) mod strategies;
pub(crate) mod threads;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parsec_telemetry::{Aggregator, Format, Snapshot};

pub(crate) const NANO: Duration = Duration::from_nanos(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// How long a test waits for another thread before it fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Polls `condition` until it holds.
///
/// # Panics
///
/// If it does not hold within [`TIMEOUT`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out after {TIMEOUT:?}: {what}");
        std::thread::yield_now();
    }
}

/// A map as snapshots hold them.
pub(crate) fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = pairs.iter().map(|&(key, count)| (key.to_owned(), count));
    owned.collect()
}

/// The names of the alerts that fire, in the snapshot's order.
pub(crate) fn firing(snapshot: &Snapshot) -> Vec<&str> {
    let names = snapshot.alerts.iter().map(|alert| alert.name.as_str());
    names.collect()
}

/// The six sections, time and alerts of a snapshot, without the states of its sources and rules.
pub(crate) fn sections_of(snapshot: &Snapshot) -> Snapshot {
    let mut sections = Snapshot::empty(snapshot.at);
    sections.channels = snapshot.channels.clone();
    sections.envelopes = snapshot.envelopes.clone();
    sections.presence = snapshot.presence.clone();
    sections.history = snapshot.history.clone();
    sections.tokens = snapshot.tokens.clone();
    sections.cache = snapshot.cache.clone();
    sections.alerts.clone_from(&snapshot.alerts);
    sections.unmeasured.clone_from(&snapshot.unmeasured);
    sections
}

/// Renders a snapshot of its own as UTF-8 text.
pub(crate) fn page(aggregator: &Aggregator, format: Format) -> String {
    String::from_utf8(aggregator.render(format)).expect("pages are UTF-8")
}

/// Takes a snapshot by way of the JSON page.
pub(crate) fn json(aggregator: &Aggregator) -> Snapshot {
    let page = page(aggregator, Format::Json);
    serde_json::from_str(&page).expect(&page)
}

/// Renders a snapshot that was built by hand.
pub(crate) fn render(format: Format, snapshot: &Snapshot) -> String {
    String::from_utf8(format.render(snapshot)).expect("pages are UTF-8")
}
