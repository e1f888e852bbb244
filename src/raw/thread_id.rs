//! A small dense id for each recording thread, released when the thread ends.
//!
//! The id selects a thread's shard, so reading it must be one load. A thread-local with a destructor would be checked
//! for liveness on each read. The id is therefore in a thread-local without one; a second thread-local, which the hot
//! path does not touch, releases it. Destructors of other thread-locals that record after that use the shared shard.
//!
//! # Orderings
//!
//! An id passes from an ended thread to a new one together with its shards. Releasing is a `Release` and acquiring an
//! `Acquire` on the same word: all stores of the old owner happen before the first load of the new one.

use std::cell::Cell;

use crate::sync::{Acquire, Atomic, Relaxed, Release};

/// Threads that can hold an id at once. Further threads use the shared shard: slower, but nothing is lost.
pub(crate) const MAX_THREADS: usize = if cfg!(parsec_loom) { 4 } else { 16_384 };

/// Above every valid id: of a thread that has not recorded yet, and of one that cannot have an id (any more).
const UNASSIGNED: usize = usize::MAX;
const EXHAUSTED: usize = usize::MAX - 1;

#[cfg(not(parsec_loom))]
static IDS: Ids = Ids::new();

#[cfg(all(test, parsec_loom))]
::loom::lazy_static! {
    // Leaked: loom drops its statics before the thread-locals of joined threads, which release ids.
    static ref IDS: &'static Ids = Box::leak(Box::new(Ids::new()));
}

#[cfg(not(parsec_loom))]
thread_local! {
    static ID: Cell<usize> = const { Cell::new(UNASSIGNED) };
    static GUARD: ThreadGuard = ThreadGuard { id: IDS.acquire(), ids: &IDS };
}

#[cfg(all(test, parsec_loom))]
::loom::thread_local! {
    static ID: Cell<usize> = Cell::new(UNASSIGNED);
    static GUARD: ThreadGuard = ThreadGuard { id: IDS.acquire(), ids: &IDS };
}

/// The calling thread's id, or a value of at least [`MAX_THREADS`] if it has none.
#[inline]
pub(crate) fn current() -> usize {
    ID.with(Cell::get)
}

/// The calling thread's id, acquired now if it has none yet; `None` if it cannot have one.
pub(crate) fn acquire() -> Option<usize> {
    if current() == UNASSIGNED {
        // Fails only after the guard's destructor has run, which has stored `EXHAUSTED`.
        let _ = GUARD.try_with(|guard| ID.with(|id| id.set(guard.id.unwrap_or(EXHAUSTED))));
    }
    Some(current()).filter(|&id| id < MAX_THREADS)
}

/// Releases the id when the thread ends.
struct ThreadGuard {
    id: Option<usize>,
    ids: &'static Ids,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // Before the release, since another thread may own the shard from then on. Fails in models only, where no
        // destructor records.
        let _ = ID.try_with(|id| id.set(EXHAUSTED));
        if let Some(id) = self.id {
            self.ids.release(id);
        }
    }
}

type Ids = IdAllocator<{ MAX_THREADS.div_ceil(BITS) }>;

const BITS: usize = usize::BITS as usize;

/// A set of ids, one bit each: 1 while a thread holds it.
struct IdAllocator<const WORDS: usize> {
    held: [Atomic<usize>; WORDS],
}

impl<const WORDS: usize> IdAllocator<WORDS> {
    #[cfg(not(parsec_loom))]
    const fn new() -> Self {
        Self { held: [const { Atomic::new(0) }; WORDS] }
    }

    /// Acquires the lowest free id. Wait-free: tries each bit at most once.
    fn acquire(&self) -> Option<usize> {
        for (at, word) in self.held.iter().enumerate() {
            // Relaxed: a hint. A stale one costs a failed try or skips an id that was just released.
            let mut free = !word.load(Relaxed);
            while free != 0 {
                let bit = free & free.wrapping_neg();
                if word.fetch_or(bit, Acquire) & bit == 0 {
                    return Some(at * BITS + bit.trailing_zeros() as usize);
                }
                free ^= bit;
            }
        }
        None
    }

    fn release(&self, id: usize) {
        self.held[id / BITS].fetch_and(!(1 << (id % BITS)), Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn lowest_free_id_is_acquired_first() {
        let ids = IdAllocator::<2>::new();
        let acquired: Vec<_> = (0..2 * BITS).map(|_| ids.acquire()).collect();
        assert_eq!(acquired, (0..2 * BITS).map(Some).collect::<Vec<_>>());
        assert_eq!(ids.acquire(), None);
        ids.release(BITS + 6);
        ids.release(3);
        assert_eq!((ids.acquire(), ids.acquire(), ids.acquire()), (Some(3), Some(BITS + 6), None));
    }

    #[test]
    fn thread_keeps_its_id_and_shares_it_with_no_other() {
        let mine = acquire().expect("ids are free");
        assert_eq!((acquire(), current()), (Some(mine), mine));
        thread::scope(|scope| {
            let other = scope.spawn(|| acquire().expect("ids are free")).join().expect("no panic");
            assert_ne!(other, mine);
        });
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::outcomes;
    use ::loom::sync::Arc;
    use ::loom::thread;

    impl<const WORDS: usize> IdAllocator<WORDS> {
        pub(super) fn new() -> Self {
            Self { held: std::array::from_fn(|_| Atomic::new(0)) }
        }
    }

    /// Invariant: no two threads hold one id, and the lowest are acquired first.
    #[test]
    fn concurrent_threads_acquire_different_ids() {
        let acquired = outcomes(|| {
            let ids = Arc::new(IdAllocator::<1>::new());
            let other = thread::spawn({
                let ids = Arc::clone(&ids);
                move || ids.acquire()
            });
            [ids.acquire(), other.join().unwrap()]
        });
        assert_eq!(acquired, [[Some(0), Some(1)], [Some(1), Some(0)]].into());
    }

    /// Invariant: the next holder of an id sees everything that the last one stored.
    #[test]
    fn reacquired_id_brings_its_last_holders_stores() {
        let record = |ids: &IdAllocator<1>, totals: &[Atomic<usize>; 2]| {
            let id = ids.acquire().expect("64 are free");
            let total = &totals[id];
            total.store(total.load(Relaxed) + 1, Relaxed);
            ids.release(id);
        };
        let counts = outcomes(move || {
            let ids = Arc::new(IdAllocator::<1>::new());
            let totals = Arc::new([Atomic::<usize>::new(0), Atomic::<usize>::new(0)]);
            let other = thread::spawn({
                let (ids, totals) = (Arc::clone(&ids), Arc::clone(&totals));
                move || record(&ids, &totals)
            });
            record(&ids, &totals);
            other.join().unwrap();
            [totals[0].load(Relaxed), totals[1].load(Relaxed)]
        });
        // One after the other, or both at once.
        assert_eq!(counts, [[2, 0], [1, 1]].into());
    }
}
