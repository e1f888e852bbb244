//! Sources, rules and boards become a snapshot: on the thread that calls `snapshot()`, for pages on the collector thread.
//!
//! ```text
//!  request ─► pending ─► sources called, or deadline ─► merged ─► rules evaluated ─► answered
//! ```
//!
//! A monitor makes a request of its own at the beginning of each second.

use std::any::Any;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::alerts::AlertRule;
use crate::alerts::evaluator::Evaluator;
use crate::board::{AddedSource, Board, Entry, Freshness};
use crate::clock::CoarseClock;
use crate::label::bounded;
use crate::merge::{EnvelopeRate, merge};
use crate::per_process::PerProcess;
use crate::snapshot::{Section, Snapshot};
use crate::time::{Nanos, Second, Unit as _};
use crate::worker::{Next, Worker, deadline, lock};

/// The least time that rules have once the sources have used up a deadline.
const MIN_RULES_TIME: Duration = Duration::from_millis(50);

/// How long a monitor waits for the sources, and how old their reports may be.
const MONITOR_TIMEOUT: Duration = Duration::from_millis(250);
const MONITOR_MAX_AGE: Duration = Duration::from_millis(500);

/// The error of rules that are not evaluated because their input is not complete.
const AWAITS_SOURCES: &str = "waits for the first call of each source to return";

/// What an aggregator is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) sources: Vec<AddedSource>,
    pub(crate) rules: Vec<AlertRule>,
    pub(crate) envelope_rate: EnvelopeRate,
    pub(crate) clock: Option<CoarseClock>,
    pub(crate) started_at: SystemTime,
}

impl Setup {
    /// Returns a name that no source has yet, at most as long as a label.
    pub(crate) fn free_name(&self, name: &str) -> String {
        let is_free = |name: &String| self.sources.iter().all(|added| added.name != *name);
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let names = std::iter::once(name.to_owned()).chain(numbered);
        names.map(|name| bounded(&name).into_owned()).find(is_free).expect("numbers do not run out")
    }
}

/// A snapshot, and which requests it can answer.
pub(crate) struct Collected {
    pub(crate) snapshot: Snapshot,
    pub(crate) coverage: Coverage,
}

/// How recent the reports of a snapshot are.
#[derive(Clone)]
pub(crate) struct Coverage {
    /// The clock's time when the reports were merged.
    pub(crate) reading: Nanos,
    merged_at: Instant,
    /// When the oldest call began whose report is included, scheduled calls aside.
    fresh_since: Instant,
    /// When a call that is still in flight was abandoned. Requests received earlier may still wait for it.
    abandoned_at: Option<Instant>,
    /// Whether the first call of a source is still waited for.
    awaits_sources: bool,
    /// The sections in the last good report of a stale source; all of them until the first call of each source has
    /// returned or been abandoned.
    pub(crate) stale_sections: Vec<Section>,
}

impl Coverage {
    fn satisfies(&self, freshness: Freshness) -> bool {
        !self.awaits_sources
            && freshness.allows(self.fresh_since)
            && self.abandoned_at.is_none_or(|at| at <= freshness.received_at)
    }
}

type Respond = Box<dyn FnOnce(&Arc<Collected>) + Send>;

/// A request for a snapshot.
pub(crate) struct PendingRequest {
    pub(crate) freshness: Freshness,
    pub(crate) deadline: Instant,
    pub(crate) respond: Respond,
}

/// What a monitor does on the collector thread.
pub(crate) trait Sampler: Any + Send + Sync {
    /// Records the snapshot that was taken for it.
    fn sample(&self, collected: &Collected);

    /// Starts to deliver the transitions that wait in the evaluator.
    fn deliver(self: Arc<Self>);
}

/// The monitor of an aggregator, while there is one.
type MonitorSlot = Arc<Mutex<Option<Weak<dyn Sampler>>>>;

/// Takes the snapshots of an aggregator.
pub(crate) struct Collector {
    setup: Setup,
    monitor: MonitorSlot,
    shared: PerProcess<Shared>,
}

/// What the threads of an aggregator share.
pub(crate) struct Shared {
    pub(crate) started_at: SystemTime,
    envelope_rate: EnvelopeRate,
    pub(crate) clock: CoarseClock,
    board: Board,
    pub(crate) evaluator: Arc<Evaluator>,
    monitor: MonitorSlot,
    pending: Mutex<Vec<PendingRequest>>,
    latest: Mutex<Option<Arc<Collected>>>,
    /// How many snapshots were taken for pages, and how long that took.
    pub(crate) durations: Mutex<(u64, Duration)>,
    thread: Arc<Worker>,
}

impl Collector {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, monitor: MonitorSlot::default(), shared: PerProcess::new() }
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Returns the monitor, after creating it if there is none.
    pub(crate) fn monitor<M: Sampler>(&self, create: impl FnOnce() -> Arc<M>) -> Arc<M> {
        let mut slot = lock(&self.monitor);
        let present = slot.as_ref().and_then(Weak::upgrade);
        let present = present.and_then(|monitor| (monitor as Arc<dyn Any + Send + Sync>).downcast().ok());
        present.unwrap_or_else(|| {
            let new = create();
            *slot = Some(Arc::downgrade(&new) as Weak<dyn Sampler>);
            new
        })
    }

    /// Calls every source and evaluates every rule on this thread.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shared().collect_here(|_| true).snapshot
    }

    /// As [`snapshot`](Self::snapshot), without the sources that are too expensive to call for a monitor now.
    pub(crate) fn collect_for_monitor(&self) -> Collected {
        self.shared().collect_here(Entry::may_be_called_for_monitor)
    }

    /// Answers a request from the collector thread, by its deadline or at most [`MIN_RULES_TIME`] later. Where the
    /// system has no thread left, answers it from this one, which may block.
    #[cfg(feature = "serve")]
    pub(crate) fn request(&self, request: PendingRequest) {
        let shared = self.shared();
        lock(&shared.pending).push(request);
        if !shared.wake_thread() {
            let requests = mem::take(&mut *lock(&shared.pending));
            shared.answer(&shared.keep(shared.collect_here(|_| true)), requests);
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.get_or_create(|| Shared::new(&self.setup, &self.monitor))
    }
}

impl Shared {
    fn new(setup: &Setup, monitor: &MonitorSlot) -> Self {
        let thread = Arc::new(Worker::default());
        let clock = setup.clock.clone().unwrap_or_else(CoarseClock::shared);
        let entry = |added: &AddedSource| Entry::new(added.clone(), clock.clone(), Arc::clone(&thread));
        let board = setup.sources.iter().map(|added| Arc::new(entry(added))).collect();
        let evaluator = Evaluator::new(setup.rules.clone(), Arc::clone(&thread));
        Self {
            started_at: setup.started_at,
            envelope_rate: setup.envelope_rate,
            clock,
            board,
            evaluator: Arc::new(evaluator),
            monitor: Arc::clone(monitor),
            pending: Mutex::default(),
            latest: Mutex::default(),
            durations: Mutex::default(),
            thread,
        }
    }

    /// Wakes the collector thread, and spawns it first if there is none. Returns whether there is one.
    pub(crate) fn wake_thread(self: &Arc<Self>) -> bool {
        self.thread.wake_or_spawn("parsec-collect", || step(Arc::downgrade(self)))
    }

    /// Calls sources and evaluates every rule on this thread.
    fn collect_here(&self, is_called: fn(&Entry) -> bool) -> Collected {
        self.board.iter().filter(|entry| is_called(entry)).for_each(Entry::call_here);
        let (mut snapshot, coverage) = self.merge();
        self.evaluator.evaluate_here(&mut snapshot, coverage.reading);
        Collected { snapshot, coverage }
    }

    /// Merges the reports on the board into a snapshot without alerts.
    fn merge(&self) -> (Snapshot, Coverage) {
        let (at, reading) = (self.clock.now(), self.clock.read());
        let merged_at = Instant::now();
        let mut coverage = Coverage {
            reading,
            merged_at,
            fresh_since: merged_at,
            abandoned_at: None,
            awaits_sources: false,
            stale_sections: Vec::new(),
        };
        let mut snapshot = Snapshot { at, started_at: self.started_at, ..Snapshot::default() };
        let mut reports = Vec::with_capacity(self.board.len());
        for entry in self.board.iter().map(|entry| entry.read()) {
            coverage.fresh_since = coverage.fresh_since.min(entry.began.unwrap_or(coverage.fresh_since));
            coverage.abandoned_at = coverage.abandoned_at.max(entry.abandoned_at);
            coverage.awaits_sources |= entry.is_awaited;
            reports.extend(entry.report);
            if !entry.status.up {
                coverage.stale_sections.extend(&entry.status.sections);
            }
            snapshot.sources.push(entry.status);
        }
        if coverage.awaits_sources {
            // Any sum may lack a part.
            coverage.stale_sections = Section::ALL.into();
        }
        merge(&reports, self.envelope_rate, &mut snapshot);
        (snapshot, coverage)
    }

    /// Returns the latest snapshot for pages, if it is fresh enough.
    pub(crate) fn latest(&self, freshness: Freshness) -> Option<Arc<Collected>> {
        let latest = lock(&self.latest).clone();
        latest.filter(|latest| latest.coverage.satisfies(freshness))
    }

    /// Keeps a snapshot for requests to come, unless there is a newer one.
    fn keep(&self, collected: Collected) -> Arc<Collected> {
        let collected = Arc::new(collected);
        let mut latest = lock(&self.latest);
        if latest.as_ref().is_none_or(|latest| latest.coverage.merged_at <= collected.coverage.merged_at) {
            *latest = Some(Arc::clone(&collected));
        }
        drop(latest);
        collected
    }

    fn answer(&self, collected: &Arc<Collected>, requests: Vec<PendingRequest>) {
        let pages = requests.iter().filter(|request| !request.freshness.for_monitor);
        let received = pages.map(|request| request.freshness.received_at);
        if let Some(first) = received.min() {
            let (count, sum) = &mut *lock(&self.durations);
            (*count, *sum) = (*count + 1, sum.saturating_add(first.elapsed()));
        }
        for request in requests {
            (request.respond)(collected);
        }
    }
}

/// The collector thread may be parked.
impl Drop for Shared {
    fn drop(&mut self) {
        self.thread.wake();
    }
}

/// The step of the collector thread.
fn step(shared: Weak<Shared>) -> impl FnMut() -> Next + Send {
    let mut thread = CollectorThread::default();
    move || match shared.upgrade() {
        Some(shared) => ControlFlow::Continue(thread.step(&shared)),
        None => ControlFlow::Break(()),
    }
}

/// What the collector thread is waiting for.
#[derive(Default)]
struct CollectorThread {
    /// Requests whose sources are being called, or that wait for the rules to be idle.
    waiting: Vec<PendingRequest>,
    evaluation: Option<Evaluation>,
    /// When the monitor's next snapshot is due.
    next_sample: Nanos,
}

/// A snapshot whose rules are being evaluated, and the requests for it.
struct Evaluation {
    snapshot: Arc<Snapshot>,
    coverage: Coverage,
    requests: Vec<PendingRequest>,
    /// When the evaluation may be abandoned at the earliest.
    not_before: Instant,
}

impl CollectorThread {
    /// Answers the requests that can be answered. Returns when the next deadline is.
    fn step(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        self.waiting.append(&mut lock(&shared.pending));
        let next_sample = self.request_sample(shared);
        // A call that a snapshot does not include may have returned.
        lock(&shared.latest).take_if(|latest| latest.coverage.abandoned_at.is_some());
        self.evaluation = self.evaluation.take().and_then(|running| running.advance(shared));
        self.answer_from_latest(shared);

        let now = Instant::now();
        for request in &self.waiting {
            for entry in &shared.board {
                entry.start_call(request.freshness);
                if now >= request.deadline {
                    entry.abandon_call(request.freshness);
                }
            }
        }
        let is_stuck = shared.evaluator.is_stuck();
        // An evaluation is busy until `advance` has answered its requests, even if the rules have returned.
        let is_busy = !is_stuck && (self.evaluation.is_some() || !shared.evaluator.is_idle());
        let is_ready = |request: &mut PendingRequest| {
            let has_reports = || shared.board.iter().all(|entry| entry.satisfies(request.freshness));
            if is_busy { now >= request.deadline + MIN_RULES_TIME } else { now >= request.deadline || has_reports() }
        };
        let ready: Vec<_> = self.waiting.extract_if(.., is_ready).collect();
        if ready.is_empty() {
            self.next_deadline(now).into_iter().chain(next_sample).min()
        } else {
            let for_monitor = ready.iter().all(|request| request.freshness.for_monitor);
            let is_called = |entry: &&Arc<Entry>| !for_monitor || entry.may_be_called_for_monitor();
            shared.board.iter().filter(is_called).for_each(Entry::call_inline);
            let (mut snapshot, coverage) = shared.merge();
            if is_stuck || is_busy || coverage.awaits_sources {
                if coverage.awaits_sources {
                    shared.evaluator.defer(AWAITS_SOURCES);
                } else if !for_monitor {
                    shared.evaluator.abandon();
                }
                shared.evaluator.fill(&mut snapshot);
                let collected = Collected { snapshot, coverage };
                // A page can still wait for the rules that a monitor has not waited for.
                let is_kept = is_stuck || !for_monitor;
                let collected = if is_kept { shared.keep(collected) } else { Arc::new(collected) };
                shared.answer(&collected, ready);
            } else {
                let snapshot = Arc::new(snapshot);
                shared.evaluator.start(&snapshot, coverage.reading);
                let evaluation =
                    Evaluation { snapshot, coverage, requests: ready, not_before: Instant::now() + MIN_RULES_TIME };
                self.evaluation = evaluation.advance(shared);
            }
            // At once, since sources and subscribers on this thread may have consumed a wake-up.
            Some(now)
        }
    }

    /// Requests a snapshot for the monitor at the beginning of each second. Returns when the next one begins.
    fn request_sample(&mut self, shared: &Shared) -> Option<Instant> {
        if shared.clock.is_manual() {
            return None;
        }
        let monitor = lock(&shared.monitor).as_ref().and_then(Weak::upgrade)?;
        if shared.evaluator.has_transitions() {
            Arc::clone(&monitor).deliver();
        }
        let (received_at, reading) = (Instant::now(), shared.clock.read());
        if reading >= self.next_sample {
            // Seconds that have been missed, while the process was stopped, are skipped.
            self.next_sample = reading - reading % Second::NANOS + Second::NANOS;
            self.waiting.push(PendingRequest {
                freshness: Freshness { received_at, max_age: MONITOR_MAX_AGE, for_monitor: true },
                deadline: received_at + MONITOR_TIMEOUT,
                respond: Box::new(move |collected| monitor.sample(collected)),
            });
        }
        Some(deadline(received_at, Duration::from_nanos(self.next_sample - reading)))
    }

    fn answer_from_latest(&mut self, shared: &Shared) {
        for request in mem::take(&mut self.waiting) {
            // A monitor needs a snapshot of the second that has begun.
            match shared.latest(request.freshness).filter(|_| !request.freshness.for_monitor) {
                Some(latest) => (request.respond)(&latest),
                None => self.waiting.push(request),
            }
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|request| {
            let is_late = now >= request.deadline;
            request.deadline + if is_late { MIN_RULES_TIME } else { Duration::ZERO }
        });
        let evaluating = self.evaluation.iter().flat_map(|evaluation| {
            let requests = evaluation.requests.iter();
            requests.map(|request| request.deadline.max(evaluation.not_before))
        });
        waiting.chain(evaluating).min()
    }
}

impl Evaluation {
    /// Answers the requests if the evaluation has ended, and otherwise those whose deadline has passed. Returns the
    /// evaluation if requests are left.
    fn advance(mut self, shared: &Shared) -> Option<Self> {
        if shared.evaluator.is_idle() {
            let collected = shared.keep(Self::collected(self.snapshot, self.coverage, shared));
            shared.answer(&collected, self.requests);
            return None;
        }
        let now = Instant::now();
        let is_late = |request: &mut PendingRequest| now >= request.deadline.max(self.not_before);
        let late: Vec<_> = self.requests.extract_if(.., is_late).collect();
        if !late.is_empty() {
            if late.iter().any(|request| !request.freshness.for_monitor) {
                shared.evaluator.abandon();
            }
            // Not kept: the other requests can still wait for the rules.
            let snapshot = Arc::clone(&self.snapshot);
            let collected = Self::collected(snapshot, self.coverage.clone(), shared);
            shared.answer(&Arc::new(collected), late);
        }
        (!self.requests.is_empty()).then_some(self)
    }

    fn collected(snapshot: Arc<Snapshot>, coverage: Coverage, shared: &Shared) -> Collected {
        let mut snapshot = Arc::unwrap_or_clone(snapshot);
        shared.evaluator.fill(&mut snapshot);
        Collected { snapshot, coverage }
    }
}
