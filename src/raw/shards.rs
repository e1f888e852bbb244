//! One shard for each thread that counts, found by the thread's number, and one that is shared.
//!
//! ```text
//!            slab: there from the start                  later: made on demand            shared
//!  number   0     1     2     3   …  15         16 … 31      32 … 63       …       no number
//!         ┌─────┬─────┬─────┬─────┬─────┐     ┌─────────┐ ┌───────────┐           ┌───────────┐
//!         │shard│shard│shard│shard│  …  │     │ 16 cells│ │ 32 cells  │  …        │   shard   │
//!         └─────┴─────┴─────┴─────┴─────┘     └──┬──────┘ └───────────┘           └───────────┘
//!                                                ▼ one shard a cell, when its thread first counts
//! ```
//!
//! The slab is why counting is fast: a bounds check and a multiplication find the shard, and no
//! pointer has to be followed but the slab's own. Each shard begins on cache lines of its own.
//!
//! A shard outlives its thread: the number goes to the next new thread, and the shard with what it
//! holds goes along. So there are never more shards than the slab, or than there were threads
//! counting at once.

use std::array;
use std::iter;
use std::thread::available_parallelism;

use crossbeam_utils::CachePadded;

use crate::raw::thread;
use crate::sync::OnceLock;

type Cell<S> = OnceLock<Box<CachePadded<S>>>;

/// Shards in the slab, at the least: few machines count on more threads than this at once.
const SLAB: usize = if cfg!(parsec_loom) { 1 } else { 16 };

/// Runs of later cells, each as long as all that went before: enough for [`thread::MOST`] numbers.
const RUNS: usize = (thread::MOST / SLAB).ilog2() as usize;

/// How many shards a machine with so many cores has in the slab: a power of two.
const fn slab_of(cores: usize) -> usize {
    let twice = (2 * cores).next_power_of_two();
    match twice {
        _ if cfg!(parsec_loom) || twice < SLAB => SLAB,
        _ if twice > thread::MOST => thread::MOST,
        _ => twice,
    }
}

/// A shard, by how this thread may write it.
pub(crate) enum Place<'a, S> {
    /// No other thread writes it: loads and stores suffice.
    Own(&'a S),
    /// Other threads write it too: it takes atomic read-modify-writes.
    Shared(&'a S),
}

pub(crate) struct Shards<S> {
    /// A power of two of them.
    slab: Box<[CachePadded<S>]>,
    slab_log: u32,
    later: [OnceLock<Box<[Cell<S>]>>; RUNS],
    shared: CachePadded<S>,
    make: Box<dyn Fn() -> S + Send + Sync>,
}

impl<S> Shards<S> {
    /// The slab at once, the others by `make` when they are needed.
    pub(crate) fn new(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let slab = slab_of(available_parallelism().map_or(1, usize::from));
        Self {
            slab: iter::repeat_with(|| CachePadded::new(make()))
                .take(slab)
                .collect(),
            slab_log: slab.ilog2(),
            later: array::from_fn(|_| OnceLock::new()),
            shared: CachePadded::new(make()),
            make: Box::new(make),
        }
    }

    /// This thread's own shard, if it stands in the slab; otherwise [`find`](Self::find) it.
    #[inline]
    pub(crate) fn in_slab(&self) -> Option<&S> {
        self.slab.get(thread::number()).map(|shard| &**shard)
    }

    /// This thread's own shard, if it stands elsewhere and has been made; otherwise
    /// [`find`](Self::find) it.
    #[inline]
    pub(crate) fn later(&self) -> Option<&S> {
        let number = thread::number();
        let (run, first) = self.run_of(number)?;
        let cells = self.later.get(run)?.get()?;
        let shard = cells.get(number - first)?.get()?;
        Some(&***shard)
    }

    /// This thread's shard, wherever it is: one is made if the thread is new and the slab is full.
    #[cold]
    #[inline(never)]
    pub(crate) fn find(&self) -> Place<'_, S> {
        let Some(number) = thread::ask() else {
            return Place::Shared(&self.shared);
        };
        let Some((run, first)) = self.run_of(number) else {
            return Place::Own(&self.slab[number]);
        };
        let cells =
            self.later[run].get_or_init(|| iter::repeat_with(OnceLock::new).take(first).collect());
        Place::Own(cells[number - first].get_or_init(|| Box::new(CachePadded::new((self.make)()))))
    }

    /// The run that a number beyond the slab is in, and the first number of it: run r holds the
    /// numbers from slab·2^r up to the double of that, so the first is a number's highest bit.
    #[inline]
    fn run_of(&self, number: usize) -> Option<(usize, usize)> {
        let log = number.checked_ilog2()?;
        let run = log.checked_sub(self.slab_log)?;
        Some((run as usize, 1 << log))
    }

    /// Every shard that there is, the shared one last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        let later = self
            .later
            .iter()
            .filter_map(OnceLock::get)
            .flatten()
            .filter_map(OnceLock::get);
        let own = self.slab.iter().chain(later.map(|shard| &**shard));
        own.chain(iter::once(&self.shared)).map(|shard| &**shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Barrier};
    use std::thread;

    #[test]
    fn the_slab_grows_with_the_cores() {
        assert_eq!(
            [1, 2, 8, 9, 96, 1 << 20].map(slab_of),
            [16, 16, 16, 32, 256, 16_384]
        );
    }

    #[test]
    fn many_threads_at_once_find_a_shard_each_and_later_ones_find_them_again() {
        let shards = Arc::new(Shards::new(|| AtomicUsize::new(0)));
        for round in 1..=3 {
            let threads = 100;
            let all_here = Barrier::new(threads);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let Place::Own(shard) = shards.find() else {
                            panic!("there are numbers left")
                        };
                        shard.fetch_add(1, SeqCst);
                        all_here.wait();
                    });
                }
            });
            let counts: Vec<_> = shards.iter().map(|shard| shard.load(SeqCst)).collect();
            assert_eq!(counts.iter().sum::<usize>(), threads * round);
        }
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::{Atomic, Relaxed, outcomes};
    use ::loom::thread;
    use std::sync::Arc;

    /// Counts by plain loads and stores, as an owner does.
    fn count(shards: &Shards<Atomic<u64>>) {
        let found = || match shards.find() {
            Place::Own(total) => total,
            Place::Shared(_) => panic!("there are numbers left"),
        };
        let own = shards.in_slab().or_else(|| shards.later());
        let total = own.unwrap_or_else(found);
        total.store(total.load(Relaxed) + 1, Relaxed);
    }

    fn sum(shards: &Shards<Atomic<u64>>) -> u64 {
        shards.iter().map(|total| total.load(Relaxed)).sum()
    }

    /// Law: two threads that count and one that reads: never less than before, never more than
    /// after. The first thread's shard is in the slab, the other's is made on demand.
    #[test]
    fn two_writers_and_a_reader() {
        let seen = outcomes(|| {
            let shards = Arc::new(Shards::new(|| Atomic::new(0)));
            let spawn = |act: fn(&Shards<Atomic<u64>>) -> u64| {
                let shards = Arc::clone(&shards);
                thread::spawn(move || act(&shards))
            };
            count(&shards);
            let writer = spawn(|shards| {
                count(shards);
                1
            });
            let reader = spawn(sum);
            count(&shards);
            writer.join().unwrap();
            let seen = reader.join().unwrap();
            assert_eq!(sum(&shards), 3);
            seen
        });
        assert_eq!(seen, [1, 2, 3].into());
    }

    /// Law: a shard goes from an ended thread to a new one with all that it holds.
    #[test]
    fn a_shard_is_handed_on() {
        let counted = outcomes(|| {
            let shards = Arc::new(Shards::new(|| Atomic::new(0)));
            let threads = [1, 2].map(|times| {
                let shards = Arc::clone(&shards);
                thread::spawn(move || (0..times).for_each(|_| count(&shards)))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            let used = shards
                .iter()
                .filter(|total| total.load(Relaxed) > 0)
                .count();
            (used, sum(&shards))
        });
        // On two shards, if both threads were there at once, or on one that was handed on.
        assert_eq!(counted, [(1, 3), (2, 3)].into());
    }
}
