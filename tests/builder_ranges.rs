//! Extreme values of every builder option, with requests over sockets: no value stops the server or the process.

#![cfg(feature = "serve")]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use parsec_telemetry::{Aggregator, EnvelopeCounters, Server, ServerBuilder};
use support::client::Client;
use support::poll::poll;
use support::server::RunningServer;
use support::socket::connect;

#[allow(dead_code)]
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod server;
    pub(crate) mod socket;
}

const NUMBERS: [usize; 8] = [0, 1, 100, 101, 1_000, 100_000, usize::MAX / 64, usize::MAX];
const DURATIONS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(86_400),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_secs(i64::MAX as u64),
    Duration::MAX,
];

type NumberOption = (&'static str, fn(ServerBuilder, usize) -> ServerBuilder);
type DurationOption = (&'static str, fn(ServerBuilder, Duration) -> ServerBuilder);

const NUMBER_OPTIONS: [NumberOption; 3] = [
    ("max_connections", ServerBuilder::max_connections),
    ("max_headers", ServerBuilder::max_headers),
    ("max_header_bytes", ServerBuilder::max_header_bytes),
];
const DURATION_OPTIONS: [DurationOption; 7] = [
    ("header_read_timeout", ServerBuilder::header_read_timeout),
    ("idle_timeout", ServerBuilder::idle_timeout),
    ("write_timeout", ServerBuilder::write_timeout),
    ("drain_delay", ServerBuilder::drain_delay),
    ("drain_timeout", ServerBuilder::drain_timeout),
    ("scrape_timeout", ServerBuilder::scrape_timeout),
    ("max_snapshot_age", ServerBuilder::max_snapshot_age),
];

#[test]
fn extreme_number_in_any_option_serves_all_pages() {
    for (name, option) in NUMBER_OPTIONS {
        for number in NUMBERS {
            assert_serves(option(builder(), number), &format!("{name}({number})"));
        }
    }
}

#[test]
fn extreme_duration_in_any_option_serves_all_pages() {
    for (name, option) in DURATION_OPTIONS {
        for duration in DURATIONS {
            assert_serves(option(builder(), duration), &format!("{name}({duration:?})"));
        }
    }
}

#[test]
fn extreme_values_in_all_options_serve_all_pages() {
    for (number, duration) in [(0, Duration::ZERO), (usize::MAX, Duration::MAX)] {
        let numbers = NUMBER_OPTIONS.iter().fold(builder(), |builder, (_, option)| option(builder, number));
        let all = DURATION_OPTIONS.iter().fold(numbers, |builder, (_, option)| option(builder, duration));
        assert_serves(all, &format!("{number} and {duration:?} everywhere"));
    }
}

#[test]
fn extreme_drain_options_end_a_server_without_open_requests() {
    for duration in DURATIONS {
        let mut server = RunningServer::of(builder().drain_timeout(duration).build());
        assert_eq!(server.connect().get("/healthz").status, 200);
        server.shut_down();
        server.join();
    }
}

#[test]
fn max_headers_is_at_most_1_000_and_at_least_1() {
    for (option, headers, status) in [
        (0, 1, 200),
        (0, 2, 431),
        (1, 1, 200),
        (1, 2, 431),
        (100, 100, 200),
        (100, 101, 431),
        (1_000, 1_000, 200),
        (usize::MAX, 1_000, 200),
        (usize::MAX, 1_001, 431),
    ] {
        let server = RunningServer::of(builder().max_headers(option).build());
        let headers = format!("host: localhost\r\n{}", "x: y\r\n".repeat(headers - 1));
        assert_eq!(status_of(server.address, &headers), status, "max_headers({option})");
    }
}

#[test]
fn max_header_bytes_is_at_least_8_kib_and_at_most_256_kib() {
    const KIB: usize = 1024;
    for (option, bytes, status) in [
        (0, 8 * KIB, 200),
        (0, 8 * KIB + 1, 431),
        (8 * KIB, 8 * KIB, 200),
        (16 * KIB, 16 * KIB + 1, 431),
        (256 * KIB, 256 * KIB, 200),
        (usize::MAX, 256 * KIB, 200),
        (usize::MAX, 256 * KIB + 1, 431),
    ] {
        let server = RunningServer::of(builder().max_header_bytes(option).build());
        let rest = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: \r\n\r\n".len();
        let headers = format!("host: localhost\r\nx: {}\r\n", "y".repeat(bytes - rest));
        assert_eq!(status_of(server.address, &headers), status, "max_header_bytes({option}), {bytes} bytes");
    }
}

#[test]
fn connections_stay_open_for_75_seconds_and_draining_is_not_delayed_by_default() {
    let options = format!("{:?}", builder().build());
    assert!(options.contains("idle_timeout: 75s"), "{options}");
    assert!(options.contains("drain_delay: 0ns"), "{options}");
}

#[test]
fn zero_max_connections_serves_one_connection() {
    let server = RunningServer::of(builder().max_connections(0).build());
    let mut first = server.connect();
    assert_eq!(first.get("/parsec/metrics").status, 200);
    assert_eq!(server.connect().get("/parsec/metrics").status, 503);
}

#[test]
fn zero_idle_timeout_closes_each_connection_after_its_response() {
    let server = RunningServer::of(builder().idle_timeout(Duration::ZERO).build());
    let mut client = server.connect();
    let reply = client.get("/parsec/metrics");
    assert_eq!((reply.status, reply.headers["connection"].as_str()), (200, "close"));
    client.expect_close();
}

#[test]
fn zero_scrape_timeout_still_shows_fast_sources() {
    let envelopes = EnvelopeCounters::new();
    envelopes.observe("data");
    let aggregator = Aggregator::new().source(envelopes);
    let server = RunningServer::of(Server::builder(aggregator).scrape_timeout(Duration::ZERO).build());
    let page = server.connect().get("/parsec/metrics");
    let page = String::from_utf8(page.body).expect("UTF-8");
    assert!(page.contains("\"by_aspect\":{\"data\":1}"), "{page}");
}

#[test]
fn token_longer_than_a_header_is_rejected_by_the_builder() {
    for length in [4_097, 65_536, 1 << 20, 1 << 24] {
        let error = builder().bearer_token("t".repeat(length)).expect_err("a token that is too long");
        assert_eq!(error.to_string(), "the bearer token is too long: use at most 4096 bytes");
    }
}

#[test]
fn longest_token_is_accepted_with_the_smallest_header() {
    let token = "t".repeat(4_096);
    let server = builder().max_header_bytes(0).bearer_token(&*token).expect("a valid token");
    let server = RunningServer::of(server.build());
    let mut client = server.connect();
    client.send(&format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"));
    assert_eq!(client.read_reply().status, 200);
}

#[test]
fn many_and_long_allowed_hosts_are_accepted() {
    let hosts = (0..10_000).map(|n| format!("{n}.example")).chain(["x".repeat(1 << 20)]);
    let server = RunningServer::of(builder().allowed_hosts(hosts).build());
    for (host, status) in [("9999.example", 200), ("10000.example", 421)] {
        assert_eq!(status_of_path(server.address, "/", &format!("host: {host}\r\n")), status, "{host}");
    }
}

#[test]
fn extreme_scrape_timeout_of_a_mounted_handler_serves_the_page() {
    let aggregator = Aggregator::new().source(EnvelopeCounters::new());
    for duration in DURATIONS {
        let handler = aggregator.handler().scrape_timeout(duration);
        let text = aggregator.prometheus_handler().scrape_timeout(duration);
        let app = axum::Router::new()
            .route("/json", axum::routing::any_service(handler))
            .route("/text", axum::routing::any_service(text));
        let server = RunningServer::start(std::net::Ipv4Addr::LOCALHOST, |listener, _| async {
            axum::serve(listener, app).await
        });
        for path in ["/json", "/text"] {
            assert_eq!(server.connect().get(path).status, 200, "{duration:?} {path}");
        }
    }
}

fn builder() -> ServerBuilder {
    Server::builder(Aggregator::new().source(EnvelopeCounters::new()))
}

/// A timeout of 100 ms can expire on a loaded machine, so each page is requested until a response arrives.
fn assert_serves(builder: ServerBuilder, what: &str) {
    let server = RunningServer::of(builder.build());
    for path in ["/", "/parsec/metrics", "/metrics", "/healthz", "/readyz"] {
        poll(&format!("{path} with {what}"), || {
            let mut stream = connect(server.address);
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).ok()?;
            let mut status = [0; 13];
            stream.read_exact(&mut status).ok()?;
            let status = String::from_utf8_lossy(&status);
            // 503: the one connection that is allowed has not ended yet.
            assert!(["HTTP/1.1 200 ", "HTTP/1.1 503 "].contains(&&*status), "{status} for {path} with {what}");
            status.contains("200").then_some(())
        });
    }
    assert!(!server.is_finished(), "{what}");
}

fn status_of(address: SocketAddr, headers: &str) -> u16 {
    status_of_path(address, "/healthz", headers)
}

fn status_of_path(address: SocketAddr, path: &str, headers: &str) -> u16 {
    let mut client = Client::connect(address);
    client.send(&format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
    client.read_head().status
}
