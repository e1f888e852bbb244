//! The atomics that the wait-free floor is built on, in one place so that a model checker can stand
//! in for them: under `cfg(parsec_loom)` they are loom's.
//!
//! Only [`raw`](crate::raw), the counters over it and the clock use this module.

#[cfg(not(parsec_loom))]
pub(crate) use atomic::Atomic;
#[cfg(parsec_loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(parsec_loom)]
pub(crate) use modelled::Atomic;
#[cfg(not(parsec_loom))]
pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

#[cfg(parsec_loom)]
mod modelled {
    use std::marker::PhantomData;
    use std::sync::atomic::Ordering;

    use bytemuck::{Pod, cast};
    use loom::sync::atomic::AtomicU64;

    /// `atomic::Atomic`, as far as this crate uses it, for words of 64 bits.
    pub(crate) struct Atomic<T> {
        word: AtomicU64,
        of: PhantomData<T>,
    }

    impl<T: Pod> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self {
                word: AtomicU64::new(cast(value)),
                of: PhantomData,
            }
        }

        pub(crate) const fn is_lock_free() -> bool {
            size_of::<T>() == size_of::<u64>()
        }

        pub(crate) fn load(&self, ordering: Ordering) -> T {
            cast(self.word.load(ordering))
        }

        pub(crate) fn store(&self, value: T, ordering: Ordering) {
            self.word.store(cast(value), ordering);
        }

        pub(crate) fn fetch_update(
            &self,
            stored: Ordering,
            loaded: Ordering,
            mut update: impl FnMut(T) -> Option<T>,
        ) -> Result<T, T> {
            let update = |word| update(cast(word)).map(cast);
            self.word
                .fetch_update(stored, loaded, update)
                .map(cast)
                .map_err(cast)
        }
    }

    impl Atomic<u64> {
        pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
            self.word.fetch_add(value, ordering)
        }

        pub(crate) fn fetch_max(&self, value: u64, ordering: Ordering) -> u64 {
            self.word.fetch_max(value, ordering)
        }

        pub(crate) fn fetch_or(&self, value: u64, ordering: Ordering) -> u64 {
            self.word.fetch_or(value, ordering)
        }

        pub(crate) fn fetch_and(&self, value: u64, ordering: Ordering) -> u64 {
            self.word.fetch_and(value, ordering)
        }
    }
}
