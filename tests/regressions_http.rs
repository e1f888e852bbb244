//! Fault 10 of the original: methods, `HEAD` and `Content-Length`.
//!
//! Each test is named after the fault and fails on what the original did. The numbers are those of the wire
//! contract's list.

#![cfg(feature = "serve")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::sources::{Intercepted, Reports, hit_rate};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use parsec_telemetry::{Aggregator, Format, ManualClock, Server, Source};

const PAGES: [(&str, Format); 2] =
    [("/parsec/metrics", Format::Json), ("/parsec/telemetry/metrics", Format::Prometheus)];

/// The response of a new server, without a network in between.
fn response(aggregator: &Aggregator, method: Method, path: &str) -> Response<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).body(());
    let request = request.expect("a request");
    Server::builder(aggregator.clone()).build().handle(&request)
}

async fn body(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.expect("a whole body");
    String::from_utf8(body.to_bytes().into()).expect("pages are UTF-8")
}

/// A source, and how many snapshots have collected it.
fn counting_source() -> (impl Source, Arc<AtomicU64>) {
    let collected = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&collected);
    let on_section = move |section| {
        if section == "presence" {
            count.fetch_add(1, SeqCst);
        }
    };
    (Intercepted(on_section, Reports::default()), collected)
}

/// Fault 10: any method was answered with the page.
#[tokio::test]
async fn method_other_than_get_and_head_is_rejected() {
    let (source, collected) = counting_source();
    // Its clock stands still: the monitor of a server takes no snapshot.
    let aggregator = Aggregator::new().clock(ManualClock::new().clock()).source(source);
    let unknown = Method::from_bytes(b"BREW").expect("a method");
    let rejected = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::CONNECT, unknown];
    for (path, _) in PAGES {
        for method in &rejected {
            let response = response(&aggregator, method.clone(), path);
            let status = response.status();
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert_eq!(response.headers()[ALLOW], "GET, HEAD, OPTIONS", "{method}");
            let text = body(response).await;
            assert!(!text.contains("total_users"), "{method}: {text}");
        }
    }
    assert_eq!(collected.load(SeqCst), 0);
}

/// Fault 10: HEAD was answered without the length of the page.
#[tokio::test]
async fn head_response_has_the_headers_of_get_and_no_body() {
    let aggregator = Aggregator::new().source(hit_rate(33.3));
    // Both requests get the same rendered page.
    let server = Server::builder(aggregator).max_snapshot_age(Duration::MAX).build();
    let response = |method, path| {
        let request = Request::builder().method(method).uri(path).body(());
        server.handle(&request.expect("a request"))
    };
    for (path, _) in PAGES {
        let get = response(Method::GET, path);
        let head = response(Method::HEAD, path);
        assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
        assert!(head.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(body(head).await, "");
    }
}

/// Fault 10: the page was sent in chunks, without a `Content-Length`.
#[tokio::test]
async fn page_has_its_content_length() {
    let aggregator = Aggregator::new().source(hit_rate(33.3));
    for (path, format) in PAGES {
        let response = response(&aggregator, Method::GET, path);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], format.content_type());
        let length = response.headers()[CONTENT_LENGTH].clone();
        assert_eq!(length, body(response).await.len().to_string());
    }
}
