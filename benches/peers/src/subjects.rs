//! BASELINE, parsec-telemetry and its peers, each as a loop that increments a counter.
//!
//! Each peer is used as its documentation recommends, and in the fastest way where that leaves a choice: names are
//! `&'static str`, which saves some of them an allocation, and `measured` knows the set of names in advance.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use parsec_telemetry::EnvelopeCounters;

use crate::support;

/// Receives each subject of a comparison.
pub(crate) trait Measure {
    /// Each thread calls `operation` once, and then what it returns with a number of increments.
    fn subject<O: FnMut(u64)>(&mut self, name: &'static str, operation: impl Fn() -> O + Sync);
}

pub(crate) const BASELINE: &str = "BASELINE";
pub(crate) const OURS: &str = "parsec-telemetry";
const METRICS: &str = "metrics + exporter-prometheus";
const PROMETHEUS: &str = "prometheus";
const PROMETHEUS_CLIENT: &str = "prometheus-client";
const MEASURED: &str = "measured";
const OPENTELEMETRY: &str = "opentelemetry_sdk";

/// The names that each counter knows.
const NAMES: [&str; 8] = ["ack", "data", "cursor", "typing", NAME_8, "reaction", NAME_30, NAME_64];
pub(crate) const NAME_8: &str = "presence";
pub(crate) const NAME_30: &str = "a-longer-name-of-30-characters";
pub(crate) const NAME_64: &str = "the-longest-name-that-is-copied-in-wide-words-has-64-characters.";

const _: () = assert!(NAME_8.len() == 8 && NAME_30.len() == 30 && NAME_64.len() == 64);

/// Every subject that increments through a handle, resolved in advance.
pub(crate) fn by_handle(measure: &mut impl Measure) {
    baseline(measure);
    let aspect = counters().aspect(NAME_8);
    measure.subject(OURS, || |times| (0..times).for_each(|_| aspect.observe()));
    shared_atomic(measure);
    sharded_atomic(measure);

    let counter = metrics::counter!("envelopes", "aspect" => NAME_8);
    measure.subject(METRICS, || |times| (0..times).for_each(|_| counter.increment(1)));

    let counter = prometheus_counters().with_label_values(&[NAME_8]);
    measure.subject(PROMETHEUS, || |times| (0..times).for_each(|_| counter.inc()));
    measure.subject("prometheus, local, never flushed", || {
        let local = counter.local();
        move |times| (0..times).for_each(|_| black_box(&local).inc())
    });

    let counter = client_family().get_or_create_owned(&ClientLabels { aspect: NAME_8 });
    measure.subject(PROMETHEUS_CLIENT, || {
        |times| {
            (0..times).for_each(|_| {
                counter.inc();
            });
        }
    });

    let vector = measured_counters();
    let id = vector.with_labels(MeasuredLabels { aspect: NAME_8 });
    measure.subject(MEASURED, || |times| (0..times).for_each(|_| vector.get_metric(id).inc()));

    // `Counter::bind` is experimental.
    let (_provider, counter) = opentelemetry_counter();
    let bound = counter.bind(&[KeyValue::new("aspect", NAME_8)]);
    measure.subject(OPENTELEMETRY, || |times| (0..times).for_each(|_| bound.add(1)));
}

/// Every subject that increments by name.
pub(crate) fn by_name(measure: &mut impl Measure) {
    ours_by_name(measure, NAME_8);
    let name = || black_box(NAME_8);

    let totals = Mutex::new(HashMap::from(NAMES.map(|name| (name.to_owned(), 0_u64))));
    measure.subject("Mutex<HashMap>", || {
        |times| {
            for _ in 0..times {
                let mut totals = totals.lock().expect("no panic under the lock");
                if let Some(total) = totals.get_mut(name()) {
                    *total += 1;
                }
            }
        }
    });

    measure.subject(METRICS, || {
        |times| {
            for _ in 0..times {
                metrics::counter!("envelopes", "aspect" => name()).increment(1);
            }
        }
    });

    let vector = prometheus_counters();
    measure.subject(PROMETHEUS, || |times| (0..times).for_each(|_| vector.with_label_values(&[name()]).inc()));

    let family = client_family();
    measure.subject(PROMETHEUS_CLIENT, || {
        |times| {
            for _ in 0..times {
                family.get_or_create(&ClientLabels { aspect: name() }).inc();
            }
        }
    });

    let vector = measured_counters();
    measure.subject(MEASURED, || {
        |times| {
            for _ in 0..times {
                vector.inc(MeasuredLabels { aspect: name() });
            }
        }
    });

    let (_provider, counter) = opentelemetry_counter();
    measure.subject(OPENTELEMETRY, || {
        |times| {
            for _ in 0..times {
                counter.add(1, &[KeyValue::new("aspect", name())]);
            }
        }
    });
}

/// BASELINE and parsec-telemetry, by one name.
pub(crate) fn ours_by_name(measure: &mut impl Measure, name: &'static str) {
    baseline(measure);
    let envelopes = counters();
    measure.subject(OURS, || |times| (0..times).for_each(|_| envelopes.observe(black_box(name))));
}

/// Installs the recorder of `metrics`, without which its macros do nothing. A process has one.
pub(crate) fn install_recorder() {
    metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().expect("no other recorder is installed");
}

pub(crate) fn counters() -> EnvelopeCounters {
    let envelopes = EnvelopeCounters::new();
    for name in NAMES {
        envelopes.observe(name);
    }
    envelopes
}

fn baseline(measure: &mut impl Measure) {
    let tick = CachePadded::new(AtomicU64::new(1));
    measure.subject(BASELINE, || support::baseline(&tick));
}

fn shared_atomic(measure: &mut impl Measure) {
    let total = AtomicU64::new(0);
    measure.subject("one AtomicU64", || {
        |times| {
            (0..times).for_each(|_| {
                total.fetch_add(1, Relaxed);
            });
        }
    });
}

/// The usual sharded counter: one padded word for each thread, added to atomically.
fn sharded_atomic(measure: &mut impl Measure) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static INDEX: usize = NEXT.fetch_add(1, Relaxed));

    let shards = [const { CachePadded::new(AtomicU64::new(0)) }; 16];
    measure.subject("16 sharded AtomicU64", || {
        |times| {
            for _ in 0..times {
                let index = INDEX.with(|index| *index);
                black_box(&shards)[index % shards.len()].fetch_add(1, Relaxed);
            }
        }
    });
}

fn prometheus_counters() -> prometheus::IntCounterVec {
    let options = prometheus::Opts::new("envelopes", "Envelopes published");
    let counters = prometheus::IntCounterVec::new(options, &["aspect"]).expect("valid names");
    prometheus::Registry::new().register(Box::new(counters.clone())).expect("registered once");
    for name in NAMES {
        counters.with_label_values(&[name]).inc();
    }
    counters
}

type ClientFamily =
    prometheus_client::metrics::family::Family<ClientLabels, prometheus_client::metrics::counter::Counter>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct ClientLabels {
    aspect: &'static str,
}

fn client_family() -> ClientFamily {
    let family = ClientFamily::default();
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("envelopes", "Envelopes published", family.clone());
    for aspect in NAMES {
        family.get_or_create(&ClientLabels { aspect }).inc();
    }
    family
}

#[derive(measured::LabelGroup)]
#[label(set = MeasuredLabelsSet)]
struct MeasuredLabels<'a> {
    #[label(fixed_with = measured::lasso::RodeoReader)]
    aspect: &'a str,
}

fn measured_counters() -> measured::CounterVec<MeasuredLabelsSet> {
    let aspect = measured::lasso::Rodeo::from_iter(NAMES).into_reader();
    measured::CounterVec::with_label_set(MeasuredLabelsSet { aspect })
}

/// The counter, and its provider, which must outlive it. Without a reader nothing would be recorded.
fn opentelemetry_counter() -> (SdkMeterProvider, opentelemetry::metrics::Counter<u64>) {
    let provider = SdkMeterProvider::builder().with_reader(ManualReader::builder().build()).build();
    let counter = provider.meter("broker").u64_counter("envelopes").build();
    for name in NAMES {
        counter.add(1, &[KeyValue::new("aspect", name)]);
    }
    (provider, counter)
}
