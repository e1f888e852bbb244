//! The clocks that counters count by.
//!
//! Reading the time costs more than counting does. So a count never reads it: it reads a number
//! that somebody else advances. A [`CoarseClock`] has a thread, its ticker, that wakes at the turn
//! of each second and publishes the second's number; everybody who reads a snapshot, and who needs
//! the time exactly, publishes it too if he is first.
//!
//! # Orderings
//!
//! All `Relaxed`: a tick publishes nothing but itself, and `fetch_max` never lets it go back. A
//! reader that began after an event was counted sees that event's tick or a later one, by
//! coherence.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use crossbeam_utils::CachePadded;

use crate::sync::{Atomic, Relaxed};
use crate::time::{Minute, Nanos, Now, START, Second, Tick, Unit};

/// A clock that counts whole seconds, and costs one load to read.
///
/// Counters use [`CoarseClock::shared`] unless they are given another. Clones are the same clock.
/// Its ticker, a thread named `parsec-ticker`, sleeps but for an instant a second and ends with the
/// clock's last clone; dropping that clone does not wait for it.
///
/// If the system has no thread to give, or in a child process after `fork` (where the ticker does
/// not exist), the clock still works: every snapshot that is taken advances it, and events are
/// placed as exactly as snapshots are frequent.
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
    /// Held for its `Drop`. A manual clock has none.
    _ticker: Option<Arc<Ticker>>,
}

impl CoarseClock {
    /// The clock of this process, started at first use and never stopped.
    ///
    /// The first clock of a process calibrates the processor's cycle counter, which takes up to 0.2
    /// seconds, once.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<CoarseClock> = OnceLock::new();
        SHARED.get_or_init(Self::start).clone()
    }

    /// A clock of your own, with its own ticker.
    #[must_use]
    pub fn start() -> Self {
        let ticks = Arc::new(Ticks::new(quanta::Clock::new(), Wall::System));
        let ticker = Ticker::start(Arc::clone(&ticks)).map(Arc::new);
        Self {
            ticks,
            _ticker: ticker,
        }
    }

    /// The wall time that the clock shows: the system's, or a [`ManualClock`]'s own.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.ticks.wall_time()
    }

    /// The second that events are counted in just now.
    #[inline]
    pub(crate) fn second(&self) -> Tick<Second> {
        self.ticks.second.get()
    }

    /// The minute that events are counted in just now.
    #[inline]
    pub(crate) fn minute(&self) -> Tick<Minute> {
        self.ticks.minute.get()
    }

    /// The exact time, published to all who count.
    pub(crate) fn read(&self) -> Now {
        self.ticks.advance()
    }

    /// How long ago a wall time was; zero for one that is still to come.
    pub(crate) fn age_of(&self, at: SystemTime) -> Duration {
        self.now().duration_since(at).unwrap_or_default()
    }
}

impl fmt::Debug for CoarseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoarseClock")
            .field("second", &self.second())
            .finish_non_exhaustive()
    }
}

/// What a clock and its ticker share.
struct Ticks {
    second: PublishedTick<Second>,
    minute: PublishedTick<Minute>,
    time: quanta::Clock,
    zero: quanta::Instant,
    wall: Wall,
}

enum Wall {
    System,
    /// What a manual clock showed when it was made.
    From(SystemTime),
}

impl Ticks {
    fn new(time: quanta::Clock, wall: Wall) -> Self {
        Self {
            second: PublishedTick::new(),
            minute: PublishedTick::new(),
            zero: time.now(),
            time,
            wall,
        }
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

    fn advance(&self) -> Now {
        let elapsed = Nanos::try_from(self.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        let reading = START.saturating_add(elapsed);
        Now {
            reading,
            second: self.second.raise(reading),
            minute: self.minute.raise(reading),
        }
    }
}

/// The tick that counting threads read, on cache lines of its own: next to anything that is written
/// more than once a second, each count would have to fetch it anew.
struct PublishedTick<U> {
    word: CachePadded<Atomic<u64>>,
    unit: std::marker::PhantomData<U>,
}

impl<U: Unit> PublishedTick<U> {
    fn new() -> Self {
        Self {
            word: CachePadded::new(Atomic::new(Tick::<U>::at(START).word())),
            unit: std::marker::PhantomData,
        }
    }

    #[inline]
    fn get(&self) -> Tick<U> {
        Tick::from_word(self.word.load(Relaxed))
    }

    /// Raises the tick to that of a reading, unless somebody has raised it further; returns where
    /// it stands.
    fn raise(&self, reading: Nanos) -> Tick<U> {
        let (seen, tick) = (self.get(), Tick::<U>::at(reading));
        // Looked at first: the write would take the line from all who count, and it is needed once
        // a second.
        if seen >= tick {
            return seen;
        }
        Tick::from_word(self.word.fetch_max(tick.word(), Relaxed)).max(tick)
    }
}

/// The thread that advances a clock. It holds the ticks, not the clock, and so does not keep itself
/// alive.
struct Ticker {
    thread: Thread,
    ended: Arc<AtomicBool>,
}

impl Ticker {
    /// `None` if the system has no thread to give.
    fn start(ticks: Arc<Ticks>) -> Option<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name("parsec-ticker".to_owned())
            .spawn({
                let ended = Arc::clone(&ended);
                move || {
                    // Relaxed: `unpark` happens before the `park_timeout` that it ends, and the
                    // flag was set before it.
                    while !ended.load(Relaxed) {
                        let past_the_second = ticks.advance().reading % Second::NANOS;
                        // Woken too early, it finds the rest of the second left and sleeps on.
                        thread::park_timeout(Duration::from_nanos(Second::NANOS - past_the_second));
                    }
                }
            });
        thread.ok().map(|thread| Self {
            thread: thread.thread().clone(),
            ended,
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        self.thread.unpark();
    }
}

/// A clock that stands still until it is told to advance: for tests, yours too.
///
/// Clones are the same clock. It begins on 1 January 2026, at midnight UTC, and lasts 584 years.
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

/// 1 January 2026 at midnight, as seconds of the Unix epoch.
const MANUAL_START: Duration = Duration::from_secs(1_767_225_600);

impl ManualClock {
    /// A clock that stands at its beginning.
    #[must_use]
    pub fn new() -> Self {
        let (time, mock) = quanta::Clock::mock();
        let ticks = Ticks::new(time, Wall::From(SystemTime::UNIX_EPOCH + MANUAL_START));
        Self {
            clock: CoarseClock {
                ticks: Arc::new(ticks),
                _ticker: None,
            },
            time: mock,
        }
    }

    /// This clock, in the shape that counters, sources and aggregators take.
    #[must_use]
    pub fn clock(&self) -> CoarseClock {
        self.clock.clone()
    }

    /// Advances the clock. At the end of its range it stands still for good.
    pub fn advance(&self, by: Duration) {
        let left = Nanos::MAX - START - self.time.value();
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.time.increment(by.min(left));
        self.clock.read();
    }

    /// The wall time that the clock shows.
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
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use std::time::Instant;

    /// Polls until `done`, or panics after ten seconds.
    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(
                Instant::now() < deadline,
                "{what} did not happen within ten seconds"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn the_ticker_advances_by_itself() {
        let clock = CoarseClock::start();
        let began = clock.second();
        wait_for("the next second", || clock.second() > began);
    }

    #[test]
    fn the_ticker_ends_with_the_last_clone() {
        let clock = CoarseClock::start();
        let ticks: Weak<Ticks> = Arc::downgrade(&clock.ticks);
        let other = clock.clone();
        drop(clock);
        assert!(ticks.upgrade().is_some());
        drop(other);
        wait_for("the ticker's end", || ticks.strong_count() == 0);
    }

    /// As in a child process after `fork`, or where the system had no thread to give.
    #[test]
    fn without_a_ticker_readers_advance_the_clock() {
        let clock = CoarseClock {
            ticks: Arc::new(Ticks::new(quanta::Clock::new(), Wall::System)),
            _ticker: None,
        };
        let (second, minute) = (clock.second(), clock.minute());
        wait_for("the next second", || {
            clock.read();
            clock.second() > second
        });
        assert_eq!(clock.minute(), minute);
    }

    /// What a ticker finds that was not let run for a while, or a machine that was suspended.
    #[test]
    fn a_late_ticker_makes_up_for_all_that_it_missed_at_once() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(3 * 3600 + 59));
        let clock = clock.clock();
        let reading = START + (3 * 3600 + 59) * Second::NANOS;
        assert_eq!(clock.second(), Tick::at(reading));
        assert_eq!(clock.minute(), Tick::at(reading));
    }

    #[test]
    fn a_tick_never_goes_back() {
        let tick = PublishedTick::<Second>::new();
        let later = tick.raise(START + 5 * Second::NANOS);
        assert_eq!(tick.raise(START + 2 * Second::NANOS), later);
        assert_eq!(tick.get(), later);
    }

    #[test]
    fn a_manual_clock_stands_still_advances_and_stops_at_its_end() {
        let clock = ManualClock::new();
        let (began, second) = (clock.now(), clock.clock().second());
        assert_eq!((clock.now(), clock.clock().second()), (began, second));
        clock.advance(Duration::from_millis(999));
        assert_eq!(clock.clock().second(), second);
        clock.advance(Duration::from_millis(1));
        assert!(clock.clock().second() > second);
        assert_eq!(clock.now(), began + Duration::from_secs(1));
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.clock.read().reading, Nanos::MAX);
    }

    #[test]
    fn a_time_to_come_has_no_age() {
        let clock = ManualClock::new();
        assert_eq!(
            clock.clock().age_of(clock.now() + Duration::from_secs(9)),
            Duration::ZERO
        );
        assert_eq!(
            clock.clock().age_of(clock.now() - Duration::from_secs(9)),
            Duration::from_secs(9)
        );
    }
}
