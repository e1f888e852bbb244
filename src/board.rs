//! The report board: what each source last reported, and the workers that call the sources.
//!
//! A call that fails, panics or has not returned leaves the last good report on the board. No lock is held while a
//! source runs.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::catch_panic::{catch_panic, shorten};
use crate::clock::CoarseClock;
use crate::snapshot::SourceStatus;
use crate::source::{Report, Schedule, Source};
use crate::time::Nanos;
use crate::worker::{Next, Worker, deadline, lock};

/// A source is stale once its call has been in flight for longer than this, or with [`Schedule::Every`] than its period.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The shortest period of [`Schedule::Every`].
const MIN_PERIOD: Nanos = 1_000_000;

/// After a call that took *d*, a monitor calls no sooner than this times *d*.
const MONITOR_PAUSE_FACTOR: u64 = 20;

/// A source as it was added to an aggregator.
#[derive(Clone)]
pub(crate) struct AddedSource {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) schedule: Schedule,
    pub(crate) source: Arc<dyn Source>,
}

/// How recent the reports have to be for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub(crate) received_at: Instant,
    pub(crate) max_age: Duration,
    /// Whether the request is a monitor's: it spares expensive sources, and abandons no call but a stale first one.
    pub(crate) for_monitor: bool,
}

impl Freshness {
    /// Returns whether a call that began at `began` is recent enough.
    pub(crate) fn allows(self, began: Instant) -> bool {
        self.received_at.saturating_duration_since(began) <= self.max_age
    }
}

/// All sources of an aggregator, in the order in which they were added.
pub(crate) type Board = Vec<Arc<Entry>>;

/// A source, its worker, and what it last reported.
pub(crate) struct Entry {
    added: AddedSource,
    clock: CoarseClock,
    state: Mutex<State>,
    worker: Worker,
    /// The thread to wake when a call returns.
    collector: Arc<Worker>,
}

#[derive(Default)]
struct State {
    /// The last good report, and when its call began.
    good: Option<(Arc<Report>, Nanos)>,
    /// The call that the worker makes, or is about to make.
    in_flight: Option<Call>,
    /// When the call that began last, of those that returned, began and ended.
    last: Option<(Instant, Instant)>,
    /// The error of that call.
    error: Option<String>,
    /// When a source with [`Schedule::Every`] is called next.
    due: Option<Nanos>,
    /// Until when no call is started for a monitor alone.
    spared_until: Nanos,
    panics: u64,
    timeouts: u64,
    /// What was logged last.
    was_up: Option<bool>,
}

#[derive(Clone, Copy)]
struct Call {
    began: Instant,
    reading: Nanos,
    /// Whether the worker makes it already.
    is_started: bool,
    abandoned_at: Option<Instant>,
}

/// What a call returned: a report, the source's error, or the message of a panic.
type CallResult = Result<Result<Report, String>, String>;

/// What an entry shows at one moment.
pub(crate) struct EntryReading {
    /// The last good report.
    pub(crate) report: Option<Arc<Report>>,
    pub(crate) status: SourceStatus,
    /// When the last call that returned began. `None` for [`Schedule::Every`], and while an abandoned call is in flight.
    pub(crate) began: Option<Instant>,
    /// When the call in flight was abandoned. Requests received earlier may still wait for it.
    pub(crate) abandoned_at: Option<Instant>,
    /// Whether the first call has neither returned nor been abandoned.
    pub(crate) is_awaited: bool,
}

impl Entry {
    pub(crate) fn new(added: AddedSource, clock: CoarseClock, collector: Arc<Worker>) -> Self {
        Self { added, clock, state: Mutex::default(), worker: Worker::default(), collector }
    }

    /// Calls the source on this thread; one with [`Schedule::Every`] only if it has never returned.
    pub(crate) fn call_here(self: &Arc<Self>) {
        let has_period = matches!(self.added.schedule, Schedule::Every(_));
        if has_period && lock(&self.state).last.is_some() {
            return self.wake_if_due();
        }
        let call = self.new_call();
        let result = call_source(&*self.added.source);
        let mut state = lock(&self.state);
        self.record(&mut state, call, result);
        if state.in_flight.is_some() {
            self.collector.wake();
        }
    }

    /// Returns whether a monitor may call the source: 20 times as long as the last call took has passed since.
    pub(crate) fn may_be_called_for_monitor(&self) -> bool {
        lock(&self.state).spared_until <= self.clock.read()
    }

    /// Calls the source on this thread if it is scheduled inline.
    pub(crate) fn call_inline(self: &Arc<Self>) {
        if self.added.schedule == Schedule::Inline {
            self.call_here();
        }
    }

    /// Starts the call that a request needs, if there is none in flight.
    pub(crate) fn start_call(self: &Arc<Self>, freshness: Freshness) {
        let mut state = lock(&self.state);
        if self.is_met(&state, freshness) {
            drop(state);
            self.wake_if_due();
        } else if state.in_flight.is_none() {
            state.in_flight = Some(self.new_call());
            drop(state);
            self.wake_worker();
        }
    }

    /// Returns whether a request needs no further call.
    pub(crate) fn satisfies(&self, freshness: Freshness) -> bool {
        self.is_met(&lock(&self.state), freshness)
    }

    /// Gives up the call that a request is still waiting for.
    pub(crate) fn abandon_call(&self, freshness: Freshness) {
        let mut state = lock(&self.state);
        let is_first = state.last.is_none();
        if self.is_met(&state, freshness) {
            return;
        }
        if let Some(call) = &mut state.in_flight
            && call.abandoned_at.is_none()
            // The rules wait for the first call of each source.
            && (!freshness.for_monitor || is_first && call.began.elapsed() > STALE_AFTER)
        {
            call.abandoned_at = Some(Instant::now());
            state.timeouts += 1;
            drop(state);
            #[cfg(feature = "tracing")]
            tracing::warn!(source = self.added.name, "source did not answer by the deadline of a page");
        }
    }

    pub(crate) fn read(&self) -> EntryReading {
        let mut state = lock(&self.state);
        let abandoned_at = state.in_flight.and_then(|call| call.abandoned_at);
        let is_for_requests = !matches!(self.added.schedule, Schedule::Every(_)) && abandoned_at.is_none();
        let report = state.good.as_ref().map(|(report, _)| Arc::clone(report));
        let began = state.last.map(|(began, _)| began).filter(|_| is_for_requests);
        let status = self.status(&state);
        let is_awaited = state.last.is_none() && abandoned_at.is_none();
        let was_up = state.was_up.replace(status.up);
        // A subscriber is code of the embedder.
        drop(state);
        if was_up != Some(status.up) {
            #[cfg(feature = "tracing")]
            if status.up {
                tracing::info!(source = self.added.name, "source reports");
            } else {
                tracing::warn!(source = self.added.name, error = status.error, "source is stale");
            }
        }
        EntryReading { report, status, began, abandoned_at, is_awaited }
    }

    fn is_met(&self, state: &State, freshness: Freshness) -> bool {
        // Requests received after a call was abandoned do not wait for it.
        let abandoned_at = state.in_flight.and_then(|call| call.abandoned_at);
        if abandoned_at.is_some_and(|abandoned_at| abandoned_at <= freshness.received_at) {
            return true;
        }
        if freshness.for_monitor && state.in_flight.is_none() && state.spared_until > self.clock.read() {
            return true;
        }
        match (self.added.schedule, state.last) {
            (Schedule::Inline, _) | (Schedule::Every(_), Some(_)) => true,
            // With an age allowed, a call that was in flight when the request was received will do.
            (Schedule::OnDemand, Some((began, ended))) => {
                freshness.allows(began) || (!freshness.max_age.is_zero() && ended >= freshness.received_at)
            }
            (_, None) => false,
        }
    }

    fn new_call(&self) -> Call {
        Call { began: Instant::now(), reading: self.clock.read(), is_started: false, abandoned_at: None }
    }

    fn is_due(&self, state: &State) -> bool {
        state.due.is_some_and(|due| due <= self.clock.read())
    }

    fn wake_if_due(self: &Arc<Self>) {
        if self.is_due(&lock(&self.state)) {
            self.wake_worker();
        }
    }

    fn wake_worker(self: &Arc<Self>) {
        let entry = Arc::downgrade(self);
        let step = move || move || work(&entry);
        if !self.worker.wake_or_spawn("parsec-source", step)
            && let Some(call) = self.next_call()
        {
            // No thread is left: this one makes the call.
            self.end_call(call, call_source(&*self.added.source));
        }
    }

    /// Returns the call that the worker is to make now.
    fn next_call(&self) -> Option<Call> {
        let mut state = lock(&self.state);
        if state.in_flight.is_none() && self.is_due(&state) {
            state.in_flight = Some(self.new_call());
        }
        let call = state.in_flight.as_mut().filter(|call| !call.is_started)?;
        call.is_started = true;
        Some(*call)
    }

    fn end_call(&self, call: Call, result: CallResult) {
        let mut state = lock(&self.state);
        state.in_flight = None;
        self.record(&mut state, call, result);
        drop(state);
        self.collector.wake();
    }

    fn record(&self, state: &mut State, call: Call, result: CallResult) {
        if let Schedule::Every(period) = self.added.schedule {
            state.due = Some(state.next_due(period, call.reading, self.clock.read()));
        }
        state.panics += u64::from(result.is_err());
        let now = self.clock.read();
        state.spared_until = now.saturating_add(now.saturating_sub(call.reading).saturating_mul(MONITOR_PAUSE_FACTOR));
        // Of two calls that overlap, the one that began later wins.
        if state.last.is_some_and(|(began, _)| began > call.began) {
            return;
        }
        state.last = Some((call.began, Instant::now()));
        state.error = None;
        match result {
            Ok(Ok(report)) => state.good = Some((Arc::new(report), call.reading)),
            Ok(Err(error)) | Err(error) => state.error = Some(shorten(error)),
        }
    }

    fn status(&self, state: &State) -> SourceStatus {
        let stale_after = match self.added.schedule {
            Schedule::Every(period) => period,
            Schedule::Inline | Schedule::OnDemand => STALE_AFTER,
        };
        let in_flight = state.in_flight.map(|call| call.began.elapsed());
        let overdue = in_flight.filter(|&time| time > stale_after);
        let overdue = overdue.map(|time| format!("no answer for {:.1} s", time.as_secs_f64()));
        let error = overdue.or_else(|| state.error.clone());
        let up = state.good.is_some() && error.is_none();
        let now = self.clock.read();
        let millis = state.good.as_ref().map(|(_, began)| now.saturating_sub(*began) / 1_000_000);
        SourceStatus {
            name: self.added.name.clone(),
            type_name: self.added.type_name.clone(),
            up,
            sections: state.good.iter().flat_map(|(report, _)| report.sections()).collect(),
            age_seconds: millis.map(|millis| millis as f64 / 1000.0),
            panics_total: state.panics,
            timeouts_total: state.timeouts,
            error,
        }
    }
}

impl State {
    /// Returns when a source is due whose call began at `began` and has just returned.
    fn next_due(&self, period: Duration, began: Nanos, now: Nanos) -> Nanos {
        let period = Nanos::try_from(period.as_nanos()).unwrap_or(Nanos::MAX).max(MIN_PERIOD);
        if self.last.is_none() {
            return now.saturating_add(random() % period);
        }
        let due = began.saturating_add(period);
        // A call that takes longer than its period is not followed at once by the next.
        if due > now { due } else { now.saturating_add(period) }
    }
}

/// The step of a source's worker.
fn work(entry: &Weak<Entry>) -> Next {
    let Some(strong) = entry.upgrade() else {
        return Next::Break(());
    };
    let Some(call) = strong.next_call() else {
        let left = lock(&strong.state).due.map(|due| due.saturating_sub(strong.clock.read()));
        return Next::Continue(left.map(|left| deadline(Instant::now(), Duration::from_nanos(left))));
    };
    let source = Arc::clone(&strong.added.source);
    // A call that never returns must not keep the entry.
    drop(strong);
    let result = call_source(&*source);
    if let Some(strong) = entry.upgrade() {
        strong.end_call(call, result);
    }
    Next::Continue(Some(Instant::now()))
}

fn call_source(source: &dyn Source) -> CallResult {
    catch_panic(|| source.collect().map_err(|error| error.to_string()))
}

/// Returns a random number: spreading calls needs no better one than the seed of a hash map.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

/// Returns the name of a type without its path, its generics, and the wrappers around it.
pub(crate) fn short_type_name(full: &str) -> &str {
    let mut name = full;
    loop {
        name = name.trim_start_matches('&').trim_start_matches("dyn ");
        let (path, generics) = name.split_once('<').unwrap_or((name, ""));
        let path = path.split([' ', '>', ',']).next().unwrap_or(path);
        let short = path.rsplit("::").next().unwrap_or(path);
        if generics.is_empty() || !matches!(short, "Arc" | "Box" | "Option" | "Polled") {
            return short;
        }
        name = generics;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_name_is_shown_without_path_generics_and_wrappers() {
        for (full, short) in [
            ("parsec_telemetry::envelopes::EnvelopeCounters", "EnvelopeCounters"),
            ("a::CacheSource<b::main::{{closure}}>", "CacheSource"),
            ("alloc::sync::Arc<a::Rooms>", "Rooms"),
            ("core::option::Option<alloc::boxed::Box<a::Rooms<u8, b::C>>>", "Rooms"),
            ("a::polled::Polled<a::CacheSource<fn() -> a::Counters>>", "CacheSource"),
            ("alloc::boxed::Box<dyn a::source::Source>", "Source"),
            ("alloc::boxed::Box<dyn a::Source + core::marker::Send>", "Source"),
            ("&a::Rooms", "Rooms"),
            ("Rooms", "Rooms"),
            ("a::Box", "Box"),
        ] {
            assert_eq!(short_type_name(full), short, "{full}");
        }
    }

    #[test]
    fn period_is_kept_from_start_to_start_and_after_an_overrun_from_the_end() {
        let second = Duration::from_secs(1);
        let mut state = State::default();
        let first = state.next_due(second, 0, 100);
        assert!((100..1_000_000_100).contains(&first), "{first}");
        let now = Instant::now();
        state.last = Some((now, now));
        assert_eq!(state.next_due(second, 500, 700), 1_000_000_500);
        assert_eq!(state.next_due(second, 500, 2_000_000_000), 3_000_000_000);
        assert_eq!(state.next_due(Duration::ZERO, 0, 1), MIN_PERIOD);
    }
}
