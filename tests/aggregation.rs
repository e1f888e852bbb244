//! Several sources become one snapshot.
//!
//! Properties:
//!
//! 1. Counts are summed and saturate. Rates and percentages are averaged over the sources that report the section,
//!    zeros included.
//! 2. A float that is not finite counts as not reported.
//! 3. A snapshot is dated by the aggregator's clock.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::time::{Duration, SystemTime};

use common::counters::{envelopes_on, tokens_on};
use common::sources::{Reports, everything, snapshot_of};
use common::{SECOND, counts, sections_of};
use parsec_telemetry::{
    Aggregator, CacheStats, ChannelStats, CoarseClock, EnvelopeStats, HistoryStats, ManualClock, PresenceStats,
    Snapshot, TokenStats,
};

#[test]
fn aggregator_without_reports_reads_zero() {
    let clock = ManualClock::new();
    let snapshot = Aggregator::new().clock(clock.clock()).snapshot();
    assert_eq!(sections_of(&snapshot), Snapshot::empty(clock.now()));
    // Two sources that report nothing read the same. A page would show the sign of -0.0.
    let snapshot = snapshot_of([Reports::default(), Reports::default()]);
    assert_eq!(snapshot, Snapshot::empty(snapshot.at));
    assert!(snapshot.envelopes.rate_per_second.is_sign_positive());
    assert!(snapshot.cache.hit_rate_pct.is_sign_positive());
}

/// Property 1.
#[test]
fn reports_of_two_sources_are_summed_and_averaged() {
    let snapshot = snapshot_of([everything(3, 20.0, "one"), everything(4, 50.0, "other")]);
    let expected = Snapshot {
        channels: ChannelStats { total_active: 7, by_pattern: counts(&[("both", 2), ("one", 3), ("other", 4)]) },
        envelopes: EnvelopeStats { rate_per_second: 35.0, by_aspect: counts(&[("both", 4), ("one", 3), ("other", 4)]) },
        presence: PresenceStats { total_users: 7, total_agents: 70, average_per_channel: 35.0 },
        history: HistoryStats { total_envelopes_buffered: 7, buffer_utilization_pct: 35.0 },
        tokens: TokenStats { issued_last_hour: 7, revoked_last_hour: 70, active_count: -7 },
        cache: CacheStats { hit_rate_pct: 35.0, size_bytes: 7, size_entries: 70, evictions_last_hour: 700 },
        ..Snapshot::empty(snapshot.at)
    };
    assert_eq!(snapshot, expected);
}

#[test]
fn report_of_a_single_source_is_unchanged() {
    let source = everything(5, 0.1 + 0.2, "one");
    let snapshot = snapshot_of([source.clone()]);
    assert_eq!(Some(snapshot.channels), source.channels);
    assert_eq!(Some(snapshot.envelopes), source.envelopes);
    assert_eq!(Some(snapshot.presence), source.presence);
    assert_eq!(Some(snapshot.history), source.history);
    assert_eq!(Some(snapshot.tokens), source.tokens);
    assert_eq!(Some(snapshot.cache), source.cache);
}

/// Property 1.
#[test]
fn average_includes_zeros_and_excludes_absent_sections() {
    let snapshot = snapshot_of([
        everything(1, 90.0, "one"),
        everything(0, 0.0, "one"),
        Reports::default(),
        Reports { presence: Some(PresenceStats::default()), ..Default::default() },
    ]);
    assert_eq!(snapshot.envelopes.rate_per_second, 45.0);
    assert_eq!(snapshot.history.buffer_utilization_pct, 45.0);
    assert_eq!(snapshot.cache.hit_rate_pct, 45.0);
    assert_eq!(snapshot.presence.average_per_channel, 30.0);
}

#[test]
fn sum_envelope_rates_sums_envelope_rates_only() {
    let aggregator = Aggregator::new()
        .source(everything(1, 30.0, "one"))
        .sum_envelope_rates()
        .source(everything(1, 10.0, "one"))
        .source(everything(1, f64::NAN, "one"))
        .source(Reports::default());
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.envelopes.rate_per_second, 40.0);
    assert_eq!(snapshot.presence.average_per_channel, 20.0);
    assert_eq!(snapshot.history.buffer_utilization_pct, 20.0);
    assert_eq!(snapshot.cache.hit_rate_pct, 20.0);
    assert_eq!(aggregator.clone().snapshot().envelopes.rate_per_second, 40.0);
}

/// Property 2.
#[test]
fn float_that_is_not_finite_is_excluded_and_its_counts_are_included() {
    for bad in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let snapshot = snapshot_of([everything(1, 20.0, "one"), everything(2, bad, "one"), everything(4, 0.0, "one")]);
        assert_eq!(snapshot.envelopes.rate_per_second, 10.0);
        assert_eq!(snapshot.presence.average_per_channel, 10.0);
        assert_eq!(snapshot.history.buffer_utilization_pct, 10.0);
        assert_eq!(snapshot.cache.hit_rate_pct, 10.0);
        assert_eq!(snapshot.envelopes.by_aspect["one"], 7);
        assert_eq!(snapshot.cache.size_bytes, 7);

        let alone = snapshot_of([everything(1, bad, "one")]);
        assert_eq!(alone.envelopes.rate_per_second, 0.0);
        assert_eq!(alone.cache.hit_rate_pct, 0.0);
        let summed = Aggregator::new().source(everything(1, bad, "one")).sum_envelope_rates().snapshot();
        assert_eq!(summed.envelopes.rate_per_second, 0.0);
    }
}

#[test]
fn averages_and_sums_of_large_floats_stay_finite() {
    let snapshot = snapshot_of([everything(1, f64::MAX, "one"), everything(1, f64::MAX, "one")]);
    assert_eq!(snapshot.envelopes.rate_per_second, f64::MAX);
    let summed = Aggregator::new()
        .source(everything(1, f64::MAX, "one"))
        .source(everything(1, f64::MAX, "one"))
        .sum_envelope_rates();
    assert_eq!(summed.snapshot().envelopes.rate_per_second, f64::MAX);
}

/// Property 1.
#[test]
fn counts_saturate_at_the_maximum() {
    let most = || Reports {
        channels: Some(ChannelStats {
            total_active: u64::MAX,
            by_pattern: counts(&[("p", u64::MAX - 1), ("q", u64::MAX)]),
        }),
        envelopes: Some(EnvelopeStats { by_aspect: counts(&[("p", u64::MAX)]), ..Default::default() }),
        presence: Some(PresenceStats { total_users: u64::MAX, total_agents: u64::MAX / 2, ..Default::default() }),
        history: Some(HistoryStats { total_envelopes_buffered: u64::MAX, ..Default::default() }),
        tokens: Some(TokenStats { issued_last_hour: u64::MAX, revoked_last_hour: u64::MAX, active_count: i64::MAX }),
        cache: Some(CacheStats {
            size_bytes: u64::MAX,
            size_entries: u64::MAX,
            evictions_last_hour: u64::MAX,
            ..Default::default()
        }),
    };
    let snapshot = snapshot_of([most(), most()]);
    assert_eq!(snapshot.channels.total_active, u64::MAX);
    assert_eq!(snapshot.channels.by_pattern, counts(&[("p", u64::MAX), ("q", u64::MAX)]));
    assert_eq!(snapshot.envelopes.by_aspect["p"], u64::MAX);
    assert_eq!(snapshot.presence.total_users, u64::MAX);
    assert_eq!(snapshot.presence.total_agents, u64::MAX - 1);
    assert_eq!(snapshot.history.total_envelopes_buffered, u64::MAX);
    let expected = TokenStats { issued_last_hour: u64::MAX, revoked_last_hour: u64::MAX, active_count: i64::MAX };
    assert_eq!(snapshot.tokens, expected);
    assert_eq!(snapshot.cache.size_bytes, u64::MAX);
    assert_eq!(snapshot.cache.size_entries, u64::MAX);
    assert_eq!(snapshot.cache.evictions_last_hour, u64::MAX);
}

#[test]
fn active_count_saturates_at_both_ends_in_any_order() {
    let active = |active_count| Reports {
        tokens: Some(TokenStats { active_count, ..Default::default() }),
        ..Default::default()
    };
    let sum = |counts: [i64; 3]| snapshot_of(counts.map(active)).tokens.active_count;
    assert_eq!(sum([i64::MIN, -1, 0]), i64::MIN);
    assert_eq!(sum([i64::MAX, 1, 0]), i64::MAX);
    for order in [[i64::MAX, 1, -1], [1, i64::MAX, -1], [-1, 1, i64::MAX], [1, -1, i64::MAX]] {
        assert_eq!(sum(order), i64::MAX);
    }
    for order in [[i64::MIN, -5, 6], [-5, i64::MIN, 6], [6, -5, i64::MIN]] {
        assert_eq!(sum(order), i64::MIN + 1);
    }
}

#[test]
fn counters_in_several_sources_are_added_up() {
    let clock = ManualClock::new();
    let (one, other) = (envelopes_on(&clock), envelopes_on(&clock));
    let tokens = tokens_on(&clock);
    for _ in 0..40 {
        one.observe("data");
    }
    other.observe("data");
    other.observe("cursor");
    tokens.issued();
    clock.advance(2 * SECOND);
    let aggregator = Aggregator::new().source(one).source(other).source(tokens);
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.envelopes.by_aspect, counts(&[("cursor", 1), ("data", 41)]));
    assert_eq!(snapshot.envelopes.rate_per_second, 10.5);
    assert_eq!(aggregator.sum_envelope_rates().snapshot().envelopes.rate_per_second, 21.0);
    assert_eq!(snapshot.tokens.active_count, 1);
}

/// Property 3.
#[test]
fn snapshot_is_dated_by_the_given_clock() {
    let clock = ManualClock::new();
    let aggregator = Aggregator::new().clock(clock.clock());
    assert_eq!(aggregator.snapshot().at, clock.now());
    clock.advance(Duration::new(7, 1));
    assert_eq!(aggregator.snapshot().at, clock.now());
    assert_eq!(aggregator.clone().snapshot().at, clock.now());
}

#[test]
fn snapshot_without_a_given_clock_is_dated_by_the_system() {
    let before = SystemTime::now();
    let at = Aggregator::new().snapshot().at;
    assert!((before..=SystemTime::now()).contains(&at));
    let at = Aggregator::new().clock(CoarseClock::shared()).snapshot().at;
    assert!((before..=SystemTime::now()).contains(&at));
}
