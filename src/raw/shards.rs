//! One shard for each recording thread, selected by its id, and a shared one.
//!
//! ```text
//!            slab: allocated up front               buckets: allocated on demand         shared
//!  id       0     1     2     3   …  15         16 … 31      32 … 63       …             no id
//!         ┌─────┬─────┬─────┬─────┬─────┐     ┌─────────┐ ┌───────────┐           ┌───────────┐
//!         │shard│shard│shard│shard│  …  │     │ 16 cells│ │ 32 cells  │  …        │   shard   │
//!         └─────┴─────┴─────┴─────┴─────┘     └──┬──────┘ └───────────┘           └───────────┘
//!                                                ▼ one shard per cell, when its thread first records
//! ```
//!
//! The slab makes recording fast: a bounds check and a multiplication find the shard, and the only pointer to follow
//! is the slab's own. Each shard starts on its own cache line. The next thread with the same id continues in it, so
//! there are never more shards than the slab has, or than threads recorded at once.

use std::array;
use std::iter;
use std::thread::available_parallelism;

use crossbeam_utils::CachePadded;

use crate::raw::thread_id::{self, MAX_THREADS};
use crate::sync::OnceLock;

type Cell<S> = OnceLock<Box<CachePadded<S>>>;

/// The limits of the slab's size, and its maximum by default, so that memory does not grow with the machine.
const MIN_SLAB: usize = if cfg!(parsec_loom) { 1 } else { 16 };
const MAX_DEFAULT_SLAB: usize = if cfg!(parsec_loom) { 1 } else { 32 };
const MAX_SLAB: usize = 1024;

/// Enough for [`MAX_THREADS`]: each bucket is as long as all shards before it.
const BUCKETS: usize = (MAX_THREADS / MIN_SLAB).ilog2() as usize;

/// Shards in the slab for this many threads: a power of two.
fn slab_size(threads: usize) -> usize {
    threads.clamp(MIN_SLAB, MAX_SLAB).next_power_of_two()
}

/// The same by default, on a machine with this many cores.
fn default_slab_size(cores: usize) -> usize {
    slab_size((2 * cores).min(MAX_DEFAULT_SLAB))
}

/// The calling thread's shard: written by loads and stores if the thread owns it, otherwise by read-modify-writes.
pub(crate) enum ShardRef<'a, S> {
    Owned(&'a S),
    Shared(&'a S),
}

pub(crate) struct Shards<S> {
    /// Its length is a power of two.
    slab: Box<[CachePadded<S>]>,
    slab_log: u32,
    buckets: [OnceLock<Box<[Cell<S>]>>; BUCKETS],
    shared: CachePadded<S>,
    create: Box<dyn Fn() -> S + Send + Sync>,
}

impl<S> Shards<S> {
    /// Creates a slab for this many threads, or by the number of cores, and the shared shard. `create` is also called
    /// for each shard beyond the slab.
    pub(crate) fn new(threads: Option<usize>, create: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let by_cores = || default_slab_size(available_parallelism().map_or(1, usize::from));
        let slab = threads.map_or_else(by_cores, slab_size);
        Self {
            slab: iter::repeat_with(|| CachePadded::new(create())).take(slab).collect(),
            slab_log: slab.ilog2(),
            buckets: array::from_fn(|_| OnceLock::new()),
            shared: CachePadded::new(create()),
            create: Box::new(create),
        }
    }

    /// The calling thread's own shard, if it is in the slab.
    #[inline]
    pub(crate) fn in_slab(&self) -> Option<&S> {
        self.slab.get(thread_id::current()).map(|shard| &**shard)
    }

    /// The calling thread's own shard, if it is in a bucket and exists.
    #[inline]
    pub(crate) fn in_bucket(&self) -> Option<&S> {
        let id = thread_id::current();
        let (bucket, first) = self.bucket_of(id)?;
        let cells = self.buckets.get(bucket)?.get()?;
        let shard = cells.get(id - first)?.get()?;
        Some(&***shard)
    }

    /// The calling thread's shard. Acquires an id and allocates a shard beyond the slab if the thread has none.
    #[cold]
    #[inline(never)]
    pub(crate) fn get_or_init(&self) -> ShardRef<'_, S> {
        let Some(id) = thread_id::acquire() else {
            return ShardRef::Shared(&self.shared);
        };
        let Some((bucket, first)) = self.bucket_of(id) else {
            return ShardRef::Owned(&self.slab[id]);
        };
        let cells = self.buckets[bucket].get_or_init(|| iter::repeat_with(OnceLock::new).take(first).collect());
        ShardRef::Owned(cells[id - first].get_or_init(|| Box::new(CachePadded::new((self.create)()))))
    }

    /// The bucket of an id beyond the slab, and its first id: bucket b has the ids from slab·2^b to twice that.
    #[inline]
    fn bucket_of(&self, id: usize) -> Option<(usize, usize)> {
        let log = id.checked_ilog2()?;
        let bucket = log.checked_sub(self.slab_log)?;
        Some((bucket as usize, 1 << log))
    }

    /// Every shard that exists. The shared one is last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        let cells = self.buckets.iter().filter_map(OnceLock::get).flatten();
        let beyond = cells.filter_map(OnceLock::get).map(|shard| &**shard);
        self.slab.iter().chain(beyond).chain([&self.shared]).map(|shard| &**shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Barrier};
    use std::thread;

    #[test]
    fn slab_is_bounded_by_default_and_by_its_range() {
        assert_eq!([1, 8, 9, 16, 96, 1 << 20].map(default_slab_size), [16, 16, 32, 32, 32, 32]);
        assert_eq!([0, 17, 96, 1024, usize::MAX].map(slab_size), [16, 32, 128, 1024, 1024]);
    }

    #[test]
    fn concurrent_threads_get_a_shard_each_and_later_threads_reuse_them() {
        let shards = Arc::new(Shards::new(None, || AtomicUsize::new(0)));
        for generation in 1..=3 {
            let threads = 100;
            let all_started = Barrier::new(threads);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let ShardRef::Owned(shard) = shards.get_or_init() else { panic!("ids are free") };
                        shard.fetch_add(1, SeqCst);
                        all_started.wait();
                    });
                }
            });
            let counts: Vec<_> = shards.iter().map(|shard| shard.load(SeqCst)).collect();
            assert_eq!(counts.iter().sum::<usize>(), threads * generation);
        }
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::{Atomic, Relaxed, Word, outcomes};
    use ::loom::thread;
    use std::sync::Arc;

    /// Increments by a plain load and store, as an owner may.
    fn increment(shards: &Shards<Atomic<Word>>) {
        let init = || match shards.get_or_init() {
            ShardRef::Owned(total) => total,
            ShardRef::Shared(_) => panic!("ids are free"),
        };
        let own = shards.in_slab().or_else(|| shards.in_bucket());
        let total = own.unwrap_or_else(init);
        total.store(Word(total.load(Relaxed).0 + 1), Relaxed);
    }

    fn sum(shards: &Shards<Atomic<Word>>) -> u64 {
        shards.iter().map(|total| total.load(Relaxed).0).sum()
    }

    /// Invariant: a reader sees no less than the sum before its read and no more than the sum after it. The first
    /// thread's shard is in the slab, the other's in a bucket.
    #[test]
    fn reader_sees_a_sum_between_before_and_after() {
        let seen = outcomes(|| {
            let shards = Arc::new(Shards::new(None, || Atomic::new(Word(0))));
            let spawn = |act: fn(&Shards<Atomic<Word>>) -> u64| {
                let shards = Arc::clone(&shards);
                thread::spawn(move || act(&shards))
            };
            increment(&shards);
            let writer = spawn(|shards| {
                increment(shards);
                1
            });
            let reader = spawn(sum);
            increment(&shards);
            writer.join().unwrap();
            let seen = reader.join().unwrap();
            assert_eq!(sum(&shards), 3);
            seen
        });
        assert_eq!(seen, [1, 2, 3].into());
    }

    /// Invariant: a shard passes from an ended thread to a new one with its contents.
    #[test]
    fn new_thread_continues_the_shard_of_an_ended_one() {
        let used_and_sum = outcomes(|| {
            let shards = Arc::new(Shards::new(None, || Atomic::new(Word(0))));
            let threads = [1, 2].map(|times| {
                let shards = Arc::clone(&shards);
                thread::spawn(move || (0..times).for_each(|_| increment(&shards)))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            let used = shards.iter().filter(|total| total.load(Relaxed).0 > 0).count();
            (used, sum(&shards))
        });
        // On two shards if both threads ran at once, or on one that was passed on.
        assert_eq!(used_and_sum, [(1, 3), (2, 3)].into());
    }
}
