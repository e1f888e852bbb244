//! Law: whatever is asked for, by any method, at any path and under any headers, the server answers with one of a few
//! statuses, with headers that are true of what comes with them, and a JSON page that is got is an object.
//!
//! An input is read as a request is written: a line of method, target and version, then a line for each header, then an
//! empty line.

#![no_main]

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use fuzzing::json::Json;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Uri, Version};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, ManualClock, Server, Severity};

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    for aspect in ["data", "", "two\nlines", "\"} 1\nforged_total 1\n#"] {
        envelopes.observe(aspect);
    }
    let always = AlertRule::new("always", Severity::Critical, |_| true);
    let aggregator = Aggregator::new().clock(clock.clock()).source(envelopes);
    let aggregator = aggregator.with_alerts(vec![always.description("It \"fires\".")]);
    Server::builder(aggregator.expect("a rule with a name")).build()
});

/// The request that the bytes describe, as far as it is one.
fn request(bytes: &[u8]) -> Option<Request<()>> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut first = lines.next()?.split(|&byte| byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(first.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(first.next()?).ok()?;
    *request.version_mut() = match first.next() {
        Some(b"HTTP/0.9") => Version::HTTP_09,
        Some(b"HTTP/1.0") => Version::HTTP_10,
        Some(b"HTTP/2.0") => Version::HTTP_2,
        Some(b"HTTP/3.0") => Version::HTTP_3,
        _ => Version::HTTP_11,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

/// What a future is that has no reason to wait.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a body that is there has nothing to wait for"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else {
        return;
    };
    let (reply, body) = SERVER.handle(&request).into_parts();
    let body = at_once(body.collect()).expect("infallible").to_bytes();
    let said = |name| {
        reply
            .headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().expect("printable"))
    };

    // 503: a scraper that grants no time gets no page.
    assert!(
        [200, 404, 405, 503].contains(&reply.status.as_u16()),
        "{}",
        reply.status
    );
    assert_eq!(reply.status == 405, said(ALLOW).is_some());
    assert_eq!(said(CACHE_CONTROL), Some("no-store"));
    assert_eq!(said(X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
    if request.method() == Method::HEAD && reply.status == 200 {
        assert!(body.is_empty());
    } else if let Some(length) = said(CONTENT_LENGTH) {
        assert_eq!(length, body.len().to_string());
    }
    let is_json = said(CONTENT_TYPE) == Some("application/json");
    if is_json && said(CONTENT_ENCODING).is_none() && request.method() == Method::GET {
        assert!(matches!(Json::read(&body), Ok(Json::Object(_))));
    }
});
