//! The clocks of the counters.
//!
//! Reading the time costs more than recording an event, so recording reads a tick that is published once per second
//! instead. A [`CoarseClock`] has a thread, the ticker, which wakes at the start of each second and publishes the
//! tick. A snapshot reads the exact time and publishes the tick as well, if the ticker has not done so yet.
//!
//! # Orderings
//!
//! All accesses to ticks are `Relaxed`: a tick publishes nothing but itself, and `fetch_max` never decreases it. A
//! read that happens after an event was recorded sees that event's tick or a later one, by coherence.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use crossbeam_utils::CachePadded;

use crate::sync::{Atomic, Relaxed};
use crate::time::{Minute, Nanos, START, Second, Tick, Unit};

/// A clock with a resolution of one second that costs one load to read.
///
/// Counters use [`CoarseClock::shared`] by default. Clones are the same clock. Its ticker, a thread named
/// `parsec-ticker`, wakes once per second and ends after the clock's last clone is dropped; dropping does not wait
/// for it.
///
/// Each snapshot advances the clock too. If the ticker cannot be spawned, or in a child process after `fork`, where
/// it does not exist, only snapshots do: an event then counts as of the last snapshot.
///
/// ```
/// use parsec_telemetry::{CoarseClock, EnvelopeCounters};
///
/// let clock = CoarseClock::start();
/// let envelopes = EnvelopeCounters::builder().clock(clock).build();
/// envelopes.observe("data");
/// assert_eq!(envelopes.snapshot().by_aspect["data"], 1);
/// ```
#[derive(Clone)]
pub struct CoarseClock {
    ticks: Arc<Ticks>,
    /// Held for its `Drop`. `None` for a manual clock.
    _ticker: Option<Arc<Ticker>>,
}

impl CoarseClock {
    /// Returns the process-wide clock, which starts at first use and never stops.
    ///
    /// The first clock of a process calibrates the processor's cycle counter, which takes up to 0.2 seconds, once.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<CoarseClock> = OnceLock::new();
        SHARED.get_or_init(Self::start).clone()
    }

    /// Starts a separate clock with its own ticker.
    #[must_use]
    pub fn start() -> Self {
        let ticks = Arc::new(Ticks::new(quanta::Clock::new(), Wall::System));
        let ticker = Ticker::start(Arc::clone(&ticks)).map(Arc::new);
        Self { ticks, _ticker: ticker }
    }

    /// Returns the wall time: the system's, or a [`ManualClock`]'s own.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.ticks.wall_time()
    }

    /// The tick in which events are recorded now.
    #[inline]
    pub(crate) fn tick<U: Published>(&self) -> Tick<U> {
        U::published(&self.ticks).get()
    }

    /// Reads the exact time, and publishes its ticks.
    pub(crate) fn read(&self) -> Nanos {
        self.ticks.advance()
    }

    /// The age of a wall time; zero for one in the future.
    pub(crate) fn age_of(&self, at: SystemTime) -> Duration {
        self.now().duration_since(at).unwrap_or_default()
    }
}

impl fmt::Debug for CoarseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoarseClock").field("second", &self.tick::<Second>()).finish_non_exhaustive()
    }
}

/// The state that a clock shares with its ticker.
pub(crate) struct Ticks {
    second: PublishedTick<Second>,
    minute: PublishedTick<Minute>,
    time: quanta::Clock,
    zero: quanta::Instant,
    wall: Wall,
}

enum Wall {
    System,
    /// The wall time at a manual clock's start.
    From(SystemTime),
}

impl Ticks {
    fn new(time: quanta::Clock, wall: Wall) -> Self {
        Self { second: PublishedTick::new(), minute: PublishedTick::new(), zero: time.now(), time, wall }
    }

    fn elapsed(&self) -> Duration {
        self.time.now().saturating_duration_since(self.zero)
    }

    fn wall_time(&self) -> SystemTime {
        match self.wall {
            Wall::System => SystemTime::now(),
            Wall::From(start) => start.checked_add(self.elapsed()).unwrap_or(start),
        }
    }

    fn advance(&self) -> Nanos {
        let elapsed = Nanos::try_from(self.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        let reading = START.saturating_add(elapsed);
        self.second.raise(reading);
        self.minute.raise(reading);
        reading
    }
}

/// A unit whose tick a clock publishes.
pub(crate) trait Published: Unit {
    fn published(ticks: &Ticks) -> &PublishedTick<Self>;
}

impl Published for Second {
    #[inline]
    fn published(ticks: &Ticks) -> &PublishedTick<Self> {
        &ticks.second
    }
}

impl Published for Minute {
    #[inline]
    fn published(ticks: &Ticks) -> &PublishedTick<Self> {
        &ticks.minute
    }
}

/// The tick that recording threads read, on its own cache line: a neighbour that is written more often than once a
/// second would invalidate the line for all of them.
pub(crate) struct PublishedTick<U> {
    word: CachePadded<Atomic<u64>>,
    unit: std::marker::PhantomData<U>,
}

impl<U: Unit> PublishedTick<U> {
    fn new() -> Self {
        Self { word: CachePadded::new(Atomic::new(Tick::<U>::at(START).word())), unit: std::marker::PhantomData }
    }

    #[inline]
    fn get(&self) -> Tick<U> {
        // Relaxed: see the module's orderings.
        Tick::from_word(self.word.load(Relaxed))
    }

    /// Raises the tick to that of `reading`, unless it is there or beyond.
    fn raise(&self, reading: Nanos) {
        let tick = Tick::<U>::at(reading);
        // Compared first, since a write takes the cache line from all recording threads.
        if self.get() < tick {
            // Relaxed: see the module's orderings.
            self.word.fetch_max(tick.word(), Relaxed);
        }
    }
}

/// The thread that advances a clock. It holds the ticks and not the clock, so it does not keep the clock alive.
struct Ticker {
    thread: Thread,
    ended: Arc<AtomicBool>,
}

impl Ticker {
    /// `None` if the thread cannot be spawned.
    fn start(ticks: Arc<Ticks>) -> Option<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("parsec-ticker".to_owned()).spawn({
            let ended = Arc::clone(&ended);
            move || {
                // Relaxed: the store in `drop` precedes `unpark`, which synchronizes with the return of
                // `park_timeout`.
                while !ended.load(Relaxed) {
                    let into_second = ticks.advance() % Second::NANOS;
                    // After an early wake-up, the loop parks for the rest of the second.
                    thread::park_timeout(Duration::from_nanos(Second::NANOS - into_second));
                }
            }
        });
        thread.ok().map(|thread| Self { thread: thread.thread().clone(), ended })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Relaxed: `unpark` publishes it.
        self.ended.store(true, Relaxed);
        self.thread.unpark();
    }
}

/// A clock for tests that stands still until [`advance`](Self::advance) is called.
///
/// Clones are the same clock. It starts on 1 January 2026, at midnight UTC, and lasts 584 years.
///
/// ```
/// use std::time::Duration;
/// use parsec_telemetry::{EnvelopeCounters, ManualClock};
///
/// let clock = ManualClock::new();
/// let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
/// for _ in 0..120 {
///     envelopes.observe("data");
///     clock.advance(Duration::from_secs(1));
/// }
/// assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
/// ```
#[derive(Clone)]
pub struct ManualClock {
    clock: CoarseClock,
    time: Arc<quanta::Mock>,
}

/// 1 January 2026 at midnight UTC, in seconds since the Unix epoch.
const MANUAL_START: Duration = Duration::from_secs(1_767_225_600);

impl ManualClock {
    /// Creates a clock at its start.
    #[must_use]
    pub fn new() -> Self {
        let (time, mock) = quanta::Clock::mock();
        let ticks = Ticks::new(time, Wall::From(SystemTime::UNIX_EPOCH + MANUAL_START));
        Self { clock: CoarseClock { ticks: Arc::new(ticks), _ticker: None }, time: mock }
    }

    /// Returns this clock as counters, sources and aggregators take it.
    #[must_use]
    pub fn clock(&self) -> CoarseClock {
        self.clock.clone()
    }

    /// Advances the clock. At the end of its range it stands still.
    pub fn advance(&self, by: Duration) {
        let left = Nanos::MAX - START - self.time.value();
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.time.increment(by.min(left));
        self.clock.read();
    }

    /// Returns the clock's wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use std::time::Instant;

    /// Polls until `done`, and panics after ten seconds.
    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "{what} did not happen within ten seconds");
            thread::yield_now();
        }
    }

    #[test]
    fn ticker_advances_the_clock() {
        let clock = CoarseClock::start();
        let start = clock.tick::<Second>();
        wait_for("the next second", || clock.tick() > start);
    }

    #[test]
    fn ticker_ends_after_the_last_clone_is_dropped() {
        let clock = CoarseClock::start();
        let ticks: Weak<Ticks> = Arc::downgrade(&clock.ticks);
        let other = clock.clone();
        drop(clock);
        assert!(ticks.upgrade().is_some());
        drop(other);
        wait_for("the ticker's end", || ticks.strong_count() == 0);
    }

    /// As in a child process after `fork`, or if the thread could not be spawned.
    #[test]
    fn reads_advance_a_clock_without_a_ticker() {
        let clock = CoarseClock { ticks: Arc::new(Ticks::new(quanta::Clock::new(), Wall::System)), _ticker: None };
        let (second, minute) = (clock.tick::<Second>(), clock.tick::<Minute>());
        wait_for("the next second", || {
            clock.read();
            clock.tick() > second
        });
        assert_eq!(clock.tick(), minute);
    }

    /// As after a suspended machine, or a ticker that was not scheduled.
    #[test]
    fn late_read_skips_all_missed_ticks_at_once() {
        let manual = ManualClock::new();
        manual.advance(Duration::from_secs(3 * 3600 + 59));
        let clock = manual.clock();
        let reading = START + (3 * 3600 + 59) * Second::NANOS;
        assert_eq!(clock.tick::<Second>(), Tick::at(reading));
        assert_eq!(clock.tick::<Minute>(), Tick::at(reading));
    }

    #[test]
    fn earlier_reading_does_not_lower_the_tick() {
        let tick = PublishedTick::<Second>::new();
        let later = START + 5 * Second::NANOS;
        tick.raise(later);
        tick.raise(START + 2 * Second::NANOS);
        assert_eq!(tick.get(), Tick::at(later));
    }

    #[test]
    fn manual_clock_stands_still_until_advanced_and_at_its_end() {
        let manual = ManualClock::new();
        let second = || manual.clock().tick::<Second>();
        let (start, first) = (manual.now(), second());
        assert_eq!((manual.now(), second()), (start, first));
        manual.advance(Duration::from_millis(999));
        assert_eq!(second(), first);
        manual.advance(Duration::from_millis(1));
        assert!(second() > first);
        assert_eq!(manual.now(), start + Duration::from_secs(1));
        manual.advance(Duration::MAX);
        manual.advance(Duration::MAX);
        assert_eq!(manual.clock.read(), Nanos::MAX);
    }

    #[test]
    fn future_time_has_age_zero() {
        let manual = ManualClock::new();
        let (clock, by) = (manual.clock(), Duration::from_secs(9));
        assert_eq!(clock.age_of(manual.now() + by), Duration::ZERO);
        assert_eq!(clock.age_of(manual.now() - by), by);
    }
}
