//! Counts the cache lines that counting threads take from each other: none.
//!
//! `cargo bench --bench transfers -- check`, which is what `.ci/transfers` does, fails where it is
//! otherwise. It needs valgrind. See [`coherence`] for how it is counted.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parsec_telemetry::{EnvelopeCounters, ManualClock, TokenCounters};

mod coherence;

use coherence::{PAIR, Trace, probe};

/// Few enough for the slab on any machine, and more than it has shards on most.
const FEW: usize = 4;
const MANY: usize = 80;

/// An operation, how many threads make it in turn, and how many lines each may take.
const EXPECTED: [(&str, usize, usize); 11] = [
    ("by-handle", FEW, 0),
    ("by-handle", MANY, 0),
    ("by-name-of-4", FEW, 0),
    ("by-name-of-8", MANY, 0),
    ("by-name-of-30", FEW, 0),
    ("token-issued", FEW, 0),
    // The tick's, once a tick.
    ("by-handle-in-a-new-tick", FEW, 1),
    // The slot's and the total's, which the reader has got.
    ("by-handle-after-a-snapshot", FEW, 2),
    // Somebody else has cloned the handle.
    ("by-handle-after-a-clone", FEW, 0),
    // What the measure has to notice.
    ("shared-word", FEW, 1),
    ("words-on-one-line", FEW, 1),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let done = match arguments.as_slice() {
        // `cargo bench` runs every bench without arguments.
        [] => {
            println!("transfers: counted by .ci/transfers");
            Ok(())
        }
        [word] if word == "check" => check(),
        [operation, threads] => threads.parse().map_err(Into::into).and_then(|threads| run(operation, threads)),
        _ => Err("check, or an operation and a number of threads".into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("transfers: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn check() -> Result<(), Box<dyn Error>> {
    let program = env::current_exe()?;
    let trace = |operation, threads: usize| {
        Trace::of(&program, &[operation, &threads.to_string()]).map_err(|error| error.to_string())
    };
    let traces: Vec<_> = thread::scope(|scope| {
        let trace = &trace;
        let started = EXPECTED.map(|(operation, threads, _)| scope.spawn(move || trace(operation, threads)));
        started.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    let mut otherwise = 0;
    for ((operation, threads, expected), trace) in EXPECTED.into_iter().zip(traces) {
        // By pairs of lines, as some processors fetch them: it shows what is too near as well.
        let played = trace?.played_back(PAIR);
        let odd = played.iter().find(|lines| lines.taken != expected);
        println!(
            "{operation:26} {threads:2} threads, {:4} operations: {expected} lines of another thread in each{}",
            played.len(),
            odd.map_or(String::new(), |odd| format!(": NOT SO: {odd:?}")),
        );
        otherwise += usize::from(odd.is_some());
    }
    match otherwise {
        0 => Ok(()),
        _ => Err(format!("{otherwise} are not as expected").into()),
    }
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
        "by-handle" => probe(threads, handle, nothing),
        "by-name-of-4" => probe(threads, name("data"), nothing),
        "by-name-of-8" => probe(threads, name("presence"), nothing),
        "by-name-of-30" => probe(threads, name("a-longer-name-of-30-characters"), nothing),
        "token-issued" => probe(threads, || || tokens.issued(), nothing),
        "by-handle-in-a-new-tick" => {
            probe(threads, handle, || clock.advance(Duration::from_secs(1)));
        }
        "by-handle-after-a-snapshot" => probe(threads, handle, || drop(envelopes.snapshot())),
        "by-handle-after-a-clone" => probe(threads, handle, || drop(black_box(data.clone()))),
        "shared-word" => {
            let word = AtomicU64::new(0);
            let count = || {
                word.fetch_add(1, Relaxed);
            };
            probe(threads, || count, nothing);
        }
        "words-on-one-line" => {
            let words = CachePadded::new([const { AtomicU64::new(0) }; 4]);
            let next = AtomicUsize::new(0);
            let own = || {
                let own = &words[next.fetch_add(1, Relaxed) % words.len()];
                || own.store(own.load(Relaxed) + 1, Relaxed)
            };
            probe(threads, own, nothing);
        }
        _ => return Err(format!("no operation is called {operation:?}").into()),
    }
    Ok(())
}
