//! Clients that are slow or idle.
//!
//! A connection that the server closes after a timeout shows that the timeout has passed for older connections too:
//! the tests use it instead of a sleep.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Instant;

use parsec_telemetry::{Aggregator, Server, serve};

use crate::support::page::{HEALTH, JSON, parse_snapshot};
use crate::support::poll::DEADLINE;
use crate::support::server::RunningServer;
use crate::support::sources::Gate;
use crate::{NEVER, SHORT};

#[test]
fn incomplete_headers_close_the_connection_after_header_read_timeout() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(SHORT);
    let server = RunningServer::of(server.build());
    for sent in ["", "G", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"] {
        let start = Instant::now();
        let mut client = server.connect();
        client.send(sent);
        client.expect_close();
        assert!(start.elapsed() >= SHORT, "{sent:?} was closed too early");
    }
}

#[test]
fn headers_that_trickle_in_close_the_connection_after_header_read_timeout() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(SHORT);
    let server = RunningServer::of(server.build());
    let mut client = server.connect();
    let start = Instant::now();
    client.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n");
    // Each line arrives well within the timeout.
    while client.stream.write_all(b"x: y\r\n").is_ok() {
        thread::sleep(SHORT / 8);
        assert!(start.elapsed() < DEADLINE, "the connection is still open");
    }
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn idle_connection_is_closed_after_idle_timeout() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(NEVER).idle_timeout(SHORT);
    let server = RunningServer::of(server.build());
    let mut client = server.connect();
    assert_eq!(client.get(HEALTH).status, 200);
    let start = Instant::now();
    assert_eq!(client.get(HEALTH).status, 200);
    client.expect_close();
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn idle_connection_is_not_closed_by_header_read_timeout() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(SHORT).idle_timeout(NEVER);
    let server = RunningServer::of(server.build());
    let mut client = server.connect();
    assert_eq!(client.get(HEALTH).status, 200);
    let mut silent = server.connect();
    silent.expect_close();
    assert_eq!(client.get(HEALTH).status, 200);
    // The header timeout applies from the first byte of the next request.
    let start = Instant::now();
    client.send("GET ");
    client.expect_close();
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn slow_page_is_not_cut_short_by_header_read_timeout() {
    let gate = Gate::default();
    let server =
        Server::builder(Aggregator::new().source(gate.source())).header_read_timeout(SHORT).scrape_timeout(NEVER);
    let server = RunningServer::of(server.build());
    let mut client = server.connect();
    client.send_get(JSON);
    gate.wait_for_call();
    let mut silent = server.connect();
    silent.expect_close();
    gate.open();
    let snapshot = parse_snapshot(&client.read_reply().body);
    assert_eq!(snapshot.presence.total_users, 1);
}

/// One worker thread, so that a blocked worker would block everything else on the runtime.
#[test]
fn blocked_source_does_not_delay_health() {
    let gate = Gate::default();
    let source = gate.source();
    let server = RunningServer::start_on(1, Ipv4Addr::LOCALHOST, |listener, shutdown| {
        serve(listener, Aggregator::new().source(source), shutdown)
    });
    let mut waiting = server.connect();
    waiting.send_get(JSON);
    gate.wait_for_call();
    assert_eq!(server.connect().get(HEALTH).status, 200);
    gate.open();
    assert_eq!(waiting.read_reply().status, 200);
}
