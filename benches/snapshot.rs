//! What reading costs: a snapshot of the counters, by how many threads have counted, how many aspects
//! there are, and how many sources.
//!
//! `cargo bench --bench snapshot`
//!
//! Time stands still, on a clock that is moved by hand: so the threads that have counted did so just
//! now, or longer ago than the window. Nobody counts meanwhile, and what was read once is in the
//! caches as far as there is room in them.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use parsec_telemetry::{Aggregator, EnvelopeCounters, ManualClock, TokenCounters};

/// More than the window and the second that straddles its edge.
const SILENCE: Duration = Duration::from_secs(70);

fn by_shards(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "a snapshot by shards");
    for threads in [1, 16, 64, 256, 1_024, 4_096] {
        for (aspects, subject) in [(1, "1 aspect"), (64, "64 aspects")] {
            let (clock, envelopes) = counted(threads, aspects);
            group.bench_function(BenchmarkId::new(subject, threads), |bencher| {
                bencher.iter(|| black_box(&envelopes).snapshot());
            });
            clock.advance(SILENCE);
            let silent = format!("{subject}, silent");
            group.bench_function(BenchmarkId::new(silent, threads), |bencher| {
                bencher.iter(|| black_box(&envelopes).snapshot());
            });
        }
    }
}

fn by_aspects(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "a snapshot by aspects");
    for aspects in [1, 16, 64, 256, 1_024, 4_096] {
        let (_clock, envelopes) = counted(1, aspects);
        group.bench_function(BenchmarkId::new("1 thread", aspects), |bencher| {
            bencher.iter(|| black_box(&envelopes).snapshot());
        });
    }
}

fn by_sources(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "a snapshot by sources");
    for sources in [1, 10, 100] {
        let clock = ManualClock::new();
        let of_envelopes = Aggregator::new().clock(clock.clock());
        let of_envelopes = (0..sources).fold(of_envelopes, |all, _| {
            let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
            envelopes.observe("data");
            all.source(envelopes)
        });
        let of_tokens = Aggregator::new().clock(clock.clock());
        let of_tokens = (0..sources).fold(of_tokens, |all, _| {
            let tokens = TokenCounters::builder().clock(clock.clock()).build();
            tokens.issued();
            all.source(tokens)
        });
        for (subject, aggregator) in [("envelopes", of_envelopes), ("tokens", of_tokens)] {
            group.bench_function(BenchmarkId::new(subject, sources), |bencher| {
                bencher.iter(|| black_box(&aggregator).snapshot());
            });
        }
    }
}

fn group_of<'a>(criterion: &'a mut Criterion, question: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(question);
    group
        .sample_size(20)
        .nresamples(1_000)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    group
}

/// Counters on which so many threads have counted, all at once, under so many names.
fn counted(threads: usize, aspects: usize) -> (ManualClock, EnvelopeCounters) {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).max_aspects(aspects).build();
    let names: Vec<String> = (0..aspects).map(|n| format!("aspect-{n}")).collect();
    let all_here = Barrier::new(threads);
    let count = || {
        for name in &names {
            envelopes.observe(name);
        }
        all_here.wait();
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            thread::Builder::new()
                .stack_size(1 << 16)
                .spawn_scoped(scope, count)
                .expect("the system has so many threads");
        }
    });
    (clock, envelopes)
}

criterion_group!(benches, by_shards, by_aspects, by_sources);
criterion_main!(benches);
