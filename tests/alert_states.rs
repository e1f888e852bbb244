//! The states of alert rules, by the public API.
//!
//! Properties:
//!
//! 1. Each cell of the table: every state with every outcome, with and without `for_at_least` and `keep_firing_for`,
//!    whichever of `snapshot()`, `tick()` and the JSON page evaluates.
//! 2. States depend on the clock's readings alone: not on the number of evaluations, and not on sources that fail.
//!
//! `alert_pages` has the pages, `properties_alerts` any sequence of evaluations, and `prometheus/alerts.rs` a comparison
//! with Prometheus.

mod common;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use common::alerts::{Condition, Outcome, rule};
use common::{HOUR, MINUTE, SECOND, firing, json, page};
use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, AlertTransition, ChannelStats, FiringAlert, Format, ManualClock, Monitor,
    Report, RuleStatus, Severity, Snapshot, Source, SourceError, evaluate_alerts,
};

use AlertState::{Firing, Inactive, Pending, Resolved};
use Outcome::{Failed, False, True};

/// `for_at_least` and `keep_firing_for`, in seconds.
type Durations = (u64, u64);

const FOR: u64 = 10;
const KEEP: u64 = 5;
const LISTED: u64 = 15 * 60;

const WITHOUT_FOR: &[Durations] = &[(0, 0), (0, KEEP)];
const WITH_FOR: &[Durations] = &[(FOR, 0), (FOR, KEEP)];
const WITHOUT_KEEP: &[Durations] = &[(0, 0), (FOR, 0)];
const WITH_KEEP: &[Durations] = &[(0, KEEP), (FOR, KEEP)];
const ALL: &[Durations] = &[(0, 0), (FOR, 0), (0, KEEP), (FOR, KEEP)];

/// What a rule has been through.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    IsInactive,
    IsPending,
    Fires,
    /// Fires, and the condition became false.
    IsKept,
    IsResolved,
}

use Before::{Fires, IsInactive, IsKept, IsPending, IsResolved};

/// The rules, what they have been through, and how many seconds later which outcome leads to which state.
const CELLS: &[(&[Durations], Before, u64, Outcome, AlertState)] = &[
    (ALL, IsInactive, 1, False, Inactive),
    (ALL, IsInactive, 1, Failed, Inactive),
    (WITHOUT_FOR, IsInactive, 1, True, Firing),
    (WITH_FOR, IsInactive, 1, True, Pending),
    (WITH_FOR, IsInactive, 10 * FOR, True, Pending),
    (WITH_FOR, IsPending, 0, False, Inactive),
    (WITH_FOR, IsPending, FOR, False, Inactive),
    (WITH_FOR, IsPending, 0, Failed, Pending),
    (WITH_FOR, IsPending, FOR, Failed, Pending),
    (WITH_FOR, IsPending, 0, True, Pending),
    (WITH_FOR, IsPending, FOR - 1, True, Pending),
    (WITH_FOR, IsPending, FOR, True, Firing),
    (WITH_FOR, IsPending, FOR + 1, True, Firing),
    (ALL, Fires, 0, True, Firing),
    (ALL, Fires, 10_000, True, Firing),
    (ALL, Fires, 10_000, Failed, Firing),
    (WITHOUT_KEEP, Fires, 0, False, Resolved),
    (WITHOUT_KEEP, Fires, 1, False, Resolved),
    (WITH_KEEP, Fires, 1, False, Firing),
    // The time counts from the first evaluation that is false.
    (WITH_KEEP, Fires, 10 * KEEP, False, Firing),
    (WITH_KEEP, IsKept, 0, False, Firing),
    (WITH_KEEP, IsKept, KEEP - 1, False, Firing),
    (WITH_KEEP, IsKept, KEEP, False, Resolved),
    (WITH_KEEP, IsKept, KEEP + 1, False, Resolved),
    (WITH_KEEP, IsKept, KEEP, Failed, Firing),
    (WITH_KEEP, IsKept, KEEP - 1, True, Firing),
    (WITH_KEEP, IsKept, KEEP, True, Firing),
    (ALL, IsResolved, 0, False, Resolved),
    (ALL, IsResolved, LISTED - 1, False, Resolved),
    (ALL, IsResolved, LISTED, False, Inactive),
    (ALL, IsResolved, LISTED, Failed, Resolved),
    (WITHOUT_FOR, IsResolved, 0, True, Firing),
    (WITHOUT_FOR, IsResolved, LISTED, True, Firing),
    (WITH_FOR, IsResolved, 0, True, Pending),
    (WITH_FOR, IsResolved, LISTED, True, Pending),
];

/// What evaluates the rules.
#[derive(Clone, Copy, Debug)]
enum Evaluation {
    Snapshot,
    Tick,
    Page,
}

/// What a snapshot shows of the rule, in seconds of the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    state: AlertState,
    since: Option<u64>,
    resolved_at: Option<u64>,
    fired: u64,
}

impl Seen {
    /// Returns the state that follows at a second.
    fn then(self, state: AlertState, now: u64) -> Self {
        match state {
            state if state == self.state => self,
            Inactive => Self { state, since: None, resolved_at: None, ..self },
            Pending => Self { state, since: Some(now), resolved_at: None, ..self },
            Firing => {
                let since = if self.state == Pending { self.since } else { Some(now) };
                Self { state, since, resolved_at: None, fired: self.fired + 1 }
            }
            Resolved => Self { state, resolved_at: Some(now), ..self },
        }
    }
}

/// An aggregator with one rule, and its monitor.
struct Fixture {
    clock: ManualClock,
    start: SystemTime,
    condition: Condition,
    aggregator: Aggregator,
    monitor: Monitor,
    transitions: mpsc::Receiver<AlertTransition>,
}

impl Fixture {
    fn new((for_at_least, keep_firing_for): Durations) -> Self {
        Self::of(Duration::from_secs(for_at_least), Duration::from_secs(keep_firing_for))
    }

    fn of(for_at_least: Duration, keep_firing_for: Duration) -> Self {
        let (clock, condition) = (ManualClock::new(), Condition::default());
        let rule = condition.rule("cold").for_at_least(for_at_least).keep_firing_for(keep_firing_for);
        let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![rule]).expect("a valid rule");
        let (sender, transitions) = mpsc::channel();
        let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
        Self { start: clock.now(), clock, condition, aggregator, monitor, transitions }
    }

    fn second(&self, at: SystemTime) -> u64 {
        at.duration_since(self.start).expect("after the start").as_secs()
    }

    fn state(&self, status: &RuleStatus) -> Seen {
        let second = |at: Option<SystemTime>| at.map(|at| self.second(at));
        let (since, resolved_at) = (second(status.since), second(status.resolved_at));
        Seen { state: status.state, since, resolved_at, fired: status.fired_total }
    }

    /// Evaluates with this outcome, and returns the state after it.
    fn evaluate(&self, by: Evaluation, outcome: Outcome) -> Seen {
        self.condition.set(outcome);
        let snapshot = match by {
            Evaluation::Snapshot => self.aggregator.snapshot(),
            Evaluation::Page => json(&self.aggregator),
            Evaluation::Tick => {
                self.monitor.tick();
                // A failed evaluation changes no state.
                self.condition.set(Failed);
                self.aggregator.snapshot()
            }
        };
        let status = rule(&snapshot, "cold");
        assert_eq!(firing(&snapshot).len(), usize::from(status.state == Firing));
        self.state(status)
    }

    /// Evaluates by `snapshot()` after so many seconds.
    fn after(&self, seconds: u64, outcome: Outcome) -> Seen {
        self.clock.advance(Duration::from_secs(seconds));
        self.evaluate(Evaluation::Snapshot, outcome)
    }

    fn run(&self, outcomes: &[(u64, Outcome)]) -> Vec<AlertState> {
        outcomes.iter().map(|&(seconds, outcome)| self.after(seconds, outcome).state).collect()
    }

    /// Delivers the transitions and returns them, without a change of state.
    fn transitions(&self) -> Vec<AlertTransition> {
        self.condition.set(Failed);
        self.monitor.tick();
        self.transitions.try_iter().collect()
    }
}

/// Returns the evaluations after which a rule has been through `before`.
fn script((for_at_least, keep_firing_for): Durations, before: Before) -> Vec<(u64, Outcome)> {
    let mut script = vec![(1, False)];
    if before != IsInactive {
        script.push((1, True));
    }
    if !matches!(before, IsInactive | IsPending) {
        script.push((for_at_least, True));
    }
    if matches!(before, IsKept | IsResolved) {
        script.push((1, False));
    }
    if before == IsResolved {
        script.push((keep_firing_for, False));
    }
    script
}

/// Property 1.
#[test]
fn each_cell_of_the_state_table_holds_for_snapshots_ticks_and_pages() {
    for &(durations, before, seconds, outcome, expected) in CELLS {
        for (&durations, by) in durations
            .iter()
            .flat_map(|durations| [Evaluation::Snapshot, Evaluation::Tick, Evaluation::Page].map(|by| (durations, by)))
        {
            let cell = format!("{before:?}, {outcome:?} after {seconds} s, {durations:?}, by {by:?}");
            let fixture = Fixture::new(durations);
            let state_before = *script(durations, before)
                .iter()
                .map(|&(seconds, outcome)| fixture.after(seconds, outcome))
                .collect::<Vec<_>>()
                .last()
                .expect("an evaluation");
            let expected_before = match before {
                IsInactive => Inactive,
                IsPending => Pending,
                Fires | IsKept => Firing,
                IsResolved => Resolved,
            };
            assert_eq!(state_before.state, expected_before, "before {cell}");
            fixture.transitions();

            fixture.clock.advance(Duration::from_secs(seconds));
            let now = fixture.clock.now();
            let state = fixture.evaluate(by, outcome);
            assert_eq!(state, state_before.then(expected, fixture.second(now)), "{cell}");
            let expected_transition = AlertTransition {
                name: "cold".to_owned(),
                severity: Severity::Warning,
                description: String::new(),
                from: state_before.state,
                to: expected,
                at: now,
                since: state.since.map(|second| fixture.start + Duration::from_secs(second)),
            };
            let changes = state_before.state != expected;
            let expected_transitions = if changes { vec![expected_transition] } else { vec![] };
            assert_eq!(fixture.transitions(), expected_transitions, "{cell}");
        }
    }
}

/// Every state with every outcome is in the table, with and without each of the durations.
#[test]
fn state_table_has_every_cell() {
    for before in [IsInactive, IsPending, Fires, IsKept, IsResolved] {
        for outcome in [True, False, Failed] {
            for durations in ALL {
                let has_such_rules = match before {
                    IsPending => WITH_FOR.contains(durations),
                    IsKept => WITH_KEEP.contains(durations),
                    IsInactive | Fires | IsResolved => true,
                };
                let is_listed =
                    CELLS.iter().any(|cell| cell.0.contains(durations) && (cell.1, cell.3) == (before, outcome));
                assert_eq!(is_listed, has_such_rules, "{before:?} {outcome:?} {durations:?}");
            }
        }
    }
}

#[test]
fn false_evaluation_restarts_the_time_that_a_condition_must_be_true() {
    let fixture = Fixture::new((FOR, 0));
    let outcomes = [(0, True), (FOR - 1, False), (1, True), (FOR - 1, True), (1, True)];
    assert_eq!(fixture.run(&outcomes), [Pending, Inactive, Pending, Pending, Firing]);
    let state = fixture.after(1, True);
    assert_eq!(state, Seen { state: Firing, since: Some(FOR), resolved_at: None, fired: 1 });
}

#[test]
fn true_evaluation_restarts_the_time_that_a_condition_must_be_false() {
    let fixture = Fixture::new((FOR, KEEP));
    let outcomes = [(0, True), (FOR, True), (1, False), (KEEP - 1, True), (1, False), (KEEP - 1, False), (1, False)];
    assert_eq!(fixture.run(&outcomes), [Pending, Firing, Firing, Firing, Firing, Firing, Resolved]);
    // It is one incident.
    let state = fixture.after(1, False);
    assert_eq!(state, Seen { state: Resolved, since: Some(0), resolved_at: Some(FOR + 1 + 2 * KEEP), fired: 1 });
}

#[test]
fn failed_evaluation_neither_restarts_nor_ends_the_time_that_a_condition_must_be_false() {
    let fixture = Fixture::new((0, KEEP));
    let outcomes = [(0, True), (1, False), (KEEP - 1, Failed), (1, Failed), (HOUR.as_secs(), Failed), (0, False)];
    assert_eq!(fixture.run(&outcomes), [Firing, Firing, Firing, Firing, Firing, Resolved]);
    let fixture = Fixture::new((0, KEEP));
    assert_eq!(fixture.run(&[(0, True), (1, Failed), (KEEP, False), (1, False)]), [Firing, Firing, Firing, Firing]);
}

#[test]
fn failed_evaluation_is_counted_and_named_until_the_next_that_succeeds() {
    let fixture = Fixture::new((0, 0));
    fixture.run(&[(0, Failed), (1, True), (1, Failed), (0, Failed)]);
    let status = |snapshot: &Snapshot| {
        let rule = rule(snapshot, "cold");
        (rule.state, rule.failures_total, rule.error.clone())
    };
    let error = Some("panicked: expected by the test".to_owned());
    assert_eq!(status(&fixture.aggregator.snapshot()), (Firing, 4, error));
    fixture.condition.set(True);
    assert_eq!(status(&fixture.aggregator.snapshot()), (Firing, 4, None));
    assert_eq!(status(&json(&fixture.aggregator)), (Firing, 4, None));
}

/// Property 2.
#[test]
fn clock_that_jumps_by_hours_moves_each_state_by_one_evaluation() {
    let hours = 5 * HOUR.as_secs();
    let fixture = Fixture::new((FOR, KEEP));
    let outcomes = [True, True, True, False, False, False, False, True, False];
    let states = fixture.run(&outcomes.map(|outcome| (hours, outcome)));
    assert_eq!(states, [Pending, Firing, Firing, Firing, Resolved, Inactive, Inactive, Pending, Inactive]);
    let expected = [(Pending, 1), (Firing, 1), (Resolved, 1), (Inactive, 0), (Pending, 8), (Inactive, 0)];
    let changes = fixture.transitions().into_iter();
    let changes: Vec<_> = changes.map(|change| (change.to, change.since.map(|at| fixture.second(at)))).collect();
    assert_eq!(changes, expected.map(|(to, jump)| (to, (jump > 0).then_some(jump * hours))));
}

#[test]
fn rule_at_the_end_of_the_clock_keeps_its_state() {
    let fixture = Fixture::of(Duration::from_secs(FOR), Duration::ZERO);
    fixture.clock.advance(Duration::MAX);
    assert_eq!(fixture.run(&[(0, True), (HOUR.as_secs(), True), (1, True)]), [Pending, Pending, Pending]);
    assert_eq!(json(&fixture.aggregator).rules[0].state, Pending);
}

#[test]
fn duration_below_a_second_elapses_at_the_first_evaluation_after_it() {
    let fixture = Fixture::of(Duration::from_millis(300), Duration::from_millis(200));
    let after = |millis, outcome| {
        fixture.clock.advance(Duration::from_millis(millis));
        fixture.evaluate(Evaluation::Tick, outcome).state
    };
    assert_eq!([after(0, True), after(0, True), after(299, True), after(1, True)], [Pending, Pending, Pending, Firing]);
    assert_eq!([after(0, False), after(199, False), after(1, False)], [Firing, Firing, Resolved]);
    // With one evaluation a second, the second evaluation is the first after it.
    assert_eq!([after(1000, True), after(1000, True)], [Pending, Firing]);
    assert_eq!([after(1000, False), after(1000, False)], [Firing, Resolved]);
    // One nanosecond does not elapse between evaluations at the same reading.
    let fixture = Fixture::of(Duration::from_nanos(1), Duration::ZERO);
    assert_eq!(fixture.run(&[(0, True), (0, True)]), [Pending, Pending]);
    fixture.clock.advance(Duration::from_nanos(1));
    assert_eq!(fixture.run(&[(0, True)]), [Firing]);
}

#[test]
fn zero_durations_are_as_none() {
    let rule = Condition::default().rule("cold");
    let zero = rule.clone().for_at_least(Duration::ZERO).keep_firing_for(Duration::ZERO);
    assert_eq!(serde_json::to_string(&zero).expect("JSON"), serde_json::to_string(&rule).expect("JSON"));
    let fixture = Fixture::of(Duration::ZERO, Duration::ZERO);
    assert_eq!(fixture.run(&[(0, True), (0, False), (0, True)]), [Firing, Resolved, Firing]);
    let page = page(&fixture.aggregator, Format::Json);
    assert!(!page.contains("for_seconds"), "{page}");
}

#[test]
fn greatest_durations_never_elapse() {
    let century = 100 * 365 * 24 * HOUR.as_secs();
    let fixture = Fixture::of(Duration::MAX, Duration::ZERO);
    assert_eq!(fixture.run(&[(0, True), (century, True), (century, True)]), [Pending, Pending, Pending]);
    assert_eq!(json(&fixture.aggregator).rules[0].for_seconds.to_bits(), Duration::MAX.as_secs_f64().to_bits());
    let fixture = Fixture::of(Duration::ZERO, Duration::MAX);
    let outcomes = [(0, True), (century, False), (century, False), (century, True), (century, False)];
    assert_eq!(fixture.run(&outcomes), [Firing; 5]);
    assert_eq!(fixture.after(0, False), Seen { state: Firing, since: Some(0), resolved_at: None, fired: 1 });
    // Longer than the clock runs: 584 years.
    let fixture = Fixture::of(Duration::from_secs(600 * 365 * 24 * 3600), Duration::ZERO);
    fixture.after(0, True);
    fixture.clock.advance(Duration::MAX);
    assert_eq!(fixture.after(0, True).state, Pending);
}

/// Property 2.
#[test]
fn snapshots_that_end_after_a_later_one_change_no_state() {
    for (late, failures) in [(True, 0), (False, 0), (Failed, 2)] {
        let clock = ManualClock::new();
        let start = clock.now();
        let (outcomes, receivers): (Vec<_>, Vec<_>) = std::iter::repeat_with(mpsc::channel::<Outcome>).take(4).unzip();
        let receivers: Vec<_> = receivers.into_iter().map(Mutex::new).collect();
        let (begun, has_begun) = mpsc::channel();
        // The snapshot of each second waits for its outcome.
        let condition = move |snapshot: &Snapshot| {
            let second = snapshot.at.duration_since(start).expect("after the start").as_secs();
            begun.send(second).expect("the test receives");
            let outcome = receivers[usize::try_from(second).expect("a few")].lock().expect("no panic").recv();
            outcome.expect("the test sends").evaluate()
        };
        let rule = AlertRule::new("late", Severity::Info, condition).for_at_least(SECOND);
        let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![rule]).expect("a valid rule");
        thread::scope(|scope| {
            // Dropped if an assertion fails, so that no condition waits.
            let outcomes = outcomes;
            let late_snapshots = [0, 1].map(|second| {
                let snapshot = scope.spawn(|| aggregator.snapshot());
                assert_eq!(has_begun.recv(), Ok(second));
                clock.advance(SECOND);
                snapshot
            });
            outcomes[2].send(True).expect("the condition receives");
            assert_eq!(aggregator.snapshot().rules[0].state, Pending);
            let since = Some(clock.now());
            for (snapshot, outcome) in late_snapshots.into_iter().zip(&outcomes) {
                outcome.send(late).expect("the condition receives");
                let rule = &snapshot.join().expect("no panic").rules[0];
                assert_eq!((rule.state, rule.since), (Pending, since));
            }
            clock.advance(SECOND);
            outcomes[3].send(True).expect("the condition receives");
            let rule = &aggregator.snapshot().rules[0];
            assert_eq!((rule.state, rule.since, rule.failures_total), (Firing, since, failures));
        });
    }
}

/// Reports the number of channels, or fails.
#[derive(Clone, Default)]
struct Channels {
    active: Arc<AtomicU64>,
    failure: Condition,
}

impl Source for Channels {
    fn collect(&self) -> Result<Report, SourceError> {
        if self.failure.outcome().evaluate() {
            return Err("connection refused".into());
        }
        let channels = ChannelStats { total_active: self.active.load(SeqCst), ..ChannelStats::default() };
        Ok(Report { channels: Some(channels), ..Report::default() })
    }
}

/// Property 2.
#[test]
fn source_that_goes_quiet_changes_no_state() {
    for quiet in [True, Failed] {
        let (clock, channels) = (ManualClock::new(), Channels::default());
        let above = |name: &str, limit| {
            AlertRule::new(name, Severity::Info, move |s: &Snapshot| s.channels.total_active > limit)
        };
        let rules = vec![
            above("fires", 0),
            above("inactive", 9),
            above("kept", 1).keep_firing_for(HOUR),
            above("pending", 0).for_at_least(HOUR),
            above("resolved", 1),
        ];
        let aggregator = Aggregator::new().clock(clock.clock()).source(channels.clone());
        let aggregator = aggregator.with_alerts(rules).expect("valid rules");
        let monitor = Monitor::start(&aggregator);
        for active in [2, 1] {
            channels.active.store(active, SeqCst);
            clock.advance(SECOND);
            monitor.tick();
        }
        let before = aggregator.snapshot();
        let states = |snapshot: &Snapshot| snapshot.rules.iter().map(|rule| rule.state).collect::<Vec<_>>();
        assert_eq!(states(&before), [Firing, Inactive, Firing, Pending, Resolved]);

        channels.active.store(0, SeqCst);
        channels.failure.set(quiet);
        for _ in 0..10 {
            clock.advance(MINUTE);
            monitor.tick();
            let after = json(&aggregator);
            assert!(!after.sources[0].up);
            assert_eq!(after.rules, before.rules);
            assert_eq!(firing(&after), firing(&before));
        }
        // The last good report counts as current: the rules go on with it.
        clock.advance(HOUR);
        assert_eq!(states(&aggregator.snapshot()), [Firing, Inactive, Resolved, Firing, Inactive]);
        channels.failure.set(False);
        assert_eq!(states(&aggregator.snapshot()), [Resolved, Inactive, Resolved, Resolved, Inactive]);
    }
}

/// As the documentation of the package that this crate replaces has it.
#[test]
fn rule_without_durations_fires_on_each_snapshot_on_which_it_is_true() {
    let (clock, condition) = (ManualClock::new(), Condition::default());
    let rules = vec![condition.rule("b").description("Second"), condition.rule("a")];
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules.clone()).expect("valid rules");
    let mut since = None;
    for is_true in [false, true, true, false, true, false, false] {
        condition.set(if is_true { True } else { False });
        clock.advance(SECOND);
        let snapshot = aggregator.snapshot();
        since = since.filter(|_| is_true).or_else(|| is_true.then(|| clock.now()));
        // Only `since` needs more than this snapshot.
        let expected: Vec<_> = evaluate_alerts(&snapshot, &rules)
            .into_iter()
            .map(|alert| FiringAlert { since: since.expect("it fires"), ..alert })
            .collect();
        assert_eq!(snapshot.alerts, expected);
        assert_eq!(firing(&snapshot), if is_true { vec!["a", "b"] } else { vec![] });
    }
}

#[test]
fn evaluate_alerts_ignores_durations() {
    let clock = ManualClock::new();
    let snapshot = Aggregator::new().clock(clock.clock()).snapshot();
    let condition = Condition::default();
    let rules = [condition.rule("slow").for_at_least(HOUR).keep_firing_for(HOUR)];
    for (outcome, expected) in [(True, 1), (False, 0), (True, 1), (Failed, 0)] {
        condition.set(outcome);
        let alerts = evaluate_alerts(&snapshot, &rules);
        assert_eq!(alerts.len(), expected);
        assert!(alerts.iter().all(|alert| (alert.at, alert.since) == (clock.now(), clock.now())));
    }
}

#[test]
fn restarted_process_begins_with_inactive_rules() {
    let (clock, condition) = (ManualClock::new(), Condition::default());
    let new = || {
        let rules = vec![condition.rule("a"), condition.rule("b").for_at_least(SECOND).keep_firing_for(HOUR)];
        Aggregator::new().clock(clock.clock()).with_alerts(rules).expect("valid rules")
    };
    let states = |aggregator: &Aggregator| {
        let rules = aggregator.snapshot().rules.into_iter();
        rules.map(|rule| (rule.state, rule.since, rule.fired_total)).collect::<Vec<_>>()
    };
    condition.set(True);
    let first = new();
    let _ = first.snapshot();
    clock.advance(SECOND);
    assert_eq!(states(&first).iter().map(|rule| rule.0).collect::<Vec<_>>(), [Firing, Firing]);
    drop(first);
    clock.advance(SECOND);
    let now = Some(clock.now());
    assert_eq!(states(&new()), [(Firing, now, 1), (Pending, now, 0)]);
    condition.set(False);
    assert_eq!(states(&new()), [(Inactive, None, 0), (Inactive, None, 0)]);
}

#[test]
fn clone_with_another_rule_has_states_of_its_own() {
    let (clock, condition) = (ManualClock::new(), Condition::default());
    let rules = vec![condition.rule("a").for_at_least(SECOND)];
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    let same = aggregator.clone();
    condition.set(True);
    monitor.tick();
    clock.advance(SECOND);
    monitor.tick();
    assert_eq!(same.snapshot().rules[0].state, Firing);

    let other = aggregator.clone().with_alerts(vec![condition.rule("b")]).expect("a valid rule");
    let snapshot = other.snapshot();
    let states: Vec<_> = snapshot.rules.iter().map(|rule| (rule.state, rule.since)).collect();
    assert_eq!(states, [(Pending, Some(clock.now())), (Firing, Some(clock.now()))]);
    assert_eq!(same.snapshot().rules[0].state, Firing);
    condition.set(False);
    assert_eq!(other.snapshot().rules[0].state, Inactive);
    // The clone's transitions are not the monitor's.
    condition.set(True);
    monitor.tick();
    let seen: Vec<_> = transitions.try_iter().map(|transition| (transition.name, transition.to)).collect();
    assert_eq!(seen, [("a".to_owned(), Pending), ("a".to_owned(), Firing)]);
}
