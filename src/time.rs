//! Ticks, laps and windows: the arithmetic of time, with no clock in it.
//!
//! A [`Tick`] numbers the seconds (or the minutes) of a clock. A ring keeps one slot for each of
//! the last 64 of them, so a tick is two things: which slot it falls into (its index, the tick
//! modulo 64) and how often the ring has gone round before it (its lap). A tick is kept as the very
//! word that its slot holds when nothing has been counted in it:
//!
//! ```text
//!  63                              COUNT_BITS              6 5     0
//! ┌───────────────────────────────┬────────────────────────┬───────┐
//! │ lap                           │ 0                      │ index │
//! └───────────────────────────────┴────────────────────────┴───────┘
//! ```
//!
//! so that counting needs neither a division nor a branch: see
//! [`Slot::counted`](crate::raw::slot::Slot::counted).
//!
//! Readings are whole nanoseconds since a clock's zero ([`Nanos`]). A clock begins at [`START`],
//! not at 0: an event from before the clock began, as late as a window allows, then still has a
//! tick of its own.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Slots in a ring: a power of two above [`WINDOW`], so that the index is a mask and a reader may
/// lag three ticks.
///
/// A model has the smallest ring that shows all of it: a reader may lag one tick.
pub(crate) const SLOTS: usize = if cfg!(parsec_loom) { 4 } else { 64 };

/// The ticks that a window covers: sixty seconds, or sixty minutes.
pub(crate) const WINDOW: u64 = if cfg!(parsec_loom) { 2 } else { 60 };

/// A reading of a clock: nanoseconds since its zero, good for 584 years.
pub(crate) type Nanos = u64;

/// What a clock reads when it starts: one lap of minutes, the longest ring there is.
pub(crate) const START: Nanos = SLOTS as u64 * Minute::NANOS;

/// What a ring's slots stand for.
pub(crate) trait Unit: Copy + 'static {
    /// The length of a tick.
    const NANOS: u64;
    /// How many low bits of a slot's word hold its count; the rest hold its lap.
    const COUNT_BITS: u32;
}

/// Slots of a second: 35 bits hold what a thread could count in one at 34 a nanosecond; 29 bits of
/// laps last 1,089 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Second;

/// Slots of a minute: 40 bits hold what a thread could count in one at 18 a nanosecond; 24 bits of
/// laps last 2,042 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minute;

impl Unit for Second {
    const NANOS: u64 = 1_000_000_000;
    const COUNT_BITS: u32 = 35;
}

impl Unit for Minute {
    const NANOS: u64 = 60 * Second::NANOS;
    const COUNT_BITS: u32 = 40;
}

/// The number of a second or minute, as the word that begins its slot.
pub(crate) struct Tick<U> {
    word: u64,
    unit: PhantomData<U>,
}

impl<U: Unit> Tick<U> {
    /// The tick in which a reading falls.
    pub(crate) fn at(reading: Nanos) -> Self {
        Self::numbered(reading / U::NANOS)
    }

    fn numbered(number: u64) -> Self {
        let slots = SLOTS as u64;
        Self::from_word(((number / slots) << U::COUNT_BITS) | (number % slots))
    }

    /// The tick that a clock published as `word`.
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            word,
            unit: PhantomData,
        }
    }

    /// The word that the tick's slot holds before anything is counted in it. Later ticks have
    /// greater words.
    #[inline]
    pub(crate) fn word(self) -> u64 {
        self.word
    }

    /// Which of the ring's slots is the tick's.
    #[inline]
    pub(crate) fn index(self) -> usize {
        // The mask leaves six bits, so nothing is cut off on any platform.
        #[expect(clippy::cast_possible_truncation)]
        let index = self.word as usize % SLOTS;
        index
    }

    /// What was counted in this tick, by what its slot holds: nothing, where the slot belongs to
    /// another lap.
    pub(crate) fn counted_in(self, word: u64) -> u64 {
        match word.checked_sub(self.word) {
            Some(count) if count >> U::COUNT_BITS == 0 => count,
            _ => 0,
        }
    }

    /// The next tick, of one that is not the last in its lap.
    #[inline]
    pub(crate) fn next_in_lap(self) -> Self {
        Self::from_word(self.word + 1)
    }

    fn number(self) -> u64 {
        (self.word >> U::COUNT_BITS) * SLOTS as u64 + self.index() as u64
    }

    fn earlier(self, ticks: u64) -> Self {
        Self::numbered(self.number().saturating_sub(ticks))
    }

    fn began(self) -> Nanos {
        self.number().saturating_mul(U::NANOS)
    }
}

impl<U> Clone for Tick<U> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<U> Copy for Tick<U> {}

impl<U> PartialEq for Tick<U> {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl<U> Eq for Tick<U> {}

impl<U> PartialOrd for Tick<U> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<U> Ord for Tick<U> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.word.cmp(&other.word)
    }
}

impl<U: Unit> fmt::Debug for Tick<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tick({})", self.number())
    }
}

/// A moment, as every reader of a clock sees it: the reading, and the ticks that the counting
/// threads use just then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) reading: Nanos,
    pub(crate) second: Tick<Second>,
    pub(crate) minute: Tick<Minute>,
}

/// Where an event of a given age belongs in a ring whose newest tick is `newest`; `None` if it is
/// older than the window.
pub(crate) fn place<U: Unit>(reading: Nanos, newest: Tick<U>, age: Duration) -> Option<Tick<U>> {
    let age = u64::try_from(age.as_nanos())
        .ok()
        .filter(|&age| age <= WINDOW * U::NANOS)?;
    // The ticker may be a little late, and no slot may run ahead of it: the owner would then go
    // back.
    Some(Tick::at(reading.saturating_sub(age)).min(newest))
}

/// What a ring holds of a window: the slots that lie in it whole, and the one that straddles its
/// far edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) whole: u64,
    pub(crate) straddling: u64,
}

impl Counted {
    /// Adds what another ring holds of the same window.
    pub(crate) fn add(&mut self, other: Self) {
        self.whole = self.whole.saturating_add(other.whole);
        self.straddling = self.straddling.saturating_add(other.straddling);
    }
}

/// Ticks that follow each other in one lap, and whose slots so stand side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<U: Unit> {
    pub(crate) first: Tick<U>,
    pub(crate) ticks: usize,
}

/// The sixty ticks that end with the newest, as the runs in which their slots stand in the ring.
fn runs<U: Unit>(newest: Tick<U>) -> [Run<U>; 2] {
    let ticks = usize::try_from(WINDOW).unwrap_or(SLOTS);
    let first = newest.earlier(WINDOW - 1);
    let before_the_end = (SLOTS - first.index()).min(ticks);
    let rest = ticks - before_the_end;
    // The ring's end is the lap's: the second run, if there is one, ends with the newest tick.
    let second = if rest == 0 {
        newest
    } else {
        newest.earlier(rest as u64 - 1)
    };
    let run = |first, ticks| Run { first, ticks };
    [run(first, before_the_end), run(second, rest)]
}

/// The last sixty ticks before a moment, to the nanosecond.
///
/// ```text
///           far edge                                        now
///              │◄──────────────── 60 ticks ────────────────►│
///  ┌───────────┼──────┬────────────┬─── ─ ─ ───┬────────────┼ ─ ─ ┐
///  │ straddling│inside│   whole    │           │   whole    │newest
///  └───────────┴──────┴────────────┴─── ─ ─ ───┴────────────┴ ─ ─ ┘
/// ```
///
/// The straddling slot counts for the part of it that is inside, as if its events were spread
/// evenly over the time in which it was being counted: its whole length, or what was left of it
/// when the counter was made.
#[derive(Debug)]
pub(crate) struct Window<U: Unit> {
    straddling: Tick<U>,
    whole: [Run<U>; 2],
    /// Of the straddling slot, the nanoseconds that the window covers, and those that were counted
    /// in it.
    inside: u64,
    live: u64,
    /// How long there has been something to count: the window's length, or the counter's age, but a
    /// second at least.
    span: u64,
}

impl<U: Unit> Window<U> {
    /// The window of a counter made at `made`, seen at `reading`, while the threads that count use
    /// the tick `newest`.
    pub(crate) fn ending(reading: Nanos, newest: Tick<U>, made: Nanos) -> Self {
        let age = reading.saturating_sub(made);
        let into_newest = reading.saturating_sub(newest.began()).min(U::NANOS);
        let straddling = newest.earlier(WINDOW);
        let straddling_ends = straddling.began() + U::NANOS;
        let live = match straddling_ends.checked_sub(made) {
            Some(live) if live > 0 => live.min(U::NANOS),
            // Made later than that: what is in the slot came late, and is taken to be spread over
            // all of it.
            _ => U::NANOS,
        };
        Self {
            straddling,
            whole: runs(newest),
            inside: (U::NANOS - into_newest).min(live),
            live,
            span: age.clamp(Second::NANOS, WINDOW * U::NANOS),
        }
    }

    /// The ticks that lie in the window whole, as the runs in which their slots stand in the ring.
    pub(crate) fn whole(&self) -> &[Run<U>; 2] {
        &self.whole
    }

    /// The tick that straddles the window's far edge.
    pub(crate) fn straddling(&self) -> Tick<U> {
        self.straddling
    }

    /// How many events the window holds, in units of 1 / `live`. 128 bits hold any sum of 64-bit
    /// counts.
    fn scaled(&self, counted: Counted) -> u128 {
        let (live, inside) = (u128::from(self.live), u128::from(self.inside));
        u128::from(counted.whole) * live + u128::from(counted.straddling) * inside
    }

    /// How many events the window holds, rounded to the nearest whole number.
    pub(crate) fn count(&self, counted: Counted) -> u64 {
        let live = u128::from(self.live);
        u64::try_from((self.scaled(counted) + live / 2) / live).unwrap_or(u64::MAX)
    }

    /// Events a second over the window, or over the counter's age where that is shorter.
    pub(crate) fn rate_per_second(&self, counted: Counted) -> f64 {
        let events = self
            .scaled(counted)
            .saturating_mul(u128::from(Second::NANOS));
        let time = u128::from(self.live) * u128::from(self.span);
        // The whole part by integers: the terms do not fit a float's 53 bits, and an even stream of
        // 100 a second is to read as 100 and not as 100.00000000000001.
        (events / time) as f64 + (events % time) as f64 / time as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    fn second(number: u64) -> Tick<Second> {
        Tick::at(START + number * Second::NANOS)
    }

    /// The window that ends so many nanoseconds after the clock's start, of a counter made at
    /// `made`.
    fn window(after: Nanos, made: Nanos) -> Window<Second> {
        Window::ending(START + after, Tick::at(START + after), START + made)
    }

    #[test]
    fn ticks_are_numbered_in_order_and_go_round() {
        assert!(second(63) < second(64));
        assert_eq!(second(64).index(), second(0).index());
        assert_eq!(second(7).earlier(3), second(4));
        assert_eq!(
            format!("{:?}", Tick::<Second>::at(90 * Second::NANOS)),
            "Tick(90)"
        );
    }

    #[test]
    fn the_last_tick_of_the_clock_is_still_in_order() {
        let last = Tick::<Second>::at(Nanos::MAX);
        assert!(last > last.earlier(1));
        assert_eq!(last.number(), Nanos::MAX / Second::NANOS);
        assert_eq!(
            Tick::<Minute>::at(Nanos::MAX).number(),
            Nanos::MAX / Minute::NANOS
        );
    }

    #[test]
    fn a_count_is_read_back_for_its_own_lap_only() {
        let tick = second(5);
        assert_eq!(tick.counted_in(tick.word() + 3), 3);
        for other in [second(5 + 64), second(5).earlier(64)] {
            assert_eq!(other.counted_in(tick.word() + 3), 0);
        }
    }

    #[test]
    fn a_window_is_its_whole_seconds_and_a_part_of_one() {
        let counted = Counted {
            whole: 6_000,
            straddling: 100,
        };
        // A quarter into the newest second, three quarters of the straddling one are inside.
        let window = window(100 * Second::NANOS + Second::NANOS / 4, 0);
        assert_eq!(window.count(counted), 6_075);
        assert_eq!(
            window.rate_per_second(counted).to_bits(),
            101.25f64.to_bits()
        );
        let ticks = |run: &Run<Second>| {
            iter::successors(Some(run.first), |tick| Some(tick.next_in_lap())).take(run.ticks)
        };
        let whole: Vec<_> = window.whole().iter().flat_map(ticks).collect();
        assert_eq!(whole, (41..=100).map(second).collect::<Vec<_>>());
        assert_eq!(window.straddling(), second(40));
    }

    #[test]
    fn the_straddling_second_in_which_the_counter_was_made_is_shorter() {
        // Made half-way through second 0; what was counted is spread over the half that was left.
        let window = window(
            60 * Second::NANOS + 3 * Second::NANOS / 4,
            Second::NANOS / 2,
        );
        assert_eq!(
            window.count(Counted {
                whole: 0,
                straddling: 100
            }),
            50
        );
    }

    #[test]
    fn an_event_is_placed_by_its_age() {
        let now = START + 100 * Second::NANOS + 1;
        let placed = |age| place::<Second>(now, Tick::at(now), age);
        assert_eq!(placed(Duration::ZERO), Some(second(100)));
        assert_eq!(placed(Duration::from_nanos(2)), Some(second(99)));
        assert_eq!(placed(Duration::from_secs(60)), Some(second(40)));
        assert_eq!(placed(Duration::from_nanos(60 * Second::NANOS + 1)), None);
        assert_eq!(placed(Duration::MAX), None);
        // The ticker is late: the owner has not seen the newest second yet.
        assert_eq!(place(now, second(99), Duration::ZERO), Some(second(99)));
    }
}
