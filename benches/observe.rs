//! What a count costs: ours by handle and by name, beside the least that the work can be and the
//! usual ways of doing it.
//!
//! `cargo bench --bench observe`
//!
//! The time is the slowest thread's processor time, so that the figures of more threads than cores
//! show what the threads do to each other and not how they take turns. Samples last 100 ms:
//! starting the threads shows in shorter ones.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use crossbeam_utils::CachePadded;
use parsec_telemetry::EnvelopeCounters;
use rustix::time::{ClockId, clock_gettime};

mod slab;

const THREADS: [usize; 3] = [1, 2, 8];

fn observe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for threads in THREADS {
        floor(&mut group, threads);
        handle(&mut group, threads);
        if threads == 1 {
            beyond_the_slab(&mut group);
        }
        by_name(&mut group, threads);
        shared_atomic(&mut group, threads);
        mutex(&mut group, threads);
    }
    group.finish();
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// One load of a tick that somebody else writes, and a load, an add and a store on two words that
/// the thread owns.
fn floor(group: &mut Group<'_>, threads: usize) {
    let tick = CachePadded::new(AtomicU64::new(1));
    bench(group, "FLOOR", threads, || {
        // Known outside, so that no store may be left out: nothing is known of what reads them.
        let own = Arc::new(CachePadded::new([AtomicU64::new(0), AtomicU64::new(0)]));
        black_box(Arc::clone(&own));
        let tick = &tick;
        move |count| {
            let [slot, total] = &**own;
            for _ in 0..count {
                slot.store(slot.load(Relaxed).wrapping_add(tick.load(Relaxed)), Relaxed);
                total.store(total.load(Relaxed).wrapping_add(1), Relaxed);
            }
        }
    });
}

fn handle(group: &mut Group<'_>, threads: usize) {
    let envelopes = EnvelopeCounters::new();
    let data = envelopes.aspect("data");
    bench(group, "by handle", threads, || |count| (0..count).for_each(|_| data.observe()));
}

/// By a thread that came when the slab was full.
fn beyond_the_slab(group: &mut Group<'_>) {
    let envelopes = EnvelopeCounters::new();
    let data = envelopes.aspect("data");
    slab::while_full(
        || data.observe(),
        || {
            bench(group, "by handle, beyond the slab", 1, || |count| (0..count).for_each(|_| data.observe()));
        },
    );
}

fn by_name(group: &mut Group<'_>, threads: usize) {
    let envelopes = EnvelopeCounters::new();
    // What a broker has: a handful of aspects, of which any may come next.
    let names = ["data", "cursor", "presence", "typing", "ack", "reaction", "read", "a-longer-name-of-30-characters"];
    for name in names {
        envelopes.observe(name);
    }
    for name in ["ack", "data", "presence", "a-longer-name-of-30-characters"] {
        let what = format!("by name of {}", name.len());
        bench(group, &what, threads, || |count| (0..count).for_each(|_| envelopes.observe(black_box(name))));
    }
}

/// The usual counter: one word for all. It keeps no window.
fn shared_atomic(group: &mut Group<'_>, threads: usize) {
    let total = AtomicU64::new(0);
    bench(group, "shared AtomicU64", threads, || {
        |count| {
            (0..count).for_each(|_| {
                total.fetch_add(1, Relaxed);
            });
        }
    });
}

/// The usual map of counters. It keeps no window.
fn mutex(group: &mut Group<'_>, threads: usize) {
    let totals = Mutex::new(HashMap::from([("data".to_owned(), 0_u64)]));
    bench(group, "Mutex<HashMap>", threads, || {
        |count| {
            for _ in 0..count {
                let mut totals = totals.lock().expect("no panic under the lock");
                if let Some(total) = totals.get_mut(black_box("data")) {
                    *total += 1;
                }
            }
        }
    });
}

/// Times an operation that each thread makes for itself, on so many threads at once. It is handed
/// the number of times to do it, and loops by itself: called through a closure for each time, half of
/// what is measured would be the call.
fn bench<O: FnMut(u64)>(group: &mut Group<'_>, name: &str, threads: usize, operation: impl Fn() -> O + Sync) {
    let unit = if threads == 1 { "thread" } else { "threads" };
    group.bench_function(BenchmarkId::new(name, format!("{threads} {unit}")), |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Arc::new(Barrier::new(threads));
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|_| {
                        let (start, operation) = (Arc::clone(&start), &operation);
                        scope.spawn(move || {
                            let mut operation = operation();
                            operation(1);
                            start.wait();
                            let began = processor_time();
                            operation(iterations);
                            processor_time().saturating_sub(began)
                        })
                    })
                    .collect();
                let times = running.into_iter().map(|thread| thread.join().expect("no panic"));
                times.max().unwrap_or_default()
            })
        });
    });
}

/// What this thread has had of a processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a processor's time is not negative")
}

criterion_group!(benches, observe);
criterion_main!(benches);
