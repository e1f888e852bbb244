//! What a count costs, beside the peers: by a handle that was resolved beforehand, by one name, by
//! eight names in turn, and by names of four lengths.
//!
//! `cargo bench --bench observe`
//!
//! The time is the slowest thread's processor time, so that the figures of more threads than cores
//! show what the threads do to each other and not how they take turns. Thread `n` stays on core
//! `n`, modulo the cores. Samples last 100 ms: starting the threads shows in shorter ones.
//!
//! Each peer is used as its own documentation says, and where that leaves a choice, as it is
//! fastest: names are `&'static str`, which spares some of them an allocation, and the set of names
//! is known beforehand to the one that may be told (`measured`). None of the peers keeps a window:
//! the figures of parsec-telemetry contain the rate of the last 60 seconds, those of the peers a
//! total.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
};
use crossbeam_utils::CachePadded;
use parsec_telemetry::EnvelopeCounters;
use parsec_telemetry_peers::AT_ONCE;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

const THREADS: [usize; 3] = [1, 2, 8];

/// What a broker has: a handful of aspects, of which any may come next.
const EIGHT: [&str; 8] = [
    "ack",
    "data",
    "cursor",
    "typing",
    "presence",
    "reaction",
    "room-membership-sync",
    "a-name-as-long-as-sixty-bytes-which-hardly-anybody-will-want",
];

const PRESENCE: One = One(EIGHT[4]);

fn by_handle(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "by handle");
    for threads in THREADS {
        let group = &mut group;
        floor(group, "FLOOR", threads);
        ours::handle(group, threads);
        peers::shared_atomic(group, threads);
        peers::metrics_handle(group, threads);
        peers::prometheus_handle(group, threads);
        peers::prometheus_local(group, threads);
        peers::prometheus_client_handle(group, threads);
        peers::measured_handle(group, threads);
        peers::fastmetrics_handle(group, threads);
        peers::opentelemetry_handle(group, threads);
        floor(group, "FLOOR again", threads);
    }
}

fn by_name(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "by name");
    for threads in THREADS {
        all_by_name(&mut group, threads, PRESENCE);
    }
}

fn eight_names(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "eight names in turn");
    for threads in THREADS {
        all_by_name(&mut group, threads, Turn(0));
    }
}

/// On one thread: what a name's length adds has nothing to do with the others.
fn name_lengths(criterion: &mut Criterion) {
    for name in [EIGHT[0], EIGHT[4], EIGHT[6], EIGHT[7]] {
        let mut group = group_of(criterion, &format!("name of {} bytes", name.len()));
        all_by_name(&mut group, 1, One(name));
    }
}

fn all_by_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
    floor(group, "FLOOR", threads);
    ours::name(group, threads, names);
    peers::mutex(group, threads, names);
    peers::metrics_name(group, threads, names);
    peers::prometheus_name(group, threads, names);
    peers::prometheus_client_name(group, threads, names);
    peers::measured_name(group, threads, names);
    peers::fastmetrics_name(group, threads, names);
    peers::opentelemetry_name(group, threads, names);
    floor(group, "FLOOR again", threads);
}

/// The least that the work can be: one load of a tick that somebody else writes, and a load, an add
/// and a store on two words that the thread owns.
///
/// It comes first and last among those that are measured with it: how far apart the two are says
/// how much a difference between the others means.
fn floor(group: &mut Group<'_>, name: &str, threads: usize) {
    let tick = CachePadded::new(AtomicU64::new(1));
    bench(group, name, threads, || {
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

mod ours {
    use super::{EIGHT, EnvelopeCounters, Group, Names, PRESENCE, bench};

    const NAME: &str = "parsec-telemetry";

    pub(super) fn handle(group: &mut Group<'_>, threads: usize) {
        let aspect = counters().aspect(PRESENCE.0);
        bench(group, NAME, threads, || {
            |count| (0..count).for_each(|_| aspect.observe())
        });
    }

    pub(super) fn name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let envelopes = counters();
        bench(group, NAME, threads, || {
            let (envelopes, mut names) = (&envelopes, names);
            move |count| (0..count).for_each(|_| envelopes.observe(names.next()))
        });
    }

    fn counters() -> EnvelopeCounters {
        let envelopes = EnvelopeCounters::new();
        for name in EIGHT {
            envelopes.observe(name);
        }
        envelopes
    }
}

mod peers {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};

    use super::{
        AtomicU64, EIGHT, Group, HashMap, Mutex, Names, PRESENCE, Relaxed, bench, black_box,
    };

    /// The usual counter: one word for all.
    pub(super) fn shared_atomic(group: &mut Group<'_>, threads: usize) {
        let total = AtomicU64::new(0);
        bench(group, "shared AtomicU64", threads, || {
            |count| {
                (0..count).for_each(|_| {
                    total.fetch_add(1, Relaxed);
                });
            }
        });
    }

    /// The usual map of counters.
    pub(super) fn mutex(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let totals = Mutex::new(HashMap::from(EIGHT.map(|name| (name.to_owned(), 0_u64))));
        bench(group, "Mutex<HashMap>", threads, || {
            let (totals, mut names) = (&totals, names);
            move |count| {
                for _ in 0..count {
                    let mut totals = totals.lock().expect("no panic under the lock");
                    if let Some(total) = totals.get_mut(names.next()) {
                        *total += 1;
                    }
                }
            }
        });
    }

    const METRICS: &str = "metrics + exporter-prometheus";

    /// "A handle to the counter is returned by this macro and can be held on to in order to amortize
    /// the cost of registration."
    pub(super) fn metrics_handle(group: &mut Group<'_>, threads: usize) {
        let counter = metrics::counter!("envelopes", "aspect" => PRESENCE.0);
        bench(group, METRICS, threads, || {
            |count| (0..count).for_each(|_| counter.increment(1))
        });
    }

    pub(super) fn metrics_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        bench(group, METRICS, threads, || {
            let mut names = names;
            move |count| {
                for _ in 0..count {
                    metrics::counter!("envelopes", "aspect" => names.next()).increment(1);
                }
            }
        });
    }

    const PROMETHEUS: &str = "prometheus";

    pub(super) fn prometheus_handle(group: &mut Group<'_>, threads: usize) {
        let counter = prometheus_counters().with_label_values(&[PRESENCE.0]);
        bench(group, PROMETHEUS, threads, || {
            |count| (0..count).for_each(|_| counter.inc())
        });
    }

    /// A count of the thread's own, which nobody sees before it is flushed. The loop does not flush.
    pub(super) fn prometheus_local(group: &mut Group<'_>, threads: usize) {
        let counter = prometheus_counters().with_label_values(&[PRESENCE.0]);
        bench(group, "prometheus, local, not flushed", threads, || {
            let local = counter.local();
            move |count| (0..count).for_each(|_| black_box(&local).inc())
        });
    }

    pub(super) fn prometheus_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let counters = prometheus_counters();
        bench(group, PROMETHEUS, threads, || {
            let (counters, mut names) = (&counters, names);
            move |count| {
                (0..count).for_each(|_| counters.with_label_values(&[names.next()]).inc());
            }
        });
    }

    fn prometheus_counters() -> prometheus::IntCounterVec {
        let options = prometheus::Opts::new("envelopes", "Envelopes published");
        let counters = prometheus::IntCounterVec::new(options, &["aspect"]).expect("good names");
        prometheus::Registry::new()
            .register(Box::new(counters.clone()))
            .expect("registered once");
        for name in EIGHT {
            counters.with_label_values(&[name]).inc();
        }
        counters
    }

    const PROMETHEUS_CLIENT: &str = "prometheus-client";

    type ClientFamily = prometheus_client::metrics::family::Family<
        ClientLabels,
        prometheus_client::metrics::counter::Counter,
    >;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
    struct ClientLabels {
        aspect: &'static str,
    }

    pub(super) fn prometheus_client_handle(group: &mut Group<'_>, threads: usize) {
        let aspect = PRESENCE.0;
        let counter = client_family().get_or_create_owned(&ClientLabels { aspect });
        bench(group, PROMETHEUS_CLIENT, threads, || {
            |count| {
                (0..count).for_each(|_| {
                    counter.inc();
                });
            }
        });
    }

    pub(super) fn prometheus_client_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let family = client_family();
        bench(group, PROMETHEUS_CLIENT, threads, || {
            let (family, mut names) = (&family, names);
            move |count| {
                for _ in 0..count {
                    let aspect = names.next();
                    family.get_or_create(&ClientLabels { aspect }).inc();
                }
            }
        });
    }

    fn client_family() -> ClientFamily {
        let family = ClientFamily::default();
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("envelopes", "Envelopes published", family.clone());
        for aspect in EIGHT {
            family.get_or_create(&ClientLabels { aspect }).inc();
        }
        family
    }

    const MEASURED: &str = "measured";

    #[derive(measured::LabelGroup)]
    #[label(set = MeasuredLabelsSet)]
    struct MeasuredLabels<'a> {
        #[label(fixed_with = measured::lasso::RodeoReader)]
        aspect: &'a str,
    }

    pub(super) fn measured_handle(group: &mut Group<'_>, threads: usize) {
        let aspect = PRESENCE.0;
        let counters = measured_counters();
        let id = counters.with_labels(MeasuredLabels { aspect });
        bench(group, MEASURED, threads, || {
            |count| (0..count).for_each(|_| counters.get_metric(id).inc())
        });
    }

    pub(super) fn measured_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let counters = measured_counters();
        bench(group, MEASURED, threads, || {
            let (counters, mut names) = (&counters, names);
            move |count| {
                for _ in 0..count {
                    let aspect = names.next();
                    counters.inc(MeasuredLabels { aspect });
                }
            }
        });
    }

    fn measured_counters() -> measured::CounterVec<MeasuredLabelsSet> {
        let aspects = measured::lasso::Rodeo::from_iter(EIGHT).into_reader();
        measured::CounterVec::with_label_set(MeasuredLabelsSet { aspect: aspects })
    }

    const FASTMETRICS: &str = "fastmetrics";

    type FastFamily =
        fastmetrics::metrics::family::Family<FastLabels, fastmetrics::metrics::counter::Counter>;

    #[derive(Clone, PartialEq, Eq, Hash, fastmetrics::derive::LabelSet)]
    struct FastLabels {
        aspect: &'static str,
    }

    pub(super) fn fastmetrics_handle(group: &mut Group<'_>, threads: usize) {
        let aspect = PRESENCE.0;
        let counter = fast_family().with_or_new(&FastLabels { aspect }, Clone::clone);
        bench(group, FASTMETRICS, threads, || {
            |count| {
                (0..count).for_each(|_| {
                    counter.inc();
                });
            }
        });
    }

    pub(super) fn fastmetrics_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let family = fast_family();
        bench(group, FASTMETRICS, threads, || {
            let (family, mut names) = (&family, names);
            move |count| {
                for _ in 0..count {
                    let aspect = names.next();
                    family.with_or_new(&FastLabels { aspect }, |counter| {
                        counter.inc();
                    });
                }
            }
        });
    }

    fn fast_family() -> FastFamily {
        let family = FastFamily::default();
        fastmetrics::registry::Registry::default()
            .register("envelopes", "Envelopes published", family.clone())
            .expect("registered once");
        for aspect in EIGHT {
            family.with_or_new(&FastLabels { aspect }, |counter| {
                counter.inc();
            });
        }
        family
    }

    const OPENTELEMETRY: &str = "opentelemetry_sdk";

    /// `Counter::bind`, which is experimental.
    pub(super) fn opentelemetry_handle(group: &mut Group<'_>, threads: usize) {
        let (_provider, counter) = opentelemetry_counter();
        let bound = counter.bind(&[KeyValue::new("aspect", PRESENCE.0)]);
        bench(group, OPENTELEMETRY, threads, || {
            |count| (0..count).for_each(|_| bound.add(1))
        });
    }

    pub(super) fn opentelemetry_name(group: &mut Group<'_>, threads: usize, names: impl Names) {
        let (_provider, counter) = opentelemetry_counter();
        bench(group, OPENTELEMETRY, threads, || {
            let (counter, mut names) = (&counter, names);
            move |count| {
                for _ in 0..count {
                    counter.add(1, &[KeyValue::new("aspect", names.next())]);
                }
            }
        });
    }

    /// With a reader, without which nothing would be counted, and the provider, which has to live.
    fn opentelemetry_counter() -> (SdkMeterProvider, opentelemetry::metrics::Counter<u64>) {
        let provider = SdkMeterProvider::builder()
            .with_reader(ManualReader::builder().build())
            .build();
        let counter = provider.meter("broker").u64_counter("envelopes").build();
        for name in EIGHT {
            counter.add(1, &[KeyValue::new("aspect", name)]);
        }
        (provider, counter)
    }
}

/// The names to count by, one after the other.
trait Names: Copy + Send + Sync {
    fn next(&mut self) -> &'static str;
}

/// Always the same, which the compiler does not know.
#[derive(Clone, Copy)]
struct One(&'static str);

impl Names for One {
    fn next(&mut self) -> &'static str {
        black_box(self.0)
    }
}

/// Each of the eight in its turn.
#[derive(Clone, Copy)]
struct Turn(usize);

impl Names for Turn {
    fn next(&mut self) -> &'static str {
        self.0 = (self.0 + 1) % EIGHT.len();
        black_box(EIGHT[self.0])
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

/// Times an operation that each thread makes for itself, on so many threads at once. It is handed
/// the number of times to do it, and loops by itself: called through a closure for each time, half
/// of what is measured would be the call.
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
                            stay_on(thread % cores);
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

/// Where the system lets it: a process that is itself held to some cores may not choose others.
fn stay_on(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// What this thread has had of a processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a processor's time is not negative")
}

/// There is one recorder to a process, and `metrics` counts nothing without it.
fn recorder(_: &mut Criterion) {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .expect("installed once");
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
