//! The clocks of the counters.
//!
//! Reading the time costs more than recording an event, so recording reads a tick that is published once per second
//! instead: by a thread, the ticker, and by each snapshot, which reads the exact time. All accesses are `Relaxed`: a
//! tick publishes nothing but itself and never decreases. A read that happens after an event was recorded sees that
//! event's tick or a later one, by coherence.

use std::fmt;
use std::process;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;

use crate::sync::{Atomic, Relaxed, Word};
use crate::time::{Minute, Nanos, START, Second, Tick, Unit};

/// A clock with a resolution of one second that costs one load to read.
///
/// Counters use [`CoarseClock::shared`] by default. Clones are the same clock. Its ticker, a thread named
/// `parsec-ticker`, wakes once per second and ends after the last clone is dropped; dropping does not wait for it.
///
/// Each snapshot advances the clock too. It also spawns the ticker if the process has none, because spawning failed
/// or after `fork`. Until then, an event counts in the last published second; the rate is right 60 seconds later.
#[derive(Clone)]
pub struct CoarseClock {
    ticks: Arc<Ticks>,
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
        let cycles = quanta::Clock::new();
        let system = System::Real { start: Instant::now(), ticker: Ticker::default() };
        let clock = Self { ticks: Arc::new(Ticks::new(cycles, system)) };
        clock.read();
        clock
    }

    /// Returns the wall time: the system's, or a [`ManualClock`]'s own.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.ticks.system {
            System::Real { .. } => SystemTime::now(),
            System::Manual(_) => {
                // 1 January 2026 at midnight UTC.
                let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
                start.checked_add(Duration::from_nanos(self.ticks.elapsed())).unwrap_or(start)
            }
        }
    }

    /// Returns whether this is a [`ManualClock`].
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.ticks.system, System::Manual(_))
    }

    /// The tick in which events are recorded now.
    #[inline]
    pub(crate) fn tick<U: Unit>(&self) -> Tick<U> {
        Tick::from_word(self.ticks.published[U::INDEX].load(Relaxed))
    }

    /// As [`advance`](Self::advance), and spawns the ticker if this process has none.
    pub(crate) fn read(&self) -> Nanos {
        self.ticks.ensure_ticker();
        self.advance()
    }

    /// Reads the exact time and publishes its ticks.
    pub(crate) fn advance(&self) -> Nanos {
        let reading = START.saturating_add(self.ticks.elapsed());
        for (published, tick) in self.ticks.published.iter().zip(ticks_at(reading)) {
            // Written only if it must advance, since a write takes the cache line from all recording threads.
            let _ = published.fetch_update(Relaxed, Relaxed, |seen| (seen < tick).then_some(tick));
        }
        reading
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

struct Ticks {
    /// The current second and minute, at [`Unit::INDEX`]. Each on its own cache line: a write to a neighbour would
    /// invalidate the line for all recording threads.
    published: [CachePadded<Atomic<Word>>; 2],
    cycles: quanta::Clock,
    /// The cycle counter at the clock's creation.
    zero: u64,
    system: System,
}

enum System {
    Real {
        start: Instant,
        ticker: Ticker,
    },
    /// Nanoseconds since the start, which only [`ManualClock::advance`] changes.
    Manual(Arc<quanta::Mock>),
}

impl Ticks {
    fn new(cycles: quanta::Clock, system: System) -> Self {
        let published = ticks_at(START).map(|word| CachePadded::new(Atomic::new(word)));
        Self { published, zero: cycles.raw(), cycles, system }
    }

    /// The time since the clock's creation. The cycle counter can step, stop, or run at another speed, for example in
    /// a virtual machine that is restored: when it is off by more than 1 ms, the monotonic clock replaces it.
    fn elapsed(&self) -> Nanos {
        let cycles = self.cycles.delta_as_nanos(self.zero, self.cycles.raw());
        let monotonic = match &self.system {
            System::Real { start, .. } => Nanos::try_from(start.elapsed().as_nanos()).unwrap_or(Nanos::MAX),
            System::Manual(time) => time.value(),
        };
        if cycles.abs_diff(monotonic) <= 1_000_000 { cycles } else { monotonic }
    }

    /// Spawns the ticker, unless this process has one or another thread is spawning it.
    fn ensure_ticker(self: &Arc<Self>) {
        let System::Real { ticker, .. } = &self.system else { return };
        let (this, seen) = (process::id(), ticker.process.load(Relaxed));
        if seen == this || ticker.process.compare_exchange(seen, this, Relaxed, Relaxed).is_err() {
            return;
        }
        let ticks = Arc::downgrade(self);
        let spawned = thread::Builder::new().name("parsec-ticker".to_owned()).spawn(move || run_ticker(&ticks));
        let Ok(spawned) = spawned else { return ticker.process.store(0, Relaxed) };
        // Not waited for: after `fork`, its holder may be gone.
        if let Ok(mut thread) = ticker.thread.try_lock() {
            *thread = Some(spawned.thread().clone());
        }
    }
}

/// The words of the second and the minute that contain `reading`, at [`Unit::INDEX`].
fn ticks_at(reading: Nanos) -> [Word; 2] {
    [Tick::<Second>::at(reading).word(), Tick::<Minute>::at(reading).word()]
}

/// The thread that advances a clock.
#[derive(Default)]
struct Ticker {
    /// The process that spawned the thread: after `fork`, a child does not have it. 0 if there is none.
    process: AtomicU32,
    thread: Mutex<Option<Thread>>,
}

impl Drop for Ticker {
    /// Wakes the thread, which ends.
    fn drop(&mut self) {
        if let Ok(Some(thread)) = self.thread.get_mut() {
            thread.unpark();
        }
    }
}

/// Holds the ticks only while it advances them, so that it does not keep the clock alive.
fn run_ticker(ticks: &Weak<Ticks>) {
    while let Some(reading) = ticks.upgrade().map(|ticks| CoarseClock { ticks }.advance()) {
        // After an early wake-up, the loop parks for the rest of the second.
        thread::park_timeout(until_next_second(reading));
    }
}

fn until_next_second(reading: Nanos) -> Duration {
    Duration::from_nanos(Second::NANOS - reading % Second::NANOS)
}

/// A clock for tests that stands still until [`advance`](Self::advance) is called.
///
/// Clones are the same clock. It starts on 1 January 2026, at midnight UTC, and lasts 584 years.
///
/// ```
/// # use parsec_telemetry::{EnvelopeCounters, ManualClock};
/// let clock = ManualClock::new();
/// let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
/// envelopes.observe("data");
/// clock.advance(std::time::Duration::from_secs(1));
/// assert_eq!(envelopes.snapshot().rate_per_second, 1.0);
/// ```
#[derive(Clone)]
pub struct ManualClock {
    clock: CoarseClock,
    time: Arc<quanta::Mock>,
}

impl ManualClock {
    /// Creates a clock at its start.
    #[must_use]
    pub fn new() -> Self {
        let (cycles, time) = quanta::Clock::mock();
        let ticks = Ticks::new(cycles, System::Manual(Arc::clone(&time)));
        Self { clock: CoarseClock { ticks: Arc::new(ticks) }, time }
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
    use crate::envelopes::EnvelopeCounters;

    /// Polls until `done`, and panics after ten seconds.
    fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "{what} did not happen within ten seconds");
            thread::yield_now();
        }
    }

    /// A clock whose ticker was spawned by this process, or by none.
    fn clock_of(process: u32) -> CoarseClock {
        let ticker = Ticker { process: process.into(), thread: Mutex::default() };
        let system = System::Real { start: Instant::now(), ticker };
        CoarseClock { ticks: Arc::new(Ticks::new(quanta::Clock::new(), system)) }
    }

    #[test]
    fn ticker_advances_the_clock() {
        let clock = CoarseClock::start();
        let start = clock.tick::<Second>();
        wait_for("the next second", || clock.tick() > start);
    }

    #[test]
    fn ticker_parks_until_the_turn_of_the_second() {
        for (into_second, millis) in [(0, 1000), (250, 750), (999, 1)] {
            let reading = START + 7 * Second::NANOS + into_second * 1_000_000;
            assert_eq!(until_next_second(reading), Duration::from_millis(millis));
        }
        assert_eq!(until_next_second(START + Second::NANOS - 1), Duration::from_nanos(1));
    }

    #[test]
    fn ticker_ends_after_the_last_clone_is_dropped() {
        let clock = clock_of(process::id());
        let ticks = Arc::downgrade(&clock.ticks);
        let ticker = thread::spawn(move || run_ticker(&ticks));
        let System::Real { ticker: handle, .. } = &clock.ticks.system else { panic!("a real clock") };
        *handle.thread.lock().expect("no panic") = Some(ticker.thread().clone());
        drop(clock.clone());
        assert!(!ticker.is_finished());
        drop(clock);
        wait_for("the ticker's end", || ticker.is_finished());
    }

    /// As in a child process after `fork`, or if the thread could not be spawned.
    #[test]
    fn clock_without_a_ticker_gets_one_at_the_next_read() {
        for process in [0, process::id() + 1] {
            let clock = clock_of(process);
            let start = clock.tick::<Second>();
            clock.read();
            wait_for("the next second", || clock.tick() > start);
        }
    }

    #[test]
    fn reads_advance_a_clock_without_a_ticker() {
        let clock = clock_of(process::id());
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

    const MILLI: u64 = 1_000_000;

    /// A clock whose cycle counter and monotonic clock are injected.
    fn injected() -> (CoarseClock, [Arc<quanta::Mock>; 2]) {
        let ((cycles, counter), (_, monotonic)) = (quanta::Clock::mock(), quanta::Clock::mock());
        // Room for steps back.
        counter.increment(1_000_000 * Second::NANOS);
        let ticks = Ticks::new(cycles, System::Manual(Arc::clone(&monotonic)));
        (CoarseClock { ticks: Arc::new(ticks) }, [counter, monotonic])
    }

    #[test]
    fn earlier_reading_does_not_lower_the_tick() {
        let (clock, times) = injected();
        for time in &times {
            time.increment(Second::NANOS);
        }
        assert_eq!(clock.read(), START + Second::NANOS);
        times[0].decrement(MILLI);
        assert_eq!(clock.read(), START + Second::NANOS - MILLI);
        assert_eq!(clock.tick::<Second>(), Tick::at(START + Second::NANOS));
    }

    #[test]
    fn reading_is_the_cycle_counter_within_one_millisecond_and_the_monotonic_clock_otherwise() {
        let (clock, [counter, monotonic]) = injected();
        monotonic.increment(Second::NANOS);
        assert_eq!(clock.read(), START + Second::NANOS);
        counter.increment(Second::NANOS + MILLI);
        assert_eq!(clock.read(), START + Second::NANOS + MILLI);
        counter.increment(1);
        assert_eq!(clock.read(), START + Second::NANOS);
        counter.decrement(2 * MILLI + 1);
        assert_eq!(clock.read(), START + Second::NANOS - MILLI);
        counter.decrement(1);
        assert_eq!(clock.read(), START + Second::NANOS);
    }

    /// A step ahead or back, and the counter's speed after it, in percent.
    #[test]
    fn even_stream_reads_its_rate_ten_seconds_after_any_step_of_the_cycle_counter() {
        const HOUR: i64 = 3_600_000_000_000;
        let steps =
            [(0, 100), (HOUR, 100), (-HOUR, 100), (-500_000 * HOUR / 3600, 100), (0, 0), (0, 50), (0, 99), (0, 400)];
        for (step, speed) in steps {
            for millis_between_snapshots in [10, 250, 7_000, 1_000_000] {
                let (clock, [counter, monotonic]) = injected();
                let envelopes = EnvelopeCounters::builder().clock(clock.clone()).build();
                let data = envelopes.aspect("data");
                let run = |millis: u64, speed: u64| {
                    for elapsed in (0..millis).step_by(5) {
                        if elapsed % 10 == 5 {
                            data.observe();
                        }
                        counter.increment(5 * MILLI * speed / 100);
                        monotonic.increment(5 * MILLI);
                        // The ticker.
                        if monotonic.value() % Second::NANOS == 0 {
                            clock.advance();
                        }
                        if elapsed % millis_between_snapshots == 0 {
                            let _ = envelopes.snapshot();
                        }
                    }
                };
                run(90_000, 100);
                match step {
                    0.. => counter.increment(step.unsigned_abs()),
                    _ => counter.decrement(step.unsigned_abs()),
                }
                run(10_000, speed);
                let rate = envelopes.snapshot().rate_per_second;
                let case = format!("{step} ns, {speed} %, a snapshot every {millis_between_snapshots} ms");
                assert!((rate - 100.0).abs() < 0.05, "{rate} after {case}");
                run(120_000, speed);
                let rate = envelopes.snapshot().rate_per_second;
                assert!((rate - 100.0).abs() < 0.05, "{rate} two minutes after {case}");
            }
        }
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
