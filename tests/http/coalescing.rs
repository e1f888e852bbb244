//! Requests that share a snapshot.

use std::thread;
use std::time::Duration;

use http::StatusCode;
use parsec_telemetry::{Aggregator, EnvelopeCounters, Server};

use crate::NEVER;
use crate::support::page::{JSON, TEXT, answer, get, snapshot, text, uncached};
use crate::support::sources::{CountsCalls, Gate, frozen_aggregator};

/// With an age of zero, the call in flight serves the first request and the next call all others.
#[test]
fn a_thousand_concurrent_requests_cost_at_most_two_calls() {
    for (max_age, most) in [(Duration::ZERO, 2), (NEVER, 1)] {
        let gate = Gate::default();
        let server = Server::builder(frozen_aggregator().source(gate.source()))
            .scrape_timeout(NEVER)
            .max_snapshot_age(max_age)
            .build();
        let first = server.respond(&get(JSON));
        gate.wait_for_call();
        let others: Vec<_> = (0..1000).map(|number| server.respond(&get([JSON, TEXT][number % 2]))).collect();
        gate.open();
        for response in others {
            assert_eq!(answer(response).status(), StatusCode::OK);
        }
        assert_eq!(answer(first).status(), StatusCode::OK);
        assert!(gate.calls() <= most, "{} calls, {max_age:?}", gate.calls());
    }
}

#[test]
fn both_formats_show_the_same_snapshot_within_max_snapshot_age() {
    let source = CountsCalls::default();
    let server = Server::builder(frozen_aggregator().source(source.clone())).max_snapshot_age(NEVER).build();
    for _ in 0..3 {
        let json = snapshot(&server.handle(&get(JSON)));
        assert_eq!(json.history.total_envelopes_buffered, 1);
        let page = text(&server.handle(&get(TEXT)));
        assert!(page.contains("\nparsec_telemetry_history_buffered 1\n"), "{page}");
    }
    assert_eq!(source.calls(), 1);
}

#[test]
fn page_with_zero_max_snapshot_age_includes_all_earlier_events() {
    let envelopes = EnvelopeCounters::new();
    let server = uncached(Aggregator::new().source(envelopes.clone()));
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
