//! The hit rate and evictions of the last hour, from a cache's own ever-growing counters.
//!
//! Properties:
//!
//! 1. They cover the sixty minutes before the snapshot, however often the cache is read.
//! 2. Between two readings a counter is assumed to grow evenly.
//! 3. A counter that falls may be a dip, and its reading is ignored. A second such reading, at least a second later,
//!    is a restart: all counters began at zero.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::sources::ManualCache;
use common::{HOUR, MINUTE, NANO, SECOND};
use parsec_telemetry::{Aggregator, CacheCounters, CacheSource, CacheStats, CacheStatter, ManualClock, Source};

/// Stands for a hit rate of NaN, which equals nothing.
const NO_LOOKUPS: f64 = -1.0;

/// The hit rate and the evictions.
fn last_hour(source: &impl Source) -> (f64, u64) {
    let stats = source.cache().expect("a cache source reports the cache");
    let hit_rate = if stats.hit_rate_pct.is_nan() { NO_LOOKUPS } else { stats.hit_rate_pct };
    (hit_rate, stats.evictions_last_hour)
}

#[test]
fn cache_without_lookups_has_no_hit_rate() {
    let (clock, cache, source) = ManualCache::with_source();
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    clock.advance(2 * HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    cache.add(0, 5, 0);
    assert_eq!(last_hour(&source), (0.0, 0));
    clock.advance(2 * HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
}

#[test]
fn first_reading_covers_everything_so_far() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.set(CacheCounters { hits: 300, misses: 100, puts: 100, evictions: 60, size_entries: 40, size_bytes: 4096 });
    let expected = CacheStats { hit_rate_pct: 75.0, size_bytes: 4096, size_entries: 40, evictions_last_hour: 60 };
    assert_eq!(source.cache(), Some(expected.clone()));
    clock.advance(30 * MINUTE);
    assert_eq!(source.cache(), Some(expected));
    cache.add(0, 400, 40);
    clock.advance(29 * MINUTE);
    assert_eq!(last_hour(&source), (37.5, 100));
}

#[test]
fn sizes_are_current() {
    let (_clock, cache, source) = ManualCache::with_source();
    for size in [10, 3, u64::MAX, 0] {
        cache.set(CacheCounters { size_entries: size, size_bytes: size / 2, ..Default::default() });
        let stats = source.cache().expect("a cache source reports the cache");
        assert_eq!((stats.size_entries, stats.size_bytes), (size, size / 2));
    }
}

/// Property 1.
#[test]
fn even_growth_read_at_any_interval_is_exact() {
    for every in [1, 7, 15, 16, 59, 60, 61, 599, 1801, 3599, 3600, 3601, 7200, 86_400] {
        let (clock, cache, source) = ManualCache::with_source();
        let mut age = 0;
        while age < 4 * 3600 || age < 3 * every {
            clock.advance(Duration::from_secs(every));
            age += every;
            cache.add(9 * every, every, 3 * every);
            let expected = (90.0, 3 * age.min(3600));
            assert_eq!(last_hour(&source), expected, "read every {every} s, after {age} s");
        }
    }
}

#[test]
fn even_growth_read_at_any_phase_is_exact() {
    let (clock, cache, source) = ManualCache::with_source();
    clock.advance(NANO);
    for step in 1..=5 * 3600 {
        clock.advance(SECOND);
        cache.add(3, 1, 2);
        if step % 83 == 0 {
            let (hit_rate, evictions) = last_hour(&source);
            let expected = 2 * u64::min(step, 3600);
            assert!(evictions.abs_diff(expected) <= 1, "{evictions} after {step} s");
            assert!((hit_rate - 75.0).abs() < 0.02, "{hit_rate} after {step} s");
        }
    }
}

#[test]
fn burst_leaves_the_window_after_exactly_one_hour() {
    let (clock, cache, source) = ManualCache::with_source();
    for minute in 0..200u64 {
        if minute == 70 {
            cache.add(0, 1000, 500);
        }
        cache.add(10, 0, 0);
        let (hit_rate, evictions) = last_hour(&source);
        // It happened between the readings of minutes 69 and 70.
        let burst = (70..130).contains(&minute);
        assert_eq!(evictions, if burst { 500 } else { 0 }, "minute {minute}");
        let lookups_hit = 10.0 * (minute + 1).min(60) as f64;
        let expected = if burst { 100.0 * lookups_hit / (lookups_hit + 1000.0) } else { 100.0 };
        assert!((hit_rate - expected).abs() < 1e-9, "minute {minute}: {hit_rate}, not {expected}");
        clock.advance(MINUTE);
    }
}

#[test]
fn cold_cache_after_100_warm_hours_reads_cold_within_one_hour() {
    let (clock, cache, source) = ManualCache::with_source();
    for _ in 0..100 * 60 {
        cache.add(1000, 0, 0);
        clock.advance(MINUTE);
        let _ = source.cache();
    }
    for minute in 1..=60 {
        cache.add(0, 1000, 0);
        clock.advance(MINUTE);
        let expected = 100.0 * f64::from(60 - minute) / 60.0;
        assert!((last_hour(&source).0 - expected).abs() < 1e-9, "minute {minute}");
    }
    assert_eq!(last_hour(&source).0, 0.0);
}

/// Property 2.
#[test]
fn growth_between_two_distant_readings_is_spread_evenly() {
    let (clock, cache, source) = ManualCache::with_source();
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    cache.add(0, 100, 400);
    clock.advance(4 * HOUR);
    assert_eq!(last_hour(&source), (0.0, 100));
    clock.advance(30 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 50));
    clock.advance(30 * MINUTE);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
}

/// Two readings 10 s apart, and then none for 40 minutes.
#[test]
fn reading_soon_after_another_is_kept() {
    let (clock, cache, source) = ManualCache::with_source();
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    cache.add(0, 1000, 1000);
    clock.advance(10 * SECOND);
    assert_eq!(last_hour(&source), (0.0, 1000));
    clock.advance(40 * MINUTE);
    assert_eq!(last_hour(&source), (0.0, 1000));
    // All growth was between the first two readings, more than an hour ago.
    clock.advance(25 * MINUTE);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
}

/// What the cache did before the source existed counts as of the first reading.
#[test]
fn growth_before_the_first_reading_leaves_after_one_hour() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.add(0, 1000, 1000);
    clock.advance(5 * SECOND);
    assert_eq!(last_hour(&source), (0.0, 1000));
    clock.advance(HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
}

/// Property 3.
#[test]
fn fallen_counters_start_again_from_zero_at_the_second_reading() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.add(900, 100, 50);
    assert_eq!(last_hour(&source), (90.0, 50));
    clock.advance(MINUTE);
    cache.set(CacheCounters { hits: 60, misses: 40, evictions: 7, size_entries: 3, ..Default::default() });
    assert_eq!(last_hour(&source), (90.0, 50));
    assert_eq!(source.cache().expect("a report").size_entries, 3);
    clock.advance(Duration::from_nanos(999_999_999));
    assert_eq!(last_hour(&source), (90.0, 50));
    clock.advance(NANO);
    assert_eq!(last_hour(&source), (100.0 * 960.0 / 1100.0, 57));
    clock.advance(MINUTE);
    cache.add(100, 0, 1);
    assert_eq!(last_hour(&source), (100.0 * 1060.0 / 1200.0, 58));
    // What happened before the restart leaves the window like everything else.
    clock.advance(56 * MINUTE + 59 * SECOND);
    assert_eq!(last_hour(&source).1, 58);
    clock.advance(4 * MINUTE);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
}

/// Property 3: the evictions are above their last reading, but the hits have fallen.
#[test]
fn restart_resets_counters_above_their_last_reading_too() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.add(1000, 10, 5);
    clock.advance(MINUTE);
    let _ = source.cache();
    clock.advance(61 * MINUTE);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    cache.set(CacheCounters { hits: 50, misses: 50, evictions: 6, ..Default::default() });
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    clock.advance(SECOND);
    // The second of the two hours' difference, of the growth since the last good reading an hour and a minute ago.
    assert_eq!(last_hour(&source).0, 50.0);
    assert!((1..=6).contains(&last_hour(&source).1));
}

/// Summed shards sometimes read a little less than before.
#[test]
fn dip_does_not_add_the_whole_life_of_the_cache_to_the_last_hour() {
    let (clock, cache, source) = ManualCache::with_source();
    cache.add(1_000_000, 1_000_000, 1_000_000);
    let _ = source.cache();
    clock.advance(2 * HOUR);
    assert_eq!(last_hour(&source), (NO_LOOKUPS, 0));
    for _ in 0..100 {
        cache.update(|counters| counters.evictions -= 3);
        assert_eq!(last_hour(&source).1, 0);
        clock.advance(10 * SECOND);
        cache.update(|counters| counters.evictions += 3);
        assert_eq!(last_hour(&source).1, 0);
        clock.advance(10 * SECOND);
    }
}

/// A failed call returns a default, as often as it is made.
#[test]
fn counters_that_read_zero_for_an_hour_are_not_a_restart() {
    let (clock, cache, source) = ManualCache::with_source();
    let good = CacheCounters { hits: 900, misses: 100, evictions: 50, size_entries: 7, ..Default::default() };
    cache.set(good);
    assert_eq!(last_hour(&source), (90.0, 50));
    cache.set(CacheCounters::default());
    for _ in 0..60 {
        clock.advance(30 * SECOND);
        assert_eq!(last_hour(&source), (90.0, 50));
    }
    cache.set(good);
    cache.add(0, 0, 1);
    assert_eq!(last_hour(&source), (90.0, 51));
}

#[test]
fn failing_statter_is_a_failed_collection_and_records_nothing() {
    let (clock, cache) = (ManualClock::new(), ManualCache::default());
    let fails = Arc::new(AtomicBool::new(false));
    let statter = {
        let (cache, fails) = (cache.clone(), Arc::clone(&fails));
        move || if fails.load(SeqCst) { Err("connection refused") } else { Ok(cache.stats()) }
    };
    let source = CacheSource::try_new(statter).clock(clock.clock());
    cache.add(900, 100, 50);
    assert_eq!(last_hour(&source), (90.0, 50));
    fails.store(true, SeqCst);
    for wrapped in [&source as &dyn Source, &Some(&source)] {
        let error = wrapped.collect().expect_err("the statter fails");
        assert_eq!(error.to_string(), "connection refused");
        assert_eq!(wrapped.cache(), None);
    }
    fails.store(false, SeqCst);
    clock.advance(MINUTE);
    let report = source.collect().expect("the statter works");
    assert_eq!(report.cache.expect("the cache's section").evictions_last_hour, 50);
    assert_eq!(report.envelopes, None);
}

#[test]
fn counters_at_the_maximum_saturate() {
    let (clock, cache, source) = ManualCache::with_source();
    let most = CacheCounters {
        hits: u64::MAX,
        misses: u64::MAX,
        puts: u64::MAX,
        evictions: u64::MAX,
        size_entries: u64::MAX,
        size_bytes: u64::MAX,
    };
    let one = CacheCounters { hits: 1, misses: 1, ..Default::default() };
    for counters in [most, one, one, most, most] {
        cache.set(counters);
        assert_eq!(last_hour(&source), (50.0, u64::MAX));
        clock.advance(MINUTE);
    }
    clock.advance(Duration::MAX);
    let _ = source.cache();
}

const REDIS_INFO: &str = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\r\n# Stats\r\n\
    evicted_keys:12\r\nkeyspace_hits:900\r\nkeyspace_misses:100\r\n\r\n# Keyspace\r\n\
    db0:keys=5,expires=1,avg_ttl=0\r\ndb10:keys=30,expires=0,avg_ttl=0\r\n";

#[test]
fn redis_info_is_read_for_one_database_or_all() {
    for (database, size_entries) in [(None, 35), (Some(0), 5), (Some(10), 30), (Some(1), 0)] {
        let expected =
            CacheCounters { hits: 900, misses: 100, puts: 0, evictions: 12, size_entries, size_bytes: 1 << 20 };
        assert_eq!(CacheCounters::from_redis_info(REDIS_INFO, database).expect("valid"), expected);
        let unix = REDIS_INFO.replace('\r', "");
        assert_eq!(CacheCounters::from_redis_info(&unix, database).expect("valid"), expected);
    }
}

#[test]
fn incomplete_redis_info_is_an_error() {
    for missing in ["used_memory", "evicted_keys", "keyspace_hits", "keyspace_misses"] {
        let info = REDIS_INFO.replace(&format!("{missing}:"), "other:");
        let error = CacheCounters::from_redis_info(&info, None).expect_err("incomplete").to_string();
        assert!(error.contains(missing), "{error}");
    }
    assert!(CacheCounters::from_redis_info("", None).is_err());
    let error = CacheCounters::from_redis_info(&REDIS_INFO.replace(":900", ":-1"), None).expect_err("no count");
    assert_eq!(error.to_string(), "keyspace_hits is no count: \"-1\"");
}

/// `CONFIG RESETSTAT`, or a restart.
#[test]
fn redis_whose_statistics_are_reset_counts_from_zero() {
    let clock = ManualClock::new();
    let hits = Arc::new(AtomicU64::new(900));
    let read = Arc::clone(&hits);
    let source = CacheSource::try_new(move || {
        let info = REDIS_INFO.replace(":900", &format!(":{}", read.load(SeqCst))).replace(":100", ":0");
        CacheCounters::from_redis_info(&info, None)
    })
    .clock(clock.clock());
    assert_eq!(last_hour(&source), (100.0, 12));
    hits.store(3, SeqCst);
    for expected in [12, 24] {
        assert_eq!(last_hour(&source).1, expected);
        clock.advance(MINUTE);
    }
}

#[test]
fn several_caches_are_averaged_and_summed() {
    let source = |hits, misses, evictions| {
        CacheSource::new(move || CacheCounters { hits, misses, evictions, size_entries: 5, ..Default::default() })
    };
    let aggregator = Aggregator::new()
        .source(source(1, 0, 3))
        .source(Some(source(0, 9, 4)))
        .source(None::<CacheSource<ManualCache>>);
    let cache = aggregator.snapshot().cache;
    let expected = CacheStats { hit_rate_pct: 50.0, size_entries: 10, evictions_last_hour: 7, size_bytes: 0 };
    assert_eq!(cache, expected);
}
