//! The time to record one event, beside the peers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::samples::Samples;
use crate::subjects::{self, BASELINE, Measure, NAME_30, NAME_64, OURS};
use crate::{Effort, support};

pub(crate) const THREADS: [usize; 3] = [1, 2, 8];

pub(crate) const HANDLE: &str = "handle";
pub(crate) const NAME_8_BYTES: &str = "name of 8 bytes";
pub(crate) const NAME_30_BYTES: &str = "name of 30 bytes";
pub(crate) const NAME_64_BYTES: &str = "name of 64 bytes";

/// A benchmark, a subject and a number of threads.
type Key = (&'static str, &'static str, usize);

/// Nanoseconds of the slowest thread's processor time for one event.
#[derive(Default)]
pub(crate) struct Times {
    samples: BTreeMap<Key, Samples>,
    subjects: BTreeMap<&'static str, Vec<&'static str>>,
}

/// Measures all subjects in turn, in as many rounds as there are samples.
pub(crate) fn measure(effort: &Effort) -> Times {
    let mut timer = Timer {
        sample: effort.sample,
        benchmark: HANDLE,
        threads: 1,
        repetitions: BTreeMap::new(),
        times: Times::default(),
    };
    subjects::install_recorder();
    for round in 1..=effort.rounds {
        eprintln!("recording: round {round} of {}", effort.rounds);
        for threads in THREADS {
            timer.start(HANDLE, threads);
            subjects::by_handle(&mut timer);
            timer.start(NAME_8_BYTES, threads);
            subjects::by_name(&mut timer);
        }
        for (benchmark, name) in [(NAME_30_BYTES, NAME_30), (NAME_64_BYTES, NAME_64)] {
            timer.start(benchmark, 1);
            subjects::ours_by_name(&mut timer, name);
        }
    }
    timer.times
}

impl Times {
    pub(crate) fn of(&self, benchmark: &'static str, subject: &'static str, threads: usize) -> &Samples {
        self.samples.get(&(benchmark, subject, threads)).expect("every subject is measured on each number of threads")
    }

    /// Ours, as a multiple of BASELINE.
    pub(crate) fn to_baseline(&self, benchmark: &'static str) -> f64 {
        self.of(benchmark, OURS, 1).ratio_to(self.of(benchmark, BASELINE, 1))
    }

    /// Ours on each of several threads, as a multiple of one thread alone.
    pub(crate) fn to_one_thread(&self, benchmark: &'static str, threads: usize) -> f64 {
        self.of(benchmark, OURS, threads).ratio_to(self.of(benchmark, OURS, 1))
    }

    /// BASELINE and ours first, then the peers, fastest on two threads first.
    pub(crate) fn subjects(&self, benchmark: &'static str) -> Vec<&'static str> {
        let mut subjects = self.subjects[benchmark].clone();
        subjects[2..].sort_by(|one, other| {
            let time = |subject| self.of(benchmark, subject, 2).median();
            time(*one).total_cmp(&time(*other))
        });
        subjects
    }
}

struct Timer {
    sample: Duration,
    benchmark: &'static str,
    threads: usize,
    /// How many repetitions fill a sample.
    repetitions: BTreeMap<Key, u64>,
    times: Times,
}

impl Timer {
    fn start(&mut self, benchmark: &'static str, threads: usize) {
        (self.benchmark, self.threads) = (benchmark, threads);
    }
}

impl Measure for Timer {
    fn subject<O: FnMut(u64)>(&mut self, name: &'static str, operation: impl Fn() -> O + Sync) {
        let key = (self.benchmark, name, self.threads);
        let time = |times| support::slowest_thread(self.threads, times, &operation);
        let times = *self.repetitions.entry(key).or_insert_with(|| fill(self.sample, time));
        let nanos = time(times).as_nanos() as f64 / times as f64;
        self.times.samples.entry(key).or_default().0.push(nanos);
        let subjects = self.times.subjects.entry(self.benchmark).or_default();
        if !subjects.contains(&name) {
            subjects.push(name);
        }
    }
}

/// Returns how many repetitions take as long as a sample. Doubles them until they take a tenth of it.
pub(crate) fn fill(sample: Duration, mut time: impl FnMut(u64) -> Duration) -> u64 {
    let mut times = 1;
    loop {
        let took = time(times);
        if took >= sample / 10 {
            let scaled = u128::from(times) * sample.as_nanos() / took.as_nanos().max(1);
            return u64::try_from(scaled).map_or(u64::MAX, |times| times.max(1));
        }
        times *= 2;
    }
}
