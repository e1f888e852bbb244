//! The report board: what each source last reported, and the workers that call the sources.
//!
//! A call that fails, panics or has not returned leaves the last good report on the board. No lock is held while a
//! source runs.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::catch_panic::catch_panic;
use crate::clock::CoarseClock;
use crate::events;
use crate::snapshot::SourceStatus;
use crate::source::{Report, Schedule, Source, SourceError};
use crate::time::Nanos;
use crate::worker::{Next, Worker, deadline, lock};

/// A source is stale once its call has been in flight for longer than this. A source with
/// [`Schedule::Every`]: once it has been for longer than its period.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The most characters of an error that are shown.
const MAX_ERROR_CHARS: usize = 200;

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
}

impl Freshness {
    /// Returns whether a call that began at `began` is recent enough.
    pub(crate) fn allows(self, began: Instant) -> bool {
        self.received_at.saturating_duration_since(began) <= self.max_age
    }

    /// Returns whether the request needs no further call of a source.
    fn is_met(self, source: &SourceState, schedule: Schedule) -> bool {
        // An abandoned call is not waited for again.
        let abandoned = source.in_flight.and_then(|call| call.abandoned_at);
        if abandoned.is_some_and(|abandoned_at| abandoned_at <= self.received_at) {
            return true;
        }
        match (schedule, source.last) {
            (Schedule::Inline, _) | (Schedule::Every(_), Some(_)) => true,
            // With an age allowed, a call that was in flight when the request was received will do.
            (Schedule::OnDemand, Some(last)) => {
                self.allows(last.began) || (!self.max_age.is_zero() && last.ended >= self.received_at)
            }
            (_, None) => false,
        }
    }
}

/// What there is on the board at one moment.
pub(crate) struct BoardReading {
    /// The last good report of each source that has one.
    pub(crate) reports: Vec<Arc<Report>>,
    pub(crate) statuses: Vec<SourceStatus>,
    /// When the oldest of the calls began that were made for this reading.
    pub(crate) fresh_since: Instant,
    /// When a call that is still in flight was abandoned, if one was. Requests received earlier may still wait for
    /// it.
    pub(crate) abandoned_at: Option<Instant>,
}

pub(crate) struct Board {
    sources: Vec<AddedSource>,
    clock: CoarseClock,
    states: Mutex<Vec<SourceState>>,
    /// One for each source that is not called inline.
    workers: Vec<Worker>,
    /// The thread to wake when a call returns.
    collector: Arc<Worker>,
}

#[derive(Default)]
struct SourceState {
    good: Option<GoodReport>,
    /// The call that the worker makes, or is about to make.
    in_flight: Option<Call>,
    /// Of the calls that returned, the one that began last.
    last: Option<Returned>,
    /// The error of that call.
    error: Option<String>,
    /// When a source with [`Schedule::Every`] is called next.
    due: Option<Nanos>,
    panics: u64,
    timeouts: u64,
    was_up: bool,
}

struct GoodReport {
    report: Arc<Report>,
    reading: Nanos,
}

#[derive(Clone, Copy)]
struct Call {
    began: Instant,
    reading: Nanos,
    /// Whether the worker makes it already.
    started: bool,
    abandoned_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Returned {
    began: Instant,
    ended: Instant,
}

impl Board {
    pub(crate) fn new(sources: Vec<AddedSource>, clock: CoarseClock, collector: Arc<Worker>) -> Self {
        Self {
            states: Mutex::new(sources.iter().map(|_| SourceState::default()).collect()),
            workers: sources.iter().map(|_| Worker::default()).collect(),
            sources,
            clock,
            collector,
        }
    }

    /// Calls every source in turn on this thread; one with [`Schedule::Every`] only if it has never returned.
    pub(crate) fn call_all(self: &Arc<Self>) {
        for (index, added) in self.sources.iter().enumerate() {
            if let Schedule::Every(_) = added.schedule
                && lock(&self.states)[index].last.is_some()
            {
                self.call_if_due(index);
            } else {
                self.call_here(index);
            }
        }
    }

    /// Calls the sources with [`Schedule::Inline`] on this thread.
    pub(crate) fn call_inline(&self) {
        for (index, added) in self.sources.iter().enumerate() {
            if added.schedule == Schedule::Inline {
                self.call_here(index);
            }
        }
    }

    /// Starts the calls that a request still needs. Returns whether it needs none.
    pub(crate) fn start_calls(self: &Arc<Self>, freshness: Freshness) -> bool {
        let mut needs_none = true;
        for (index, added) in self.sources.iter().enumerate() {
            let mut states = lock(&self.states);
            let state = &mut states[index];
            if freshness.is_met(state, added.schedule) {
                drop(states);
                self.call_if_due(index);
                continue;
            }
            needs_none = false;
            if state.in_flight.is_none() {
                state.in_flight = Some(self.new_call());
                drop(states);
                self.wake_worker(index);
            }
        }
        needs_none
    }

    /// Gives up the calls that a request is still waiting for.
    pub(crate) fn abandon_calls(&self, freshness: Freshness) {
        let now = Instant::now();
        let mut states = lock(&self.states);
        for (state, added) in states.iter_mut().zip(&self.sources) {
            if !freshness.is_met(state, added.schedule)
                && let Some(call) = &mut state.in_flight
                && call.abandoned_at.is_none()
            {
                call.abandoned_at = Some(now);
                state.timeouts += 1;
                events::source_timed_out(&added.name);
            }
        }
    }

    pub(crate) fn read(&self) -> BoardReading {
        let (now, reading) = (Instant::now(), self.clock.read());
        let mut states = lock(&self.states);
        let mut board = BoardReading {
            reports: Vec::with_capacity(states.len()),
            statuses: Vec::with_capacity(states.len()),
            fresh_since: now,
            abandoned_at: None,
        };
        for (state, added) in states.iter_mut().zip(&self.sources) {
            let abandoned = state.in_flight.and_then(|call| call.abandoned_at);
            board.abandoned_at = board.abandoned_at.max(abandoned);
            if let (Schedule::Inline | Schedule::OnDemand, None, Some(last)) = (added.schedule, abandoned, state.last) {
                board.fresh_since = board.fresh_since.min(last.began);
            }
            board.statuses.push(state.status(added, now, reading));
            board.reports.extend(state.good.as_ref().map(|good| Arc::clone(&good.report)));
        }
        board
    }

    fn new_call(&self) -> Call {
        Call { began: Instant::now(), reading: self.clock.read(), started: false, abandoned_at: None }
    }

    fn call_here(&self, index: usize) {
        let call = self.new_call();
        let result = catch_panic(|| self.sources[index].source.collect());
        self.record(&mut lock(&self.states)[index], index, call, result);
    }

    /// Wakes the worker of a source whose own period has passed.
    fn call_if_due(self: &Arc<Self>, index: usize) {
        let due = lock(&self.states)[index].due;
        if due.is_some_and(|due| due <= self.clock.read()) {
            self.wake_worker(index);
        }
    }

    fn wake_worker(self: &Arc<Self>, index: usize) {
        let board = Arc::downgrade(self);
        let step = move || move || work(&board, index);
        if !self.workers[index].wake_or_spawn("parsec-source", step) {
            // No thread is left: this one makes the call.
            if let Some(call) = self.next_call(index) {
                let result = catch_panic(|| self.sources[index].source.collect());
                self.end_call(index, call, result);
            }
        }
    }

    /// Returns the call that the worker of a source is to make now.
    fn next_call(&self, index: usize) -> Option<Call> {
        let mut states = lock(&self.states);
        let state = &mut states[index];
        let is_due = |due| due <= self.clock.read();
        if state.in_flight.is_none() && state.due.is_some_and(is_due) {
            state.in_flight = Some(self.new_call());
        }
        let call = state.in_flight.as_mut().filter(|call| !call.started)?;
        call.started = true;
        Some(*call)
    }

    /// Returns until when the worker of a source has nothing to do.
    fn idle_until(&self, index: usize) -> Option<Instant> {
        let due = lock(&self.states)[index].due?;
        let left = due.saturating_sub(self.clock.read());
        Some(deadline(Instant::now(), Duration::from_nanos(left)))
    }

    fn end_call(&self, index: usize, call: Call, result: CallResult) {
        {
            let mut states = lock(&self.states);
            states[index].in_flight = None;
            self.record(&mut states[index], index, call, result);
        }
        self.collector.wake();
    }

    fn record(&self, state: &mut SourceState, index: usize, call: Call, result: CallResult) {
        let added = &self.sources[index];
        if let Schedule::Every(period) = added.schedule {
            let now = self.clock.read();
            state.due = Some(state.next_due(period, call.reading, now));
        }
        let (report, error) = match result {
            Ok(Ok(report)) => (Some(report), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(panic) => {
                state.panics += 1;
                (None, Some(panic))
            }
        };
        // Of two calls that overlap, the one that began later wins.
        if state.last.is_some_and(|last| last.began > call.began) {
            return;
        }
        state.last = Some(Returned { began: call.began, ended: Instant::now() });
        state.error = error.map(shorten);
        if let Some(report) = report {
            state.good = Some(GoodReport { report: Arc::new(report), reading: call.reading });
        }
    }
}

type CallResult = Result<Result<Report, SourceError>, String>;

/// The step of a source's worker.
fn work(board: &Weak<Board>, index: usize) -> Next {
    let Some(strong) = board.upgrade() else {
        return Next::Break(());
    };
    let Some(call) = strong.next_call(index) else {
        return Next::Continue(strong.idle_until(index));
    };
    let source = Arc::clone(&strong.sources[index].source);
    // A call that never returns must not keep the board, and with it the other threads.
    drop(strong);
    let result = catch_panic(|| source.collect());
    drop(source);
    match board.upgrade() {
        Some(strong) => strong.end_call(index, call, result),
        None => return Next::Break(()),
    }
    Next::Continue(Some(Instant::now()))
}

impl SourceState {
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

    fn status(&mut self, added: &AddedSource, now: Instant, reading: Nanos) -> SourceStatus {
        let stale_after = match added.schedule {
            Schedule::Every(period) => period,
            Schedule::Inline | Schedule::OnDemand => STALE_AFTER,
        };
        let in_flight = self.in_flight.map(|call| now.saturating_duration_since(call.began));
        let overdue = in_flight.filter(|&time| time > stale_after);
        let overdue = overdue.map(|time| format!("no answer for {} s", time.as_secs()));
        let error = overdue.or_else(|| self.error.clone());
        let up = self.good.is_some() && error.is_none();
        if up != self.was_up {
            events::source_changed(&added.name, up, error.as_deref());
            self.was_up = up;
        }
        SourceStatus {
            name: added.name.clone(),
            type_name: added.type_name.clone(),
            up,
            age_seconds: self.good.as_ref().map(|good| {
                let millis = reading.saturating_sub(good.reading) / 1_000_000;
                millis as f64 / 1000.0
            }),
            panics_total: self.panics,
            timeouts_total: self.timeouts,
            error,
        }
    }
}

/// The shortest period of [`Schedule::Every`], in nanoseconds.
const MIN_PERIOD: Nanos = 1_000_000;

/// Returns a random number: spreading calls needs no better one than the seed of a hash map.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

fn shorten(mut error: String) -> String {
    if let Some((end, _)) = error.char_indices().nth(MAX_ERROR_CHARS) {
        error.truncate(end);
        error.push('…');
    }
    error
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
        let mut state = SourceState::default();
        let first = state.next_due(second, 0, 100);
        assert!((100..1_000_000_100).contains(&first), "{first}");
        let now = Instant::now();
        state.last = Some(Returned { began: now, ended: now });
        assert_eq!(state.next_due(second, 500, 700), 1_000_000_500);
        assert_eq!(state.next_due(second, 500, 2_000_000_000), 3_000_000_000);
        assert_eq!(state.next_due(Duration::ZERO, 0, 1), MIN_PERIOD);
    }

    #[test]
    fn long_error_is_cut_on_a_character_boundary() {
        assert_eq!(shorten("é".repeat(200)), "é".repeat(200));
        assert_eq!(shorten("é".repeat(201)), "é".repeat(200) + "…");
    }
}
