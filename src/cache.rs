//! The cache over the last hour.
//!
//! A cache counts since it was created; an operator wants to know about the last hour. So samples of the cache's
//! counters are kept for an hour, and their values one hour ago are interpolated between the two samples around that
//! time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::CoarseClock;
use crate::snapshot::CacheStats;
use crate::source::Source;
use crate::time::{Minute, Nanos, Second, Unit, WINDOW};

/// The counters of a cache since it was created, and its current size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Insertions.
    pub puts: u64,
    /// Entries removed to make room.
    pub evictions: u64,
    /// Current number of entries.
    pub size_entries: u64,
    /// Current size in bytes; 0 if unknown.
    pub size_bytes: u64,
}

/// Reads a cache's counters. Implemented for closures that return [`CacheCounters`].
pub trait CacheStatter: Send + Sync {
    /// Returns the current counters. Called once per snapshot, by several threads at once if snapshots overlap.
    fn stats(&self) -> CacheCounters;
}

impl<F: Fn() -> CacheCounters + Send + Sync> CacheStatter for F {
    fn stats(&self) -> CacheCounters {
        self()
    }
}

/// Reports a cache's hit rate and evictions over the last hour, and its size.
///
/// `hit_rate_pct` and `evictions_last_hour` cover the 60 minutes before the snapshot, by differences of the cache's
/// own counters. Until the source is an hour old they cover everything counted. If a counter falls, the cache has
/// restarted, and all its counters count from zero. The more often the source is read, the more precise the window:
/// between two reads, the counters are assumed to grow evenly.
///
/// If calls of the [`CacheStatter`] overlap, the first to return is used. The others report its counters too, since
/// theirs may be older.
///
/// ```
/// use parsec_telemetry::{CacheCounters, CacheSource, Source};
///
/// let cache = CacheSource::new(|| CacheCounters { hits: 9, misses: 1, size_entries: 40, ..Default::default() });
/// assert_eq!(cache.cache().unwrap().hit_rate_pct, 90.0);
/// ```
///
/// For a cache that may be disabled, use an `Option<CacheSource<_>>`: `None` reports nothing.
pub struct CacheSource<C> {
    statter: C,
    clock: CoarseClock,
    history: Mutex<History>,
}

impl<C: CacheStatter> CacheSource<C> {
    /// Creates a source on the [shared clock](CoarseClock::shared). Its hour begins now.
    pub fn new(statter: C) -> Self {
        Self::starting_now(statter, CoarseClock::shared())
    }

    /// Sets the clock. Its hour begins now.
    #[must_use]
    pub fn clock(self, clock: CoarseClock) -> Self {
        Self::starting_now(self.statter, clock)
    }

    fn starting_now(statter: C, clock: CoarseClock) -> Self {
        let history = Mutex::new(History::starting_at(clock.read()));
        Self { statter, clock, history }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: CacheStatter> Source for CacheSource<C> {
    fn cache(&self) -> Option<CacheStats> {
        let recorded_before = self.lock().recorded;
        // Called without the lock, so that a blocked call does not block later ones.
        let counters = self.statter.stats();
        let mut history = self.lock();
        let now = self.clock.read();
        // Counters that another call recorded meanwhile may be newer than these, which would then look like a
        // restart.
        if history.recorded == recorded_before {
            history.record(now, counters);
        }
        let gained = history.last_hour(now);
        Some(CacheStats {
            hit_rate_pct: gained.hit_rate_pct(),
            size_bytes: history.counters.size_bytes,
            size_entries: history.counters.size_entries,
            evictions_last_hour: gained.evictions(),
        })
    }
}

impl<C> fmt::Debug for CacheSource<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSource").finish_non_exhaustive()
    }
}

const HOUR: Nanos = WINDOW * Minute::NANOS;

/// The newest sample is replaced while the one before it is less than this old: an hour has at most 482 samples,
/// however often the source is read.
const MIN_SPACING: Nanos = 15 * Second::NANOS;

/// Growth of the counters, in 128 bits: the sum over restarts may exceed 64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Deltas {
    hits: u128,
    misses: u128,
    evictions: u128,
}

impl Deltas {
    fn combine(self, other: Self, combine: impl Fn(u128, u128) -> u128) -> Self {
        Self {
            hits: combine(self.hits, other.hits),
            misses: combine(self.misses, other.misses),
            evictions: combine(self.evictions, other.evictions),
        }
    }

    fn hit_rate_pct(self) -> f64 {
        let lookups = self.hits.saturating_add(self.misses);
        if lookups == 0 { f64::NAN } else { 100.0 * self.hits as f64 / lookups as f64 }
    }

    fn evictions(self) -> u64 {
        u64::try_from(self.evictions).unwrap_or(u64::MAX)
    }
}

impl From<CacheCounters> for Deltas {
    fn from(counters: CacheCounters) -> Self {
        Self { hits: counters.hits.into(), misses: counters.misses.into(), evictions: counters.evictions.into() }
    }
}

/// The growth from the source's creation to a reading.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Nanos,
    total: Deltas,
}

impl Sample {
    /// The growth up to `reading`, between this sample and a later one.
    fn interpolate(self, later: Self, reading: Nanos) -> Deltas {
        let span = later.at.saturating_sub(self.at).max(1);
        let part = reading.saturating_sub(self.at).min(span);
        let (part, span) = (u128::from(part), u128::from(span));
        let at_part = |from: u128, to: u128| {
            let growth = to.saturating_sub(from);
            // Quotient and remainder apart: their product with `part` could exceed 128 bits.
            let rest = (growth % span * part).saturating_add(span / 2) / span;
            from + growth / span * part + rest
        };
        self.total.combine(later.total, at_part)
    }
}

/// The samples of the last hour, and the one before.
struct History {
    /// Oldest first, never empty.
    samples: VecDeque<Sample>,
    /// The cache's counters at the newest sample.
    counters: CacheCounters,
    /// The number of samples ever recorded.
    recorded: u64,
}

impl History {
    /// Starts with zero counters: what the cache has counted before is growth of the first sample.
    fn starting_at(at: Nanos) -> Self {
        Self {
            samples: VecDeque::from([Sample { at, total: Deltas::default() }]),
            counters: CacheCounters::default(),
            recorded: 0,
        }
    }

    fn record(&mut self, now: Nanos, counters: CacheCounters) {
        let before = std::mem::replace(&mut self.counters, counters);
        self.recorded += 1;
        // One counter that falls shows that all have restarted, even one that has passed its old value since.
        let restarted =
            counters.hits < before.hits || counters.misses < before.misses || counters.evictions < before.evictions;
        let before = if restarted { CacheCounters::default() } else { before };
        let growth = Deltas::from(counters).combine(before.into(), u128::saturating_sub);
        let total = self.newest().combine(growth, u128::saturating_add);
        let before_newest = self.samples.iter().rev().nth(1);
        if before_newest.is_some_and(|sample| now.saturating_sub(sample.at) < MIN_SPACING) {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { at: now, total });
    }

    /// The growth in the hour before `now`.
    fn last_hour(&mut self, now: Nanos) -> Deltas {
        let edge = now.saturating_sub(HOUR);
        while self.samples.get(1).is_some_and(|second| second.at <= edge) {
            self.samples.pop_front();
        }
        let newest = self.newest();
        let at_edge = match (self.samples.front(), self.samples.get(1)) {
            (Some(first), Some(second)) => first.interpolate(*second, edge),
            // The only sample is an hour old.
            _ => newest,
        };
        newest.combine(at_edge, u128::saturating_sub)
    }

    fn newest(&self) -> Deltas {
        self.samples.back().map_or_else(Deltas::default, |sample| sample.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    fn hits(hits: u64) -> CacheCounters {
        CacheCounters { hits, ..Default::default() }
    }

    #[test]
    fn samples_are_bounded_however_often_the_source_is_read() {
        let mut history = History::starting_at(0);
        for quarter_second in 0..4 * 3 * 3600 {
            let now = quarter_second * Second::NANOS / 4;
            history.record(now, CacheCounters::default());
            history.last_hour(now);
            let samples = history.samples.len();
            assert!(samples <= 482, "{samples}");
        }
    }

    #[test]
    fn samples_at_one_reading_add_up() {
        let mut history = History::starting_at(7);
        for total in [3, 3, 5] {
            history.record(7, hits(total));
            assert_eq!(history.last_hour(7).hits, u128::from(total));
        }
    }

    #[test]
    fn restarts_with_full_counters_do_not_distort_later_hours() {
        let mut history = History::starting_at(0);
        let full = CacheCounters { hits: u64::MAX, evictions: u64::MAX, ..Default::default() };
        for hour in 0..4 {
            history.record(2 * hour * HOUR, full);
            history.last_hour(2 * hour * HOUR);
            history.record((2 * hour + 1) * HOUR, CacheCounters::default());
        }
        for (hour, hits, misses) in [(9, 3, 1), (10, 6, 2)] {
            let counters = CacheCounters { hits, misses, ..Default::default() };
            history.record(hour * HOUR, counters);
        }
        let gained = history.last_hour(10 * HOUR);
        assert_eq!((gained.hits, gained.misses, gained.evictions()), (3, 1, 0));
    }

    /// The first call reads the counters and blocks; the second returns newer ones.
    #[test]
    fn blocked_statter_neither_blocks_later_calls_nor_looks_like_a_restart() {
        const LIMIT: Duration = Duration::from_secs(10);
        let (entered, is_entered) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let (calls, is_released) = (AtomicU64::new(0), Mutex::new(is_released));
        let statter = move || match calls.fetch_add(1, SeqCst) {
            0 => {
                entered.send(()).expect("the test waits");
                let _ = is_released.lock().expect("one call").recv_timeout(LIMIT);
                hits(100)
            }
            call => hits(100 + 10 * call),
        };
        let clock = ManualClock::new().clock();
        let source = Arc::new(CacheSource::new(statter).clock(clock));
        let call = || {
            let (source, (done, is_done)) = (Arc::clone(&source), mpsc::channel());
            thread::spawn(move || done.send(source.cache()));
            is_done
        };
        let hits_recorded = || source.lock().newest().hits;

        let blocked = call();
        is_entered.recv_timeout(LIMIT).expect("the first call begins");
        assert!(call().recv_timeout(LIMIT).is_ok(), "a later call is blocked");
        assert_eq!(hits_recorded(), 110);
        release.send(()).expect("the first call waits");
        assert!(blocked.recv_timeout(LIMIT).is_ok());
        assert_eq!(hits_recorded(), 110, "the older counters were recorded");
        assert!(call().recv_timeout(LIMIT).is_ok());
        assert_eq!(hits_recorded(), 120);
    }

    #[test]
    fn panicking_statter_leaves_the_source_usable() {
        let calls = AtomicU64::new(0);
        let statter = move || match calls.fetch_add(1, SeqCst) {
            1 => panic!("the statter failed"),
            call => hits(10 + call),
        };
        let source = CacheSource::new(statter).clock(ManualClock::new().clock());
        assert!(source.cache().is_some());
        let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| source.cache()));
        assert!(panics.is_err());
        assert!(source.cache().is_some());
        assert_eq!(source.lock().newest().hits, 12);
    }
}
