//! What a monitor does on its own: samples every second, alert states without readers, callbacks, and its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, AlertTransition, ChannelStats, EnvelopeCounters, ManualClock, Monitor, Report,
    Schedule, Severity, Source, SourceError, Tier,
};

use AlertState::{Firing, Inactive, Pending, Resolved};

const SECOND: Duration = Duration::from_secs(1);

/// How long a test waits for another thread.
const PATIENCE: Duration = Duration::from_secs(10);

fn wait_for(what: &str, mut is_done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_done() {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        thread::yield_now();
    }
}

/// A condition that a test sets.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn set(&self, is_on: bool) {
        self.0.store(is_on, SeqCst);
    }

    fn rule(&self, name: &str) -> AlertRule {
        let is_on = Arc::clone(&self.0);
        AlertRule::new(name, Severity::Warning, move |_| is_on.load(SeqCst))
    }
}

fn states(transitions: &mpsc::Receiver<AlertTransition>) -> Vec<(AlertState, AlertState)> {
    transitions.try_iter().map(|transition| (transition.from, transition.to)).collect()
}

#[test]
fn monitor_of_a_running_clock_evaluates_rules_without_a_reader() {
    let switch = Switch::default();
    let aggregator = Aggregator::new().with_alerts(vec![switch.rule("on")]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    switch.set(true);
    let fired = transitions.recv_timeout(PATIENCE).expect("a transition");
    assert_eq!((fired.from, fired.to, fired.name.as_str()), (Inactive, Firing, "on"));
    assert_eq!(fired.since, Some(fired.at));
    switch.set(false);
    let resolved = transitions.recv_timeout(PATIENCE).expect("a transition");
    assert_eq!((resolved.from, resolved.to, resolved.since), (Firing, Resolved, fired.since));
    wait_for("the event", || monitor.series().events.len() == 2);
}

#[test]
fn monitor_of_a_running_clock_records_one_point_per_second() {
    let envelopes = EnvelopeCounters::new();
    envelopes.observe("data");
    let monitor = Monitor::start(&Aggregator::new().source(envelopes));
    let points = || {
        let series = monitor.series_since(Some(Tier::Minute), None);
        series.tiers[..].first().map_or(Vec::new(), |minute| {
            minute.series.get("envelopes.rate_per_second").map_or(Vec::new(), |points| points.avg.clone())
        })
    };
    wait_for("the third point", || points().len() >= 3);
    assert!(points().iter().flatten().all(|&rate| rate > 0.0), "{:?}", points());
}

#[test]
fn manual_clock_is_sampled_by_ticks_only() {
    let clock = ManualClock::new();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let rule = AlertRule::new("counts", Severity::Info, move |_| counted.fetch_add(1, SeqCst) > 2);
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![rule]).expect("a valid rule");
    let monitor = Monitor::start(&aggregator);
    for tick in 1..=4 {
        clock.advance(SECOND);
        assert_eq!(calls.load(SeqCst), tick - 1);
        monitor.tick();
        assert_eq!(calls.load(SeqCst), tick);
    }
    let series = monitor.series();
    assert_eq!(series.tiers.iter().map(|tier| tier.n).collect::<Vec<_>>(), [4, 0, 0]);
    assert_eq!(series.events.iter().map(|event| event.to).collect::<Vec<_>>(), [Firing]);
    assert_eq!(series.events[0].t, series.tiers[0].end.expect("points"));
}

#[test]
fn missed_seconds_are_gaps() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let monitor = Monitor::start(&Aggregator::new().clock(clock.clock()).source(envelopes.clone()));
    envelopes.observe("data");
    for seconds in [1, 1, 3, 1] {
        clock.advance(seconds * SECOND);
        monitor.tick();
    }
    let minute = &monitor.series().tiers[0];
    let rates = &minute.series["envelopes.rate_per_second"].avg;
    let is_known: Vec<_> = rates.iter().map(Option::is_some).collect();
    assert_eq!(is_known, [true, true, false, false, true, true]);
}

#[test]
fn callbacks_see_each_transition_once_and_in_order() {
    let clock = ManualClock::new();
    let switch = Switch::default();
    let rules = ["a", "b"].map(|name| switch.rule(name).for_at_least(2 * SECOND).keep_firing_for(SECOND));
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(rules.into()).expect("valid rules");
    let (first, second) = (mpsc::channel(), mpsc::channel());
    let monitor = Monitor::builder(&aggregator)
        .on_transition(move |t| drop(first.0.send(t.clone())))
        .on_transition(move |t| drop(second.0.send(t.clone())))
        .start();
    for is_on in [true, true, true, false, false, true, false] {
        switch.set(is_on);
        // Readers apply states too, and must not deliver twice.
        assert_eq!(aggregator.snapshot(), aggregator.snapshot());
        monitor.tick();
        monitor.tick();
        clock.advance(SECOND);
    }
    let seen: Vec<_> = first.1.try_iter().collect();
    assert_eq!(seen, second.1.try_iter().collect::<Vec<_>>());
    for name in ["a", "b"] {
        let of_rule = seen.iter().filter(|transition| transition.name == name);
        let changes: Vec<_> = of_rule.map(|transition| (transition.from, transition.to)).collect();
        let expected =
            [(Inactive, Pending), (Pending, Firing), (Firing, Resolved), (Resolved, Pending), (Pending, Inactive)];
        assert_eq!(changes, expected);
    }
    assert!(seen.is_sorted_by_key(|transition| transition.at));
}

#[test]
fn panic_in_a_callback_is_counted_and_the_others_are_called() {
    let clock = ManualClock::new();
    let switch = Switch::default();
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![switch.rule("on")]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let monitor = Monitor::builder(&aggregator)
        .on_transition(|_| panic!("expected by the test"))
        .on_transition(move |t| drop(sender.send(t.clone())))
        .start();
    for is_on in [true, false] {
        switch.set(is_on);
        monitor.tick();
        clock.advance(SECOND);
    }
    assert_eq!(states(&transitions), [(Inactive, Firing), (Firing, Resolved)]);
    assert_eq!(monitor.callback_panics(), 2);
}

#[test]
fn transitions_beyond_the_queue_are_counted_and_the_latest_are_kept() {
    let clock = ManualClock::new();
    let switch = Switch::default();
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![switch.rule("on")]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    for step in 1..=1_100 {
        switch.set(step % 2 == 1);
        let _ = aggregator.snapshot();
        clock.advance(SECOND);
    }
    let last = clock.now() - SECOND;
    monitor.tick();
    let seen: Vec<_> = transitions.try_iter().collect();
    assert_eq!((seen.len(), monitor.dropped_transitions()), (1024, 76));
    assert_eq!((seen[1023].at, seen[1023].to), (last, Resolved));
}

#[test]
fn second_monitor_attaches_to_the_first() {
    let clock = ManualClock::new();
    let switch = Switch::default();
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![switch.rule("on")]).expect("a valid rule");
    let first = Monitor::builder(&aggregator).series(false).start();
    first.tick();
    assert_eq!(first.series().tiers, []);
    let (sender, transitions) = mpsc::channel();
    let second = Monitor::builder(&aggregator.clone()).on_transition(move |t| drop(sender.send(t.clone()))).start();
    switch.set(true);
    clock.advance(SECOND);
    first.tick();
    assert_eq!(states(&transitions), [(Inactive, Firing)]);
    assert_eq!(first.series(), second.series());
    assert_eq!(second.series().tiers[0].n, 1);
}

#[test]
fn monitor_ends_with_its_last_handle() {
    let token = Arc::new(());
    let held = Arc::clone(&token);
    let aggregator = Aggregator::new();
    let monitor = Monitor::builder(&aggregator).on_transition(move |_| drop(Arc::clone(&held))).start();
    let clone = monitor.clone();
    drop(monitor);
    assert_eq!(Arc::strong_count(&token), 2);
    drop(clone);
    wait_for("the end of the monitor", || Arc::strong_count(&token) == 1);
}

#[test]
fn transitions_before_the_start_are_not_delivered() {
    let clock = ManualClock::new();
    let switch = Switch::default();
    switch.set(true);
    let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![switch.rule("on")]).expect("a valid rule");
    let _ = aggregator.snapshot();
    let (sender, transitions) = mpsc::channel();
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    switch.set(false);
    monitor.tick();
    assert_eq!(states(&transitions), [(Firing, Resolved)]);
}

/// Takes two seconds of a manual clock for each call.
struct Slow {
    clock: ManualClock,
    calls: Arc<AtomicU64>,
}

impl Source for Slow {
    fn collect(&self) -> Result<Report, SourceError> {
        self.calls.fetch_add(1, SeqCst);
        self.clock.advance(2 * SECOND);
        Ok(Report { channels: Some(ChannelStats::default()), ..Report::default() })
    }

    fn schedule(&self) -> Schedule {
        Schedule::OnDemand
    }
}

#[test]
fn slow_source_is_spared_for_twenty_times_as_long_as_its_call_took() {
    let (clock, calls) = (ManualClock::new(), Arc::new(AtomicU64::new(0)));
    let slow = Slow { clock: clock.clone(), calls: Arc::clone(&calls) };
    let aggregator = Aggregator::new().clock(clock.clock()).source(slow);
    let monitor = Monitor::start(&aggregator);
    monitor.tick();
    for _ in 0..39 {
        clock.advance(SECOND);
        monitor.tick();
    }
    assert_eq!(calls.load(SeqCst), 1);
    let channels = &monitor.series().tiers[0].series["channels.total_active"].avg;
    assert!(channels.iter().all(Option::is_some), "a source that is spared is not stale: {channels:?}");
    clock.advance(SECOND);
    monitor.tick();
    assert_eq!(calls.load(SeqCst), 2);
}

/// Takes a second for each call.
struct Busy(Arc<AtomicU64>);

impl Source for Busy {
    fn collect(&self) -> Result<Report, SourceError> {
        self.0.fetch_add(1, SeqCst);
        let end = Instant::now() + SECOND;
        while Instant::now() < end {
            thread::yield_now();
        }
        Ok(Report { channels: Some(ChannelStats::default()), ..Report::default() })
    }

    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }
}

/// Its calls would otherwise take all the time of the collector thread.
#[test]
fn slow_inline_source_is_spared_too() {
    let calls = Arc::new(AtomicU64::new(0));
    let monitor = Monitor::start(&Aggregator::new().source(Busy(Arc::clone(&calls))));
    wait_for("four samples", || monitor.series().tiers[0].n >= 4);
    assert_eq!(calls.load(SeqCst), 1);
}

/// Blocks until it is released.
struct Blocked(Arc<Mutex<()>>);

impl Source for Blocked {
    fn collect(&self) -> Result<Report, SourceError> {
        drop(self.0.lock());
        Ok(Report { channels: Some(ChannelStats::default()), ..Report::default() })
    }
}

#[test]
fn rules_and_series_wait_for_the_first_report_of_each_source() {
    let gate = Arc::new(Mutex::new(()));
    let envelopes = EnvelopeCounters::new();
    let rule = AlertRule::new("always", Severity::Info, |_| true);
    let aggregator = Aggregator::new().source(envelopes.clone()).source(Blocked(Arc::clone(&gate)));
    let aggregator = aggregator.with_alerts(vec![rule]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let blocking = gate.lock().expect("no panic");
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    wait_for("two points", || monitor.series().tiers[0].n >= 2);
    assert!(monitor.series().tiers[0].series.is_empty());
    assert_eq!(states(&transitions), []);
    drop(blocking);
    let fired = transitions.recv_timeout(PATIENCE).expect("a transition");
    assert_eq!(fired.to, Firing);
}

#[test]
fn first_call_that_never_returns_holds_rules_up_for_five_seconds_only() {
    let gate = Arc::new(Mutex::new(()));
    let rule = AlertRule::new("always", Severity::Info, |_| true);
    let aggregator = Aggregator::new().source(EnvelopeCounters::new()).source(Blocked(Arc::clone(&gate)));
    let aggregator = aggregator.with_alerts(vec![rule]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let _blocking = gate.lock().expect("no panic");
    let _monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    assert_eq!(transitions.recv_timeout(PATIENCE).expect("a transition").to, Firing);
}

#[test]
fn rule_that_blocks_stops_neither_series_nor_the_monitor() {
    let gate = Arc::new(Mutex::new(()));
    let passed = Arc::clone(&gate);
    let rule = AlertRule::new("blocks", Severity::Info, move |_| passed.lock().is_ok());
    let aggregator = Aggregator::new().with_alerts(vec![rule]).expect("a valid rule");
    let (sender, transitions) = mpsc::channel();
    let blocking = gate.lock().expect("no panic");
    let monitor = Monitor::builder(&aggregator).on_transition(move |t| drop(sender.send(t.clone()))).start();
    wait_for("two points", || monitor.series().tiers[0].n >= 2);
    drop(blocking);
    assert_eq!(transitions.recv_timeout(PATIENCE).expect("a transition").to, Firing);
}
