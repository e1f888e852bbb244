//! Whatever is done, in whatever order: what is read agrees with a plain model of it.
//!
//! The laws:
//!
//! 1. Totals are exact: every event is in them once, whatever its time.
//! 2. An event is placed where it happened: one told late by its age, one from the future at now,
//!    one older than the window nowhere.
//! 3. A rate is what the last 60 seconds hold, divided by 60, or by the counter's age within its
//!    first minute, or by one second at the least. What was in the second that straddles the far
//!    edge counts for the part of that second that is still inside, as if it were spread evenly
//!    over the time in which that second was counted.
//! 4. The last hour is what the last 60 minutes hold by the same rule, rounded to the nearest whole
//!    number, halves up.
//! 5. Names find places in the order in which they first appear, and keep them; what has none
//!    counts as `__overflow__`.
//! 6. Who counts makes no difference: one thread or several at once, with shards in the slab or
//!    outside of it, before or in the destructors of their thread-locals, by handle or by name.
//! 7. A manual clock goes as far as it is told, and stands still at its end, 584 years on.
//! 8. The cache's hour slides over what its counters gained, growing evenly between two readings; a
//!    counter that falls began again from zero. Of readings that are less than 15 seconds apart
//!    some may be left out.
//! 9. What the JSON page prints reads back the same, floats to the last bit; a float that is not
//!    finite reads back as 0.
//! 10. The text page holds finite numbers only, and its floats read back the same.
//!
//! A failure is kept in `laws.proptest-regressions`, beside this file, and tried first from then
//! on: check it in. `PROPTEST_CASES` asks for more than 256 cases of each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use parsec_telemetry::{
    Aspect, CacheCounters, CacheSource, CacheStats, ChannelStats, EnvelopeCounters, EnvelopeStats,
    FiringAlert, Format, HistoryStats, ManualClock, PresenceStats, Severity, Snapshot, Source,
    TokenCounters, TokenStats,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError};

type Checked = Result<(), TestCaseError>;

fn config() -> Config {
    // Not proptest's default, which looks for the crate's root above this file and finds none.
    let beside_this_file = FileFailurePersistence::WithSource("proptest-regressions");
    Config {
        failure_persistence: Some(Box::new(beside_this_file)),
        max_shrink_time: 60_000,
        ..Config::default()
    }
}

// Time

/// Nanoseconds since the clock's start: below zero before it.
type Time = i128;

const SECOND: Time = 1_000_000_000;
const MINUTE: Time = 60 * SECOND;
const HOUR: Time = 60 * MINUTE;

/// When a manual clock starts: 1 January 2026, at midnight UTC.
const START: Duration = Duration::from_secs(1_767_225_600);

/// What a manual clock lasts, at the least.
const LASTS: Time = 584 * 365 * 24 * HOUR;

fn nanos(span: Duration) -> Time {
    span.as_nanos().cast_signed()
}

fn time_of(at: SystemTime) -> Time {
    match at.duration_since(SystemTime::UNIX_EPOCH + START) {
        Ok(after) => nanos(after),
        Err(error) => -nanos(error.duration()),
    }
}

/// The earliest and the latest time that this system can hold.
fn extremes() -> [SystemTime; 2] {
    let furthest = |step: fn(&SystemTime, Duration) -> Option<SystemTime>| {
        let seconds = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        let nanos = (0..30).rev().map(|bit| Duration::from_nanos(1 << bit));
        seconds
            .chain(nanos)
            .fold(SystemTime::UNIX_EPOCH, |at, by| step(&at, by).unwrap_or(at))
    };
    [
        furthest(SystemTime::checked_sub),
        furthest(SystemTime::checked_add),
    ]
}

/// From nothing to centuries, and often to the nanosecond where a window begins or a ring comes
/// round.
fn spans() -> impl Strategy<Value = Duration> + Clone {
    let units = select(vec![1, 60]);
    let edges = (
        select(vec![1, 30, 59, 60, 61, 63, 64, 65, 128]),
        units,
        -1..=1i64,
    );
    prop_oneof![
        1 => Just(Duration::ZERO),
        4 => (0..2_000_000_000u64).prop_map(Duration::from_nanos),
        2 => (0..120_000_000_000u64).prop_map(Duration::from_nanos),
        4 => (0..130u64).prop_map(Duration::from_secs),
        3 => (0..130u64).prop_map(|minutes| Duration::from_secs(60 * minutes)),
        4 => edges.prop_map(|(ticks, unit, off)| {
            let nanos = i64::from(ticks * unit) * 1_000_000_000 + off;
            Duration::from_nanos(nanos.unsigned_abs())
        }),
        1 => (1..100u64).prop_map(|hours| Duration::from_secs(3600 * hours)),
        1 => (1..400u64).prop_map(|years| Duration::from_secs(365 * 24 * 3600 * years)),
    ]
}

/// Any time of the system's, its first and its last among them.
fn times() -> impl Strategy<Value = SystemTime> {
    let epoch = SystemTime::UNIX_EPOCH;
    prop_oneof![
        2 => select(extremes().to_vec()),
        1 => Just(epoch),
        2 => (any::<u32>(), 0..1_000_000_000u32)
            .prop_map(move |(secs, nanos)| epoch + Duration::new(secs.into(), nanos)),
        2 => (0..100_000_000_000u64, 0..1_000_000_000u32).prop_map(move |(secs, nanos)| {
            epoch.checked_sub(Duration::new(secs, nanos)).unwrap_or(epoch)
        }),
        1 => any::<u64>().prop_map(move |secs| {
            epoch.checked_add(Duration::from_secs(secs)).unwrap_or(epoch)
        }),
    ]
}

// What is done to the counters

#[derive(Clone, Debug)]
enum Op {
    Advance(Duration),
    /// To where the window's far edge is near something that was: an event, or the making of a
    /// counter.
    AdvanceToTheEdge(Index, Unit, i64),
    MakeEnvelopes {
        places: usize,
    },
    MakeTokens,
    /// By some of the threads at once.
    Count(Event, [bool; THREADS]),
    /// By a thread that ends, in the destructor of a thread-local. Another takes its place.
    CountAtTheEnd(Event, usize, First),
    Look,
}

#[derive(Clone, Debug)]
struct Event {
    counter: Index,
    what: What,
    when: When,
    times: u32,
}

#[derive(Clone, Debug)]
enum What {
    Envelope { name: &'static str, by_handle: bool },
    Issued,
    Revoked,
    Expired,
}

#[derive(Clone, Debug)]
enum When {
    Now,
    Late(Duration),
    InTheFuture(Duration),
    At(SystemTime),
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Second,
    Minute,
}

impl Unit {
    fn nanos(self) -> Time {
        match self {
            Self::Second => SECOND,
            Self::Minute => MINUTE,
        }
    }
}

const THREADS: usize = 3;

const LONGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                       0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx";

/// Short and long ones, some that differ in one place only, and those that mean something.
const NAMES: [&str; 14] = [
    "data",
    "dat",
    "cursor",
    "presence",
    "presences",
    "presencez",
    "a name that differs in the middle: 1, and ends the same",
    "a name that differs in the middle: 2, and ends the same",
    "ä",
    "\0",
    LONGEST,
    TOO_LONG,
    "",
    "__overflow__",
];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let threads = any::<[bool; THREADS]>();
    let units = select(vec![Unit::Second, Unit::Minute]);
    let op = prop_oneof![
        12 => (events(), threads).prop_map(|(event, threads)| Op::Count(event, threads)),
        2 => (events(), 0..THREADS, select(vec![First::Ours, First::Theirs]))
            .prop_map(|(event, thread, first)| Op::CountAtTheEnd(event, thread, first)),
        6 => spans().prop_map(Op::Advance),
        3 => (any::<Index>(), units, -1_000..=1_000i64)
            .prop_map(|(moment, unit, off)| Op::AdvanceToTheEdge(moment, unit, off)),
        1 => select(vec![0, 1, 5, 64, 70]).prop_map(|places| Op::MakeEnvelopes { places }),
        1 => Just(Op::MakeTokens),
        4 => Just(Op::Look),
    ];
    vec(op, 0..60)
}

fn events() -> impl Strategy<Value = Event> {
    let what = prop_oneof![
        4 => (select(NAMES.to_vec()), any::<bool>())
            .prop_map(|(name, by_handle)| What::Envelope { name, by_handle }),
        2 => Just(What::Issued),
        2 => Just(What::Revoked),
        1 => Just(What::Expired),
    ];
    let when = prop_oneof![
        4 => Just(When::Now),
        4 => spans().prop_map(When::Late),
        1 => spans().prop_map(When::InTheFuture),
        1 => times().prop_map(When::At),
    ];
    let times = prop_oneof![4 => 0..8u32, 1 => 0..1000u32];
    (any::<Index>(), what, when, times).prop_map(|(counter, what, when, times)| Event {
        counter,
        what,
        when,
        times,
    })
}

// Threads

type Job = Arc<dyn Fn() + Send + Sync>;

/// A thread that does what it is told, and at its end what it was told to do then.
struct Worker {
    tell: Option<Sender<Box<dyn FnOnce() + Send>>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Thread-locals are torn down last come, first gone, on most systems. So it makes a difference who
/// was first.
#[derive(Clone, Copy, Debug)]
enum First {
    /// The test's: when its destructor counts, the crate's are gone.
    Ours,
    /// The crate's, if the thread has counted before: they are there still.
    Theirs,
}

thread_local! {
    static LAST_WORDS: RefCell<LastWords> = const { RefCell::new(LastWords(Vec::new())) };
}

struct LastWords(Vec<Job>);

impl Drop for LastWords {
    fn drop(&mut self) {
        for last_words in self.0.drain(..) {
            last_words();
        }
    }
}

impl Worker {
    fn new(first: First) -> Self {
        let (tell, told) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (report, done) = mpsc::channel();
        let thread = thread::spawn(move || {
            if matches!(first, First::Ours) {
                LAST_WORDS.with_borrow(|_| ());
            }
            for job in told {
                job();
                if report.send(()).is_err() {
                    break;
                }
            }
        });
        Self {
            tell: Some(tell),
            done,
            thread: Some(thread),
        }
    }

    fn begin(&self, job: impl FnOnce() + Send + 'static) {
        let tell = self.tell.as_ref().expect("it has not ended");
        tell.send(Box::new(job)).expect("the thread lives");
    }

    fn finish(&self) {
        self.done.recv().expect("no panic");
    }

    /// Returns once even the destructors are done, which only joining promises.
    fn end(mut self, last_words: Job) {
        self.begin(|| LAST_WORDS.with_borrow_mut(|words| words.0.push(last_words)));
        self.finish();
        self.tell = None;
        let thread = self.thread.take().expect("it has not ended");
        thread.join().expect("no panic");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tell = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by `finish`.
            let _ = thread.join();
        }
    }
}

/// Threads that hold every place in the slab, so that those that come later have their shards
/// elsewhere.
struct Crowd(Vec<Worker>);

impl Crowd {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let envelopes = EnvelopeCounters::builder()
            .clock(ManualClock::new().clock())
            .max_aspects(0)
            .build();
        let crowd = (0..(2 * cores).next_power_of_two().max(16)).map(|_| {
            let (worker, envelopes) = (Worker::new(First::Ours), envelopes.clone());
            worker.begin(move || envelopes.observe(""));
            worker
        });
        let crowd = Self(crowd.collect());
        crowd.0.iter().for_each(Worker::finish);
        crowd
    }
}

// The model

/// What is known of one kind of event: how many, and of those in reach of a window when each
/// happened.
#[derive(Debug, Default)]
struct Events {
    total: u64,
    placed: Vec<(Time, u64)>,
}

impl Events {
    /// Law 2.
    fn count(&mut self, times: u64, now: Time, at: Option<SystemTime>, window: Time) {
        self.total += times;
        let at = at.map_or(now, time_of).min(now);
        if now - at <= window {
            self.placed.push((at, times));
        }
    }

    /// Laws 3 and 4: how many events the 60 ticks before `now` hold, as a numerator and a
    /// denominator.
    fn held(&self, tick: Time, made: Time, now: Time) -> (Time, Time) {
        let edge = now - 60 * tick;
        // The tick that straddles the edge, and since when it was counted in.
        let began = edge.div_euclid(tick) * tick;
        let ended = began + tick;
        let counted_from = if (began..ended).contains(&made) {
            made
        } else {
            began
        };
        let (inside, whole) = (ended - edge.max(counted_from), ended - counted_from);
        let share = |at: Time| match at {
            at if at >= ended => whole,
            at if at >= began => inside,
            _ => 0,
        };
        let held = self
            .placed
            .iter()
            .map(|&(at, times)| Time::from(times) * share(at));
        (held.sum(), whole)
    }
}

struct Envelopes {
    counters: EnvelopeCounters,
    handles: HashMap<&'static str, Aspect>,
    made: Time,
    places: usize,
    /// In the order of their appearance.
    names: Vec<&'static str>,
    by_name: BTreeMap<&'static str, u64>,
    all: Events,
}

impl Envelopes {
    /// Law 5: what an event of this name counts as, from its first appearance on.
    fn place_of(&mut self, name: &'static str) -> &'static str {
        let name = if name.is_empty() { "unknown" } else { name };
        if self.names.contains(&name) {
            return name;
        }
        if name == "__overflow__" || name.len() > 128 || self.names.len() == self.places {
            return "__overflow__";
        }
        self.names.push(name);
        name
    }

    /// A rate is exact where it is whole. Elsewhere it is off by the rounding of some four
    /// operations on floats, of which each is off by half of the last bit: 4.5 in 10^16 all in all,
    /// and as much for the model's own.
    fn look(&self, now: Time) -> Checked {
        let stats = self.counters.snapshot();
        let mut expected: BTreeMap<&str, u64> = self.names.iter().map(|name| (*name, 0)).collect();
        expected.extend(&self.by_name);
        let read: BTreeMap<&str, u64> = stats
            .by_aspect
            .iter()
            .map(|(name, &total)| (name.as_str(), total))
            .collect();
        prop_assert_eq!(read, expected, "by aspect");

        let (held, of) = self.all.held(SECOND, self.made, now);
        let span = (now - self.made).clamp(SECOND, MINUTE);
        let (events, time) = (held * SECOND, of * span);
        let rate = stats.rate_per_second;
        let expected = if events % time == 0 {
            (events / time) as f64
        } else {
            events as f64 / time as f64
        };
        let off = if events % time == 0 {
            0.0
        } else {
            1e-15 * expected
        };
        prop_assert!(
            (rate - expected).abs() <= off,
            "a rate of {} where {} is expected, of {} / {} events in {} ns",
            rate,
            expected,
            held,
            of,
            span
        );
        Ok(())
    }
}

struct Tokens {
    counters: TokenCounters,
    made: Time,
    issued: Events,
    revoked: Events,
    expired: u64,
}

impl Tokens {
    fn look(&self, now: Time) -> Checked {
        let last_hour = |events: &Events| {
            let (held, of) = events.held(MINUTE, self.made, now);
            u64::try_from((2 * held + of) / (2 * of)).expect("a count")
        };
        let gone = self.revoked.total + self.expired;
        let expected = TokenStats {
            issued_last_hour: last_hour(&self.issued),
            revoked_last_hour: last_hour(&self.revoked),
            active_count: self.issued.total.cast_signed() - gone.cast_signed(),
        };
        prop_assert_eq!(self.counters.snapshot(), expected);
        Ok(())
    }
}

/// The counters, and beside each what it should read.
struct World {
    clock: ManualClock,
    now: Time,
    workers: Vec<Worker>,
    envelopes: Vec<Envelopes>,
    tokens: Vec<Tokens>,
}

impl World {
    /// With counters made at some phase of the clock's.
    fn new(phase: Duration) -> Result<Self, TestCaseError> {
        let mut world = Self {
            clock: ManualClock::new(),
            now: 0,
            workers: (0..THREADS).map(|_| Worker::new(First::Ours)).collect(),
            envelopes: Vec::new(),
            tokens: Vec::new(),
        };
        prop_assert_eq!(time_of(world.clock.now()), 0);
        world.advance(phase)?;
        world.make_envelopes(64);
        world.make_tokens();
        Ok(world)
    }

    fn make_envelopes(&mut self, places: usize) {
        let counters = EnvelopeCounters::builder()
            .clock(self.clock.clock())
            .max_aspects(places)
            .build();
        self.envelopes.push(Envelopes {
            counters,
            handles: HashMap::new(),
            made: self.now,
            places,
            names: Vec::new(),
            by_name: BTreeMap::new(),
            all: Events::default(),
        });
    }

    fn make_tokens(&mut self) {
        self.tokens.push(Tokens {
            counters: TokenCounters::builder().clock(self.clock.clock()).build(),
            made: self.now,
            issued: Events::default(),
            revoked: Events::default(),
            expired: 0,
        });
    }

    /// Law 7.
    fn advance(&mut self, by: Duration) -> Checked {
        self.clock.advance(by);
        let (told, shown) = (self.now + nanos(by), time_of(self.clock.now()));
        if shown != told {
            prop_assert!((LASTS..told).contains(&shown), "{} for {}", shown, told);
            let end = shown;
            self.clock.advance(Duration::MAX);
            prop_assert_eq!(time_of(self.clock.now()), end);
        }
        self.now = shown;
        Ok(())
    }

    fn time(&self, when: &When) -> Option<SystemTime> {
        let (now, [earliest, latest]) = (self.clock.now(), extremes());
        match *when {
            When::Now => None,
            When::Late(by) => Some(now.checked_sub(by).unwrap_or(earliest)),
            When::InTheFuture(by) => Some(now.checked_add(by).unwrap_or(latest)),
            When::At(at) => Some(at),
        }
    }

    /// Tells the model what so many threads will do each, and returns it for them to do.
    fn prepare(&mut self, event: &Event, threads: usize) -> Job {
        let (now, at, times) = (self.now, self.time(&event.when), event.times);
        let all = u64::from(times) * threads as u64;
        if let What::Envelope { name, by_handle } = event.what {
            let envelopes = event.counter.index(self.envelopes.len());
            let envelopes = &mut self.envelopes[envelopes];
            if by_handle || all > 0 {
                let place = envelopes.place_of(name);
                envelopes.all.count(all, now, at, MINUTE);
                if all > 0 {
                    *envelopes.by_name.entry(place).or_default() += all;
                }
            }
            return if by_handle {
                let new = || envelopes.counters.aspect(name);
                let aspect = envelopes.handles.entry(name).or_insert_with(new).clone();
                repeated(times, move || match at {
                    None => aspect.observe(),
                    Some(at) => aspect.observe_at(at),
                })
            } else {
                let counters = envelopes.counters.clone();
                repeated(times, move || match at {
                    None => counters.observe(name),
                    Some(at) => counters.observe_at(at, name),
                })
            };
        }
        let tokens = event.counter.index(self.tokens.len());
        let tokens = &mut self.tokens[tokens];
        let counters = tokens.counters.clone();
        match event.what {
            What::Envelope { .. } => unreachable!("it has returned"),
            What::Issued => {
                tokens.issued.count(all, now, at, HOUR);
                repeated(times, move || match at {
                    None => counters.issued(),
                    Some(at) => counters.issued_at(at),
                })
            }
            What::Revoked => {
                tokens.revoked.count(all, now, at, HOUR);
                repeated(times, move || match at {
                    None => counters.revoked(),
                    Some(at) => counters.revoked_at(at),
                })
            }
            What::Expired => {
                tokens.expired += all;
                repeated(times, move || counters.expired())
            }
        }
    }

    fn run(&mut self, op: &Op) -> Checked {
        match op {
            Op::Advance(by) => self.advance(*by)?,
            Op::AdvanceToTheEdge(moment, unit, thousandths) => {
                let made = self.envelopes.iter().map(|envelopes| envelopes.made);
                let made = made.chain(self.tokens.iter().map(|tokens| tokens.made));
                let counted = self.envelopes.iter().map(|envelopes| &envelopes.all);
                let counted = counted.chain(self.tokens.iter().map(|tokens| &tokens.issued));
                let counted = counted.flat_map(|events| events.placed.iter().map(|(at, _)| *at));
                let moments: Vec<Time> = made.chain(counted).collect();
                let off = unit.nanos() / 1000 * Time::from(*thousandths);
                let to = moment.get(&moments) + 60 * unit.nanos() + off;
                let by = u64::try_from(to - self.now).unwrap_or_default();
                self.advance(Duration::from_nanos(by))?;
            }
            Op::MakeEnvelopes { places } => self.make_envelopes(*places),
            Op::MakeTokens => self.make_tokens(),
            Op::Count(event, threads) => {
                let chosen = threads.iter().filter(|chosen| **chosen).count();
                let job = self.prepare(event, chosen);
                let chosen = || {
                    let workers = self.workers.iter().zip(threads);
                    workers.filter(|(_, chosen)| **chosen)
                };
                for (worker, _) in chosen() {
                    let job = Arc::clone(&job);
                    worker.begin(move || job());
                }
                chosen().for_each(|(worker, _)| worker.finish());
            }
            Op::CountAtTheEnd(event, thread, first) => {
                let job = self.prepare(event, 1);
                let next = Worker::new(*first);
                std::mem::replace(&mut self.workers[*thread], next).end(job);
            }
            Op::Look => self.look()?,
        }
        Ok(())
    }

    fn look(&self) -> Checked {
        for envelopes in &self.envelopes {
            envelopes.look(self.now)?;
            for (name, handle) in &envelopes.handles {
                let shown = if name.is_empty() { "unknown" } else { name };
                let place = if envelopes.names.contains(&shown) {
                    shown
                } else {
                    "__overflow__"
                };
                prop_assert_eq!(handle.name(), place);
            }
        }
        for tokens in &self.tokens {
            tokens.look(self.now)?;
        }
        Ok(())
    }
}

fn repeated(times: u32, job: impl Fn() + Send + Sync + 'static) -> Job {
    Arc::new(move || (0..times).for_each(|_| job()))
}

proptest! {
    #![proptest_config(config())]

    /// Laws 1 to 7.
    #[test]
    fn counters_agree_with_a_list_of_events(phase in spans(), ops in ops(), crowded in any::<bool>()) {
        let _crowd = crowded.then(Crowd::new);
        let mut world = World::new(phase)?;
        for op in &ops {
            world.run(op)?;
        }
        world.look()?;
    }
}

// The cache

#[derive(Clone, Debug)]
enum CacheOp {
    Advance(Duration),
    /// To where the hour's beginning is near a reading, by so many nanoseconds.
    AdvanceToTheEdge(Index, i64),
    Gain([u64; 3]),
    /// From these on. Where they are not below what was, nobody can know.
    Restart([u64; 3]),
    Look,
}

fn cache_ops() -> impl Strategy<Value = Vec<CacheOp>> {
    // The gains of a source's life fit into 64 bits.
    let amount = || prop_oneof![1 => Just(0), 4 => 0..1000u64, 1 => 0..1u64 << 50];
    let amounts = (amount(), amount(), amount()).prop_map(<[u64; 3]>::from);
    let thinned = (1..30_000_000_000u64).prop_map(Duration::from_nanos);
    let near = -30_000_000_000..=30_000_000_000i64;
    let op = prop_oneof![
        3 => spans().prop_map(CacheOp::Advance),
        5 => thinned.prop_map(CacheOp::Advance),
        2 => (any::<Index>(), near)
            .prop_map(|(reading, off)| CacheOp::AdvanceToTheEdge(reading, off)),
        8 => amounts.clone().prop_map(CacheOp::Gain),
        1 => amounts.prop_map(CacheOp::Restart),
        8 => Just(CacheOp::Look),
    ];
    vec(op, 0..100)
}

/// Every reading there was, as what the cache's hits, misses and evictions had gained until then.
struct Readings(Vec<(Time, [Time; 3])>);

impl Readings {
    /// The least and the most that a counter can have gained in the hour before `now`.
    ///
    /// They are the same where the readings on either side of the hour's beginning are 15 seconds
    /// apart or more: neither of them can have been left out. Elsewhere the truth is between
    /// readings of less than 15 seconds before and after.
    fn last_hour(&self, now: Time, counter: usize) -> [Time; 2] {
        const APART: Time = 15 * SECOND;
        let edge = now - HOUR;
        let total = self.0.last().expect("the beginning").1[counter];
        let later = self.0.partition_point(|(at, _)| *at <= edge);
        if later == 0 {
            return [total, total];
        }
        let (before, after) = (self.0[later - 1], self.0[later]);
        let apart = after.0 - before.0;
        if apart >= APART {
            let grown = (after.1[counter] - before.1[counter]) * (edge - before.0);
            let at_edge = before.1[counter] + (2 * grown + apart) / (2 * apart);
            return [total - at_edge, total - at_edge];
        }
        let near = self
            .0
            .iter()
            .filter(|(at, _)| (edge - APART + 1..edge + APART).contains(at));
        let near: Vec<Time> = near.map(|(_, gains)| gains[counter]).collect();
        [total - near[near.len() - 1], total - near[0]]
    }
}

fn percentage(hits: Time, misses: Time) -> f64 {
    if hits == 0 {
        0.0
    } else {
        100.0 * hits as f64 / (hits + misses) as f64
    }
}

proptest! {
    #![proptest_config(config())]

    /// Law 8. Counts are exact; a hit rate is off by the rounding of three operations on floats.
    #[test]
    fn a_cache_source_agrees_with_all_its_readings(phase in spans(), ops in cache_ops()) {
        let clock = ManualClock::new();
        clock.advance(phase);
        let said = Arc::new(Mutex::new(CacheCounters::default()));
        let source = CacheSource::new({
            let said = Arc::clone(&said);
            move || *said.lock().unwrap_or_else(PoisonError::into_inner)
        });
        let source = source.clock(clock.clock());
        let mut readings = Readings(vec![(time_of(clock.now()), [0; 3])]);
        let (mut counters, mut seen) = ([0; 3], [0; 3]);
        for op in ops.iter().chain([&CacheOp::Look]) {
            match *op {
                CacheOp::Advance(by) => clock.advance(by),
                CacheOp::AdvanceToTheEdge(reading, off) => {
                    let to = reading.get(&readings.0).0 + HOUR + Time::from(off);
                    let by = u64::try_from(to - time_of(clock.now())).unwrap_or_default();
                    clock.advance(Duration::from_nanos(by));
                }
                CacheOp::Gain(gains) => (0..3).for_each(|at| counters[at] += gains[at]),
                CacheOp::Restart(from) => counters = from,
                CacheOp::Look => {
                    let [hits, misses, evictions] = counters;
                    let said_now = CacheCounters {
                        hits,
                        misses,
                        evictions,
                        puts: hits ^ misses,
                        size_entries: hits.rotate_left(32),
                        size_bytes: u64::MAX - misses,
                    };
                    *said.lock().expect("no panic") = said_now;
                    let stats = source.cache().expect("always reported");

                    let fell = (0..3).any(|at| counters[at] < seen[at]);
                    let (_, mut gains) = *readings.0.last().expect("the beginning");
                    for at in 0..3 {
                        let from = if fell { 0 } else { seen[at] };
                        gains[at] += Time::from(counters[at] - from);
                    }
                    seen = counters;
                    let now = time_of(clock.now());
                    readings.0.push((now, gains));

                    let [hits, misses, evictions] = [0, 1, 2].map(|at| readings.last_hour(now, at));
                    let read = Time::from(stats.evictions_last_hour);
                    prop_assert!((evictions[0]..=evictions[1]).contains(&read), "{read} of {evictions:?} evictions");
                    let (least, most) = (percentage(hits[0], misses[1]), percentage(hits[1], misses[0]));
                    let read = stats.hit_rate_pct;
                    prop_assert!(
                        (least * (1.0 - 1e-15)..=most * (1.0 + 1e-15)).contains(&read),
                        "a hit rate of {read} outside of {least}..={most}: {hits:?} hits, {misses:?} misses",
                    );
                    prop_assert_eq!(stats.size_entries, said_now.size_entries);
                    prop_assert_eq!(stats.size_bytes, said_now.size_bytes);
                }
            }
        }
    }
}

// The pages

/// Of any characters, control characters and those beyond the first plane too.
fn texts() -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

/// By its bits, so that it is of any size; or of the size that a page shows.
fn finite_floats() -> BoxedStrategy<f64> {
    let any_finite = any::<u64>().prop_filter_map("finite", |bits| {
        Some(f64::from_bits(bits)).filter(|float| float.is_finite())
    });
    prop_oneof![
        any_finite,
        (0..1_000_000u32).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        select(vec![
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324
        ]),
    ]
    .boxed()
}

fn any_floats() -> BoxedStrategy<f64> {
    let not_finite = select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    prop_oneof![finite_floats(), not_finite].boxed()
}

/// From the beginning of the year 0 to the last time that jiff can say, which is two hours into the
/// last day but one of the year 9999.
fn page_times() -> impl Strategy<Value = SystemTime> + Clone {
    (-62_167_219_200..=253_402_207_200i64, 0..1_000_000_000u32).prop_map(|(secs, nanos)| {
        let epoch = SystemTime::UNIX_EPOCH;
        let whole = Duration::from_secs(secs.unsigned_abs());
        let whole = if secs < 0 {
            epoch - whole
        } else {
            epoch + whole
        };
        whole + Duration::from_nanos(nanos.into())
    })
}

fn snapshots(floats: &BoxedStrategy<f64>) -> impl Strategy<Value = Snapshot> + use<> {
    let counts = || btree_map(texts(), any::<u64>(), 0..5);
    let channels = (any::<u64>(), counts()).prop_map(|(total_active, by_pattern)| ChannelStats {
        total_active,
        by_pattern,
    });
    let envelopes =
        (floats.clone(), counts()).prop_map(|(rate_per_second, by_aspect)| EnvelopeStats {
            rate_per_second,
            by_aspect,
        });
    let presence = (any::<[u64; 2]>(), floats.clone()).prop_map(
        |([total_users, total_agents], average_per_channel)| PresenceStats {
            total_users,
            total_agents,
            average_per_channel,
        },
    );
    let history = (any::<u64>(), floats.clone()).prop_map(
        |(total_envelopes_buffered, buffer_utilization_pct)| HistoryStats {
            total_envelopes_buffered,
            buffer_utilization_pct,
        },
    );
    let tokens = (any::<[u64; 2]>(), any::<i64>()).prop_map(
        |([issued_last_hour, revoked_last_hour], active_count)| TokenStats {
            issued_last_hour,
            revoked_last_hour,
            active_count,
        },
    );
    let cache = (floats.clone(), any::<[u64; 2]>(), 0..3u64).prop_map(
        |(hit_rate_pct, [size_bytes, evictions_last_hour], size_entries)| CacheStats {
            hit_rate_pct,
            size_bytes,
            size_entries,
            evictions_last_hour,
        },
    );
    let alert = (
        texts(),
        select(Severity::ALL.to_vec()),
        texts(),
        page_times(),
    );
    let alert = alert.prop_map(|(name, severity, description, at)| FiringAlert {
        name,
        severity,
        description,
        at,
    });
    let alerts = vec(alert, 0..3);
    let counted = (channels, envelopes, presence, history, tokens, cache);
    (counted, page_times(), alerts).prop_map(|(counted, at, alerts)| {
        let (channels, envelopes, presence, history, tokens, cache) = counted;
        Snapshot {
            channels,
            envelopes,
            presence,
            history,
            tokens,
            cache,
            at,
            alerts,
        }
    })
}

fn floats(snapshot: &mut Snapshot) -> [&mut f64; 4] {
    [
        &mut snapshot.envelopes.rate_per_second,
        &mut snapshot.presence.average_per_channel,
        &mut snapshot.history.buffer_utilization_pct,
        &mut snapshot.cache.hit_rate_pct,
    ]
}

/// The floats as they are to read back, by their bits: a zero keeps its sign.
fn reported(snapshot: &mut Snapshot) -> [u64; 4] {
    for float in floats(snapshot) {
        if !float.is_finite() {
            *float = 0.0;
        }
    }
    floats(snapshot).map(|float| float.to_bits())
}

proptest! {
    #![proptest_config(config())]

    /// Law 9.
    #[test]
    fn what_the_json_page_prints_reads_back(mut snapshot in snapshots(&any_floats())) {
        let page = Format::Json.render(&snapshot, &[]);
        let value = serde_json::to_value(&snapshot).expect("JSON");
        let expected = reported(&mut snapshot);
        let mut read: Snapshot = serde_json::from_slice(&page).expect("JSON");
        prop_assert_eq!(floats(&mut read).map(|float| float.to_bits()), expected);
        prop_assert_eq!(&read, &snapshot);
        prop_assert_eq!(&serde_json::from_value::<Snapshot>(value).expect("JSON"), &snapshot);
        // And so on, for ever the same.
        prop_assert_eq!(Format::Json.render(&read, &[]), Format::Json.render(&snapshot, &[]));
    }

    /// Law 10.
    #[test]
    fn the_text_page_holds_finite_numbers(mut snapshot in snapshots(&any_floats())) {
        let page = String::from_utf8(Format::Prometheus.render(&snapshot, &[])).expect("UTF-8");
        let expected = reported(&mut snapshot);
        let mut samples = HashMap::new();
        // Not `lines`, which would take a return at the end of a name for a part of the line's end.
        for line in page.split_terminator('\n').filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a name and a value");
            let number: f64 = value.parse().expect("a number");
            prop_assert!(number.is_finite(), "{line}");
            samples.insert(series, number.to_bits());
        }
        let read = [
            "parsec_telemetry_envelope_rate_per_second",
            "parsec_telemetry_presence_average_per_channel",
            "parsec_telemetry_history_buffer_utilization_pct",
            "parsec_telemetry_cache_hit_rate_pct",
        ];
        prop_assert_eq!(read.map(|series| samples[series]), expected);
    }
}
