//! The time of snapshots and pages, and what they cost the threads that record meanwhile.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{Aggregator, CacheCounters, CacheSource, Format, ManualClock, Monitor, TokenCounters};
use rustix::time::{ClockId, clock_gettime};

use crate::recording::fill;
use crate::report::threads_label;
use crate::samples::Samples;
use crate::support::{pin_to_core, processor_time, recorded};
use crate::{Effort, Result, page, subjects};

/// Pairs of a turn with a reader and one without.
const PAIRS: usize = 31;

const READS_PER_SECOND: u32 = 1_000;

/// Events between two looks at the time.
const BATCH: u32 = 100_000;

/// The speed of a recording thread while another core renders both pages 1,000 times a second, in percent of its speed
/// without, by handle and by name. A monitor runs. Processor time shows what the reader does to the recording thread's
/// caches.
pub(crate) fn speed_while_read(effort: &Effort) -> [Samples; 2] {
    eprintln!("reading: the speed while pages are read");
    let (envelopes, tokens) = (subjects::counters(), TokenCounters::new());
    tokens.issued();
    let aggregator = Aggregator::new().source(envelopes.clone()).source(tokens);
    let _monitor = Monitor::start(&aggregator);
    let data = envelopes.aspect(subjects::NAME_8);
    let by_handle = || (0..BATCH).for_each(|_| data.observe());
    let by_name = || (0..BATCH).for_each(|_| envelopes.observe(black_box(subjects::NAME_8)));
    [shares(effort.turn, &aggregator, &by_handle), shares(effort.turn, &aggregator, &by_name)]
}

/// The processor time that a monitor of three sources takes, in percent of one core: the difference between two spans
/// of this process, with and without it.
pub(crate) fn monitor_share(effort: &Effort) -> Samples {
    eprintln!("reading: the time that a monitor takes");
    let (envelopes, tokens) = (subjects::counters(), TokenCounters::new());
    envelopes.observe(subjects::NAME_8);
    tokens.issued();
    let cache = CacheSource::new(|| CacheCounters { hits: 9, misses: 1, ..CacheCounters::default() });
    let aggregator = Aggregator::new().source(envelopes).source(tokens).source(cache);
    let share = || {
        let before = process_time();
        thread::sleep(effort.monitored);
        100.0 * (process_time() - before) / effort.monitored.as_secs_f64()
    };
    let shares = (0..3).map(|_| {
        let without = share();
        let _monitor = Monitor::start(&aggregator);
        // The first sample allocates the series.
        thread::sleep(Duration::from_secs(1));
        share() - without
    });
    Samples(shares.collect())
}

/// The processor time of all threads, in seconds.
fn process_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn shares(turn: Duration, aggregator: &Aggregator, record: &(impl Fn() + Sync)) -> Samples {
    // Before a thread is pinned, after which it would see one core.
    let last_core = thread::available_parallelism().map_or(1, usize::from) - 1;
    let alone = || speed(record, turn);
    let beside_reader = || {
        thread::scope(|scope| {
            let (stop, stopped) = channel();
            scope.spawn(move || {
                pin_to_core(last_core);
                read(aggregator, &stopped);
            });
            let speed = speed(record, turn);
            drop(stop);
            speed
        })
    };
    let pairs = move || {
        pin_to_core(0);
        let shares = (0..PAIRS).map(|pair| {
            // Each of the two is first equally often.
            let (read, unread) = if pair % 2 == 0 {
                let read = beside_reader();
                (read, alone())
            } else {
                let unread = alone();
                (beside_reader(), unread)
            };
            100.0 * read / unread
        });
        Samples(shares.collect())
    };
    thread::scope(|scope| scope.spawn(pairs).join().expect("no panic"))
}

/// Events per nanosecond of this thread's processor time.
fn speed(record: impl Fn(), turn: Duration) -> f64 {
    let (before, start) = (processor_time(), Instant::now());
    let mut batches = 0;
    while start.elapsed() < turn {
        record();
        batches += 1;
    }
    let time = processor_time().saturating_sub(before);
    f64::from(batches * BATCH) / time.as_nanos() as f64
}

fn read(aggregator: &Aggregator, stopped: &Receiver<()>) {
    let period = Duration::from_secs(1) / READS_PER_SECOND;
    let mut next = Instant::now() + period;
    while stopped.recv_timeout(next.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
        for format in [Format::Json, Format::Prometheus] {
            black_box(aggregator.render(format));
        }
        next += period;
    }
}

/// The time of one operation, in microseconds.
pub(crate) struct Time {
    pub(crate) operation: String,
    pub(crate) micros: Samples,
}

/// Snapshots of a counter with 64 aspects, by the number of threads that have recorded.
pub(crate) fn snapshots(effort: &Effort) -> Vec<Time> {
    [1, 64, 1_024]
        .map(|threads| {
            eprintln!("reading: a snapshot of {threads} threads");
            let envelopes = recorded(ManualClock::new().clock(), threads, 64);
            let micros = time(effort, || drop(black_box(envelopes.snapshot())));
            let operation = format!("snapshot, {}, 64 aspects", threads_label(threads));
            Time { operation, micros }
        })
        .into()
}

/// Both pages of a small broker, rendered into a buffer that is used again. The text page has about 4 KB.
pub(crate) fn pages(effort: &Effort) -> Result<Vec<Time>> {
    let aggregator = page::aggregator()?;
    let snapshot = aggregator.snapshot();
    let formats = [("JSON", Format::Json), ("text", Format::Prometheus)];
    let pages = formats.map(|(name, format)| {
        eprintln!("reading: the {name} page");
        let mut page = format.render(&snapshot);
        let operation = format!("{name} page, {} bytes", page.len());
        let micros = time(effort, || {
            page.clear();
            format.render_into(&mut page, black_box(&snapshot));
        });
        Time { operation, micros }
    });
    Ok(pages.into())
}

fn time(effort: &Effort, mut operation: impl FnMut()) -> Samples {
    let mut time = |times| {
        let before = processor_time();
        (0..times).for_each(|_| operation());
        processor_time().saturating_sub(before)
    };
    let times = fill(effort.sample, &mut time);
    let samples = (0..effort.rounds).map(|_| time(times).as_secs_f64() * 1e6 / times as f64);
    Samples(samples.collect())
}
