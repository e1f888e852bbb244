//! What a page shows of sources that are late, blocked, panicking or failing, and of rules that are.
//!
//! The rules are in `docs/METRICS.md`: the last good report stays on the page, whole, with its age.

#![cfg(feature = "serve")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt as _;
use parsec_telemetry::{
    Aggregator, AlertRule, AlertState, ChannelStats, Format, ManualClock, Polled, Report, Schedule, Server,
    ServerBuilder, Severity, Snapshot, Source, SourceError,
};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(10);

/// A timeout that a test lets pass.
const SHORT: Duration = Duration::from_millis(100);

/// A timeout that no test lets pass.
const LONG: Duration = Duration::from_secs(600);

/// Blocks every call while it is shut.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    waiting: AtomicU64,
    opened: Condvar,
}

impl Gate {
    fn set_shut(&self, is_shut: bool) {
        *self.is_shut.lock().expect("no panic") = is_shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().expect("no panic");
        self.waiting.fetch_add(1, SeqCst);
        let _open = self.opened.wait_while(is_shut, |is_shut| *is_shut).expect("no panic");
        self.waiting.fetch_sub(1, SeqCst);
    }
}

/// What a source does when it is called.
#[derive(Clone, Copy, Default, PartialEq)]
enum Behaviour {
    #[default]
    Report,
    Fail,
    Panic,
}

/// Reports how often it was called.
#[derive(Default)]
struct Probe {
    calls: AtomicU64,
    gate: Gate,
    behaviour: Mutex<Behaviour>,
    schedule: Schedule,
}

impl Probe {
    fn calls(&self) -> u64 {
        self.calls.load(SeqCst)
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic") = behaviour;
    }
}

impl Source for Probe {
    fn collect(&self) -> Result<Report, SourceError> {
        let calls = self.calls.fetch_add(1, SeqCst) + 1;
        self.gate.pass();
        let behaviour = *self.behaviour.lock().expect("no panic");
        match behaviour {
            Behaviour::Report => Ok(Report {
                channels: Some(ChannelStats { total_active: calls, ..Default::default() }),
                ..Default::default()
            }),
            Behaviour::Fail => Err("connection refused".into()),
            Behaviour::Panic => panic!("no table"),
        }
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }
}

/// An aggregator on a clock that stands still, so that the server's monitor calls no source.
fn unmonitored() -> Aggregator {
    Aggregator::new().clock(ManualClock::new().clock())
}

/// A server without shared snapshots, and a runtime to wait for it.
struct Site {
    server: Server,
    runtime: Runtime,
}

impl Site {
    fn new(aggregator: Aggregator) -> Self {
        Self::with(Server::builder(aggregator).max_snapshot_age(Duration::ZERO).scrape_timeout(LONG))
    }

    fn with(builder: ServerBuilder) -> Self {
        Self { server: builder.build(), runtime: Runtime::new().expect("a runtime") }
    }

    /// The page for a client that waits for `timeout`.
    fn page(&self, timeout: Duration) -> Snapshot {
        let seconds = (timeout.as_secs_f64() / 0.9).to_string();
        let request = Request::get("/parsec/metrics")
            .header("X-Prometheus-Scrape-Timeout-Seconds", seconds)
            .body(())
            .expect("a valid request");
        let response = self.server.respond(&request);
        let body = self.runtime.block_on(async {
            let response = tokio::time::timeout(PATIENCE, response).await.expect("a page");
            response.into_body().collect().await.expect("a body").to_bytes()
        });
        serde_json::from_slice(&body).expect("a snapshot")
    }
}

fn wait_for(what: &str, mut is_done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_done() {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

#[test]
fn blocked_source_keeps_its_last_report_and_costs_its_deadline_once() {
    let (probe, clock) = (Arc::new(Probe::default()), ManualClock::new());
    let site = Site::new(unmonitored().clock(clock.clock()).source(Arc::clone(&probe)));
    assert_eq!(site.page(LONG).channels.total_active, 1);

    probe.gate.set_shut(true);
    clock.advance(Duration::from_secs(3));
    let late = site.page(SHORT);
    assert_eq!(late.channels.total_active, 1);
    assert_eq!(late.sources[0].timeouts_total, 1);
    assert_eq!(late.sources[0].age_seconds, Some(3.0));

    // A client that would wait for ten minutes does not.
    for _ in 0..3 {
        let next = site.page(LONG);
        assert_eq!((next.channels.total_active, next.sources[0].timeouts_total), (1, 1));
    }
    assert_eq!(probe.calls(), 2, "a blocked source is not called again");

    probe.gate.set_shut(false);
    wait_for("a new report", || site.page(LONG).channels.total_active >= 2);
    let page = site.page(LONG);
    assert!(page.sources[0].up && page.sources[0].error.is_none());
}

#[test]
fn request_received_before_a_call_was_abandoned_still_gets_its_report() {
    let probe = Arc::new(Probe::default());
    probe.gate.set_shut(true);
    let site = Arc::new(Site::new(unmonitored().source(Arc::clone(&probe))));
    let patient = std::thread::spawn({
        let site = Arc::clone(&site);
        move || site.page(LONG)
    });
    wait_for("the call", || probe.calls() == 1);
    assert_eq!(site.page(SHORT).sources[0].age_seconds, None);
    probe.gate.set_shut(false);
    let page = patient.join().expect("no panic");
    assert!(page.channels.total_active >= 1, "{page:?}");
}

#[test]
fn source_that_panics_or_fails_keeps_its_last_report_everywhere() {
    for (behaviour, error, panics) in
        [(Behaviour::Panic, "panicked: no table", 1), (Behaviour::Fail, "connection refused", 0)]
    {
        let probe = Arc::new(Probe::default());
        let aggregator = unmonitored().source(Arc::clone(&probe));
        let site = Site::new(aggregator.clone());
        assert_eq!(site.page(LONG).channels.total_active, 1);

        probe.behave(behaviour);
        let page = site.page(LONG);
        assert_eq!(page.channels.total_active, 1);
        let status = &page.sources[0];
        assert_eq!((status.up, status.error.as_deref()), (false, Some(error)));
        assert_eq!(status.panics_total, panics);

        let snapshot = aggregator.snapshot();
        assert_eq!(snapshot.channels.total_active, 1);
        assert_eq!(snapshot.sources[0].panics_total, 2 * panics);
        let text = String::from_utf8(aggregator.render(Format::Prometheus)).expect("UTF-8");
        assert!(text.contains("parsec_telemetry_source_up{source=\"Probe\",type=\"Probe\"} 0\n"), "{text}");

        probe.behave(Behaviour::Report);
        let page = site.page(LONG);
        assert!(page.channels.total_active > 1 && page.sources[0].up);
        assert_eq!(page.sources[0].error, None);
    }
}

#[test]
fn source_that_never_reported_is_not_up() {
    let probe = Arc::new(Probe::default());
    probe.behave(Behaviour::Fail);
    let page = Site::new(unmonitored().source(Arc::clone(&probe))).page(LONG);
    assert_eq!((page.sources[0].up, page.sources[0].age_seconds), (false, None));
}

#[test]
fn one_failing_source_leaves_the_others_fresh() {
    let (good, bad) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
    bad.gate.set_shut(true);
    let aggregator = unmonitored().named_source("bad", Arc::clone(&bad)).named_source("good", Arc::clone(&good));
    let site = Site::new(aggregator);
    for page in 1..=3 {
        assert_eq!(site.page(SHORT).channels.total_active, page);
    }
    bad.gate.set_shut(false);
}

#[test]
fn concurrent_requests_share_one_call() {
    let probe = Arc::new(Probe::default());
    probe.gate.set_shut(true);
    let aggregator = unmonitored().source(Arc::clone(&probe));
    let site = Site::with(Server::builder(aggregator).scrape_timeout(LONG));
    let request = Request::get("/parsec/metrics").body(()).expect("a valid request");
    let responses: Vec<_> = (0..1000).map(|_| site.server.respond(&request)).collect();
    probe.gate.set_shut(false);
    for response in responses {
        assert_eq!(site.runtime.block_on(response).status(), 200);
    }
    assert_eq!(probe.calls(), 1);
}

#[test]
fn handlers_share_snapshots_within_their_age() {
    let probe = Arc::new(Probe { schedule: Schedule::Inline, ..Default::default() });
    let aggregator = unmonitored().source(Arc::clone(&probe));
    let runtime = Runtime::new().expect("a runtime");
    let pages = 200;
    for _ in 0..pages {
        let request = Request::get("/").body(()).expect("a valid request");
        let response = hyper::service::Service::call(&aggregator.handler(), request);
        assert_eq!(runtime.block_on(response).expect("infallible").status(), 200);
    }
    assert!(probe.calls() < pages, "{} calls for {pages} pages", probe.calls());
}

#[test]
fn every_source_is_called_on_its_period_and_not_per_request() {
    let clock = ManualClock::new();
    let probe = Arc::new(Probe::default());
    let period = Duration::from_secs(60);
    let aggregator = unmonitored().clock(clock.clock()).source(Polled::every(period, Arc::clone(&probe)));
    let site = Site::new(aggregator.clone());
    for _ in 0..3 {
        assert_eq!(site.page(LONG).channels.total_active, 1);
        assert_eq!(aggregator.snapshot().channels.total_active, 1);
    }
    assert_eq!(probe.calls(), 1);

    // The second call follows within one period, every other after one.
    clock.advance(period);
    wait_for("the second call", || site.page(LONG).channels.total_active == 2);
    assert_eq!(site.page(LONG).sources[0].age_seconds, Some(0.0));
    clock.advance(period / 2);
    assert_eq!(site.page(LONG).sources[0].age_seconds, Some(30.0));
    clock.advance(period / 2);
    wait_for("the third call", || site.page(LONG).channels.total_active == 3);
    assert_eq!(probe.calls(), 3);
}

#[test]
fn every_source_that_is_blocked_is_waited_for_once() {
    let probe = Arc::new(Probe { schedule: Schedule::Every(LONG), ..Default::default() });
    probe.gate.set_shut(true);
    let site = Site::new(unmonitored().source(Arc::clone(&probe)));
    assert_eq!(site.page(SHORT).sources[0].timeouts_total, 1);
    assert_eq!(site.page(LONG).sources[0].timeouts_total, 1);
    probe.gate.set_shut(false);
}

#[test]
fn blocked_rule_is_named_and_keeps_every_state() {
    let gate = Arc::new(Gate::default());
    let blocking = Arc::clone(&gate);
    let rules = vec![
        AlertRule::new("blocks", Severity::Info, move |_| {
            blocking.pass();
            true
        }),
        AlertRule::new("fires", Severity::Critical, |s| s.channels.total_active < 3),
    ];
    let probe = Arc::new(Probe { schedule: Schedule::Inline, ..Default::default() });
    let aggregator = unmonitored().source(Arc::clone(&probe)).with_alerts(rules).expect("valid rules");
    let site = Site::new(aggregator);
    let names = |page: &Snapshot| page.alerts.iter().map(|alert| alert.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&site.page(LONG)), ["blocks", "fires"]);

    gate.set_shut(true);
    let late = site.page(SHORT);
    assert_eq!(late.channels.total_active, 2, "the page itself is fresh");
    for page in [late, site.page(LONG), site.page(LONG)] {
        assert_eq!(names(&page), ["blocks", "fires"]);
        assert!(page.rules[0].error.as_deref().is_some_and(|error| error.contains("did not return")));
        assert_eq!((page.rules[0].failures_total, page.rules[1].failures_total), (1, 0));
        assert_eq!(page.rules[1].state, AlertState::Firing);
    }
    gate.set_shut(false);
    wait_for("the end of the alert", || names(&site.page(LONG)) == ["blocks"]);
    assert_eq!(site.page(LONG).rules[0].error, None);
}

/// The monitor evaluates the rule first, and gives up no evaluation.
#[test]
fn rule_that_blocks_beside_a_monitor_is_named_by_the_first_page_and_costs_its_deadline_once() {
    let gate = Arc::new(Gate::default());
    let blocking = Arc::clone(&gate);
    let rule = AlertRule::new("blocks", Severity::Info, move |_| {
        blocking.pass();
        true
    });
    gate.set_shut(true);
    let aggregator = Aggregator::new().with_alerts(vec![rule]).expect("a valid rule");
    let site = Site::with(Server::builder(aggregator).scrape_timeout(LONG));
    wait_for("the rule", || gate.waiting.load(SeqCst) == 1);
    // Longer than the monitor waits, so that its snapshots come before the deadline of the page.
    for page in [site.page(Duration::from_secs(2)), site.page(LONG), site.page(LONG)] {
        assert!(page.rules[0].error.as_deref().is_some_and(|error| error.contains("did not return")), "{page:?}");
        assert_eq!((page.rules[0].failures_total, page.rules[0].state), (1, AlertState::Inactive));
    }
    gate.set_shut(false);
}

#[test]
fn rule_that_panics_keeps_its_state() {
    let rule = AlertRule::new("some", Severity::Warning, |s| {
        assert!(s.channels.total_active != 2, "two channels");
        true
    });
    let probe = Arc::new(Probe { schedule: Schedule::Inline, ..Default::default() });
    let aggregator = unmonitored().source(probe).with_alerts(vec![rule]).expect("a valid rule");
    let site = Site::new(aggregator.clone());
    assert_eq!(site.page(LONG).rules[0].state, AlertState::Firing);
    let failed = site.page(LONG);
    assert_eq!(failed.rules[0].state, AlertState::Firing);
    assert_eq!(failed.rules[0].failures_total, 1);
    assert_eq!(failed.rules[0].error.as_deref(), Some("panicked: two channels"));
    assert_eq!(failed.alerts.len(), 1);
    assert_eq!(aggregator.snapshot().rules[0].error, None);
}

#[test]
fn rule_that_blocks_for_one_page_is_not_followed_by_an_older_snapshot() {
    let gate = Arc::new(Gate::default());
    let blocking = Arc::clone(&gate);
    let rule = AlertRule::new("blocks", Severity::Info, move |_| {
        blocking.pass();
        false
    });
    let probe = Arc::new(Probe { schedule: Schedule::Inline, ..Default::default() });
    let aggregator = unmonitored().source(probe).with_alerts(vec![rule]).expect("a valid rule");
    let site = Arc::new(Site::with(Server::builder(aggregator).max_snapshot_age(LONG)));
    gate.set_shut(true);
    // Waits for the rule, with the snapshot of the first call.
    let patient = std::thread::spawn({
        let site = Arc::clone(&site);
        move || site.page(LONG)
    });
    wait_for("the rule", || gate.waiting.load(SeqCst) == 1);
    let newest = site.page(SHORT).channels.total_active;
    assert_eq!(newest, 2);
    gate.set_shut(false);
    assert_eq!(patient.join().expect("no panic").channels.total_active, 1);
    assert!(site.page(LONG).channels.total_active >= newest, "the counter fell");
}

#[test]
fn report_that_arrives_after_a_deadline_is_shown_although_the_page_may_be_old() {
    let probe = Arc::new(Probe::default());
    probe.gate.set_shut(true);
    let aggregator = unmonitored().source(Arc::clone(&probe));
    let site = Site::with(Server::builder(aggregator).max_snapshot_age(LONG));
    assert_eq!(site.page(SHORT).sources[0].age_seconds, None);
    probe.gate.set_shut(false);
    wait_for("the report", || site.page(LONG).channels.total_active == 1);
}

#[test]
fn page_that_waits_for_a_blocked_call_takes_the_report_of_a_later_one() {
    /// Only its first call blocks.
    #[derive(Default)]
    struct FirstBlocks(AtomicU64, Gate);
    impl Source for FirstBlocks {
        fn channels(&self) -> Option<ChannelStats> {
            let calls = self.0.fetch_add(1, SeqCst) + 1;
            if calls == 1 {
                self.1.pass();
            }
            Some(ChannelStats { total_active: calls, ..Default::default() })
        }
    }

    let source = Arc::new(FirstBlocks::default());
    source.1.set_shut(true);
    let aggregator = unmonitored().source(Arc::clone(&source));
    let site = Site::new(aggregator.clone());
    let page = std::thread::spawn(move || site.page(LONG));
    wait_for("the call of the page", || source.1.waiting.load(SeqCst) == 1);
    assert_eq!(aggregator.snapshot().channels.total_active, 2);
    assert_eq!(page.join().expect("no panic").channels.total_active, 2);
    source.1.set_shut(false);
}

#[test]
fn clone_shares_reports_and_a_changed_clone_has_its_own() {
    let probe = Arc::new(Probe::default());
    let aggregator = unmonitored().source(Arc::clone(&probe));
    assert_eq!(aggregator.snapshot().channels.total_active, 1);
    probe.behave(Behaviour::Fail);
    assert_eq!(aggregator.clone().snapshot().channels.total_active, 1);
    let changed = aggregator.clone().sum_envelope_rates().snapshot();
    assert_eq!((changed.channels.total_active, changed.sources[0].age_seconds), (0, None));
}

#[test]
fn dropped_aggregator_ends_its_threads_though_a_source_is_blocked() {
    let probe = Arc::new(Probe::default());
    let other = Arc::new(Probe::default());
    probe.gate.set_shut(true);
    let aggregator = unmonitored().source(Arc::clone(&probe)).source(Arc::clone(&other));
    let site = Site::new(aggregator);
    assert_eq!(site.page(SHORT).channels.total_active, 1);
    drop(site);
    // Each worker holds its source.
    wait_for("the end of the idle worker", || Arc::strong_count(&other) == 1);
    probe.gate.set_shut(false);
    wait_for("the end of the blocked worker", || Arc::strong_count(&probe) == 1);
}
