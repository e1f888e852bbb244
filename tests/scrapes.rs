//! What a scrape costs and how long it takes: shared snapshots, and sources and rules that are slow,
//! stuck, or come back.

// Without `serve` nobody scrapes.
#![cfg(feature = "serve")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, EnvelopeCounters, HistoryStats, PresenceStats, Server,
    Severity, Snapshot, Source,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const JSON: &str = "/parsec/metrics";
const TEXT: &str = "/parsec/telemetry/metrics";
const PATIENCE: Duration = Duration::from_secs(10);

/// Far less than any timeout here, and time enough for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

// Sharing

#[test]
fn a_thousand_at_once_cost_about_one_snapshot() {
    let asked = Asked::taking(Duration::from_millis(10));
    // Strict, so that none is answered from an old one.
    for freshness in [Duration::ZERO, Duration::from_millis(100)] {
        let server = Server::builder(Aggregator::new().source(asked.clone()))
            .freshness(freshness)
            .build();
        let before = asked.times();
        let pages = runtime().block_on(async {
            let mut asking = tokio::task::JoinSet::new();
            for number in 0..1000 {
                let page = [JSON, TEXT][number % 2];
                asking.spawn(server.respond(&get(page)));
            }
            asking.join_all().await
        });
        assert_eq!(pages.len(), 1000);
        for page in pages {
            assert_eq!(page.status(), StatusCode::OK);
        }
        let cost = asked.times() - before;
        assert!((1..=5).contains(&cost), "{cost} snapshots, {freshness:?}");
    }
}

#[test]
fn both_formats_show_the_same_snapshot_while_it_is_fresh() {
    let asked = Asked::taking(Duration::ZERO);
    let server = Server::builder(Aggregator::new().source(asked.clone()))
        .freshness(PATIENCE)
        .build();
    for _ in 0..3 {
        assert_eq!(
            snapshot(&server.handle(&get(JSON)))
                .history
                .total_envelopes_buffered,
            1
        );
        let page = text(&server.handle(&get(TEXT)));
        assert!(
            page.contains("\nparsec_telemetry_history_buffered 1\n"),
            "{page}"
        );
    }
    assert_eq!(asked.times(), 1);
}

/// With no staleness allowed, what was counted before the request is on its page, whoever else asks.
#[test]
fn without_freshness_a_page_has_all_that_was_counted_before_it() {
    let envelopes = EnvelopeCounters::new();
    let server = Server::builder(Aggregator::new().source(envelopes.clone()))
        .freshness(Duration::ZERO)
        .build();
    thread::scope(|scope| {
        for number in 0..4 {
            let (server, aspect) = (&server, envelopes.aspect(&format!("a{number}")));
            scope.spawn(move || {
                for count in 1..=50 {
                    aspect.observe();
                    let snapshot = snapshot(&server.handle(&get(JSON)));
                    assert_eq!(snapshot.envelopes.by_aspect[aspect.name()], count);
                }
            });
        }
    });
}

// Sources that are slow

#[test]
fn a_source_that_is_slow_has_the_time_that_the_scraper_has() {
    let slow = Asked::taking(Duration::from_millis(300));
    let server = Server::builder(Aggregator::new().source(slow))
        .source_timeout(Duration::from_millis(50))
        .build();
    // More than the default, by the header.
    let request = timeout_of("3");
    let page = server.handle(&request);
    assert_eq!(snapshot(&page).history.total_envelopes_buffered, 1);
    assert_eq!(missing(&page), Value::Null);
}

#[test]
fn past_its_time_a_page_comes_with_what_there_is_and_says_what_is_missing() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().source(gate.clone()).source(hits());
    let server = Server::builder(aggregator)
        .freshness(Duration::ZERO)
        .build();
    let asked = Instant::now();
    let page = server.handle(&timeout_of("0.5"));
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(440) && took < AT_ONCE,
        "{took:?}"
    );
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(
        missing(&page),
        json!([{ "source": 0, "type": "scrapes::Gate" }])
    );
    // The source behind it has been asked.
    assert_eq!(snapshot(&page).cache.size_entries, 7);

    // It is not waited for again, in any format.
    let asked = Instant::now();
    let page = text(&server.handle(&get(TEXT)));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert!(
        page.contains("\nparsec_telemetry_cache_size_entries 7\n"),
        "{page}"
    );
    assert!(
        page.contains("\nparsec_telemetry_source_missing{source=\"0\",type=\"scrapes::Gate\"} 1\n"),
        "{page}"
    );

    // It comes back by itself.
    gate.open();
    let page = poll("the source", || {
        let page = server.handle(&get(JSON));
        missing(&page).is_null().then_some(page)
    });
    assert_eq!(snapshot(&page).presence.total_users, 1);
}

/// One who is in a hurry does not wait for the source as long as one who is not, whether it waits
/// for a snapshot of its own or for one that was begun before it came.
#[test]
fn each_waits_for_a_source_as_long_as_it_has_time() {
    for freshness in [Duration::ZERO, PATIENCE] {
        each_waits_as_long_as_it_has_time(freshness);
    }
}

fn each_waits_as_long_as_it_has_time(freshness: Duration) {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.clone()).source(hits()))
        .freshness(freshness)
        .build();
    thread::scope(|scope| {
        let patient = scope.spawn(|| server.handle(&timeout_of("10")));
        gate.wait_for_one();
        let asked = Instant::now();
        let page = server.handle(&timeout_of("0.3"));
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert_eq!(missing(&page)[0]["source"], 0);
        assert_eq!(snapshot(&page).cache.size_entries, 7);
        gate.open();
        let page = patient.join().expect("no panic");
        assert_eq!(missing(&page), Value::Null);
        assert_eq!(snapshot(&page).presence.total_users, 1);
    });
}

#[test]
fn a_timeout_that_is_no_time_is_passed_over() {
    let server = Server::builder(Aggregator::new().source(Asked::taking(Duration::ZERO))).build();
    for value in [
        "", "soon", "0", "-1", "NaN", "inf", "1e300", "-inf", "1e-300",
    ] {
        let page = server.handle(&timeout_of(value));
        assert_eq!(page.status(), StatusCode::OK, "{value}");
    }
}

// Sources that are stuck

#[test]
fn stuck_sources_cost_a_thread_each_and_no_more() {
    let gates: Vec<Gate> = (0..3).map(|_| Gate::default()).collect();
    let aggregator = gates
        .iter()
        .cloned()
        .fold(Aggregator::new(), Aggregator::source);
    let server = Server::builder(aggregator.source(hits()))
        .freshness(Duration::ZERO)
        .source_timeout(Duration::from_millis(200))
        .build();
    for _ in 0..20 {
        let page = server.handle(&get(JSON));
        assert_eq!(snapshot(&page).cache.size_entries, 7);
        assert_eq!(missing(&page).as_array().map(Vec::len), Some(3));
    }
    for gate in &gates {
        assert_eq!(gate.times(), 1, "asked again while its call is stuck");
        gate.open();
    }
    poll("all are back", || {
        missing(&server.handle(&get(JSON))).is_null().then_some(())
    });
}

/// Nothing of ours runs on the runtime's own blocking threads, whose end it waits for.
#[test]
fn a_stuck_source_does_not_keep_a_runtime_from_ending() {
    let gate = Gate::default();
    let runtime = runtime();
    let server = Server::builder(Aggregator::new().source(gate.clone())).build();
    let handler = Aggregator::new().source(gate.clone()).handler();
    runtime.spawn(server.respond(&get(JSON)));
    runtime.spawn(handler.oneshot(get(JSON)));
    gate.wait_for_one();
    let ended = Instant::now();
    drop(runtime);
    assert!(ended.elapsed() < AT_ONCE, "{:?}", ended.elapsed());
    gate.open();
}

#[test]
fn a_handler_mounted_elsewhere_is_not_held_up_either() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().source(gate.clone()).source(hits());
    let handler = aggregator.handler();
    let page = runtime().block_on(async {
        // One thread runs both: it has to be free while the page waits.
        let other = tokio::spawn(async { 1 });
        let page = tokio::spawn(handler.oneshot(timeout_of("0.2")));
        assert_eq!(other.await.expect("no panic"), 1);
        let Ok(page) = page.await.expect("no panic");
        page
    });
    assert_eq!(missing(&page)[0]["type"], "scrapes::Gate");
    gate.open();
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.clone()))
        .freshness(Duration::ZERO)
        .source_timeout(Duration::from_secs(600))
        .build();
    let request = server.respond(&get(JSON));
    gate.wait_for_one();
    drop(request);
    // The source is given up with the last who waited for it, so this one is not held up.
    let asked = Instant::now();
    let page = server.handle(&get(JSON));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert_eq!(missing(&page)[0]["source"], 0);
    gate.open();
}

/// The one who began the round has less time than the one who joins it.
#[test]
fn who_joins_a_round_that_is_stuck_waits_no_longer_than_it() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.clone()))
        .freshness(PATIENCE)
        .build();
    thread::scope(|scope| {
        let hasty = scope.spawn(|| server.handle(&timeout_of("0.5")));
        gate.wait_for_one();
        let asked = Instant::now();
        let page = server.handle(&timeout_of("10"));
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        for page in [page, hasty.join().expect("no panic")] {
            assert_eq!(missing(&page)[0]["source"], 0);
        }
    });
    gate.open();
}

/// However fresh it is: what a hasty client was content with is not for one who has more time.
#[test]
fn a_page_that_was_cut_short_is_not_handed_on_to_who_has_time() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.clone()))
        .freshness(Duration::from_secs(600))
        .build();
    let page = server.handle(&timeout_of("0.2"));
    assert_eq!(missing(&page)[0]["source"], 0);
    gate.open();
    let page = poll("the source", || {
        let page = server.handle(&timeout_of("10"));
        missing(&page).is_null().then_some(page)
    });
    assert_eq!(snapshot(&page).presence.total_users, 1);
    // A whole one is for everybody.
    let asked = gate.times();
    for seconds in ["0.2", "10"] {
        assert_eq!(missing(&server.handle(&timeout_of(seconds))), Value::Null);
    }
    assert_eq!(gate.times(), asked);
}

/// Nor one that was given up because nobody waited for it any more, whatever time there was.
#[test]
fn a_page_whose_clients_went_away_is_not_handed_on() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.clone()))
        .freshness(Duration::from_secs(600))
        .build();
    let gone = server.respond(&get(JSON));
    gate.wait_for_one();
    drop(gone);
    // Whether it joins that round or has one of its own: both are over once it has its page.
    let page = server.handle(&timeout_of("0.05"));
    assert_eq!(missing(&page)[0]["source"], 0);
    gate.open();
    let page = poll("the source", || {
        let page = server.handle(&get(JSON));
        missing(&page).is_null().then_some(page)
    });
    assert_eq!(snapshot(&page).presence.total_users, 1);
}

/// A source that is being asked for somebody in haste is not stuck.
#[test]
fn who_is_in_haste_takes_nothing_from_the_others() {
    let rule = AlertRule::new("fires", Severity::Info, |_| true);
    let aggregator = Aggregator::new().source(Asked::taking(Duration::from_millis(10)));
    let server = Server::builder(aggregator.with_alerts(vec![rule]).expect("a good rule"))
        .freshness(Duration::ZERO)
        .build();
    thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        let server = &server;
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let _ = server.handle(&timeout_of("0.001"));
            }
        });
        for _ in 0..20 {
            let page = server.handle(&get(JSON));
            assert_eq!(missing(&page), Value::Null);
            assert_eq!(snapshot(&page).alerts.len(), 1);
        }
        // It is dropped, too, where a page is not whole.
        drop(stop);
    });
}

// Rules that are stuck

/// The sources have taken all the time that there was; a rule that blocks takes none from the others.
#[test]
fn behind_a_stuck_source_a_rule_that_blocks_costs_its_own_alert_only() {
    let [source, rule] = [Gate::default(), Gate::default()];
    let stuck = rule.clone();
    let rules = vec![
        AlertRule::new("blocks", Severity::Info, move |_| stuck.pass()),
        AlertRule::new("fires", Severity::Info, |s| s.cache.size_entries == 7),
    ];
    let aggregator = Aggregator::new().source(source.clone()).source(hits());
    let server = Server::builder(aggregator.with_alerts(rules).expect("good rules")).build();
    let page = server.handle(&timeout_of("0.3"));
    let type_name = "scrapes::Gate";
    assert_eq!(
        missing(&page),
        json!([{ "source": 0, "type": type_name }, { "rule": "blocks" }])
    );
    assert_eq!(snapshot(&page).alerts[0].name, "fires");
    source.open();
    rule.open();
}

#[test]
fn a_rule_that_blocks_costs_its_own_alert_only() {
    let gates = [Gate::default(), Gate::default()];
    let [first, last] = gates.clone();
    let rules = vec![
        AlertRule::new("first", Severity::Info, move |_| first.pass()),
        AlertRule::new("a \"good\" one", Severity::Info, |s| {
            s.cache.size_entries == 7
        }),
        AlertRule::new("last", Severity::Info, move |_| last.pass()),
    ];
    let aggregator = Aggregator::new().source(hits()).with_alerts(rules);
    let server = Server::builder(aggregator.expect("good rules"))
        .freshness(Duration::ZERO)
        .build();
    let stuck = json!([{ "rule": "first" }, { "rule": "last" }]);
    let alerts = |page: &Response<_>| {
        let firing = snapshot(page).alerts.into_iter();
        firing.map(|alert| alert.name).collect::<Vec<_>>()
    };

    let asked = Instant::now();
    let page = server.handle(&timeout_of("0.5"));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert_eq!(missing(&page), stuck);
    assert_eq!(snapshot(&page).cache.size_entries, 7);
    assert_eq!(alerts(&page), ["a \"good\" one"]);

    // They are not waited for again, however long who asks has time.
    for _ in 0..20 {
        let asked = Instant::now();
        let page = server.handle(&get(JSON));
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert_eq!(missing(&page), stuck);
        assert_eq!(alerts(&page), ["a \"good\" one"]);
    }
    let page = text(&server.handle(&get(TEXT)));
    for line in [
        "parsec_telemetry_rule_missing{alert=\"first\"} 1",
        "parsec_alerts_firing{alert=\"first\",severity=\"info\"} 0",
        "parsec_alerts_firing{alert=\"a \\\"good\\\" one\",severity=\"info\"} 1",
    ] {
        assert!(
            page.lines().any(|on_page| on_page == line),
            "{line}: {page}"
        );
    }

    // They come back by themselves.
    for gate in &gates {
        assert_eq!(gate.times(), 1, "evaluated again while its call is stuck");
        gate.open();
    }
    let page = poll("the rules", || {
        let page = server.handle(&get(JSON));
        missing(&page).is_null().then_some(page)
    });
    assert_eq!(alerts(&page), ["a \"good\" one", "first", "last"]);
}

/// A page that is cut short still has its alerts.
#[test]
fn rules_are_evaluated_without_a_source_that_is_stuck() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().source(gate.clone()).source(hits());
    let rule = AlertRule::new("hits", Severity::Info, |s| s.cache.size_entries == 7);
    let server = Server::builder(aggregator.with_alerts(vec![rule]).expect("a good rule"))
        .freshness(PATIENCE)
        .build();
    thread::scope(|scope| {
        let patient = scope.spawn(|| server.handle(&timeout_of("10")));
        gate.wait_for_one();
        let hasty = server.handle(&timeout_of("0.3"));
        assert_eq!(
            missing(&hasty),
            json!([{ "source": 0, "type": "scrapes::Gate" }])
        );
        gate.open();
        let patient = patient.join().expect("no panic");
        assert_eq!(missing(&patient), Value::Null);
        for page in [hasty, patient] {
            assert_eq!(snapshot(&page).alerts[0].name, "hits");
        }
    });
}

#[test]
fn a_rule_that_blocks_does_not_hold_up_a_handler_mounted_elsewhere() {
    let gate = Gate::default();
    let at_the_gate = gate.clone();
    let rule = AlertRule::new("stuck", Severity::Info, move |_| at_the_gate.pass());
    let aggregator = Aggregator::new().with_alerts(vec![rule]);
    let handler = aggregator.expect("a good rule").handler();
    let Ok(page) = runtime().block_on(handler.oneshot(timeout_of("0.2")));
    assert_eq!(missing(&page), json!([{ "rule": "stuck" }]));
    gate.open();
}

// Sources

/// Reports how often it has been asked, and takes its time.
#[derive(Clone)]
struct Asked(Arc<AtomicU64>, Duration);

impl Asked {
    fn taking(time: Duration) -> Self {
        Self(Arc::default(), time)
    }

    fn times(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

impl Source for Asked {
    fn history(&self) -> Option<HistoryStats> {
        thread::sleep(self.1);
        Some(HistoryStats {
            total_envelopes_buffered: self.0.fetch_add(1, SeqCst) + 1,
            ..Default::default()
        })
    }
}

/// Does not answer before it is open.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(u64, bool)>, Condvar)>);

impl Gate {
    fn times(&self) -> u64 {
        self.0.0.lock().expect("no panic").0
    }

    fn wait_for_one(&self) {
        poll("somebody asks", || (self.times() > 0).then_some(()));
    }

    fn open(&self) {
        self.0.0.lock().expect("no panic").1 = true;
        self.0.1.notify_all();
    }

    fn pass(&self) -> bool {
        let mut state = self.0.0.lock().expect("no panic");
        state.0 += 1;
        while !state.1 {
            state = self.0.1.wait(state).expect("no panic");
        }
        true
    }
}

impl Source for Gate {
    fn presence(&self) -> Option<PresenceStats> {
        self.pass();
        Some(PresenceStats {
            total_users: 1,
            ..Default::default()
        })
    }
}

fn hits() -> impl Source {
    struct Hits;
    impl Source for Hits {
        fn cache(&self) -> Option<CacheStats> {
            Some(CacheStats {
                size_entries: 7,
                ..Default::default()
            })
        }
    }
    Hits
}

// Requests and pages

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("a request")
}

fn timeout_of(seconds: &str) -> Request<()> {
    let request = Request::get(JSON).header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
    request.body(()).expect("a request")
}

fn text(page: &Response<Full<Bytes>>) -> String {
    let body = runtime()
        .block_on(page.body().clone().collect())
        .expect("a body");
    String::from_utf8(body.to_bytes().into()).expect("UTF-8")
}

fn snapshot(page: &Response<Full<Bytes>>) -> Snapshot {
    serde_json::from_str(&text(page)).expect("a snapshot")
}

fn missing(page: &Response<Full<Bytes>>) -> Value {
    let page: Value = serde_json::from_str(&text(page)).expect("JSON");
    page["missing"].clone()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// Asks until there is an answer.
fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited for in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
