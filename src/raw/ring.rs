//! A slot for each of the last 64 ticks, counted in by one thread and read by any.
//!
//! # Orderings
//!
//! All of them are `Relaxed`. A slot stands for itself: nothing is published through it, and its lap and count are one
//! word. A reader that began after an event was counted (in the sense of happens-before) finds it by coherence alone.

use std::array;
use std::marker::PhantomData;

use crate::raw::slot::Slot;
use crate::sync::{Atomic, Relaxed};
use crate::time::{Counted, SLOTS, Tick, Unit, Window};

pub(crate) struct Ring<U> {
    slots: [Atomic<Slot>; SLOTS],
    unit: PhantomData<U>,
}

impl<U: Unit> Ring<U> {
    pub(crate) fn new() -> Self {
        Self {
            slots: array::from_fn(|_| Atomic::new(Slot::default())),
            unit: PhantomData,
        }
    }

    /// Counts an event. Only the ring's owner may call this: a load and a store lose what another writes between them.
    #[inline]
    pub(crate) fn count(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        // Relaxed: only this thread writes the slot, so it reads its own last store.
        slot.store(slot.load(Relaxed).counted(tick), Relaxed);
    }

    /// Counts an event in a ring that several threads write.
    ///
    /// A writer may have been held up since it read its tick. What it brings is then older than the window, and the
    /// slot is left to the lap that has it.
    pub(crate) fn count_shared(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        // Relaxed: the exchange is atomic on the one word that matters. Refused only by a slot that has moved on.
        let moved_on = slot
            .fetch_update(Relaxed, Relaxed, |slot| {
                (!slot.is_past(tick)).then(|| slot.counted(tick))
            })
            .is_err();
        debug_assert!(!moved_on || self.slots[tick.index()].load(Relaxed).is_past(tick));
    }

    /// What the ring holds of a window. A slot of another lap holds nothing of it.
    pub(crate) fn counted_in(&self, window: &Window<U>) -> Counted {
        let count = |tick: Tick<U>| self.slots[tick.index()].load(Relaxed).count_in(tick);
        Counted {
            whole: window
                .whole()
                .fold(0, |sum, tick| sum.saturating_add(count(tick))),
            straddling: count(window.straddling()),
        }
    }
}
