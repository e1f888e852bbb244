//! Recording for a long time, on many threads, with measured memory.
//!
//! Properties:
//!
//! 1. The totals hold every one of a thousand million events while both pages are read all the time, and no page
//!    shows less than an earlier one.
//! 2. Threads that start and end leave only their events: there are never more shards than threads that recorded at
//!    the same time.
//! 3. A million names leave at most 64 aspects and `__overflow__`.
//! 4. An event from the destructor of a thread-local is counted.
//! 5. A dropped counter releases its memory, although the threads that recorded with it live on.
//!
//! Each test prints a line about what it did:
//!
//! ```text
//! cargo test --release --test stress -- --ignored --nocapture
//! ```

mod common;

use std::alloc::System;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::threads::{OnDrop, SlabOccupants, at_thread_exit, register_exit_destructor, run_threads, slab_len};
use common::{counts, render};
use parsec_telemetry::{Aggregator, CoarseClock, EnvelopeCounters, Format, ManualClock, Snapshot, TokenCounters};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that all threads have allocated and not released.
fn live_bytes() -> i64 {
    let stats = ALLOCATOR.stats();
    let bytes = |count: usize| i64::try_from(count).expect("far fewer than 2^63");
    bytes(stats.bytes_allocated) - bytes(stats.bytes_deallocated)
}

/// What the test runner may allocate meanwhile, most of it once, when the first test has ended.
const SLACK: i64 = 16 * 1024;

/// A shard of envelopes or of tokens, as the design page has it.
const SHARD: i64 = 1152;

/// How long a test waits for its threads, which do more than those of other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A test that runs alone: the memory of others would show in its own, and their threads would hold thread ids.
struct Alone {
    started: Instant,
    bytes: i64,
    _lock: MutexGuard<'static, ()>,
}

fn alone() -> Alone {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    Alone { started: Instant::now(), bytes: live_bytes(), _lock: lock }
}

impl Alone {
    fn growth(&self) -> i64 {
        live_bytes() - self.bytes
    }

    fn report(&self, what: &str, events: u64, threads: usize) {
        let (seconds, growth) = (self.started.elapsed().as_secs_f64(), self.growth());
        println!("{what}: {events} events, {threads} threads, {seconds:.1} s, {growth:+} bytes at the end");
    }
}

type Counters = (EnvelopeCounters, TokenCounters);

fn counters(clock: &CoarseClock) -> Counters {
    (EnvelopeCounters::builder().clock(clock.clone()).build(), TokenCounters::builder().clock(clock.clone()).build())
}

/// Runs threads that record while another reads both pages. Returns how often it has read them.
fn while_both_pages_are_read(threads: usize, aggregator: &Aggregator, record: impl Fn(usize) + Sync) -> u64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut pages, mut read) = (Pages::default(), 0);
            while !done.load(SeqCst) {
                pages.read(aggregator);
                read += 1;
            }
            read
        });
        // The reader also stops if a recording thread panics.
        let stop = OnDrop(|| done.store(true, SeqCst));
        run_threads(threads, record);
        drop(stop);
        reader.join().expect("no panic")
    })
}

/// The totals that the pages showed last.
#[derive(Default)]
struct Pages {
    totals: BTreeMap<String, u64>,
}

impl Pages {
    fn read(&mut self, aggregator: &Aggregator) {
        let page = render(Format::Json, &aggregator.snapshot());
        let snapshot: Snapshot = serde_json::from_str(&page).expect("JSON");
        self.check(snapshot.envelopes.by_aspect);

        let page = render(Format::Prometheus, &aggregator.snapshot());
        let totals = page.lines().filter_map(|line| {
            let sample = line.strip_prefix("parsec_telemetry_envelopes_total{aspect=\"")?;
            let (aspect, total) = sample.split_once("\"} ").expect("a sample");
            Some((aspect.to_owned(), total.parse().expect("a count")))
        });
        self.check(totals.collect());
    }

    fn check(&mut self, totals: BTreeMap<String, u64>) {
        for (aspect, before) in &self.totals {
            let now = totals.get(aspect);
            assert!(now >= Some(before), "{aspect}: {now:?} after {before}");
        }
        self.totals = totals;
    }
}

/// Property 1, on a real clock that advances meanwhile.
#[test]
#[ignore = "records a thousand million events: run in release mode"]
fn thousand_million_events_while_both_pages_are_read_are_all_counted() {
    const ROUNDS: u64 = 50_000_000;
    let alone = alone();
    let (envelopes, tokens) = counters(&CoarseClock::start());
    let aggregator = Aggregator::new().source(envelopes.clone()).source(tokens.clone());
    let (data, cursor) = (envelopes.aspect("data"), envelopes.aspect("cursor"));

    let read = while_both_pages_are_read(4, &aggregator, |_| {
        for _ in 0..ROUNDS {
            data.observe();
            data.observe();
            cursor.observe();
            envelopes.observe("presence");
            tokens.issued();
        }
    });

    let by_aspect = envelopes.snapshot().by_aspect;
    let expected = [("cursor", 4 * ROUNDS), ("data", 8 * ROUNDS), ("presence", 4 * ROUNDS)];
    assert_eq!(by_aspect, counts(&expected));
    assert_eq!(u64::try_from(tokens.snapshot().active_count), Ok(4 * ROUNDS));
    assert!(read > 0);
    drop((data, cursor, envelopes, tokens, aggregator));
    let what = format!("a thousand million events, both pages read {read} times");
    alone.report(&what, 20 * ROUNDS, 4);
}

/// Runs threads that start and end, at most eight at once. Returns how much memory the counters took for them.
fn run_short_lived_threads(what: &str, alone: &Alone) -> i64 {
    const AT_ONCE: usize = 8;
    const EACH: u64 = 2_500;
    const TIMES: u64 = 100;
    let clock = ManualClock::new().clock();
    let (envelopes, tokens) = counters(&clock);
    let data = envelopes.aspect("data");
    envelopes.aspect("cursor").observe();
    let before = live_bytes();
    run_threads(AT_ONCE, |_| {
        for _ in 0..EACH {
            run_threads(1, |_| {
                for _ in 0..TIMES {
                    data.observe();
                    envelopes.observe("cursor");
                    tokens.issued();
                    tokens.revoked();
                }
            });
        }
    });
    let growth = live_bytes() - before;

    let each = AT_ONCE as u64 * EACH * TIMES;
    let stats = envelopes.snapshot();
    assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (each, each + 1));
    let stats = tokens.snapshot();
    assert_eq!((stats.issued_last_hour, stats.revoked_last_hour), (each, each));
    assert_eq!(stats.active_count, 0);
    drop((data, envelopes, tokens));
    let what = format!("{what}, at most {AT_ONCE} at once, {growth:+} bytes while they run");
    alone.report(&what, 4 * each + 1, AT_ONCE * usize::try_from(EACH).expect("few"));
    growth
}

/// Property 2.
#[test]
#[ignore = "starts 20,000 threads: run in release mode, for about two seconds"]
fn short_lived_threads_in_the_slab_take_no_memory() {
    let alone = alone();
    let growth = run_short_lived_threads("short-lived threads in the slab", &alone);
    assert!(growth < SLACK, "{growth} bytes for threads with shards in the slab");
}

/// Property 2, where shards are allocated: for each counter the eight that are needed at once, and a row of as many
/// cells as the slab has shards.
#[test]
#[ignore = "starts 20,000 threads: run in release mode, for about two seconds"]
fn short_lived_threads_outside_of_the_slab_take_at_most_eight_shards_a_counter() {
    let alone = alone();
    let occupants = SlabOccupants::new();
    let growth = run_short_lived_threads("short-lived threads outside of the slab", &alone);
    drop(occupants);
    let cells = i64::try_from(slab_len() * 16).expect("few");
    let most = 2 * (8 * SHARD + cells);
    assert!(
        (2 * SHARD..most + SLACK).contains(&growth),
        "{growth} bytes: eight shards of each of two counters are {most}"
    );
}

/// Property 3.
#[test]
#[ignore = "records a million names: run in release mode"]
fn million_names_take_no_memory_beyond_64_aspects() {
    const THREADS: usize = 4;
    const NAMES: usize = 250_000;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let envelopes = EnvelopeCounters::builder().clock(clock).build();
    let before = live_bytes();
    run_threads(THREADS, |thread| {
        let mut name = String::with_capacity(256);
        for number in 0..NAMES {
            name.clear();
            // Of 3 to 9 bytes, of 27, and of more than 128, which is too long for an aspect.
            let _ = match number % 3 {
                0 => write!(name, "{thread}a{number}"),
                1 => write!(name, "a name of thread {thread}: {number:08}"),
                _ => write!(name, "{number:0>130}-{thread}"),
            };
            match number % 2 {
                0 => envelopes.observe(&name),
                _ => envelopes.aspect(&name).observe(),
            }
        }
    });
    let growth = live_bytes() - before;

    let mut by_aspect = envelopes.snapshot().by_aspect;
    let overflow = by_aspect.remove("__overflow__");
    assert_eq!(by_aspect.len(), 64);
    assert!(by_aspect.values().all(|&count| count == 1), "{by_aspect:?}");
    let all = (THREADS * NAMES) as u64;
    assert_eq!(overflow, Some(all - 64));
    // 64 names of some 20 bytes are far below the slack.
    assert!(growth < SLACK, "{growth} bytes for 64 names");
    drop((envelopes, by_aspect));
    let what = format!("a million names, {growth:+} bytes for them");
    alone.report(&what, all, THREADS);
}

/// Property 4.
#[test]
#[ignore = "starts 10,000 threads: run in release mode, for about two seconds"]
fn events_from_destructors_while_both_pages_are_read_are_all_counted() {
    const AT_ONCE: usize = 8;
    const EACH: u64 = 1_248;
    const TIMES: u64 = 50;
    let alone = alone();
    let (envelopes, tokens) = counters(&ManualClock::new().clock());
    let aggregator = Aggregator::new().source(envelopes.clone()).source(tokens.clone());
    let read = while_both_pages_are_read(AT_ONCE, &aggregator, |_| {
        for thread in 0..EACH {
            let (envelopes, tokens) = (envelopes.clone(), tokens.clone());
            let record = move || {
                for _ in 0..TIMES {
                    envelopes.observe("data");
                    tokens.issued();
                    tokens.expired();
                }
            };
            run_threads(1, |_| {
                // The exiting thread has released its id, still has it, or never had one.
                if thread % 3 == 0 {
                    register_exit_destructor();
                }
                if thread % 3 < 2 {
                    record();
                }
                at_thread_exit(record.clone());
            });
        }
    });

    let threads = AT_ONCE as u64 * EACH;
    let each = (threads + threads / 3 * 2) * TIMES;
    let stats = envelopes.snapshot();
    assert_eq!(stats.by_aspect["data"], each);
    let expected = each as f64;
    assert!((stats.rate_per_second - expected).abs() < 0.5, "{stats:?}");
    let stats = tokens.snapshot();
    assert_eq!((stats.issued_last_hour, stats.active_count), (each, 0));
    assert!(read > 0);
    drop((envelopes, tokens, aggregator));
    let growth = alone.growth();
    assert!(growth < SLACK, "{growth} bytes are left");
    let what = format!("events from destructors, both pages read {read} times");
    let threads = usize::try_from(threads).expect("few");
    alone.report(&what, 3 * each, threads);
}

/// Property 5. The threads have their shards outside of the slab, where each is an allocation.
#[test]
#[ignore = "creates 20,000 counters: run in release mode"]
fn dropped_counters_release_their_memory_while_threads_live() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 10_000;
    const TIMES: u64 = 5;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let occupants = SlabOccupants::new();
    let mut most = 0;
    let mut growth = 0;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut senders = Vec::new();
        let (report, reports) = mpsc::sync_channel(THREADS);
        for number in 0..THREADS {
            let (sender, received) = mpsc::sync_channel::<Option<Counters>>(1);
            let report = report.clone();
            senders.push(sender);
            threads.push(scope.spawn(move || {
                let mut kept = None;
                for counters in received {
                    let handle = counters.map(|(envelopes, tokens)| {
                        let data = envelopes.aspect("data");
                        for _ in 0..TIMES {
                            data.observe();
                            envelopes.observe("cursor");
                            tokens.issued();
                        }
                        data
                    });
                    // Half of the threads keep a handle for a round, and with it the shards.
                    kept = handle.filter(|_| number % 2 == 0);
                    if report.send(()).is_err() {
                        break;
                    }
                }
                drop(kept);
            }));
        }
        let round = |counters: Option<&Counters>| {
            for sender in &senders {
                sender.send(counters.cloned()).expect("the thread lives");
            }
            for _ in 0..THREADS {
                reports.recv_timeout(TIMEOUT).expect("no panic");
            }
        };
        round(None);
        let before = live_bytes();
        for _ in 0..ROUNDS {
            let counters = counters(&clock);
            round(Some(&counters));
            let each = THREADS as u64 * TIMES;
            let stats = counters.0.snapshot();
            assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (each, each));
            assert_eq!(counters.1.snapshot().issued_last_hour, each);
            most = most.max(live_bytes() - before);
        }
        round(None);
        growth = live_bytes() - before;
        drop(senders);
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
    drop(occupants);
    assert!(growth.abs() < SLACK, "{growth} bytes are left");
    let what = format!("{} counters dropped, {most} bytes at most, {growth:+} left while the threads live", 2 * ROUNDS);
    alone.report(&what, ROUNDS * THREADS as u64 * TIMES * 3, THREADS);
}

/// Property 5.
#[test]
#[ignore = "holds 2,000 counters: run in release mode"]
fn thousand_counters_at_once_are_exact_and_release_their_memory() {
    const COUNTERS: u64 = 1_000;
    const THREADS: usize = 4;
    const ROUNDS: u64 = 200;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let occupants = SlabOccupants::new();
    let before = live_bytes();
    let all: Vec<_> = (0..COUNTERS).map(|_| counters(&clock)).collect();
    run_threads(THREADS, |thread| {
        let handles: Vec<_> = all.iter().map(|(envelopes, _)| envelopes.aspect("data")).collect();
        for round in 0..ROUNDS {
            for (number, ((envelopes, tokens), data)) in all.iter().zip(&handles).enumerate() {
                data.observe();
                // Counters differ in how often they record these.
                if (round + number as u64 + thread as u64).is_multiple_of(7) {
                    envelopes.observe("cursor");
                    tokens.issued();
                }
            }
        }
    });

    let each = THREADS as u64 * ROUNDS;
    let mut events = 0;
    for (number, (envelopes, tokens)) in (0..).zip(&all) {
        let sevenths = (0..THREADS as u64).map(|thread| {
            let rounds = (0..ROUNDS).filter(|round| (round + number + thread).is_multiple_of(7));
            rounds.count() as u64
        });
        let sevenths = sevenths.sum();
        let stats = envelopes.snapshot();
        assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (each, sevenths), "counter {number}");
        assert_eq!(tokens.snapshot().issued_last_hour, sevenths);
        events += each + 2 * sevenths;
    }
    let most = live_bytes() - before;
    drop(all);
    let growth = live_bytes() - before;
    assert!(growth.abs() < SLACK, "{growth} bytes are left");
    drop(occupants);
    let what = format!("{} counters at once, {most} bytes at most", 2 * COUNTERS);
    alone.report(&what, events, THREADS);
}
