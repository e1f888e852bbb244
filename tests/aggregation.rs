//! Several sources become one snapshot.
//!
//! Properties:
//!
//! 1. Counts are summed and saturate at 2^63 − 1. Rates and percentages are averaged over the sources that report the
//!    section, zeros included.
//! 2. A float that is not finite counts as not reported. Without a value, the float of a snapshot is NaN.
//! 3. A snapshot is dated by the aggregator's clock.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use common::counters::{envelopes_on, tokens_on};
use common::sources::{Reports, everything, snapshot_of};
use common::{SECOND, counts, firing, render, sections_of};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, ChannelStats, CoarseClock, EnvelopeStats, Format,
    HistoryStats, ManualClock, PresenceStats, Section, Severity, Snapshot, TokenStats,
};

/// Unknown is not zero: a section that no source measures read as zero.
#[test]
fn aggregator_without_reports_measures_nothing() {
    let clock = ManualClock::new();
    let snapshot = Aggregator::new().clock(clock.clock()).snapshot();
    assert_eq!(sections_of(&snapshot), Snapshot::empty(clock.now()));
    // Two sources that report nothing read the same.
    let snapshot = snapshot_of([Reports::default(), Reports::default()]);
    assert_eq!(snapshot, Snapshot::empty(snapshot.at));
    assert_eq!(snapshot.unmeasured, Section::ALL.map(Section::as_str));
    assert_eq!((snapshot.channels, snapshot.tokens), (ChannelStats::default(), TokenStats::default()));
    assert!(snapshot.envelopes.rate_per_second.is_nan());
    assert!(snapshot.presence.average_per_channel.is_nan());
    assert!(snapshot.history.buffer_utilization_pct.is_nan());
    assert!(snapshot.cache.hit_rate_pct.is_nan());
}

#[test]
fn section_is_measured_if_one_source_reports_it() {
    let presence = Reports { presence: Some(PresenceStats::default()), ..Default::default() };
    let snapshot = snapshot_of([Reports::default(), presence, Reports::default()]);
    for section in Section::ALL {
        assert_eq!(snapshot.is_measured(section), section == Section::Presence, "{section:?}");
    }
    assert_eq!(snapshot.unmeasured, ["channels", "envelopes", "history", "tokens", "cache"]);
    // A page would show the sign of -0.0.
    assert_eq!(snapshot.presence.average_per_channel.to_bits(), 0.0f64.to_bits());
}

/// Unknown is not zero: a rule on a value that nothing measures fired.
#[test]
fn rule_does_not_fire_on_a_float_without_a_value() {
    let rules = [
        AlertRule::new("lt", Severity::Info, |s| s.cache.hit_rate_pct < 80.0),
        AlertRule::new("le", Severity::Info, |s| s.presence.average_per_channel <= 0.0),
        AlertRule::new("eq", Severity::Info, |s| s.envelopes.rate_per_second == 0.0),
        AlertRule::new("ge", Severity::Info, |s| s.history.buffer_utilization_pct >= 0.0),
        AlertRule::new("gt", Severity::Info, |s| s.cache.hit_rate_pct > 0.0),
        AlertRule::new("count", Severity::Info, |s| s.is_measured(Section::Tokens) && s.tokens.active_count == 0),
    ];
    let unknown = everything(1, f64::NAN, "one");
    for source in [Reports::default(), Reports { tokens: None, ..unknown }] {
        let aggregator = Aggregator::new().source(source).with_alerts(rules.to_vec()).expect("valid rules");
        assert_eq!(aggregator.snapshot().alerts, []);
    }
    let zeros = everything(0, 0.0, "one");
    let aggregator = Aggregator::new().source(zeros).with_alerts(rules.to_vec()).expect("valid rules");
    assert_eq!(firing(&aggregator.snapshot()), ["count", "eq", "ge", "le", "lt"]);
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
        at: snapshot.at,
        started_at: snapshot.at,
        ..Snapshot::default()
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

/// Unknown is not zero: a cache without lookups halved the hit rate of the other.
#[test]
fn cache_without_lookups_takes_no_part_in_the_average() {
    let clock = ManualClock::new();
    let cache = |hits, misses| {
        let counters = move || CacheCounters { hits, misses, size_bytes: 8, ..Default::default() };
        CacheSource::new(counters).clock(clock.clock())
    };
    let idle = Aggregator::new().source(cache(0, 0));
    let snapshot = idle.clone().source(cache(9, 1)).snapshot();
    assert_eq!((snapshot.cache.hit_rate_pct, snapshot.cache.size_bytes), (90.0, 16));
    let snapshot = idle.clone().source(cache(0, 1)).snapshot();
    assert_eq!(snapshot.cache.hit_rate_pct.to_bits(), 0.0f64.to_bits());

    let snapshot = idle.source(cache(0, 0)).snapshot();
    assert!(snapshot.cache.hit_rate_pct.is_nan() && snapshot.is_measured(Section::Cache));
    assert_eq!(snapshot.unmeasured.last().map(String::as_str), Some("cache.hit_rate_pct"));
    let page = render(Format::Prometheus, &snapshot);
    assert!(page.contains("\nparsec_telemetry_cache_size_bytes 16\n") && !page.contains("hit_rate"), "{page}");
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
        assert!(alone.envelopes.rate_per_second.is_nan());
        assert!(alone.presence.average_per_channel.is_nan());
        assert!(alone.history.buffer_utilization_pct.is_nan());
        assert!(alone.cache.hit_rate_pct.is_nan());
        let floats = [
            "envelopes.rate_per_second",
            "presence.average_per_channel",
            "history.buffer_utilization_pct",
            "cache.hit_rate_pct",
        ];
        assert_eq!(alone.unmeasured, floats);
        let summed = Aggregator::new().source(everything(1, bad, "one")).sum_envelope_rates().snapshot();
        assert!(summed.envelopes.rate_per_second.is_nan());
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
fn counts_saturate_at_the_largest_signed_integer() {
    const MOST: u64 = (1 << 63) - 1;
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
    for snapshot in [snapshot_of([most()]), snapshot_of([most(), most()])] {
        assert_eq!(snapshot.channels.total_active, MOST);
        assert_eq!(snapshot.channels.by_pattern, counts(&[("p", MOST), ("q", MOST)]));
        assert_eq!(snapshot.envelopes.by_aspect["p"], MOST);
        assert_eq!((snapshot.presence.total_users, snapshot.presence.total_agents), (MOST, MOST));
        assert_eq!(snapshot.history.total_envelopes_buffered, MOST);
        let expected = TokenStats { issued_last_hour: MOST, revoked_last_hour: MOST, active_count: i64::MAX };
        assert_eq!(snapshot.tokens, expected);
        assert_eq!(snapshot.cache.size_bytes, MOST);
        assert_eq!(snapshot.cache.size_entries, MOST);
        assert_eq!(snapshot.cache.evictions_last_hour, MOST);
    }
    // The sum of two counts, each of which is in range.
    let half = || Reports { presence: Some(PresenceStats { total_users: 1 << 62, ..Default::default() }), ..most() };
    assert_eq!(snapshot_of([half(), half()]).presence.total_users, MOST);
}

/// A pattern of 10,000 bytes made Prometheus refuse the whole target.
#[test]
fn long_pattern_and_long_aspect_are_cut_and_counts_of_equal_keys_are_summed() {
    let limit = "p".repeat(128);
    for long in ["p".repeat(129), "é".repeat(5_000), "\u{1f980}".repeat(33)] {
        let report = |key: &str| Reports {
            channels: Some(ChannelStats { total_active: 5, by_pattern: counts(&[(key, 2), (&limit, 3)]) }),
            envelopes: Some(EnvelopeStats { by_aspect: counts(&[(key, 4)]), ..Default::default() }),
            ..Default::default()
        };
        let snapshot = snapshot_of([report(&long), report(&long)]);
        let keys: Vec<&String> = snapshot.channels.by_pattern.keys().collect();
        let cut = keys.iter().find(|key| ***key != limit).expect("two keys");
        assert!(keys.len() == 2 && cut.len() <= 128, "{keys:?}");
        let (start, hash) = cut.rsplit_once('~').expect("a hash");
        assert!(long.starts_with(start) && start.len() > 111 - 4 && start.len() <= 111, "{cut}");
        assert!(hash.len() == 16 && u64::from_str_radix(hash, 16).is_ok(), "{cut}");
        assert_eq!((snapshot.channels.by_pattern[*cut], snapshot.channels.by_pattern[&limit]), (4, 6));
        assert_eq!(snapshot.envelopes.by_aspect, counts(&[(cut, 8)]));
        // A key that equals the one that was cut.
        let snapshot = snapshot_of([report(&long), report(cut)]);
        assert_eq!(snapshot.channels.by_pattern[*cut], 4);
    }
    let patterns = [format!("{}a", "p".repeat(200)), format!("{}b", "p".repeat(200))];
    let by_pattern = counts(&[(&patterns[0], 1), (&patterns[1], 2)]);
    let channels = Some(ChannelStats { total_active: 3, by_pattern });
    assert_eq!(snapshot_of([Reports { channels, ..Default::default() }]).channels.by_pattern.len(), 2);
}

#[test]
fn long_source_name_is_cut_and_stays_unique() {
    let (long, limit) = ("n".repeat(300), "m".repeat(128));
    let aggregator = [&long, &long, &limit, &limit]
        .into_iter()
        .fold(Aggregator::new(), |aggregator, name| aggregator.named_source(name.clone(), Reports::default()));
    let sources = aggregator.snapshot().sources;
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.len() <= 128), "{names:?}");
    assert_eq!(sources[2].name, limit);
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
