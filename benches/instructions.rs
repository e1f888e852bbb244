//! Repeats one operation, for callgrind to count its instructions.
//!
//! `.ci/instructions` runs each operation of `benches/instructions.txt` and compares the count with its budget. To see
//! where the instructions go, run `valgrind --tool=callgrind BINARY observe/handle 1000000` and `callgrind_annotate`.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, EnvelopeCounters, Format, ManualClock, Monitor, Severity, Source, TokenCounters,
};

mod support;

const ASPECTS: [&str; 8] =
    ["data", "cursor", "presence", "typing", "ack", "reaction", "read", "a-longer-name-of-30-characters"];

/// Constant figures. A `CacheSource` would start a clock, whose calibration takes a varying number of instructions.
struct Cache;

impl Source for Cache {
    fn cache(&self) -> Option<CacheStats> {
        Some(CacheStats { hit_rate_pct: 91.7, size_entries: 9_000, ..Default::default() })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let done = match arguments.as_slice() {
        // `cargo bench` runs every benchmark without arguments.
        [] => {
            println!("instructions: run .ci/instructions");
            Ok(())
        }
        [operation, times] => times
            .parse()
            .map_err(|_| format!("{times:?} is not a number: give a number of times"))
            .and_then(|times| run(operation, times)),
        _ => Err("usage: instructions OPERATION TIMES".to_owned()),
    };
    if let Err(error) = done {
        eprintln!("instructions: {error}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn run(operation: &str, times: u32) -> Result<(), String> {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
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
        .clock(clock.clock())
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(Cache)
        .with_alerts(rules)
        .expect("the rules are valid");
    let snapshot = aggregator.snapshot();
    let mut buffer = Format::Prometheus.render(&snapshot);
    let mut page = |format: Format| {
        for _ in 0..times {
            buffer.clear();
            format.render_into(&mut buffer, black_box(&snapshot));
        }
    };

    let data = envelopes.aspect("data");
    let handle = || (0..times).for_each(|_| data.observe());
    let name = |name: &str| (0..times).for_each(|_| envelopes.observe(black_box(name)));
    match operation {
        "observe/handle" => handle(),
        "observe/handle_late_thread" => support::without_free_shards(
            || data.observe(),
            || thread::scope(|scope| scope.spawn(handle).join().expect("no panic")),
        ),
        "observe/name_4_bytes" => name("data"),
        "observe/name_8_bytes" => name("presence"),
        "observe/name_30_bytes" => name("a-longer-name-of-30-characters"),
        "token/issued" => (0..times).for_each(|_| tokens.issued()),
        "snapshot" => (0..times).for_each(|_| drop(black_box(aggregator.snapshot()))),
        "monitor" => {
            let monitor = Monitor::start(&aggregator);
            for _ in 0..times {
                clock.advance(Duration::from_secs(1));
                monitor.tick();
            }
        }
        "page/json" => page(Format::Json),
        "page/text" => page(Format::Prometheus),
        _ => {
            return Err(format!("unknown operation {operation:?}: see benches/instructions.txt"));
        }
    }
    Ok(())
}
