//! One slot for each of the last 64 ticks, written by one thread and read by any.
//!
//! # Orderings
//!
//! All accesses are `Relaxed`. A slot publishes nothing but itself, and its lap and count are one word; only the
//! owner writes it, so the owner reads its own last store. If an event happens before a read begins, coherence alone
//! makes the event's slot and the newest tick visible to the read. Threads that share a ring change its words by
//! atomic exchanges only.

use std::array;
use std::marker::PhantomData;

use crate::raw::slot::Slot;
use crate::sync::{Atomic, Relaxed, Word};
use crate::time::{SLOTS, Tick, Unit, Window, WindowCount};

pub(crate) struct Ring<U> {
    slots: [Atomic<Slot>; SLOTS],
    /// The word of the newest tick with an event, stored once per tick, so that a reader skips an idle ring with one
    /// load. 0 before the first event, 1 if all events were older than the window.
    newest: Atomic<Word>,
    unit: PhantomData<U>,
}

impl<U: Unit> Ring<U> {
    pub(crate) fn new() -> Self {
        let slots = array::from_fn(|_| Atomic::new(Slot::default()));
        Self { slots, newest: Atomic::new(Word(0)), unit: PhantomData }
    }

    /// Records one event. Only the ring's owner may call this.
    #[inline]
    pub(crate) fn increment(&self, tick: Tick<U>) {
        let slot = &self.slots[tick.index()];
        let seen = slot.load(Relaxed);
        if seen.is_stale(tick) {
            return self.rotate(tick);
        }
        slot.store(seen.incremented(tick), Relaxed);
    }

    /// Records the first event of a tick.
    #[cold]
    fn rotate(&self, tick: Tick<U>) {
        self.slots[tick.index()].store(Slot::default().incremented(tick), Relaxed);
        self.raise_newest(tick.word());
    }

    /// Records `n` events; without a tick they are older than the window. Only the ring's owner may call this.
    pub(crate) fn add(&self, tick: Option<Tick<U>>, n: u32) {
        if let Some(tick) = tick {
            let slot = &self.slots[tick.index()];
            slot.store(slot.load(Relaxed).added(tick, n), Relaxed);
        }
        self.raise_newest(newest_after(tick));
    }

    fn raise_newest(&self, word: Word) {
        // The maximum, since a late event may rotate the slot of an earlier tick.
        let newest = self.newest.load(Relaxed).max(word);
        self.newest.store(newest, Relaxed);
    }

    /// Records `n` events in a ring that several threads write.
    ///
    /// If the writer was suspended for a lap after it read the tick, its events are older than the window, and the
    /// newer slot stays as it is.
    pub(crate) fn add_shared(&self, tick: Option<Tick<U>>, n: u32) {
        if let Some(tick) = tick {
            let add = |slot: Slot| (!slot.is_newer(tick)).then(|| slot.added(tick, n));
            let _ = self.slots[tick.index()].fetch_update(Relaxed, Relaxed, add);
        }
        let word = newest_after(tick);
        let _ = self.newest.fetch_update(Relaxed, Relaxed, |newest| (newest < word).then_some(word));
    }

    /// Whether any event was recorded, however old.
    pub(crate) fn is_used(&self) -> bool {
        self.newest.load(Relaxed) != Word(0)
    }

    /// The ring's events in `window`. Slots of other laps have none.
    #[inline]
    pub(crate) fn window_sum(&self, window: &Window<U>) -> WindowCount {
        if self.newest.load(Relaxed) < window.partial.word() {
            return WindowCount::default();
        }
        self.sum_slots(window)
    }

    #[inline(never)]
    fn sum_slots(&self, window: &Window<U>) -> WindowCount {
        let count = |tick: Tick<U>| self.slots[tick.index()].load(Relaxed).count(tick);
        WindowCount { full: window.full().map(count).sum(), partial: count(window.partial) }
    }
}

/// What `newest` must be at least after an event in `tick`.
fn newest_after<U: Unit>(tick: Option<Tick<U>>) -> Word {
    tick.map_or(Word(1), Tick::word)
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

    /// The full and partial counts of the window that ends at `reading`.
    fn count(ring: &Ring<Second>, reading: u64) -> (u64, u64) {
        let count = ring.window_sum(&Window::ending(reading, tick(reading), 0));
        (count.full, count.partial)
    }

    fn spawn<T: 'static>(ring: &Arc<Ring<Second>>, act: impl FnOnce(&Ring<Second>) -> T + 'static) -> JoinHandle<T> {
        let ring = Arc::clone(ring);
        thread::spawn(move || act(&ring))
    }

    /// Invariant: a reader sees every event that happened before its read, and none that did not happen.
    #[test]
    fn reader_sees_earlier_events_while_the_owner_records() {
        let seen = outcomes(|| {
            let ring = Arc::new(Ring::new());
            ring.increment(tick(START));
            let reader = spawn(&ring, |ring| count(ring, START).0);
            (0..2).for_each(|_| ring.increment(tick(START)));
            let outcome = reader.join().unwrap();
            assert_eq!(count(&ring, START).0, 3);
            outcome
        });
        assert_eq!(seen, [1, 2, 3].into());
    }

    /// Invariant: while a slot rotates, a reader of either lap sees events of that lap only.
    #[test]
    fn reader_sees_one_lap_while_a_slot_rotates() {
        let new_and_old = outcomes(|| {
            let ring = Arc::new(Ring::new());
            (0..5).for_each(|_| ring.increment(tick(START)));
            let reader = spawn(&ring, |ring| (count(ring, START + LAP).0, count(ring, START).0));
            (0..2).for_each(|_| ring.increment(tick(START + LAP)));
            let outcome = reader.join().unwrap();
            assert_eq!((count(&ring, START + LAP).0, count(&ring, START).0), (2, 0));
            outcome
        });
        // The slot may rotate between the two reads, but never back and never by half.
        assert_eq!(new_and_old, [(0, 5), (0, 0), (1, 0), (2, 0)].into());
    }

    /// Invariant: a reader whose tick is one behind the writer's sees its whole window.
    #[test]
    fn reader_one_tick_behind_sees_its_whole_window() {
        let full_and_partial = outcomes(|| {
            let ring = Arc::new(Ring::new());
            for second in 0..3 {
                ring.increment(tick(START + second * TICK));
            }
            let reader = spawn(&ring, |ring| count(ring, START + 2 * TICK));
            ring.increment(tick(START + 2 * TICK));
            ring.increment(tick(START + 3 * TICK));
            reader.join().unwrap()
        });
        assert_eq!(full_and_partial, [(2, 1), (3, 1)].into());
    }

    /// Invariant: on a shared ring no event is lost, whichever thread rotates the slot.
    #[test]
    fn shared_ring_loses_no_event_while_a_slot_rotates() {
        let counts = outcomes(|| {
            let ring = Arc::new(Ring::new());
            ring.add_shared(Some(tick(START)), 1);
            let other = spawn(&ring, |ring| ring.add_shared(Some(tick(START + LAP)), 1));
            ring.add_shared(Some(tick(START + LAP)), 1);
            other.join().unwrap();
            count(&ring, START + LAP).0
        });
        assert_eq!(counts, [2].into());
    }

    /// Invariant: a writer of a shared ring that was suspended for a lap adds nothing to the next.
    #[test]
    fn suspended_writer_of_a_shared_ring_does_not_record_in_the_next_lap() {
        let counts = outcomes(|| {
            let ring = Arc::new(Ring::new());
            let late = spawn(&ring, |ring| ring.add_shared(Some(tick(START)), 1));
            ring.add_shared(Some(tick(START + LAP)), 1);
            late.join().unwrap();
            count(&ring, START + LAP).0
        });
        assert_eq!(counts, [1].into());
    }
}
