//! Evaluates the rules, on a worker of their own or on the calling thread.

use std::mem;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::alerts::lifecycle::{Outcome, RuleStates};
use crate::alerts::rule::AlertRule;
use crate::snapshot::Snapshot;
use crate::time::Nanos;
use crate::worker::{Next, Worker, lock};

pub(crate) struct Evaluator {
    rules: Vec<AlertRule>,
    state: Mutex<State>,
    worker: Worker,
    /// The thread to wake when an evaluation ends.
    collector: Arc<Worker>,
}

struct State {
    rules: RuleStates,
    job: Job,
}

/// The evaluation that the worker makes.
enum Job {
    None,
    Requested(Arc<Snapshot>, Nanos),
    /// The rule that is being evaluated, and whether it is still waited for.
    Running {
        rule: usize,
        is_awaited: bool,
    },
}

impl Evaluator {
    pub(crate) fn new(rules: Vec<AlertRule>, collector: Arc<Worker>) -> Self {
        Self {
            state: Mutex::new(State { rules: RuleStates::new(rules.len()), job: Job::None }),
            rules,
            worker: Worker::default(),
            collector,
        }
    }

    /// Evaluates every rule on this thread, and fills the alerts and rules of the snapshot.
    pub(crate) fn evaluate_here(&self, snapshot: &mut Snapshot, reading: Nanos) {
        let outcomes = self.rules.iter().map(|rule| rule.evaluate(snapshot));
        let outcomes: Vec<Outcome> = outcomes.collect();
        let mut state = lock(&self.state);
        state.rules.apply(snapshot.at, reading, outcomes);
        state.rules.fill(&self.rules, snapshot);
    }

    /// Starts the evaluation of every rule on the worker, which must be idle.
    pub(crate) fn start(self: &Arc<Self>, snapshot: &Arc<Snapshot>, reading: Nanos) {
        if self.rules.is_empty() {
            return;
        }
        lock(&self.state).job = Job::Requested(Arc::clone(snapshot), reading);
        let evaluator = Arc::downgrade(self);
        let step = move || move || work(&evaluator);
        if !self.worker.wake_or_spawn("parsec-rules", step) {
            // No thread is left: this one evaluates.
            self.run_job();
        }
    }

    /// Returns whether the last evaluation that was started has ended.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(lock(&self.state).job, Job::None)
    }

    /// Returns whether a rule has not returned by the deadline of a page, and still has not.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(lock(&self.state).job, Job::Running { is_awaited: false, .. })
    }

    /// Gives up the evaluation in progress: its rule is named and counted as failed, once.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.state);
        if let Job::Running { rule, is_awaited } = &mut state.job
            && mem::replace(is_awaited, false)
        {
            let rule = *rule;
            state.rules.fail(rule, "condition did not return by the deadline of a page");
        }
    }

    /// Fills the alerts and rules of a snapshot with the present states.
    pub(crate) fn fill(&self, snapshot: &mut Snapshot) {
        lock(&self.state).rules.fill(&self.rules, snapshot);
    }

    /// Makes the evaluation that was requested. Returns whether there was one.
    fn run_job(&self) -> bool {
        let Some((snapshot, reading)) = lock(&self.state).job.take_request() else {
            return false;
        };
        let mut outcomes = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            lock(&self.state).job.set_rule(index);
            outcomes.push(rule.evaluate(&snapshot));
        }
        let at = snapshot.at;
        // So that the collector, the other owner, need not clone it.
        drop(snapshot);
        let mut state = lock(&self.state);
        state.rules.apply(at, reading, outcomes);
        state.job = Job::None;
        true
    }
}

impl Job {
    fn take_request(&mut self) -> Option<(Arc<Snapshot>, Nanos)> {
        let running = Self::Running { rule: 0, is_awaited: true };
        match mem::replace(self, running) {
            Self::Requested(snapshot, reading) => Some((snapshot, reading)),
            other => {
                *self = other;
                None
            }
        }
    }

    fn set_rule(&mut self, index: usize) {
        if let Self::Running { rule, .. } = self {
            *rule = index;
        }
    }
}

/// The step of the rules' worker.
fn work(evaluator: &Weak<Evaluator>) -> Next {
    let Some(evaluator) = evaluator.upgrade() else {
        return Next::Break(());
    };
    if evaluator.run_job() {
        evaluator.collector.wake();
        return Next::Continue(Some(Instant::now()));
    }
    Next::Continue(None)
}
