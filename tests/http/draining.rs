//! Shutdown: idle connections, requests in flight and the drain timeout.

use std::io::Read as _;
use std::time::Instant;

use parsec_telemetry::{Aggregator, Server};

use crate::support::page::{HEALTH, INDEX, JSON, READY, parse_snapshot};
use crate::support::poll::poll;
use crate::support::server::RunningServer;
use crate::support::sources::{Gate, Large};
use crate::{NEVER, SHORT};

#[test]
fn shutdown_closes_idle_connections_and_frees_the_port() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(NEVER).idle_timeout(NEVER).drain_timeout(NEVER);
    let mut server = RunningServer::of(server.build());
    let mut used = server.connect();
    assert_eq!(used.get(HEALTH).status, 200);
    let mut unused = server.connect();
    // A reply to a later connection shows that `unused` has been accepted.
    assert_eq!(server.connect().get(HEALTH).status, 200);

    server.shut_down();
    used.expect_close();
    unused.expect_close();
    let address = server.address;
    server.join();
    drop(std::net::TcpListener::bind(address).expect("the port is free"));
}

#[test]
fn shutdown_before_the_first_connection_ends_the_server() {
    let mut server = RunningServer::serve(Aggregator::new());
    server.shut_down();
    server.join();
}

#[test]
fn request_in_flight_is_finished_before_the_server_ends() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.source())).scrape_timeout(NEVER).drain_timeout(NEVER);
    let mut server = RunningServer::of(server.build());
    let mut client = server.connect();
    client.send_get(JSON);
    gate.wait_for_call();

    server.shut_down();
    poll("new connections serve only probes", || {
        let mut late = server.connect();
        late.send_get("/no");
        // A connection that was accepted before the shutdown may be closed as idle, or is still served.
        let is_answered = late.stream.peek(&mut [0]).is_ok_and(|read| read > 0);
        (is_answered && late.read_reply().status == 503).then_some(())
    });
    for (path, status) in [(HEALTH, 200), (READY, 503), (JSON, 503), (INDEX, 503), ("/no", 503)] {
        let mut late = server.connect();
        late.send_get(path);
        assert_eq!(late.read_reply().status, status, "{path}");
        late.expect_close();
    }
    assert!(!server.is_finished(), "the request is still in flight");
    gate.open();
    let reply = client.read_reply();
    assert_eq!(reply.status, 200);
    assert_eq!(parse_snapshot(&reply.body).presence.total_users, 1);
    client.expect_close();
    server.join();
}

#[test]
fn incomplete_request_is_dropped_after_drain_timeout() {
    let server = Server::builder(Aggregator::new()).header_read_timeout(NEVER).drain_timeout(SHORT);
    let mut server = RunningServer::of(server.build());
    let mut clients = ["", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"].map(|first| {
        let mut client = server.connect();
        client.send(&format!("{first}GET /healthz HTTP/1.1\r\n"));
        if !first.is_empty() {
            assert_eq!(client.read_reply().status, 200);
        }
        client
    });
    server.shut_down();
    for client in &mut clients {
        client.expect_close();
    }
    server.join();
}

#[test]
fn unread_response_is_dropped_after_drain_timeout() {
    let server = Server::builder(Aggregator::new().source(Large)).header_read_timeout(NEVER).drain_timeout(SHORT);
    let mut server = RunningServer::of(server.build());
    let mut client = server.connect();
    // 80 MiB of responses: more than the socket buffers hold.
    client.send(&"GET /parsec/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(40));
    client.stream.peek(&mut [0]).expect("a first byte");
    assert_ends_after_drain_timeout(&mut server);
    let mut page = Vec::new();
    // The connection ends with a close or a reset.
    let _ = client.stream.read_to_end(&mut page);
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n"));
    server.join();
}

#[test]
fn blocked_source_does_not_keep_the_server_from_ending() {
    let gate = Gate::default();
    let server = Server::builder(Aggregator::new().source(gate.source())).scrape_timeout(NEVER).drain_timeout(SHORT);
    let mut server = RunningServer::of(server.build());
    let mut client = server.connect();
    client.send_get(JSON);
    gate.wait_for_call();
    assert_ends_after_drain_timeout(&mut server);
    gate.open();
    server.join();
}

fn assert_ends_after_drain_timeout(server: &mut RunningServer) {
    let start = Instant::now();
    server.shut_down();
    poll("the server ends", || server.is_finished().then_some(()));
    assert!(start.elapsed() >= SHORT, "the drain was cut short");
}
