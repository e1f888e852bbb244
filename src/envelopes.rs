//! Counters of published envelopes: a rate over the last minute, and exact totals by aspect.

use std::array;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::CoarseClock;
use crate::raw::interner::{Interner, OVERFLOW};
use crate::raw::recorder::{MAX_TOTAL, Recorder, Shard, Total};
use crate::raw::ring::Ring;
use crate::raw::shards::Shards;
use crate::snapshot::EnvelopeStats;
use crate::source::{Schedule, Source};
use crate::sync::{Ordering, Relaxed};
use crate::time::{Second, WindowCount};

const DEFAULT_ASPECTS: usize = 64;

/// Counts published envelopes by aspect.
///
/// Clones share the counters. Recording by known aspects takes no lock and writes no cache line that another
/// recording thread writes.
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
/// An aspect is a kind of envelope, from a small closed set. Once used, it is reported until the counters are
/// dropped. Beyond 64 aspects ([`max_aspects`](EnvelopeCountersBuilder::max_aspects)) events count as `__overflow__`,
/// and so do events whose aspect is longer than 128 bytes. The empty aspect counts as `unknown`.
///
/// Recording is wait-free, except for first events: a new aspect takes a lock while it is inserted; a new thread
/// acquires an id and, beyond the [preallocated shards](EnvelopeCountersBuilder::preallocated_shards), allocates one.
#[derive(Clone)]
pub struct EnvelopeCounters {
    counters: Arc<Counters>,
}

impl EnvelopeCounters {
    /// Creates counters for up to 64 aspects, on the [shared clock](CoarseClock::shared).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, for another clock or other limits.
    pub fn builder() -> EnvelopeCountersBuilder {
        EnvelopeCountersBuilder { clock: None, max_aspects: DEFAULT_ASPECTS, shards: None }
    }

    /// Records an envelope published now. An [`Aspect`] saves the look-up of the name.
    #[inline]
    pub fn observe(&self, aspect: &str) {
        self.counters.recorder.record(self.counters.aspects.intern(aspect));
    }

    /// Records an envelope published at `at`: in the totals only, if older than 60 seconds; now, if in the future.
    pub fn observe_at(&self, at: SystemTime, aspect: &str) {
        self.counters.recorder.record_at(at, self.counters.aspects.intern(aspect));
    }

    /// Returns a handle that records envelopes of one aspect without a look-up.
    #[must_use]
    pub fn aspect(&self, name: &str) -> Aspect {
        Aspect { id: self.counters.aspects.intern(name), counters: Arc::clone(&self.counters) }
    }

    /// Returns the current rate and totals.
    ///
    /// Includes each envelope recorded before the call exactly once. One recorded during the call may be missing. The
    /// rate of counters that are younger than a second and empty is NaN.
    #[must_use]
    pub fn snapshot(&self) -> EnvelopeStats {
        let Counters { recorder, aspects } = &*self.counters;
        let window = recorder.window();
        let mut count = WindowCount::default();
        let mut totals = vec![0_u64; aspects.len()];
        for shard in recorder.shards().filter(|shard| shard.ring.is_used()) {
            count.add(shard.ring.window_sum(&window));
            let by_id = shard.totals.iter().chain(&shard.more_totals);
            for (sum, total) in totals.iter_mut().zip(by_id) {
                *sum = sum.saturating_add(total.load(Relaxed)).min(MAX_TOTAL);
            }
        }
        let has_rate = window.covers_a_second() || totals.iter().any(|&total| total > 0);
        let rate_per_second = if has_rate { window.rate_per_second(count) } else { f64::NAN };
        // The overflow aspect appears with its first event, other aspects at once.
        let shown = aspects.iter().zip(totals).enumerate().filter(|&(id, (_, total))| id != OVERFLOW || total > 0);
        let by_aspect: BTreeMap<_, _> = shown.map(|(_, (name, total))| (name.to_owned(), total)).collect();
        EnvelopeStats { rate_per_second, by_aspect }
    }
}

impl Default for EnvelopeCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EnvelopeCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeCounters").field("stats", &self.snapshot()).finish_non_exhaustive()
    }
}

impl Source for EnvelopeCounters {
    fn envelopes(&self) -> Option<EnvelopeStats> {
        Some(self.snapshot())
    }

    /// Reading the counters never blocks.
    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// Configures [`EnvelopeCounters`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct EnvelopeCountersBuilder {
    clock: Option<CoarseClock>,
    max_aspects: usize,
    shards: Option<usize>,
}

impl EnvelopeCountersBuilder {
    /// Sets the clock. Defaults to [`CoarseClock::shared`].
    pub fn clock(mut self, clock: CoarseClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the number of aspects that are counted separately. Defaults to 64, at most 65,536, to which greater
    /// values are lowered. With 0, every event counts as `__overflow__`.
    ///
    /// Each aspect beyond 64 takes 8 bytes in every shard: see the [design page](crate::design#memory).
    pub fn max_aspects(mut self, max_aspects: usize) -> Self {
        self.max_aspects = max_aspects.min(65_536);
        self
    }

    /// Sets for how many recording threads memory is allocated up front: 16 to 1,024, rounded up to a power of two;
    /// other values are raised or lowered to that range. Defaults to twice the number of cores, between 16 and 32.
    ///
    /// A thread beyond it allocates its shard (1,152 bytes) at its first event, and records more slowly by handle.
    pub fn preallocated_shards(mut self, threads: usize) -> Self {
        self.shards = Some(threads);
        self
    }

    /// Creates the counters.
    #[must_use]
    pub fn build(self) -> EnvelopeCounters {
        let max_aspects = self.max_aspects;
        let clock = self.clock.unwrap_or_else(CoarseClock::shared);
        let recorder = Recorder::new(clock, Shards::new(self.shards, move || EnvelopeShard::new(max_aspects)));
        EnvelopeCounters { counters: Arc::new(Counters { recorder, aspects: Interner::new(max_aspects) }) }
    }
}

/// Records envelopes of one aspect. Cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct Aspect {
    counters: Arc<Counters>,
    id: usize,
}

impl Aspect {
    /// Records an envelope published now.
    #[inline]
    pub fn observe(&self) {
        self.counters.recorder.record(self.id);
    }

    /// Records `n` envelopes published now, as a batch: one call instead of `n`. 0 records nothing.
    ///
    /// The rate holds up to 2^34 envelopes (17 billion) per thread and second. The total stays at 2^63 − 1.
    pub fn observe_many(&self, n: u32) {
        self.counters.recorder.record_many(self.id, n);
    }

    /// Records an envelope published at `at`, as [`EnvelopeCounters::observe_at`] does.
    pub fn observe_at(&self, at: SystemTime) {
        self.counters.recorder.record_at(at, self.id);
    }

    /// Returns the name under which the handle records: `__overflow__` if its own was beyond the limits.
    #[must_use]
    pub fn name(&self) -> &str {
        self.counters.aspects.name(self.id)
    }
}

impl fmt::Debug for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aspect").field(&self.name()).finish()
    }
}

struct Counters {
    recorder: Recorder<EnvelopeShard>,
    aspects: Interner,
}

/// What one thread has recorded. The first totals are inline, which saves two loads.
struct EnvelopeShard {
    ring: Ring<Second>,
    totals: [Total; DEFAULT_ASPECTS + 1],
    more_totals: Box<[Total]>,
}

impl EnvelopeShard {
    fn new(max_aspects: usize) -> Self {
        let more_totals = (DEFAULT_ASPECTS..max_aspects).map(|_| Total::new()).collect();
        Self { ring: Ring::new(), totals: array::from_fn(|_| Total::new()), more_totals }
    }
}

impl Shard for EnvelopeShard {
    type Unit = Second;
    /// The aspect's id.
    type Event = usize;
    // A total publishes nothing but itself.
    const TOTALS: Ordering = Relaxed;

    #[inline]
    fn ring(&self, _: usize) -> Option<&Ring<Second>> {
        Some(&self.ring)
    }

    #[inline]
    fn total(&self, id: usize) -> &Total {
        match self.totals.get(id) {
            Some(total) => total,
            None => &self.more_totals[id - self.totals.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::time::SLOTS;
    use crossbeam_utils::CachePadded;
    use std::time::Duration;

    #[test]
    fn shard_size_matches_the_design_page() {
        let bytes = (SLOTS + 1 + DEFAULT_ASPECTS + 1) * 8 + size_of::<Box<[Total]>>();
        assert_eq!(size_of::<CachePadded<EnvelopeShard>>(), bytes.next_multiple_of(align_of::<CachePadded<()>>()));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(size_of::<CachePadded<EnvelopeShard>>(), 1152);
        assert!(EnvelopeShard::new(DEFAULT_ASPECTS).more_totals.is_empty());
        assert_eq!(EnvelopeShard::new(DEFAULT_ASPECTS + 3).more_totals.len(), 3);
        assert!(EnvelopeShard::new(0).more_totals.is_empty());
    }

    #[test]
    fn observe_many_counts_as_many_single_events() {
        let clock = ManualClock::new();
        let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
        let (data, cursor) = (envelopes.aspect("data"), envelopes.aspect("cursor"));
        data.observe_many(0);
        assert_eq!(envelopes.counters.recorder.shards().filter(|shard| shard.ring.is_used()).count(), 0);
        data.observe();
        data.observe_many(98);
        cursor.observe_many(1);
        clock.advance(Duration::from_secs(1));
        cursor.observe_many(20);
        let stats = envelopes.snapshot();
        assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (99, 21));
        assert_eq!(stats.rate_per_second.to_bits(), 120f64.to_bits());
    }

    #[test]
    fn observe_many_saturates_the_window_of_its_second_only() {
        let clock = ManualClock::new();
        let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
        let data = envelopes.aspect("data");
        (0..1000).for_each(|_| data.observe_many(u32::MAX));
        data.observe();
        clock.advance(Duration::from_secs(1));
        data.observe();
        let stats = envelopes.snapshot();
        assert_eq!(stats.by_aspect["data"], 1000 * u64::from(u32::MAX) + 2);
        assert!(stats.rate_per_second > 17e9 && stats.rate_per_second < 18e9);
        clock.advance(Duration::from_secs(64));
        data.observe();
        assert_eq!(envelopes.snapshot().rate_per_second.to_bits(), (1f64 / 60.0).to_bits());
    }
}
