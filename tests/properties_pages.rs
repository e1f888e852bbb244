//! Any snapshot survives both pages.
//!
//! Properties:
//!
//! 1. The JSON page reads back as the same snapshot, floats to the last bit, and counts up to 2^63 − 1. A float that
//!    is not finite reads back as NaN.
//! 2. The text page holds finite numbers only, and its floats read back the same. A float that is not finite is
//!    omitted.
//!
//! See [`config`] for where failures are kept.

mod common;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use common::render;
use common::strategies::config;
use parsec_telemetry::{
    CacheStats, ChannelStats, EnvelopeStats, FiringAlert, Format, HistoryStats, PresenceStats, Severity, Snapshot,
    TokenStats,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// Of any characters, control characters and those beyond the basic plane included.
fn texts() -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

/// Of any bit pattern, and of the magnitude that pages show.
fn finite_floats() -> BoxedStrategy<f64> {
    let any_finite =
        any::<u64>().prop_filter_map("finite", |bits| Some(f64::from_bits(bits)).filter(|float| float.is_finite()));
    prop_oneof![
        any_finite,
        (0..1_000_000u32).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        select(vec![0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324]),
    ]
    .boxed()
}

fn any_floats() -> BoxedStrategy<f64> {
    let not_finite = select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    prop_oneof![finite_floats(), not_finite].boxed()
}

/// From the start of the year 0 to the last time that jiff can format, two hours into 30 December 9999.
fn page_times() -> impl Strategy<Value = SystemTime> + Clone {
    (-62_167_219_200..=253_402_207_200i64, 0..1_000_000_000u32).prop_map(|(secs, nanos)| {
        let epoch = SystemTime::UNIX_EPOCH;
        let whole = Duration::from_secs(secs.unsigned_abs());
        let whole = if secs < 0 { epoch - whole } else { epoch + whole };
        whole + Duration::from_nanos(nanos.into())
    })
}

fn snapshots(floats: &BoxedStrategy<f64>) -> impl Strategy<Value = Snapshot> + use<> {
    // Larger counts are written as 2^63 − 1.
    let count = || 0..1u64 << 63;
    let counts = || btree_map(texts(), 0..1u64 << 63, 0..5);
    let channels = (count(), counts()).prop_map(|(total_active, by_pattern)| ChannelStats { total_active, by_pattern });
    let envelopes = (floats.clone(), counts())
        .prop_map(|(rate_per_second, by_aspect)| EnvelopeStats { rate_per_second, by_aspect });
    let presence =
        ([count(), count()], floats.clone()).prop_map(|([total_users, total_agents], average_per_channel)| {
            PresenceStats { total_users, total_agents, average_per_channel }
        });
    let history = (count(), floats.clone()).prop_map(|(total_envelopes_buffered, buffer_utilization_pct)| {
        HistoryStats { total_envelopes_buffered, buffer_utilization_pct }
    });
    let tokens =
        ([count(), count()], any::<i64>()).prop_map(|([issued_last_hour, revoked_last_hour], active_count)| {
            TokenStats { issued_last_hour, revoked_last_hour, active_count }
        });
    let cache = (floats.clone(), [count(), count()], 0..3u64).prop_map(
        |(hit_rate_pct, [size_bytes, evictions_last_hour], size_entries)| CacheStats {
            hit_rate_pct,
            size_bytes,
            size_entries,
            evictions_last_hour,
        },
    );
    let alert = (texts(), select(Severity::ALL.to_vec()), texts(), page_times());
    let alert =
        alert.prop_map(|(name, severity, description, at)| FiringAlert { name, severity, description, at, since: at });
    let alerts = vec(alert, 0..3);
    let sections = (channels, envelopes, presence, history, tokens, cache);
    (sections, page_times(), alerts).prop_map(|(sections, at, alerts)| {
        let mut snapshot = Snapshot { at, started_at: at, ..Snapshot::default() };
        (snapshot.channels, snapshot.envelopes, snapshot.presence) = (sections.0, sections.1, sections.2);
        (snapshot.history, snapshot.tokens, snapshot.cache) = (sections.3, sections.4, sections.5);
        snapshot.alerts = alerts;
        snapshot
    })
}

fn floats(snapshot: &mut Snapshot) -> [&mut f64; 4] {
    [
        &mut snapshot.envelopes.rate_per_second,
        &mut snapshot.presence.average_per_channel,
        &mut snapshot.history.buffer_utilization_pct,
        &mut snapshot.cache.hit_rate_pct,
    ]
}

/// The floats that should read back, as bits: a zero keeps its sign.
fn reported(snapshot: &mut Snapshot) -> [Option<u64>; 4] {
    floats(snapshot).map(|float| float.is_finite().then(|| float.to_bits()))
}

proptest! {
    #![proptest_config(config())]

    /// Property 1.
    #[test]
    fn json_page_of_any_snapshot_reads_back(mut snapshot in snapshots(&any_floats())) {
        let page = render(Format::Json, &snapshot);
        let value = serde_json::to_value(&snapshot).expect("JSON");
        let expected = reported(&mut snapshot);
        let mut read: Snapshot = serde_json::from_str(&page).expect("JSON");
        prop_assert_eq!(reported(&mut read), expected);
        prop_assert_eq!(read.unmeasured.len(), expected.iter().filter(|float| float.is_none()).count());
        prop_assert_eq!(&read, &snapshot);
        prop_assert_eq!(&serde_json::from_value::<Snapshot>(value).expect("JSON"), &snapshot);
        // And it renders as the same page again.
        prop_assert_eq!(render(Format::Json, &read), render(Format::Json, &snapshot));
    }

    /// Property 2.
    #[test]
    fn text_page_of_any_snapshot_holds_finite_numbers(mut snapshot in snapshots(&any_floats())) {
        let page = render(Format::Prometheus, &snapshot);
        let expected = reported(&mut snapshot);
        let mut samples = HashMap::new();
        // Not `lines`, which would drop a carriage return at the end of a label.
        for line in page.split_terminator('\n').filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a name and a value");
            let number: f64 = value.parse().expect("a number");
            prop_assert!(number.is_finite(), "{line}");
            samples.insert(series, number.to_bits());
        }
        let read = [
            "parsec_telemetry_envelope_rate_per_second",
            "parsec_telemetry_presence_average_per_channel",
            "parsec_telemetry_history_buffer_utilization_pct",
            "parsec_telemetry_cache_hit_rate_pct",
        ];
        prop_assert_eq!(read.map(|series| samples.get(series).copied()), expected);
    }
}
