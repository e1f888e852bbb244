//! Ticks, laps and windows: arithmetic only, no clock.
//!
//! A [`Tick`] is the number of a second or a minute since a clock's zero. A ring has one slot for each of the last 64
//! ticks. A tick therefore splits into an index (the tick modulo 64: which slot) and a lap (the tick divided by 64:
//! how often the ring has wrapped). It is stored as the word that its slot holds while the slot's count is zero:
//!
//! ```text
//!  63                              COUNT_BITS              6 5     0
//! ┌───────────────────────────────┬────────────────────────┬───────┐
//! │ lap                           │ 0                      │ index │
//! └───────────────────────────────┴────────────────────────┴───────┘
//! ```
//!
//! An increment then needs no division and no branch.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::sync::Word;

/// Slots in a ring: a power of two, so that the index is a mask, and above [`WINDOW`], so that a reader may lag three
/// ticks behind a writer. Models use the smallest ring with the same properties, where it may lag one.
pub(crate) const SLOTS: usize = if cfg!(parsec_loom) { 4 } else { 64 };

/// Ticks in a window: 60 seconds or 60 minutes.
pub(crate) const WINDOW: u64 = if cfg!(parsec_loom) { 2 } else { 60 };

/// A clock's reading: nanoseconds since its zero. Lasts 584 years.
pub(crate) type Nanos = u64;

/// The reading of a clock when it starts: one lap of minutes, so that an event up to one window older has a tick.
pub(crate) const START: Nanos = SLOTS as u64 * Minute::NANOS;

/// The length of a tick.
pub(crate) trait Unit: Copy + Ord + 'static {
    const NANOS: u64;
    /// Low bits of a slot's word that hold its count: 34 increments per nanosecond of a second, or 18 of a minute.
    /// The rest hold its lap, for 1,089 or 2,042 years.
    const COUNT_BITS: u32;
    /// Where a clock publishes its tick.
    const INDEX: usize;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Second;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute;

impl Unit for Second {
    const NANOS: u64 = 1_000_000_000;
    const COUNT_BITS: u32 = 35;
    const INDEX: usize = 0;
}

impl Unit for Minute {
    const NANOS: u64 = 60 * Second::NANOS;
    const COUNT_BITS: u32 = 40;
    const INDEX: usize = 1;
}

/// A second or a minute, as the word of its empty slot. Later ticks have greater words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick<U> {
    word: Word,
    unit: PhantomData<U>,
}

impl<U: Unit> Tick<U> {
    /// The tick that contains `reading`.
    pub(crate) fn at(reading: Nanos) -> Self {
        Self::numbered(reading / U::NANOS)
    }

    fn numbered(number: u64) -> Self {
        let slots = SLOTS as u64;
        Self::from_word(Word(((number / slots) << U::COUNT_BITS) | (number % slots)))
    }

    #[inline]
    pub(crate) fn from_word(word: Word) -> Self {
        Self { word, unit: PhantomData }
    }

    #[inline]
    pub(crate) fn word(self) -> Word {
        self.word
    }

    /// The index of the tick's slot in a ring.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the modulo keeps six bits")]
    pub(crate) fn index(self) -> usize {
        self.word.0 as usize % SLOTS
    }

    /// The events of this tick in a slot's word: 0 if the slot belongs to another lap.
    pub(crate) fn count_in(self, slot: Word) -> u64 {
        match slot.0.checked_sub(self.word.0) {
            Some(count) if count >> U::COUNT_BITS == 0 => count,
            _ => 0,
        }
    }

    fn number(self) -> u64 {
        (self.word.0 >> U::COUNT_BITS) * SLOTS as u64 + self.index() as u64
    }

    fn earlier(self, ticks: u64) -> Self {
        Self::numbered(self.number().saturating_sub(ticks))
    }

    fn start(self) -> Nanos {
        self.number().saturating_mul(U::NANOS)
    }
}

impl<U: Unit> fmt::Debug for Tick<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tick({})", self.number())
    }
}

/// The reading of an event that happened `age` before `now`; `None` if it is older than the window.
pub(crate) fn reading_for_age<U: Unit>(now: Nanos, age: Duration) -> Option<Nanos> {
    let age = u64::try_from(age.as_nanos()).ok().filter(|&age| age <= WINDOW * U::NANOS)?;
    Some(now.saturating_sub(age))
}

/// The events of a window: in the slots that lie inside it, and in the slot that its far edge cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowCount {
    pub(crate) full: u64,
    pub(crate) partial: u64,
}

impl WindowCount {
    pub(crate) fn add(&mut self, other: Self) {
        self.full = self.full.saturating_add(other.full);
        self.partial = self.partial.saturating_add(other.partial);
    }
}

/// The last 60 ticks before a reading, exact to the nanosecond.
///
/// ```text
///           far edge                                        now
///              │◄──────────────── 60 ticks ────────────────►│
///  ┌───────────┼──────┬────────────┬─── ─ ─ ───┬────────────┼ ─ ─ ┐
///  │  partial  │inside│    full    │           │    full    │newest
///  └───────────┴──────┴────────────┴─── ─ ─ ───┴────────────┴ ─ ─ ┘
/// ```
///
/// The partial slot is weighted by the fraction of it inside the window, as if its events were spread evenly over the
/// time in which it was recorded: the whole tick, or the rest of it from where the counter's events begin.
#[derive(Debug)]
pub(crate) struct Window<U: Unit> {
    /// The tick that the far edge cuts.
    pub(crate) partial: Tick<U>,
    /// Nanoseconds of the partial slot that lie inside the window.
    inside: u64,
    /// Nanoseconds of the partial slot in which events were recorded.
    recorded: u64,
    /// Nanoseconds that the counter has covered, at most the window's length.
    covered: u64,
}

impl<U: Unit> Window<U> {
    /// The window that ends at `reading`, of a counter whose events begin at `since`, while threads record in the
    /// tick `newest`.
    pub(crate) fn ending(reading: Nanos, newest: Tick<U>, since: Nanos) -> Self {
        let into_newest = reading.saturating_sub(newest.start()).min(U::NANOS);
        let partial = newest.earlier(WINDOW);
        // A slot that ends before `since` has no events: any divisor but zero will do.
        let recorded = (partial.start() + U::NANOS).saturating_sub(since).clamp(1, U::NANOS);
        Self {
            partial,
            inside: (U::NANOS - into_newest).min(recorded),
            recorded,
            covered: reading.saturating_sub(since).min(WINDOW * U::NANOS),
        }
    }

    /// The ticks inside the window.
    #[inline]
    pub(crate) fn full(&self) -> impl Iterator<Item = Tick<U>> {
        let partial = self.partial.number();
        (1..=WINDOW).map(move |after| Tick::numbered(partial + after))
    }

    /// The window's events in units of 1 / `recorded`. 128 bits hold any sum of 64-bit counts.
    fn scaled(&self, count: WindowCount) -> u128 {
        u128::from(count.full) * u128::from(self.recorded) + u128::from(count.partial) * u128::from(self.inside)
    }

    /// The window's events, rounded to the nearest whole number.
    pub(crate) fn count(&self, count: WindowCount) -> u64 {
        let recorded = u128::from(self.recorded);
        u64::try_from((self.scaled(count) + recorded / 2) / recorded).unwrap_or(u64::MAX)
    }

    /// Whether the counter has covered the least time that a rate is divided by.
    pub(crate) fn covers_a_second(&self) -> bool {
        self.covered >= Second::NANOS
    }

    /// Events per second over the window, or over the time covered if that is shorter.
    pub(crate) fn rate_per_second(&self, count: WindowCount) -> f64 {
        let events = self.scaled(count).saturating_mul(u128::from(Second::NANOS));
        let time = u128::from(self.recorded) * u128::from(self.covered.max(Second::NANOS));
        // The integer part is divided as integers: the terms exceed a float's 53 bits, and an even stream of 100 per
        // second must read 100.0, not 100.00000000000001.
        (events / time) as f64 + (events % time) as f64 / time as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Tick<Second> {
        Tick::at(START + number * Second::NANOS)
    }

    /// The window that ends `after` the clock's start, of a counter created `created_at` after it.
    fn window(after: Nanos, created_at: Nanos) -> Window<Second> {
        Window::ending(START + after, Tick::at(START + after), START + created_at)
    }

    #[test]
    fn ticks_are_ordered_across_laps() {
        assert!(second(63) < second(64));
        assert_eq!(second(64).index(), second(0).index());
        assert_eq!(second(7).earlier(3), second(4));
        assert_eq!(format!("{:?}", Tick::<Second>::at(90 * Second::NANOS)), "Tick(90)");
    }

    #[test]
    fn last_tick_of_the_clock_is_ordered() {
        let last = Tick::<Second>::at(Nanos::MAX);
        assert!(last > last.earlier(1));
        assert_eq!(last.number(), Nanos::MAX / Second::NANOS);
        assert_eq!(Tick::<Minute>::at(Nanos::MAX).number(), Nanos::MAX / Minute::NANOS);
    }

    #[test]
    fn count_is_zero_in_other_laps() {
        let tick = second(5);
        assert_eq!(tick.count_in(Word(tick.word().0 + 3)), 3);
        for other in [second(5 + 64), second(5).earlier(64)] {
            assert_eq!(other.count_in(Word(tick.word().0 + 3)), 0);
        }
    }

    #[test]
    fn partial_slot_is_weighted_by_the_fraction_inside() {
        let count = WindowCount { full: 6_000, partial: 100 };
        // A quarter into the newest second, three quarters of the partial one are inside.
        let window = window(100 * Second::NANOS + Second::NANOS / 4, 0);
        assert_eq!(window.count(count), 6_075);
        assert_eq!(window.rate_per_second(count).to_bits(), 101.25f64.to_bits());
        let full: Vec<_> = window.full().collect();
        assert_eq!(full, (41..=100).map(second).collect::<Vec<_>>());
        assert_eq!(window.partial, second(40));
    }

    #[test]
    fn partial_slot_of_the_creation_second_is_weighted_by_its_recorded_part() {
        // Created half-way through second 0. At 60.75 s, half of the recorded half is inside.
        let window = window(60 * Second::NANOS + 3 * Second::NANOS / 4, Second::NANOS / 2);
        assert_eq!(window.count(WindowCount { full: 0, partial: 100 }), 50);
    }

    #[test]
    fn event_is_placed_by_its_age() {
        let now = START + 100 * Second::NANOS + 1;
        let tick = |age| reading_for_age::<Second>(now, age).map(Tick::at);
        assert_eq!(tick(Duration::ZERO), Some(second(100)));
        assert_eq!(tick(Duration::from_nanos(2)), Some(second(99)));
        assert_eq!(tick(Duration::from_secs(60)), Some(second(40)));
        assert_eq!(tick(Duration::from_nanos(60 * Second::NANOS + 1)), None);
        assert_eq!(tick(Duration::MAX), None);
    }
}
