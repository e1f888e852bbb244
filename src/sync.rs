//! The atomics of the wait-free core: the real ones, or loom's in its models.

use bytemuck::{Pod, Zeroable};

#[cfg(not(parsec_loom))]
pub(crate) use atomic::Atomic;
#[cfg(all(test, parsec_loom))]
pub(crate) use loom::sync::Mutex;
#[cfg(all(test, parsec_loom))]
pub(crate) use modelled::{Atomic, OnceLock};
pub(crate) use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
#[cfg(not(parsec_loom))]
pub(crate) use std::sync::{Mutex, OnceLock};

#[cfg(not(target_has_atomic = "64"))]
compile_error!("parsec-telemetry needs 64-bit atomics, which this target does not have");

/// A 64-bit word. Aligned to 8 bytes, unlike `u64` on some 32-bit targets, so that an access to it is atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C, align(8))]
pub(crate) struct Word(pub(crate) u64);

#[cfg(target_has_atomic = "64")]
const _: () = assert!(Atomic::<Word>::is_lock_free());

/// Runs a model under every schedule and returns the set of its outcomes.
///
/// loom explores schedules in which two threads access a word and one of them writes it, but it remembers only the
/// last access: an owner's load just before its store hides a reader's earlier load. In the models the owner is
/// therefore the first thread, which runs ahead, and the reader is spawned. A model asserts every possible outcome,
/// so one that explores too little fails.
#[cfg(all(test, parsec_loom))]
pub(crate) fn outcomes<T, F>(model: F) -> std::collections::BTreeSet<T>
where
    T: Ord + Send + 'static,
    F: Fn() -> T + Send + Sync + 'static,
{
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new((0, std::collections::BTreeSet::new())));
    loom::model({
        let seen = Arc::clone(&seen);
        move || {
            let outcome = model();
            let mut seen = seen.lock().expect("one thread");
            seen.0 += 1;
            seen.1.insert(outcome);
        }
    });
    let (schedules, outcomes) = std::mem::take(&mut *seen.lock().expect("one thread"));
    println!("{schedules} schedules");
    outcomes
}

#[cfg(all(test, parsec_loom))]
mod modelled {
    use std::marker::PhantomData;
    use std::sync::atomic::Ordering;

    use bytemuck::{Pod, cast};
    use loom::sync::Mutex;
    use loom::sync::atomic::{AtomicBool, AtomicU64};

    /// The part of `atomic::Atomic` that this crate uses, for words of 64 bits.
    pub(crate) struct Atomic<T> {
        word: AtomicU64,
        of: PhantomData<T>,
    }

    impl<T: Pod> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { word: AtomicU64::new(cast(value)), of: PhantomData }
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
            self.word.fetch_update(stored, loaded, update).map(cast).map_err(cast)
        }
    }

    impl Atomic<usize> {
        pub(crate) fn fetch_or(&self, value: usize, ordering: Ordering) -> usize {
            cast(self.word.fetch_or(cast(value), ordering))
        }

        pub(crate) fn fetch_and(&self, value: usize, ordering: Ordering) -> usize {
            cast(self.word.fetch_and(cast(value), ordering))
        }
    }

    /// `std::sync::OnceLock`, which loom lacks. Its values contain a model's atomics, so loom must know that their
    /// creation happens before their use.
    pub(crate) struct OnceLock<T> {
        is_set: AtomicBool,
        setting: Mutex<()>,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { is_set: AtomicBool::new(false), setting: Mutex::new(()), value: std::sync::OnceLock::new() }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            if !self.is_set.load(Ordering::Acquire) {
                let _setting = self.setting.lock();
                if self.value.get().is_none() {
                    let _ = self.value.set(make());
                    self.is_set.store(true, Ordering::Release);
                }
            }
            self.value.get().expect("set above or by an earlier holder of the lock")
        }
    }
}
