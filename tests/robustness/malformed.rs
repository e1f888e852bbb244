//! Requests that are malformed, oversized or endless.

use std::io::Write as _;
use std::thread;

use crate::local_server::LocalServer;
use crate::support::poll::poll;
use crate::wire::read_to_close;
use crate::{GET_HEALTH, SHORT};

/// A name, the bytes, and the allowed statuses. `""` stands for a connection closed without a response.
type Case = (&'static str, String, &'static [&'static str]);

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let headers = |count| "x: y\r\n".repeat(count);
    vec![
        ("101 headers", format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", headers(100)), &["431"]),
        ("100 headers", format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", headers(99)), &["200"]),
        ("64 KB of header", format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(65536)), &["431", ""]),
        ("64 KB of Accept", format!("GET /healthz HTTP/1.1\r\naccept: {}\r\n\r\n", "a/b,".repeat(16384)), &["431", ""]),
        ("100 KB of URI", format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100_000)), &["414", "431", ""]),
        ("an unknown method", "BREW /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["405"]),
        ("TRACE", "TRACE /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["405"]),
        ("CONNECT", "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["404"]),
        ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["204"]),
        ("absolute form", "GET http://a.test/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["200"]),
        ("HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".into(), &["200"]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["400", "505", ""]),
        ("two content lengths", "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".into(), &["400"]),
        ("a content length and chunks", "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(), &["200", "400"]),
        ("a negative content length", "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".into(), &["400"]),
        ("a folded header", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: y\r\n z\r\n\r\n".into(), &["400"]),
        ("bare line feeds", "GET /healthz HTTP/1.1\nhost: x\n\n".into(), &["200", "400"]),
        ("NUL in a header", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: \0\r\n\r\n".into(), &["400"]),
        ("NUL in the path", "GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &["400"]),
        ("a space before the colon", "GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n".into(), &["400"]),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into(), &["400", ""]),
    ]
}

#[test]
fn malformed_request_is_answered_once_or_closed() {
    let server = LocalServer::start(|server| server.header_read_timeout(2 * SHORT).idle_timeout(SHORT));
    for (name, request, statuses) in cases() {
        let mut client = server.connect();
        // The server may close the connection before it has read everything.
        let _ = client.write_all(request.as_bytes());
        let response = read_to_close(&mut client);
        let status = response.split(' ').nth(1).unwrap_or("");
        assert!(statuses.contains(&status), "{name}: {response:?}");
        drop(client);
        assert_eq!(response.matches("HTTP/1.").count(), usize::from(!status.is_empty()), "{name}: {response:?}");
        server.assert_recovers();
    }
}

#[test]
fn endless_body_is_not_read() {
    let server = LocalServer::start(|server| server);
    let mut client = server.connect();
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").expect("sent");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    poll("the connection is closed", || client.write_all(chunk.as_bytes()).err());
    drop(client);
    server.assert_recovers();
}

#[test]
fn a_thousand_pipelined_requests_receive_a_thousand_responses() {
    let server = LocalServer::start(|server| server);
    let mut client = server.connect();
    let mut sender = client.try_clone().expect("a second handle");
    let sending = thread::spawn(move || sender.write_all(pipelined(1000).as_bytes()));
    let responses = read_to_close(&mut client);
    sending.join().expect("no panic").expect("sent");
    assert_eq!(responses.matches("HTTP/1.1 200 OK\r\n").count(), 1000);
    drop(client);
    server.assert_recovers();
}

/// The last of the requests closes the connection.
pub(crate) fn pipelined(requests: usize) -> String {
    let last = GET_HEALTH.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    GET_HEALTH.repeat(requests - 1) + &last
}
