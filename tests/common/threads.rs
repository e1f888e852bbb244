//! Threads that record together, at their exit, or from outside the slab.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use parsec_telemetry::{ManualClock, TokenCounters};

/// Runs `work` on so many threads at once and joins each of them.
///
/// Joining waits for a thread's destructors too; the end of a scope does not.
pub(crate) fn run_threads(threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

/// Runs a function when dropped, even while a panic unwinds.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs its jobs when dropped.
pub(crate) struct ExitJobs(pub(crate) Vec<Box<dyn FnOnce()>>);

impl Drop for ExitJobs {
    fn drop(&mut self) {
        for job in self.0.drain(..) {
            job();
        }
    }
}

thread_local! {
    static EXIT_JOBS: RefCell<ExitJobs> = const { RefCell::new(ExitJobs(Vec::new())) };
}

/// Runs `job` in the destructor of a thread-local when this thread ends.
pub(crate) fn at_thread_exit(job: impl FnOnce() + 'static) {
    EXIT_JOBS.with_borrow_mut(|jobs| jobs.0.push(Box::new(job)));
}

/// Registers the destructor of [`at_thread_exit`] on this thread.
///
/// Most systems destroy thread-locals in the reverse order of their first use. On a thread that calls this before its
/// first event, the crate's thread id is gone when the jobs run; on one that calls it afterwards, the id is still
/// there.
pub(crate) fn register_exit_destructor() {
    EXIT_JOBS.with_borrow(|_| ());
}

/// The number of shards in a counter's slab by default.
pub(crate) fn slab_len() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).next_power_of_two().clamp(16, 32)
}

/// Threads that hold every thread id of the slab, so that later threads have shards outside of it.
///
/// They end when this is dropped.
pub(crate) struct SlabOccupants(Vec<(mpsc::Sender<()>, JoinHandle<()>)>);

impl SlabOccupants {
    pub(crate) fn new() -> Self {
        let tokens = TokenCounters::builder().clock(ManualClock::new().clock()).build();
        let (report, reports) = mpsc::channel();
        let occupant = |_| {
            let (end, ended) = mpsc::channel::<()>();
            let (tokens, report) = (tokens.clone(), report.clone());
            let thread = thread::spawn(move || {
                tokens.issued();
                drop(tokens);
                report.send(()).expect("`new` waits");
                drop(report);
                let _ = ended.recv();
            });
            (end, thread)
        };
        let occupants: Vec<_> = (0..slab_len()).map(occupant).collect();
        for _ in &occupants {
            reports.recv().expect("no panic");
        }
        Self(occupants)
    }
}

impl Drop for SlabOccupants {
    fn drop(&mut self) {
        for (end, thread) in self.0.drain(..) {
            drop(end);
            thread.join().expect("no panic");
        }
    }
}
