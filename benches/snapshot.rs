//! The time of a snapshot, by the threads that have recorded, by aspects and by sources.
//!
//! `cargo bench --bench snapshot`
//!
//! The clock stands still, and nothing is recorded meanwhile.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parsec_telemetry::{Aggregator, EnvelopeCounters, ManualClock};

mod support;

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    for threads in [1, 64, 1_024] {
        let clock = ManualClock::new();
        let envelopes = support::recorded(clock.clock(), threads, 64);
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter(|| black_box(&envelopes).snapshot());
        });
        // Longer than the window: of each shard only the totals are read.
        clock.advance(Duration::from_secs(70));
        group.bench_function(BenchmarkId::new("idle_threads", threads), |bencher| {
            bencher.iter(|| black_box(&envelopes).snapshot());
        });
    }
    for aspects in [1, 64, 1_024] {
        let envelopes = support::recorded(ManualClock::new().clock(), 1, aspects);
        group.bench_function(BenchmarkId::new("aspects", aspects), |bencher| {
            bencher.iter(|| black_box(&envelopes).snapshot());
        });
    }
    for sources in [1, 10, 100] {
        let clock = ManualClock::new();
        let aggregator = Aggregator::new().clock(clock.clock());
        let aggregator = (0..sources).fold(aggregator, |aggregator, _| {
            let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
            envelopes.observe("data");
            aggregator.source(envelopes)
        });
        group.bench_function(BenchmarkId::new("sources", sources), |bencher| {
            bencher.iter(|| black_box(&aggregator).snapshot());
        });
    }
    group.finish();
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
