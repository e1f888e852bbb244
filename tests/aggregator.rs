//! Many sources and rules become one snapshot, whatever they say and however they fail.
//!
//! The laws:
//!
//! 1. Counts are summed, and saturate. Rates and percentages are averaged over the sources that report the section,
//!    zeros included; a float that is not finite counts as not reported.
//! 2. A source or a rule that panics is caught, counted and skipped, and the rest is right.
//! 3. Every rule has a name of its own; those that fire are sorted by it, dated by the snapshot, and see it before any
//!    has fired.
//! 4. A cache's numbers are those of the sixty minutes before the snapshot, read off its ever-growing counters.
//! 5. A snapshot that is written as JSON reads back equal.

#![allow(
    clippy::float_cmp,
    reason = "that the numbers are exact is what is tested"
)]

mod common;

use std::collections::BTreeMap;
use std::panic::panic_any;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{Reports, hit_rate};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, CacheStatter, ChannelEntry,
    ChannelLister, ChannelSource, ChannelStats, CoarseClock, EnvelopeCounters, EnvelopeStats,
    FiringAlert, Format, HistoryStats, ManualClock, PresenceStats, Severity, Snapshot, Source,
    TokenCounters, TokenStats, evaluate_alerts, validate_alert_rules,
};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = pairs.iter().map(|&(key, count)| (key.to_owned(), count));
    owned.collect()
}

/// A source that reports every section.
fn everything(count: u64, float: f64, key: &str) -> Reports {
    Reports {
        channels: Some(ChannelStats {
            total_active: count,
            by_pattern: counts(&[(key, count), ("both", 1)]),
        }),
        envelopes: Some(EnvelopeStats {
            rate_per_second: float,
            by_aspect: counts(&[(key, count), ("both", 2)]),
        }),
        presence: Some(PresenceStats {
            total_users: count,
            total_agents: 10 * count,
            average_per_channel: float,
        }),
        history: Some(HistoryStats {
            total_envelopes_buffered: count,
            buffer_utilization_pct: float,
        }),
        tokens: Some(TokenStats {
            issued_last_hour: count,
            revoked_last_hour: 10 * count,
            active_count: -i64::try_from(count).expect("a small count"),
        }),
        cache: Some(CacheStats {
            hit_rate_pct: float,
            size_bytes: count,
            size_entries: 10 * count,
            evictions_last_hour: 100 * count,
        }),
    }
}

fn snapshot_of<const N: usize>(sources: [Reports; N]) -> Snapshot {
    let aggregator = sources
        .into_iter()
        .fold(Aggregator::new(), Aggregator::source);
    aggregator.clock(ManualClock::new().clock()).snapshot()
}

// Sums and averages

#[test]
fn nothing_reads_zero() {
    let clock = ManualClock::new();
    let snapshot = Aggregator::new().clock(clock.clock()).snapshot();
    assert_eq!(snapshot, Snapshot::empty(clock.now()));
    // Sources that report nothing are as good as none, and -0.0 is not as good as 0.0.
    let snapshot = snapshot_of([Reports::default(), Reports::default()]);
    assert_eq!(snapshot, Snapshot::empty(snapshot.at));
    assert!(snapshot.envelopes.rate_per_second.is_sign_positive());
    assert!(snapshot.cache.hit_rate_pct.is_sign_positive());
}

#[test]
fn counts_are_summed_and_floats_are_averaged() {
    let snapshot = snapshot_of([everything(3, 20.0, "one"), everything(4, 50.0, "other")]);
    let expected = Snapshot {
        channels: ChannelStats {
            total_active: 7,
            by_pattern: counts(&[("both", 2), ("one", 3), ("other", 4)]),
        },
        envelopes: EnvelopeStats {
            rate_per_second: 35.0,
            by_aspect: counts(&[("both", 4), ("one", 3), ("other", 4)]),
        },
        presence: PresenceStats {
            total_users: 7,
            total_agents: 70,
            average_per_channel: 35.0,
        },
        history: HistoryStats {
            total_envelopes_buffered: 7,
            buffer_utilization_pct: 35.0,
        },
        tokens: TokenStats {
            issued_last_hour: 7,
            revoked_last_hour: 70,
            active_count: -7,
        },
        cache: CacheStats {
            hit_rate_pct: 35.0,
            size_bytes: 7,
            size_entries: 70,
            evictions_last_hour: 700,
        },
        ..Snapshot::empty(snapshot.at)
    };
    assert_eq!(snapshot, expected);
}

#[test]
fn one_source_is_passed_on_as_it_is() {
    let source = everything(5, 0.1 + 0.2, "one");
    let snapshot = snapshot_of([source.clone()]);
    assert_eq!(Some(snapshot.channels), source.channels);
    assert_eq!(Some(snapshot.envelopes), source.envelopes);
    assert_eq!(Some(snapshot.presence), source.presence);
    assert_eq!(Some(snapshot.history), source.history);
    assert_eq!(Some(snapshot.tokens), source.tokens);
    assert_eq!(Some(snapshot.cache), source.cache);
}

#[test]
fn zeros_are_averaged_and_sections_not_reported_are_not() {
    let snapshot = snapshot_of([
        everything(1, 90.0, "one"),
        everything(0, 0.0, "one"),
        Reports::default(),
        Reports {
            presence: Some(PresenceStats::default()),
            ..Default::default()
        },
    ]);
    assert_eq!(snapshot.envelopes.rate_per_second, 45.0);
    assert_eq!(snapshot.history.buffer_utilization_pct, 45.0);
    assert_eq!(snapshot.cache.hit_rate_pct, 45.0);
    assert_eq!(snapshot.presence.average_per_channel, 30.0);
}

#[test]
fn envelope_rates_are_summed_on_demand_and_nothing_else_is() {
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
    assert_eq!(
        aggregator.clone().snapshot().envelopes.rate_per_second,
        40.0
    );
}

#[test]
fn a_float_that_is_not_finite_counts_as_not_reported_and_its_counts_do_count() {
    for bad in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let snapshot = snapshot_of([
            everything(1, 20.0, "one"),
            everything(2, bad, "one"),
            everything(4, 0.0, "one"),
        ]);
        assert_eq!(snapshot.envelopes.rate_per_second, 10.0);
        assert_eq!(snapshot.presence.average_per_channel, 10.0);
        assert_eq!(snapshot.history.buffer_utilization_pct, 10.0);
        assert_eq!(snapshot.cache.hit_rate_pct, 10.0);
        assert_eq!(snapshot.envelopes.by_aspect["one"], 7);
        assert_eq!(snapshot.cache.size_bytes, 7);

        let alone = snapshot_of([everything(1, bad, "one")]);
        assert_eq!(alone.envelopes.rate_per_second, 0.0);
        assert_eq!(alone.cache.hit_rate_pct, 0.0);
        let summed = Aggregator::new()
            .source(everything(1, bad, "one"))
            .sum_envelope_rates()
            .snapshot();
        assert_eq!(summed.envelopes.rate_per_second, 0.0);
    }
}

#[test]
fn averages_and_sums_of_great_floats_stay_finite() {
    let snapshot = snapshot_of([
        everything(1, f64::MAX, "one"),
        everything(1, f64::MAX, "one"),
    ]);
    assert_eq!(snapshot.envelopes.rate_per_second, f64::MAX);
    let summed = Aggregator::new()
        .source(everything(1, f64::MAX, "one"))
        .source(everything(1, f64::MAX, "one"))
        .sum_envelope_rates();
    assert_eq!(summed.snapshot().envelopes.rate_per_second, f64::MAX);
}

#[test]
fn sums_stop_at_the_greatest_number() {
    let most = || Reports {
        channels: Some(ChannelStats {
            total_active: u64::MAX,
            by_pattern: counts(&[("p", u64::MAX - 1), ("q", u64::MAX)]),
        }),
        envelopes: Some(EnvelopeStats {
            by_aspect: counts(&[("p", u64::MAX)]),
            ..Default::default()
        }),
        presence: Some(PresenceStats {
            total_users: u64::MAX,
            total_agents: u64::MAX / 2,
            ..Default::default()
        }),
        history: Some(HistoryStats {
            total_envelopes_buffered: u64::MAX,
            ..Default::default()
        }),
        tokens: Some(TokenStats {
            issued_last_hour: u64::MAX,
            revoked_last_hour: u64::MAX,
            active_count: i64::MAX,
        }),
        cache: Some(CacheStats {
            size_bytes: u64::MAX,
            size_entries: u64::MAX,
            evictions_last_hour: u64::MAX,
            ..Default::default()
        }),
    };
    let snapshot = snapshot_of([most(), most()]);
    assert_eq!(snapshot.channels.total_active, u64::MAX);
    assert_eq!(
        snapshot.channels.by_pattern,
        counts(&[("p", u64::MAX), ("q", u64::MAX)])
    );
    assert_eq!(snapshot.envelopes.by_aspect["p"], u64::MAX);
    assert_eq!(snapshot.presence.total_users, u64::MAX);
    assert_eq!(snapshot.presence.total_agents, u64::MAX - 1);
    assert_eq!(snapshot.history.total_envelopes_buffered, u64::MAX);
    let expected = TokenStats {
        issued_last_hour: u64::MAX,
        revoked_last_hour: u64::MAX,
        active_count: i64::MAX,
    };
    assert_eq!(snapshot.tokens, expected);
    assert_eq!(snapshot.cache.size_bytes, u64::MAX);
    assert_eq!(snapshot.cache.size_entries, u64::MAX);
    assert_eq!(snapshot.cache.evictions_last_hour, u64::MAX);
}

#[test]
fn signed_sums_stop_at_both_ends_and_do_not_mind_the_order() {
    let active = |active_count| Reports {
        tokens: Some(TokenStats {
            active_count,
            ..Default::default()
        }),
        ..Default::default()
    };
    let sum = |counts: [i64; 3]| snapshot_of(counts.map(active)).tokens.active_count;
    assert_eq!(sum([i64::MIN, -1, 0]), i64::MIN);
    assert_eq!(sum([i64::MAX, 1, 0]), i64::MAX);
    for order in [
        [i64::MAX, 1, -1],
        [1, i64::MAX, -1],
        [-1, 1, i64::MAX],
        [1, -1, i64::MAX],
    ] {
        assert_eq!(sum(order), i64::MAX);
    }
    for order in [[i64::MIN, -5, 6], [-5, i64::MIN, 6], [6, -5, i64::MIN]] {
        assert_eq!(sum(order), i64::MIN + 1);
    }
}

#[test]
fn the_crates_own_counters_add_up_across_sources() {
    let clock = ManualClock::new();
    let make = || EnvelopeCounters::builder().clock(clock.clock()).build();
    let (one, other) = (make(), make());
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    for _ in 0..40 {
        one.observe("data");
    }
    other.observe("data");
    other.observe("cursor");
    tokens.issued();
    clock.advance(2 * SECOND);
    let aggregator = Aggregator::new().source(one).source(other).source(tokens);
    let snapshot = aggregator.snapshot();
    assert_eq!(
        snapshot.envelopes.by_aspect,
        counts(&[("cursor", 1), ("data", 41)])
    );
    assert_eq!(snapshot.envelopes.rate_per_second, 10.5);
    assert_eq!(
        aggregator
            .sum_envelope_rates()
            .snapshot()
            .envelopes
            .rate_per_second,
        21.0
    );
    assert_eq!(snapshot.tokens.active_count, 1);
}

#[test]
fn a_snapshot_is_dated_by_the_clock_it_is_given() {
    let clock = ManualClock::new();
    let aggregator = Aggregator::new().clock(clock.clock());
    assert_eq!(aggregator.snapshot().at, clock.now());
    clock.advance(Duration::new(7, 1));
    assert_eq!(aggregator.snapshot().at, clock.now());
    assert_eq!(aggregator.clone().snapshot().at, clock.now());
}

#[test]
fn without_a_clock_a_snapshot_is_dated_by_the_system() {
    let before = SystemTime::now();
    let at = Aggregator::new().snapshot().at;
    assert!((before..=SystemTime::now()).contains(&at));
    let at = Aggregator::new().clock(CoarseClock::shared()).snapshot().at;
    assert!((before..=SystemTime::now()).contains(&at));
}

// Sources in all shapes

#[test]
fn a_source_comes_in_many_shapes() {
    static STANDING: Reports = Reports {
        channels: None,
        envelopes: None,
        presence: Some(PresenceStats {
            total_users: 1,
            total_agents: 0,
            average_per_channel: 1.0,
        }),
        history: None,
        tokens: None,
        cache: None,
    };
    let source = || everything(1, 1.0, "one");
    let expected = snapshot_of([source()]);
    let shared: Arc<dyn Source> = Arc::new(source());
    let boxed: Box<dyn Source> = Box::new(source());
    let optional: Option<Box<dyn Source>> = Some(Box::new(source()));
    let nested: Arc<Option<Arc<Reports>>> = Arc::new(Some(Arc::new(source())));
    let shapes: Vec<Box<dyn Source>> = vec![
        Box::new(source()),
        Box::new(Arc::new(source())),
        Box::new(shared),
        Box::new(boxed),
        Box::new(Box::new(source())),
        Box::new(Some(source())),
        Box::new(optional),
        Box::new(nested),
    ];
    let number = shapes.len();
    for shape in shapes {
        let clock = ManualClock::new();
        assert_eq!(
            Aggregator::new()
                .source(shape)
                .clock(clock.clock())
                .snapshot(),
            expected
        );
    }
    assert_eq!(number, 8);

    // Counted once through each reference to it.
    let by_reference = Aggregator::new().source(&STANDING).source(&STANDING);
    assert_eq!(by_reference.snapshot().presence.total_users, 2);
    let absent: [Box<dyn Source>; 3] = [
        Box::new(None::<Reports>),
        Box::new(None::<Arc<dyn Source>>),
        Box::new(Arc::new(None::<CacheSource<fn() -> CacheCounters>>)),
    ];
    for absent in absent {
        assert_eq!(absent.cache(), None);
        // Not as a zero, that is: the average does not know of it.
        let aggregator = Aggregator::new().source(absent).source(hit_rate(90.0));
        assert_eq!(aggregator.snapshot().cache.hit_rate_pct, 90.0);
        assert_eq!(aggregator.source_panics(), 0);
    }
}

#[test]
fn a_source_by_itself_measures_nothing() {
    struct Silent;
    impl Source for Silent {}
    let silent: &dyn Source = &Silent;
    assert_eq!(silent.channels(), None);
    assert_eq!(silent.envelopes(), None);
    assert_eq!(silent.presence(), None);
    assert_eq!(silent.history(), None);
    assert_eq!(silent.tokens(), None);
    assert_eq!(silent.cache(), None);
}

#[test]
fn every_section_of_every_source_is_asked_once_a_snapshot() {
    #[derive(Default)]
    struct Asked(Mutex<Vec<&'static str>>);
    impl Asked {
        fn note<T>(&self, section: &'static str) -> Option<T> {
            self.0.lock().expect("no panic").push(section);
            None
        }
    }
    impl Source for Asked {
        fn channels(&self) -> Option<ChannelStats> {
            self.note("channels")
        }
        fn envelopes(&self) -> Option<EnvelopeStats> {
            self.note("envelopes")
        }
        fn presence(&self) -> Option<PresenceStats> {
            self.note("presence")
        }
        fn history(&self) -> Option<HistoryStats> {
            self.note("history")
        }
        fn tokens(&self) -> Option<TokenStats> {
            self.note("tokens")
        }
        fn cache(&self) -> Option<CacheStats> {
            self.note("cache")
        }
    }
    let asked = Arc::new(Asked::default());
    let aggregator = Aggregator::new().source(Some(Box::new(Arc::clone(&asked))));
    assert_eq!(*asked.0.lock().expect("no panic"), [""; 0]);
    let _ = aggregator.snapshot();
    let mut sections = asked.0.lock().expect("no panic").clone();
    sections.sort_unstable();
    assert_eq!(
        sections,
        [
            "cache",
            "channels",
            "envelopes",
            "history",
            "presence",
            "tokens"
        ]
    );
}

struct Rooms(Vec<(&'static str, &'static str)>);

impl ChannelLister for Rooms {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for &(name, pattern) in &self.0 {
            visit(ChannelEntry { name, pattern });
        }
    }
}

#[test]
fn channels_are_counted_by_pattern_and_those_without_as_unknown() {
    let rooms = || {
        Rooms(vec![
            ("public:lobby", "public:*"),
            ("public:attic", "public:*"),
            ("agents:7", "agents:*"),
            ("stray", ""),
            ("", ""),
            ("named so", "unknown"),
        ])
    };
    let expected = ChannelStats {
        total_active: 6,
        by_pattern: counts(&[("agents:*", 1), ("public:*", 2), ("unknown", 3)]),
    };
    assert_eq!(
        ChannelSource::new(rooms()).channels(),
        Some(expected.clone())
    );
    // A lister comes in other shapes too, and each look begins anew.
    let shared: Arc<dyn ChannelLister> = Arc::new(rooms());
    let source = ChannelSource::new(shared).clone();
    assert_eq!(source.channels(), Some(expected.clone()));
    assert_eq!(source.channels(), Some(expected.clone()));
    let boxed: Box<dyn ChannelLister> = Box::new(rooms());
    assert_eq!(ChannelSource::new(boxed).channels(), Some(expected));
    // Measured to be empty: a zero, not an absence.
    assert_eq!(
        ChannelSource::new(Rooms(Vec::new())).channels(),
        Some(ChannelStats::default())
    );
    assert_eq!(ChannelSource::new(rooms()).cache(), None);
}

#[test]
fn channel_names_do_not_leave() {
    let aggregator = Aggregator::new().source(ChannelSource::new(Rooms(vec![("secret", "")])));
    for format in [Format::Json, Format::Prometheus] {
        let page = String::from_utf8(aggregator.render(format)).expect("text");
        assert!(
            !page.contains("secret") && page.contains("unknown"),
            "{page}"
        );
    }
}

// Panics

/// A source that panics in one section, and reports all others.
struct Panics {
    in_section: &'static str,
    otherwise: Reports,
}

impl Panics {
    fn unless_here<T>(&self, section: &str, report: Option<T>) -> Option<T> {
        assert_ne!(section, self.in_section, "this is the one that panics");
        report
    }
}

impl Source for Panics {
    fn channels(&self) -> Option<ChannelStats> {
        self.unless_here("channels", self.otherwise.channels())
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        self.unless_here("envelopes", self.otherwise.envelopes())
    }

    fn presence(&self) -> Option<PresenceStats> {
        self.unless_here("presence", self.otherwise.presence())
    }

    fn history(&self) -> Option<HistoryStats> {
        self.unless_here("history", self.otherwise.history())
    }

    fn tokens(&self) -> Option<TokenStats> {
        self.unless_here("tokens", self.otherwise.tokens())
    }

    fn cache(&self) -> Option<CacheStats> {
        self.unless_here("cache", self.otherwise.cache())
    }
}

#[test]
fn a_section_that_panics_is_left_out_and_all_else_is_right() {
    let (good, bad) = (
        || everything(3, 30.0, "good"),
        || everything(5, 50.0, "bad"),
    );
    let without = snapshot_of([good()]);
    let with = snapshot_of([good(), bad()]);
    let expect =
        |broken: &str, section: &str| if broken == section { &without } else { &with }.clone();
    for broken in [
        "channels",
        "envelopes",
        "presence",
        "history",
        "tokens",
        "cache",
    ] {
        let panics = Panics {
            in_section: broken,
            otherwise: bad(),
        };
        let aggregator = Aggregator::new()
            .source(panics)
            .source(good())
            .clock(ManualClock::new().clock());
        for times in 1..=2 {
            let expected = Snapshot {
                channels: expect(broken, "channels").channels,
                envelopes: expect(broken, "envelopes").envelopes,
                presence: expect(broken, "presence").presence,
                history: expect(broken, "history").history,
                tokens: expect(broken, "tokens").tokens,
                cache: expect(broken, "cache").cache,
                ..Snapshot::empty(with.at)
            };
            assert_eq!(aggregator.snapshot(), expected, "{broken} panics");
            assert_eq!(aggregator.source_panics(), times);
        }
        assert_eq!(aggregator.rule_panics(), 0);
    }
}

#[test]
fn a_rule_that_panics_does_not_fire_and_the_others_do() {
    let aggregator = Aggregator::new()
        .source(everything(1, 1.0, "one"))
        .with_alerts(vec![
            AlertRule::new("c", Severity::Info, |_| true),
            AlertRule::new("b", Severity::Info, |s| {
                s.channels.by_pattern["not there"] > 0
            }),
            AlertRule::new("a", Severity::Info, |_| true),
        ])
        .expect("good rules");
    for times in 1..=2 {
        let snapshot = aggregator.snapshot();
        let firing: Vec<_> = snapshot
            .alerts
            .iter()
            .map(|alert| alert.name.as_str())
            .collect();
        assert_eq!(firing, ["a", "c"]);
        assert_eq!(snapshot.channels.total_active, 1);
        assert_eq!(
            (aggregator.rule_panics(), aggregator.source_panics()),
            (times, 0)
        );
    }
    // Without an aggregator there is nobody to count, but nothing is held up either.
    assert_eq!(
        evaluate_alerts(&Snapshot::default(), aggregator.rules()).len(),
        2
    );
}

#[test]
fn clones_share_the_counts_of_panics() {
    let panics = Panics {
        in_section: "cache",
        otherwise: Reports::default(),
    };
    let aggregator = Aggregator::new()
        .source(panics)
        .with_alerts(vec![AlertRule::new("bad", Severity::Info, |_| {
            panic!("always")
        })])
        .expect("good rules");
    let clone = aggregator.clone();
    let _ = aggregator.snapshot();
    let _ = clone.snapshot();
    let _ = clone.clone().render(Format::Json);
    for aggregator in [aggregator, clone] {
        assert_eq!(
            (aggregator.source_panics(), aggregator.rule_panics()),
            (3, 3)
        );
    }
}

/// What a panic carries may panic in turn when it is dropped.
#[test]
fn a_panic_with_a_payload_that_panics_is_caught_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the payload's own");
        }
    }
    struct Bombs;
    impl Source for Bombs {
        fn cache(&self) -> Option<CacheStats> {
            panic_any(Bomb)
        }
    }
    let aggregator = Aggregator::new()
        .source(Bombs)
        .source(everything(1, 1.0, "one"))
        .with_alerts(vec![AlertRule::new("bomb", Severity::Info, |_| {
            panic_any(Bomb)
        })])
        .expect("good rules");
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.cache.size_bytes, 1);
    assert_eq!(
        (aggregator.source_panics(), aggregator.rule_panics()),
        (1, 1)
    );
}

// Rules

fn rule(name: &str) -> AlertRule {
    AlertRule::new(name, Severity::Warning, |_| true)
}

#[test]
fn a_rule_needs_a_name_and_the_error_says_which_has_none() {
    let rules = [rule("a"), rule("").description("Cache is cold"), rule("")];
    let error = validate_alert_rules(&rules).expect_err("no name");
    assert!(error.is_empty_name() && !error.is_duplicate_name());
    let text = error.to_string();
    assert!(
        text.contains("rule 2") && text.contains("Cache is cold"),
        "{text}"
    );
    let error = validate_alert_rules(&[rule("a"), rule("b"), rule("")]).expect_err("no name");
    assert!(error.to_string().contains("rule 3"), "{error}");
}

#[test]
fn a_name_is_used_once_and_the_error_says_which_is_not() {
    let rules = [rule("a"), rule("cache_cold"), rule("b"), rule("cache_cold")];
    let error = validate_alert_rules(&rules).expect_err("a name used twice");
    assert!(error.is_duplicate_name() && !error.is_empty_name());
    assert!(error.to_string().contains(r#""cache_cold""#), "{error}");
    assert!(!error.to_string().contains(r#""a""#), "{error}");
    // Names that differ in anything are different, and no rules are no fault.
    assert_eq!(
        validate_alert_rules(&[rule("a"), rule("A"), rule("a "), rule(" ")]),
        Ok(())
    );
    assert_eq!(validate_alert_rules(&[]), Ok(()));
}

#[test]
fn rules_are_checked_against_those_added_before() {
    let aggregator = Aggregator::new()
        .with_alerts(vec![rule("a"), rule("b")])
        .expect("good rules");
    let error = aggregator
        .clone()
        .with_alerts(vec![rule("c"), rule("b")])
        .expect_err("b is there");
    assert!(
        error.is_duplicate_name() && error.to_string().contains(r#""b""#),
        "{error}"
    );
    let error = aggregator
        .clone()
        .with_alerts(vec![rule("")])
        .expect_err("no name");
    assert!(error.is_empty_name());
    // What was refused is not there; what was added is, beside what was there before.
    let aggregator = aggregator.with_alerts(vec![rule("0")]).expect("a new name");
    let names: Vec<_> = aggregator.rules().iter().map(AlertRule::name).collect();
    assert_eq!(names, ["a", "b", "0"]);
    let firing = aggregator.snapshot().alerts;
    assert_eq!(
        firing.iter().map(|alert| &alert.name).collect::<Vec<_>>(),
        ["0", "a", "b"]
    );
}

#[test]
fn errors_are_errors_that_begin_small_and_do_not_stop() {
    let errors: [Box<dyn std::error::Error + Send + Sync>; 3] = [
        Box::new(validate_alert_rules(&[rule("")]).expect_err("no name")),
        Box::new(validate_alert_rules(&[rule("a"), rule("a")]).expect_err("twice")),
        Box::new("fatal".parse::<Severity>().expect_err("unknown")),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.starts_with(char::is_lowercase) && !text.ends_with('.'),
            "{text}"
        );
    }
}

#[test]
fn an_unknown_severity_is_refused_with_those_that_are_known() {
    for word in ["fatal", "Warning", "CRITICAL", "", " info", "info ", "warn"] {
        let parsed = word.parse::<Severity>().expect_err(word).to_string();
        let json = serde_json::to_string(word).expect("JSON");
        let read = serde_json::from_str::<Severity>(&json)
            .expect_err(word)
            .to_string();
        for known in Severity::ALL {
            assert!(parsed.contains(known.as_str()), "{parsed}");
            assert!(read.contains(known.as_str()), "{read}");
        }
        assert!(
            parsed.contains(word) && read.contains(word),
            "{parsed}; {read}"
        );
    }
}

#[test]
fn a_severity_is_one_lower_case_word_everywhere() {
    for (severity, word) in [
        (Severity::Info, "info"),
        (Severity::Warning, "warning"),
        (Severity::Critical, "critical"),
    ] {
        assert_eq!(severity.to_string(), word);
        assert_eq!(severity.as_str(), word);
        assert_eq!(word.parse(), Ok(severity));
        let json = serde_json::to_string(&severity).expect("JSON");
        assert_eq!(json, format!("\"{word}\""));
        assert_eq!(
            serde_json::from_str::<Severity>(&json).expect("reads back"),
            severity
        );
    }
}

#[test]
fn firing_alerts_are_sorted_and_say_what_their_rules_say() {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 5);
    let snapshot = Snapshot::empty(at);
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
    };
    let expected = [
        alert("B", Severity::Warning, ""),
        alert("a", Severity::Critical, ""),
        alert("b", Severity::Warning, "Second"),
    ];
    assert_eq!(evaluate_alerts(&snapshot, &rules), expected);
    assert_eq!(evaluate_alerts(&snapshot, &[]), []);
}

#[test]
fn a_rule_sees_the_snapshot_before_any_has_fired() {
    let fires_on_alerts = || AlertRule::new("echo", Severity::Info, |s| !s.alerts.is_empty());
    let aggregator = Aggregator::new()
        .with_alerts(vec![rule("a"), fires_on_alerts(), rule("z")])
        .expect("good rules");
    let snapshot = aggregator.snapshot();
    assert_eq!(snapshot.alerts.len(), 2);
    // Even if it is handed one in which some have.
    assert_eq!(evaluate_alerts(&snapshot, &[fires_on_alerts()]), []);
    let mut same = snapshot.clone();
    same.alerts.clear();
    let sees_the_rest = AlertRule::new("same", Severity::Info, move |s| *s == same);
    assert_eq!(evaluate_alerts(&snapshot, &[sees_the_rest]).len(), 1);
}

#[test]
fn rules_see_the_sums_and_alerts_have_the_snapshots_time() {
    let clock = ManualClock::new();
    clock.advance(Duration::new(12, 345));
    let aggregator = Aggregator::new()
        .source(everything(3, 10.0, "one"))
        .source(everything(4, 20.0, "one"))
        .clock(clock.clock())
        .with_alerts(vec![
            AlertRule::new("sum", Severity::Info, |s| s.channels.total_active == 7),
            AlertRule::new("mean", Severity::Info, |s| s.cache.hit_rate_pct == 15.0),
            AlertRule::new("one of them", Severity::Info, |s| {
                s.channels.total_active == 4
            }),
        ])
        .expect("good rules");
    let snapshot = aggregator.snapshot();
    let firing: Vec<_> = snapshot
        .alerts
        .iter()
        .map(|alert| (alert.name.as_str(), alert.at))
        .collect();
    assert_eq!(firing, [("mean", clock.now()), ("sum", clock.now())]);
    assert_eq!(snapshot.at, clock.now());
}

#[test]
fn a_rule_is_evaluated_once_a_snapshot() {
    let evaluated = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&evaluated);
    let counting = AlertRule::new("counting", Severity::Info, move |_| {
        count.fetch_add(1, SeqCst) > 0
    });
    let aggregator = Aggregator::new()
        .with_alerts(vec![counting])
        .expect("good rules");
    assert_eq!(evaluated.load(SeqCst), 0);
    assert_eq!(aggregator.snapshot().alerts.len(), 0);
    let page = String::from_utf8(aggregator.render(Format::Prometheus)).expect("text");
    assert_eq!(evaluated.load(SeqCst), 2);
    assert!(
        page.contains("parsec_alerts_firing{alert=\"counting\",severity=\"info\"} 1\n"),
        "{page}"
    );
}

// The cache

/// A cache whose counters are set by hand.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<CacheCounters>>);

impl Cache {
    fn set(&self, counters: CacheCounters) {
        *self.0.lock().expect("no panic") = counters;
    }

    fn add(&self, hits: u64, misses: u64, evictions: u64) {
        let mut counters = self.0.lock().expect("no panic");
        counters.hits += hits;
        counters.misses += misses;
        counters.evictions += evictions;
    }
}

impl CacheStatter for Cache {
    fn stats(&self) -> CacheCounters {
        *self.0.lock().expect("no panic")
    }
}

/// A cache with nothing in it yet, and a source made over it on a clock that stands still.
fn new_cache() -> (ManualClock, Cache, CacheSource<Cache>) {
    let (clock, cache) = (ManualClock::new(), Cache::default());
    let source = CacheSource::new(cache.clone()).clock(clock.clock());
    (clock, cache, source)
}

/// The hit rate and the evictions.
fn last_hour(source: &impl Source) -> (f64, u64) {
    let stats = source.cache().expect("it is measured");
    (stats.hit_rate_pct, stats.evictions_last_hour)
}

#[test]
fn a_cache_that_was_not_asked_for_anything_reads_zero() {
    let (clock, cache, source) = new_cache();
    assert_eq!(source.cache(), Some(CacheStats::default()));
    clock.advance(2 * HOUR);
    assert_eq!(source.cache(), Some(CacheStats::default()));
    cache.add(0, 5, 0);
    assert_eq!(last_hour(&source), (0.0, 0));
}

#[test]
fn the_first_reading_covers_what_is_there() {
    let (clock, cache, source) = new_cache();
    cache.set(CacheCounters {
        hits: 300,
        misses: 100,
        puts: 100,
        evictions: 60,
        size_entries: 40,
        size_bytes: 4096,
    });
    let expected = CacheStats {
        hit_rate_pct: 75.0,
        size_bytes: 4096,
        size_entries: 40,
        evictions_last_hour: 60,
    };
    assert_eq!(source.cache(), Some(expected.clone()));
    clock.advance(30 * MINUTE);
    assert_eq!(source.cache(), Some(expected));
    // Before an hour has passed, everything is of the last hour.
    cache.add(0, 400, 40);
    clock.advance(29 * MINUTE);
    assert_eq!(last_hour(&source), (37.5, 100));
}

#[test]
fn sizes_are_those_of_this_moment() {
    let (_clock, cache, source) = new_cache();
    for size in [10, 3, u64::MAX, 0] {
        cache.set(CacheCounters {
            size_entries: size,
            size_bytes: size / 2,
            ..Default::default()
        });
        let stats = source.cache().expect("it is measured");
        assert_eq!((stats.size_entries, stats.size_bytes), (size, size / 2));
    }
}

/// Law 4, with growth that is even: then it does not matter when it was read, or how often.
#[test]
fn even_growth_reads_exactly_however_often_it_is_read() {
    for every in [
        1, 7, 15, 16, 59, 60, 61, 599, 1801, 3599, 3600, 3601, 7200, 86_400,
    ] {
        let (clock, cache, source) = new_cache();
        let mut age = 0;
        while age < 4 * 3600 || age < 3 * every {
            clock.advance(Duration::from_secs(every));
            age += every;
            cache.add(9 * every, every, 3 * every);
            let expected = (90.0, 3 * age.min(3600));
            assert_eq!(
                last_hour(&source),
                expected,
                "read every {every} s, after {age} s"
            );
        }
    }
}

#[test]
fn even_growth_reads_exactly_between_turns_of_the_second() {
    let (clock, cache, source) = new_cache();
    clock.advance(NANO);
    for step in 1..=5 * 3600 {
        clock.advance(SECOND);
        cache.add(3, 1, 2);
        if step % 83 == 0 {
            let (hit_rate, evictions) = last_hour(&source);
            let expected = 2 * u64::min(step, 3600);
            assert!(
                evictions.abs_diff(expected) <= 1,
                "{evictions} after {step} s"
            );
            assert!((hit_rate - 75.0).abs() < 0.02, "{hit_rate} after {step} s");
        }
    }
}

#[test]
fn a_burst_leaves_after_an_hour_and_not_before() {
    let (clock, cache, source) = new_cache();
    for minute in 0..200u64 {
        if minute == 70 {
            cache.add(0, 1000, 500);
        }
        cache.add(10, 0, 0);
        let (hit_rate, evictions) = last_hour(&source);
        // It came between the readings of minutes 69 and 70.
        let burst = (70..130).contains(&minute);
        assert_eq!(evictions, if burst { 500 } else { 0 }, "minute {minute}");
        let lookups_hit = 10.0 * (minute + 1).min(60) as f64;
        let expected = if burst {
            100.0 * lookups_hit / (lookups_hit + 1000.0)
        } else {
            100.0
        };
        assert!(
            (hit_rate - expected).abs() < 1e-9,
            "minute {minute}: {hit_rate}, not {expected}"
        );
        clock.advance(MINUTE);
    }
}

#[test]
fn a_cache_that_goes_cold_shows_it_within_the_hour_whatever_it_did_before() {
    let (clock, cache, source) = new_cache();
    for _ in 0..100 * 60 {
        cache.add(1000, 0, 0);
        clock.advance(MINUTE);
        let _ = source.cache();
    }
    for minute in 1..=60 {
        cache.add(0, 1000, 0);
        clock.advance(MINUTE);
        let expected = 100.0 * f64::from(60 - minute) / 60.0;
        assert!(
            (last_hour(&source).0 - expected).abs() < 1e-9,
            "minute {minute}"
        );
    }
    assert_eq!(last_hour(&source).0, 0.0);
}

#[test]
fn a_cache_that_is_not_read_for_long_is_taken_to_have_grown_evenly() {
    let (clock, cache, source) = new_cache();
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (0.0, 0));
    cache.add(0, 100, 400);
    clock.advance(4 * HOUR);
    assert_eq!(last_hour(&source), (0.0, 100));
    clock.advance(30 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 50));
    clock.advance(30 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 0));
}

/// Two looks at the page that follow each other closely, and then none for a long time.
#[test]
fn a_reading_just_after_another_is_not_forgotten() {
    let (clock, cache, source) = new_cache();
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (0.0, 0));
    cache.add(0, 1000, 1000);
    clock.advance(10 * SECOND);
    assert_eq!(last_hour(&source), (0.0, 1000));
    clock.advance(40 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 1000));
    // All of it came within the ten seconds between the first two looks, more than an hour ago.
    clock.advance(25 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 0));
}

/// The same at the beginning: what the cache had done before the source was made is read at the first look.
#[test]
fn what_was_there_at_the_first_reading_is_gone_an_hour_later() {
    let (clock, cache, source) = new_cache();
    cache.add(0, 1000, 1000);
    clock.advance(5 * SECOND);
    assert_eq!(last_hour(&source), (0.0, 1000));
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (0.0, 0));
}

#[test]
fn counters_that_fall_begin_again() {
    let (clock, cache, source) = new_cache();
    cache.add(900, 100, 50);
    assert_eq!(last_hour(&source), (90.0, 50));
    clock.advance(MINUTE);
    // Restarted, and what it says since is new.
    cache.set(CacheCounters {
        hits: 60,
        misses: 40,
        evictions: 7,
        ..Default::default()
    });
    assert_eq!(last_hour(&source), (100.0 * 960.0 / 1100.0, 57));
    clock.advance(MINUTE);
    cache.set(CacheCounters::default());
    assert_eq!(last_hour(&source), (100.0 * 960.0 / 1100.0, 57));
    clock.advance(MINUTE);
    cache.add(100, 0, 1);
    assert_eq!(last_hour(&source), (100.0 * 1060.0 / 1200.0, 58));
    // What it did before it was restarted leaves the window in time, like everything else.
    clock.advance(56 * MINUTE);
    assert_eq!(last_hour(&source).1, 58);
    clock.advance(3 * MINUTE);
    assert_eq!(last_hour(&source).1, 1);
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (0.0, 0));
}

/// If one counter has fallen, the cache was restarted: all of its counters began at zero, also one that has passed its
/// old value by now.
#[test]
fn a_restart_is_of_the_whole_cache() {
    let (clock, cache, source) = new_cache();
    cache.add(1000, 10, 5);
    clock.advance(MINUTE);
    let _ = source.cache();
    clock.advance(61 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 0));
    cache.set(CacheCounters {
        hits: 50,
        misses: 50,
        evictions: 6,
        ..Default::default()
    });
    assert_eq!(last_hour(&source), (50.0, 6));
}

#[test]
fn counters_at_their_end_do_no_harm() {
    let (clock, cache, source) = new_cache();
    let most = CacheCounters {
        hits: u64::MAX,
        misses: u64::MAX,
        puts: u64::MAX,
        evictions: u64::MAX,
        size_entries: u64::MAX,
        size_bytes: u64::MAX,
    };
    for counters in [most, CacheCounters::default(), most, most] {
        cache.set(counters);
        assert_eq!(last_hour(&source), (50.0, u64::MAX));
        clock.advance(MINUTE);
    }
    clock.advance(Duration::MAX);
    let _ = source.cache();
}

#[test]
fn a_statter_that_panics_is_left_out_once_and_loses_nothing() {
    let clock = ManualClock::new();
    let (good, asked) = (Cache::default(), AtomicU64::new(0));
    let cache = good.clone();
    let statter = move || {
        assert_ne!(asked.fetch_add(1, SeqCst), 1, "the second time");
        cache.stats()
    };
    let aggregator = Aggregator::new().source(CacheSource::new(statter).clock(clock.clock()));
    good.add(3, 1, 10);
    assert_eq!(aggregator.snapshot().cache.hit_rate_pct, 75.0);
    good.add(0, 1, 10);
    clock.advance(MINUTE);
    assert_eq!(aggregator.snapshot().cache, CacheStats::default());
    clock.advance(MINUTE);
    let cache = aggregator.snapshot().cache;
    assert_eq!((cache.hit_rate_pct, cache.evictions_last_hour), (60.0, 20));
    assert_eq!(aggregator.source_panics(), 1);
}

#[test]
fn caches_are_averaged_and_summed_like_any_source() {
    let source = |hits, misses, evictions| {
        CacheSource::new(move || CacheCounters {
            hits,
            misses,
            evictions,
            size_entries: 5,
            ..Default::default()
        })
    };
    let aggregator = Aggregator::new()
        .source(source(1, 0, 3))
        .source(Some(source(0, 9, 4)))
        .source(None::<CacheSource<Cache>>);
    let cache = aggregator.snapshot().cache;
    let expected = CacheStats {
        hit_rate_pct: 50.0,
        size_entries: 10,
        evictions_last_hour: 7,
        size_bytes: 0,
    };
    assert_eq!(cache, expected);
}

// JSON

fn read_back(snapshot: &Snapshot) -> Snapshot {
    let page = String::from_utf8(Format::Json.render(snapshot, &[])).expect("text");
    assert!(page.ends_with("}\n"));
    serde_json::from_str(&page).expect(&page)
}

#[test]
fn a_rich_snapshot_reads_back() {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789);
    let awkward = counts(&[
        ("", 0),
        ("\"quoted\\\"", 1),
        ("line\nbreak\ttab\u{0}\u{1f}", 2),
        ("ünïcödé 日本 🦀", u64::MAX),
        ("</script>", u64::MAX - 1),
    ]);
    let alert = |name: &str, severity, description: &str| FiringAlert {
        name: name.to_owned(),
        severity,
        description: description.to_owned(),
        at,
    };
    let snapshot = Snapshot {
        channels: ChannelStats {
            total_active: u64::MAX,
            by_pattern: awkward.clone(),
        },
        envelopes: EnvelopeStats {
            rate_per_second: 0.1 + 0.2,
            by_aspect: awkward,
        },
        presence: PresenceStats {
            total_users: 1,
            total_agents: 1 << 63,
            average_per_channel: f64::MIN_POSITIVE,
        },
        history: HistoryStats {
            total_envelopes_buffered: (1 << 53) + 1,
            buffer_utilization_pct: 5e-324,
        },
        tokens: TokenStats {
            issued_last_hour: 7,
            revoked_last_hour: 0,
            active_count: i64::MIN,
        },
        cache: CacheStats {
            hit_rate_pct: f64::MAX,
            size_bytes: 3,
            size_entries: 0,
            evictions_last_hour: 9,
        },
        at,
        alerts: vec![
            alert("\"a\"\n", Severity::Info, ""),
            alert("b", Severity::Critical, "über \\ 80 %"),
        ],
    };
    assert_eq!(read_back(&snapshot), snapshot);
    assert_eq!(read_back(&Snapshot::default()), Snapshot::default());
    // Each section by itself, too: what is left out reads as what it was.
    let stats = serde_json::to_string(&snapshot.envelopes).expect("JSON");
    assert_eq!(
        serde_json::from_str::<EnvelopeStats>(&stats).expect("reads back"),
        snapshot.envelopes
    );
}

/// Law 5 for the floats that pages are made of: events by sixty, and hits by look-ups in percent.
#[test]
fn floats_read_back_to_the_last_digit() {
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
    assert!(
        wrong.is_empty(),
        "{} written and read otherwise: {some:?}…",
        wrong.len()
    );
}

#[test]
fn an_aggregators_own_snapshot_reads_back() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    let mut burst = 7;
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(ChannelSource::new(Rooms(vec![
            ("a", "public:*"),
            ("b", ""),
        ])))
        .source(hit_rate(100.0 / 3.0))
        .clock(clock.clock())
        .with_alerts(vec![rule("always").description("Always")])
        .expect("good rules");
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
