//! A snapshot that is rendered as JSON reads back equal.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::time::{Duration, SystemTime};

use common::counters::{envelopes_on, tokens_on};
use common::sources::{Channels, hit_rate};
use common::{counts, render};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelSource, ChannelStats, EnvelopeStats, FiringAlert, Format, HistoryStats,
    ManualClock, PresenceStats, Severity, Snapshot, TokenStats,
};

fn read_back(snapshot: &Snapshot) -> Snapshot {
    let page = render(Format::Json, snapshot);
    assert!(page.ends_with("}\n"));
    serde_json::from_str(&page).expect(&page)
}

#[test]
fn snapshot_with_extreme_values_reads_back() {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789);
    let awkward = counts(&[
        ("", 0),
        ("\"quoted\\\"", 1),
        ("line\nbreak\ttab\u{0}\u{1f}", 2),
        ("ünïcödé 日本 🦀", (1 << 63) - 1),
        ("</script>", (1 << 63) - 2),
    ]);
    let alert = |name: &str, severity, description: &str| FiringAlert {
        name: name.to_owned(),
        severity,
        description: description.to_owned(),
        at,
        since: at,
    };
    let mut snapshot = Snapshot {
        channels: ChannelStats { total_active: (1 << 63) - 1, by_pattern: awkward.clone() },
        envelopes: EnvelopeStats { rate_per_second: 0.1 + 0.2, by_aspect: awkward },
        presence: PresenceStats { total_users: 1, total_agents: 1 << 62, average_per_channel: f64::MIN_POSITIVE },
        history: HistoryStats { total_envelopes_buffered: (1 << 53) + 1, buffer_utilization_pct: 5e-324 },
        tokens: TokenStats { issued_last_hour: 7, revoked_last_hour: 0, active_count: i64::MIN },
        cache: CacheStats { hit_rate_pct: f64::MAX, size_bytes: 3, size_entries: 0, evictions_last_hour: 9 },
        at,
        started_at: at,
        ..Snapshot::default()
    };
    snapshot.alerts = vec![alert("\"a\"\n", Severity::Info, ""), alert("b", Severity::Critical, "über \\ 80 %")];
    assert_eq!(read_back(&snapshot), snapshot);
    assert_eq!(read_back(&Snapshot::default()), Snapshot::default());
    // A section reads back by itself, too, with its omitted fields.
    let stats = serde_json::to_string(&snapshot.envelopes).expect("JSON");
    assert_eq!(serde_json::from_str::<EnvelopeStats>(&stats).expect("reads back"), snapshot.envelopes);
}

/// Rates are events divided by 60, and percentages hits divided by lookups.
#[test]
fn rates_and_percentages_read_back_to_the_last_digit() {
    let rates = (1..3000u32).map(|events| f64::from(events) / 60.0);
    let percentages = (1..300u32)
        .flat_map(|lookups| (1..lookups).step_by(7).map(move |hits| (hits, lookups)))
        .map(|(hits, lookups)| 100.0 * f64::from(hits) / f64::from(lookups));
    let mut wrong = Vec::new();
    for float in rates.chain(percentages) {
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = float;
        let read = read_back(&snapshot).envelopes.rate_per_second;
        if read != float {
            wrong.push((float, read));
        }
    }
    let some: Vec<_> = wrong.iter().take(5).collect();
    assert!(wrong.is_empty(), "{} read back different: {some:?}…", wrong.len());
}

#[test]
fn snapshot_of_an_aggregator_reads_back() {
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock);
    let tokens = tokens_on(&clock);
    let mut burst = 7;
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(ChannelSource::new(Channels(vec![("a", "public:*"), ("b", "")])))
        .source(hit_rate(100.0 / 3.0))
        .clock(clock.clock())
        .with_alerts(vec![AlertRule::new("always", Severity::Warning, |_| true).description("Always")])
        .expect("valid rules");
    for step in 0..200u32 {
        burst = burst * 31 % 101;
        for _ in 0..burst {
            envelopes.observe("data");
        }
        tokens.revoked();
        clock.advance(Duration::from_nanos(314_159_265));
        let snapshot = aggregator.snapshot();
        assert_eq!(read_back(&snapshot), snapshot, "step {step}");
    }
}
