//! `drain_delay`, and the readiness of a server with several listeners.

#![cfg(feature = "serve")]

use std::net::TcpListener;
use std::time::Duration;

use http::{Request, StatusCode};
use parsec_telemetry::{Aggregator, Server};
use support::poll::poll;
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

/// More than the deadline of a wait.
const NEVER: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);
const PAGES: [&str; 4] = ["/", "/parsec/metrics", "/metrics", "/healthz"];

#[test]
fn readiness_fails_during_drain_delay_while_old_and_new_connections_are_served() {
    let mut server = RunningServer::of(Server::builder(Aggregator::new()).drain_delay(NEVER).build());
    let mut old = server.connect();
    assert_eq!(old.get("/readyz").status, 200);
    server.shut_down();
    poll("readiness is 503", || (server.connect().get("/readyz").status == 503).then_some(()));
    assert_not_ready_but_served(&server);
    for path in PAGES {
        let reply = old.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers.get("connection"), None, "{path}");
    }
    assert!(!server.is_finished());
}

#[test]
fn server_drains_and_ends_after_drain_delay() {
    let server = Server::builder(Aggregator::new()).idle_timeout(NEVER).drain_timeout(NEVER).drain_delay(SHORT);
    let mut server = RunningServer::of(server.build());
    let mut idle = server.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    server.shut_down();
    idle.expect_close();
    let address = server.address;
    server.join();
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn request_in_flight_at_the_end_of_drain_delay_is_finished() {
    let gate = Gate::default();
    let aggregator = Aggregator::new().source(gate.source());
    let server = Server::builder(aggregator).scrape_timeout(NEVER).drain_delay(SHORT).drain_timeout(NEVER);
    let mut server = RunningServer::of(server.build());
    let mut client = server.connect();
    client.send_get("/parsec/metrics");
    gate.wait_for_call();
    server.shut_down();
    poll("the server drains", || {
        // A connection that was accepted before that is closed as idle.
        let mut late = server.connect();
        late.send_get("/");
        late.stream.peek(&mut [0]).is_ok_and(|read| read > 0).then_some(())?;
        (late.read_reply().status == 503).then_some(())
    });
    gate.open();
    assert_eq!(client.read_reply().status, 200);
    server.join();
}

#[test]
fn end_of_one_listener_leaves_the_other_ready() {
    let server = Server::builder(Aggregator::new()).drain_delay(NEVER).build();
    let mut ending = RunningServer::of(server.clone());
    let staying = RunningServer::of(server.clone());
    ending.shut_down();
    poll("readiness is 503", || (ending.connect().get("/readyz").status == 503).then_some(()));
    assert_not_ready_but_served(&ending);
    assert_eq!(staying.connect().get("/readyz").status, 200);
    assert_eq!(respond(&server, "/readyz"), StatusCode::OK);
    // A listener that is added later is ready, too.
    let later = RunningServer::of(server);
    assert_eq!(later.connect().get("/readyz").status, 200);
}

#[test]
fn ended_listener_leaves_the_other_ready() {
    let server = Server::builder(Aggregator::new()).build();
    let mut ending = RunningServer::of(server.clone());
    let staying = RunningServer::of(server);
    assert_eq!(ending.connect().get("/readyz").status, 200);
    ending.shut_down();
    ending.join();
    let mut client = staying.connect();
    for path in PAGES.iter().chain(&["/readyz"]) {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
}

#[test]
fn begin_draining_fails_the_readiness_of_every_listener() {
    let server = Server::builder(Aggregator::new()).build();
    let running = [RunningServer::of(server.clone()), RunningServer::of(server.clone())];
    server.begin_draining();
    running.iter().for_each(assert_not_ready_but_served);
    assert_not_ready_but_served(&RunningServer::of(server.clone()));
    assert_eq!(respond(&server, "/readyz"), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(respond(&server, "/metrics"), StatusCode::OK);
}

fn assert_not_ready_but_served(server: &RunningServer) {
    for path in PAGES {
        assert_eq!(server.connect().get(path).status, 200, "{path}");
    }
    let mut client = server.connect();
    let reply = client.get("/readyz");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers["retry-after"], "1");
}

fn respond(server: &Server, path: &str) -> StatusCode {
    server.handle(&Request::get(path).body(()).expect("a valid request")).status()
}
