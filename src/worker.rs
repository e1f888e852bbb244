//! Threads of our own: each repeats a step, and is parked in between until it is woken.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a thread does after a step: it ends, or it is parked until it is woken, or until a time.
pub(crate) type Next = ControlFlow<(), Option<Instant>>;

/// Locks a mutex. Poison is ignored: no code of the embedder runs under a lock of this crate, and what each lock
/// guards is consistent after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most one thread, spawned when it is first woken.
///
/// A step holds what it works on by a `Weak`, and ends the thread when that is gone: dropping this wakes the thread
/// for a last step.
#[derive(Debug, Default)]
pub(crate) struct Worker(Mutex<Option<JoinHandle<()>>>);

impl Worker {
    /// Wakes the thread. Does nothing if there is none.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &*lock(&self.0) {
            thread.thread().unpark();
        }
    }

    /// Wakes the thread, and spawns one first if there is none or the last one ended. Returns whether there is a
    /// thread: the system may have none left.
    pub(crate) fn wake_or_spawn<S>(&self, name: &str, step: impl FnOnce() -> S) -> bool
    where
        S: FnMut() -> Next + Send + 'static,
    {
        let mut worker = lock(&self.0);
        if let Some(thread) = &*worker
            && !thread.is_finished()
        {
            thread.thread().unpark();
            return true;
        }
        let mut step = step();
        let run = move || {
            while let ControlFlow::Continue(until) = step() {
                match until.map(|until| until.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    // To park for no time is still to leave the processor.
                    Some(Duration::ZERO) => {}
                    Some(left) => thread::park_timeout(left),
                }
            }
        };
        *worker = thread::Builder::new().name(name.to_owned()).spawn(run).ok();
        worker.is_some()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.wake();
    }
}

/// A deadline `after` from `now`, at most a day: not every duration can be added to a time.
pub(crate) fn deadline(now: Instant, after: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    now + after.min(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn thread_that_panicked_is_replaced_by_the_next_wake() {
        let worker = Worker::default();
        let (sender, steps) = mpsc::channel();
        let step = |panics: bool| {
            let sender = sender.clone();
            move || {
                move || {
                    sender.send(panics).expect("the test receives");
                    assert!(!panics, "this step panics");
                    Next::Continue(None)
                }
            }
        };
        assert!(worker.wake_or_spawn("parsec-test", step(true)));
        assert_eq!(steps.recv(), Ok(true));
        let deadline = Instant::now() + Duration::from_secs(10);
        while steps.try_recv() != Ok(false) {
            assert!(worker.wake_or_spawn("parsec-test", step(false)));
            assert!(Instant::now() < deadline, "no thread was spawned within ten seconds");
            thread::yield_now();
        }
    }

    #[test]
    fn dropped_worker_wakes_its_thread_for_a_last_step() {
        let worker = Worker::default();
        let (sender, steps) = mpsc::channel();
        let spawned = worker.wake_or_spawn("parsec-test", || {
            let mut number = 0;
            move || {
                number += 1;
                sender.send(number).expect("the test receives");
                if number == 1 { Next::Continue(None) } else { Next::Break(()) }
            }
        });
        assert!(spawned);
        assert_eq!(steps.recv(), Ok(1));
        drop(worker);
        assert_eq!(steps.recv(), Ok(2));
    }
}
