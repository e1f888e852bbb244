//! What reading costs the writers: a thread that counts, while another takes snapshots and renders
//! pages of them, and while it does not, in turn.
//!
//! The writer has the first core to itself, the reader the last, and the time is the writer's
//! processor time: so what is seen is what the reader does to the writer's caches.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{Aggregator, EnvelopeCounters, Format, TokenCounters};
use parsec_telemetry_peers::figures::Figures;
use parsec_telemetry_peers::subjects::EIGHT;
use parsec_telemetry_peers::{processor_time, stay_on_core};

/// Reads a second, how many pairs of a read and an unread turn, and how long a turn is.
const RATES: [(usize, u32, Duration); 4] = [
    (1, 11, Duration::from_secs(1)),
    (100, 31, Duration::from_millis(200)),
    (1_000, 31, Duration::from_millis(200)),
    (AS_FAST_AS_IT_CAN, 31, Duration::from_millis(200)),
];

/// Shown beside the others: that what is measured can be seen.
pub(crate) const AS_FAST_AS_IT_CAN: usize = 0;

/// Counts between two looks at the time.
const BATCH: u32 = 100_000;

pub(crate) fn measure(figures: &mut Figures) {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    for name in EIGHT {
        envelopes.observe(name);
    }
    tokens.issued();
    let aggregator = Aggregator::new().source(envelopes.clone()).source(tokens);
    let data = envelopes.aspect("data");

    stay_on_core(0);
    for (rate, pairs, turn) in RATES {
        let mut by_handle = || (0..BATCH).for_each(|_| data.observe());
        let mut by_name = || (0..BATCH).for_each(|_| envelopes.observe(black_box("presence")));
        let ways: [(&str, &mut dyn FnMut()); 2] =
            [("by handle", &mut by_handle), ("by name", &mut by_name)];
        for (way, count) in ways {
            let shares = (0..pairs).map(|pair| {
                let read = |count: &mut dyn FnMut()| {
                    beside_reader(&aggregator, rate, || speed(count, turn))
                };
                // Each is first as often as last.
                let (read, unread) = if pair % 2 == 0 {
                    (read(count), speed(count, turn))
                } else {
                    let unread = speed(count, turn);
                    (read(count), unread)
                };
                100.0 * read / unread
            });
            let shares = shares.collect();
            figures.add("speed while read", way, rate, shares);
        }
    }
}

/// Counts for a while: how many for each nanosecond of this thread's processor time.
fn speed(count: &mut dyn FnMut(), turn: Duration) -> f64 {
    let (began, began_at) = (processor_time(), Instant::now());
    let mut batches = 0;
    while began_at.elapsed() < turn {
        count();
        batches += 1;
    }
    let took = processor_time().saturating_sub(began);
    f64::from(batches * BATCH) / took.as_nanos() as f64
}

fn beside_reader(aggregator: &Aggregator, rate: usize, work: impl FnOnce() -> f64) -> f64 {
    thread::scope(|scope| {
        let (stop, stopped) = channel::<()>();
        let reader = scope.spawn(move || read(aggregator, rate, &stopped));
        let speed = work();
        drop(stop);
        reader.join().expect("no panic");
        speed
    })
}

/// Takes snapshots and renders both pages of each, as many a second as asked for, until the other
/// end hangs up.
fn read(aggregator: &Aggregator, rate: usize, stopped: &Receiver<()>) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    stay_on_core(cores - 1);
    let apart = match rate {
        AS_FAST_AS_IT_CAN => Duration::ZERO,
        rate => Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX),
    };
    let mut page = Vec::new();
    let mut next = Instant::now() + apart / 2;
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        if stopped
            .recv_timeout(wait)
            .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected)
        {
            return;
        }
        let snapshot = aggregator.snapshot();
        for format in [Format::Json, Format::Prometheus] {
            page.clear();
            format.render_into(&mut page, &snapshot, aggregator.rules());
            black_box(&page);
        }
        next += apart;
    }
}
