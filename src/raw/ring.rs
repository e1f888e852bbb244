//! A slot for each of the last 64 ticks, counted in by one thread and read by any.
//!
//! A ring remembers the newest tick that was counted in it, and sets it when a slot turns over:
//! once a tick, not once a count. A reader passes over a ring whose owner has been silent for a
//! window's length, for one load.
//!
//! # Orderings
//!
//! All of them are `Relaxed`. A slot stands for itself: nothing is published through it, and its
//! lap and count are one word. A reader that began after an event was counted (in the sense of
//! happens-before) finds it, and the newest tick that it set, by coherence alone.

use std::array;
use std::marker::PhantomData;

use crate::raw::slot::Slot;
use crate::sync::{Atomic, Relaxed};
use crate::time::{Counted, SLOTS, Tick, Unit, Window};

pub(crate) struct Ring<U> {
    slots: [Atomic<Slot>; SLOTS],
    /// The word of the newest tick in which anything was counted: 0 while there is none.
    newest: Atomic<u64>,
    unit: PhantomData<U>,
}

impl<U: Unit> Ring<U> {
    pub(crate) fn new() -> Self {
        Self {
            slots: array::from_fn(|_| Atomic::new(Slot::default())),
            newest: Atomic::new(0),
            unit: PhantomData,
        }
    }

    /// Counts an event. Only the ring's owner may call this: a load and a store lose what another
    /// writes between them.
    #[inline]
    pub(crate) fn count(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        // Relaxed: only this thread writes the slot, so it reads its own last store.
        let seen = slot.load(Relaxed);
        if seen.is_before(tick) {
            return self.turn_over(tick);
        }
        slot.store(seen.counted(tick), Relaxed);
    }

    /// Counts the first event of a tick.
    #[cold]
    fn turn_over(&self, tick: Tick<U>) {
        self.slots[tick.index()].store(Slot::default().counted(tick), Relaxed);
        // A late event turns over a slot of an earlier tick than the newest.
        let newest = self.newest.load(Relaxed).max(tick.word());
        self.newest.store(newest, Relaxed);
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
        self.newest.fetch_max(tick.word(), Relaxed);
    }

    /// Whether anything was ever counted here.
    pub(crate) fn is_used(&self) -> bool {
        self.newest.load(Relaxed) != 0
    }

    /// Marks the ring as used by an event that is too old for it. Only its owner may call this.
    pub(crate) fn mark_used(&self) {
        self.newest.store(self.newest.load(Relaxed).max(1), Relaxed);
    }

    /// Marks as used a ring that several threads write.
    pub(crate) fn mark_used_shared(&self) {
        self.newest.fetch_max(1, Relaxed);
    }

    /// What the ring holds of a window. A slot of another lap holds nothing of it.
    #[inline]
    pub(crate) fn counted_in(&self, window: &Window<U>) -> Counted {
        if self.newest.load(Relaxed) < window.straddling().word() {
            return Counted::default();
        }
        self.sum_of(window)
    }

    #[inline(never)]
    fn sum_of(&self, window: &Window<U>) -> Counted {
        let count = |slot: &Atomic<Slot>, tick| slot.load(Relaxed).count_in(tick);
        let mut whole = 0;
        for run in window.whole() {
            let mut tick = run.first;
            for slot in &self.slots[run.first.index()..][..run.ticks] {
                whole += count(slot, tick);
                tick = tick.next_in_lap();
            }
        }
        let straddling = window.straddling();
        Counted {
            whole,
            straddling: count(&self.slots[straddling.index()], straddling),
        }
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::outcomes;
    use crate::time::{START, Second};
    use ::loom::sync::Arc;
    use ::loom::thread::{self, JoinHandle};

    const TICK: u64 = Second::NANOS;
    const LAP: u64 = SLOTS as u64 * TICK;

    fn tick(reading: u64) -> Tick<Second> {
        Tick::at(reading)
    }

    /// What the window that ends with a second holds: its whole seconds, and the straddling one.
    fn seen(ring: &Ring<Second>, reading: u64) -> (u64, u64) {
        let counted = ring.counted_in(&Window::ending(reading, tick(reading), 0));
        (counted.whole, counted.straddling)
    }

    fn spawn<T: 'static>(
        ring: &Arc<Ring<Second>>,
        act: impl FnOnce(&Ring<Second>) -> T + 'static,
    ) -> JoinHandle<T> {
        let ring = Arc::clone(ring);
        thread::spawn(move || act(&ring))
    }

    /// Law: a reader sees what was counted before it began, and no more than was counted at all.
    #[test]
    fn a_reader_while_the_owner_counts() {
        let seen_by_the_reader = outcomes(|| {
            let ring = Arc::new(Ring::new());
            ring.count(tick(START));
            let reader = spawn(&ring, |ring| seen(ring, START).0);
            (0..2).for_each(|_| ring.count(tick(START)));
            let outcome = reader.join().unwrap();
            assert_eq!(seen(&ring, START).0, 3);
            outcome
        });
        assert_eq!(seen_by_the_reader, [1, 2, 3].into());
    }

    /// Law: while a slot turns over, a reader of either lap sees counts of that lap only.
    #[test]
    fn a_reader_while_a_slot_turns_over() {
        let new_and_old = outcomes(|| {
            let ring = Arc::new(Ring::new());
            (0..5).for_each(|_| ring.count(tick(START)));
            let reader = spawn(&ring, |ring| {
                (seen(ring, START + LAP).0, seen(ring, START).0)
            });
            (0..2).for_each(|_| ring.count(tick(START + LAP)));
            let outcome = reader.join().unwrap();
            assert_eq!((seen(&ring, START + LAP).0, seen(&ring, START).0), (2, 0));
            outcome
        });
        // It may turn over between the two readings, but never back, and never half.
        assert_eq!(new_and_old, [(0, 5), (0, 0), (1, 0), (2, 0)].into());
    }

    /// Law: a reader whose tick is behind the writer's finds its own window whole.
    #[test]
    fn a_reader_a_tick_behind_the_writer() {
        let whole_and_straddling = outcomes(|| {
            let ring = Arc::new(Ring::new());
            for second in 0..3 {
                ring.count(tick(START + second * TICK));
            }
            let reader = spawn(&ring, |ring| seen(ring, START + 2 * TICK));
            ring.count(tick(START + 2 * TICK));
            ring.count(tick(START + 3 * TICK));
            reader.join().unwrap()
        });
        assert_eq!(whole_and_straddling, [(2, 1), (3, 1)].into());
    }

    /// Law: on a shared ring no count is lost, whoever turns the slot over.
    #[test]
    fn two_writers_of_a_shared_ring() {
        let counted = outcomes(|| {
            let ring = Arc::new(Ring::new());
            ring.count_shared(tick(START));
            let other = spawn(&ring, |ring| ring.count_shared(tick(START + LAP)));
            ring.count_shared(tick(START + LAP));
            other.join().unwrap();
            seen(&ring, START + LAP).0
        });
        assert_eq!(counted, [2].into());
    }

    /// Law: a writer of a shared ring that was held up for a lap does not count in the next one.
    #[test]
    fn a_writer_of_a_shared_ring_that_was_held_up() {
        let counted = outcomes(|| {
            let ring = Arc::new(Ring::new());
            let late = spawn(&ring, |ring| ring.count_shared(tick(START)));
            ring.count_shared(tick(START + LAP));
            late.join().unwrap();
            seen(&ring, START + LAP).0
        });
        assert_eq!(counted, [1].into());
    }
}
