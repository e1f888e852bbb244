//! What a count costs around real work: some eleven nanoseconds of it, with and without a count after
//! each, in turn.
//!
//! Work that waits for its own last result leaves the processor idle for most of the time, and a
//! count fits into that. Work that keeps all of it busy has no room for anything.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crossbeam_utils::CachePadded;
use parsec_telemetry::{Aspect, EnvelopeCounters};
use parsec_telemetry_peers::figures::Figures;
use parsec_telemetry_peers::subjects::EIGHT;
use parsec_telemetry_peers::{processor_time, stay_on_core};

const NANOS: f64 = 11.0;
const ROUNDS: usize = 31;

/// A sample's: some 15 milliseconds.
const PIECES: u64 = 1_500_000;

/// What is done over and over.
trait Work: Sync {
    /// Does a piece of it, so many steps long.
    fn run(&mut self, steps: u32);
}

pub(crate) fn measure(figures: &mut Figures) {
    of("multiplications in a chain", || Chain(1), figures);
    of("loads in a chain", Chase::new, figures);
    of(
        "multiplications side by side",
        || Lanes([1, 2, 3, 4, 5, 6, 7, 8]),
        figures,
    );
    of(
        "copying",
        || Copying(vec![1; 1 << 14], vec![0; 1 << 14]),
        figures,
    );
}

/// Each step needs the one before.
struct Chain(u64);

impl Work for Chain {
    #[inline]
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        }
    }
}

/// The same, of loads: a ring of indices in the first-level cache.
struct Chase {
    next: Vec<u32>,
    at: u32,
}

impl Chase {
    fn new() -> Self {
        // An odd stride visits every place.
        let next = (0..1_024).map(|at| (at + 389) % 1_024).collect();
        Self { next, at: 0 }
    }
}

impl Work for Chase {
    #[inline]
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.at = self.next[self.at as usize % 1_024];
        }
    }
}

/// Eight chains at once, which fill the multiplier.
struct Lanes([u64; 8]);

impl Work for Lanes {
    #[inline]
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.0 = self
                .0
                .map(|lane| lane.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
        }
    }
}

/// Sixteen bytes a step, from one buffer to another.
struct Copying(Vec<u8>, Vec<u8>);

impl Work for Copying {
    #[inline]
    fn run(&mut self, steps: u32) {
        let bytes = 16 * steps as usize % self.0.len();
        black_box(&mut self.1)[..bytes].copy_from_slice(&black_box(&self.0)[..bytes]);
    }
}

/// What follows each piece of work.
trait Count: Sync {
    fn count(&self);
}

struct Nothing;

impl Count for Nothing {
    #[inline]
    fn count(&self) {}
}

impl Count for Aspect {
    #[inline]
    fn count(&self) {
        self.observe();
    }
}

struct ByName(EnvelopeCounters);

impl Count for ByName {
    #[inline]
    fn count(&self) {
        self.0.observe(black_box("presence"));
    }
}

/// The usual way to keep a window: a tick that somebody else writes, a slot and a total that all
/// write.
struct SharedRing {
    tick: CachePadded<AtomicU64>,
    slots: [AtomicU64; 60],
    total: CachePadded<AtomicU64>,
}

impl Count for SharedRing {
    #[inline]
    fn count(&self) {
        let slot = self.tick.load(Relaxed) % 60;
        self.slots[usize::try_from(slot).unwrap_or_default()].fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
    }
}

fn of<W: Work>(name: &str, work: impl Fn() -> W + Sync, figures: &mut Figures) {
    let envelopes = EnvelopeCounters::new();
    for name in EIGHT {
        envelopes.observe(name);
    }
    let handle = envelopes.aspect("data");
    let by_name = ByName(envelopes);
    let shared = SharedRing {
        tick: CachePadded::new(AtomicU64::new(7)),
        slots: [const { AtomicU64::new(0) }; 60],
        total: CachePadded::new(AtomicU64::new(0)),
    };
    let steps = steps_of(&work);
    for threads in [1, 2] {
        let mut taken: [Vec<f64>; 4] = Default::default();
        let mut plain = Vec::new();
        for _ in 0..ROUNDS {
            // Before and after: what drifts meanwhile is in both.
            let before = nanos(&work, steps, &Nothing, threads);
            let counted = [
                nanos(&work, steps, &handle, threads),
                nanos(&work, steps, &by_name, threads),
                nanos(&work, steps, &shared, threads),
                nanos(&work, steps, &Nothing, threads),
            ];
            let after = nanos(&work, steps, &Nothing, threads);
            let alone = f64::midpoint(before, after);
            plain.push(alone);
            for (samples, nanos) in taken.iter_mut().zip(counted) {
                samples.push(100.0 * (nanos / alone - 1.0));
            }
        }
        figures.add("work alone", name, threads, plain);
        for (subject, samples) in ["by handle", "by name", "a shared ring", "nothing"]
            .into_iter()
            .zip(taken)
        {
            figures.add(&format!("work and {subject}"), name, threads, samples);
        }
    }
}

/// How many steps come nearest to the time that a piece of work is to take.
fn steps_of<W: Work>(work: &impl Fn() -> W) -> u32 {
    // The least of some: what comes in between only adds to it.
    let nanos = |steps| {
        let samples = (0..9).map(|_| {
            let mut work = work();
            let began = processor_time();
            (0..100_000).for_each(|_| work.run(black_box(steps)));
            black_box(&mut work);
            processor_time().saturating_sub(began).as_nanos() as f64 / 1e5
        });
        samples.fold(f64::INFINITY, f64::min)
    };
    (1..200).find(|steps| nanos(*steps) >= NANOS).unwrap_or(200)
}

/// Nanoseconds of the slowest thread's processor time for a piece of work and what follows it.
fn nanos<W: Work>(
    work: &(impl Fn() -> W + Sync),
    steps: u32,
    count: &impl Count,
    threads: usize,
) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    stay_on_core(thread);
                    let mut work = work();
                    work.run(steps);
                    count.count();
                    start.wait();
                    let began = processor_time();
                    for _ in 0..PIECES {
                        work.run(black_box(steps));
                        count.count();
                    }
                    black_box(&mut work);
                    processor_time().saturating_sub(began)
                })
            })
            .collect();
        let times_taken = running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        times_taken.max().unwrap_or_default().as_nanos() as f64 / PIECES as f64
    })
}
