//! The cache lines that a count takes from another thread, ours and the peers', and what it costs to
//! take one here.

use std::env;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{CoarseClock, EnvelopeCounters, ManualClock};
use parsec_telemetry_peers::figures::Figures;
use parsec_telemetry_peers::subjects::{self, Measure, OURS, PRESENCE};
use parsec_telemetry_peers::{processor_time, stay_on_core};

use crate::Result;

#[path = "../../../../transfers/coherence.rs"]
mod coherence;

use coherence::{LINE, Lines, PAIR, Trace};

pub(crate) const PROBE: &str = "probe";

const HANDLE: &str = "by handle";
const NAME: &str = "by name";
const NEW_TICK: &str = "by handle, in a new tick";
const SNAPSHOT: &str = "by handle, after a snapshot";

/// Enough to see who takes from whom, and for ours so many that most have no shard in the slab.
const FEW: usize = 4;
const MANY: usize = 64;

pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    for question in [HANDLE, NAME] {
        let mut names = Subjects::default();
        ask(question, &mut names);
        for subject in names.0 {
            count(question, &subject, FEW, figures)?;
        }
        count(question, OURS, MANY, figures)?;
    }
    count(NEW_TICK, OURS, FEW, figures)?;
    count(SNAPSHOT, OURS, FEW, figures)?;
    ping_pong(figures);
    in_and_out_of_the_slab(figures);
    Ok(())
}

fn count(question: &str, subject: &str, threads: usize, figures: &mut Figures) -> Result<()> {
    let arguments = [PROBE, question, subject, &threads.to_string()];
    let trace = Trace::of(&env::current_exe()?, &arguments)?;
    let of_lines = trace.played_back(LINE);
    let mut add = |what: &str, lines: &[Lines], value: fn(&Lines) -> usize| {
        let samples = lines.iter().map(|lines| value(lines) as f64).collect();
        figures.add(
            &format!("{question}: lines {what}"),
            subject,
            threads,
            samples,
        );
    };
    add("taken", &of_lines, |lines| lines.taken);
    add("touched", &of_lines, |lines| lines.touched);
    add("of its own", &of_lines, |lines| lines.own);
    add("taken in pairs", &trace.played_back(PAIR), |lines| {
        lines.taken
    });
    Ok(())
}

fn ask(question: &str, measure: &mut impl Measure) {
    if question == NAME {
        subjects::by_name(measure, PRESENCE);
    } else {
        subjects::by_handle(measure);
    }
}

/// The names of those who are asked.
#[derive(Default)]
struct Subjects(Vec<String>);

impl Measure for Subjects {
    fn subject<O: FnMut(u64)>(&mut self, name: &str, _: impl Fn() -> O + Sync) {
        self.0.push(name.to_owned());
    }
}

/// One of them, counting for the trace.
struct Probe<'a> {
    subject: &'a str,
    threads: usize,
    clock: CoarseClock,
}

impl Measure for Probe<'_> {
    fn subject<O: FnMut(u64)>(&mut self, name: &str, operation: impl Fn() -> O + Sync) {
        if name == self.subject {
            let once = || {
                let mut operation = operation();
                move || operation(1)
            };
            coherence::probe(self.threads, once, || ());
        }
    }

    /// One that stands still: no thread of its own comes in between.
    fn clock(&self) -> CoarseClock {
        self.clock.clone()
    }
}

pub(crate) fn probe(question: &str, subject: &str, threads: &str) -> Result<()> {
    let (clock, threads) = (ManualClock::new(), threads.parse()?);
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let data = envelopes.aspect("data");
    let handle = || || data.observe();
    match question {
        NEW_TICK => coherence::probe(threads, handle, || clock.advance(Duration::from_secs(1))),
        SNAPSHOT => coherence::probe(threads, handle, || drop(envelopes.snapshot())),
        _ => {
            subjects::install_recorder();
            let clock = clock.clock();
            ask(
                question,
                &mut Probe {
                    subject,
                    threads,
                    clock,
                },
            );
        }
    }
    Ok(())
}

/// Two threads that wait for each other's store to one word, each on a core of its own: a line goes
/// over for each of them in turn.
fn ping_pong(figures: &mut Figures) {
    const TURNS: u64 = 200_000;
    let samples = (0..21).map(|_| {
        let (word, start) = (AtomicU64::new(0), Barrier::new(2));
        let side = |core: usize| {
            stay_on_core(core);
            start.wait();
            let began = Instant::now();
            for turn in (core as u64..2 * TURNS).step_by(2) {
                while word.load(SeqCst) != turn {
                    std::hint::spin_loop();
                }
                word.store(turn + 1, SeqCst);
            }
            began.elapsed().as_nanos() as f64 / (2 * TURNS) as f64
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| side(1));
            let this = scope.spawn(|| side(0));
            let _ = other.join();
            this.join().expect("no panic")
        })
    });
    let samples = samples.collect();
    figures.add("a line goes over", "between two cores", 2, samples);
}

/// What a count by handle costs by where the thread's shard stands: among the first, or beyond them,
/// when many other threads have counted and are still there.
fn in_and_out_of_the_slab(figures: &mut Figures) {
    const COUNTS: u32 = 10_000_000;
    const OTHERS: usize = 1_000;
    let envelopes = EnvelopeCounters::new();
    let data = envelopes.aspect("data");
    let nanos = || {
        data.observe();
        let began = processor_time();
        (0..COUNTS).for_each(|_| data.observe());
        processor_time().saturating_sub(began).as_nanos() as f64 / f64::from(COUNTS)
    };
    let timed = || -> Vec<f64> { (0..15).map(|_| nanos()).collect() };
    figures.add("a count", "in the slab", 1, timed());
    let (counted, done) = (Barrier::new(OTHERS + 1), Barrier::new(OTHERS + 1));
    thread::scope(|scope| {
        for _ in 0..OTHERS {
            scope.spawn(|| {
                data.observe();
                counted.wait();
                done.wait();
            });
        }
        counted.wait();
        let samples = scope.spawn(timed).join().expect("no panic");
        figures.add("a count", "outside of the slab", 1, samples);
        done.wait();
    });
}
