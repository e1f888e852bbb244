//! Law: whatever is asked for, by any method, at any path and under any headers, the server answers with one of a few
//! statuses and with headers that are true of what comes with them; without its token it shows the probes and nothing
//! else; and a page that is got is one, of the format that its headers say, to readers that are none of ours.
//!
//! An input is read as a request is written: a line of method, target and version, then a line for each header, then an
//! empty line.

#![no_main]

use std::io::Read as _;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use flate2::read::GzDecoder;
use fuzzing::json::Json;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Uri, Version};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;
use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, ManualClock, Server, Severity};

const TOKEN: &str = "s3cret";

/// One that shows its pages to everybody, and one that wants a token.
static SERVERS: LazyLock<[Server; 2]> = LazyLock::new(|| {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    for aspect in ["data", "", "two\nlines", "\"} 1\nforged_total 1\n#"] {
        envelopes.observe(aspect);
    }
    let always = AlertRule::new("always", Severity::Critical, |_| true);
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(envelopes)
        .with_alerts(vec![always.description("It \"fires\".")])
        .expect("a rule with a name");
    let locked = Server::builder(aggregator.clone()).bearer_token(TOKEN);
    [
        Server::builder(aggregator).build(),
        locked.expect("a token").build(),
    ]
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

/// Whether a request has the token, once.
fn has_token(request: &Request<()>) -> bool {
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return false;
    };
    let (scheme, token) = given.as_bytes().split_at(given.len().min(7));
    scheme.eq_ignore_ascii_case(b"Bearer ") && token.trim_ascii() == TOKEN.as_bytes()
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(body).read_to_end(&mut plain);
    read.expect("what says that it is gzip is");
    plain
}

fn check(server: &Server, request: &Request<()>, wants_token: bool) {
    let (reply, body) = server.handle(request).into_parts();
    let body = at_once(body.collect()).expect("infallible").to_bytes();
    let said = |name| {
        let value = reply.headers.get(name);
        value.map(|value: &HeaderValue| value.to_str().expect("printable"))
    };
    let (status, path) = (reply.status.as_u16(), request.uri().path());

    assert!([200, 401, 404, 405].contains(&status), "{status}");
    let is_probe = ["/healthz", "/readyz"].contains(&path);
    let is_locked = wants_token && !is_probe && !has_token(request);
    assert_eq!(status == 401, is_locked);
    assert_eq!(status == 401, said(WWW_AUTHENTICATE).is_some());
    assert_eq!(status == 405, said(ALLOW).is_some());
    assert_eq!(said(CACHE_CONTROL), Some("no-store"));
    assert_eq!(said(X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
    if request.method() == Method::HEAD && status == 200 {
        assert!(body.is_empty());
        return;
    }
    if let Some(length) = said(CONTENT_LENGTH) {
        assert_eq!(length, body.len().to_string());
    }
    let page = match said(CONTENT_ENCODING) {
        None => body.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            unpacked(&body)
        }
    };
    if status != 200 {
        assert!(page.ends_with(b"\n") && !page.contains(&0));
        return;
    }
    match (path, said(CONTENT_TYPE).expect("a type")) {
        ("/parsec/metrics", "application/json") => {
            assert!(matches!(Json::read(&page), Ok(Json::Object(_))));
        }
        ("/parsec/telemetry/metrics", kind) => {
            let page = str::from_utf8(&page).expect("UTF-8");
            if kind.starts_with("application/openmetrics-text; version=1.0.0") {
                parse_openmetrics(page).expect("OpenMetrics");
            } else {
                assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
                parse_prometheus(page).expect("the text format");
            }
        }
        ("/", "text/html; charset=utf-8")
        | ("/healthz" | "/readyz", "text/plain; charset=utf-8") => {}
        (path, kind) => panic!("{path} is {kind}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = request(bytes) {
        let [open, locked] = &*SERVERS;
        check(open, &request, false);
        check(locked, &request, true);
    }
});
