//! Records an event in the calling thread's shard, whichever kind of shard that is.
//!
//! - A shard in the slab is owned by one thread, found by a bounds check, and written by loads and stores.
//! - A shard in a bucket is owned by one thread beyond the slab. Finding it takes two more pointers.
//! - The shared shard is for threads without an id and written by atomic read-modify-writes.
//!
//! # Orderings
//!
//! An owner loads its own last store, `Relaxed`. Totals are stored with [`Shard::TOTALS`]. `since` publishes nothing
//! but itself.

use std::time::SystemTime;

use crossbeam_utils::CachePadded;

use crate::clock::CoarseClock;
use crate::raw::ring::Ring;
use crate::raw::shards::{ShardRef, Shards};
use crate::sync::{Atomic, Ordering, Relaxed, Word};
use crate::time::{Nanos, Tick, Unit, Window, reading_for_age};

/// The limit of a reported total: the largest integer that clients of the JSON page hold.
pub(crate) const MAX_TOTAL: u64 = i64::MAX as u64;

/// What one thread has recorded: a total of each kind of event, and a window of most.
pub(crate) trait Shard {
    type Unit: Unit;
    type Event: Copy;

    /// The ordering of stores to totals: `Release` if a reader that sees a total must see what happened before it.
    const TOTALS: Ordering;

    fn ring(&self, event: Self::Event) -> Option<&Ring<Self::Unit>>;
    fn total(&self, event: Self::Event) -> &Total;
}

/// The number of events since the counter was created.
pub(crate) struct Total(Atomic<Word>);

impl Total {
    pub(crate) fn new() -> Self {
        Self(Atomic::new(Word(0)))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering).0
    }

    /// Adds one event. Only the total's owner may call this. Does not overflow in 290 years: [`add`](Self::add)
    /// leaves half of the range to increments.
    #[inline]
    fn increment(&self, ordering: Ordering) {
        self.0.store(Word(self.0.load(Relaxed).0.wrapping_add(1)), ordering);
    }

    /// Adds `n` events, unless the total has reached [`MAX_TOTAL`]. Only the total's owner may call this.
    fn add(&self, n: u32, ordering: Ordering) {
        if let Some(total) = raised(self.0.load(Relaxed), n) {
            self.0.store(total, ordering);
        }
    }

    /// The same for a total that several threads write.
    fn add_shared(&self, n: u32, ordering: Ordering) {
        let _ = self.0.fetch_update(ordering, Relaxed, |total| raised(total, n));
    }
}

fn raised(total: Word, n: u32) -> Option<Word> {
    (total.0 < MAX_TOTAL).then(|| Word(total.0 + u64::from(n)))
}

pub(crate) struct Recorder<S> {
    shards: Shards<S>,
    clock: CoarseClock,
    created_at: Nanos,
    /// Since when the counter has covered the time: its creation, or the oldest event that was placed before that.
    since: CachePadded<Atomic<Word>>,
}

impl<S: Shard> Recorder<S> {
    pub(crate) fn new(clock: CoarseClock, shards: Shards<S>) -> Self {
        let created_at = clock.read();
        Self { shards, clock, created_at, since: CachePadded::new(Atomic::new(Word(created_at))) }
    }

    /// Records one event now: the whole hot path.
    #[inline]
    pub(crate) fn record(&self, event: S::Event) {
        match self.shards.in_slab() {
            Some(shard) => self.increment(shard, event),
            None => self.record_overflow(event),
        }
    }

    /// The same for a thread whose shard is not in the slab.
    #[inline(never)]
    fn record_overflow(&self, event: S::Event) {
        match self.shards.in_bucket() {
            Some(shard) => self.increment(shard, event),
            None => self.record_slow(Some(self.clock.tick()), event, 1),
        }
    }

    #[inline]
    fn increment(&self, shard: &S, event: S::Event) {
        if let Some(ring) = shard.ring(event) {
            ring.increment(self.clock.tick());
        }
        shard.total(event).increment(S::TOTALS);
    }

    /// Records `n` events now.
    pub(crate) fn record_many(&self, event: S::Event, n: u32) {
        if n > 0 {
            self.record_slow(Some(self.clock.tick()), event, n);
        }
    }

    /// Records one event at `at`: now, if in the future; in the total only, if older than the window.
    pub(crate) fn record_at(&self, at: SystemTime, event: S::Event) {
        let now = self.clock.advance();
        let reading = reading_for_age::<S::Unit>(now, self.clock.age_of(at));
        if let Some(reading) = reading.filter(|&reading| reading < self.created_at) {
            let earlier = |since: Word| (reading < since.0).then_some(Word(reading));
            let _ = self.since.fetch_update(Relaxed, Relaxed, earlier);
        }
        // Not ahead of the published tick, which `advance` has raised: a slot ahead of it would make the shard's
        // owner write an older lap over a newer one.
        self.record_slow(reading.map(Tick::at), event, 1);
    }

    /// Records `n` events of any age, in any kind of shard. Without a tick they are older than the window.
    #[cold]
    #[inline(never)]
    fn record_slow(&self, tick: Option<Tick<S::Unit>>, event: S::Event, n: u32) {
        match self.shards.get_or_init() {
            ShardRef::Owned(shard) => {
                if let Some(ring) = shard.ring(event) {
                    ring.add(tick, n);
                }
                shard.total(event).add(n, S::TOTALS);
            }
            ShardRef::Shared(shard) => add_shared(shard, tick, event, n),
        }
    }

    /// The window that ends now.
    pub(crate) fn window(&self) -> Window<S::Unit> {
        Window::ending(self.clock.read(), self.clock.tick(), self.since.load(Relaxed).0)
    }

    /// Every shard that exists. The shared one is last.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &S> {
        self.shards.iter()
    }
}

fn add_shared<S: Shard>(shard: &S, tick: Option<Tick<S::Unit>>, event: S::Event, n: u32) {
    if let Some(ring) = shard.ring(event) {
        ring.add_shared(tick, n);
    }
    shard.total(event).add_shared(n, S::TOTALS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_stops_at_its_limit_and_still_increments() {
        for add in [Total::add, Total::add_shared] {
            let total = Total(Atomic::new(Word(MAX_TOTAL - 3)));
            add(&total, 2, Relaxed);
            assert_eq!(total.load(Relaxed), MAX_TOTAL - 1);
            (0..1000).for_each(|_| add(&total, u32::MAX, Relaxed));
            assert_eq!(total.load(Relaxed), MAX_TOTAL - 1 + u64::from(u32::MAX));
            total.increment(Relaxed);
            assert_eq!(total.load(Relaxed), MAX_TOTAL + u64::from(u32::MAX));
        }
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::clock::ManualClock;
    use crate::sync::outcomes;
    use crate::time::Second;
    use ::loom::thread;
    use std::sync::Arc;

    struct OneCounter {
        ring: Ring<Second>,
        total: Total,
    }

    impl OneCounter {
        fn new() -> Self {
            Self { ring: Ring::new(), total: Total::new() }
        }
    }

    impl Shard for OneCounter {
        type Unit = Second;
        type Event = ();
        const TOTALS: Ordering = Relaxed;

        fn ring(&self, (): ()) -> Option<&Ring<Second>> {
            Some(&self.ring)
        }

        fn total(&self, (): ()) -> &Total {
            &self.total
        }
    }

    /// Invariant: the shared shard, written by threads without an id, loses no event: neither from its total nor from
    /// a slot that rotates.
    #[test]
    fn threads_without_an_id_lose_no_event() {
        let counts = outcomes(|| {
            let clock = ManualClock::new().clock();
            let recorder = Arc::new(Recorder::new(clock, Shards::new(None, OneCounter::new)));
            let record = |recorder: &Recorder<OneCounter>| {
                let shard = recorder.shards().last().expect("the shared shard exists");
                add_shared(shard, Some(recorder.clock.tick()), (), 1);
            };
            let other = thread::spawn({
                let recorder = Arc::clone(&recorder);
                move || record(&recorder)
            });
            record(&recorder);
            other.join().unwrap();
            let shard = recorder.shards().last().expect("the shared shard exists");
            let window = shard.ring.window_sum(&recorder.window());
            (window.full, shard.total.load(Relaxed))
        });
        assert_eq!(counts, [(2, 2)].into());
    }
}
