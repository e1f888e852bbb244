//! Counting for long, by many, under watch: nothing is lost, and memory stays where it was.
//!
//! The laws:
//!
//! 1. Every count is in the totals, to the last of a thousand million, while both pages are read
//!    all the time; and no page ever shows less than one before it.
//! 2. Threads that come and go leave nothing but their counts: there are never more shards than
//!    threads counted at once.
//! 3. Names that come and come leave at most 64 and `__overflow__`.
//! 4. A count from a destructor of a thread's own state is a count.
//! 5. A counter that is dropped gives all of its memory back, though the threads that counted in it
//!    live on.
//!
//! Each says in a line what it did:
//!
//! ```text
//! cargo test --release --test stress -- --ignored --nocapture
//! ```

use std::alloc::System;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use parsec_telemetry::{
    Aggregator, CoarseClock, EnvelopeCounters, Format, ManualClock, Snapshot, TokenCounters,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated and not given back, by all threads.
fn live_bytes() -> i64 {
    let stats = ALLOCATOR.stats();
    let bytes = |count: usize| i64::try_from(count).expect("far fewer than 2^63");
    bytes(stats.bytes_allocated) - bytes(stats.bytes_deallocated)
}

/// What the test runner may take meanwhile, most of it once, when the first test has ended.
const SLACK: i64 = 16 * 1024;

/// A shard, of envelopes or of tokens, as the design page has it.
const SHARD: i64 = 1152;

const PATIENCE: Duration = Duration::from_secs(60);

/// How many shards stand in the slab.
fn slab() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).next_power_of_two().max(16)
}

/// A test by itself, timed: others would show in its memory, and their threads would hold numbers.
struct Alone {
    began: Instant,
    bytes: i64,
    _others_wait: MutexGuard<'static, ()>,
}

fn alone() -> Alone {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let others_wait = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    Alone {
        began: Instant::now(),
        bytes: live_bytes(),
        _others_wait: others_wait,
    }
}

impl Alone {
    fn grown(&self) -> i64 {
        live_bytes() - self.bytes
    }

    fn report(&self, what: &str, counts: u64, threads: usize) {
        let (seconds, grown) = (self.began.elapsed().as_secs_f64(), self.grown());
        println!(
            "{what}: {counts} counts, {threads} threads, {seconds:.1} s, {grown:+} bytes at the end"
        );
    }
}

/// Threads that hold the slab's places, so that all others have their shards outside of it. They
/// end with this.
struct Crowd(Vec<(mpsc::Sender<()>, thread::JoinHandle<()>)>);

impl Crowd {
    fn new() -> Self {
        let counted = Barrier::new(slab() + 1);
        let counted: &'static Barrier = Box::leak(Box::new(counted));
        let tokens = TokenCounters::builder()
            .clock(ManualClock::new().clock())
            .build();
        let members = (0..slab()).map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let tokens = tokens.clone();
            let member = thread::spawn(move || {
                tokens.issued();
                drop(tokens);
                counted.wait();
                let _ = ended.recv();
            });
            (end, member)
        });
        let crowd = Self(members.collect());
        counted.wait();
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (end, member) in self.0.drain(..) {
            drop(end);
            member.join().expect("no panic");
        }
    }
}

type Counters = (EnvelopeCounters, TokenCounters);

fn counters(clock: &CoarseClock) -> Counters {
    (
        EnvelopeCounters::builder().clock(clock.clone()).build(),
        TokenCounters::builder().clock(clock.clone()).build(),
    )
}

/// Joins every thread: even its destructors are done then, which the end of a scope alone does not
/// promise.
fn join(threads: Vec<ScopedJoinHandle<'_, ()>>) {
    for thread in threads {
        thread.join().expect("no panic");
    }
}

/// Sets the flag when dropped, so that who waits for it ends even if somebody panics.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Runs threads that count, while another reads both pages until they have ended. Returns how often
/// it has.
fn while_both_pages_are_read(
    threads: usize,
    aggregator: &Aggregator,
    count: impl Fn(usize) + Sync,
) -> u64 {
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
        let finally = Finally(&done);
        let count = &count;
        join(
            (0..threads)
                .map(|n| scope.spawn(move || count(n)))
                .collect(),
        );
        drop(finally);
        reader.join().expect("no panic")
    })
}

/// Both pages, and the totals that they showed last.
#[derive(Default)]
struct Pages {
    page: Vec<u8>,
    shown: BTreeMap<String, u64>,
}

impl Pages {
    fn read(&mut self, aggregator: &Aggregator) {
        self.page.clear();
        Format::Json.render_into(&mut self.page, &aggregator.snapshot(), &[]);
        let snapshot: Snapshot = serde_json::from_slice(&self.page).expect("JSON");
        self.check(snapshot.envelopes.by_aspect);

        self.page.clear();
        Format::Prometheus.render_into(&mut self.page, &aggregator.snapshot(), &[]);
        let page = str::from_utf8(&self.page).expect("UTF-8");
        let totals = page.lines().filter_map(|line| {
            let sample = line.strip_prefix("parsec_telemetry_envelopes_total{aspect=\"")?;
            let (aspect, total) = sample.split_once("\"} ").expect("a sample");
            Some((aspect.to_owned(), total.parse().expect("a count")))
        });
        let totals = totals.collect();
        self.check(totals);
    }

    fn check(&mut self, totals: BTreeMap<String, u64>) {
        for (aspect, before) in &self.shown {
            let now = totals.get(aspect);
            assert!(
                now >= Some(before),
                "{aspect}: {now:?} where {before} was shown before"
            );
        }
        self.shown = totals;
    }
}

/// Law 1, on a real clock, whose seconds turn meanwhile.
#[test]
#[ignore = "counts to a thousand million: takes a release build"]
fn a_thousand_million_counts_while_both_pages_are_read() {
    const ROUNDS: u64 = 50_000_000;
    let alone = alone();
    let (envelopes, tokens) = counters(&CoarseClock::start());
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone());
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
    let counts = [
        ("cursor", 4 * ROUNDS),
        ("data", 8 * ROUNDS),
        ("presence", 4 * ROUNDS),
    ];
    assert_eq!(
        by_aspect,
        counts.map(|(name, count)| (name.to_owned(), count)).into()
    );
    assert_eq!(
        u64::try_from(tokens.snapshot().active_count),
        Ok(4 * ROUNDS)
    );
    assert!(read > 0);
    drop((data, cursor, envelopes, tokens, aggregator));
    let what = format!("a thousand million, both pages read {read} times");
    alone.report(&what, 20 * ROUNDS, 4);
}

/// Threads that come and go, at most eight at once, and how much memory the counters have taken for
/// them.
fn twenty_thousand_threads(what: &str, alone: &Alone) -> i64 {
    const AT_ONCE: usize = 8;
    const EACH: u64 = 2_500;
    const TIMES: u64 = 100;
    let clock = ManualClock::new().clock();
    let (envelopes, tokens) = counters(&clock);
    let data = envelopes.aspect("data");
    envelopes.aspect("cursor").observe();
    let before = live_bytes();
    thread::scope(|scope| {
        let line = || {
            for _ in 0..EACH {
                let thread = scope.spawn(|| {
                    for _ in 0..TIMES {
                        data.observe();
                        envelopes.observe("cursor");
                        tokens.issued();
                        tokens.revoked();
                    }
                });
                thread.join().expect("no panic");
            }
        };
        join((0..AT_ONCE).map(|_| scope.spawn(line)).collect());
    });
    let taken = live_bytes() - before;

    let each = AT_ONCE as u64 * EACH * TIMES;
    let stats = envelopes.snapshot();
    assert_eq!(
        (stats.by_aspect["data"], stats.by_aspect["cursor"]),
        (each, each + 1)
    );
    let stats = tokens.snapshot();
    assert_eq!(
        (stats.issued_last_hour, stats.revoked_last_hour),
        (each, each)
    );
    assert_eq!(stats.active_count, 0);
    drop((data, envelopes, tokens));
    let what = format!("{what}, at most {AT_ONCE} at once, {taken:+} bytes meanwhile");
    alone.report(
        &what,
        4 * each + 1,
        AT_ONCE * usize::try_from(EACH).expect("few"),
    );
    taken
}

/// Law 2.
#[test]
#[ignore = "starts 20,000 threads: takes a second or two, and a release build"]
fn threads_that_come_and_go_take_no_memory() {
    let alone = alone();
    let taken = twenty_thousand_threads("short lives in the slab", &alone);
    assert!(taken < SLACK, "{taken} bytes for threads that have places");
}

/// Law 2, where shards are made on demand: for each counter no more than the eight that are needed
/// at once, and a row of as many cells as there are places in the slab.
#[test]
#[ignore = "starts 20,000 threads: takes a second or two, and a release build"]
fn threads_that_come_and_go_outside_of_the_slab_take_a_shard_for_each_at_once() {
    let alone = alone();
    let crowd = Crowd::new();
    let taken = twenty_thousand_threads("short lives outside of the slab", &alone);
    drop(crowd);
    let cells = i64::try_from(slab() * 16).expect("few");
    let most = 2 * (8 * SHARD + cells);
    assert!(
        (2 * SHARD..most + SLACK).contains(&taken),
        "{taken} bytes, and eight shards of each of two counters take {most}"
    );
}

/// Law 3.
#[test]
#[ignore = "counts a million names: takes a release build"]
fn a_million_names_take_no_memory() {
    const THREADS: usize = 4;
    const NAMES: usize = 250_000;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let envelopes = EnvelopeCounters::builder().clock(clock).build();
    let before = live_bytes();
    thread::scope(|scope| {
        let count = |thread: usize| {
            let mut name = String::with_capacity(256);
            for number in 0..NAMES {
                name.clear();
                // Of 3 to 9 bytes, of 27, and of more than 128, which is too long for a name.
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
        };
        join(
            (0..THREADS)
                .map(|n| scope.spawn(move || count(n)))
                .collect(),
        );
    });
    let taken = live_bytes() - before;

    let mut by_aspect = envelopes.snapshot().by_aspect;
    let overflow = by_aspect.remove("__overflow__");
    assert_eq!(by_aspect.len(), 64);
    assert!(by_aspect.values().all(|&count| count == 1), "{by_aspect:?}");
    let all = (THREADS * NAMES) as u64;
    assert_eq!(overflow, Some(all - 64));
    // The names themselves are 64 of some 20 bytes.
    assert!(taken < SLACK, "{taken} bytes for 64 names");
    drop((envelopes, by_aspect));
    let what = format!("a million names, {taken:+} bytes meanwhile");
    alone.report(&what, all, THREADS);
}

// Law 4

/// Counts when it is dropped, which a thread-local is when its thread ends.
struct LastWords {
    envelopes: EnvelopeCounters,
    tokens: TokenCounters,
}

impl LastWords {
    const TIMES: u64 = 50;

    fn count(&self) {
        for _ in 0..Self::TIMES {
            self.envelopes.observe("data");
            self.tokens.issued();
            self.tokens.expired();
        }
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.count();
    }
}

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

#[test]
#[ignore = "starts 10,000 threads: takes a second or two, and a release build"]
fn counts_from_the_destructors_of_threads_that_end_while_the_pages_are_read() {
    const AT_ONCE: usize = 8;
    const EACH: u64 = 1_248;
    let alone = alone();
    let (envelopes, tokens) = counters(&ManualClock::new().clock());
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone());
    let read = while_both_pages_are_read(AT_ONCE, &aggregator, |_| {
        for thread in 0..EACH {
            let last_words = LastWords {
                envelopes: envelopes.clone(),
                tokens: tokens.clone(),
            };
            let counts = thread::spawn(move || {
                // Thread-locals are torn down last come, first gone, on most systems: so by turns
                // the thread has no number any more, has one still, and has never had one.
                if thread % 3 == 0 {
                    LAST_WORDS.with_borrow(|_| ());
                }
                if thread % 3 < 2 {
                    last_words.count();
                }
                LAST_WORDS.set(Some(last_words));
            });
            counts.join().expect("no panic");
        }
    });

    let threads = AT_ONCE as u64 * EACH;
    let each = (threads + threads / 3 * 2) * LastWords::TIMES;
    let stats = envelopes.snapshot();
    assert_eq!(stats.by_aspect["data"], each);
    let expected = each as f64;
    assert!((stats.rate_per_second - expected).abs() < 0.5, "{stats:?}");
    let stats = tokens.snapshot();
    assert_eq!((stats.issued_last_hour, stats.active_count), (each, 0));
    assert!(read > 0);
    drop((envelopes, tokens, aggregator));
    let grown = alone.grown();
    assert!(grown < SLACK, "{grown} bytes are left");
    let what = format!("last words, both pages read {read} times");
    alone.report(
        &what,
        3 * each,
        AT_ONCE * usize::try_from(EACH).expect("few"),
    );
}

// Law 5

/// The threads have their shards outside of the slab, where each is an allocation of its own.
#[test]
#[ignore = "makes 20,000 counters: takes a release build"]
fn counters_that_are_dropped_give_their_memory_back() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 10_000;
    const TIMES: u64 = 5;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let crowd = Crowd::new();
    let mut most = 0;
    let mut taken = 0;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut tell = Vec::new();
        let (report, reports) = mpsc::sync_channel(THREADS);
        for number in 0..THREADS {
            let (this, told) = mpsc::sync_channel::<Option<Counters>>(1);
            let report = report.clone();
            tell.push(this);
            threads.push(scope.spawn(move || {
                let mut kept = None;
                for counters in told {
                    let handle = counters.map(|(envelopes, tokens)| {
                        let data = envelopes.aspect("data");
                        for _ in 0..TIMES {
                            data.observe();
                            envelopes.observe("cursor");
                            tokens.issued();
                        }
                        data
                    });
                    // Half of the threads keep a handle, which keeps what it counts in, for a
                    // round.
                    kept = handle.filter(|_| number % 2 == 0);
                    if report.send(()).is_err() {
                        break;
                    }
                }
                drop(kept);
            }));
        }
        let round = |counters: Option<&Counters>| {
            for tell in &tell {
                tell.send(counters.cloned()).expect("the thread lives");
            }
            for _ in 0..THREADS {
                reports.recv_timeout(PATIENCE).expect("no panic");
            }
        };
        round(None);
        let before = live_bytes();
        for _ in 0..ROUNDS {
            let counters = counters(&clock);
            round(Some(&counters));
            let each = THREADS as u64 * TIMES;
            let stats = counters.0.snapshot();
            assert_eq!(
                (stats.by_aspect["data"], stats.by_aspect["cursor"]),
                (each, each)
            );
            assert_eq!(counters.1.snapshot().issued_last_hour, each);
            most = most.max(live_bytes() - before);
        }
        round(None);
        taken = live_bytes() - before;
        drop(tell);
        join(threads);
    });
    drop(crowd);
    assert!(taken.abs() < SLACK, "{taken} bytes are left");
    let what = format!(
        "{} counters dropped, {most} bytes at the most, {taken:+} left while the threads lived",
        2 * ROUNDS
    );
    alone.report(&what, ROUNDS * THREADS as u64 * TIMES * 3, THREADS);
}

#[test]
#[ignore = "holds 2,000 counters: takes a release build"]
fn a_thousand_counters_at_once_are_exact_and_leave_nothing() {
    const COUNTERS: u64 = 1_000;
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 200;
    let alone = alone();
    let clock = ManualClock::new().clock();
    let crowd = Crowd::new();
    let before = live_bytes();
    let all: Vec<_> = (0..COUNTERS).map(|_| counters(&clock)).collect();
    thread::scope(|scope| {
        let all = &all;
        let count = move |thread: u64| {
            let handles: Vec<_> = all
                .iter()
                .map(|(envelopes, _)| envelopes.aspect("data"))
                .collect();
            for round in 0..ROUNDS {
                for (number, ((envelopes, tokens), data)) in all.iter().zip(&handles).enumerate() {
                    data.observe();
                    // Not as often in one as in another.
                    if (round + number as u64 + thread).is_multiple_of(7) {
                        envelopes.observe("cursor");
                        tokens.issued();
                    }
                }
            }
        };
        join(
            (0..THREADS)
                .map(|n| scope.spawn(move || count(n)))
                .collect(),
        );
    });

    let mut counts = 0;
    for (number, (envelopes, tokens)) in (0..).zip(&all) {
        let sevenths = (0..THREADS).map(|thread| {
            let rounds = (0..ROUNDS).filter(|round| (round + number + thread).is_multiple_of(7));
            rounds.count() as u64
        });
        let sevenths = sevenths.sum();
        let stats = envelopes.snapshot();
        assert_eq!(
            (stats.by_aspect["data"], stats.by_aspect["cursor"]),
            (THREADS * ROUNDS, sevenths),
            "counter {number}"
        );
        assert_eq!(tokens.snapshot().issued_last_hour, sevenths);
        counts += THREADS * ROUNDS + 2 * sevenths;
    }
    let most = live_bytes() - before;
    drop(all);
    let taken = live_bytes() - before;
    assert!(taken.abs() < SLACK, "{taken} bytes are left");
    drop(crowd);
    let what = format!(
        "{} counters at once, {most} bytes at the most",
        2 * COUNTERS
    );
    alone.report(&what, counts, usize::try_from(THREADS).expect("few"));
}
