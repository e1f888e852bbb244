//! Any sequence of operations on counters agrees with a plain model of it.
//!
//! Properties:
//!
//! 1. Totals are exact: they hold every event once, whatever its time.
//! 2. An event is placed where it happened: a late event by its age, a future event now, and one older than the
//!    window in the totals only.
//! 3. A rate is what the last 60 seconds hold, divided by 60; in the counter's first minute by the time since it was
//!    created, or since the oldest event that was placed before that, and by at least one second. The slot at the
//!    window's far edge is weighted by the fraction of its recording time that is inside.
//! 4. The last hour is what the last 60 minutes hold by the same rule, rounded to the nearest whole number, halves
//!    up.
//! 5. Aspects are registered in the order in which they first appear, and stay. Beyond `max_aspects`, names are
//!    recorded as `__overflow__`.
//! 6. The recording thread makes no difference: one thread or several at once, with shards in the slab or outside of
//!    it, before the destructors of its thread-locals or in them, by handle or by name.
//! 7. A manual clock advances as far as it is told, and stays at its end, after 584 years.
//!
//! See [`config`] for where failures are kept. The other property tests are `properties_cache`, `properties_pages`
//! and `properties_windows`.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use common::counters::{extreme_times, tokens_on};
use common::model::{Nanos, WindowModel, nanos};
use common::strategies::{Checked, config, spans};
use common::threads::{SlabOccupants, at_thread_exit, register_exit_destructor};
use common::{MINUTE, SECOND};
use parsec_telemetry::{Aspect, EnvelopeCounters, ManualClock, TokenCounters, TokenStats};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;

/// When a manual clock starts: 1 January 2026, at midnight UTC.
const START: Duration = Duration::from_secs(1_767_225_600);

/// The least range of a manual clock.
const CLOCK_RANGE: Duration = Duration::from_secs(584 * 365 * 24 * 3600);

/// A time as the model counts it.
fn nanos_at(at: SystemTime) -> Nanos {
    match at.duration_since(SystemTime::UNIX_EPOCH + START) {
        Ok(after) => nanos(after),
        Err(error) => -nanos(error.duration()),
    }
}

/// Any time that the platform represents, its first and its last among them.
fn times() -> impl Strategy<Value = SystemTime> {
    let epoch = SystemTime::UNIX_EPOCH;
    prop_oneof![
        2 => select(extreme_times().to_vec()),
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

// Operations

#[derive(Clone, Debug)]
enum Op {
    Advance(Duration),
    /// To where the window's far edge is this many thousandths of a unit from something that happened: an event, or
    /// the creation of a counter.
    AdvanceToEdge(Index, Unit, i64),
    CreateEnvelopes {
        max_aspects: usize,
    },
    CreateTokens,
    /// On some of the threads at once.
    Record(Event, [bool; THREADS]),
    /// In the destructor of a thread-local of one thread, which another thread then replaces.
    RecordAtExit(Event, usize, FirstUse),
    Check,
}

#[derive(Clone, Debug)]
struct Event {
    counter: Index,
    kind: Kind,
    when: When,
    times: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    Envelope { name: &'static str, by_handle: bool },
    Issued,
    Revoked,
    Expired,
}

#[derive(Clone, Debug)]
enum When {
    Now,
    Late(Duration),
    Future(Duration),
    At(SystemTime),
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Second,
    Minute,
}

impl Unit {
    fn nanos(self) -> Nanos {
        match self {
            Self::Second => nanos(SECOND),
            Self::Minute => nanos(MINUTE),
        }
    }
}

const THREADS: usize = 3;

const LONGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                       0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOO_LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx";

/// Short and long names, names that differ in one position only, and names with a meaning.
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
        12 => (events(), threads).prop_map(|(event, threads)| Op::Record(event, threads)),
        2 => (events(), 0..THREADS, select(vec![FirstUse::Test, FirstUse::Crate]))
            .prop_map(|(event, thread, first)| Op::RecordAtExit(event, thread, first)),
        6 => spans().prop_map(Op::Advance),
        3 => (any::<Index>(), units, -1_000..=1_000i64)
            .prop_map(|(moment, unit, off)| Op::AdvanceToEdge(moment, unit, off)),
        1 => select(vec![0, 1, 5, 64, 70])
            .prop_map(|max_aspects| Op::CreateEnvelopes { max_aspects }),
        1 => Just(Op::CreateTokens),
        4 => Just(Op::Check),
    ];
    vec(op, 0..60)
}

fn events() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        4 => (select(NAMES.to_vec()), any::<bool>())
            .prop_map(|(name, by_handle)| Kind::Envelope { name, by_handle }),
        2 => Just(Kind::Issued),
        2 => Just(Kind::Revoked),
        1 => Just(Kind::Expired),
    ];
    let when = prop_oneof![
        4 => Just(When::Now),
        4 => spans().prop_map(When::Late),
        1 => spans().prop_map(When::Future),
        1 => times().prop_map(When::At),
    ];
    let times = prop_oneof![4 => 0..8u32, 1 => 0..1000u32];
    (any::<Index>(), kind, when, times).prop_map(|(counter, kind, when, times)| Event { counter, kind, when, times })
}

// Threads

type Job = Arc<dyn Fn() + Send + Sync>;

/// A thread that runs the jobs it is sent.
struct Worker {
    jobs: Option<Sender<Box<dyn FnOnce() + Send>>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Whose thread-local a thread uses first. Most systems destroy it last.
#[derive(Clone, Copy, Debug)]
enum FirstUse {
    /// The test's: its destructor records when the crate's thread-locals are gone.
    Test,
    /// The crate's, if the thread has recorded before: they are still there.
    Crate,
}

impl Worker {
    fn new(first: FirstUse) -> Self {
        let (jobs, received) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (report, done) = mpsc::channel();
        let thread = thread::spawn(move || {
            if matches!(first, FirstUse::Test) {
                register_exit_destructor();
            }
            for job in received {
                job();
                if report.send(()).is_err() {
                    break;
                }
            }
        });
        Self { jobs: Some(jobs), done, thread: Some(thread) }
    }

    fn begin(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("the thread has not ended");
        jobs.send(Box::new(job)).expect("the thread lives");
    }

    fn finish(&self) {
        self.done.recv().expect("no panic");
    }

    /// Runs `job` when the thread exits, and returns when its destructors have run.
    fn exit_with(mut self, job: Job) {
        self.begin(move || at_thread_exit(move || job()));
        self.finish();
        self.jobs = None;
        let thread = self.thread.take().expect("the thread has not ended");
        thread.join().expect("no panic");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // `finish` has reported a panic.
            let _ = thread.join();
        }
    }
}

// The model

struct Envelopes {
    counters: EnvelopeCounters,
    handles: HashMap<&'static str, Aspect>,
    max_aspects: usize,
    /// In the order of their first appearance.
    names: Vec<&'static str>,
    by_name: BTreeMap<&'static str, u64>,
    all: WindowModel,
}

/// The name that an empty name is shown as, or the name itself.
fn shown(name: &'static str) -> &'static str {
    if name.is_empty() { "unknown" } else { name }
}

impl Envelopes {
    /// Property 5: the aspect that an event with this name belongs to, from its first appearance on.
    fn aspect_of(&mut self, name: &'static str) -> &'static str {
        let name = shown(name);
        if self.names.contains(&name) {
            return name;
        }
        if name == "__overflow__" || name.len() > 128 || self.names.len() == self.max_aspects {
            return "__overflow__";
        }
        self.names.push(name);
        name
    }

    fn check(&self, now: Nanos) -> Checked {
        let stats = self.counters.snapshot();
        let mut expected: BTreeMap<&str, u64> = self.names.iter().map(|name| (*name, 0)).collect();
        expected.extend(&self.by_name);
        let read: BTreeMap<&str, u64> = stats.by_aspect.iter().map(|(name, &total)| (name.as_str(), total)).collect();
        prop_assert_eq!(read, expected, "by aspect");

        let (rate, (expected, tolerance)) = (stats.rate_per_second, self.all.rate(now));
        let agrees = (rate - expected).abs() <= tolerance || rate.is_nan() && expected.is_nan();
        prop_assert!(agrees, "a rate of {} instead of {}", rate, expected);

        for (name, handle) in &self.handles {
            let shown = shown(name);
            let expected = if self.names.contains(&shown) { shown } else { "__overflow__" };
            prop_assert_eq!(handle.name(), expected);
        }
        Ok(())
    }
}

struct Tokens {
    counters: TokenCounters,
    issued: WindowModel,
    revoked: WindowModel,
    expired: u64,
}

impl Tokens {
    fn check(&self, now: Nanos) -> Checked {
        let gone = self.revoked.total + self.expired;
        let active_count = self.issued.total.cast_signed() - gone.cast_signed();
        let stats = self.counters.snapshot();
        let expected = TokenStats {
            issued_last_hour: self.issued.rounded(now),
            revoked_last_hour: self.revoked.rounded(now),
            active_count,
        };
        prop_assert_eq!(stats, expected);
        Ok(())
    }
}

/// The counters, and beside each what it should read.
struct World {
    clock: ManualClock,
    now: Nanos,
    workers: Vec<Worker>,
    envelopes: Vec<Envelopes>,
    tokens: Vec<Tokens>,
}

impl World {
    /// A world whose first counters are created at this phase of the clock.
    fn new(phase: Duration) -> Result<Self, TestCaseError> {
        let workers = (0..THREADS).map(|_| Worker::new(FirstUse::Test));
        let mut world = Self {
            clock: ManualClock::new(),
            now: 0,
            workers: workers.collect(),
            envelopes: Vec::new(),
            tokens: Vec::new(),
        };
        prop_assert_eq!(nanos_at(world.clock.now()), 0);
        world.advance(phase)?;
        world.create_envelopes(64);
        world.create_tokens();
        Ok(world)
    }

    fn create_envelopes(&mut self, max_aspects: usize) {
        let builder = EnvelopeCounters::builder().clock(self.clock.clock());
        self.envelopes.push(Envelopes {
            counters: builder.max_aspects(max_aspects).build(),
            handles: HashMap::new(),
            max_aspects,
            names: Vec::new(),
            by_name: BTreeMap::new(),
            all: WindowModel::new(SECOND, self.now),
        });
    }

    fn create_tokens(&mut self) {
        self.tokens.push(Tokens {
            counters: tokens_on(&self.clock),
            issued: WindowModel::new(MINUTE, self.now),
            revoked: WindowModel::new(MINUTE, self.now),
            expired: 0,
        });
    }

    /// Property 7.
    fn advance(&mut self, by: Duration) -> Checked {
        self.clock.advance(by);
        let (requested, shown) = (self.now + nanos(by), nanos_at(self.clock.now()));
        if shown != requested {
            let range = nanos(CLOCK_RANGE)..requested;
            prop_assert!(range.contains(&shown), "{} for {}", shown, requested);
            self.clock.advance(Duration::MAX);
            prop_assert_eq!(nanos_at(self.clock.now()), shown);
        }
        self.now = shown;
        Ok(())
    }

    fn time(&self, when: &When) -> Option<SystemTime> {
        let (now, [earliest, latest]) = (self.clock.now(), extreme_times());
        match *when {
            When::Now => None,
            When::Late(by) => Some(now.checked_sub(by).unwrap_or(earliest)),
            When::Future(by) => Some(now.checked_add(by).unwrap_or(latest)),
            When::At(at) => Some(at),
        }
    }

    /// Records in the model what so many threads do, and returns the job that each of them runs.
    fn prepare(&mut self, event: &Event, threads: usize) -> Job {
        let (now, at, times) = (self.now, self.time(&event.when), event.times);
        let happened = at.map_or(now, nanos_at);
        let all = u64::from(times) * threads as u64;
        if let Kind::Envelope { name, by_handle } = event.kind {
            let envelopes = event.counter.index(self.envelopes.len());
            let envelopes = &mut self.envelopes[envelopes];
            if by_handle || all > 0 {
                let aspect = envelopes.aspect_of(name);
                envelopes.all.record(all, now, happened);
                if all > 0 {
                    *envelopes.by_name.entry(aspect).or_default() += all;
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
        match event.kind {
            Kind::Envelope { .. } => unreachable!("returned above"),
            Kind::Issued => {
                tokens.issued.record(all, now, happened);
                WindowModel::cover_together([&mut tokens.issued, &mut tokens.revoked]);
                repeated(times, move || match at {
                    None => counters.issued(),
                    Some(at) => counters.issued_at(at),
                })
            }
            Kind::Revoked => {
                tokens.revoked.record(all, now, happened);
                WindowModel::cover_together([&mut tokens.issued, &mut tokens.revoked]);
                repeated(times, move || match at {
                    None => counters.revoked(),
                    Some(at) => counters.revoked_at(at),
                })
            }
            Kind::Expired => {
                tokens.expired += all;
                repeated(times, move || counters.expired())
            }
        }
    }

    fn run(&mut self, op: &Op) -> Checked {
        match op {
            Op::Advance(by) => self.advance(*by)?,
            Op::AdvanceToEdge(moment, unit, thousandths) => {
                let windows = self.envelopes.iter().map(|envelopes| &envelopes.all);
                let windows = windows.chain(self.tokens.iter().map(|tokens| &tokens.issued));
                let moments = windows.flat_map(WindowModel::moments).collect::<Vec<_>>();
                let off = unit.nanos() / 1000 * Nanos::from(*thousandths);
                let to = moment.get(&moments) + 60 * unit.nanos() + off;
                let by = u64::try_from(to - self.now).unwrap_or_default();
                self.advance(Duration::from_nanos(by))?;
            }
            Op::CreateEnvelopes { max_aspects } => self.create_envelopes(*max_aspects),
            Op::CreateTokens => self.create_tokens(),
            Op::Record(event, threads) => {
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
            Op::RecordAtExit(event, thread, first) => {
                let job = self.prepare(event, 1);
                let next = Worker::new(*first);
                std::mem::replace(&mut self.workers[*thread], next).exit_with(job);
            }
            Op::Check => self.check()?,
        }
        Ok(())
    }

    fn check(&self) -> Checked {
        for envelopes in &self.envelopes {
            envelopes.check(self.now)?;
        }
        for tokens in &self.tokens {
            tokens.check(self.now)?;
        }
        Ok(())
    }
}

fn repeated(times: u32, job: impl Fn() + Send + Sync + 'static) -> Job {
    Arc::new(move || (0..times).for_each(|_| job()))
}

proptest! {
    #![proptest_config(config())]

    /// Properties 1 to 7.
    #[test]
    fn counters_after_any_operations_agree_with_the_model(
        phase in spans(),
        ops in ops(),
        outside_of_the_slab in any::<bool>(),
    ) {
        let _occupants = outside_of_the_slab.then(SlabOccupants::new);
        let mut world = World::new(phase)?;
        for op in &ops {
            world.run(op)?;
        }
        world.check()?;
    }
}
