//! Any sequence of evaluations agrees with a plain model of the state table.
//!
//! Properties:
//!
//! 1. States, `since`, `resolved_at` and both totals are the model's, whether `snapshot()`, `tick()` or the JSON page
//!    evaluates, and however often at one reading.
//! 2. A failed evaluation changes no state.
//! 3. `since` does not move while a rule fires.
//! 4. A rule fires no earlier than `for_at_least` after its condition became true, and is resolved no earlier than
//!    `keep_firing_for` after it began to fire.
//! 5. Each transition begins with the state that the one before led to.
//! 6. A callback sees each transition once, in order, and never two at a time.
//! 7. `fired_total` and `failures_total` are exact.
//!
//! Properties 2 to 7 also hold for concurrent snapshots and ticks. See [`config`] for where failures are kept.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use common::alerts::{Condition, Outcome};
use common::strategies::{Checked, config};
use common::{NANO, SECOND, TIMEOUT, json};
use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, AlertTransition, FiringAlert, ManualClock, Monitor, RuleStatus, Severity,
    Snapshot,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use AlertState::{Firing, Inactive, Pending, Resolved};
use Outcome::{Failed, False, True};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// How long a resolved rule is listed.
const LISTED: Duration = Duration::from_secs(15 * 60);

/// `for_at_least` and `keep_firing_for`.
type Durations = (Duration, Duration);

// The model

/// A rule, and what is known of it. Times are of the clock.
#[derive(Clone, Debug)]
struct Model {
    for_at_least: Duration,
    keep_firing_for: Duration,
    state: AlertState,
    since: Option<SystemTime>,
    false_since: Option<SystemTime>,
    resolved_at: Option<SystemTime>,
    fired: u64,
    failures: u64,
    is_failing: bool,
}

impl Model {
    fn new((for_at_least, keep_firing_for): Durations) -> Self {
        Self {
            for_at_least,
            keep_firing_for,
            state: Inactive,
            since: None,
            false_since: None,
            resolved_at: None,
            fired: 0,
            failures: 0,
            is_failing: false,
        }
    }

    fn evaluate(&mut self, outcome: Outcome, now: SystemTime) {
        let elapsed = |since: Option<SystemTime>, duration| {
            now.duration_since(since.expect("a state with a time")).expect("a clock that does not go back") >= duration
        };
        self.is_failing = outcome == Failed;
        match (self.state, outcome) {
            (_, Failed) => self.failures += 1,
            (Inactive | Resolved, True) => {
                (self.state, self.since, self.resolved_at) = (Pending, Some(now), None);
                if self.for_at_least == Duration::ZERO {
                    self.fire();
                }
            }
            (Pending, True) => {
                if elapsed(self.since, self.for_at_least) {
                    self.fire();
                }
            }
            (Firing, True) => self.false_since = None,
            (Inactive, False) => {}
            (Pending, False) => (self.state, self.since) = (Inactive, None),
            (Firing, False) => {
                self.false_since = self.false_since.or(Some(now));
                if elapsed(self.false_since, self.keep_firing_for) {
                    (self.state, self.false_since, self.resolved_at) = (Resolved, None, Some(now));
                }
            }
            (Resolved, False) => {
                if elapsed(self.resolved_at, LISTED) {
                    (self.state, self.since, self.resolved_at) = (Inactive, None, None);
                }
            }
        }
    }

    fn fire(&mut self) {
        self.state = Firing;
        self.fired += 1;
    }

    fn status(&self, name: &str) -> RuleStatus {
        RuleStatus {
            name: name.to_owned(),
            severity: Severity::Warning,
            state: self.state,
            since: self.since,
            resolved_at: self.resolved_at,
            for_seconds: self.for_at_least.as_secs_f64(),
            fired_total: self.fired,
            failures_total: self.failures,
            error: self.is_failing.then(|| "panicked: expected by the test".to_owned()),
            ..RuleStatus::default()
        }
    }
}

// Any sequence

#[derive(Clone, Copy, Debug)]
enum Evaluation {
    Snapshot,
    Tick,
    Page,
    /// So many snapshots at one reading.
    Snapshots(u8),
}

#[derive(Clone, Debug)]
struct Step {
    advance: Duration,
    outcomes: [Outcome; 3],
    evaluation: Evaluation,
}

/// Durations of rules, and of steps that end where they elapse.
fn durations() -> impl Strategy<Value = Duration> {
    let millis = select(vec![1, 500, 1000, 1500, 5000, 60_000, 900_000, 3_600_000]);
    prop_oneof![
        2 => Just(Duration::ZERO),
        1 => Just(NANO),
        6 => millis.prop_map(Duration::from_millis),
    ]
}

fn rules() -> impl Strategy<Value = [Durations; 3]> {
    let duration = || prop_oneof![8 => durations(), 1 => Just(Duration::MAX)];
    [(duration(), duration()), (duration(), duration()), (duration(), duration())]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        3 => Just(Duration::ZERO),
        6 => durations(),
        1 => durations().prop_map(|duration| duration + NANO),
        1 => durations().prop_map(|duration| duration.saturating_sub(NANO)),
        3 => (0..2000u64).prop_map(Duration::from_millis),
        1 => (1..100u64).prop_map(|hours| Duration::from_secs(3600 * hours)),
    ];
    let outcome = || prop_oneof![5 => Just(True), 4 => Just(False), 1 => Just(Failed)];
    let evaluation = prop_oneof![
        3 => Just(Evaluation::Snapshot),
        3 => Just(Evaluation::Tick),
        1 => Just(Evaluation::Page),
        1 => (2..5u8).prop_map(Evaluation::Snapshots),
    ];
    let step = (advance, [outcome(), outcome(), outcome()], evaluation);
    vec(step.prop_map(|(advance, outcomes, evaluation)| Step { advance, outcomes, evaluation }), 1..60)
}

/// Rules beside their models.
struct Fixture {
    clock: ManualClock,
    conditions: [Condition; 3],
    aggregator: Aggregator,
    monitor: Monitor,
    models: [Model; 3],
    seen: mpsc::Receiver<AlertTransition>,
    /// Those that wait for a tick.
    expected: Vec<AlertTransition>,
    delivered: Vec<AlertTransition>,
}

impl Fixture {
    fn new(durations: [Durations; 3]) -> Self {
        let (clock, conditions) = (ManualClock::new(), <[Condition; 3]>::default());
        let rules = NAMES.iter().zip(&conditions).zip(durations).map(|((&name, condition), durations)| {
            condition.rule(name).for_at_least(durations.0).keep_firing_for(durations.1)
        });
        let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules.collect()).expect("valid rules");
        let (sender, seen) = mpsc::channel();
        let monitor = Monitor::builder(&aggregator)
            .series(false)
            .on_transition(move |transition| sender.send(transition.clone()).expect("the test receives"))
            .start();
        let models = durations.map(Model::new);
        let (expected, delivered) = (Vec::new(), Vec::new());
        Self { clock, conditions, aggregator, monitor, models, seen, expected, delivered }
    }

    fn run(&mut self, step: &Step) -> Checked {
        self.clock.advance(step.advance);
        for (condition, &outcome) in self.conditions.iter().zip(&step.outcomes) {
            condition.set(outcome);
        }
        match step.evaluation {
            Evaluation::Snapshot => self.snapshot(step, Aggregator::snapshot)?,
            Evaluation::Page => self.snapshot(step, json)?,
            Evaluation::Snapshots(times) => {
                for _ in 0..times {
                    self.snapshot(step, Aggregator::snapshot)?;
                }
            }
            Evaluation::Tick => self.tick(step)?,
        }
        Ok(())
    }

    fn snapshot(&mut self, step: &Step, take: fn(&Aggregator) -> Snapshot) -> Checked {
        let snapshot = take(&self.aggregator);
        self.evaluate_models(step);
        let expected: Vec<_> = NAMES.iter().zip(&self.models).map(|(name, model)| model.status(name)).collect();
        prop_assert_eq!(&snapshot.rules, &expected);
        let firing = expected.into_iter().filter(|rule| rule.state == Firing);
        let alerts = firing.map(|rule| FiringAlert {
            name: rule.name,
            severity: rule.severity,
            description: rule.description,
            at: self.clock.now(),
            since: rule.since.expect("a rule that fires has a start"),
        });
        prop_assert_eq!(snapshot.alerts, alerts.collect::<Vec<_>>());
        // Only a tick delivers.
        prop_assert!(self.seen.try_recv().is_err());
        Ok(())
    }

    fn tick(&mut self, step: &Step) -> Checked {
        self.monitor.tick();
        self.evaluate_models(step);
        let seen: Vec<_> = self.seen.try_iter().collect();
        prop_assert_eq!(&seen, &self.expected);
        self.expected.clear();
        self.delivered.extend(seen);
        Ok(())
    }

    fn evaluate_models(&mut self, step: &Step) {
        let now = self.clock.now();
        for ((model, name), &outcome) in self.models.iter_mut().zip(NAMES).zip(&step.outcomes) {
            let from = model.state;
            model.evaluate(outcome, now);
            if model.state != from {
                self.expected.push(AlertTransition {
                    name: name.to_owned(),
                    severity: Severity::Warning,
                    description: String::new(),
                    from,
                    to: model.state,
                    at: now,
                    since: model.since,
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// Properties 1 to 7.
    #[test]
    fn states_of_any_sequence_are_those_of_the_model(durations in rules(), steps in steps()) {
        let mut fixture = Fixture::new(durations);
        for step in &steps {
            fixture.run(step)?;
        }
        let last = Step { advance: Duration::ZERO, outcomes: [Failed; 3], evaluation: Evaluation::Tick };
        fixture.run(&last)?;
        for (name, durations) in NAMES.iter().zip(durations) {
            check_chain(&of_rule(&fixture.delivered, name), Some(durations));
        }
    }
}

fn of_rule<'a>(transitions: &'a [AlertTransition], name: &str) -> Vec<&'a AlertTransition> {
    transitions.iter().filter(|transition| transition.name == name).collect()
}

/// Checks properties 3, 4 and 5 on all transitions of a rule. Without durations, does not check times against each
/// other. Returns how many times the rule started to fire.
fn check_chain(transitions: &[&AlertTransition], durations: Option<Durations>) -> u64 {
    let mut state = Inactive;
    let (mut since, mut fired_at) = (None, None);
    let mut fired = 0;
    for transition in transitions {
        let AlertTransition { from, to, at, .. } = **transition;
        assert_eq!(from, state, "{transitions:#?}");
        match (from, to) {
            (Inactive | Resolved, Pending) => assert_eq!(transition.since, Some(at)),
            (Inactive | Resolved, Firing) => {
                assert_eq!(transition.since, Some(at));
                assert!(durations.is_none_or(|(for_at_least, _)| for_at_least.is_zero()));
            }
            (Pending, Firing) | (Firing, Resolved) => assert_eq!(transition.since, since),
            (Pending | Resolved, Inactive) => assert_eq!(transition.since, None),
            (from, to) => panic!("{from:?} to {to:?}: {transitions:#?}"),
        }
        if let Some((for_at_least, keep_firing_for)) = durations {
            let elapsed = |since: Option<SystemTime>| at.duration_since(since.expect("a time")).expect("in order");
            match to {
                Firing => assert!(elapsed(transition.since) >= for_at_least, "{transitions:#?}"),
                Resolved => assert!(elapsed(fired_at) >= keep_firing_for, "{transitions:#?}"),
                Inactive | Pending => {}
            }
        }
        if to == Firing {
            fired += 1;
            fired_at = Some(at);
        }
        (state, since) = (to, transition.since);
    }
    if durations.is_some() {
        assert!(transitions.is_sorted_by_key(|transition| transition.at));
    }
    fired
}

// Threads

/// Rules whose outcomes change from one round to another, and how many evaluations failed.
struct Changing {
    rules: Vec<AlertRule>,
    failures: [Arc<AtomicU64>; 3],
    /// Whether every evaluation fails from now on.
    has_ended: Arc<AtomicBool>,
}

impl Changing {
    fn new(durations: [Durations; 3]) -> Self {
        let failures = <[Arc<AtomicU64>; 3]>::default();
        let (evaluations, has_ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let rules = NAMES.iter().zip(durations).zip(&failures).map(|((&name, durations), failures)| {
            let (evaluations, failures, has_ended) =
                (Arc::clone(&evaluations), Arc::clone(failures), Arc::clone(&has_ended));
            let condition = move |_: &Snapshot| {
                let evaluation = evaluations.fetch_add(1, SeqCst);
                // The outcome changes after a multiple of 128 evaluations, about 5 rounds.
                let is_true = (evaluation >> 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0;
                let has_failed = evaluation % 11 == 0 || has_ended.load(SeqCst);
                failures.fetch_add(u64::from(has_failed), SeqCst);
                let outcome = if is_true { True } else { False };
                if has_failed { Failed } else { outcome }.evaluate()
            };
            let rule = AlertRule::new(name, Severity::Warning, condition);
            rule.for_at_least(durations.0).keep_firing_for(durations.1)
        });
        Self { rules: rules.collect(), failures, has_ended }
    }
}

/// When each firing began, by the rule and how many times it has started to fire.
type Starts = HashMap<(String, u64), SystemTime>;

/// Checks the snapshots of one thread, and adds what fires in them to `starts`.
fn check_snapshots(snapshots: &[Snapshot], starts: &mut Starts) {
    for rules in snapshots.windows(2).map(|pair| pair[0].rules.iter().zip(&pair[1].rules)) {
        for (before, after) in rules {
            assert!(before.fired_total <= after.fired_total && before.failures_total <= after.failures_total);
        }
    }
    for rule in snapshots.iter().flat_map(|snapshot| &snapshot.rules).filter(|rule| rule.state == Firing) {
        let since = rule.since.expect("a rule that fires has a start");
        let start = starts.entry((rule.name.clone(), rule.fired_total)).or_insert(since);
        assert_eq!(*start, since, "since moves while {} fires", rule.name);
    }
}

/// When the clock advances.
#[derive(Clone, Copy, PartialEq)]
enum Advance {
    BetweenRounds,
    DuringRounds,
}

/// Runs three threads of snapshots and two of ticks for some rounds, while this thread advances the clock.
fn run_concurrently(durations: [Durations; 3], advance: Advance) {
    const ROUNDS: usize = 200;
    let Changing { rules, failures, has_ended } = Changing::new(durations);
    let clock = ManualClock::new();
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules).expect("valid rules");
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let callback = {
        let delivered = Arc::clone(&delivered);
        // Two callbacks at a time would find the lock taken: the panic is counted.
        move |transition: &AlertTransition| delivered.try_lock().expect("one at a time").push(transition.clone())
    };
    let monitor = Monitor::builder(&aggregator).series(false).on_transition(callback).start();
    let barrier = Barrier::new(6);
    let mut starts = Starts::new();
    let rounds = |each: &mut dyn FnMut()| {
        for _ in 0..ROUNDS {
            barrier.wait();
            each();
            barrier.wait();
        }
    };
    thread::scope(|scope| {
        let snapshots: [_; 3] = std::array::from_fn(|_| {
            scope.spawn(|| {
                let mut snapshots = Vec::new();
                rounds(&mut || snapshots.extend([aggregator.snapshot(), aggregator.snapshot()]));
                snapshots
            })
        });
        for _ in 0..2 {
            scope.spawn(|| rounds(&mut || monitor.tick()));
        }
        for round in 0..ROUNDS {
            let by = if round % 50 == 49 { LISTED } else { Duration::from_millis(400) };
            if advance == Advance::BetweenRounds {
                clock.advance(by);
            }
            barrier.wait();
            if advance == Advance::DuringRounds {
                clock.advance(by);
            }
            barrier.wait();
        }
        for thread in snapshots {
            check_snapshots(&thread.join().expect("no panic"), &mut starts);
        }
    });
    has_ended.store(true, SeqCst);
    monitor.tick();
    assert_eq!((monitor.dropped_transitions(), monitor.callback_panics()), (0, 0));
    let last = aggregator.snapshot();
    let delivered = delivered.lock().expect("no panic");
    for ((rule, failures), durations) in last.rules.iter().zip(&failures).zip(durations) {
        let of_rule = of_rule(&delivered, &rule.name);
        let fired = check_chain(&of_rule, (advance == Advance::BetweenRounds).then_some(durations));
        assert!(fired > 3, "{} fires {fired} times", rule.name);
        assert_eq!((rule.fired_total, rule.failures_total), (fired, failures.load(SeqCst)));
        assert_eq!(Some(rule.state), of_rule.last().map(|transition| transition.to));
        for (nth, firing) in (1..).zip(of_rule.iter().filter(|transition| transition.to == Firing)) {
            if let Some(start) = starts.remove(&(rule.name.clone(), nth)) {
                assert_eq!(firing.since, Some(start));
            }
        }
    }
    assert_eq!(starts, Starts::new(), "a rule fires without a transition");
}

const CONCURRENT: [Durations; 3] =
    [(Duration::ZERO, Duration::ZERO), (SECOND, Duration::ZERO), (Duration::from_millis(400), SECOND)];

/// Properties 2 to 7.
#[test]
fn concurrent_snapshots_and_ticks_keep_every_property() {
    run_concurrently(CONCURRENT, Advance::BetweenRounds);
}

/// Properties 3, 5, 6 and 7. A snapshot's time and reading are not taken at one moment, so that times of transitions
/// differ by as much as the clock advances in between.
#[test]
fn concurrent_snapshots_and_ticks_while_the_clock_advances_lose_no_transition() {
    run_concurrently(CONCURRENT, Advance::DuringRounds);
}

/// Property 6.
#[test]
fn callback_that_ticks_is_not_called_within_itself() {
    let (clock, condition) = (ManualClock::new(), Condition::default());
    let rules = NAMES.map(|name| condition.rule(name));
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules.into()).expect("valid rules");
    let (own, delivered) = (Arc::new(OnceLock::<Monitor>::new()), Arc::new(Mutex::new(Vec::new())));
    let callback = {
        let (own, condition, delivered) = (Arc::downgrade(&own), condition.clone(), Arc::clone(&delivered));
        move |transition: &AlertTransition| {
            let mut delivered = delivered.try_lock().expect("one at a time");
            delivered.push((transition.name.clone(), transition.to));
            condition.set(False);
            own.upgrade().expect("the test holds it").get().expect("started").tick();
        }
    };
    let monitor = own.get_or_init(|| Monitor::builder(&aggregator).on_transition(callback).start());
    condition.set(True);
    monitor.tick();
    assert_eq!(monitor.callback_panics(), 0);
    let expected = [Firing, Resolved].map(|to| NAMES.map(|name| (name.to_owned(), to)));
    assert_eq!(*delivered.lock().expect("no panic"), expected.concat());
}

/// The lock of the callbacks was held while they were called.
#[test]
fn callback_that_adds_a_callback_does_not_block_the_tick() {
    let condition = Condition::default();
    let aggregator = Aggregator::new().clock(ManualClock::new().clock());
    let aggregator = aggregator.with_alerts(vec![condition.rule("a")]).expect("a valid rule");
    let (sender, seen) = mpsc::channel();
    let callback = {
        let (aggregator, sender) = (aggregator.clone(), sender.clone());
        move |_: &AlertTransition| {
            let sender = sender.clone();
            let second = Monitor::builder(&aggregator).on_transition(move |t| sender.send(t.to).expect("received"));
            drop(second.start());
        }
    };
    let monitor = Monitor::builder(&aggregator).on_transition(callback).start();
    thread::spawn(move || {
        for outcome in [True, False] {
            condition.set(outcome);
            monitor.tick();
        }
        sender.send(Inactive).expect("received");
    });
    let seen: [_; 2] = std::array::from_fn(|_| seen.recv_timeout(TIMEOUT).expect("the ticks return"));
    // The second callback sees what follows.
    assert_eq!(seen, [Resolved, Inactive]);
}
