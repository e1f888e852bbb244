//! Does an operation so many times and nothing else, to be counted by callgrind: instructions do not
//! wobble, whatever else the machine is doing.
//!
//! `.ci/instructions` counts them all and holds them against `benches/instructions.txt`. By hand:
//! `valgrind --tool=callgrind <this binary> by-handle 1000000`.

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

use parsec_telemetry::{
    Aggregator, AlertRule, Aspect, CacheStats, EnvelopeCounters, Format, ManualClock, Severity, Source, TokenCounters,
};

mod slab;

const ASPECTS: [&str; 8] =
    ["data", "cursor", "presence", "typing", "ack", "reaction", "read", "a-longer-name-of-30-characters"];

/// A cache that is always the same. (A `CacheSource` would start a clock that has to be calibrated,
/// which takes now more and now less instructions.)
struct Cache;

impl Source for Cache {
    fn cache(&self) -> Option<CacheStats> {
        Some(CacheStats { hit_rate_pct: 91.7, size_entries: 9_000, ..Default::default() })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [operation, times] = arguments.as_slice() else {
        // `cargo bench` runs every bench without arguments.
        println!("instructions: counted by .ci/instructions");
        return ExitCode::SUCCESS;
    };
    let Ok(times) = times.parse() else {
        eprintln!("{times:?} is not a number of times, such as 1000");
        return ExitCode::from(2);
    };
    if run(operation, times) {
        ExitCode::SUCCESS
    } else {
        eprintln!("no operation is called {operation:?}: see benches/instructions.txt");
        ExitCode::from(2)
    }
}

fn run(operation: &str, times: u32) -> bool {
    let clock = ManualClock::new().clock();
    let envelopes = EnvelopeCounters::builder().clock(clock.clone()).build();
    let tokens = TokenCounters::builder().clock(clock.clone()).build();
    for aspect in ASPECTS {
        envelopes.observe(aspect);
    }
    tokens.issued();
    let rules = vec![
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 95.0)
            .description("Cache hit rate below 95 %"),
        AlertRule::new("idle", Severity::Info, |s| s.envelopes.rate_per_second <= 0.0),
    ];
    let aggregator = Aggregator::new()
        .clock(clock.clone())
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(Cache)
        .with_alerts(rules)
        .expect("good rules");
    let snapshot = aggregator.snapshot();
    let mut page = Format::Prometheus.render(&snapshot, aggregator.rules());

    let data = envelopes.aspect("data");
    let by_name = |name: &str| (0..times).for_each(|_| envelopes.observe(black_box(name)));
    match operation {
        "by-handle" => (0..times).for_each(|_| data.observe()),
        "by-handle-beyond-the-slab" => beyond_the_slab(&data, times),
        "by-name-of-4" => by_name("data"),
        "by-name-of-8" => by_name("presence"),
        "by-name-of-30" => by_name("a-longer-name-of-30-characters"),
        "token-issued" => (0..times).for_each(|_| tokens.issued()),
        "snapshot" => (0..times).for_each(|_| drop(black_box(aggregator.snapshot()))),
        "render-json" | "render-prometheus" => {
            let format = if operation == "render-json" { Format::Json } else { Format::Prometheus };
            for _ in 0..times {
                page.clear();
                format.render_into(&mut page, black_box(&snapshot), aggregator.rules());
            }
        }
        _ => return false,
    }
    true
}

/// Counts by a thread that came when every shard in the slab had its own.
fn beyond_the_slab(data: &Aspect, times: u32) {
    let late = || (0..times).for_each(|_| data.observe());
    slab::while_full(|| data.observe(), || thread::scope(|scope| scope.spawn(late).join().expect("no panic")));
}
