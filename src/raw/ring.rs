//! A slot for each of the last 64 ticks, counted in by one thread and read by any.
//!
//! # Orderings
//!
//! All of them are `Relaxed`. A slot stands for itself: nothing is published through it, and its
//! lap and count are one word. A reader that began after an event was counted (in the sense of
//! happens-before) finds it by coherence alone.

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

    /// Counts an event. Only the ring's owner may call this: a load and a store lose what another
    /// writes between them.
    #[inline]
    pub(crate) fn count(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        // Relaxed: only this thread writes the slot, so it reads its own last store.
        slot.store(slot.load(Relaxed).counted(tick), Relaxed);
    }

    /// Counts an event in a ring that several threads write.
    ///
    /// A writer may have been held up since it read its tick. What it brings is then older than the
    /// window, and the slot is left to the lap that has it.
    pub(crate) fn count_shared(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        // Relaxed: the exchange is atomic on the one word that matters. Refused only by a slot that
        // has moved on.
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

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::time::{START, Second};
    use ::loom::model;
    use ::loom::sync::Arc;
    use ::loom::thread;

    const LAP: u64 = SLOTS as u64 * Second::NANOS;

    fn tick(reading: u64) -> Tick<Second> {
        Tick::at(reading)
    }

    /// The whole seconds of the window that ends with the given one.
    fn seen(ring: &Ring<Second>, reading: u64) -> u64 {
        ring.counted_in(&Window::ending(reading, tick(reading), 0))
            .whole
    }

    /// Law: a reader sees what was counted before it began, and no more than was counted at all.
    #[test]
    fn a_reader_while_the_owner_counts() {
        model(|| {
            let ring = Arc::new(Ring::new());
            ring.count(tick(START));
            let owner = thread::spawn({
                let ring = Arc::clone(&ring);
                move || (0..2).for_each(|_| ring.count(tick(START)))
            });
            assert!((1..=3).contains(&seen(&ring, START)));
            owner.join().unwrap();
            assert_eq!(seen(&ring, START), 3);
        });
    }

    /// Law: while a slot turns over, a reader of either lap sees counts of that lap only.
    #[test]
    fn a_reader_while_a_slot_turns_over() {
        model(|| {
            let ring = Arc::new(Ring::new());
            (0..5).for_each(|_| ring.count(tick(START)));
            let owner = thread::spawn({
                let ring = Arc::clone(&ring);
                move || (0..2).for_each(|_| ring.count(tick(START + LAP)))
            });
            let (new, old) = (seen(&ring, START + LAP), seen(&ring, START));
            assert!(new <= 2, "{new} events of the old lap in the new one");
            assert!(old == 5 || old == 0, "{old} of 5 events of the old lap");
            assert!(
                new == 0 || old == 0,
                "the slot has turned over for one reading and not for the next"
            );
            owner.join().unwrap();
            assert_eq!((seen(&ring, START + LAP), seen(&ring, START)), (2, 0));
        });
    }

    /// Law: a reader whose tick is behind the writer's finds its own window whole.
    #[test]
    fn a_reader_a_tick_behind_the_writer() {
        model(|| {
            let ring = Arc::new(Ring::new());
            ring.count(tick(START));
            ring.count(tick(START + Second::NANOS));
            let owner = thread::spawn({
                let ring = Arc::clone(&ring);
                move || ring.count(tick(START + 2 * Second::NANOS))
            });
            assert_eq!(seen(&ring, START + Second::NANOS), 2);
            owner.join().unwrap();
            assert_eq!(seen(&ring, START + Second::NANOS), 2);
        });
    }

    /// Law: on a shared ring no count is lost, whoever turns the slot over.
    #[test]
    fn two_writers_of_a_shared_ring() {
        model(|| {
            let ring = Arc::new(Ring::new());
            ring.count_shared(tick(START));
            let other = thread::spawn({
                let ring = Arc::clone(&ring);
                move || ring.count_shared(tick(START + LAP))
            });
            ring.count_shared(tick(START + LAP));
            other.join().unwrap();
            assert_eq!(seen(&ring, START + LAP), 2);
        });
    }

    /// Law: a writer of a shared ring that was held up for a lap does not count in the next one.
    #[test]
    fn a_writer_of_a_shared_ring_that_was_held_up() {
        model(|| {
            let ring = Arc::new(Ring::new());
            let late = thread::spawn({
                let ring = Arc::clone(&ring);
                move || ring.count_shared(tick(START))
            });
            ring.count_shared(tick(START + LAP));
            late.join().unwrap();
            assert_eq!(seen(&ring, START + LAP), 1);
        });
    }
}
