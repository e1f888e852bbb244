//! `OPTIONS`, the default health check of `HAProxy`, and `HEAD`, over sockets.

#![cfg(feature = "serve")]

use std::net::Ipv4Addr;

use axum::Router;
use axum::routing::any_service;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use parsec_telemetry::{Aggregator, Server};
use support::client::{Client, Reply};
use support::poll::poll;
use support::server::RunningServer;

#[allow(dead_code)]
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod server;
    pub(crate) mod socket;
}

const METHODS: &str = "GET, HEAD, OPTIONS";
const PATHS: [&str; 8] =
    ["/", "/parsec/metrics", "/parsec/telemetry/metrics", "/metrics", "/parsec/series", "/healthz", "/readyz", "/no"];

#[test]
fn options_is_answered_with_204_and_the_methods_on_every_path() {
    let server = RunningServer::serve(Aggregator::new());
    // One connection: a response with a body would break the next.
    let mut client = server.connect();
    for path in PATHS.iter().chain(&["*", "/healthz?x=1", "http://localhost/metrics"]) {
        client.send(&format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_options(&client.read_head(), path);
    }
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn options_in_http_1_0_without_host_is_answered_with_204() {
    let server = RunningServer::serve(Aggregator::new());
    for path in PATHS {
        let mut client = server.connect();
        client.send(&format!("OPTIONS {path} HTTP/1.0\r\n\r\n"));
        let reply = client.read_head();
        assert_eq!(reply.version, "HTTP/1.0");
        assert_options(&reply, path);
        client.expect_close();
    }
}

#[test]
fn options_needs_neither_token_nor_local_host() {
    let builder = Server::builder(Aggregator::new());
    let with_token = builder.clone().bearer_token("token").expect("a valid token");
    for server in [builder, with_token] {
        let server = RunningServer::of(server.build());
        let mut client = server.connect();
        for path in PATHS {
            client.send(&format!("OPTIONS {path} HTTP/1.1\r\nhost: balancer.example\r\n\r\n"));
            assert_options(&client.read_head(), path);
        }
    }
}

#[test]
fn options_beyond_the_connection_limit_is_answered_with_204() {
    let server = RunningServer::of(Server::builder(Aggregator::new()).max_connections(1).build());
    let mut first = server.connect();
    assert_eq!(first.get("/healthz").status, 200);
    let mut second = server.connect();
    second.send("OPTIONS / HTTP/1.0\r\n\r\n");
    assert_options(&second.read_head(), "/");
}

/// `option httpchk /readyz` of `HAProxy` sends OPTIONS.
#[test]
fn options_of_readyz_is_answered_with_503_while_draining() {
    let server = Server::builder(Aggregator::new()).build();
    let running = RunningServer::of(server.clone());
    server.begin_draining();
    for (path, status) in [("/readyz", 503), ("/healthz", 204), ("/", 204)] {
        let mut client = running.connect();
        client.send(&format!("OPTIONS {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(client.read_head().status, status, "{path}");
    }
}

#[test]
fn options_and_head_are_not_counted_as_other_scrapes() {
    let server = RunningServer::serve(Aggregator::new());
    let mut client = server.connect();
    client.send("OPTIONS /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_options(&client.read_head(), "/metrics");
    let page = String::from_utf8(client.get("/metrics").body).expect("UTF-8");
    let scrapes = page.lines().filter(|line| line.starts_with("parsec_telemetry_scrapes_total{"));
    assert!(scrapes.clone().count() > 0);
    for scrape in scrapes {
        assert!(scrape.ends_with(" 0"), "{scrape}");
    }
}

#[test]
fn other_method_is_answered_with_405_that_allows_options() {
    let server = RunningServer::serve(Aggregator::new());
    let mut client = server.connect();
    for path in PATHS.iter().filter(|path| **path != "/no") {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "options"] {
            client.send(&format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
            let reply = client.read_reply();
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.headers["allow"], METHODS, "{method} {path}");
        }
    }
}

#[test]
fn options_is_answered_with_204_by_mounted_handlers() {
    let aggregator = Aggregator::new();
    let app = Router::new()
        .route("/json", any_service(aggregator.handler()))
        .route("/text", any_service(aggregator.prometheus_handler()));
    let axum = RunningServer::start(Ipv4Addr::LOCALHOST, |listener, _| async { axum::serve(listener, app).await });
    let handler = aggregator.handler();
    let hyper = RunningServer::start(Ipv4Addr::LOCALHOST, |listener, _| async move {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), handler.clone()));
        }
    });
    for (server, path) in [(&axum, "/json"), (&axum, "/text"), (&hyper, "/any")] {
        for request in
            [format!("OPTIONS {path} HTTP/1.0\r\n\r\n"), format!("OPTIONS {path} HTTP/1.1\r\nhost: x\r\n\r\n")]
        {
            let mut client = server.connect();
            client.send(&request);
            assert_options(&client.read_head(), &request);
        }
        let mut client = server.connect();
        client.send(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let reply = client.read_reply();
        assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, METHODS), "{path}");
    }
}

#[test]
fn head_has_the_status_the_length_and_the_type_of_get_on_every_path() {
    let server = RunningServer::serve(Aggregator::new());
    for coding in ["", "accept-encoding: gzip\r\n"] {
        for (host, version) in [("localhost", "1.1"), ("evil.example", "1.1"), ("a b", "1.1"), ("localhost", "1.0")] {
            for path in PATHS {
                // The length of a page of metrics changes with its values.
                poll("HEAD and GET of the same page", || {
                    let send = |method: &str| {
                        let mut client = server.connect();
                        client.send(&format!("{method} {path} HTTP/{version}\r\nhost: {host}\r\n{coding}\r\n"));
                        client
                    };
                    let mut client = send("HEAD");
                    let head = client.read_head();
                    assert_nothing_follows(&server, client, path, version);
                    let get = send("GET").read_reply();
                    assert_eq!(head.status, get.status, "{path}");
                    assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
                    (head.headers["content-length"] == get.headers["content-length"]).then_some(())
                });
            }
        }
    }
}

/// Sends another request on the connection: its response begins where that of HEAD ended.
fn assert_nothing_follows(server: &RunningServer, mut client: Client, path: &str, version: &str) {
    assert!(!server.is_finished());
    if version == "1.0" {
        client.expect_close();
    } else {
        assert_eq!(client.get("/healthz").status, 200, "{path}");
    }
}

fn assert_options(reply: &Reply, request: &str) {
    assert_eq!(reply.status, 204, "{request}");
    assert_eq!(reply.headers["allow"], METHODS, "{request}");
    for absent in ["content-type", "transfer-encoding"] {
        assert!(!reply.headers.contains_key(absent), "{absent} for {request}");
    }
    assert!(reply.headers.get("content-length").is_none_or(|length| length == "0"), "{request}");
}
