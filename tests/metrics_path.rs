//! `/metrics`, the path where Prometheus looks by default, and `scrape_timeout` of the handlers.

#![cfg(feature = "serve")]

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::routing::any_service;
use parsec_telemetry::{Aggregator, EnvelopeCounters, ManualClock, Server};
use support::client::Reply;
use support::server::RunningServer;
use support::sources::Gate;

#[allow(dead_code)]
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod server;
    pub(crate) mod socket;
    pub(crate) mod sources;
}

#[test]
fn metrics_path_answers_like_the_telemetry_path() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    envelopes.observe("data");
    let server = RunningServer::serve(Aggregator::new().clock(clock.clock()).source(envelopes));
    for headers in ["", "accept: application/openmetrics-text\r\n", "accept-encoding: gzip\r\n"] {
        for method in ["GET", "HEAD", "POST"] {
            let reply = |path| {
                let mut client = server.connect();
                client.send(&format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"));
                if method == "HEAD" { client.read_head() } else { client.read_reply() }
            };
            let (short, long) = (reply("/metrics"), reply("/parsec/telemetry/metrics"));
            assert_eq!(short.status, long.status);
            for name in ["content-type", "vary", "content-encoding", "cache-control", "allow"] {
                assert_eq!(short.headers.get(name), long.headers.get(name), "{method} {headers:?}: {name}");
            }
            if headers.is_empty() && method == "GET" {
                assert_eq!(counted(&short), counted(&long));
            }
        }
    }
}

#[test]
fn metrics_path_needs_the_token() {
    let server = Server::builder(Aggregator::new()).bearer_token("token").expect("a valid token");
    let server = RunningServer::of(server.build());
    assert_eq!(server.connect().get("/metrics").status, 401);
}

#[test]
fn metrics_path_is_listed_for_unknown_paths() {
    let server = RunningServer::serve(Aggregator::new());
    let page = String::from_utf8(server.connect().get("/no").body).expect("UTF-8");
    assert!(page.contains("\n/metrics - "), "{page}");
}

/// The timeout of a client is 30 s; the page would wait for 600.
#[test]
fn scrape_timeout_of_a_mounted_handler_limits_its_wait() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().source(gate.source());
    let (json, text) = (aggregator.handler(), aggregator.prometheus_handler());
    let (never, short) = (Duration::from_secs(600), Duration::from_millis(100));
    let app = Router::new()
        .route("/json", any_service(json.scrape_timeout(never).scrape_timeout(short)))
        .route("/text", any_service(text.scrape_timeout(short)));
    let server = RunningServer::start(Ipv4Addr::LOCALHOST, |listener, _| async { axum::serve(listener, app).await });
    for path in ["/json", "/text"] {
        assert_eq!(server.connect().get(path).status, 200, "{path}");
    }
    assert_eq!(gate.calls(), 1);
}

/// The families of the counters, without what the server measures of itself.
fn counted(page: &Reply) -> Vec<String> {
    let page = String::from_utf8(page.body.clone()).expect("UTF-8");
    let samples: Vec<String> =
        page.lines().filter(|line| line.starts_with("parsec_telemetry_envelopes")).map(str::to_owned).collect();
    assert!(!samples.is_empty(), "{page}");
    samples
}
