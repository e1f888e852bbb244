//! One word that holds a lap and a count.
//!
//! The word of an empty slot is its tick's word (see [`time`](crate::time)), and each event adds 1:
//!
//! ```text
//!                    lap 7, 3 events          lap 7, 4 events         lap 8, 1 event
//!                  ┌───────┬───────┐        ┌───────┬───────┐       ┌───────┬───────┐
//!  max(word, tick) │ 7     │ i + 3 │  + 1 = │ 7     │ i + 4 │  ···  │ 8     │ i + 1 │
//!                  └───────┴───────┘        └───────┴───────┘       └───────┴───────┘
//! ```
//!
//! A word of an earlier lap is less than the tick's word and is replaced by it. Lap and count change in one store, so
//! no reader sees one without the other.

use bytemuck::{Pod, Zeroable};

use crate::sync::Word;
use crate::time::{Tick, Unit};

/// A slot's word: its tick's word plus the number of events in that tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Slot(Word);

impl Slot {
    /// Whether the slot belongs to an earlier lap than `tick`.
    #[inline]
    pub(crate) fn is_stale<U: Unit>(self, tick: Tick<U>) -> bool {
        self.0 < tick.word()
    }

    /// Whether the slot belongs to a later lap than `tick`.
    pub(crate) fn is_newer<U: Unit>(self, tick: Tick<U>) -> bool {
        self.0 > tick.word() && self.count(tick) == 0
    }

    /// The slot with one more event in `tick`.
    ///
    /// The count does not carry into the lap: [`added`](Self::added) leaves half of its range to increments, and no
    /// thread makes as many in one tick (17 per nanosecond for a second, 9 for a minute).
    #[inline]
    pub(crate) fn incremented<U: Unit>(self, tick: Tick<U>) -> Self {
        Self(Word(self.0.max(tick.word()).0 + 1))
    }

    /// The slot with `n` more events in `tick`, saturating at half of the count's range.
    pub(crate) fn added<U: Unit>(self, tick: Tick<U>, n: u32) -> Self {
        let word = self.0.max(tick.word()).0;
        let limit = word >> U::COUNT_BITS << U::COUNT_BITS | 1 << (U::COUNT_BITS - 1);
        Self(Word((word + u64::from(n)).min(limit).max(word)))
    }

    /// The number of events in `tick`: 0 if the slot belongs to another lap.
    #[inline]
    pub(crate) fn count<U: Unit>(self, tick: Tick<U>) -> u64 {
        tick.count_in(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Minute, Nanos, START, Second};

    fn tick<U: Unit>(lap: u64) -> Tick<U> {
        Tick::at(START + lap * 64 * U::NANOS + 5 * U::NANOS)
    }

    #[test]
    fn slot_restarts_at_one_in_a_new_lap() {
        let (early, late) = (tick::<Second>(0), tick::<Second>(1));
        let slot = Slot::default().incremented(early).incremented(early);
        assert_eq!((slot.count(early), slot.count(late)), (2, 0));
        let slot = slot.incremented(late);
        assert_eq!((slot.count(early), slot.count(late)), (0, 1));
    }

    #[test]
    fn default_slot_is_empty_at_every_tick() {
        for number in 0..200 {
            let tick = Tick::<Minute>::at(number * Minute::NANOS);
            assert_eq!(Slot::default().count(tick), 0);
        }
    }

    #[test]
    fn late_event_does_not_overwrite_a_newer_slot() {
        let (early, late) = (tick::<Second>(0), tick::<Second>(1));
        let slot = Slot::default().incremented(late);
        assert!(slot.is_newer(early) && !slot.is_newer(late));
        assert!(slot.incremented(early).count(late) >= 1);
        assert!(slot.added(early, 7).count(late) >= 1);
    }

    #[test]
    fn added_is_as_many_increments() {
        let (early, late) = (tick::<Second>(0), tick::<Second>(1));
        let slot = Slot::default().added(early, 3).incremented(early);
        assert_eq!(slot.added(early, u32::MAX).count(early), 4 + 0xffff_ffff);
        assert_eq!(slot.added(late, 9).count(late), 9);
    }

    /// For any tick, the clock's last one included, and any number of bulk additions.
    fn additions_stay_below_half_the_range<U: Unit>() {
        for tick in [tick::<U>(0), tick(77), Tick::at(Nanos::MAX)] {
            let half = (1_u64 << (U::COUNT_BITS - 1)) - tick.index() as u64;
            let full = (0..1000).fold(Slot::default(), |slot, _| slot.added(tick, u32::MAX));
            assert_eq!(full.count(tick), half);
            // Increments still count, and a further addition takes nothing away.
            let more = full.incremented(tick).incremented(tick).added(tick, 1);
            assert_eq!(more.count(tick), half + 2);
            // As many increments as fit without a carry: half of the range.
            let last = Slot(Word(full.0.0 + (1 << (U::COUNT_BITS - 1)) - 1));
            assert_eq!(last.count(tick), 2 * half + tick.index() as u64 - 1);
        }
        let (early, late) = (tick::<U>(0), tick::<U>(1));
        let full = (0..1000).fold(Slot::default(), |slot, _| slot.added(early, u32::MAX));
        assert!(full.is_stale(late) && full.incremented(late).count(late) == 1);
    }

    #[test]
    fn repeated_additions_do_not_carry_into_the_lap() {
        additions_stay_below_half_the_range::<Second>();
        additions_stay_below_half_the_range::<Minute>();
    }
}
