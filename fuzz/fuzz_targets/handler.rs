//! Properties: a request with any method, path and headers gets one of five statuses (OPTIONS gets 204), and headers
//! that describe the body. Without the token, only the probes are served. Independent parsers accept a page in the
//! format that its headers name.
//!
//! The input is the text of a request: a line of method, target and version, a line for each header, and an empty line.

#![no_main]

use std::io::Read as _;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use fuzzing::json::Json;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Uri, Version};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;
use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, ManualClock, Series, Server, Severity};

const TOKEN: &str = "s3cret";

/// A server without a token, and one with a token.
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
        .with_alerts(vec![always.description("Rule \"always\".")])
        .expect("a valid rule");
    let protected = Server::builder(aggregator.clone()).bearer_token(TOKEN);
    [Server::builder(aggregator).build(), protected.expect("a valid token").build()]
});

/// Parses a request. Returns `None` if a part of it is invalid.
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

/// Polls a future that must be ready.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the body is complete, so the future is ready"),
    }
}

/// Returns whether a request has exactly one token, and the right one: as `Bearer`, or as the password of `Basic`.
fn has_token(request: &Request<()>) -> bool {
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return false;
    };
    let Some((scheme, credentials)) = given.to_str().ok().and_then(|given| given.split_once(' ')) else {
        return false;
    };
    let credentials = credentials.trim_ascii();
    match &*scheme.to_ascii_lowercase() {
        "bearer" => credentials == TOKEN,
        "basic" => BASE64_STANDARD.decode(credentials).is_ok_and(|credentials| {
            let colon = credentials.iter().position(|&byte| byte == b':');
            colon.is_some_and(|colon| &credentials[colon + 1..] == TOKEN.as_bytes())
        }),
        _ => false,
    }
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(body).read_to_end(&mut plain);
    read.expect("Content-Encoding names the coding of the body");
    plain
}

fn check(server: &Server, request: &Request<()>, is_protected: bool) {
    let (head, body) = server.handle(request).into_parts();
    let body = ready(body.collect()).expect("infallible").to_bytes();
    let header = |name| {
        let value = head.headers.get(name);
        value.map(|value: &HeaderValue| value.to_str().expect("printable"))
    };
    let (status, path) = (head.status.as_u16(), request.uri().path());

    if request.method() == Method::OPTIONS {
        assert!(status == 204 && body.is_empty() && header(ALLOW).is_some(), "{status}");
        return;
    }
    assert!([200, 400, 401, 404, 405].contains(&status), "{status}");
    assert!(status != 400 || path == "/parsec/series" && request.uri().query().is_some());
    let is_probe = ["/healthz", "/readyz"].contains(&path);
    let is_rejected = is_protected && !is_probe && !has_token(request);
    assert_eq!(status == 401, is_rejected);
    assert_eq!(status == 401, header(WWW_AUTHENTICATE).is_some());
    assert_eq!(status == 405, header(ALLOW).is_some());
    assert_eq!(header(CACHE_CONTROL), Some("no-store"));
    assert_eq!(header(X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
    if request.method() == Method::HEAD && status == 200 {
        assert!(body.is_empty());
        return;
    }
    if let Some(length) = header(CONTENT_LENGTH) {
        assert_eq!(length, body.len().to_string());
    }
    let page = match header(CONTENT_ENCODING) {
        None => body.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            gunzip(&body)
        }
    };
    if status != 200 {
        assert!(page.ends_with(b"\n") && !page.contains(&0));
        return;
    }
    match (path, header(CONTENT_TYPE).expect("a content type")) {
        ("/parsec/metrics", "application/json") => {
            assert!(matches!(Json::read(&page), Ok(Json::Object(_))));
        }
        ("/parsec/series", "application/json") => {
            serde_json::from_slice::<Series>(&page).expect("series");
        }
        ("/parsec/telemetry/metrics" | "/metrics", kind) => {
            let page = str::from_utf8(&page).expect("UTF-8");
            if kind.starts_with("application/openmetrics-text; version=1.0.0") {
                parse_openmetrics(page).expect("OpenMetrics");
            } else {
                assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
                parse_prometheus(page).expect("the text format");
            }
        }
        ("/", "text/html; charset=utf-8") | ("/healthz" | "/readyz", "text/plain; charset=utf-8") => {}
        (path, kind) => panic!("unexpected type of {path}: {kind}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = request(bytes) {
        let [open, protected] = &*SERVERS;
        check(open, &request, false);
        check(protected, &request, true);
    }
});
