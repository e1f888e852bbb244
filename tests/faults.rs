//! The faults of the original that must not come back, by their numbers in the wire contract.
//!
//! Each test fails on what the original did; the comment above it says what that was.
//!
//! Of what the contract lists, these parts have no test here: a source that blocks, and two pages that each ask all sources
//! (9); compression, `OpenMetrics`, authentication, limits on connections and on time (10); an alert's "for" and since (11).

#![allow(
    clippy::float_cmp,
    reason = "that the numbers are exact is what is tested"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Reports, hit_rate};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, ChannelEntry, ChannelLister,
    ChannelSource, ChannelStats, EnvelopeCounters, EnvelopeStats, Format, HistoryStats,
    ManualClock, PresenceStats, Severity, Snapshot, Source, TokenCounters, TokenStats,
};

const PATIENCE: Duration = Duration::from_secs(10);
const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn counters() -> (ManualClock, EnvelopeCounters) {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    (clock, envelopes)
}

fn page(aggregator: &Aggregator, format: Format) -> String {
    String::from_utf8(aggregator.render(format)).expect("pages are UTF-8")
}

fn json(aggregator: &Aggregator) -> Snapshot {
    let page = page(aggregator, Format::Json);
    serde_json::from_str(&page).expect(&page)
}

// 1. The rate's window

/// It summed an hour of one-minute cells: after an hour, one event a second read 60.
#[test]
fn fault_1_a_rate_over_an_hour_that_was_said_to_be_over_a_minute() {
    let (clock, envelopes) = counters();
    for _ in 0..2 * 3600 {
        envelopes.observe("data");
        clock.advance(SECOND);
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
    // It took an hour to forget: this read 60, 59, 58…
    clock.advance(61 * SECOND);
    assert_eq!(envelopes.snapshot().rate_per_second, 0.0);
}

// 2. Events of another time

/// An event from an hour ago was given the cell of now, and what that held was wiped: the rate fell.
#[test]
fn fault_2_a_late_event_that_wiped_a_newer_slot() {
    let (clock, envelopes) = counters();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    clock.advance(10 * HOUR);
    for _ in 0..60 {
        envelopes.observe("data");
        tokens.issued();
    }
    for late in [60, 61, 64, 120, 128, 3600, 3840, 7200] {
        envelopes.observe_at(clock.now() - late * SECOND - NANO, "data");
        tokens.issued_at(clock.now() - late * MINUTE - NANO);
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
    assert_eq!(envelopes.snapshot().by_aspect["data"], 68);
    assert_eq!(tokens.snapshot().issued_last_hour, 60);
    assert_eq!(tokens.snapshot().active_count, 68);
}

/// An event from the future counted at once, and was still there when the window had passed: 1 instead of 0.
#[test]
fn fault_2_a_future_event_that_outlived_the_window() {
    let (clock, envelopes) = counters();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    clock.advance(10 * HOUR);
    for _ in 0..60 {
        envelopes.observe_at(clock.now() + 30 * SECOND, "data");
        tokens.issued_at(clock.now() + 30 * MINUTE);
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
    assert_eq!(tokens.snapshot().issued_last_hour, 60);
    clock.advance(61 * SECOND);
    assert_eq!(envelopes.snapshot().rate_per_second, 0.0);
    clock.advance(HOUR);
    assert_eq!(tokens.snapshot().issued_last_hour, 0);
}

/// The index of its cell was a remainder of a negative number: it panicked.
#[test]
fn fault_2_an_event_before_1970_that_panicked() {
    let (_clock, envelopes) = counters();
    let tokens = TokenCounters::new();
    for before in [NANO, MINUTE, 1000 * HOUR] {
        let at = SystemTime::UNIX_EPOCH - before;
        envelopes.observe_at(at, "data");
        envelopes.aspect("data").observe_at(at);
        tokens.issued_at(at);
        tokens.revoked_at(at);
    }
    let stats = envelopes.snapshot();
    assert_eq!((stats.rate_per_second, stats.by_aspect["data"]), (0.0, 6));
    assert_eq!(tokens.snapshot(), TokenStats::default());
}

// 3. Locks

/// A source that says when a section of it is asked for, and answers when it is let.
struct Held {
    asked_for: mpsc::SyncSender<&'static str>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Held {
    fn hold<T>(&self, section: &'static str) -> Option<T> {
        self.asked_for.send(section).expect("the test waits");
        let go_on = self.go_on.lock().expect("no panic");
        go_on
            .recv_timeout(PATIENCE)
            .expect("the test lets it go on");
        None
    }
}

impl Source for Held {
    fn channels(&self) -> Option<ChannelStats> {
        self.hold("channels")
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        self.hold("envelopes")
    }

    fn presence(&self) -> Option<PresenceStats> {
        self.hold("presence")
    }

    fn history(&self) -> Option<HistoryStats> {
        self.hold("history")
    }

    fn tokens(&self) -> Option<TokenStats> {
        self.hold("tokens")
    }

    fn cache(&self) -> Option<CacheStats> {
        self.hold("cache")
    }
}

/// Who read the page held up who published. Here the counting has to be done before the snapshot is let go on, so if the
/// one waited for the other, it would wait for ever.
#[test]
fn fault_3_counting_that_waited_for_a_snapshot_under_way() {
    let (clock, envelopes) = counters();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    let (asked_for, asked) = mpsc::sync_channel(0);
    let (go, go_on) = mpsc::sync_channel(0);
    let held = Held {
        asked_for,
        go_on: Mutex::new(go_on),
    };
    // Before and behind the one that holds it, so that the counters have been read or are to be read at each stop.
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(held)
        .source(envelopes.clone())
        .source(tokens.clone());
    let looker = aggregator.clone();
    let snapshot = thread::spawn(move || looker.snapshot());
    let mut stops = Vec::new();
    while let Ok(section) = asked.recv_timeout(if stops.len() < 6 { PATIENCE } else { NANO }) {
        stops.push(section);
        let (envelopes, tokens, now) = (envelopes.clone(), tokens.clone(), clock.now());
        let counting = thread::spawn(move || {
            envelopes.observe("data");
            envelopes.observe(&format!("new at {section}"));
            envelopes.observe_at(now, "data");
            tokens.issued();
            tokens.issued_at(now);
            tokens.revoked();
            envelopes.snapshot()
        });
        // A look of another's is not held up either.
        let stats = counting.join().expect("no panic");
        assert_eq!(stats.by_aspect["data"], 2 * stops.len() as u64);
        go.send(()).expect("the snapshot waits");
    }
    assert_eq!(stops.len(), 6, "{stops:?}");
    let snapshot = snapshot.join().expect("no panic");
    // Sources are asked in turn: one reader of each looked before the counting, the other one behind all of it.
    let counted = 2 * stops.len() as u64;
    assert_eq!(snapshot.envelopes.by_aspect["data"], counted);
    assert_eq!(snapshot.tokens.issued_last_hour, counted);
}

#[cfg(target_os = "linux")]
mod lock {
    use std::hint::spin_loop;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::*;

    /// How often this thread has gone to sleep of its own accord, as at a lock that another one holds.
    fn times_slept() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs is there");
        let times = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        times
            .expect("it is counted")
            .trim()
            .parse()
            .expect("a number")
    }

    /// An observe took the lock that the copying of the map held: it slept through every snapshot.
    #[test]
    fn fault_3_counting_that_slept_while_a_map_was_copied() {
        const ASPECTS: usize = 65_536;
        const SNAPSHOTS: u64 = 10;
        let clock = ManualClock::new();
        let envelopes = EnvelopeCounters::builder()
            .clock(clock.clock())
            .max_aspects(ASPECTS)
            .build();
        for number in 0..ASPECTS {
            envelopes.observe(&format!("aspect {number}"));
        }
        let (counted, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let slept = thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let mut before = 0;
                while !done.load(SeqCst) {
                    envelopes.observe("aspect 7");
                    if counted.fetch_add(1, SeqCst) == 100 {
                        before = times_slept();
                    }
                    // A lock would be free most of the time, so that the snapshot can take it.
                    let observed = Instant::now();
                    while observed.elapsed() < Duration::from_micros(20) {
                        spin_loop();
                    }
                }
                times_slept() - before
            });
            let deadline = Instant::now() + PATIENCE;
            while counted.load(SeqCst) < 200 && Instant::now() < deadline {
                thread::yield_now();
            }
            for _ in 0..SNAPSHOTS {
                let _ = envelopes.snapshot();
            }
            done.store(true, SeqCst);
            counting.join().expect("no panic")
        });
        assert!(counted.into_inner() >= 200);
        // The odd one may be the system's, where it has to find memory.
        assert!(slept < SNAPSHOTS / 2, "slept {slept} times");
        assert_eq!(envelopes.snapshot().by_aspect.len(), ASPECTS);
    }
}

// 4. Aspects without bound

/// Every name had an entry of the map and a line of the page, for ever: 10,000 names, 10,000 lines.
#[test]
fn fault_4_aspects_that_grew_without_bound() {
    let (_clock, envelopes) = counters();
    let long = "x".repeat(1 << 20);
    for number in 0..10_000 {
        envelopes.observe(&format!("made up {number}"));
        if number % 100 == 0 {
            envelopes.observe(&format!("{long}{number}"));
            let _ = envelopes.aspect(&format!("a handle made up {number}"));
        }
    }
    let stats = envelopes.snapshot();
    assert_eq!(stats.by_aspect.len(), 64 + 1);
    assert!(stats.by_aspect.keys().all(|name| name.len() <= 128));
    // The totals are true all the same, and the operator sees where they went.
    assert_eq!(stats.by_aspect.values().sum::<u64>(), 10_100);
    assert_eq!(stats.rate_per_second.round(), 10_100.0);
    assert!(stats.by_aspect["__overflow__"] >= 9_900);

    let aggregator = Aggregator::new().source(envelopes);
    for format in [Format::Json, Format::Prometheus] {
        let size = page(&aggregator, format).len();
        assert!(size < 20_000, "{format:?} has {size} bytes");
    }
}

// 5. Averages

/// Zeros were left out: the caches read 100 % together, and the rates 60.
#[test]
fn fault_5_a_true_zero_that_was_left_out_of_the_average() {
    let idle = Reports {
        envelopes: Some(EnvelopeStats::default()),
        presence: Some(PresenceStats::default()),
        history: Some(HistoryStats::default()),
        ..hit_rate(0.0)
    };
    let busy = Reports {
        envelopes: Some(EnvelopeStats {
            rate_per_second: 60.0,
            ..Default::default()
        }),
        presence: Some(PresenceStats {
            average_per_channel: 5.0,
            ..Default::default()
        }),
        history: Some(HistoryStats {
            buffer_utilization_pct: 50.0,
            ..Default::default()
        }),
        ..hit_rate(100.0)
    };
    let snapshot = Aggregator::new().source(idle).source(busy).snapshot();
    assert_eq!(snapshot.envelopes.rate_per_second, 30.0);
    assert_eq!(snapshot.presence.average_per_channel, 2.5);
    assert_eq!(snapshot.history.buffer_utilization_pct, 25.0);
    assert_eq!(snapshot.cache.hit_rate_pct, 50.0);
}

// 6. The cache

/// A cache whose counters grow by hand, and a source over it.
fn cache() -> (ManualClock, Arc<Mutex<CacheCounters>>, impl Source) {
    let clock = ManualClock::new();
    let counters = Arc::new(Mutex::new(CacheCounters::default()));
    let shared = Arc::clone(&counters);
    let source = CacheSource::new(move || *shared.lock().expect("no panic")).clock(clock.clock());
    (clock, counters, source)
}

/// The difference was taken from the last full hour: at every turn of it, the page read 0.
#[test]
fn fault_6_evictions_that_fell_to_zero_every_hour() {
    let (clock, counters, source) = cache();
    for minute in 1..=300u64 {
        clock.advance(MINUTE);
        counters.lock().expect("no panic").evictions += 10;
        let stats = source.cache().expect("it is measured");
        assert_eq!(
            stats.evictions_last_hour,
            10 * minute.min(60),
            "minute {minute}"
        );
    }
}

/// The window began at the first scrape: what was evicted before it was never shown, so the first page read 0.
#[test]
fn fault_6_evictions_that_began_with_the_first_scrape() {
    let (clock, counters, source) = cache();
    counters.lock().expect("no panic").evictions = 25;
    clock.advance(20 * MINUTE);
    let stats = source.cache().expect("it is measured");
    assert_eq!(stats.evictions_last_hour, 25);
}

/// It was hits by look-ups since the start: after a day at 100 %, an hour without a hit read 96 %.
#[test]
fn fault_6_a_hit_rate_over_a_whole_life_that_hid_a_cold_cache() {
    let (clock, counters, source) = cache();
    for minute in 1..=25 * 60 {
        clock.advance(MINUTE);
        let mut counters = counters.lock().expect("no panic");
        if minute <= 24 * 60 {
            counters.hits += 100;
        } else {
            counters.misses += 100;
        }
        drop(counters);
        let stats = source.cache().expect("it is measured");
        if minute == 24 * 60 {
            assert_eq!(stats.hit_rate_pct, 100.0);
        } else if minute == 25 * 60 {
            assert_eq!(stats.hit_rate_pct, 0.0);
        }
    }
}

/// It read 0 on both pages, however full the cache was.
#[test]
fn fault_6_a_size_in_bytes_that_was_never_set() {
    let (_clock, counters, source) = cache();
    counters.lock().expect("no panic").size_bytes = 4096;
    let aggregator = Aggregator::new().source(source);
    assert_eq!(json(&aggregator).cache.size_bytes, 4096);
    let page = page(&aggregator, Format::Prometheus);
    assert!(
        page.contains("\nparsec_telemetry_cache_size_bytes 4096\n"),
        "{page}"
    );
}

// 7. A cache that is switched off

/// It was a nil pointer in the list of sources: every scrape panicked.
#[test]
fn fault_7_a_disabled_cache_that_panicked_on_every_scrape() {
    let disabled: Option<CacheSource<fn() -> CacheCounters>> = None;
    let boxed: Option<Box<dyn Source>> = None;
    let aggregator = Aggregator::new()
        .source(disabled)
        .source(boxed)
        .source(hit_rate(90.0));
    for _ in 0..3 {
        // Left out of the average, too: it does not read 30.
        assert_eq!(json(&aggregator).cache.hit_rate_pct, 90.0);
        assert!(
            page(&aggregator, Format::Prometheus)
                .contains("\nparsec_telemetry_cache_hit_rate_pct 90\n")
        );
    }
    assert_eq!(aggregator.source_panics(), 0);
}

// 8. Values and labels

/// A sample of the Prometheus page: its family, its labels, and its value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads the text format as its specification has it, and panics at what it does not allow.
fn samples(page: &str) -> Vec<Sample> {
    assert!(page.ends_with('\n'));
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line:?}")))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_ends = line.find(['{', ' '])?;
    let (family, mut rest) = line.split_at(name_ends);
    let is_name = |name: &str| {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(ok)
    };
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, quoted) = inside.split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.push((label.to_owned(), value));
            inside = match after.strip_prefix(',') {
                Some(next) => next,
                None => break rest = after.strip_prefix('}')?,
            };
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    let names = labels.iter().map(|(label, _)| label.as_str());
    let valid = names.chain([family]).all(is_name);
    valid.then(|| (family.to_owned(), labels, value))
}

/// A label's value, up to the quote that ends it, and what comes after.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (end, '"') => return Some((value, &quoted[end + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

fn value_of(page: &str, family: &str) -> f64 {
    let found = samples(page).into_iter().find(|(name, ..)| name == family);
    found.unwrap_or_else(|| panic!("no {family} in {page}")).2
}

/// They were printed with six decimals: as `0`.
#[test]
fn fault_8_small_values_that_printed_as_zero() {
    for value in [
        1e-7,
        0.000_000_49,
        1.0 / 60.0 / 1e6,
        5e-324,
        0.1 + 0.2,
        1e300,
    ] {
        let report = Reports {
            envelopes: Some(EnvelopeStats {
                rate_per_second: value,
                ..Default::default()
            }),
            history: Some(HistoryStats {
                buffer_utilization_pct: value,
                ..Default::default()
            }),
            ..hit_rate(value)
        };
        let page = page(&Aggregator::new().source(report), Format::Prometheus);
        for family in [
            "envelope_rate_per_second",
            "history_buffer_utilization_pct",
            "cache_hit_rate_pct",
        ] {
            let shown = value_of(&page, &format!("parsec_telemetry_{family}"));
            assert_eq!(shown, value, "{family}");
        }
    }
}

/// The encoder refused it after the headers were out: 200, and nothing.
#[test]
fn fault_8_one_nan_that_made_the_json_page_empty() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let report = Reports {
            envelopes: Some(EnvelopeStats {
                rate_per_second: bad,
                by_aspect: [("data".to_owned(), 3)].into(),
            }),
            ..hit_rate(bad)
        };
        let aggregator = Aggregator::new().source(report).source(hit_rate(80.0));
        let snapshot = json(&aggregator);
        assert_eq!(snapshot.envelopes.rate_per_second, 0.0);
        assert_eq!(snapshot.envelopes.by_aspect["data"], 3);
        assert_eq!(snapshot.cache.hit_rate_pct, 80.0);
        let page = page(&aggregator, Format::Prometheus);
        assert!(
            samples(&page).iter().all(|(.., value)| value.is_finite()),
            "{page}"
        );

        // Nor does one get through by way of a snapshot that somebody else has made.
        let mut made = Snapshot::default();
        made.presence.average_per_channel = bad;
        let page = Format::Json.render(&made, &[]);
        assert_eq!(
            serde_json::from_slice::<Snapshot>(&page).expect("JSON"),
            Snapshot::default()
        );
    }
}

/// Channels of these patterns.
struct Patterns(Vec<&'static str>);
impl ChannelLister for Patterns {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for pattern in &self.0 {
            visit(ChannelEntry { name: "", pattern });
        }
    }
}

/// A name that was no valid label went out as it was, and the whole scrape was refused.
#[test]
fn fault_8_one_invalid_label_that_cost_the_whole_scrape() {
    let awkward = [
        "a\"b",
        "back\\slash",
        "ends in \\",
        "two\nlines",
        "\n# TYPE parsec_telemetry_channels_active counter\n",
        "\"} 1\nevil{a=\"b",
        "\u{0}\u{1f}\u{7f}",
        "\r\n",
        "日本 🦀",
        "\u{2028}",
        " ",
        "{}=,",
    ];
    let envelopes = EnvelopeCounters::new();
    for aspect in awkward {
        envelopes.observe(aspect);
    }
    let rules =
        awkward.map(|name| AlertRule::new(name, Severity::Info, |_| true).description(name));
    let aggregator = Aggregator::new()
        .source(envelopes)
        .source(ChannelSource::new(Patterns(awkward.into())))
        .with_alerts(rules.into())
        .expect("names that are awkward, but names");
    let page = page(&aggregator, Format::Prometheus);
    let expected: BTreeSet<&str> = awkward.into();
    let samples = samples(&page);
    for (family, label) in [
        ("parsec_telemetry_channels_by_pattern", "pattern"),
        ("parsec_telemetry_envelopes_by_aspect", "aspect"),
        ("parsec_telemetry_envelopes_total", "aspect"),
        ("parsec_alerts_firing", "alert"),
        ("parsec_telemetry_alerts_firing", "alert"),
    ] {
        let of_family = samples.iter().filter(|(name, ..)| name == family);
        let shown: BTreeSet<&str> = of_family
            .map(|(_, labels, value)| {
                assert_eq!((labels[0].0.as_str(), *value), (label, 1.0));
                labels[0].1.as_str()
            })
            .collect();
        assert_eq!(shown, expected, "{family}");
    }
    assert!(samples.iter().all(|(name, ..)| name.starts_with("parsec_")));
    let alerts = json(&aggregator).alerts;
    assert_eq!(
        alerts
            .iter()
            .map(|alert| alert.name.as_str())
            .collect::<BTreeSet<_>>(),
        expected
    );
}

// 9. What one source or rule does to the page

struct Broken;

impl Source for Broken {
    fn envelopes(&self) -> Option<EnvelopeStats> {
        panic!("a source of ours is broken")
    }

    fn cache(&self) -> Option<CacheStats> {
        panic!("and so is another section of it")
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats {
            total_users: 5,
            ..Default::default()
        })
    }
}

/// The panic went through the handler: no page at all.
#[test]
fn fault_9_one_source_or_rule_that_killed_the_page() {
    let (_clock, envelopes) = counters();
    envelopes.observe("data");
    let aggregator = Aggregator::new()
        .source(Broken)
        .source(envelopes)
        .source(hit_rate(70.0))
        .with_alerts(vec![
            AlertRule::new("broken", Severity::Critical, |_| panic!("a rule is broken")),
            AlertRule::new("cache_cold", Severity::Warning, |s| {
                s.cache.hit_rate_pct < 80.0
            }),
        ])
        .expect("good rules");
    let snapshot = json(&aggregator);
    assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
    assert_eq!(snapshot.presence.total_users, 5);
    assert_eq!(snapshot.cache.hit_rate_pct, 70.0);
    let firing: Vec<_> = snapshot
        .alerts
        .iter()
        .map(|alert| alert.name.as_str())
        .collect();
    assert_eq!(firing, ["cache_cold"]);
    let page = page(&aggregator, Format::Prometheus);
    assert_eq!(value_of(&page, "parsec_telemetry_cache_hit_rate_pct"), 70.0);
    assert_eq!(
        (aggregator.source_panics(), aggregator.rule_panics()),
        (4, 2)
    );
}

// 11. Alerts

/// A cache with this hit rate, which can be changed.
struct Rate(Arc<AtomicU64>);

impl Source for Rate {
    fn cache(&self) -> Option<CacheStats> {
        hit_rate(self.0.load(SeqCst) as f64).cache()
    }
}

/// The sample was there while the alert fired and gone when it did not, which Prometheus takes for a failed scrape.
#[test]
fn fault_11_an_alert_that_vanished_instead_of_going_to_zero() {
    let hit_rate_pct = Arc::new(AtomicU64::new(90));
    let source = Rate(Arc::clone(&hit_rate_pct));
    let cold = AlertRule::new("cache_cold", Severity::Warning, |s| {
        s.cache.hit_rate_pct < 80.0
    });
    let aggregator = Aggregator::new()
        .source(source)
        .with_alerts(vec![cold])
        .expect("good rules");
    for (rate, fires) in [(90, 0.0), (70, 1.0), (90, 0.0), (0, 1.0)] {
        hit_rate_pct.store(rate, SeqCst);
        let page = page(&aggregator, Format::Prometheus);
        let labels =
            |pairs: [(&str, &str); 2]| pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let expected = (
            "parsec_alerts_firing".to_owned(),
            labels([("alert", "cache_cold"), ("severity", "warning")]),
            fires,
        );
        assert!(samples(&page).contains(&expected), "at {rate} %: {page}");
        // The name that rule files of the original read keeps its ways.
        let old = "parsec_telemetry_alerts_firing{alert=\"cache_cold\",severity=\"warning\"} 1\n";
        assert_eq!(page.contains(old), fires > 0.0, "at {rate} %: {page}");
    }
}

// 10. Over HTTP, and what 9 and 8 look like there

#[cfg(feature = "serve")]
mod http_pages {
    use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
    use http::{Method, Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use parsec_telemetry::Server;

    use super::*;

    const PAGES: [(&str, Format); 2] = [
        ("/parsec/metrics", Format::Json),
        ("/parsec/telemetry/metrics", Format::Prometheus),
    ];

    /// Asks for a page without a network in between.
    fn ask(aggregator: &Aggregator, method: Method, path: &str) -> Response<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path).body(());
        let request = request.expect("a request");
        Server::builder(aggregator.clone()).build().handle(&request)
    }

    async fn body(response: Response<Full<Bytes>>) -> String {
        let body = response.into_body().collect().await.expect("a whole body");
        String::from_utf8(body.to_bytes().into()).expect("pages are UTF-8")
    }

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Asked(AtomicU64);

    impl Source for Asked {
        fn presence(&self) -> Option<PresenceStats> {
            self.0.fetch_add(1, SeqCst);
            None
        }
    }

    /// POST, DELETE and whatever else came were given the page.
    #[tokio::test]
    async fn fault_10_any_method_that_was_served() {
        let asked = Arc::new(Asked::default());
        let aggregator = Aggregator::new().source(Arc::clone(&asked));
        let made_up = Method::from_bytes(b"BREW").expect("a method");
        let refused = [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
            Method::TRACE,
            Method::CONNECT,
            made_up,
        ];
        for (path, _) in PAGES {
            for method in &refused {
                let response = ask(&aggregator, method.clone(), path);
                assert_eq!(
                    response.status(),
                    StatusCode::METHOD_NOT_ALLOWED,
                    "{method}"
                );
                assert_eq!(response.headers()[ALLOW], "GET, HEAD", "{method}");
                let text = body(response).await;
                assert!(!text.contains("total_users"), "{method}: {text}");
            }
        }
        assert_eq!(asked.0.load(SeqCst), 0);
    }

    /// The page was made and thrown away.
    #[tokio::test]
    async fn fault_10_a_head_that_did_all_the_work() {
        let asked = Arc::new(Asked::default());
        let evaluated = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evaluated);
        let rule = AlertRule::new("r", Severity::Info, move |_| count.fetch_add(1, SeqCst) > 9);
        let aggregator = Aggregator::new()
            .source(Arc::clone(&asked))
            .with_alerts(vec![rule])
            .expect("a good rule");
        for (path, format) in PAGES {
            let response = ask(&aggregator, Method::HEAD, path);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[CONTENT_TYPE], format.content_type());
            assert_eq!(body(response).await, "");
        }
        assert_eq!((asked.0.load(SeqCst), evaluated.load(SeqCst)), (0, 0));
        for (path, _) in PAGES {
            let _ = ask(&aggregator, Method::GET, path);
        }
        assert_eq!((asked.0.load(SeqCst), evaluated.load(SeqCst)), (2, 2));
    }

    /// The page went out in chunks, its length unknown to whoever waited for it.
    #[tokio::test]
    async fn fault_10_a_page_without_its_length() {
        let aggregator = Aggregator::new().source(hit_rate(33.3));
        for (path, format) in PAGES {
            let response = ask(&aggregator, Method::GET, path);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[CONTENT_TYPE], format.content_type());
            let length = response.headers()[CONTENT_LENGTH]
                .to_str()
                .expect("digits")
                .to_owned();
            assert_eq!(length, body(response).await.len().to_string());
        }
    }

    /// 500 where a source or a rule panicked, an empty 200 where a value was NaN.
    #[tokio::test]
    async fn fault_9_and_8_pages_that_broke_with_one_source() {
        let aggregator = Aggregator::new()
            .source(Broken)
            .source(hit_rate(f64::NAN))
            .source(hit_rate(70.0))
            .with_alerts(vec![AlertRule::new("broken", Severity::Info, |_| {
                panic!("a rule is broken")
            })])
            .expect("a good name");
        let response = ask(&aggregator, Method::GET, "/parsec/metrics");
        assert_eq!(response.status(), StatusCode::OK);
        let snapshot: Snapshot = serde_json::from_str(&body(response).await).expect("JSON");
        assert_eq!(
            (snapshot.cache.hit_rate_pct, snapshot.presence.total_users),
            (70.0, 5)
        );
        let response = ask(&aggregator, Method::GET, "/parsec/telemetry/metrics");
        assert_eq!(response.status(), StatusCode::OK);
        let page = body(response).await;
        assert_eq!(value_of(&page, "parsec_telemetry_cache_hit_rate_pct"), 70.0);
    }
}
