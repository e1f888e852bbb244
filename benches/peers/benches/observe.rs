//! What a count costs, beside the peers: by a handle that was resolved beforehand, by one name, by
//! eight names in turn, and by names of four lengths.
//!
//! `cargo bench --bench observe`
//!
//! The time is the slowest thread's processor time, so that the figures of more threads than cores
//! show what the threads do to each other and not how they take turns. Thread `n` stays on core
//! `n`, modulo the cores. Samples last 100 ms: starting the threads shows in shorter ones.
//!
//! None of the peers keeps a window: the figures of parsec-telemetry contain the rate of the last 60
//! seconds, those of the peers a total.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
};
use parsec_telemetry_peers::subjects::{self, EIGHT, Measure, One, PRESENCE, Turn};
use parsec_telemetry_peers::{AT_ONCE, processor_time, stay_on_core};

const THREADS: [usize; 3] = [1, 2, 8];

fn by_handle(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "by handle");
    for threads in THREADS {
        At(&mut group, threads).between_floors(subjects::by_handle);
    }
}

fn by_name(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "by name");
    for threads in THREADS {
        At(&mut group, threads).between_floors(|at| subjects::by_name(at, PRESENCE));
    }
}

fn eight_names(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "eight names in turn");
    for threads in THREADS {
        At(&mut group, threads).between_floors(|at| subjects::by_name(at, Turn(0)));
    }
}

/// On one thread: what a name's length adds has nothing to do with the others.
fn name_lengths(criterion: &mut Criterion) {
    for name in [EIGHT[0], EIGHT[4], EIGHT[6], EIGHT[7]] {
        let mut group = group_of(criterion, &format!("name of {} bytes", name.len()));
        At(&mut group, 1).between_floors(|at| subjects::by_name(at, One(name)));
    }
}

/// A group, and how many threads.
struct At<'a, 'b>(&'a mut Group<'b>, usize);

impl At<'_, '_> {
    /// The floor comes first and last among those that are measured with it: how far apart the two
    /// are says how much a difference between the others means.
    fn between_floors(mut self, subjects: impl FnOnce(&mut Self)) {
        subjects::floor(&mut self, "FLOOR");
        subjects(&mut self);
        subjects::floor(&mut self, "FLOOR again");
    }
}

impl Measure for At<'_, '_> {
    fn subject<O: FnMut(u64)>(&mut self, name: &str, operation: impl Fn() -> O + Sync) {
        bench(self.0, name, self.1, operation);
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn group_of<'a>(criterion: &'a mut Criterion, question: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(question);
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .nresamples(1_000);
    group
}

/// Times an operation that each thread makes for itself, on so many threads at once.
fn bench<O: FnMut(u64)>(
    group: &mut Group<'_>,
    name: &str,
    threads: usize,
    operation: impl Fn() -> O + Sync,
) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // For all ten samples, and as much longer as the threads have to share the cores.
    let turns = u32::try_from(threads.div_ceil(cores)).expect("a few");
    group.measurement_time(Duration::from_millis(1_250) * turns);
    group.warm_up_time(Duration::from_millis(if turns > 1 { 1_000 } else { 200 }));
    group.bench_function(BenchmarkId::new(name, threads), |bencher| {
        bencher.iter_custom(|iterations| {
            let (start, at_work) = (Barrier::new(threads), AtomicUsize::new(threads));
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|thread| {
                        let (start, at_work, operation) = (&start, &at_work, &operation);
                        scope.spawn(move || {
                            stay_on_core(thread % cores);
                            let mut operation = operation();
                            operation(1);
                            start.wait();
                            let began = processor_time();
                            operation(iterations * u64::from(AT_ONCE));
                            let took = processor_time().saturating_sub(began);
                            // Those that are still at it are to have company until they are done.
                            at_work.fetch_sub(1, Relaxed);
                            while at_work.load(Relaxed) > 0 {
                                operation(1_000);
                            }
                            took
                        })
                    })
                    .collect();
                let times = running
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"));
                times.max().unwrap_or_default() / AT_ONCE
            })
        });
    });
}

fn recorder(_: &mut Criterion) {
    subjects::install_recorder();
}

criterion_group!(
    benches,
    recorder,
    by_handle,
    by_name,
    eight_names,
    name_lengths
);
criterion_main!(benches);
