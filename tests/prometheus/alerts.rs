//! Prometheus itself and our rules go through the same states.
//!
//! Prometheus scrapes the server and evaluates every second. Its rules have the conditions, `for` and
//! `keep_firing_for` of ours. What each evaluation saw and led to is in its database, so nothing here depends on how
//! fast the test runs:
//!
//! 1. The sequences of states are the same. Prometheus lists no resolved alerts: they are inactive.
//! 2. A change that no duration delays is seen by both within two evaluations.
//! 3. Evaluated at the same times on the same values, our rules have the same state each time, with the same start.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::HOUR;
use crate::common::alerts::{Condition, Outcome, rule};
use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, AlertTransition, ChannelStats, HistoryStats, ManualClock, Monitor, Report,
    Severity, Snapshot, Source, SourceError,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::poll::{DEADLINE, poll};
use crate::support::program::find_program;
use crate::support::prometheus::{Prometheus, get, start_server};

use AlertState::{Firing, Inactive, Pending, Resolved};

/// How often both are asked for their states.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A value that a source reports and rules read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Input {
    /// `channels.total_active`, always reported.
    Steady,
    /// `history.total_envelopes_buffered`, of a source that goes quiet.
    Quiet,
}

impl Input {
    const ALL: [Self; 2] = [Self::Steady, Self::Quiet];

    fn family(self) -> &'static str {
        match self {
            Self::Steady => "parsec_telemetry_channels_active",
            Self::Quiet => "parsec_telemetry_history_buffered",
        }
    }

    fn read(self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Steady => snapshot.channels.total_active,
            Self::Quiet => snapshot.history.total_envelopes_buffered,
        }
    }
}

/// A rule whose condition is that its input is above zero.
struct Rule {
    name: &'static str,
    input: Input,
    for_at_least: Duration,
    keep_firing_for: Duration,
}

const fn defined(name: &'static str, input: Input, for_at_least: u64, keep_firing_for: u64) -> Rule {
    let (for_at_least, keep_firing_for) = (Duration::from_secs(for_at_least), Duration::from_secs(keep_firing_for));
    Rule { name, input, for_at_least, keep_firing_for }
}

/// Longer than the test.
const LONG: u64 = HOUR.as_secs();

/// The longest time between a change that the test makes and its effect on an evaluation is 3 seconds, unless the
/// machine stalls.
const SHORT: u64 = 6;

const RULES: [Rule; 7] = [
    defined("immediate", Input::Steady, 0, 0),
    defined("delayed", Input::Steady, SHORT, SHORT),
    defined("pending", Input::Steady, LONG, 0),
    defined("kept", Input::Steady, 0, LONG),
    defined("quiet_firing", Input::Quiet, 0, 0),
    defined("quiet_delayed", Input::Quiet, SHORT, 0),
    defined("quiet_pending", Input::Quiet, LONG, 0),
];

impl Rule {
    fn with_durations(&self, rule: AlertRule) -> AlertRule {
        rule.for_at_least(self.for_at_least).keep_firing_for(self.keep_firing_for)
    }

    /// Whether a duration must elapse before this change.
    fn delays(&self, from: AlertState, to: AlertState) -> bool {
        match (from, to) {
            (_, Firing) => !self.for_at_least.is_zero(),
            (Firing, _) => !self.keep_firing_for.is_zero(),
            _ => false,
        }
    }
}

/// The rule file. Alerts read what is recorded in the same evaluation, and `evaluation` is recorded last: an
/// evaluation that has it is complete.
fn rule_file() -> String {
    let mut file = String::from("groups:\n- name: states\n  rules:\n");
    for input in Input::ALL {
        writeln!(file, "  - {{record: 'seen:{input:?}', expr: {}}}", input.family()).expect("written");
    }
    writeln!(file, "  - {{record: 'seen:up', expr: 'parsec_telemetry_source_up{{source=\"quiet\"}}'}}")
        .expect("written");
    for Rule { name, input, for_at_least, keep_firing_for } in &RULES {
        let (for_at_least, keep_firing_for) = (for_at_least.as_secs(), keep_firing_for.as_secs());
        let durations = format!("for: {for_at_least}s, keep_firing_for: {keep_firing_for}s");
        writeln!(file, "  - {{alert: {name}, expr: 'seen:{input:?} > 0', {durations}}}").expect("written");
    }
    file + "  - {record: evaluation, expr: vector(1)}\n"
}

/// Reports its value as one input, or fails.
#[derive(Clone)]
struct Gauge {
    input: Input,
    value: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
}

impl Gauge {
    fn new(input: Input) -> Self {
        Self { input, value: Arc::default(), fails: Arc::default() }
    }

    fn set(&self, is_true: bool) {
        self.value.store(u64::from(is_true), SeqCst);
    }
}

impl Source for Gauge {
    fn collect(&self) -> Result<Report, SourceError> {
        if self.fails.load(SeqCst) {
            return Err("connection refused".into());
        }
        let value = self.value.load(SeqCst);
        Ok(match self.input {
            Input::Steady => Report {
                channels: Some(ChannelStats { total_active: value, ..ChannelStats::default() }),
                ..Report::default()
            },
            Input::Quiet => Report {
                history: Some(HistoryStats { total_envelopes_buffered: value, ..HistoryStats::default() }),
                ..Report::default()
            },
        })
    }
}

/// A server with the rules, and the Prometheus that scrapes it.
struct Fixture {
    steady: Gauge,
    quiet: Gauge,
    server: SocketAddr,
    _runtime: Runtime,
    prometheus: Prometheus,
    transitions: mpsc::Receiver<AlertTransition>,
    /// The times of the snapshots on which our rules were evaluated.
    evaluations: Arc<Mutex<Vec<SystemTime>>>,
    _monitor: Monitor,
}

impl Fixture {
    fn start(program: &Path) -> Self {
        let [steady, quiet] = Input::ALL.map(Gauge::new);
        let evaluations = Arc::new(Mutex::new(Vec::new()));
        let rules = RULES.iter().enumerate().map(|(index, rule)| {
            let (input, evaluations) = (rule.input, Arc::clone(&evaluations));
            let condition = move |snapshot: &Snapshot| {
                if index == 0 {
                    evaluations.lock().expect("no panic").push(snapshot.at);
                }
                input.read(snapshot) > 0
            };
            rule.with_durations(AlertRule::new(rule.name, Severity::Warning, condition))
        });
        let aggregator = Aggregator::new()
            .named_source("steady", steady.clone())
            .named_source("quiet", quiet.clone())
            .with_alerts(rules.collect())
            .expect("valid rules");
        let (sender, transitions) = mpsc::channel();
        let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
        let (runtime, server) = start_server(aggregator);
        let prometheus = Prometheus::start(program, &[("parsec", server)], &rule_file());
        Self { steady, quiet, server, prometheus, transitions, evaluations, _monitor: monitor, _runtime: runtime }
    }

    /// The states on our JSON page. A resolved rule counts as inactive.
    fn our_states(&self) -> HashMap<String, AlertState> {
        let page = get(self.server, "/parsec/metrics");
        let snapshot: Snapshot = serde_json::from_str(&page).expect(&page);
        snapshot.rules.into_iter().map(|rule| (rule.name, as_listed(rule.state))).collect()
    }

    /// The states that Prometheus shows, and when it evaluated last.
    fn their_states(&self) -> (HashMap<String, AlertState>, String) {
        let groups = self.prometheus.api("/api/v1/rules?type=alert");
        let group = &groups["groups"][0];
        let state = |rule: &Value| {
            let name = rule["name"].as_str().expect("a name").to_owned();
            (name, serde_json::from_value(rule["state"].clone()).unwrap_or_default())
        };
        let rules = group["rules"].as_array().expect("rules").iter().map(state).collect();
        (rules, group["lastEvaluation"].as_str().expect("a time").to_owned())
    }

    /// Polls until both show these states.
    fn wait_for(&self, expected: &[(&str, AlertState)]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let states = [self.our_states(), self.their_states().0];
            if states.iter().all(|states| expected.iter().all(|(name, state)| states.get(*name) == Some(state))) {
                return;
            }
            assert!(Instant::now() < deadline, "{expected:?} not within {DEADLINE:?}: {states:#?}");
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The samples of a series, by the time of the evaluation or the scrape in milliseconds.
    fn samples(&self, series: &str) -> BTreeMap<u64, f64> {
        let found = self.prometheus.query(&format!("{series}[10m]"));
        let samples = found.iter().flat_map(|series| series["values"].as_array().expect("samples"));
        samples
            .map(|sample| {
                let value = sample[1].as_str().expect("a value").parse().expect("a number");
                (millis(Duration::from_secs_f64(sample[0].as_f64().expect("a time"))), value)
            })
            .collect()
    }
}

fn as_listed(state: AlertState) -> AlertState {
    if state == Resolved { Inactive } else { state }
}

/// Rounds to milliseconds, the resolution of Prometheus.
fn millis(since_epoch: Duration) -> u64 {
    let millis = (since_epoch + Duration::from_micros(500)).as_millis();
    u64::try_from(millis).expect("a present time")
}

fn unix_millis(at: SystemTime) -> u64 {
    millis(at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

/// What Prometheus stored.
struct History {
    /// When it evaluated, and what each rule's state was then.
    evaluations: Vec<(u64, HashMap<&'static str, AlertState>)>,
    /// The start of each alert that was pending or firing, in whole seconds.
    starts: HashMap<&'static str, BTreeMap<u64, f64>>,
    inputs: HashMap<Input, BTreeMap<u64, f64>>,
    /// Whether the quiet source was up.
    up: BTreeMap<u64, f64>,
    scrapes: Vec<u64>,
}

impl History {
    fn read(fixture: &Fixture) -> Self {
        // First: the others then have at least these evaluations.
        let evaluations = fixture.samples("evaluation");
        let of_rules = |metric: &str, labels: &str| -> HashMap<&'static str, BTreeMap<u64, f64>> {
            let series = |name| fixture.samples(&format!("{metric}{{alertname=\"{name}\"{labels}}}"));
            RULES.iter().map(|rule| (rule.name, series(rule.name))).collect()
        };
        let pending = of_rules("ALERTS", ",alertstate=\"pending\"");
        let firing = of_rules("ALERTS", ",alertstate=\"firing\"");
        let state = |name, at| match (pending[name].contains_key(&at), firing[name].contains_key(&at)) {
            (false, false) => Inactive,
            (true, false) => Pending,
            (false, true) => Firing,
            (true, true) => panic!("{name} is pending and firing at {at}"),
        };
        let states = |at| RULES.iter().map(|rule| (rule.name, state(rule.name, at))).collect();
        Self {
            evaluations: evaluations.into_keys().map(|at| (at, states(at))).collect(),
            starts: of_rules("ALERTS_FOR_STATE", ""),
            inputs: Input::ALL.map(|input| (input, fixture.samples(&format!("seen:{input:?}")))).into(),
            up: fixture.samples("seen:up"),
            scrapes: fixture.samples(Input::Steady.family()).into_keys().collect(),
        }
    }

    /// The changes of a rule's state, each with the time of its evaluation.
    fn changes(&self, name: &str) -> Vec<(u64, AlertState)> {
        let mut changes = vec![(0, Inactive)];
        for (at, states) in &self.evaluations {
            if changes.last().is_none_or(|last| last.1 != states[name]) {
                changes.push((*at, states[name]));
            }
        }
        changes.split_off(1)
    }

    /// How many evaluations there were after the first scrape after `from`, up to `until`.
    fn evaluations_with_scrape(&self, from: u64, until: u64) -> usize {
        let scrape = self.scrapes.iter().find(|&&scrape| scrape >= from).copied().unwrap_or(from);
        self.evaluations.iter().filter(|(at, _)| (scrape + 1..=until).contains(at)).count()
    }
}

#[test]
fn rules_go_through_the_states_of_prometheus() {
    let Some(program) = find_program("prometheus") else {
        return;
    };
    let fixture = Fixture::start(&program);
    let Fixture { steady, quiet, .. } = &fixture;
    fixture.prometheus.wait_for("evaluation", "1");
    fixture.prometheus.wait_for("seen:Steady", "0");

    // Shorter than `for`.
    steady.set(true);
    quiet.set(true);
    fixture.wait_for(&[("immediate", Firing), ("delayed", Pending), ("pending", Pending), ("kept", Firing)]);
    fixture.wait_for(&[("quiet_firing", Firing), ("quiet_pending", Pending)]);
    steady.set(false);
    // The source is quiet while one of its alerts fires and others are pending.
    quiet.fails.store(true, SeqCst);
    quiet.set(false);
    fixture.wait_for(&[("immediate", Inactive), ("delayed", Inactive), ("pending", Inactive), ("kept", Firing)]);

    // Long enough. The condition of the quiet source has been true for as long on its last good report.
    steady.set(true);
    fixture.wait_for(&[("delayed", Firing), ("quiet_delayed", Firing), ("quiet_firing", Firing)]);
    // False, and true again within `keep_firing_for`.
    steady.set(false);
    fixture.wait_for(&[("immediate", Inactive), ("delayed", Firing)]);
    steady.set(true);
    fixture.wait_for(&[("immediate", Firing), ("delayed", Firing), ("quiet_pending", Pending)]);

    // False for good. The source comes back.
    steady.set(false);
    quiet.fails.store(false, SeqCst);
    fixture.wait_for(&[("quiet_firing", Inactive), ("quiet_delayed", Inactive), ("quiet_pending", Inactive)]);
    let end = [("immediate", Inactive), ("delayed", Inactive), ("pending", Inactive), ("kept", Firing)];
    fixture.wait_for(&end);
    let history = poll("the last evaluation is stored", || {
        let history = History::read(&fixture);
        let (_, states) = history.evaluations.last()?;
        end.iter().all(|(name, state)| states[name] == *state).then_some(history)
    });

    let up = fixture.samples("up");
    assert!(up.values().all(|&value| value > 0.0), "a scrape failed, so that the states may differ: {up:?}");
    let quiet_evaluations = history.evaluations.iter().filter(|(at, _)| history.up.get(at) == Some(&0.0));
    let while_quiet: Vec<_> = quiet_evaluations.map(|(_, states)| states["quiet_firing"]).collect();
    assert!(while_quiet.len() >= 3 && while_quiet.iter().all(|&state| state == Firing), "{while_quiet:?}");
    check_changes(&fixture, &history);
    check_replay(&history);
}

/// Properties 1 and 2.
fn check_changes(fixture: &Fixture, history: &History) {
    let transitions: Vec<_> = fixture.transitions.try_iter().collect();
    let evaluations = fixture.evaluations.lock().expect("no panic");
    for rule in &RULES {
        let of_rule = transitions.iter().filter(|transition| transition.name == rule.name);
        let ours: Vec<_> = of_rule.map(|change| (unix_millis(change.at), as_listed(change.to))).collect();
        let theirs = history.changes(rule.name);
        let states = |changes: &[(u64, AlertState)]| changes.iter().map(|change| change.1).collect::<Vec<_>>();
        assert_eq!(states(&ours), states(&theirs), "{}: {ours:?}, {theirs:?}", rule.name);
        let expected: &[AlertState] = match rule.name {
            "immediate" => &[Firing, Inactive, Firing, Inactive, Firing, Inactive],
            "delayed" => &[Pending, Inactive, Pending, Firing, Inactive],
            "pending" => &[Pending, Inactive, Pending, Inactive, Pending, Inactive],
            "kept" => &[Firing],
            "quiet_firing" => &[Firing, Inactive],
            "quiet_delayed" => &[Pending, Firing, Inactive],
            "quiet_pending" => &[Pending, Inactive],
            name => panic!("{name} has no sequence"),
        };
        assert_eq!(states(&ours), expected, "{}", rule.name);

        let mut from = Inactive;
        for (&(ours, to), &(theirs, _)) in ours.iter().zip(&theirs) {
            if !rule.delays(from, to) {
                let behind = history.evaluations_with_scrape(ours, theirs);
                assert!(behind <= 2, "{} is {to:?} at {ours}, in Prometheus at {theirs}", rule.name);
                let ahead = evaluations.iter().filter(|&&at| (theirs + 1..=ours).contains(&unix_millis(at))).count();
                assert!(ahead <= 2, "{} is {to:?} at {ours}, in Prometheus at {theirs}", rule.name);
            }
            from = to;
        }
    }
}

/// Property 3.
fn check_replay(history: &History) {
    let clock = ManualClock::new();
    let start = clock.now();
    let conditions = Input::ALL.map(|input| (input, Condition::default()));
    let conditions = HashMap::from(conditions);
    let rules = RULES.iter().map(|rule| rule.with_durations(conditions[&rule.input].rule(rule.name)));
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules.collect()).expect("valid rules");
    let first = history.evaluations[0].0;
    let mut last = first;
    for (at, theirs) in &history.evaluations {
        clock.advance(Duration::from_millis(at - last));
        last = *at;
        for (input, condition) in &conditions {
            let is_true = history.inputs[input].get(at).is_some_and(|&value| value > 0.0);
            condition.set(if is_true { Outcome::True } else { Outcome::False });
        }
        let snapshot = aggregator.snapshot();
        for Rule { name, .. } in &RULES {
            let ours = rule(&snapshot, name);
            assert_eq!(as_listed(ours.state), theirs[name], "{name} at {at}");
            if matches!(ours.state, Pending | Firing) {
                let since = ours.since.expect("a start").duration_since(start).expect("after the start");
                let seconds = (Duration::from_millis(first) + since).as_secs();
                assert_eq!(history.starts[name].get(at), Some(&(seconds as f64)), "the start of {name} at {at}");
            }
        }
    }
}
