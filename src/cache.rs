//! The cache, over the last hour.
//!
//! A cache knows how often it hit since it began. What an operator wants to know is how often it
//! hit of late. So each reading of the cache's counters is kept for an hour, and what they were an
//! hour ago is read off the two readings around that moment, as if they had grown evenly in
//! between.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::clock::CoarseClock;
use crate::snapshot::CacheStats;
use crate::source::Source;
use crate::time::{Minute, Nanos, Second, Unit, WINDOW};

/// What a cache says of itself: four counters that only grow, and its size now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Look-ups that found what they looked for.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries put in.
    pub puts: u64,
    /// Entries that had to make room.
    pub evictions: u64,
    /// Entries held now.
    pub size_entries: u64,
    /// Bytes held now; 0 if the cache does not know.
    pub size_bytes: u64,
}

/// A cache that can say how it is doing. A closure that returns [`CacheCounters`] is one.
pub trait CacheStatter: Send + Sync {
    /// The counters of this moment. Called once for each snapshot.
    fn stats(&self) -> CacheCounters;
}

impl<F: Fn() -> CacheCounters + Send + Sync> CacheStatter for F {
    fn stats(&self) -> CacheCounters {
        self()
    }
}

/// Reports how a cache did in the last hour.
///
/// `hit_rate_pct` and `evictions_last_hour` slide: they are what the cache's own counters gained in
/// the 60 minutes before the snapshot. Until the source is an hour old they cover all that the
/// counters say. A counter that falls belongs to a cache that was restarted, and counts from zero
/// again. The window is as exact as the source is read often: between two readings, the counters
/// are taken to have grown evenly.
///
/// ```
/// use parsec_telemetry::{CacheCounters, CacheSource, Source};
///
/// let cache = CacheSource::new(|| CacheCounters { hits: 9, misses: 1, size_entries: 40, ..Default::default() });
/// assert_eq!(cache.cache().unwrap().hit_rate_pct, 90.0);
/// ```
///
/// A cache that can be switched off is an `Option<CacheSource<_>>`: `None` reports nothing.
pub struct CacheSource<C> {
    statter: C,
    clock: CoarseClock,
    readings: Mutex<Readings>,
}

impl<C: CacheStatter> CacheSource<C> {
    /// A source over a cache, on the [shared clock](CoarseClock::shared). Its hour begins now.
    pub fn new(statter: C) -> Self {
        Self::beginning(statter, CoarseClock::shared())
    }

    /// The clock to go by, instead of the shared one. The hour begins anew.
    #[must_use]
    pub fn clock(self, clock: CoarseClock) -> Self {
        Self::beginning(self.statter, clock)
    }

    fn beginning(statter: C, clock: CoarseClock) -> Self {
        let readings = Mutex::new(Readings::beginning(clock.read().reading));
        Self {
            statter,
            clock,
            readings,
        }
    }
}

impl<C: CacheStatter> Source for CacheSource<C> {
    fn cache(&self) -> Option<CacheStats> {
        // Asked under the lock: two readings that overtook each other would look like a restart. If
        // it panics, the readings are as they were.
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = self.statter.stats();
        let gained = readings.last_hour(self.clock.read().reading, counters);
        Some(CacheStats {
            hit_rate_pct: gained.hit_rate_pct(),
            size_bytes: counters.size_bytes,
            size_entries: counters.size_entries,
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

/// Between the newest reading and the one before its predecessor there is this at the least: an
/// hour of readings is then at most 482, however often the page is read.
const APART: Nanos = 15 * Second::NANOS;

/// What the counters have gained since the source was made: more than 64 bits, if the cache begins
/// again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Gains {
    hits: u128,
    misses: u128,
    evictions: u128,
}

impl Gains {
    fn combine(self, other: Self, combine: impl Fn(u128, u128) -> u128) -> Self {
        Self {
            hits: combine(self.hits, other.hits),
            misses: combine(self.misses, other.misses),
            evictions: combine(self.evictions, other.evictions),
        }
    }

    fn hit_rate_pct(self) -> f64 {
        let look_ups = self.hits.saturating_add(self.misses);
        if look_ups == 0 {
            0.0
        } else {
            100.0 * self.hits as f64 / look_ups as f64
        }
    }

    fn evictions(self) -> u64 {
        u64::try_from(self.evictions).unwrap_or(u64::MAX)
    }
}

/// The gains at some moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Nanos,
    gains: Gains,
}

impl Reading {
    /// The gains at a moment from this reading to a later one, if they grew evenly in between.
    fn towards(self, later: Self, moment: Nanos) -> Gains {
        let (gone, whole) = (
            moment.saturating_sub(self.at),
            later.at.saturating_sub(self.at).max(1),
        );
        let (gone, whole) = (u128::from(gone.min(whole)), u128::from(whole));
        let share = |from: u128, to: u128| {
            let gained = to.saturating_sub(from);
            // In two steps: the product of the whole could leave 128 bits, and that of the rest
            // cannot.
            let rest = (gained % whole * gone).saturating_add(whole / 2) / whole;
            from + gained / whole * gone + rest
        };
        self.gains.combine(later.gains, share)
    }
}

/// The readings of the last hour, and the one before.
struct Readings {
    /// Oldest first, and the newest always among them.
    kept: VecDeque<Reading>,
    /// What the cache's counters said at the newest.
    counters: Gains,
}

impl Readings {
    /// The beginning: nothing gained yet. What the counters already say then counts as gained now.
    fn beginning(at: Nanos) -> Self {
        let counters = Gains::default();
        Self {
            kept: VecDeque::from([Reading {
                at,
                gains: counters,
            }]),
            counters,
        }
    }

    /// What the counters have gained in the hour before `now`, at which they say `counters`.
    fn last_hour(&mut self, now: Nanos, counters: CacheCounters) -> Gains {
        let CacheCounters {
            hits,
            misses,
            evictions,
            ..
        } = counters;
        let [hits, misses, evictions] = [hits, misses, evictions].map(u128::from);
        let gains = self.gains_with(Gains {
            hits,
            misses,
            evictions,
        });
        self.keep(Reading { at: now, gains });

        let edge = now.saturating_sub(HOUR);
        while self.kept.get(1).is_some_and(|second| second.at <= edge) {
            self.kept.pop_front();
        }
        let before = match (self.kept.front(), self.kept.get(1)) {
            (Some(first), Some(second)) => first.towards(*second, edge),
            // The newest itself is an hour old.
            _ => gains,
        };
        gains.combine(before, u128::saturating_sub)
    }

    /// The gains up to the moment at which the cache's counters say `counters`.
    fn gains_with(&mut self, counters: Gains) -> Gains {
        let before = std::mem::replace(&mut self.counters, counters);
        // One that fell shows that the cache began again, and with it every counter, also one that
        // has passed its old value by now.
        let restarted = counters.hits < before.hits
            || counters.misses < before.misses
            || counters.evictions < before.evictions;
        let before = if restarted { Gains::default() } else { before };
        let gained = counters.combine(before, u128::saturating_sub);
        let gains = self
            .kept
            .back()
            .map_or_else(Gains::default, |newest| newest.gains);
        gains.combine(gained, u128::saturating_add)
    }

    fn keep(&mut self, reading: Reading) {
        let before_newest = self.kept.len().checked_sub(2).map(|at| self.kept[at].at);
        if before_newest.is_some_and(|at| reading.at.saturating_sub(at) < APART) {
            self.kept.pop_back();
        }
        self.kept.push_back(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_readings_are_bounded_however_often_it_is_read() {
        let mut readings = Readings::beginning(0);
        for quarter_second in 0..4 * 3 * 3600 {
            readings.last_hour(quarter_second * Second::NANOS / 4, CacheCounters::default());
            assert!(readings.kept.len() <= 482, "{}", readings.kept.len());
        }
    }

    #[test]
    fn readings_at_one_moment_are_no_trouble() {
        let mut readings = Readings::beginning(7);
        for hits in [3, 3, 5] {
            let counters = CacheCounters {
                hits,
                ..Default::default()
            };
            assert_eq!(readings.last_hour(7, counters).hits, u128::from(hits));
        }
    }

    #[test]
    fn a_cache_that_began_again_with_full_counters_is_read_right_afterwards() {
        let mut readings = Readings::beginning(0);
        let at = |hour: u64| hour * HOUR;
        let full = CacheCounters {
            hits: u64::MAX,
            evictions: u64::MAX,
            ..Default::default()
        };
        for hour in 0..4 {
            readings.last_hour(at(2 * hour), full);
            readings.last_hour(at(2 * hour + 1), CacheCounters::default());
        }
        readings.last_hour(
            at(9),
            CacheCounters {
                hits: 3,
                misses: 1,
                ..Default::default()
            },
        );
        let gained = readings.last_hour(
            at(10),
            CacheCounters {
                hits: 6,
                misses: 2,
                ..Default::default()
            },
        );
        assert_eq!((gained.hits, gained.misses, gained.evictions()), (3, 1, 0));
    }
}
