//! Counts the cache lines that a recording thread takes from another thread.
//!
//! `cargo bench --bench cache_lines -- check` (what `.ci/cache-lines` runs) needs valgrind. It prints a line for each
//! operation and fails if a count differs from [`EXPECTED`]. See [`trace`] for the method.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parsec_telemetry::{EnvelopeCounters, ManualClock, TokenCounters};

mod trace;

use trace::{Trace, interleave};

/// Fewer threads than a counter allocates shards for in advance, on any machine.
const FEW: usize = 4;
/// More, on most machines.
const MANY: usize = 80;

/// An operation, the number of threads that repeat it in turn, and the lines that each repetition takes.
const EXPECTED: [(&str, usize, usize); 11] = [
    ("observe/handle", FEW, 0),
    ("observe/handle", MANY, 0),
    ("observe/name_4_bytes", FEW, 0),
    ("observe/name_8_bytes", MANY, 0),
    ("observe/name_30_bytes", FEW, 0),
    ("token/issued", FEW, 0),
    // The tick, once a second.
    ("observe/handle_in_new_tick", FEW, 1),
    // The slot and the total, which the reader has loaded.
    ("observe/handle_after_snapshot", FEW, 2),
    ("observe/handle_after_clone", FEW, 0),
    // Controls: without these counts the method would be wrong.
    ("control/shared_word", FEW, 1),
    ("control/words_on_one_line", FEW, 1),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let done = match arguments.as_slice() {
        // `cargo bench` runs every benchmark without arguments.
        [] => {
            println!("cache_lines: run .ci/cache-lines");
            Ok(())
        }
        [word] if word == "check" => check(),
        [operation, threads] => threads.parse().map_err(Into::into).and_then(|threads| run(operation, threads)),
        _ => Err("usage: cache_lines check".into()),
    };
    if let Err(error) = done {
        eprintln!("cache_lines: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn check() -> Result<(), Box<dyn Error>> {
    let program = env::current_exe()?;
    let traced = thread::scope(|scope| {
        let program = &program;
        let running = EXPECTED.map(|(operation, threads, _)| {
            scope.spawn(move || {
                let trace = Trace::of(program, &[operation, &threads.to_string()]);
                trace.map_err(|error| error.to_string())
            })
        });
        running.map(|thread| thread.join().expect("no panic"))
    });
    let mut failures = 0;
    for ((operation, threads, expected), trace) in EXPECTED.into_iter().zip(traced) {
        let taken = trace?.lines_taken();
        let wrong = taken.iter().find(|taken| **taken != expected);
        let verdict = wrong.map_or("ok".to_owned(), |_| format!("EXPECTED {expected}"));
        // `benches/peers` reads the first three words.
        println!(
            "{operation:30} {threads:3} threads take {} lines in each of {} repetitions: {verdict}",
            wrong.unwrap_or(&expected),
            taken.len(),
        );
        failures += usize::from(wrong.is_some());
    }
    if failures > 0 {
        return Err(format!("{failures} operations differ from EXPECTED").into());
    }
    Ok(())
}

fn run(operation: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    let data = envelopes.aspect("data");
    let handle = || || data.observe();
    let name = |name| {
        let envelopes = &envelopes;
        move || move || envelopes.observe(black_box(name))
    };
    let nothing = || ();
    match operation {
        "observe/handle" => interleave(threads, handle, nothing),
        "observe/name_4_bytes" => interleave(threads, name("data"), nothing),
        "observe/name_8_bytes" => interleave(threads, name("presence"), nothing),
        "observe/name_30_bytes" => {
            interleave(threads, name("a-longer-name-of-30-characters"), nothing);
        }
        "token/issued" => interleave(threads, || || tokens.issued(), nothing),
        "observe/handle_in_new_tick" => {
            interleave(threads, handle, || clock.advance(Duration::from_secs(1)));
        }
        "observe/handle_after_snapshot" => {
            interleave(threads, handle, || drop(envelopes.snapshot()));
        }
        "observe/handle_after_clone" => {
            interleave(threads, handle, || drop(black_box(data.clone())));
        }
        "control/shared_word" => {
            let word = AtomicU64::new(0);
            let add = || {
                word.fetch_add(1, Relaxed);
            };
            interleave(threads, || add, nothing);
        }
        "control/words_on_one_line" => {
            let words = CachePadded::new([const { AtomicU64::new(0) }; FEW]);
            let next = AtomicUsize::new(0);
            let own = || {
                let own = &words[next.fetch_add(1, Relaxed) % words.len()];
                || own.store(own.load(Relaxed) + 1, Relaxed)
            };
            interleave(threads, own, nothing);
        }
        _ => return Err(format!("unknown operation {operation:?}").into()),
    }
    Ok(())
}
