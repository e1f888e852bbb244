//! Counters of tokens: issued and revoked within the last hour, and active now.
//!
//! # Orderings
//!
//! A snapshot that includes a retirement (a revocation or an expiry) also includes the issuance it belongs to. A
//! token is issued before it is retired, so the issuance happens before the retirement. A retirement is stored with
//! `Release`; a snapshot first loads all retirements, with `Acquire`, and then the issuances.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::CoarseClock;
use crate::raw::recorder::{Recorder, Shard, Total};
use crate::raw::ring::Ring;
use crate::raw::shards::Shards;
use crate::snapshot::TokenStats;
use crate::source::{Schedule, Source};
use crate::sync::{Acquire, Ordering, Relaxed, Release};
use crate::time::{Minute, WindowCount};

/// Counts issued, revoked and expired tokens.
///
/// Clones share the counters. Recording is wait-free, with the exceptions of
/// [`EnvelopeCounters`](crate::EnvelopeCounters) for a thread's first events.
///
/// ```
/// let tokens = parsec_telemetry::TokenCounters::new();
/// tokens.issued();
/// tokens.revoked();
/// assert_eq!(tokens.snapshot().active_count, 0);
/// ```
#[derive(Clone)]
pub struct TokenCounters {
    recorder: Arc<Recorder<TokenShard>>,
}

impl TokenCounters {
    /// Creates counters on the [shared clock](CoarseClock::shared).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, for another clock or more threads.
    pub fn builder() -> TokenCountersBuilder {
        TokenCountersBuilder { clock: None, shards: None }
    }

    /// Records a token issued now.
    #[inline]
    pub fn issued(&self) {
        self.recorder.record(Event::Issued);
    }

    /// Records a token issued at `at`: not in the last hour, if older than 60 minutes; now, if in the future.
    pub fn issued_at(&self, at: SystemTime) {
        self.recorder.record_at(at, Event::Issued);
    }

    /// Records a token revoked now. It is no longer active.
    #[inline]
    pub fn revoked(&self) {
        self.recorder.record(Event::Revoked);
    }

    /// Records a token revoked at `at`, placed as by [`issued_at`](Self::issued_at).
    pub fn revoked_at(&self, at: SystemTime) {
        self.recorder.record_at(at, Event::Revoked);
    }

    /// Records a token that expired. It is no longer active, and does not count as revoked.
    #[inline]
    pub fn expired(&self) {
        self.recorder.record(Event::Expired);
    }

    /// Returns the current numbers.
    ///
    /// Every event recorded before the call is included, and none twice. `active_count` is negative if more tokens
    /// were revoked or expired than issued.
    #[must_use]
    pub fn snapshot(&self) -> TokenStats {
        let window = self.recorder.window();
        let last_hour = |event| {
            let mut count = WindowCount::default();
            let rings = self.recorder.shards().filter_map(|shard| shard.ring(event));
            rings.for_each(|ring| count.add(ring.window_sum(&window)));
            window.count(count)
        };
        let active_count = self.recorder.active();
        let revoked_last_hour = last_hour(Event::Revoked);
        TokenStats { issued_last_hour: last_hour(Event::Issued), revoked_last_hour, active_count }
    }
}

impl Default for TokenCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TokenCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCounters").field("stats", &self.snapshot()).finish_non_exhaustive()
    }
}

impl Source for TokenCounters {
    fn tokens(&self) -> Option<TokenStats> {
        Some(self.snapshot())
    }

    /// Reading the counters never blocks.
    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// Configures [`TokenCounters`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenCountersBuilder {
    clock: Option<CoarseClock>,
    shards: Option<usize>,
}

impl TokenCountersBuilder {
    /// Sets the clock. Defaults to [`CoarseClock::shared`].
    pub fn clock(mut self, clock: CoarseClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets for how many recording threads memory is allocated up front, as
    /// [`EnvelopeCountersBuilder::preallocated_shards`](crate::EnvelopeCountersBuilder::preallocated_shards) does.
    pub fn preallocated_shards(mut self, threads: usize) -> Self {
        self.shards = Some(threads);
        self
    }

    /// Creates the counters.
    #[must_use]
    pub fn build(self) -> TokenCounters {
        let clock = self.clock.unwrap_or_else(CoarseClock::shared);
        let shard = || TokenShard { rings: array::from_fn(|_| Ring::new()), totals: array::from_fn(|_| Total::new()) };
        TokenCounters { recorder: Arc::new(Recorder::new(clock, Shards::new(self.shards, shard))) }
    }
}

/// Those that have a window are first.
#[derive(Clone, Copy)]
enum Event {
    Issued,
    Revoked,
    Expired,
}

impl Recorder<TokenShard> {
    /// The number of tokens issued and not retired.
    fn active(&self) -> i64 {
        // No sum overflows within 500 years.
        let total = |event, order| self.shards().map(|shard| shard.total(event).load(order)).sum::<u64>();
        let retired = total(Event::Revoked, Acquire) + total(Event::Expired, Acquire);
        let issued = total(Event::Issued, Relaxed);
        // Two's complement: right for every difference that fits.
        issued.wrapping_sub(retired).cast_signed()
    }
}

struct TokenShard {
    rings: [Ring<Minute>; 2],
    totals: [Total; 3],
}

impl Shard for TokenShard {
    type Unit = Minute;
    type Event = Event;
    // Issuances do not need it, and on x86-64 it costs nothing.
    const TOTALS: Ordering = Release;

    #[inline]
    fn ring(&self, event: Event) -> Option<&Ring<Minute>> {
        self.rings.get(event as usize)
    }

    #[inline]
    fn total(&self, event: Event) -> &Total {
        &self.totals[event as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SLOTS;
    use crossbeam_utils::CachePadded;

    #[test]
    fn shard_size_matches_the_design_page() {
        let bytes = (2 * (SLOTS + 2) + 1) * 8;
        assert_eq!(size_of::<CachePadded<TokenShard>>(), bytes.next_multiple_of(align_of::<CachePadded<()>>()));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(size_of::<CachePadded<TokenShard>>(), 1152);
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
        thread::spawn(move || tokens.recorder.active())
    }

    /// Invariant: a reader that sees a retirement also sees the issuance it belongs to.
    #[test]
    fn retirement_is_not_seen_before_its_issuance() {
        let active = outcomes(|| {
            let tokens = TokenCounters::builder().clock(ManualClock::new().clock()).build();
            let reader = reader(&tokens);
            tokens.issued();
            tokens.expired();
            tokens.issued();
            tokens.revoked();
            let active = reader.join().unwrap();
            assert_eq!(tokens.recorder.active(), 0);
            active
        });
        // 2 if both retirements were stored after the reader's first pass.
        assert_eq!(active, [0, 1, 2].into());
    }

    /// The same if one thread issues the token and another, after a signal, retires it.
    #[test]
    fn retirement_by_another_thread_is_not_seen_before_its_issuance() {
        let active = outcomes(|| {
            let tokens = TokenCounters::builder().clock(ManualClock::new().clock()).build();
            let is_issued = Arc::new(AtomicBool::new(false));
            let revoker = thread::spawn({
                let (tokens, is_issued) = (tokens.clone(), Arc::clone(&is_issued));
                move || {
                    if is_issued.load(Acquire) {
                        tokens.expired();
                    }
                }
            });
            let reader = reader(&tokens);
            tokens.issued();
            is_issued.store(true, Release);
            revoker.join().unwrap();
            reader.join().unwrap()
        });
        assert_eq!(active, [0, 1].into());
    }
}
