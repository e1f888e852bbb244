//! Law: whatever is asked for, by any method, at any path and under any headers, the server and both handlers answer
//! 200, 404 or 405, with headers that are true of what comes with them; a page that is got is one, and is the same
//! wherever it is mounted; and a refusal or an error shows no more of the request than it safely can.
//!
//! An input is read as a request is written: a line of method, target and version, then a line for each header, then an
//! empty line and a body.

#![no_main]

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fuzzing::json::Json;
use fuzzing::text;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::body::{Body as _, Bytes};
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{
    Aggregator, AlertRule, ChannelEntry, ChannelLister, ChannelSource, EnvelopeCounters, Format,
    Handler, ManualClock, Server, Severity,
};

const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";

struct Pages {
    server: Server,
    json: Handler,
    prometheus: Handler,
    /// Both pages as they are.
    bytes: [Vec<u8>; 2],
}

/// The same for every input: a page is of its moment, and the clock stands still.
static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    for aspect in ["data", "", "two\nlines", "\"} 1\nforged_total 1\n#"] {
        envelopes.observe(aspect);
    }
    clock.advance(Duration::from_millis(2500));
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(envelopes)
        .source(ChannelSource::new(Rooms))
        .with_alerts(vec![
            AlertRule::new("always", Severity::Critical, |_| true).description("It \"fires\"."),
            AlertRule::new("never", Severity::Info, |_| false),
        ])
        .expect("rules with names of their own");
    let bytes = [Format::Json, Format::Prometheus].map(|format| aggregator.render(format));
    assert!(matches!(Json::read(&bytes[0]), Ok(Json::Object(_))));
    text::read(&bytes[1]).expect("a page");
    text::read_by_others(&bytes[1])
        .expect("no carriage return")
        .expect("a page to others");
    Pages {
        json: aggregator.handler(),
        prometheus: aggregator.prometheus_handler(),
        server: Server::builder(aggregator).build(),
        bytes,
    }
});

struct Rooms;

impl ChannelLister for Rooms {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for pattern in ["public:*", "", "a \"b\"\\\n"] {
            visit(ChannelEntry {
                name: "secret",
                pattern,
            });
        }
    }
}

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
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

/// A response in pieces that can be compared.
#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl From<Response<Full<Bytes>>> for Reply {
    fn from(response: Response<Full<Bytes>>) -> Self {
        let (parts, body) = response.into_parts();
        let announced = body.size_hint().exact();
        let Ok(body) = at_once(body.collect());
        let body = body.to_bytes();
        assert_eq!(announced, Some(body.len() as u64));
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }
}

impl Reply {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("readable");
        assert_eq!(values.next(), None, "{name} is there once");
        Some(value)
    }

    fn check(&self, method: &Method) {
        assert!(
            [200, 404, 405].contains(&self.status),
            "status {}",
            self.status
        );
        assert_eq!(self.header(&CACHE_CONTROL), Some("no-store"));
        assert_eq!(self.header(&X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(
            self.header(&ALLOW),
            (self.status == 405).then_some("GET, HEAD")
        );
        let content_type = self.header(&CONTENT_TYPE).expect("a content type");
        if self.status != 200 {
            assert_eq!(content_type, "text/plain; charset=utf-8");
        }
        if let Some(length) = self.header(&CONTENT_LENGTH) {
            assert_eq!(length, self.body.len().to_string());
        }
        match (self.status, method) {
            (200, &Method::HEAD) => assert_eq!(self.body, ""),
            (200, &Method::GET) => self.check_page(content_type),
            (200, _) => panic!("{method} has an answer"),
            (405, _) => {
                assert!(
                    ![Method::GET, Method::HEAD].contains(method),
                    "{method} is not allowed"
                );
                self.check_error();
            }
            _ => self.check_error(),
        }
    }

    fn check_page(&self, content_type: &str) {
        assert!(
            self.header(&CONTENT_LENGTH).is_some(),
            "the length of a page is said"
        );
        let [json, text] = &PAGES.bytes;
        match content_type {
            "application/json" => assert_eq!(self.body, json),
            "text/plain; version=0.0.4; charset=utf-8" => assert_eq!(self.body, text),
            "text/html; charset=utf-8" => assert!(self.body.starts_with(b"<!doctype html>\n")),
            "text/plain; charset=utf-8" => assert_eq!(self.body, "ok\n"),
            other => panic!("a page of {other}"),
        }
    }

    /// An error is short, and all of it can be seen.
    fn check_error(&self) {
        let text = str::from_utf8(&self.body).expect("text");
        assert!(text.len() < 2048 && text.ends_with('\n'), "{text:?}");
        let is_seen = |c: char| c.escape_debug().eq([c]) || "\n\\\"'".contains(c);
        assert!(text.chars().all(is_seen), "{text:?}");
    }
}

/// Whatever the path, the answer of a handler: as hyper's service, and as tower's.
fn ask(handler: &Handler, request: &Request<()>) -> Reply {
    let Ok(response) = at_once(hyper::service::Service::call(handler, request.clone()));
    let reply = Reply::from(response);
    let mut handler = handler.clone();
    let ready = tower_service::Service::<Request<()>>::poll_ready(
        &mut handler,
        &mut Context::from_waker(Waker::noop()),
    );
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    let Ok(response) = at_once(tower_service::Service::call(&mut handler, request.clone()));
    assert_eq!(Reply::from(response), reply);
    reply
}

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else {
        return;
    };
    let pages = &*PAGES;
    let (method, path) = (request.method(), request.uri().path());

    let reply = Reply::from(pages.server.handle(&request));
    reply.check(method);
    let is_page = ["/", JSON, PROMETHEUS, "/healthz"].contains(&path);
    assert_eq!(reply.status == 404, !is_page, "{path}");

    for (handler, mount) in [(&pages.json, JSON), (&pages.prometheus, PROMETHEUS)] {
        let mounted = ask(handler, &request);
        mounted.check(method);
        assert_ne!(mounted.status, 404);
        if path == mount {
            assert_eq!(mounted, reply);
        }
    }
});
