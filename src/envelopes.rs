//! What is published: a rate over the last minute, and exact totals by aspect.

use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::CoarseClock;
use crate::raw::names::{Names, OVERFLOW};
use crate::raw::ring::Ring;
use crate::raw::shards::{Place, Shards};
use crate::snapshot::EnvelopeStats;
use crate::source::{Schedule, Source};
use crate::sync::{Atomic, Relaxed};
use crate::time::{Counted, Nanos, Second, Tick, Window, place};

/// Aspects that have places of their own unless [`EnvelopeCountersBuilder::max_aspects`] says
/// otherwise.
const MAX_ASPECTS: usize = 64;

/// The most that can be asked for: half a mebibyte for each shard.
const MOST_ASPECTS: usize = 65_536;

/// Counts what is published.
///
/// Clones share the counters. [`observe`](Self::observe) is meant for every publish of a busy
/// broker: it takes no lock, retries nothing and shares no cache line with another thread that
/// counts.
///
/// ```
/// use parsec_telemetry::EnvelopeCounters;
///
/// let envelopes = EnvelopeCounters::new();
/// let data = envelopes.aspect("data"); // once, where the publisher is built
/// data.observe(); // on every publish
/// envelopes.observe("cursor"); // or by name
///
/// let stats = envelopes.snapshot();
/// assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (1, 1));
/// ```
///
/// # Aspects
///
/// An aspect is named once and then stays, from then on shown with its count. Names are expected to
/// come from a small closed set. If they do not, memory and page stay bounded all the same: past 64
/// aspects ([`max_aspects`](EnvelopeCountersBuilder::max_aspects)) an event counts under
/// `__overflow__`, and so does one whose name is longer than 128 bytes. The empty name counts as
/// `unknown`.
///
/// # Progress
///
/// Counting is wait-free, with these exceptions: a name's first appearance takes a lock while it is
/// copied; a thread's first count ever takes it a number, and where more than the slab's threads
/// (twice the cores, up to the next power of two, and 16 at least) count at once, a thread's first
/// count on this counter allocates its shard.
#[derive(Clone)]
pub struct EnvelopeCounters {
    counters: Arc<Counters>,
}

impl EnvelopeCounters {
    /// Counters for up to 64 aspects, on the [shared clock](CoarseClock::shared).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Counters with a clock or a bound of their own.
    pub fn builder() -> EnvelopeCountersBuilder {
        EnvelopeCountersBuilder {
            clock: None,
            max_aspects: MAX_ASPECTS,
        }
    }

    /// Counts an envelope published now.
    ///
    /// Where the aspect is known beforehand, an [`Aspect`] spares the look-up.
    #[inline]
    pub fn observe(&self, aspect: &str) {
        self.counters.count(self.counters.names.intern(aspect));
    }

    /// Counts an envelope published at some other time.
    ///
    /// It is placed in the window by its age. One older than 60 seconds counts in the totals but
    /// not in the rate; one from the future counts as published now.
    pub fn observe_at(&self, at: SystemTime, aspect: &str) {
        self.counters
            .count_at(at, self.counters.names.intern(aspect));
    }

    /// A handle that counts for one aspect, without looking its name up each time.
    #[must_use]
    pub fn aspect(&self, name: &str) -> Aspect {
        Aspect {
            id: self.counters.names.intern(name),
            counters: Arc::clone(&self.counters),
        }
    }

    /// The rate and the totals of this moment.
    ///
    /// Every envelope counted before the call is in it and none is in it twice; one that is counted
    /// meanwhile may be in or out. Threads that count are not held up.
    #[must_use]
    pub fn snapshot(&self) -> EnvelopeStats {
        self.counters.snapshot()
    }
}

impl Default for EnvelopeCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EnvelopeCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeCounters")
            .field("stats", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl Source for EnvelopeCounters {
    fn envelopes(&self) -> Option<EnvelopeStats> {
        Some(self.snapshot())
    }

    /// The counters never block.
    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// Sets up [`EnvelopeCounters`].
///
/// ```
/// use parsec_telemetry::EnvelopeCounters;
///
/// let envelopes = EnvelopeCounters::builder().max_aspects(2).build();
/// for aspect in ["data", "cursor", "typing", "presence"] {
///     envelopes.observe(aspect);
/// }
/// assert_eq!(envelopes.snapshot().by_aspect["__overflow__"], 2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct EnvelopeCountersBuilder {
    clock: Option<CoarseClock>,
    max_aspects: usize,
}

impl EnvelopeCountersBuilder {
    /// The clock to count by, instead of the [shared](CoarseClock::shared) one.
    pub fn clock(mut self, clock: CoarseClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many aspects get places of their own: 64 unless said otherwise, at most 65,536 (more is
    /// taken as that). With 0, every event counts under `__overflow__`.
    ///
    /// Beyond 64, each costs 8 bytes in every shard: of the slab, which is there from the start,
    /// and of each later thread. See the [design page](crate::design#memory).
    pub fn max_aspects(mut self, max_aspects: usize) -> Self {
        self.max_aspects = max_aspects.min(MOST_ASPECTS);
        self
    }

    /// The counters.
    #[must_use]
    pub fn build(self) -> EnvelopeCounters {
        let clock = self.clock.unwrap_or_else(CoarseClock::shared);
        EnvelopeCounters {
            counters: Arc::new(Counters::new(clock, self.max_aspects)),
        }
    }
}

/// Counts envelopes of one aspect. Cheap to clone, and to send to any thread.
#[derive(Clone)]
pub struct Aspect {
    counters: Arc<Counters>,
    id: usize,
}

impl Aspect {
    /// Counts an envelope published now.
    #[inline]
    pub fn observe(&self) {
        self.counters.count(self.id);
    }

    /// Counts an envelope published at some other time, as [`EnvelopeCounters::observe_at`] does.
    pub fn observe_at(&self, at: SystemTime) {
        self.counters.count_at(at, self.id);
    }

    /// The name that it counts under: `__overflow__`, if there was no place for its own.
    #[must_use]
    pub fn name(&self) -> &str {
        self.counters.names.name(self.id)
    }
}

impl fmt::Debug for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aspect").field(&self.name()).finish()
    }
}

/// What the clones of an [`EnvelopeCounters`] share.
struct Counters {
    shards: Shards<Shard>,
    clock: CoarseClock,
    names: Names,
    made: Nanos,
}

impl Counters {
    fn new(clock: CoarseClock, max_aspects: usize) -> Self {
        Self {
            shards: Shards::new(move || Shard::new(max_aspects)),
            made: clock.read().reading,
            clock,
            names: Names::new(max_aspects),
        }
    }

    /// The hot path: the whole of it, but for the look-up of a name.
    #[inline]
    fn count(&self, id: usize) {
        match self.shards.in_slab() {
            Some(shard) => shard.count(self.clock.second(), id),
            None => self.count_later(id),
        }
    }

    /// The same for a thread that has no shard in the slab.
    #[inline(never)]
    fn count_later(&self, id: usize) {
        let tick = self.clock.second();
        match self.shards.later() {
            Some(shard) => shard.count(tick, id),
            None => self.count_elsewhere(Some(tick), id),
        }
    }

    fn count_at(&self, at: SystemTime, id: usize) {
        let now = self.clock.read();
        self.count_elsewhere(place(now.reading, now.second, self.clock.age_of(at)), id);
    }

    /// Counts an event of any age, wherever the thread's shard is.
    #[cold]
    #[inline(never)]
    fn count_elsewhere(&self, tick: Option<Tick<Second>>, id: usize) {
        match self.shards.find() {
            Place::Own(shard) => {
                match tick {
                    Some(tick) => shard.ring.count(tick),
                    None => shard.ring.mark_used(),
                }
                shard.count_total(id);
            }
            Place::Shared(shard) => shard.count_shared(tick, id),
        }
    }

    fn snapshot(&self) -> EnvelopeStats {
        let now = self.clock.read();
        let window = Window::ending(now.reading, now.second, self.made);
        let mut counted = Counted::default();
        let mut totals = vec![0_u64; self.names.len()];
        // A shard that nothing was counted in costs one load. There are many: the slab has more of
        // them than most programs have threads that count.
        let used = self.shards.iter().filter(|shard| shard.ring.is_used());
        used.for_each(|shard| {
            counted.add(shard.ring.counted_in(&window));
            for (total, word) in totals.iter_mut().zip(shard.totals()) {
                // Relaxed: a total stands for itself.
                *total += word.load(Relaxed);
            }
        });
        let mut by_aspect = BTreeMap::new();
        for (id, (name, total)) in self.names.iter().zip(totals).enumerate() {
            // The place for what has none of its own is shown once something is in it.
            if id != OVERFLOW || total > 0 {
                by_aspect.insert(name.to_owned(), total);
            }
        }
        EnvelopeStats {
            rate_per_second: window.rate_per_second(counted),
            by_aspect,
        }
    }
}

/// What one thread has counted.
///
/// The first totals stand in the shard itself: finding one is then a comparison with a constant,
/// where a slice of its own would cost two loads more. Few counters have more aspects than that.
struct Shard {
    ring: Ring<Second>,
    totals: [Atomic<u64>; MAX_ASPECTS + 1],
    more_totals: Box<[Atomic<u64>]>,
}

impl Shard {
    fn new(max_aspects: usize) -> Self {
        Self {
            ring: Ring::new(),
            totals: array::from_fn(|_| Atomic::new(0)),
            more_totals: (MAX_ASPECTS..max_aspects).map(|_| Atomic::new(0)).collect(),
        }
    }

    #[inline]
    fn total(&self, id: usize) -> &Atomic<u64> {
        match self.totals.get(id) {
            Some(total) => total,
            None => &self.more_totals[id - self.totals.len()],
        }
    }

    #[inline]
    fn count(&self, tick: Tick<Second>, id: usize) {
        self.ring.count(tick);
        self.count_total(id);
    }

    #[inline]
    fn count_total(&self, id: usize) {
        let total = self.total(id);
        // Relaxed, and no read-modify-write: only this thread writes it. It cannot overflow within
        // 500 years.
        total.store(total.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// By id.
    fn totals(&self) -> impl Iterator<Item = &Atomic<u64>> {
        self.totals.iter().chain(&self.more_totals)
    }

    fn count_shared(&self, tick: Option<Tick<Second>>, id: usize) {
        match tick {
            Some(tick) => self.ring.count_shared(tick),
            None => self.ring.mark_used_shared(),
        }
        // Relaxed: a total stands for itself.
        self.total(id).fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::CachePadded;

    #[test]
    fn a_shard_is_as_large_as_the_design_page_says() {
        assert_eq!(size_of::<CachePadded<Shard>>(), 1152);
        assert!(Shard::new(MAX_ASPECTS).more_totals.is_empty());
        assert_eq!(Shard::new(MAX_ASPECTS + 3).more_totals.len(), 3);
        assert!(Shard::new(0).more_totals.is_empty());
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::clock::ManualClock;
    use crate::sync::outcomes;
    use ::loom::thread;

    /// Law: the shared shard, where threads count that have no number, loses nothing: not a total,
    /// not a turn of a slot.
    #[test]
    fn two_threads_without_a_number() {
        let counted = outcomes(|| {
            let counters = Arc::new(Counters::new(ManualClock::new().clock(), 1));
            let count = |counters: &Counters| {
                let shard = counters
                    .shards
                    .iter()
                    .last()
                    .expect("there is a shared shard");
                shard.count_shared(Some(counters.clock.second()), 1);
            };
            let other = thread::spawn({
                let counters = Arc::clone(&counters);
                move || count(&counters)
            });
            count(&counters);
            other.join().unwrap();
            let shard = counters
                .shards
                .iter()
                .last()
                .expect("there is a shared shard");
            let now = counters.clock.read();
            let window = Window::ending(now.reading, now.second, counters.made);
            (
                shard.ring.counted_in(&window).whole,
                shard.total(1).load(Relaxed),
            )
        });
        assert_eq!(counted, [(2, 2)].into());
    }
}
