//! Which format a scraper gets, and how it is packed.

// Without `serve` nobody asks.
#![cfg(feature = "serve")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use parsec_telemetry::{Aggregator, EnvelopeCounters, Format, Server, TokenCounters};

mod support;

const JSON: &str = "/parsec/metrics";
const TEXT: &str = "/parsec/telemetry/metrics";

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What they send, by their sources.
const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_2_54: &str = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROMETHEUS_3_UNDERSCORES: &str = "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROTOBUF_FIRST: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

#[test]
fn each_prometheus_gets_what_it_prefers() {
    for (version, accept, content_type) in [
        ("2.42", PROMETHEUS_2_42, OPENMETRICS.to_owned()),
        ("2.54", PROMETHEUS_2_54, OPENMETRICS.to_owned()),
        (
            "3",
            PROMETHEUS_3,
            format!("{OPENMETRICS}; escaping=allow-utf-8"),
        ),
        (
            "3, legacy names",
            PROMETHEUS_3_UNDERSCORES,
            format!("{OPENMETRICS}; escaping=underscores"),
        ),
        ("with protobuf first", PROTOBUF_FIRST, PROMETHEUS.to_owned()),
    ] {
        let request = Request::get(TEXT)
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "gzip")
            .header("User-Agent", format!("Prometheus/{version}"))
            .header("X-Prometheus-Scrape-Timeout-Seconds", "10");
        let page = server().handle(&request.body(()).expect("a request"));
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type, "{version}");
        assert_eq!(page.headers()[CONTENT_ENCODING], "gzip", "{version}");
        assert_eq!(page.headers()[VARY], "Accept, Accept-Encoding", "{version}");
        let is_openmetrics = content_type.starts_with("application/");
        assert_eq!(
            unpacked(&page).ends_with("\n# EOF\n"),
            is_openmetrics,
            "{version}"
        );
    }
}

#[test]
fn accept_is_read_by_its_qualities_and_whatever_it_says_there_is_a_page() {
    let om = OPENMETRICS;
    let ranges = "a/b;q=0.5,".repeat(1000);
    let long = "x".repeat(65536);
    for (accept, content_type) in [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/*", PROMETHEUS),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            PROMETHEUS,
        ),
        ("application/*", om),
        ("application/openmetrics-text", om),
        ("Application/OpenMetrics-Text ; Version = \"1.0.0\"", om),
        (
            "application/openmetrics-text;version=1.0.0;escaping=dots",
            om,
        ),
        ("application/openmetrics-text, */*", om),
        ("application/openmetrics-text;q=0.5, text/plain", PROMETHEUS),
        ("application/openmetrics-text;q=0, */*", PROMETHEUS),
        ("text/plain;q=0, */*;q=0.1", om),
        ("application/openmetrics-text, text/plain", PROMETHEUS),
        ("application/openmetrics-text;version=2.0.0", PROMETHEUS),
        ("application/openmetrics-text;version=0.0.1", PROMETHEUS),
        ("application/openmetrics-text;q=NaN", PROMETHEUS),
        ("application/openmetrics-text;q=1.5", PROMETHEUS),
        ("application/openmetrics-text;q=", PROMETHEUS),
        ("*/*;q=0", PROMETHEUS),
        ("image/png", PROMETHEUS),
        (";;;,,,/,=,q=1", PROMETHEUS),
        ("text", PROMETHEUS),
        (&format!("{ranges}application/openmetrics-text"), om),
        (&ranges, PROMETHEUS),
        (&long, PROMETHEUS),
    ] {
        let page = ask(TEXT, &[(ACCEPT, accept)]);
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type, "{accept:.100}");
    }
    let mut request = Request::get(TEXT).body(()).expect("a request");
    let bytes = HeaderValue::from_bytes(b"application/openmetrics-text\xff").expect("bytes");
    request.headers_mut().insert(ACCEPT, bytes);
    assert_eq!(
        server().handle(&request).headers()[CONTENT_TYPE],
        PROMETHEUS
    );
    // Several headers are one list.
    let page = ask(
        TEXT,
        &[
            (ACCEPT, "text/plain;q=0.5"),
            (ACCEPT, "application/openmetrics-text"),
        ],
    );
    assert_eq!(page.headers()[CONTENT_TYPE], OPENMETRICS);
}

#[test]
fn json_is_json_whatever_is_accepted() {
    for accept in ["", "text/plain", PROMETHEUS_3, "image/png"] {
        let page = ask(JSON, &[(ACCEPT, accept)]);
        assert_eq!(page.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(page.headers()[VARY], "Accept-Encoding");
    }
}

#[test]
fn gzip_is_for_who_asks_and_a_page_that_is_worth_it() {
    for (encoding, is_packed) in [
        ("gzip", true),
        ("gzip, deflate, br", true),
        ("x-gzip", true),
        ("GZIP;q=0.1", true),
        ("*", true),
        ("identity", false),
        ("", false),
        ("gzip;q=0", false),
        ("gzip;q=0, *", false),
        ("gzip, identity", true),
        ("gzip;q=0.8, identity;q=0.5", true),
        ("gzip;q=0.1, identity", false),
        ("gzip;q=NaN", false),
        ("br", false),
    ] {
        let server = server();
        let plain = body(&ask_of(&server, TEXT, &[]));
        let page = ask_of(&server, TEXT, &[(ACCEPT_ENCODING, encoding)]);
        assert_eq!(
            page.headers().contains_key(CONTENT_ENCODING),
            is_packed,
            "{encoding}"
        );
        let sent = body(&page);
        assert_eq!(page.headers()[CONTENT_LENGTH], sent.len().to_string());
        if is_packed {
            assert!(
                sent.len() * 3 < plain.len(),
                "{} of {}",
                sent.len(),
                plain.len()
            );
            assert_eq!(unpacked(&page).as_bytes(), plain);
        } else {
            assert_eq!(sent, plain);
        }
    }
    // The JSON page of nothing fits into a packet as it is.
    let page = ask_of(
        &Server::builder(Aggregator::new()).build(),
        JSON,
        &[(ACCEPT_ENCODING, "gzip")],
    );
    assert!(!page.headers().contains_key(CONTENT_ENCODING));
}

#[test]
fn every_format_of_a_snapshot_has_the_same_numbers() {
    let server = server();
    let text = String::from_utf8(body(&ask_of(&server, TEXT, &[])).into()).expect("UTF-8");
    let om = ask_of(&server, TEXT, &[(ACCEPT, PROMETHEUS_3)]);
    let om = String::from_utf8(body(&om).into()).expect("UTF-8");
    let samples = |page: &str| -> Vec<String> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        // What the server says of itself may have moved.
        let own = |line: &&str| !line.contains("_scrapes_total") && !line.starts_with("process_");
        lines.filter(own).map(str::to_owned).collect()
    };
    assert_eq!(samples(&text), samples(&om));
    assert!(
        text.contains("# TYPE parsec_telemetry_envelopes_total counter\n"),
        "{text}"
    );
    assert!(
        om.contains("# TYPE parsec_telemetry_envelopes counter\n"),
        "{om}"
    );
    assert!(
        om.contains("\nparsec_telemetry_envelopes_total{aspect=\"data\"} 3\n"),
        "{om}"
    );
    assert!(
        om.contains("# TYPE parsec_telemetry_envelopes_by_aspect gauge\n"),
        "{om}"
    );
    assert_eq!(om.matches("# EOF").count(), 1);
}

#[test]
fn head_has_the_headers_and_no_body() {
    for (path, accept, content_type) in [
        (TEXT, PROMETHEUS_2_42, OPENMETRICS),
        (TEXT, "", PROMETHEUS),
        (JSON, "", "application/json"),
    ] {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(path)
            .header(ACCEPT, accept);
        let page = server().handle(&request.body(()).expect("a request"));
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(page.headers().contains_key(VARY));
        assert!(body(&page).is_empty());
    }
}

#[test]
fn a_mounted_handler_negotiates_too() {
    let aggregator = Aggregator::new().source(TokenCounters::new());
    let request = Request::get("/")
        .header(ACCEPT, PROMETHEUS_3)
        .body(())
        .expect("a request");
    let answer = hyper::service::Service::call(&aggregator.prometheus_handler(), request);
    let Ok(page) = runtime().block_on(answer);
    let page = String::from_utf8(body(&page).into()).expect("UTF-8");
    // The renderer's page, without what a server says of itself.
    assert_eq!(
        page,
        String::from_utf8(aggregator.render(Format::OpenMetrics)).expect("UTF-8")
    );
}

/// promtool reads 0.0.4: what it has to say of the page is of the names.
#[test]
fn promtool_reads_the_text_page() {
    let Some(promtool) = support::program("promtool") else {
        return;
    };
    let page = body(&ask(TEXT, &[]));
    let mut tool = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = tool.stdin.take().expect("a pipe");
    input.write_all(&page).expect("taken");
    drop(input);
    let output = tool.wait_with_output().expect("an end");
    // 1 is for a page that cannot be read, 3 for names that it would have chosen otherwise.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
}

/// With what every page shows, and time enough for all that a test asks.
fn server() -> Server {
    let envelopes = EnvelopeCounters::new();
    for _ in 0..3 {
        envelopes.observe("data");
    }
    let aggregator = Aggregator::new()
        .source(envelopes)
        .source(TokenCounters::new());
    Server::builder(aggregator)
        .freshness(Duration::from_secs(60))
        .build()
}

fn ask(path: &str, headers: &[(http::HeaderName, &str)]) -> Response<Full<Bytes>> {
    ask_of(&server(), path, headers)
}

fn ask_of(
    server: &Server,
    path: &str,
    headers: &[(http::HeaderName, &str)],
) -> Response<Full<Bytes>> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    server.handle(&request.body(()).expect("a request"))
}

fn body(page: &Response<Full<Bytes>>) -> Bytes {
    let body = runtime().block_on(page.body().clone().collect());
    body.expect("a body").to_bytes()
}

fn unpacked(page: &Response<Full<Bytes>>) -> String {
    let mut text = String::new();
    let packed = body(page);
    let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
    decoder.read_to_string(&mut text).expect("gzip of UTF-8");
    text
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}
