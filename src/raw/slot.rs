//! One word that holds a lap and a count: the smallest thing that can be counted in.
//!
//! A slot is turned over by counting in it. Its word begins as its tick's (see
//! [`time`](crate::time)), and every event adds one:
//!
//! ```text
//!                    lap 7, 3 events          lap 7, 4 events         lap 8, 1 event
//!                  ┌───────┬───────┐        ┌───────┬───────┐       ┌───────┬───────┐
//!  max(word, tick) │ 7     │ i + 3 │  + 1 = │ 7     │ i + 4 │  ···  │ 8     │ i + 1 │
//!                  └───────┴───────┘        └───────┴───────┘       └───────┴───────┘
//! ```
//!
//! A word of an earlier lap is less than the tick and gives way to it; a word of this lap is not,
//! and is counted on. Because lap and count change in one word, no reader can ever see the one
//! without the other.

use bytemuck::{Pod, Zeroable};

use crate::sync::Atomic;
use crate::time::{Tick, Unit};

/// A slot's word: its tick's word plus the events counted in that tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Slot(u64);

const _: () = assert!(
    Atomic::<Slot>::is_lock_free(),
    "a slot must be one lock-free word on this target"
);

impl Slot {
    /// Whether the slot is still of an earlier lap than `tick`'s, and is to be turned over.
    #[inline]
    pub(crate) fn is_before<U: Unit>(self, tick: Tick<U>) -> bool {
        self.0 < tick.word()
    }

    /// The slot with one more event in `tick`.
    ///
    /// The count cannot run into the lap: its bits hold more than a thread can count in a tick (see
    /// [`Unit`]).
    #[inline]
    pub(crate) fn counted<U: Unit>(self, tick: Tick<U>) -> Self {
        Self(self.0.max(tick.word()) + 1)
    }

    /// Whether the slot already belongs to a later lap than `tick`'s.
    pub(crate) fn is_past<U: Unit>(self, tick: Tick<U>) -> bool {
        self.0 > tick.word() && tick.counted_in(self.0) == 0
    }

    /// The events counted in `tick`: none if the slot belongs to another lap.
    #[inline]
    pub(crate) fn count_in<U: Unit>(self, tick: Tick<U>) -> u64 {
        tick.counted_in(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Minute, START, Second};

    #[test]
    fn a_slot_counts_and_turns_over() {
        let (early, late) = (
            Tick::<Second>::at(START),
            Tick::<Second>::at(START + 64 * Second::NANOS),
        );
        let slot = Slot::default().counted(early).counted(early);
        assert_eq!((slot.count_in(early), slot.count_in(late)), (2, 0));
        let slot = slot.counted(late);
        assert_eq!((slot.count_in(early), slot.count_in(late)), (0, 1));
    }

    #[test]
    fn an_untouched_slot_is_empty_at_every_tick() {
        for tick in 0..200 {
            assert_eq!(
                Slot::default().count_in(Tick::<Minute>::at(tick * Minute::NANOS)),
                0
            );
        }
    }

    #[test]
    fn a_late_event_never_wipes_a_newer_lap() {
        let (early, late) = (
            Tick::<Second>::at(START),
            Tick::<Second>::at(START + 64 * Second::NANOS),
        );
        let slot = Slot::default().counted(late);
        assert!(slot.is_past(early) && !slot.is_past(late));
        assert!(slot.counted(early).count_in(late) >= 1);
    }
}
