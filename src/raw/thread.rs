//! A small dense number for each thread that counts, given back when the thread ends.
//!
//! The number is what finds a thread's shard, so reading it is one load from a thread-local without
//! a destructor. The destructor that gives it back stands in a second thread-local, which the hot
//! path never touches: one with a destructor would have to be asked on every read whether it is
//! still alive.
//!
//! Once the number is back, the thread may still run destructors that count. It then reads
//! [`NONE_LEFT`], as does a thread that found every number taken, and shares a shard with others of
//! its kind.
//!
//! # Orderings
//!
//! A number handed from an ended thread to a new one carries the shards that it stands for. Giving
//! it back is a `Release`, taking it an `Acquire` on the same bit's word: all that the old owner
//! stored is there before the new owner's first load.

use std::cell::Cell;

use crate::sync::{Acquire, Atomic, Relaxed, Release};

/// The most threads that can hold a number at once. Those beyond them count on the shared shard:
/// slower, never lost.
pub(crate) const MOST: usize = if cfg!(parsec_loom) { 4 } else { 16_384 };

/// Read by a thread that has not asked for a number yet. Greater than any number, like
/// [`NONE_LEFT`].
const UNASKED: usize = usize::MAX;

/// Read by a thread that has no number and will get none.
const NONE_LEFT: usize = usize::MAX - 1;

#[cfg(not(parsec_loom))]
static NUMBERS: All = All::new();

#[cfg(parsec_loom)]
::loom::lazy_static! {
    // Leaked: loom drops its statics before the thread-locals of joined threads, which give numbers
    // back.
    static ref NUMBERS: &'static All = Box::leak(Box::new(All::new()));
}

#[cfg(not(parsec_loom))]
thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(UNASKED) };
    static HELD: Held = Held::take();
}

#[cfg(parsec_loom)]
::loom::thread_local! {
    static NUMBER: Cell<usize> = Cell::new(UNASKED);
    static HELD: Held = Held::take();
}

/// This thread's number, or one above [`MOST`] if it has none: then [`ask`].
#[inline]
pub(crate) fn number() -> usize {
    NUMBER.with(Cell::get)
}

/// This thread's number, taken now if it has none yet; `None` if it can have none.
pub(crate) fn ask() -> Option<usize> {
    if number() == UNASKED {
        // Fails only when the destructor has run already, and that has left `NONE_LEFT` behind.
        let _ = HELD
            .try_with(|held| NUMBER.with(|number| number.set(held.number.unwrap_or(NONE_LEFT))));
    }
    Some(number()).filter(|&number| number < MOST)
}

/// Gives the number back when the thread ends.
struct Held {
    number: Option<usize>,
    numbers: &'static All,
}

impl Held {
    fn take() -> Self {
        let numbers: &'static All = &NUMBERS;
        Self {
            number: numbers.take(),
            numbers,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // First the sentinel, then the number: another thread may own the shard from then on.
        // (A model's thread-locals may be gone by now; none of its threads counts after this.)
        let _ = NUMBER.try_with(|number| number.set(NONE_LEFT));
        if let Some(number) = self.number {
            self.numbers.give_back(number);
        }
    }
}

/// The numbers of the process.
type All = Numbers<{ MOST.div_ceil(BITS) }>;

const BITS: usize = u64::BITS as usize;

/// A set of free numbers, one bit each.
struct Numbers<const WORDS: usize> {
    taken: [Atomic<u64>; WORDS],
}

impl<const WORDS: usize> Numbers<WORDS> {
    #[cfg(not(parsec_loom))]
    const fn new() -> Self {
        Self {
            taken: [const { Atomic::new(0) }; WORDS],
        }
    }

    #[cfg(parsec_loom)]
    fn new() -> Self {
        Self {
            taken: std::array::from_fn(|_| Atomic::new(0)),
        }
    }

    /// The lowest free number. Wait-free: it looks at each bit at most once.
    fn take(&self) -> Option<usize> {
        for (at, word) in self.taken.iter().enumerate() {
            // Relaxed: a hint of where to try. A stale one costs a failed try, or passes over a
            // number freed just now.
            let mut free = !word.load(Relaxed);
            while free != 0 {
                let bit = free & free.wrapping_neg();
                // Acquire: partner of the Release in `give_back`.
                if word.fetch_or(bit, Acquire) & bit == 0 {
                    return Some(at * BITS + bit.trailing_zeros() as usize);
                }
                free ^= bit;
            }
        }
        None
    }

    fn give_back(&self, number: usize) {
        // Release: partner of the Acquire in `take`.
        self.taken[number / BITS].fetch_and(!(1 << (number % BITS)), Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn numbers_are_dense_lowest_first_and_come_back() {
        let numbers = Numbers::<2>::new();
        let taken: Vec<_> = (0..128).map(|_| numbers.take()).collect();
        assert_eq!(taken, (0..128).map(Some).collect::<Vec<_>>());
        assert_eq!(numbers.take(), None);
        numbers.give_back(70);
        numbers.give_back(3);
        assert_eq!(
            (numbers.take(), numbers.take(), numbers.take()),
            (Some(3), Some(70), None)
        );
    }

    #[test]
    fn a_thread_keeps_its_number_and_no_two_share_one() {
        let mine = ask().expect("a number");
        assert_eq!((ask(), number()), (Some(mine), mine));
        thread::scope(|scope| {
            let other = scope
                .spawn(|| ask().expect("a number"))
                .join()
                .expect("no panic");
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

    /// Law: no two threads hold one number, and the lowest are taken first.
    #[test]
    fn two_threads_take_a_number() {
        let taken = outcomes(|| {
            let numbers = Arc::new(Numbers::<1>::new());
            let other = thread::spawn({
                let numbers = Arc::clone(&numbers);
                move || numbers.take()
            });
            [numbers.take(), other.join().unwrap()]
        });
        assert_eq!(taken, [[Some(0), Some(1)], [Some(1), Some(0)]].into());
    }

    /// Law: who takes over a number finds all that its last holder stored, by plain loads.
    #[test]
    fn a_number_is_handed_on() {
        let count = |numbers: &Numbers<1>, totals: &[Atomic<u64>; 2]| {
            let number = numbers.take().expect("64 are free");
            let total = &totals[number];
            total.store(total.load(Relaxed) + 1, Relaxed);
            numbers.give_back(number);
        };
        let counted = outcomes(move || {
            let numbers = Arc::new(Numbers::<1>::new());
            let totals = Arc::new([Atomic::<u64>::new(0), Atomic::<u64>::new(0)]);
            let other = thread::spawn({
                let (numbers, totals) = (Arc::clone(&numbers), Arc::clone(&totals));
                move || count(&numbers, &totals)
            });
            count(&numbers, &totals);
            other.join().unwrap();
            [totals[0].load(Relaxed), totals[1].load(Relaxed)]
        });
        // One after the other, or both at once.
        assert_eq!(counted, [[2, 0], [1, 1]].into());
    }
}
