//! The cache over the last hour.
//!
//! A cache counts since it was created. Samples of its counters are kept for an hour, and the values one hour ago are
//! interpolated between the two samples around that time.

use std::array;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use crate::clock::CoarseClock;
use crate::snapshot::CacheStats;
use crate::source::{Report, Source, SourceError};
use crate::time::{Minute, Nanos, Second, Unit, WINDOW};
use crate::worker::lock;

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

impl CacheCounters {
    /// Reads the text of Redis' `INFO` command: the server's counters and memory, and the keys of a database or all.
    ///
    /// # Errors
    ///
    /// If one of the four counts is missing or no number. A database without a line is empty.
    pub fn from_redis_info(info: &str, database: Option<u16>) -> Result<Self, SourceError> {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let value = value.ok_or_else(|| format!("no {name} in the INFO text: ask for all sections"))?;
            value.trim_end().parse::<u64>().map_err(|_| format!("{name} is no count: {value:?}"))
        };
        let keys = info.lines().filter_map(|line| {
            let (number, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
            let is_counted = database.is_none_or(|database| number.parse() == Ok(database));
            rest.split(',').next()?.trim_end().parse().ok().filter(|_| is_counted)
        });
        Ok(Self {
            hits: field("keyspace_hits")?,
            misses: field("keyspace_misses")?,
            puts: 0,
            evictions: field("evicted_keys")?,
            size_entries: keys.fold(0, u64::saturating_add),
            size_bytes: field("used_memory")?,
        })
    }
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
/// The hour is the 60 minutes before the snapshot, or all time until the source is an hour old. Between two reads,
/// the counters are assumed to grow evenly. Without lookups in the hour, the hit rate is NaN. For a cache that may be
/// disabled, use an `Option<CacheSource<_>>`: `None` reports nothing.
///
/// ```
/// use parsec_telemetry::{CacheCounters, CacheSource, Source};
///
/// let cache = CacheSource::new(|| CacheCounters { hits: 9, misses: 1, size_entries: 40, ..Default::default() });
/// assert_eq!(cache.cache().unwrap().hit_rate_pct, 90.0);
/// ```
///
/// A reading with a counter below its last value may be a dip of summed shards, or the default of a failed call: only
/// its sizes are used. If a second one, at least a second later, is not below the first and not all zeros, the cache
/// has restarted, and all counters count from zero.
pub struct CacheSource<C> {
    statter: C,
    read: fn(&C) -> Result<CacheCounters, SourceError>,
    clock: CoarseClock,
    history: Mutex<History>,
}

impl<C> CacheSource<C> {
    /// Creates a source on the [shared clock](CoarseClock::shared). Its hour begins now.
    pub fn new(statter: C) -> Self
    where
        C: CacheStatter,
    {
        Self::starting_now(statter, |statter| Ok(statter.stats()), CoarseClock::shared())
    }

    /// Creates a source from a closure that can fail. While it fails, the page keeps the last good report.
    ///
    /// ```
    /// use parsec_telemetry::{CacheCounters, CacheSource, Source};
    ///
    /// let cache = CacheSource::try_new(|| Err::<CacheCounters, _>("connection refused"));
    /// assert_eq!(cache.collect().unwrap_err().to_string(), "connection refused");
    /// ```
    pub fn try_new<E>(statter: C) -> Self
    where
        C: Fn() -> Result<CacheCounters, E> + Send + Sync,
        E: Into<SourceError>,
    {
        Self::starting_now(statter, |statter| statter().map_err(Into::into), CoarseClock::shared())
    }

    /// Sets the clock. Its hour begins now.
    #[must_use]
    pub fn clock(self, clock: CoarseClock) -> Self {
        Self::starting_now(self.statter, self.read, clock)
    }

    fn starting_now(statter: C, read: fn(&C) -> Result<CacheCounters, SourceError>, clock: CoarseClock) -> Self {
        Self { statter, read, history: Mutex::new(History::starting_at(clock.read())), clock }
    }

    fn stats(&self) -> Result<CacheStats, SourceError> {
        let recorded_before = lock(&self.history).recorded;
        // Called without the lock, so that a blocked call does not block later ones.
        let counters = (self.read)(&self.statter)?;
        let mut history = lock(&self.history);
        let now = self.clock.read();
        // If calls overlap, the first to return is used: those of the others may be older and look like a dip.
        if history.recorded == recorded_before {
            history.record(now, counters);
        }
        let [hits, misses, evictions] = history.last_hour(now);
        Ok(CacheStats {
            // 0 / 0 is NaN.
            hit_rate_pct: 100.0 * hits as f64 / hits.saturating_add(misses) as f64,
            size_bytes: history.newest.size_bytes,
            size_entries: history.newest.size_entries,
            evictions_last_hour: u64::try_from(evictions).unwrap_or(u64::MAX),
        })
    }
}

impl<C: Send + Sync> Source for CacheSource<C> {
    fn cache(&self) -> Option<CacheStats> {
        self.stats().ok()
    }

    fn collect(&self) -> Result<Report, SourceError> {
        Ok(Report { cache: Some(self.stats()?), ..Report::default() })
    }
}

impl<C> fmt::Debug for CacheSource<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSource").finish_non_exhaustive()
    }
}

const HOUR: Nanos = WINDOW * Minute::NANOS;

/// Hits, misses and evictions, in 128 bits: the sum over restarts may exceed 64.
type Counts = [u128; 3];

fn combine(a: Counts, b: Counts, combine: impl Fn(u128, u128) -> u128) -> Counts {
    array::from_fn(|i| combine(a[i], b[i]))
}

/// Whether any of `counts` is below its value in `mark`.
fn is_below(counts: Counts, mark: Counts) -> bool {
    counts.iter().zip(mark).any(|(&count, mark)| count < mark)
}

/// The growth from the source's creation to a reading.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Nanos,
    total: Counts,
}

/// The samples of the last hour, and the one before.
struct History {
    /// Oldest first, never empty.
    samples: VecDeque<Sample>,
    /// The cache's counters at the newest sample.
    mark: Counts,
    /// The first reading below the mark, unless it was a dip.
    fallen: Option<(Nanos, Counts)>,
    /// The newest reading, for its sizes.
    newest: CacheCounters,
    /// The number of readings.
    recorded: u64,
}

impl History {
    /// Starts with zero counters: what the cache has counted before is growth of the first sample.
    fn starting_at(at: Nanos) -> Self {
        let samples = VecDeque::from([Sample { at, total: Counts::default() }]);
        Self { samples, mark: Counts::default(), fallen: None, newest: CacheCounters::default(), recorded: 0 }
    }

    fn record(&mut self, now: Nanos, newest: CacheCounters) {
        self.newest = newest;
        self.recorded += 1;
        let counts = [newest.hits, newest.misses, newest.evictions].map(u128::from);
        if is_below(counts, self.mark) {
            let first = self.fallen.filter(|&(_, first)| !is_below(counts, first)).unwrap_or((now, counts));
            if now.saturating_sub(first.0) < Second::NANOS || counts == Counts::default() {
                self.fallen = Some(first);
                return;
            }
            // The cache has restarted.
            self.mark = Counts::default();
        }
        self.fallen = None;
        let growth = combine(counts, self.mark, u128::saturating_sub);
        let total = combine(self.total(), growth, u128::saturating_add);
        self.mark = counts;
        // Replaces the newest sample while the one before it is younger than 15 seconds: an hour has at most 482.
        let before_newest = self.samples.iter().rev().nth(1);
        if before_newest.is_some_and(|sample| now.saturating_sub(sample.at) < 15 * Second::NANOS) {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { at: now, total });
    }

    /// The growth in the hour before `now`.
    fn last_hour(&mut self, now: Nanos) -> Counts {
        let edge = now.saturating_sub(HOUR);
        while self.samples.get(1).is_some_and(|second| second.at <= edge) {
            self.samples.pop_front();
        }
        let (Some(first), Some(second)) = (self.samples.front(), self.samples.get(1)) else {
            return Counts::default();
        };
        let span = u128::from(second.at.saturating_sub(first.at).max(1));
        let part = u128::from(edge.saturating_sub(first.at)).min(span);
        let at_edge = combine(first.total, second.total, |from, to| {
            let growth = to.saturating_sub(from);
            // Quotient and remainder apart: their product with `part` could exceed 128 bits.
            let rest = (growth % span * part).saturating_add(span / 2) / span;
            from + growth / span * part + rest
        });
        combine(self.total(), at_edge, u128::saturating_sub)
    }

    /// The growth up to the newest sample.
    fn total(&self) -> Counts {
        self.samples.back().map_or_else(Counts::default, |sample| sample.total)
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
            assert_eq!(history.last_hour(7)[0], u128::from(total));
        }
    }

    #[test]
    fn restarts_with_full_counters_do_not_distort_later_hours() {
        let mut history = History::starting_at(0);
        let full = CacheCounters { hits: u64::MAX, evictions: u64::MAX, ..Default::default() };
        for hour in 0..4 {
            history.record(2 * hour * HOUR, full);
            history.last_hour(2 * hour * HOUR);
            // Twice: a restart.
            history.record((2 * hour + 1) * HOUR, hits(1));
            history.record((2 * hour + 1) * HOUR + Second::NANOS, hits(1));
            assert_eq!(history.mark, [1, 0, 0]);
        }
        for (hour, hits, misses) in [(9, 3, 1), (10, 6, 2)] {
            let counters = CacheCounters { hits, misses, ..Default::default() };
            history.record(hour * HOUR, counters);
        }
        assert_eq!(history.last_hour(10 * HOUR), [3, 1, 0]);
    }

    /// What a history has gained after readings at these milliseconds.
    fn hits_after(readings: &[(u64, u64)]) -> u128 {
        let mut history = History::starting_at(0);
        for &(millis, count) in readings {
            history.record(millis * 1_000_000, hits(count));
        }
        history.total()[0]
    }

    #[test]
    fn counters_that_dip_are_not_a_restart() {
        // A little less, or a failed call's default, once or for long.
        assert_eq!(hits_after(&[(0, 1000), (10_000, 997), (20_000, 1000), (30_000, 1005)]), 1005);
        assert_eq!(hits_after(&[(0, 1000), (10_000, 0), (20_000, 1005)]), 1005);
        assert_eq!(hits_after(&[(0, 1000), (10_000, 0), (20_000, 0), (30_000, 0), (40_000, 1005)]), 1005);
        // Dips that a good reading separates.
        assert_eq!(hits_after(&[(0, 1000), (10_000, 997), (20_000, 1001), (30_000, 998), (40_000, 1002)]), 1002);
        // Two readings of one dip, and one that falls further.
        assert_eq!(hits_after(&[(0, 1000), (10_000, 997), (10_999, 998), (20_000, 1001)]), 1001);
        assert_eq!(hits_after(&[(0, 1000), (10_000, 997), (20_000, 996), (20_999, 996), (30_000, 1001)]), 1001);
    }

    #[test]
    fn restart_counts_from_zero_at_its_second_reading() {
        assert_eq!(hits_after(&[(0, 1000), (10_000, 5)]), 1000);
        assert_eq!(hits_after(&[(0, 1000), (10_000, 5), (11_000, 5), (12_000, 7)]), 1007);
        // Without lookups at first, and while calls fail.
        assert_eq!(hits_after(&[(0, 1000), (10_000, 0), (20_000, 3)]), 1003);
        assert_eq!(hits_after(&[(0, 1000), (10_000, 5), (20_000, 0), (30_000, 9)]), 1009);
        // Again.
        assert_eq!(hits_after(&[(0, 1000), (10_000, 5), (20_000, 6), (30_000, 1), (40_000, 2)]), 1008);
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
        let hits_recorded = || lock(&source.history).total()[0];

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
        assert_eq!(lock(&source.history).total()[0], 12);
    }
}
