//! The original's way of counting, as it is documented, beside ours: in Go, where there is one, and
//! the same in Rust.
//!
//! All of it by wall time, since waiting for a lock is what costs: so a busy machine shows in it.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parsec_telemetry::EnvelopeCounters;
use parsec_telemetry_peers::figures::Figures;
use parsec_telemetry_peers::stay_on_core;
use parsec_telemetry_peers::subjects::EIGHT;

use crate::Result;

const ROUNDS: usize = 15;

/// Counts of ours for one of the original's, so that samples last alike.
const OURS_MORE: u64 = 16;
const COUNTS: u64 = 2_000_000;

pub(crate) fn measure(figures: &mut Figures, program: &Path) -> Result<()> {
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(program)
        .arg("original.go")
        .current_dir("go")
        .status();
    let has_go = match built {
        Ok(status) if status.success() => true,
        Ok(status) => return Err(format!("go build ended with {status}").into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("no go here: the original's way is measured in Rust only");
            false
        }
        Err(error) => return Err(error.into()),
    };

    let envelopes = EnvelopeCounters::new();
    let original = Original::default();
    let now = SystemTime::now();
    for name in EIGHT {
        envelopes.observe(name);
        original.observe(now, name);
    }
    let data = envelopes.aspect("data");
    for threads in [1, 2] {
        let mut samples: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            let [handle, name, rust, go] = &mut samples;
            handle.push(nanos(threads, COUNTS * OURS_MORE, |counts| {
                (0..counts).for_each(|_| data.observe());
            }));
            name.push(nanos(threads, COUNTS * OURS_MORE, |counts| {
                (0..counts).for_each(|_| envelopes.observe(black_box("presence")));
            }));
            rust.push(nanos(threads, COUNTS, |counts| {
                (0..counts).for_each(|_| original.observe(black_box(now), black_box("presence")));
            }));
            if has_go {
                let ran = Command::new(program)
                    .args([threads.to_string(), COUNTS.to_string()])
                    .output()?;
                go.push(String::from_utf8(ran.stdout)?.trim().parse()?);
            }
        }
        for (subject, samples) in [BY_HANDLE, BY_NAME, IN_RUST, IN_GO]
            .into_iter()
            .zip(samples)
        {
            figures.add("original", subject, threads, samples);
        }
    }
    Ok(())
}

const BY_HANDLE: &str = "by handle";
const BY_NAME: &str = "by name";
const IN_RUST: &str = "the original's way, in Rust";
const IN_GO: &str = "the original's way, in Go";

/// A lock around a ring of sixty cells, and a lock around a map of totals.
#[derive(Default)]
struct Original {
    rate: Mutex<Window>,
    by_aspect: Mutex<HashMap<String, u64>>,
}

struct Window {
    seconds: [u64; 60],
    counts: [u64; 60],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            seconds: [0; 60],
            counts: [0; 60],
        }
    }
}

impl Original {
    fn observe(&self, at: SystemTime, aspect: &str) {
        let second = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let cell = (second % 60) as usize;
        {
            let mut rate = self.rate.lock().expect("no panic under the lock");
            if rate.seconds[cell] != second {
                rate.seconds[cell] = second;
                rate.counts[cell] = 0;
            }
            rate.counts[cell] += 1;
        }
        let mut by_aspect = self.by_aspect.lock().expect("no panic under the lock");
        match by_aspect.get_mut(aspect) {
            Some(total) => *total += 1,
            None => drop(by_aspect.insert(aspect.to_owned(), 1)),
        }
    }
}

/// Nanoseconds of the slowest thread's wall time for a count.
fn nanos(threads: usize, counts: u64, count: impl Fn(u64) + Sync) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, count) = (&start, &count);
                scope.spawn(move || {
                    stay_on_core(thread);
                    count(1);
                    start.wait();
                    let began = Instant::now();
                    count(counts);
                    began.elapsed()
                })
            })
            .collect();
        let times = running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        times.max().unwrap_or_default().as_nanos() as f64 / counts as f64
    })
}
