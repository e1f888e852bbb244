//! Faults 1 to 6 of the original: windows, times, locks, aspects and averages.
//!
//! Each test is named after the fault and fails on what the original did. The numbers are those of the wire
//! contract's list. `regressions_pages` has faults 6 to 8 and 11, `regressions_http` fault 10, and `failing_sources`
//! fault 9.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use common::counters::{envelopes_created_at, tokens_on, total_of};
use common::sources::{Intercepted, ManualCache, Reports, hit_rate};
use common::{HOUR, MINUTE, NANO, SECOND, TIMEOUT, page};
use parsec_telemetry::{
    Aggregator, EnvelopeCounters, EnvelopeStats, Format, HistoryStats, PresenceStats, Source, TokenCounters, TokenStats,
};

/// Fault 1: the "60-second" rate summed sixty one-minute cells and read 60 after an hour.
#[test]
fn rate_of_one_event_a_second_for_hours_reads_one() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    for _ in 0..2 * 3600 {
        envelopes.observe("data");
        clock.advance(SECOND);
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
    // The original took an hour to fall to zero.
    clock.advance(61 * SECOND);
    assert_eq!(envelopes.snapshot().rate_per_second, 0.0);
}

/// Fault 2: an event from an hour ago cleared the current cell, and the rate fell.
#[test]
fn late_event_does_not_overwrite_a_newer_slot() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    let tokens = tokens_on(&clock);
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

/// Fault 2: a future event counted at once and was still in the rate 61 seconds later.
#[test]
fn future_event_does_not_outlive_the_window() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    let tokens = tokens_on(&clock);
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

/// Fault 2: the cell's index was the remainder of a negative number.
#[test]
fn event_before_1970_does_not_panic() {
    let (_clock, envelopes) = envelopes_created_at(Duration::ZERO);
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

/// Fault 3: each observe waited while a snapshot copied the map.
///
/// This snapshot pauses in each section until the events are recorded, so a lock that it held would deadlock.
#[test]
fn snapshot_in_progress_does_not_block_observe() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    let tokens = tokens_on(&clock);
    let (reached, stops) = mpsc::sync_channel(0);
    let (resume, resumed) = mpsc::sync_channel::<()>(0);
    let resumed = Mutex::new(resumed);
    let paused = Intercepted(
        move |section| {
            reached.send(section).expect("the test waits");
            let resumed = resumed.lock().expect("no panic");
            resumed.recv_timeout(TIMEOUT).expect("the test resumes it");
        },
        Reports::default(),
    );
    // The counters are read before and after the source that pauses the snapshot.
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(paused)
        .source(envelopes.clone())
        .source(tokens.clone());
    let snapshot = thread::spawn(move || aggregator.snapshot());
    for stop in 1..=6u64 {
        let section = stops.recv_timeout(TIMEOUT).expect("six sections");
        let (envelopes, tokens, now) = (envelopes.clone(), tokens.clone(), clock.now());
        let recording = thread::spawn(move || {
            envelopes.observe("data");
            envelopes.observe(&format!("new at {section}"));
            envelopes.observe_at(now, "data");
            tokens.issued();
            tokens.issued_at(now);
            tokens.revoked();
            envelopes.snapshot()
        });
        // Another snapshot does not wait either.
        let stats = recording.join().expect("no panic");
        assert_eq!(stats.by_aspect["data"], 2 * stop);
        resume.send(()).expect("the snapshot waits");
    }
    let snapshot = snapshot.join().expect("no panic");
    // The first readers saw no event, the second all of them.
    assert_eq!(snapshot.envelopes.by_aspect["data"], 12);
    assert_eq!(snapshot.tokens.issued_last_hour, 12);
}

#[cfg(target_os = "linux")]
mod locks {
    use std::hint::spin_loop;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    use std::time::Instant;

    use common::wait_until;
    use parsec_telemetry::ManualClock;

    use super::*;

    /// How often this thread has blocked, for example at a lock that another thread holds.
    fn voluntary_context_switches() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs");
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let switches = switches.expect("the kernel counts them").trim();
        switches.parse().expect("a number")
    }

    /// Fault 3: an observe slept through each copying of the map, whose lock it needed.
    #[test]
    fn observing_thread_does_not_sleep_during_snapshots() {
        const ASPECTS: usize = 65_536;
        const SNAPSHOTS: u64 = 10;
        let envelopes = EnvelopeCounters::builder().clock(ManualClock::new().clock()).max_aspects(ASPECTS).build();
        for number in 0..ASPECTS {
            envelopes.observe(&format!("aspect {number}"));
        }
        let (events, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let slept = thread::scope(|scope| {
            let recording = scope.spawn(|| {
                let mut before = 0;
                while !done.load(SeqCst) {
                    envelopes.observe("aspect 7");
                    if events.fetch_add(1, SeqCst) == 100 {
                        before = voluntary_context_switches();
                    }
                    // A lock would be free most of the time, so that a snapshot could acquire it.
                    let observed = Instant::now();
                    while observed.elapsed() < Duration::from_micros(20) {
                        spin_loop();
                    }
                }
                voluntary_context_switches() - before
            });
            let _stop = common::threads::OnDrop(|| done.store(true, SeqCst));
            wait_until("200 events", || events.load(SeqCst) >= 200);
            for _ in 0..SNAPSHOTS {
                let _ = envelopes.snapshot();
            }
            done.store(true, SeqCst);
            recording.join().expect("no panic")
        });
        // The kernel may block the thread a few times, where it has to find memory.
        assert!(slept < SNAPSHOTS / 2, "slept {slept} times");
        assert_eq!(envelopes.snapshot().by_aspect.len(), ASPECTS);
    }
}

/// Fault 4: each of 10,000 names had an entry of the map and a line of the page.
#[test]
fn made_up_aspects_do_not_grow_the_page() {
    let (_clock, envelopes) = envelopes_created_at(Duration::ZERO);
    let long = "x".repeat(1 << 20);
    for number in 0..10_000 {
        envelopes.observe(&format!("made up {number}"));
        if number % 100 == 0 {
            envelopes.observe(&format!("{long}{number}"));
            let _ = envelopes.aspect(&format!("handle made up {number}"));
        }
    }
    let stats = envelopes.snapshot();
    assert_eq!(stats.by_aspect.len(), 64 + 1);
    assert!(stats.by_aspect.keys().all(|name| name.len() <= 128));
    // The totals still hold every event, and the page shows where.
    assert_eq!(total_of(&stats), 10_100);
    assert_eq!(stats.rate_per_second.round(), 10_100.0);
    assert!(stats.by_aspect["__overflow__"] >= 9_900);

    let aggregator = Aggregator::new().source(envelopes);
    for format in [Format::Json, Format::Prometheus] {
        let size = page(&aggregator, format).len();
        assert!(size < 20_000, "{format:?} has {size} bytes");
    }
}

/// Fault 5: zeros were excluded, so the two hit rates read 100 % and the rates 60.
#[test]
fn true_zero_is_part_of_the_average() {
    let idle = Reports {
        envelopes: Some(EnvelopeStats::default()),
        presence: Some(PresenceStats::default()),
        history: Some(HistoryStats::default()),
        ..hit_rate(0.0)
    };
    let busy = Reports {
        envelopes: Some(EnvelopeStats { rate_per_second: 60.0, ..Default::default() }),
        presence: Some(PresenceStats { average_per_channel: 5.0, ..Default::default() }),
        history: Some(HistoryStats { buffer_utilization_pct: 50.0, ..Default::default() }),
        ..hit_rate(100.0)
    };
    let snapshot = Aggregator::new().source(idle).source(busy).snapshot();
    assert_eq!(snapshot.envelopes.rate_per_second, 30.0);
    assert_eq!(snapshot.presence.average_per_channel, 2.5);
    assert_eq!(snapshot.history.buffer_utilization_pct, 25.0);
    assert_eq!(snapshot.cache.hit_rate_pct, 50.0);
}

/// Fault 6: the difference to the last full hour read 0 at the start of each hour.
#[test]
fn evictions_do_not_drop_to_zero_every_hour() {
    let (clock, cache, source) = ManualCache::with_source();
    for minute in 1..=300u64 {
        clock.advance(MINUTE);
        cache.add(0, 0, 10);
        let stats = source.cache().expect("a cache source reports the cache");
        assert_eq!(stats.evictions_last_hour, 10 * minute.min(60), "minute {minute}");
    }
}

/// Fault 6: the window began at the first scrape, so the first page read 0.
#[test]
fn evictions_before_the_first_scrape_are_included() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.add(0, 0, 25);
    clock.advance(20 * MINUTE);
    let stats = source.cache().expect("a cache source reports the cache");
    assert_eq!(stats.evictions_last_hour, 25);
}

/// Fault 6: the hit rate covered the whole life of the process, and read 96 % here.
#[test]
fn cold_cache_after_a_warm_day_reads_cold() {
    let (clock, cache, source) = ManualCache::with_source();
    for minute in 1..=25 * 60 {
        clock.advance(MINUTE);
        if minute <= 24 * 60 {
            cache.add(100, 0, 0);
        } else {
            cache.add(0, 100, 0);
        }
        let stats = source.cache().expect("a cache source reports the cache");
        if minute == 24 * 60 {
            assert_eq!(stats.hit_rate_pct, 100.0);
        } else if minute == 25 * 60 {
            assert_eq!(stats.hit_rate_pct, 0.0);
        }
    }
}
