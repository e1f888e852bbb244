//! The pages over HTTP: as a function, mounted in other people's servers, and over real sockets.
//!
//! Nothing here sleeps to wait: a test that waits for the other side waits for what it does, with
//! [`PATIENCE`].

// Without `serve` there is no HTTP.
#![cfg(feature = "serve")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any_service;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use parsec_telemetry::{
    Aggregator, AlertRule, ChannelStats, EnvelopeCounters, Format, Handler, HistoryStats,
    ManualClock, PresenceStats, Server, Severity, Snapshot, Source, serve,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

mod support;

const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const INDEX: &str = "/";
const PAGES: [&str; 5] = [INDEX, JSON, PROMETHEUS, HEALTH, READY];

const PATIENCE: Duration = Duration::from_secs(10);

/// A timeout that a test sets so that it does not run out, and waits for less than.
const NEVER: Duration = Duration::from_secs(600);

/// A timeout that a test sets so that it runs out.
const SOON: Duration = Duration::from_millis(200);

// The server as a function

#[test]
fn get_is_answered_with_the_page() {
    // Time stands still, so that a page is the same twice.
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    envelopes.observe("data");
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(envelopes)
        .with_alerts(vec![AlertRule::new("always", Severity::Info, |_| true)])
        .expect("one rule");
    let server = Server::builder(aggregator.clone()).build();
    for (page, format, content_type) in [
        (JSON, Format::Json, "application/json"),
        (
            PROMETHEUS,
            Format::Prometheus,
            "text/plain; version=0.0.4; charset=utf-8",
        ),
    ] {
        let response = call(&server, Method::GET, page);
        assert_eq!(response.status(), StatusCode::OK);
        checked_headers(&response, content_type);
        let page = body(response);
        let rendered = aggregator.render(format);
        // On the text page the server reports on itself behind that.
        let rest = page.strip_prefix(rendered.as_slice()).expect("the page");
        assert_eq!(rest.is_empty(), format == Format::Json, "{format:?}");
    }
}

#[test]
fn a_get_takes_one_snapshot_and_what_is_no_page_takes_none() {
    let asked = Asked::default();
    let server = strict(Aggregator::new().source(asked.clone()));
    for (page, times) in [
        (JSON, 1),
        (PROMETHEUS, 1),
        (HEALTH, 0),
        (INDEX, 0),
        ("/no", 0),
    ] {
        let before = asked.times();
        let _ = call(&server, Method::GET, page);
        assert_eq!(asked.times() - before, times, "{page}");
    }
}

#[test]
fn head_is_answered_with_the_headers_and_takes_no_snapshot() {
    let asked = Asked::default();
    let server = Server::builder(Aggregator::new().source(asked.clone())).build();
    for page in PAGES {
        let get = call(&server, Method::GET, page);
        let before = asked.times();
        let head = call(&server, Method::HEAD, page);
        assert_eq!(head.status(), StatusCode::OK, "{page}");
        same_headers_but_for_the_length(head.headers(), get.headers());
        assert!(body(head).is_empty(), "{page}");
        assert_eq!(asked.times(), before, "{page}");
    }
}

#[test]
fn another_method_is_refused_and_takes_no_snapshot() {
    let asked = Asked::default();
    let server = Server::builder(Aggregator::new().source(asked.clone())).build();
    let brew = Method::from_bytes(b"BREW").expect("a token");
    for page in PAGES {
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
            Method::TRACE,
            Method::CONNECT,
            brew.clone(),
        ] {
            let response = call(&server, method.clone(), page);
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], "GET, HEAD");
            checked_headers(&response, "text/plain; charset=utf-8");
            let text = text(response);
            assert!(
                text.contains(method.as_str()) && text.contains("use GET or HEAD"),
                "{text}"
            );
        }
    }
    assert_eq!(asked.times(), 0);
}

#[test]
fn a_path_that_is_no_page_is_answered_with_those_that_are() {
    let server = empty_server();
    for path in [
        "/no",
        "/parsec",
        "/parsec/metrics/",
        "/parsec//metrics",
        "/Parsec/Metrics",
        "/healthz/x",
        "/%2e%2e/parsec/metrics",
    ] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let response = call(&server, method, path);
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            checked_headers(&response, "text/plain; charset=utf-8");
            let text = text(response);
            assert!(text.contains(path), "{text}");
            for page in PAGES {
                let listed = text
                    .lines()
                    .any(|line| line.starts_with(&format!("{page} ")));
                assert!(listed, "{page} in {text}");
            }
        }
    }
}

#[test]
fn a_path_comes_back_short() {
    let path = format!("/{}", "x".repeat(60_000));
    let text = text(call(&empty_server(), Method::GET, &path));
    assert!(text.len() < 1000, "{} bytes", text.len());
}

#[test]
fn a_query_changes_nothing() {
    let server = empty_server();
    for page in PAGES {
        for uri in [
            format!("{page}?"),
            format!("{page}?x=1&y=%20"),
            format!("http://telemetry.test{page}"),
        ] {
            let response = call(&server, Method::GET, &uri);
            assert_eq!(response.status(), StatusCode::OK, "{uri}");
        }
    }
}

#[test]
fn health_is_a_word() {
    let response = call(&empty_server(), Method::GET, HEALTH);
    assert_eq!(response.status(), StatusCode::OK);
    checked_headers(&response, "text/plain; charset=utf-8");
    assert_eq!(text(response), "ok\n");
}

#[test]
fn the_index_links_to_every_page() {
    let server = empty_server();
    let response = call(&server, Method::GET, INDEX);
    assert_eq!(response.status(), StatusCode::OK);
    checked_headers(&response, "text/html; charset=utf-8");
    let text = text(response);
    let links: Vec<&str> = text
        .split("href=\"")
        .skip(1)
        .filter_map(|behind| behind.split('"').next())
        .collect();
    for page in [JSON, PROMETHEUS, HEALTH, READY] {
        assert!(links.contains(&page), "{page} in {text}");
    }
    for link in links {
        let response = call(&server, Method::GET, link);
        assert_eq!(response.status(), StatusCode::OK, "{link}");
    }
}

#[test]
fn a_source_that_panics_costs_its_own_numbers_only() {
    struct Broken;
    impl Source for Broken {
        fn presence(&self) -> Option<PresenceStats> {
            panic!("on purpose")
        }
    }
    let aggregator = Aggregator::new().source(Broken).source(Asked::default());
    let server = Server::builder(aggregator.clone()).build();
    let snapshot = json(&body(call(&server, Method::GET, JSON)));
    assert_eq!(snapshot.history.total_envelopes_buffered, 1);
    assert_eq!(aggregator.source_panics(), 1);
}

// Mounted in other people's servers

#[test]
fn axum_mounts_the_pages_at_any_path() {
    let aggregator = Aggregator::new().source(Asked::default());
    let (json, prometheus) = (aggregator.handler(), aggregator.prometheus_handler());
    let operators = Router::new()
        .route("/numbers", any_service(json.clone()))
        .route_service("/scrape", prometheus.clone());
    let app = Router::new()
        .route("/", any_service(json.clone()))
        .nest("/operators/only", operators)
        .nest_service("/below", prometheus)
        .route("/any/{thing}", any_service(json));
    for (path, content_type) in [
        ("/", "application/json"),
        ("/operators/only/numbers", "application/json"),
        ("/any/thing", "application/json"),
        (
            "/operators/only/scrape",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("/below/it", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let response = call_axum(&app, Method::GET, path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{path}");
        let length = response.headers()[CONTENT_LENGTH].clone();
        assert_eq!(length, collected(response.into_body()).len().to_string());

        let response = call_axum(&app, Method::POST, path);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[ALLOW], "GET, HEAD", "{path}");
    }
    assert_eq!(
        call_axum(&app, Method::GET, "/operators/numbers").status(),
        StatusCode::NOT_FOUND
    );
}

/// (The length that axum gives to the empty body, 0, is its own.)
#[test]
fn head_in_axum_takes_no_snapshot() {
    let asked = Asked::default();
    let aggregator = Aggregator::new().source(asked.clone());
    let app = Router::new()
        .route(JSON, any_service(aggregator.handler()))
        .route(PROMETHEUS, any_service(aggregator.prometheus_handler()));
    for page in [JSON, PROMETHEUS] {
        let get = call_axum(&app, Method::GET, page);
        let before = asked.times();
        let mut head = call_axum(&app, Method::HEAD, page);
        head.headers_mut().remove(CONTENT_LENGTH);
        assert_eq!(asked.times(), before, "{page}");
        assert_eq!(head.status(), StatusCode::OK, "{page}");
        same_headers_but_for_the_length(head.headers(), get.headers());
    }
}

#[test]
fn bare_hyper_serves_a_page() {
    let aggregator = Aggregator::new().source(Asked::default());
    let running = Running::start(Ipv4Addr::LOCALHOST, |listener, shutdown| {
        hyper_with(listener, aggregator.handler(), shutdown)
    });
    let mut client = running.connect();
    for path in ["/", "/anything"] {
        let reply = client.get(path);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/json");
        json(&reply.body);
        // The same connection goes on behind the headers: nothing was sent after them.
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let reply = client.reply_to_head();
        assert_eq!(reply.status, 200);
        assert_ne!(
            reply.headers.get("content-length").map(String::as_str),
            Some("0")
        );
    }
}

#[test]
fn a_handler_is_a_tower_service_of_any_body() {
    fn is_service<S: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &S) {}

    let asked = Asked::default();
    let handler = Aggregator::new().source(asked.clone()).handler();
    is_service(&handler);
    let response: Result<_, Infallible> = block_on(handler.clone().oneshot(Request::new(())));
    let Ok(response) = response;
    assert_eq!(json(&body(response)).history.total_envelopes_buffered, 1);

    let request = Request::new(Full::new(Bytes::from_static(b"not looked at")));
    let Ok(response) = block_on(handler.clone().oneshot(request));
    assert_eq!(json(&body(response)).history.total_envelopes_buffered, 2);

    // The methods of tower that wrap a service, for one.
    let length = |response: Response<Full<Bytes>>| response.headers()[CONTENT_LENGTH].clone();
    let lengths = tower::ServiceExt::<Request<()>>::map_response(handler, length);
    let Ok(length) = block_on(lengths.oneshot(Request::new(())));
    assert_eq!(length.len(), 3, "{length:?}");
    assert_eq!(asked.times(), 3);
}

// Over a real socket

#[test]
fn a_connection_is_kept_and_the_numbers_move() {
    let envelopes = EnvelopeCounters::new();
    let running = Running::server(strict(Aggregator::new().source(envelopes.clone())));
    let data = envelopes.aspect("data");
    let mut client = running.connect();
    for counted in 1..=3 {
        data.observe();
        let reply = client.get(JSON);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(json(&reply.body).envelopes.by_aspect["data"], counted);

        let reply = client.get(PROMETHEUS);
        let text = String::from_utf8(reply.body).expect("UTF-8");
        let line = format!("\nparsec_telemetry_envelopes_total{{aspect=\"data\"}} {counted}\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Running::serve(Aggregator::new());
    let mut client = running.connect();
    let get = |path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.send(&[JSON, HEALTH, "/no", PROMETHEUS].map(get).concat());
    let replies: Vec<_> = (0..4).map(|_| client.reply()).collect();
    assert_eq!(
        replies.iter().map(|reply| reply.status).collect::<Vec<_>>(),
        [200, 200, 404, 200]
    );
    json(&replies[0].body);
    assert_eq!(replies[1].body, b"ok\n");
}

#[test]
fn http_1_0_is_answered_and_the_connection_closed() {
    let running = Running::serve(Aggregator::new());
    for page in PAGES {
        let mut client = running.connect();
        client.send(&format!("GET {page} HTTP/1.0\r\n\r\n"));
        let reply = client.reply();
        assert_eq!((reply.version.as_str(), reply.status), ("HTTP/1.0", 200));
        assert!(!reply.body.is_empty());
        client.is_closed();
    }
}

#[test]
fn a_client_that_says_close_is_answered_and_left() {
    let running = Running::serve(Aggregator::new());
    let mut client = running.connect();
    client.send(&format!(
        "GET {JSON} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    ));
    let reply = client.reply();
    assert_eq!(reply.headers["connection"], "close");
    json(&reply.body);
    client.is_closed();
}

#[test]
fn head_sends_no_body() {
    let running = Running::serve(Aggregator::new());
    let mut client = running.connect();
    for path in ["/no"].iter().chain(&PAGES) {
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let head = client.reply_to_head();
        // Were there a body, its bytes would stand where this reply is read.
        let get = client.get(path);
        assert_eq!(head.status, get.status);
        assert_eq!(head.headers["content-type"], get.headers["content-type"]);
        if let Some(length) = head.headers.get("content-length") {
            assert_eq!(*length, get.headers["content-length"], "{path}");
        }
    }
}

#[test]
fn a_post_with_a_body_is_refused() {
    let running = Running::serve(Aggregator::new());
    let mut client = running.connect();
    client.send(&format!(
        "POST {JSON} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
    ));
    let reply = client.reply();
    assert_eq!(reply.status, 405);
    assert_eq!(reply.headers["allow"], "GET, HEAD");
}

#[test]
fn what_is_no_request_is_answered_with_400_and_hurts_nobody_else() {
    let running = Running::serve(Aggregator::new());
    let mut other = running.connect();
    other.get(HEALTH);
    for nonsense in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /hea lthz HTTP/1.1\r\n\r\n",
        "GET /\0 HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
    ] {
        let mut client = running.connect();
        client.send(nonsense);
        assert_eq!(client.reply().status, 400, "{nonsense:?}");
        client.is_closed();
        assert_eq!(other.get(HEALTH).status, 200);
    }
}

#[test]
fn a_client_that_goes_away_hurts_nobody_else() {
    let running = Running::serve(Aggregator::new());
    for sent in [
        "",
        "GET /hea",
        "GET /parsec/metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut client = running.connect();
        client.send(sent);
        drop(client);
        assert_eq!(running.connect().get(JSON).status, 200);
    }
}

#[test]
fn curl_reads_both_pages() {
    let Some(curl) = support::program("curl") else {
        return;
    };
    let running = Running::server(strict(Aggregator::new().source(Asked::default())));
    let curl = |args: &[&str], page: &str| {
        let output = Command::new(&curl)
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "10",
                "--noproxy",
                "*",
            ])
            .args(["--write-out", "\n%{http_code} %{content_type}"])
            .args(args)
            .arg(format!("http://{}{page}", running.at))
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let (page, what) = said.rsplit_once('\n').expect("two parts");
        (page.to_owned(), what.to_owned())
    };
    let (page, what) = curl(&[], JSON);
    assert_eq!(what, "200 application/json");
    assert_eq!(json(page.as_bytes()).history.total_envelopes_buffered, 1);

    let (page, what) = curl(&["--compressed"], PROMETHEUS);
    assert_eq!(what, "200 text/plain; version=0.0.4; charset=utf-8");
    assert!(
        page.contains("\nparsec_telemetry_history_buffered 2\n"),
        "{page}"
    );

    let (head, what) = curl(&["--head"], PROMETHEUS);
    assert_eq!(what, "200 text/plain; version=0.0.4; charset=utf-8");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");

    let (_, what) = curl(&["--request", "DELETE"], JSON);
    assert_eq!(what, "405 text/plain; charset=utf-8");
}

#[test]
fn ipv6_is_served_too() {
    if let Err(error) = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        eprintln!("skipped: no IPv6 loopback here: {error}");
        return;
    }
    let running = Running::start(Ipv6Addr::LOCALHOST, |listener, shutdown| {
        serve(listener, Aggregator::new(), shutdown)
    });
    json(&running.connect().get(JSON).body);
}

// Clients that take their time

#[test]
fn headers_that_do_not_come_close_the_connection() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(SOON)
        .build();
    let running = Running::server(server);
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
        let start = Instant::now();
        let mut client = running.connect();
        client.send(begun);
        client.is_closed();
        assert!(start.elapsed() >= SOON, "{begun:?} had its time");
    }
}

#[test]
fn headers_that_trickle_in_close_the_connection_too() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(SOON)
        .build();
    let running = Running::server(server);
    let mut client = running.connect();
    let start = Instant::now();
    client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n");
    // A line now and then, and each of them well within the timeout.
    while client.stream.write_all(b"x: y\r\n").is_ok() {
        thread::sleep(SOON / 8);
        assert!(start.elapsed() < PATIENCE, "still listened to");
    }
    assert!(start.elapsed() >= SOON);
}

#[test]
fn a_connection_that_stays_idle_is_closed() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(NEVER)
        .idle_timeout(SOON)
        .build();
    let running = Running::server(server);
    let mut client = running.connect();
    assert_eq!(client.get(HEALTH).status, 200);
    let start = Instant::now();
    assert_eq!(client.get(HEALTH).status, 200);
    client.is_closed();
    assert!(start.elapsed() >= SOON);
}

/// The time between two requests is not the headers'.
#[test]
fn a_connection_may_idle_for_longer_than_headers_may_take() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(SOON)
        .idle_timeout(NEVER)
        .build();
    let running = Running::server(server);
    let mut client = running.connect();
    assert_eq!(client.get(HEALTH).status, 200);
    thread::sleep(2 * SOON);
    assert_eq!(client.get(HEALTH).status, 200);
    // But the next headers have their time, from their first byte.
    let start = Instant::now();
    client.send("GET ");
    client.is_closed();
    assert!(start.elapsed() >= SOON);
}

#[test]
fn the_header_timeout_does_not_cut_a_page_short() {
    let server = Server::builder(Aggregator::new().source(Slow))
        .header_timeout(SOON)
        .build();
    let running = Running::server(server);
    let begun = Instant::now();
    let reply = running.connect().get(JSON);
    assert_eq!(json(&reply.body).presence.total_users, 1);
    assert!(begun.elapsed() > SOON, "it took longer than headers may");
}

/// One source that blocks hangs its own page, and not the server, nor what else the runtime runs.
///
/// One worker makes sure of what happens with more of them too, now and then: the worker that
/// blocks may be the one that polls the sockets for all, and no other takes its place.
#[test]
fn a_source_that_blocks_does_not_hold_up_who_needs_no_numbers() {
    let (gate, mut gatekeeper) = gate();
    let running = Running::start_on(1, Ipv4Addr::LOCALHOST, |listener, shutdown| {
        serve(listener, Aggregator::new().source(gate), shutdown)
    });
    let mut waiting = running.connect();
    waiting.send_get(JSON);
    gatekeeper.wait_for_one();
    assert_eq!(running.connect().get(HEALTH).status, 200);
    gatekeeper.open();
    assert_eq!(waiting.reply().status, 200);
}

// The end

#[test]
fn idle_connections_are_closed_and_the_port_is_free_again() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(NEVER)
        .idle_timeout(NEVER)
        .drain_timeout(NEVER)
        .build();
    let mut running = Running::server(server);
    let mut used = running.connect();
    assert_eq!(used.get(HEALTH).status, 200);
    let mut unused = running.connect();
    // What came later has been accepted, so that one has too.
    assert_eq!(running.connect().get(HEALTH).status, 200);

    running.shut_down();
    used.is_closed();
    unused.is_closed();
    let at = running.at;
    running.ends_well();
    drop(std::net::TcpListener::bind(at).expect("the port is free again"));
}

#[test]
fn a_server_can_end_before_it_begins() {
    let mut running = Running::serve(Aggregator::new());
    running.shut_down();
    running.ends_well();
}

#[test]
fn a_request_in_flight_is_finished() {
    let (gate, mut gatekeeper) = gate();
    let server = Server::builder(Aggregator::new().source(gate))
        .drain_timeout(NEVER)
        .build();
    let mut running = Running::server(server);
    let mut client = running.connect();
    client.send_get(JSON);
    gatekeeper.wait_for_one();

    running.shut_down();
    // Whoever comes now is told, and sent away.
    poll("it is no longer ready", || {
        let mut late = running.connect();
        late.send_get(READY);
        // One that was accepted just before is closed as idle.
        late.stream
            .peek(&mut [0])
            .is_ok_and(|read| read > 0)
            .then(|| {
                assert_eq!(late.reply().status, 503);
                late.is_closed();
            })
    });
    for (page, status) in [(HEALTH, 200), (JSON, 503), (INDEX, 503), ("/no", 503)] {
        let mut late = running.connect();
        late.send_get(page);
        assert_eq!(late.reply().status, status, "{page}");
        late.is_closed();
    }
    assert!(!running.serving().is_finished(), "it waits for the request");
    gatekeeper.open();
    let reply = client.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(json(&reply.body).presence.total_users, 1);
    client.is_closed();
    running.ends_well();
}

#[test]
fn a_client_that_never_finishes_its_request_is_dropped() {
    let server = Server::builder(Aggregator::new())
        .header_timeout(NEVER)
        .drain_timeout(SOON)
        .build();
    let mut running = Running::server(server);
    let mut clients = ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"].map(|first| {
        let mut client = running.connect();
        client.send(&format!("{first}GET /healthz HTTP/1.1\r\n"));
        if !first.is_empty() {
            assert_eq!(client.reply().status, 200);
        }
        client
    });
    running.shut_down();
    for client in &mut clients {
        client.is_closed();
    }
    running.ends_well();
}

#[test]
fn a_client_that_never_reads_its_page_is_dropped() {
    let server = Server::builder(Aggregator::new().source(Long))
        .header_timeout(NEVER)
        .drain_timeout(SOON)
        .build();
    let mut running = Running::server(server);
    let mut client = running.connect();
    // More than the sockets hold, so that the server is left with bytes that it cannot send.
    client.send(&"GET /parsec/metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(40));
    // It has begun to answer.
    client.stream.peek(&mut [0]).expect("a byte");
    dropped_after_the_drain(&mut running);
    let mut page = Vec::new();
    // Either end of a connection may say first that it is over.
    let _ = client.stream.read_to_end(&mut page);
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n"));
    running.ends_well();
}

#[test]
fn a_source_that_never_returns_does_not_keep_the_server_from_ending() {
    let (gate, mut gatekeeper) = gate();
    let server = Server::builder(Aggregator::new().source(gate))
        .drain_timeout(SOON)
        .build();
    let mut running = Running::server(server);
    let mut client = running.connect();
    client.send_get(JSON);
    gatekeeper.wait_for_one();
    dropped_after_the_drain(&mut running);
    gatekeeper.open();
    running.ends_well();
}

fn dropped_after_the_drain(running: &mut Running) {
    let begun = Instant::now();
    running.shut_down();
    poll("the end", || running.serving().is_finished().then_some(()));
    assert!(begun.elapsed() >= SOON, "it had its time");
}

// Sources

/// Reports how often it has been asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicU64>);

impl Asked {
    fn times(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Source for Asked {
    fn history(&self) -> Option<HistoryStats> {
        Some(HistoryStats {
            total_envelopes_buffered: self.0.fetch_add(1, Relaxed) + 1,
            ..Default::default()
        })
    }
}

/// Reports two mebibytes of patterns.
struct Long;

impl Source for Long {
    fn channels(&self) -> Option<ChannelStats> {
        let pattern = |n: u64| (format!("{n:0>1024}"), n);
        Some(ChannelStats {
            total_active: 0,
            by_pattern: (0..2048).map(pattern).collect(),
        })
    }
}

/// Takes its time.
struct Slow;

impl Source for Slow {
    fn presence(&self) -> Option<PresenceStats> {
        thread::sleep(2 * SOON);
        Some(PresenceStats {
            total_users: 1,
            ..Default::default()
        })
    }
}

/// A source that says that it is asked, and does not answer before its gate is open.
struct Gate {
    waiting: mpsc::Sender<()>,
    opened: Mutex<mpsc::Receiver<()>>,
}

struct Gatekeeper {
    waiting: mpsc::Receiver<()>,
    /// Dropped to open: a test that fails opens too, and nothing waits for ever.
    closed: Option<mpsc::Sender<()>>,
}

fn gate() -> (Gate, Gatekeeper) {
    let (waits, waiting) = mpsc::channel();
    let (closed, opened) = mpsc::channel();
    let gate = Gate {
        waiting: waits,
        opened: Mutex::new(opened),
    };
    let closed = Some(closed);
    (gate, Gatekeeper { waiting, closed })
}

impl Gatekeeper {
    fn wait_for_one(&self) {
        self.waiting.recv_timeout(PATIENCE).expect("somebody asks");
    }

    fn open(&mut self) {
        self.closed = None;
    }
}

impl Source for Gate {
    fn presence(&self) -> Option<PresenceStats> {
        // Nobody may be there to hear it any more.
        let _ = self.waiting.send(());
        let _ = self.opened.lock().expect("never poisoned").recv();
        Some(PresenceStats {
            total_users: 1,
            ..Default::default()
        })
    }
}

// Requests and responses as values

/// Whose every page has a snapshot of its own.
fn strict(aggregator: Aggregator) -> Server {
    Server::builder(aggregator)
        .freshness(Duration::ZERO)
        .build()
}

fn empty_server() -> Server {
    Server::builder(Aggregator::new()).build()
}

fn call(server: &Server, method: Method, uri: &str) -> Response<Full<Bytes>> {
    let request = Request::builder().method(method).uri(uri).body(());
    server.handle(&request.expect("a request"))
}

fn call_axum(app: &Router, method: Method, uri: &str) -> axum::response::Response {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(axum::body::Body::empty());
    let Ok(response) = block_on(app.clone().oneshot(request.expect("a request")));
    response
}

/// What every response says, and its length, which may be left to the server.
fn checked_headers(response: &Response<Full<Bytes>>, content_type: &str) {
    let headers = response.headers();
    assert_eq!(headers[CONTENT_TYPE], content_type);
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    let length = body(response.clone()).len();
    match headers.get(CONTENT_LENGTH) {
        Some(said) => assert_eq!(said, &length.to_string()),
        None => assert_ne!(response.status(), StatusCode::OK, "a page says its length"),
    }
}

fn same_headers_but_for_the_length(head: &HeaderMap, get: &HeaderMap) {
    let but_length = |headers: &HeaderMap| {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        headers
    };
    assert_eq!(but_length(head), but_length(get));
    if let Some(length) = head.get(CONTENT_LENGTH) {
        assert_eq!(length, get[CONTENT_LENGTH]);
    }
}

fn body(response: Response<Full<Bytes>>) -> Bytes {
    collected(response.into_body())
}

fn collected<B>(body: B) -> Bytes
where
    B: BodyExt,
    B::Error: std::fmt::Debug,
{
    block_on(body.collect()).expect("a body").to_bytes()
}

fn text(response: Response<Full<Bytes>>) -> String {
    String::from_utf8(body(response).into()).expect("UTF-8")
}

fn json(page: &[u8]) -> Snapshot {
    serde_json::from_slice(page).expect("a snapshot")
}

/// For futures that are as good as ready.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

// A server that runs

struct Running {
    at: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<io::Result<()>>>,
    runtime: Option<Runtime>,
}

impl Running {
    /// Runs what is made of a listener and a signal to end, with threads to spare for sources that
    /// block.
    fn start<F>(
        ip: impl Into<IpAddr>,
        server: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_on(4, ip, server)
    }

    fn start_on<F>(
        workers: usize,
        ip: impl Into<IpAddr>,
        server: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((ip.into(), 0)))
            .expect("a free port");
        let at = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel();
        let serving = runtime.spawn(server(listener, ended));
        Self {
            at,
            end: Some(end),
            serving: Some(serving),
            runtime: Some(runtime),
        }
    }

    fn server(server: Server) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, |listener, shutdown| {
            server.serve(listener, shutdown)
        })
    }

    /// As most people do.
    fn serve(aggregator: Aggregator) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, |listener, shutdown| {
            serve(listener, aggregator, shutdown)
        })
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect_timeout(&self.at, PATIENCE).expect("a connection");
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).expect("a timeout");
        }
        stream.set_nodelay(true).expect("an option");
        let reader = BufReader::new(stream.try_clone().expect("the same stream"));
        Client { stream, reader }
    }

    fn shut_down(&mut self) {
        let end = self.end.take().expect("it ends once");
        end.send(()).expect("it still runs");
    }

    fn serving(&self) -> &JoinHandle<io::Result<()>> {
        self.serving.as_ref().expect("it is waited for once")
    }

    fn ends_well(mut self) {
        let serving = self.serving.take().expect("it is waited for once");
        let runtime = self.runtime.as_ref().expect("there until the drop");
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, serving).await })
            .expect("it ends in time")
            .expect("it does not panic")
            .expect("it ends well");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without waiting, for a source may still block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The least server that hyper makes: no timer, no limits.
async fn hyper_with(
    listener: TcpListener,
    handler: Handler,
    shutdown: oneshot::Receiver<()>,
) -> io::Result<()> {
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler.clone());
            tokio::spawn(connection);
        }
    };
    tokio::select! {
        result = accepting => result,
        _ = shutdown => Ok(()),
    }
}

// A client that sees every byte

struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Reply {
    version: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Client {
    fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).expect("sent");
    }

    fn send_get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send_get(path);
        self.reply()
    }

    /// A reply with as much of a body as its headers say.
    fn reply(&mut self) -> Reply {
        let mut reply = self.reply_to_head();
        let length = reply.headers["content-length"].parse().expect("a length");
        reply.body.resize(length, 0);
        self.reader.read_exact(&mut reply.body).expect("a body");
        reply
    }

    /// A reply of headers only.
    fn reply_to_head(&mut self) -> Reply {
        let status_line = self.line();
        let mut parts = status_line.splitn(3, ' ');
        let version = parts.next().expect("a version").to_owned();
        let status = parts.next().expect("a status").parse().expect("a number");
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            let name = name.to_ascii_lowercase();
            let known = headers.insert(name, value.to_owned());
            assert_eq!(known, None, "twice: {line}");
        }
        Reply {
            version,
            status,
            headers,
            body: Vec::new(),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line.strip_suffix("\r\n").expect("a whole line").to_owned()
    }

    /// The server closes the connection, and sends nothing before it does.
    fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest)),
            // Bytes that it has not read turn a close into a reset.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
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
