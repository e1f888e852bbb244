//! Tokens, come and gone: two windows of an hour and exact totals.
//!
//! # Orderings
//!
//! A token must never be seen gone that has not been seen come. Whoever revokes a token knows that
//! it was issued, so the issue happens before the revocation. A retirement is stored with
//! `Release`, and a reader loads all retirements first, with `Acquire`: what it then loads of
//! issues includes those of every token that it has seen retired.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::CoarseClock;
use crate::raw::ring::Ring;
use crate::raw::shards::{Place, Shards};
use crate::snapshot::TokenStats;
use crate::source::{Schedule, Source};
use crate::sync::{Acquire, Atomic, Ordering, Relaxed, Release};
use crate::time::{Counted, Minute, Nanos, Tick, Window, place};

/// Counts tokens as they are issued, revoked and expire.
///
/// Clones share the counters. Counting takes no lock and retries nothing.
///
/// ```
/// use parsec_telemetry::TokenCounters;
///
/// let tokens = TokenCounters::new();
/// tokens.issued();
/// tokens.issued();
/// tokens.revoked();
/// let stats = tokens.snapshot();
/// assert_eq!((stats.issued_last_hour, stats.revoked_last_hour, stats.active_count), (2, 1, 1));
/// ```
///
/// # Progress
///
/// Counting is wait-free, with the exceptions of
/// [`EnvelopeCounters`](crate::EnvelopeCounters#progress) that concern threads.
#[derive(Clone)]
pub struct TokenCounters {
    counters: Arc<Counters>,
}

impl TokenCounters {
    /// Counters on the [shared clock](CoarseClock::shared).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Counters with a clock of their own.
    pub fn builder() -> TokenCountersBuilder {
        TokenCountersBuilder { clock: None }
    }

    /// Counts a token issued now.
    #[inline]
    pub fn issued(&self) {
        self.counters.count(Event::Issued);
    }

    /// Counts a token issued at some other time.
    ///
    /// It is placed in the window by its age. One issued more than 60 minutes ago is active but not
    /// of the last hour; one from the future counts as issued now.
    pub fn issued_at(&self, at: SystemTime) {
        self.counters.count_at(at, Event::Issued);
    }

    /// Counts a token revoked now: one less is active.
    #[inline]
    pub fn revoked(&self) {
        self.counters.count(Event::Revoked);
    }

    /// Counts a token revoked at some other time, placed as [`issued_at`](Self::issued_at) places
    /// it.
    pub fn revoked_at(&self, at: SystemTime) {
        self.counters.count_at(at, Event::Revoked);
    }

    /// Counts a token that has run out: one less is active, and none was revoked.
    #[inline]
    pub fn expired(&self) {
        self.counters.expired();
    }

    /// The numbers of this moment.
    ///
    /// Every event counted before the call is in them and none is in them twice. A token is never
    /// seen gone that is not seen come, so `active_count` is below zero only if more was retired
    /// than issued.
    #[must_use]
    pub fn snapshot(&self) -> TokenStats {
        self.counters.snapshot()
    }
}

impl Default for TokenCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TokenCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCounters")
            .field("stats", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl Source for TokenCounters {
    fn tokens(&self) -> Option<TokenStats> {
        Some(self.snapshot())
    }

    /// The counters never block.
    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// Sets up [`TokenCounters`].
///
/// ```
/// use parsec_telemetry::{ManualClock, TokenCounters};
///
/// let tokens = TokenCounters::builder().clock(ManualClock::new().clock()).build();
/// assert_eq!(tokens.snapshot().active_count, 0);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenCountersBuilder {
    clock: Option<CoarseClock>,
}

impl TokenCountersBuilder {
    /// The clock to count by, instead of the [shared](CoarseClock::shared) one.
    pub fn clock(mut self, clock: CoarseClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The counters.
    #[must_use]
    pub fn build(self) -> TokenCounters {
        let clock = self.clock.unwrap_or_else(CoarseClock::shared);
        let made = clock.read().reading;
        TokenCounters {
            counters: Arc::new(Counters {
                shards: Shards::new(Shard::new),
                clock,
                made,
            }),
        }
    }
}

/// What happens to a token and has a window.
#[derive(Clone, Copy)]
enum Event {
    Issued,
    Revoked,
}

/// What the clones of a [`TokenCounters`] share.
struct Counters {
    shards: Shards<Shard>,
    clock: CoarseClock,
    made: Nanos,
}

impl Counters {
    #[inline]
    fn count(&self, event: Event) {
        match self.shards.in_slab() {
            Some(shard) => shard.tally(event).count(self.clock.minute()),
            None => self.count_later(event),
        }
    }

    /// The same for a thread that has no shard in the slab.
    #[inline(never)]
    fn count_later(&self, event: Event) {
        let tick = self.clock.minute();
        match self.shards.later() {
            Some(shard) => shard.tally(event).count(tick),
            None => self.count_elsewhere(Some(tick), event),
        }
    }

    fn count_at(&self, at: SystemTime, event: Event) {
        let now = self.clock.read();
        self.count_elsewhere(place(now.reading, now.minute, self.clock.age_of(at)), event);
    }

    /// Counts an event of any age, wherever the thread's shard is.
    #[cold]
    #[inline(never)]
    fn count_elsewhere(&self, tick: Option<Tick<Minute>>, event: Event) {
        match self.shards.find() {
            Place::Own(shard) => {
                let tally = shard.tally(event);
                if let Some(tick) = tick {
                    tally.last_hour.count(tick);
                }
                tally.total.count();
            }
            Place::Shared(shard) => {
                let tally = shard.tally(event);
                if let Some(tick) = tick {
                    tally.last_hour.count_shared(tick);
                }
                tally.total.count_shared();
            }
        }
    }

    #[inline]
    fn expired(&self) {
        match self.shards.in_slab() {
            Some(shard) => shard.expired.count(),
            None => self.expired_elsewhere(),
        }
    }

    #[cold]
    #[inline(never)]
    fn expired_elsewhere(&self) {
        match self.shards.find() {
            Place::Own(shard) => shard.expired.count(),
            Place::Shared(shard) => shard.expired.count_shared(),
        }
    }

    fn snapshot(&self) -> TokenStats {
        let now = self.clock.read();
        let window = Window::ending(now.reading, now.minute, self.made);
        let (mut issued, mut revoked) = (Counted::default(), Counted::default());
        let active_count = self.active(
            |shard| revoked.add(shard.revoked.last_hour.counted_in(&window)),
            |shard| issued.add(shard.issued.last_hour.counted_in(&window)),
        );
        TokenStats {
            issued_last_hour: window.count(issued),
            revoked_last_hour: window.count(revoked),
            active_count,
        }
    }

    /// How many were issued and not retired: every retirement is read before any issue. What else
    /// is to be read of the shards is, on the way past them.
    fn active(&self, mut first: impl FnMut(&Shard), mut then: impl FnMut(&Shard)) -> i64 {
        // No sum of them overflows within 500 years.
        let (mut issued, mut retired) = (0_u64, 0_u64);
        self.shards.iter().for_each(|shard| {
            // Acquire: partner of the Release in `Total::count`.
            retired += shard.revoked.total.load(Acquire) + shard.expired.load(Acquire);
            first(shard);
        });
        self.shards.iter().for_each(|shard| {
            issued += shard.issued.total.load(Relaxed);
            then(shard);
        });
        // Two's complement: right for every difference that fits.
        issued.wrapping_sub(retired).cast_signed()
    }
}

/// What one thread has counted.
struct Shard {
    issued: Tally,
    revoked: Tally,
    expired: Total,
}

impl Shard {
    fn new() -> Self {
        Self {
            issued: Tally::new(),
            revoked: Tally::new(),
            expired: Total::new(),
        }
    }

    #[inline]
    fn tally(&self, event: Event) -> &Tally {
        match event {
            Event::Issued => &self.issued,
            Event::Revoked => &self.revoked,
        }
    }
}

struct Tally {
    last_hour: Ring<Minute>,
    total: Total,
}

impl Tally {
    fn new() -> Self {
        Self {
            last_hour: Ring::new(),
            total: Total::new(),
        }
    }

    #[inline]
    fn count(&self, tick: Tick<Minute>) {
        self.last_hour.count(tick);
        self.total.count();
    }
}

struct Total(Atomic<u64>);

impl Total {
    fn new() -> Self {
        Self(Atomic::new(0))
    }

    #[inline]
    fn count(&self) {
        // Release: partner of the Acquire in `Counters::active`; an issue would not need it, and it
        // costs nothing on x86. The load is Relaxed: only this thread writes the word.
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Release);
    }

    fn count_shared(&self) {
        self.0.fetch_add(1, Release);
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::CachePadded;

    #[test]
    fn a_shard_is_as_large_as_the_design_page_says() {
        assert_eq!(size_of::<CachePadded<Shard>>(), 1152);
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::clock::ManualClock;
    use crate::sync::outcomes;
    use ::loom::sync::atomic::AtomicBool;
    use ::loom::thread;

    fn reader(tokens: &TokenCounters) -> thread::JoinHandle<i64> {
        let tokens = tokens.clone();
        thread::spawn(move || tokens.counters.active(|_| {}, |_| {}))
    }

    /// Law: a token is never seen gone that is not seen come.
    #[test]
    fn retired_before_issued() {
        let active = outcomes(|| {
            let tokens = TokenCounters::builder()
                .clock(ManualClock::new().clock())
                .build();
            let reader = reader(&tokens);
            tokens.issued();
            tokens.expired();
            tokens.issued();
            tokens.revoked();
            let active = reader.join().unwrap();
            assert_eq!(tokens.counters.active(|_| {}, |_| {}), 0);
            active
        });
        // Two, if both issues are seen and neither retirement: each came after the reader had
        // passed.
        assert_eq!(active, [0, 1, 2].into());
    }

    /// The same, though one thread issues the token and another, that was told of it, revokes it.
    #[test]
    fn retired_elsewhere_before_issued() {
        let active = outcomes(|| {
            let tokens = TokenCounters::builder()
                .clock(ManualClock::new().clock())
                .build();
            let told = Arc::new(AtomicBool::new(false));
            let revoker = thread::spawn({
                let (tokens, told) = (tokens.clone(), Arc::clone(&told));
                move || {
                    if told.load(Acquire) {
                        tokens.expired();
                    }
                }
            });
            let reader = reader(&tokens);
            tokens.issued();
            told.store(true, Release);
            revoker.join().unwrap();
            reader.join().unwrap()
        });
        assert_eq!(active, [0, 1].into());
    }
}
