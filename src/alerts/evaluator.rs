//! Evaluates the rules, on a worker of their own or on the calling thread.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::alerts::lifecycle::{Moment, RuleStates};
use crate::alerts::rule::AlertRule;
use crate::snapshot::{AlertTransition, Snapshot};
use crate::time::Nanos;
use crate::worker::{Next, Worker, lock};

/// How many transitions wait to be delivered. Beyond it, the oldest is dropped: the latest states matter most.
const MAX_TRANSITIONS: usize = 1024;

pub(crate) struct Evaluator {
    rules: Vec<AlertRule>,
    state: Mutex<State>,
    worker: Worker,
    /// The thread to wake when an evaluation ends.
    collector: Arc<Worker>,
}

#[derive(Default)]
struct State {
    rules: RuleStates,
    /// The snapshot that the worker is to evaluate, and its reading.
    requested: Option<(Arc<Snapshot>, Nanos)>,
    /// The rule that the worker evaluates.
    running: Option<usize>,
    /// Whether the evaluation is no longer waited for, and whether the rule that is to blame has been named.
    is_abandoned: bool,
    is_named: bool,
    /// The transitions that have not been delivered yet, oldest first, and how many were dropped.
    transitions: VecDeque<AlertTransition>,
    dropped: u64,
}

impl Evaluator {
    pub(crate) fn new(rules: Vec<AlertRule>, collector: Arc<Worker>) -> Self {
        let state = State { rules: RuleStates::new(rules.len()), ..State::default() };
        Self { rules, state: Mutex::new(state), worker: Worker::default(), collector }
    }

    /// Evaluates every rule on this thread, and fills the alerts and rules of the snapshot.
    pub(crate) fn evaluate_here(&self, snapshot: &mut Snapshot, reading: Nanos) {
        let outcomes = self.rules.iter().map(|rule| rule.evaluate(snapshot)).collect();
        self.apply(Moment { at: snapshot.at, reading }, outcomes, |state| state.rules.fill(&self.rules, snapshot));
    }

    /// Starts the evaluation of every rule on the worker, which must be idle.
    pub(crate) fn start(self: &Arc<Self>, snapshot: &Arc<Snapshot>, reading: Nanos) {
        if self.rules.is_empty() {
            return;
        }
        lock(&self.state).requested = Some((Arc::clone(snapshot), reading));
        let evaluator = Arc::downgrade(self);
        if !self.worker.wake_or_spawn("parsec-rules", move || move || work(&evaluator)) {
            // No thread is left: this one evaluates.
            self.run_requested();
        }
    }

    /// Returns whether the last evaluation that was started has ended.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.requested.is_none() && state.running.is_none()
    }

    /// Returns whether an evaluation has not ended by the deadline of a page, and still has not.
    pub(crate) fn is_stuck(&self) -> bool {
        lock(&self.state).is_abandoned
    }

    /// Gives up the evaluation in progress. Its rule is named, and counted as failed once.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.is_abandoned = state.requested.is_some() || state.running.is_some();
        if let Some(rule) = state.running
            && !mem::replace(&mut state.is_named, true)
        {
            state.rules.fail(rule, "condition did not return by the deadline of a page");
        }
    }

    /// Fills the alerts and rules of a snapshot with the present states.
    pub(crate) fn fill(&self, snapshot: &mut Snapshot) {
        lock(&self.state).rules.fill(&self.rules, snapshot);
    }

    /// Makes the evaluation that was requested. Returns whether there was one.
    fn run_requested(&self) -> bool {
        let (snapshot, reading) = {
            let mut state = lock(&self.state);
            let Some(request) = state.requested.take() else { return false };
            state.running = Some(0);
            request
        };
        let mut outcomes = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            lock(&self.state).running = Some(index);
            outcomes.push(rule.evaluate(&snapshot));
        }
        let at = snapshot.at;
        // So that the collector, the other owner, need not clone it.
        drop(snapshot);
        self.apply(Moment { at, reading }, outcomes, |state| {
            (state.running, state.is_abandoned, state.is_named) = (None, false, false);
        });
        true
    }

    /// Applies the outcomes of a snapshot, then calls `and_then` under the same lock.
    fn apply(&self, now: Moment, outcomes: Vec<Result<bool, String>>, and_then: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        let transitions = state.rules.apply(&self.rules, now, outcomes);
        state.transitions.extend(transitions.iter().cloned());
        let excess = state.transitions.len().saturating_sub(MAX_TRANSITIONS);
        state.transitions.drain(..excess);
        state.dropped += excess as u64;
        and_then(&mut state);
        // A subscriber is code of the embedder.
        drop(state);
        #[cfg(feature = "tracing")]
        for AlertTransition { name, severity, from, to, .. } in &transitions {
            let (severity, from, to) = (severity.as_str(), from.as_str(), to.as_str());
            tracing::info!(alert = name, severity, from, to, "alert changed its state");
        }
        if !transitions.is_empty() {
            self.collector.wake();
        }
    }

    /// Drops the transitions that have not been delivered: there is no callback to see them.
    pub(crate) fn forget_transitions(&self) {
        let mut state = lock(&self.state);
        state.transitions.clear();
        state.dropped = 0;
    }

    /// Returns whether transitions wait to be delivered.
    pub(crate) fn has_transitions(&self) -> bool {
        !lock(&self.state).transitions.is_empty()
    }

    /// Removes the oldest transition that has not been delivered.
    pub(crate) fn next_transition(&self) -> Option<AlertTransition> {
        lock(&self.state).transitions.pop_front()
    }

    /// Returns how many transitions were dropped because the queue was full.
    pub(crate) fn dropped_transitions(&self) -> u64 {
        lock(&self.state).dropped
    }

    /// Marks every rule as not evaluated, without a change of state.
    pub(crate) fn defer(&self, reason: &str) {
        lock(&self.state).rules.defer(reason);
    }
}

/// The step of the rules' worker.
fn work(evaluator: &Weak<Evaluator>) -> Next {
    let Some(evaluator) = evaluator.upgrade() else { return Next::Break(()) };
    let has_run = evaluator.run_requested();
    if has_run {
        evaluator.collector.wake();
    }
    Next::Continue(has_run.then(Instant::now))
}
