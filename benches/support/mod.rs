//! Shared by the benchmarks here and in `peers/`: BASELINE, and the time of an operation on several threads.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parsec_telemetry::{CoarseClock, EnvelopeCounters};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The cheapest possible windowed counter: one relaxed load of a shared tick, and a relaxed load, an addition and a
/// relaxed store on two words that the thread owns.
pub(crate) fn baseline(tick: &AtomicU64) -> impl FnMut(u64) {
    // `black_box` keeps a second reference, so that the compiler must not merge the stores.
    let own = Arc::new(CachePadded::new([AtomicU64::new(0), AtomicU64::new(0)]));
    black_box(Arc::clone(&own));
    move |times| {
        let [slot, total] = &**own;
        for _ in 0..times {
            slot.store(slot.load(Relaxed).wrapping_add(tick.load(Relaxed)), Relaxed);
            total.store(total.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// Returns the processor time that the slowest of `threads` threads takes to repeat an operation `times` times.
///
/// Processor time shows what the threads do to each other, not how they share the cores. Thread `n` is pinned to core
/// `n` modulo the number of cores. `operation` is called once on each thread; what it returns loops by itself, since a
/// call for each operation would take as long as the operation.
pub(crate) fn slowest_thread<O: FnMut(u64)>(threads: usize, times: u64, operation: impl Fn() -> O + Sync) -> Duration {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (start, running) = (Barrier::new(threads), AtomicUsize::new(threads));
    let run = |thread: usize| {
        pin_to_core(thread % cores);
        let mut operation = operation();
        operation(1);
        start.wait();
        let before = processor_time();
        operation(times);
        let time = processor_time().saturating_sub(before);
        // The load on the other threads stays the same until the last one is done.
        running.fetch_sub(1, Relaxed);
        while running.load(Relaxed) > 0 {
            operation(1_000);
        }
        time
    };
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        let times = threads.into_iter().map(|t| t.join().expect("no panic"));
        times.max().unwrap_or_default()
    })
}

/// Runs `work` while other threads own all shards that a counter allocates in advance: max(16, 2 × cores).
pub(crate) fn without_free_shards(observe: impl Fn() + Sync, work: impl FnOnce()) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let shards = (2 * cores).next_power_of_two().max(16);
    let (ready, done) = (Barrier::new(shards + 1), Barrier::new(shards + 1));
    thread::scope(|scope| {
        for _ in 0..shards {
            scope.spawn(|| {
                observe();
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        work();
        done.wait();
    });
}

/// Returns counters in which each of `threads` threads, all alive at once, has recorded each of `aspects` aspects.
pub(crate) fn recorded(clock: CoarseClock, threads: usize, aspects: usize) -> EnvelopeCounters {
    let envelopes = EnvelopeCounters::builder().clock(clock).max_aspects(aspects).build();
    let names: Vec<String> = (0..aspects).map(|n| format!("aspect-{n}")).collect();
    let all_recorded = Barrier::new(threads);
    let record = || {
        for name in &names {
            envelopes.observe(name);
        }
        all_recorded.wait();
    };
    thread::scope(|scope| {
        let spawn = |_| {
            thread::Builder::new()
                .stack_size(1 << 16)
                .spawn_scoped(scope, record)
                .expect("the system can run that many threads")
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        // A scope does not wait for the destructors of thread-locals, which release the shards. Joining does.
        for thread in running {
            thread.join().expect("no panic");
        }
    });
    envelopes
}

/// Pins the calling thread to a core, unless the process is not allowed to run there.
pub(crate) fn pin_to_core(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// The processor time of the calling thread.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}
