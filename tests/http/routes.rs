//! Paths, methods and headers of the server, called as a function.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, Format, ManualClock, Server, Severity};

use crate::NEVER;
use crate::support::page::{HEALTH, INDEX, JSON, PATHS, Page, READY, SERIES, TEXT, body, call, text, uncached};
use crate::support::sources::{CountsCalls, frozen_aggregator};

#[test]
fn get_returns_the_rendered_page() {
    // Two snapshots are equal only while the time is.
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    envelopes.observe("data");
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(envelopes)
        .with_alerts(vec![AlertRule::new("always", Severity::Info, |_| true)])
        .expect("valid rules");
    let server = Server::builder(aggregator.clone()).build();
    for (path, format, content_type) in [
        (JSON, Format::Json, "application/json"),
        (TEXT, Format::Prometheus, "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let page = call(&server, Method::GET, path);
        assert_eq!(page.status(), StatusCode::OK);
        assert_headers(&page, content_type);
        let page = body(&page);
        let rendered = aggregator.render(format);
        let self_metrics = page.strip_prefix(rendered.as_slice()).expect("the rendered page first");
        assert_eq!(self_metrics.is_empty(), format == Format::Json, "{path}");
    }
}

#[test]
fn get_calls_each_source_once_on_metric_pages_only() {
    let source = CountsCalls::default();
    let server = uncached(frozen_aggregator().source(source.clone()));
    for (path, calls) in [(JSON, 1), (TEXT, 1), (HEALTH, 0), (READY, 0), (INDEX, 0), (SERIES, 0), ("/no", 0)] {
        let before = source.calls();
        let _ = call(&server, Method::GET, path);
        assert_eq!(source.calls() - before, calls, "{path}");
    }
}

#[test]
fn head_returns_the_headers_of_get_and_no_body() {
    let source = CountsCalls::default();
    let server = Server::builder(frozen_aggregator().source(source.clone())).max_snapshot_age(NEVER).build();
    for path in PATHS {
        let head = call(&server, Method::HEAD, path);
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert!(body(&head).is_empty(), "{path}");
        let get = call(&server, Method::GET, path);
        assert_eq!(head.headers(), get.headers(), "{path}");
    }
    assert_eq!(source.calls(), 1, "HEAD and GET share a snapshot");
}

#[test]
fn other_methods_are_rejected_with_405_without_a_snapshot() {
    let source = CountsCalls::default();
    let server = Server::builder(frozen_aggregator().source(source.clone())).build();
    let brew = Method::from_bytes(b"BREW").expect("a token");
    for path in PATHS {
        for method in
            [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::CONNECT, brew.clone()]
        {
            let page = call(&server, method.clone(), path);
            assert_eq!(page.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(page.headers()[ALLOW], "GET, HEAD, OPTIONS");
            assert_headers(&page, "text/plain; charset=utf-8");
            let text = text(&page);
            assert!(text.contains(method.as_str()), "{text}");
            assert!(text.contains("use GET or HEAD"), "{text}");
        }
    }
    assert_eq!(source.calls(), 0);
}

#[test]
fn unknown_path_returns_404_with_the_known_paths() {
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
            let page = call(&server, method, path);
            assert_eq!(page.status(), StatusCode::NOT_FOUND, "{path}");
            assert_headers(&page, "text/plain; charset=utf-8");
            let text = text(&page);
            assert!(text.contains(path), "{text}");
            for known in PATHS {
                let prefix = format!("{known} ");
                let is_listed = text.lines().any(|line| line.starts_with(&prefix));
                assert!(is_listed, "{known} in {text}");
            }
        }
    }
}

#[test]
fn long_unknown_path_is_shortened_in_the_response() {
    let path = format!("/{}", "x".repeat(60_000));
    let text = text(&call(&empty_server(), Method::GET, &path));
    assert!(text.len() < 1000, "{} bytes", text.len());
}

#[test]
fn query_and_authority_do_not_change_the_route() {
    let server = empty_server();
    for path in PATHS {
        for uri in [format!("{path}?"), format!("{path}?x=1&y=%20"), format!("http://telemetry.test{path}")] {
            let page = call(&server, Method::GET, &uri);
            // The only path with parameters.
            let expected = if uri.contains("/series?x") { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            assert_eq!(page.status(), expected, "{uri}");
        }
    }
}

#[test]
fn health_returns_ok() {
    let page = call(&empty_server(), Method::GET, HEALTH);
    assert_eq!(page.status(), StatusCode::OK);
    assert_headers(&page, "text/plain; charset=utf-8");
    assert_eq!(text(&page), "ok\n");
}

fn empty_server() -> Server {
    Server::builder(Aggregator::new()).build()
}

/// Asserts the headers of every response. An error may leave its length to the HTTP server.
fn assert_headers(page: &Page, content_type: &str) {
    let headers = page.headers();
    assert_eq!(headers[CONTENT_TYPE], content_type);
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    match headers.get(CONTENT_LENGTH) {
        Some(length) => assert_eq!(length, &body(page).len().to_string()),
        None => assert_ne!(page.status(), StatusCode::OK, "a page without its length"),
    }
}
