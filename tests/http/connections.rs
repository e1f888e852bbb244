//! Requests over sockets: connections that are reused, pipelined, malformed or closed early.

use std::net::Ipv6Addr;
use std::process::Command;

use parsec_telemetry::{Aggregator, EnvelopeCounters, serve};

use crate::support::page::{HEALTH, JSON, PATHS, TEXT, parse_snapshot, uncached};
use crate::support::program::find_program;
use crate::support::server::RunningServer;
use crate::support::sources::{CountsCalls, frozen_aggregator};

#[test]
fn reused_connection_returns_current_numbers() {
    let envelopes = EnvelopeCounters::new();
    let server = RunningServer::of(uncached(Aggregator::new().source(envelopes.clone())));
    let data = envelopes.aspect("data");
    let mut client = server.connect();
    for count in 1..=3 {
        data.observe();
        let reply = client.get(JSON);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/json");
        let snapshot = parse_snapshot(&reply.body);
        assert_eq!(snapshot.envelopes.by_aspect["data"], count);

        let reply = client.get(TEXT);
        let text = String::from_utf8(reply.body).expect("UTF-8");
        let line = format!("\nparsec_telemetry_envelopes_total{{aspect=\"data\"}} {count}\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = RunningServer::serve(Aggregator::new());
    let mut client = server.connect();
    let get = |path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.send(&[JSON, HEALTH, "/no", TEXT].map(get).concat());
    let replies: Vec<_> = (0..4).map(|_| client.read_reply()).collect();
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 404, 200]);
    parse_snapshot(&replies[0].body);
    assert_eq!(replies[1].body, b"ok\n");
}

#[test]
fn http_1_0_request_is_answered_and_the_connection_closed() {
    let server = RunningServer::serve(Aggregator::new());
    for path in PATHS {
        let mut client = server.connect();
        client.send(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        let reply = client.read_reply();
        assert_eq!((reply.version.as_str(), reply.status), ("HTTP/1.0", 200));
        assert!(!reply.body.is_empty());
        client.expect_close();
    }
}

#[test]
fn connection_close_header_closes_the_connection_after_the_reply() {
    let server = RunningServer::serve(Aggregator::new());
    let mut client = server.connect();
    client.send(&format!("GET {JSON} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
    let reply = client.read_reply();
    assert_eq!(reply.headers["connection"], "close");
    parse_snapshot(&reply.body);
    client.expect_close();
}

#[test]
fn head_sends_no_body() {
    let server = RunningServer::serve(frozen_aggregator());
    let mut client = server.connect();
    for path in ["/no"].iter().chain(&PATHS) {
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let head = client.read_head();
        // The bytes of a body would be read as this reply's.
        let get = client.get(path);
        assert_eq!(head.status, get.status);
        assert_eq!(head.headers["content-type"], get.headers["content-type"]);
        if let Some(length) = head.headers.get("content-length") {
            assert_eq!(*length, get.headers["content-length"], "{path}");
        }
    }
}

#[test]
fn post_with_a_body_is_rejected_with_405() {
    let server = RunningServer::serve(Aggregator::new());
    let mut client = server.connect();
    client.send(&format!("POST {JSON} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nbody"));
    let reply = client.read_reply();
    assert_eq!(reply.status, 405);
    assert_eq!(reply.headers["allow"], "GET, HEAD, OPTIONS");
}

#[test]
fn malformed_request_is_answered_with_400_on_its_connection_only() {
    let server = RunningServer::serve(Aggregator::new());
    let mut other = server.connect();
    other.get(HEALTH);
    for malformed in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /hea lthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: many\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(malformed);
        assert_eq!(client.read_reply().status, 400, "{malformed:?}");
        client.expect_close();
        assert_eq!(other.get(HEALTH).status, 200);
    }
}

#[test]
fn client_that_disconnects_early_does_not_affect_the_next() {
    let server = RunningServer::serve(Aggregator::new());
    for sent in ["", "GET /hea", "GET /parsec/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut client = server.connect();
        client.send(sent);
        drop(client);
        assert_eq!(server.connect().get(JSON).status, 200);
    }
}

#[test]
fn curl_reads_both_pages() {
    let Some(program) = find_program("curl") else {
        return;
    };
    let source = CountsCalls::default();
    let server = RunningServer::of(uncached(frozen_aggregator().source(source)));
    let curl = |args: &[&str], path: &str| {
        let output = Command::new(&program)
            .args(["--silent", "--show-error", "--max-time", "30"])
            .args(["--noproxy", "*"])
            .args(["--write-out", "\n%{http_code} %{content_type}"])
            .args(args)
            .arg(format!("http://{}{path}", server.address))
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).expect("UTF-8");
        let (page, summary) = output.rsplit_once('\n').expect("a page and a summary");
        (page.to_owned(), summary.to_owned())
    };
    let (page, summary) = curl(&[], JSON);
    assert_eq!(summary, "200 application/json");
    let snapshot = parse_snapshot(page.as_bytes());
    assert_eq!(snapshot.history.total_envelopes_buffered, 1);

    let (page, summary) = curl(&["--compressed"], TEXT);
    assert_eq!(summary, "200 text/plain; version=0.0.4; charset=utf-8");
    assert!(page.contains("\nparsec_telemetry_history_buffered 2\n"), "{page}");

    let (head, summary) = curl(&["--head"], TEXT);
    assert_eq!(summary, "200 text/plain; version=0.0.4; charset=utf-8");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");

    let (_, summary) = curl(&["--request", "DELETE"], JSON);
    assert_eq!(summary, "405 text/plain; charset=utf-8");
}

#[test]
fn ipv6_listener_is_served() {
    if let Err(error) = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        eprintln!("skipped: no IPv6 loopback: {error}");
        return;
    }
    let server =
        RunningServer::start(Ipv6Addr::LOCALHOST, |listener, shutdown| serve(listener, Aggregator::new(), shutdown));
    parse_snapshot(&server.connect().get(JSON).body);
}
