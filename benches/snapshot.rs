//! What reading costs: a snapshot of the counters, by how many threads have counted and how many
//! aspects there are.
//!
//! `cargo bench --bench snapshot`

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parsec_telemetry::{Aggregator, EnvelopeCounters, TokenCounters};

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for threads in [1, 16, 256] {
        for aspects in [1, 64] {
            let envelopes = counted(threads, aspects);
            let id = BenchmarkId::new("envelopes", format!("{threads} threads, {aspects} aspects"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| black_box(&envelopes).snapshot());
            });
        }
    }
    let tokens = TokenCounters::new();
    tokens.issued();
    group.bench_function("tokens", |bencher| {
        bencher.iter(|| black_box(&tokens).snapshot());
    });
    for sources in [1, 100] {
        let aggregator = (0..sources).fold(Aggregator::new(), |all, _| all.source(tokens.clone()));
        let id = BenchmarkId::new("aggregator", format!("{sources} token sources"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| black_box(&aggregator).snapshot());
        });
    }
    group.finish();
}

/// Counters on which so many threads have counted, all at once, under so many names.
fn counted(threads: usize, aspects: usize) -> EnvelopeCounters {
    let envelopes = EnvelopeCounters::new();
    let all_here = Barrier::new(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                (0..aspects).for_each(|aspect| envelopes.observe(&format!("aspect-{aspect}")));
                all_here.wait();
            });
        }
    });
    envelopes
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
