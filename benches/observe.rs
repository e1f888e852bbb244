//! The time of `observe`, by handle and by name, on 1, 2 and 8 threads, beside BASELINE.
//!
//! `cargo bench --bench observe`

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use crossbeam_utils::CachePadded;
use parsec_telemetry::EnvelopeCounters;

mod support;

const NAMES: [(&str, &str); 4] = [
    ("name_3_bytes", "ack"),
    ("name_8_bytes", "presence"),
    ("name_30_bytes", "a-longer-name-of-30-characters"),
    ("name_64_bytes", "the-longest-name-that-is-copied-in-wide-words-has-64-characters."),
];

fn observe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    // Samples last 100 ms: starting the threads would show in shorter ones.
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let tick = CachePadded::new(AtomicU64::new(1));
    for threads in [1, 2, 8] {
        bench(&mut group, "baseline", threads, || support::baseline(&tick));
        let envelopes = EnvelopeCounters::new();
        let data = envelopes.aspect("data");
        let handle = || |times| (0..times).for_each(|_| data.observe());
        bench(&mut group, "handle", threads, handle);
        if threads == 1 {
            support::without_free_shards(
                || data.observe(),
                || bench(&mut group, "handle_late_thread", threads, handle),
            );
        }
        for (_, name) in NAMES {
            envelopes.observe(name);
        }
        for (benchmark, name) in NAMES {
            bench(&mut group, benchmark, threads, || {
                |times| (0..times).for_each(|_| envelopes.observe(black_box(name)))
            });
        }
    }
    group.finish();
}

fn bench<O: FnMut(u64)>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    threads: usize,
    operation: impl Fn() -> O + Sync,
) {
    group.bench_function(BenchmarkId::new(name, threads), |bencher| {
        bencher.iter_custom(|times| support::slowest_thread(threads, times, &operation));
    });
}

criterion_group!(benches, observe);
criterion_main!(benches);
