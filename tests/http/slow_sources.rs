//! Sources that are slow or blocked. A page that arrives while a gate is closed did not wait for it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use parsec_telemetry::{Aggregator, AlertRule, Server, ServerBuilder, Severity};
use tower::ServiceExt as _;

use crate::NEVER;
use crate::support::page::{
    JSON, Page, TEXT, answer, failed_rules, get, get_json_within, snapshot, stale_sources, text, uncached,
};
use crate::support::poll::poll;
use crate::support::sources::{CountsCalls, Gate, Responsive, SIZE_ENTRIES, frozen_aggregator};

/// The name of a source behind a gate.
const GATED: &str = "Gated";

const STALE_SAMPLE: &str = "\nparsec_telemetry_source_up{source=\"Gated\",type=\"Gated\"} 0\n";

#[test]
fn scrape_timeout_header_replaces_the_configured_timeout() {
    let gate = Gate::default();
    let server =
        Server::builder(frozen_aggregator().source(gate.source())).scrape_timeout(Duration::from_millis(50)).build();
    let patient = server.respond(&get_json_within("20"));
    gate.wait_for_call();
    // Its page shows that the configured timeout has passed.
    assert_eq!(stale_sources(&server.handle(&get(JSON))), [GATED]);
    gate.open();
    let page = answer(patient);
    assert_eq!(snapshot(&page).presence.total_users, 1);
    assert_eq!(stale_sources(&page), [""; 0]);
}

#[test]
fn blocked_source_costs_its_timeout_once_and_recovers() {
    let gate = Gate::default();
    let server = never_timing_out(gated_and_responsive(&gate)).max_snapshot_age(Duration::ZERO).build();
    let start = Instant::now();
    let page = answer(server.respond(&get_json_within("0.5")));
    // The timeout less a tenth.
    assert!(start.elapsed() >= Duration::from_millis(440));
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(stale_sources(&page), [GATED]);
    assert_eq!(snapshot(&page).cache.size_entries, SIZE_ENTRIES);

    // Neither format waits for it again, although these requests have the time.
    let page = answer(server.respond(&get(JSON)));
    assert_eq!(stale_sources(&page), [GATED]);
    let page = text(&answer(server.respond(&get(TEXT))));
    assert!(page.contains("\nparsec_telemetry_cache_size_entries 7\n"), "{page}");
    assert!(page.contains(STALE_SAMPLE), "{page}");
    assert_eq!(gate.calls(), 1);

    gate.open();
    let page = poll_until_complete(&server, &get(JSON));
    assert_eq!(snapshot(&page).presence.total_users, 1);
}

#[test]
fn source_blocked_for_5_s_becomes_stale_and_keeps_its_report() {
    let gate = Gate::default();
    gate.open();
    // The age is that of a running clock.
    let aggregator = Aggregator::new().source(gate.source()).source(Responsive);
    let server = never_timing_out(aggregator).max_snapshot_age(Duration::ZERO).build();
    assert_eq!(stale_sources(&answer(server.respond(&get(JSON)))), [""; 0]);

    gate.close();
    let page = answer(server.respond(&get_json_within("0.2")));
    assert_eq!(stale_sources(&page), [""; 0], "late, but not for 5 s");
    assert_eq!(snapshot(&page).sources[0].timeouts_total, 1);
    let page = poll("the source is stale", || {
        let page = answer(server.respond(&get(JSON)));
        (stale_sources(&page) == [GATED]).then_some(page)
    });
    assert_eq!(snapshot(&page).presence.total_users, 1);
    let age = snapshot(&page).sources[0].age_seconds;
    // The clock of ages may differ by 1 ms from that of staleness.
    assert!(age.is_some_and(|age| age >= 4.99), "{age:?}");
    let page = text(&answer(server.respond(&get(TEXT))));
    assert!(page.contains(STALE_SAMPLE), "{page}");
    assert!(page.contains("\nparsec_telemetry_presence_total_users 1\n"), "{page}");

    gate.open();
    let page = poll_until_complete(&server, &get(JSON));
    assert_eq!(snapshot(&page).sources[0].timeouts_total, 1);
}

/// Whether a request waits for a snapshot of its own or for one in flight.
#[test]
fn each_request_waits_for_a_source_until_its_own_deadline() {
    for max_age in [Duration::ZERO, NEVER] {
        let gate = Gate::default();
        let server = Server::builder(gated_and_responsive(&gate)).max_snapshot_age(max_age).build();
        let patient = server.respond(&get_json_within("20"));
        gate.wait_for_call();
        let page = answer(server.respond(&get_json_within("0.3")));
        assert_eq!(stale_sources(&page), [GATED]);
        assert_eq!(snapshot(&page).cache.size_entries, SIZE_ENTRIES);
        gate.open();
        let page = answer(patient);
        assert_eq!(stale_sources(&page), [""; 0]);
        assert_eq!(snapshot(&page).presence.total_users, 1);
    }
}

#[test]
fn invalid_scrape_timeout_header_is_ignored() {
    let source = CountsCalls::default();
    let server = Server::builder(frozen_aggregator().source(source)).build();
    for value in ["", "soon", "0", "-1", "NaN", "inf", "1e300", "-inf", "1e-300"] {
        let page = answer(server.respond(&get_json_within(value)));
        assert_eq!(page.status(), StatusCode::OK, "{value}");
    }
}

#[test]
fn blocked_sources_are_called_once_each() {
    let gates: [Gate; 3] = Default::default();
    let aggregator = gates.iter().map(Gate::source).fold(frozen_aggregator(), Aggregator::source);
    let server = Server::builder(aggregator.source(Responsive))
        .max_snapshot_age(Duration::ZERO)
        .scrape_timeout(Duration::from_millis(200))
        .build();
    for _ in 0..20 {
        let page = answer(server.respond(&get(JSON)));
        assert_eq!(snapshot(&page).cache.size_entries, SIZE_ENTRIES);
        assert_eq!(stale_sources(&page), [GATED, "Gated_2", "Gated_3"]);
    }
    for gate in &gates {
        assert_eq!(gate.calls(), 1);
        gate.open();
    }
    poll_until_complete(&server, &get(JSON));
}

/// A runtime waits for its own blocking threads when it is dropped.
#[test]
fn blocked_source_does_not_keep_a_runtime_from_ending() {
    let gate = Gate::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let server = Server::builder(frozen_aggregator().source(gate.source())).build();
    let handler = frozen_aggregator().source(gate.source()).handler();
    runtime.spawn(server.respond(&get(JSON)));
    runtime.spawn(handler.oneshot(get(JSON)));
    gate.wait_for_call();
    let ending = thread::spawn(move || drop(runtime));
    poll("the runtime ends", || ending.is_finished().then_some(()));
}

#[test]
fn blocked_source_does_not_block_the_executor_of_a_mounted_handler() {
    let gate = Gate::default();
    let handler = gated_and_responsive(&gate).handler();
    let page = answer(async {
        // Both run on one thread.
        let page = tokio::spawn(handler.oneshot(get_json_within("0.2")));
        let other = tokio::spawn(async { 1 });
        assert_eq!(other.await.expect("no panic"), 1);
        assert!(!page.is_finished());
        let Ok(page) = page.await.expect("no panic");
        page
    });
    assert_eq!(stale_sources(&page), [GATED]);
}

#[test]
fn incomplete_page_is_not_kept_beyond_max_snapshot_age() {
    let gate = Gate::default();
    let server =
        Server::builder(frozen_aggregator().source(gate.source())).max_snapshot_age(Duration::from_millis(50)).build();
    let page = answer(server.respond(&get_json_within("0.2")));
    assert_eq!(stale_sources(&page), [GATED]);
    gate.open();
    let page = poll_until_complete(&server, &get_json_within("10"));
    assert_eq!(snapshot(&page).presence.total_users, 1);
}

#[test]
fn complete_page_is_kept_for_requests_with_any_timeout() {
    let source = CountsCalls::default();
    let server = Server::builder(frozen_aggregator().source(source.clone())).max_snapshot_age(NEVER).build();
    for seconds in ["10", "0.2", "20"] {
        let page = answer(server.respond(&get_json_within(seconds)));
        assert_eq!(stale_sources(&page), [""; 0]);
    }
    assert_eq!(source.calls(), 1);
}

#[test]
fn dropped_request_neither_delays_nor_answers_the_next() {
    let gate = Gate::default();
    let server = Server::builder(frozen_aggregator().source(gate.source())).max_snapshot_age(NEVER).build();
    let dropped = server.respond(&get(JSON));
    gate.wait_for_call();
    drop(dropped);
    let page = answer(server.respond(&get_json_within("0.05")));
    assert_eq!(stale_sources(&page), [GATED]);
    gate.open();
    let page = poll_until_complete(&server, &get(JSON));
    assert_eq!(snapshot(&page).presence.total_users, 1);
}

/// Once it has reported: a call that is abandoned leaves the last good report.
#[test]
fn short_deadlines_do_not_make_a_slow_source_stale_for_other_requests() {
    let rule = AlertRule::new("fires", Severity::Info, |_| true);
    let source = CountsCalls::taking(Duration::from_millis(10));
    let aggregator = frozen_aggregator().source(source).with_alerts(vec![rule]);
    let server = uncached(aggregator.expect("valid rules"));
    assert_eq!(stale_sources(&server.handle(&get(JSON))), [""; 0]);
    thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        let server = &server;
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let _ = server.handle(&get_json_within("0.001"));
            }
        });
        for _ in 0..20 {
            let page = answer(server.respond(&get(JSON)));
            assert_eq!(stale_sources(&page), [""; 0]);
            assert_eq!(failed_rules(&page), [""; 0]);
            assert_eq!(snapshot(&page).alerts.len(), 1);
        }
        drop(stop);
    });
}

fn gated_and_responsive(gate: &Gate) -> Aggregator {
    frozen_aggregator().source(gate.source()).source(Responsive)
}

/// Requests without a timeout of their own wait longer than [`answer`] does.
fn never_timing_out(aggregator: Aggregator) -> ServerBuilder {
    Server::builder(aggregator).scrape_timeout(NEVER)
}

/// Repeats a request until every source has answered.
fn poll_until_complete(server: &Server, request: &http::Request<()>) -> Page {
    poll("every source answers", || {
        let page = answer(server.respond(request));
        stale_sources(&page).is_empty().then_some(page)
    })
}
