//! Who is measured: FLOOR, ours and the peers, each as a loop that counts.
//!
//! Each peer is used as its own documentation says, and where that leaves a choice, as it is
//! fastest: names are `&'static str`, which spares some of them an allocation, and the set of names
//! is known beforehand to the one that may be told (`measured`).

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use parsec_telemetry::{CoarseClock, EnvelopeCounters};

/// Whatever is to be found out about each of them.
pub trait Measure {
    /// Each thread makes an operation for itself. It is handed the number of times to count, and
    /// loops by itself: called through a closure for each time, half of what is measured would be
    /// the call.
    fn subject<O: FnMut(u64)>(&mut self, name: &str, operation: impl Fn() -> O + Sync);

    /// What ours counts by.
    fn clock(&self) -> CoarseClock {
        CoarseClock::shared()
    }
}

pub const OURS: &str = "parsec-telemetry";

/// What a broker has: a handful of aspects, of which any may come next.
pub const EIGHT: [&str; 8] = [
    "ack",
    "data",
    "cursor",
    "typing",
    "presence",
    "reaction",
    "room-membership-sync",
    "a-name-as-long-as-sixty-bytes-which-hardly-anybody-will-want",
];

/// The one that is counted by where there is only one.
pub const PRESENCE: One = One(EIGHT[4]);

/// All that count by a handle which was resolved beforehand.
pub fn by_handle(measure: &mut impl Measure) {
    ours::handle(measure);
    peers::shared_atomic(measure);
    peers::metrics_handle(measure);
    peers::prometheus_handle(measure);
    peers::prometheus_local(measure);
    peers::prometheus_client_handle(measure);
    peers::measured_handle(measure);
    peers::fastmetrics_handle(measure);
    peers::opentelemetry_handle(measure);
}

/// All that count by a name.
pub fn by_name(measure: &mut impl Measure, names: impl Names) {
    ours::name(measure, names);
    peers::mutex(measure, names);
    peers::metrics_name(measure, names);
    peers::prometheus_name(measure, names);
    peers::prometheus_client_name(measure, names);
    peers::measured_name(measure, names);
    peers::fastmetrics_name(measure, names);
    peers::opentelemetry_name(measure, names);
}

/// There is one recorder to a process, and `metrics` counts nothing without it.
///
/// # Panics
///
/// If there is one already.
pub fn install_recorder() {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .expect("installed once");
}

/// The least that the work can be: one load of a tick that somebody else writes, and a load, an add
/// and a store on two words that the thread owns.
///
/// It comes first and last among those that are measured with it: how far apart the two are says
/// how much a difference between the others means.
pub fn floor(measure: &mut impl Measure, name: &str) {
    let tick = CachePadded::new(AtomicU64::new(1));
    measure.subject(name, || {
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

/// The names to count by, one after the other.
pub trait Names: Copy + Send + Sync {
    fn next(&mut self) -> &'static str;
}

/// Always the same, which the compiler does not know.
#[derive(Clone, Copy)]
pub struct One(pub &'static str);

impl Names for One {
    fn next(&mut self) -> &'static str {
        black_box(self.0)
    }
}

/// Each of the eight in its turn.
#[derive(Clone, Copy)]
pub struct Turn(pub usize);

impl Names for Turn {
    fn next(&mut self) -> &'static str {
        self.0 = (self.0 + 1) % EIGHT.len();
        black_box(EIGHT[self.0])
    }
}

mod ours {
    use super::{CoarseClock, EIGHT, EnvelopeCounters, Measure, Names, OURS, PRESENCE};

    pub(super) fn handle(measure: &mut impl Measure) {
        let aspect = counters(measure.clock()).aspect(PRESENCE.0);
        measure.subject(OURS, || |count| (0..count).for_each(|_| aspect.observe()));
    }

    pub(super) fn name(measure: &mut impl Measure, names: impl Names) {
        let envelopes = counters(measure.clock());
        measure.subject(OURS, || {
            let (envelopes, mut names) = (&envelopes, names);
            move |count| (0..count).for_each(|_| envelopes.observe(names.next()))
        });
    }

    fn counters(clock: CoarseClock) -> EnvelopeCounters {
        let envelopes = EnvelopeCounters::builder().clock(clock).build();
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

    use super::{AtomicU64, EIGHT, HashMap, Measure, Mutex, Names, PRESENCE, Relaxed, black_box};

    /// The usual counter: one word for all.
    pub(super) fn shared_atomic(measure: &mut impl Measure) {
        let total = AtomicU64::new(0);
        measure.subject("shared AtomicU64", || {
            |count| {
                (0..count).for_each(|_| {
                    total.fetch_add(1, Relaxed);
                });
            }
        });
    }

    /// The usual map of counters.
    pub(super) fn mutex(measure: &mut impl Measure, names: impl Names) {
        let totals = Mutex::new(HashMap::from(EIGHT.map(|name| (name.to_owned(), 0_u64))));
        measure.subject("Mutex<HashMap>", || {
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
    pub(super) fn metrics_handle(measure: &mut impl Measure) {
        let counter = metrics::counter!("envelopes", "aspect" => PRESENCE.0);
        measure.subject(METRICS, || {
            |count| (0..count).for_each(|_| counter.increment(1))
        });
    }

    pub(super) fn metrics_name(measure: &mut impl Measure, names: impl Names) {
        measure.subject(METRICS, || {
            let mut names = names;
            move |count| {
                for _ in 0..count {
                    metrics::counter!("envelopes", "aspect" => names.next()).increment(1);
                }
            }
        });
    }

    const PROMETHEUS: &str = "prometheus";

    pub(super) fn prometheus_handle(measure: &mut impl Measure) {
        let counter = prometheus_counters().with_label_values(&[PRESENCE.0]);
        measure.subject(PROMETHEUS, || {
            |count| (0..count).for_each(|_| counter.inc())
        });
    }

    /// A count of the thread's own, which nobody sees before it is flushed. The loop does not flush.
    pub(super) fn prometheus_local(measure: &mut impl Measure) {
        let counter = prometheus_counters().with_label_values(&[PRESENCE.0]);
        measure.subject("prometheus, local, not flushed", || {
            let local = counter.local();
            move |count| (0..count).for_each(|_| black_box(&local).inc())
        });
    }

    pub(super) fn prometheus_name(measure: &mut impl Measure, names: impl Names) {
        let counters = prometheus_counters();
        measure.subject(PROMETHEUS, || {
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

    pub(super) fn prometheus_client_handle(measure: &mut impl Measure) {
        let aspect = PRESENCE.0;
        let counter = client_family().get_or_create_owned(&ClientLabels { aspect });
        measure.subject(PROMETHEUS_CLIENT, || {
            |count| {
                (0..count).for_each(|_| {
                    counter.inc();
                });
            }
        });
    }

    pub(super) fn prometheus_client_name(measure: &mut impl Measure, names: impl Names) {
        let family = client_family();
        measure.subject(PROMETHEUS_CLIENT, || {
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

    pub(super) fn measured_handle(measure: &mut impl Measure) {
        let aspect = PRESENCE.0;
        let counters = measured_counters();
        let id = counters.with_labels(MeasuredLabels { aspect });
        measure.subject(MEASURED, || {
            |count| (0..count).for_each(|_| counters.get_metric(id).inc())
        });
    }

    pub(super) fn measured_name(measure: &mut impl Measure, names: impl Names) {
        let counters = measured_counters();
        measure.subject(MEASURED, || {
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

    pub(super) fn fastmetrics_handle(measure: &mut impl Measure) {
        let aspect = PRESENCE.0;
        let counter = fast_family().with_or_new(&FastLabels { aspect }, Clone::clone);
        measure.subject(FASTMETRICS, || {
            |count| {
                (0..count).for_each(|_| {
                    counter.inc();
                });
            }
        });
    }

    pub(super) fn fastmetrics_name(measure: &mut impl Measure, names: impl Names) {
        let family = fast_family();
        measure.subject(FASTMETRICS, || {
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
    pub(super) fn opentelemetry_handle(measure: &mut impl Measure) {
        let (_provider, counter) = opentelemetry_counter();
        let bound = counter.bind(&[KeyValue::new("aspect", PRESENCE.0)]);
        measure.subject(OPENTELEMETRY, || {
            |count| (0..count).for_each(|_| bound.add(1))
        });
    }

    pub(super) fn opentelemetry_name(measure: &mut impl Measure, names: impl Names) {
        let (_provider, counter) = opentelemetry_counter();
        measure.subject(OPENTELEMETRY, || {
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
