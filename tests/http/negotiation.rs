//! The format and the content coding of the text page.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use parsec_telemetry::{Aggregator, EnvelopeCounters, Format, Server, TokenCounters};

use crate::NEVER;
use crate::support::page::{JSON, Page, TEXT, answer, body, get, get_with, text};
use crate::support::program::find_program;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

// The `Accept` headers that each version of Prometheus sends.
const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_2_54: &str = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROMETHEUS_3_UNDERSCORES: &str = "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const PROTOBUF_FIRST: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

#[test]
fn each_prometheus_version_gets_its_preferred_format() {
    for (version, accept, content_type) in [
        ("2.42", PROMETHEUS_2_42, OPENMETRICS.to_owned()),
        ("2.54", PROMETHEUS_2_54, OPENMETRICS.to_owned()),
        ("3", PROMETHEUS_3, format!("{OPENMETRICS}; escaping=allow-utf-8")),
        ("3, legacy names", PROMETHEUS_3_UNDERSCORES, format!("{OPENMETRICS}; escaping=underscores")),
        ("with protobuf first", PROTOBUF_FIRST, PROMETHEUS.to_owned()),
    ] {
        let request = Request::get(TEXT)
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "gzip")
            .header("User-Agent", format!("Prometheus/{version}"))
            .header("X-Prometheus-Scrape-Timeout-Seconds", "10");
        let page = server().handle(&request.body(()).expect("a valid request"));
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type, "{version}");
        assert_eq!(page.headers()[CONTENT_ENCODING], "gzip", "{version}");
        assert_eq!(page.headers()[VARY], "Accept, Accept-Encoding", "{version}");
        let is_openmetrics = content_type.starts_with("application/");
        assert_eq!(decompressed(&page).ends_with("\n# EOF\n"), is_openmetrics, "{version}");
    }
}

#[test]
fn accept_header_selects_by_quality_and_falls_back_to_prometheus_text() {
    let om = OPENMETRICS;
    let ranges = "a/b;q=0.5,".repeat(1000);
    let long = "x".repeat(65536);
    for (accept, content_type) in [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/*", PROMETHEUS),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PROMETHEUS),
        ("application/*", om),
        ("application/openmetrics-text", om),
        ("Application/OpenMetrics-Text ; Version = \"1.0.0\"", om),
        ("application/openmetrics-text;version=1.0.0;escaping=dots", om),
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
        let page = page(&server(), TEXT, &[(ACCEPT, accept)]);
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type, "{accept:.100}");
    }
    let mut request = Request::get(TEXT).body(()).expect("a valid request");
    let bytes = HeaderValue::from_bytes(b"application/openmetrics-text\xff").expect("bytes");
    request.headers_mut().insert(ACCEPT, bytes);
    assert_eq!(server().handle(&request).headers()[CONTENT_TYPE], PROMETHEUS);
    // Several headers form one list.
    let page = page(&server(), TEXT, &[(ACCEPT, "text/plain;q=0.5"), (ACCEPT, "application/openmetrics-text")]);
    assert_eq!(page.headers()[CONTENT_TYPE], OPENMETRICS);
}

#[test]
fn json_page_ignores_accept() {
    for accept in ["", "text/plain", PROMETHEUS_3, "image/png"] {
        let page = page(&server(), JSON, &[(ACCEPT, accept)]);
        assert_eq!(page.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(page.headers()[VARY], "Accept-Encoding");
    }
}

#[test]
fn gzip_is_used_if_accepted_and_the_page_is_not_small() {
    for (encoding, is_gzip) in [
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
        let plain = body(&page(&server, TEXT, &[]));
        let page = page(&server, TEXT, &[(ACCEPT_ENCODING, encoding)]);
        assert_eq!(page.headers().contains_key(CONTENT_ENCODING), is_gzip, "{encoding}");
        let sent = body(&page);
        assert_eq!(page.headers()[CONTENT_LENGTH], sent.len().to_string());
        if is_gzip {
            assert!(sent.len() * 3 < plain.len(), "{} of {}", sent.len(), plain.len());
            assert_eq!(decompressed(&page).as_bytes(), plain);
        } else {
            assert_eq!(sent, plain);
        }
    }
    // The JSON page of an empty aggregator fits into one packet.
    let page = page(&Server::builder(Aggregator::new()).build(), JSON, &[(ACCEPT_ENCODING, "gzip")]);
    assert!(!page.headers().contains_key(CONTENT_ENCODING));
}

#[test]
fn every_format_shows_the_same_samples() {
    let server = server();
    let prometheus = text(&server.handle(&get(TEXT)));
    let openmetrics = text(&page(&server, TEXT, &[(ACCEPT, PROMETHEUS_3)]));
    let samples = |page: &str| -> Vec<String> {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        // These change from one page to the next.
        let is_stable = |line: &&str| !line.contains("_scrapes_total") && !line.starts_with("process_");
        lines.filter(is_stable).map(str::to_owned).collect()
    };
    assert_eq!(samples(&prometheus), samples(&openmetrics));
    for (page, line) in [
        (&prometheus, "# TYPE parsec_telemetry_envelopes_total counter"),
        (&openmetrics, "# TYPE parsec_telemetry_envelopes counter"),
        (&openmetrics, "parsec_telemetry_envelopes_total{aspect=\"data\"} 3"),
        (&openmetrics, "# TYPE parsec_telemetry_envelopes_by_aspect gauge"),
    ] {
        assert!(page.lines().any(|on_page| on_page == line), "{line}");
    }
    assert_eq!(openmetrics.matches("# EOF").count(), 1);
}

#[test]
fn head_has_the_negotiated_headers_and_no_body() {
    for (path, accept, content_type) in
        [(TEXT, PROMETHEUS_2_42, OPENMETRICS), (TEXT, "", PROMETHEUS), (JSON, "", "application/json")]
    {
        let request = Request::builder().method(Method::HEAD).uri(path).header(ACCEPT, accept);
        let page = server().handle(&request.body(()).expect("a valid request"));
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], content_type);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(page.headers().contains_key(VARY));
        assert!(body(&page).is_empty());
    }
}

#[test]
fn mounted_handler_negotiates_the_format() {
    let aggregator = Aggregator::new().source(TokenCounters::new());
    let request = Request::get("/").header(ACCEPT, PROMETHEUS_3).body(()).expect("a valid request");
    let response = hyper::service::Service::call(&aggregator.prometheus_handler(), request);
    let Ok(page) = answer(response);
    // A handler does not add the metrics of a server.
    let rendered = aggregator.render(Format::OpenMetrics);
    assert_eq!(text(&page), String::from_utf8(rendered).expect("UTF-8"));
}

#[test]
fn promtool_accepts_the_text_page() {
    let Some(promtool) = find_program("promtool") else {
        return;
    };
    let page = body(&page(&server(), TEXT, &[]));
    let mut tool = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = tool.stdin.take().expect("a pipe");
    input.write_all(&page).expect("promtool reads");
    drop(input);
    let output = tool.wait_with_output().expect("promtool ends");
    // 1 is a page that cannot be parsed, 3 a name that breaks a naming convention.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
}

fn server() -> Server {
    let envelopes = EnvelopeCounters::new();
    for _ in 0..3 {
        envelopes.observe("data");
    }
    let aggregator = Aggregator::new().source(envelopes).source(TokenCounters::new());
    Server::builder(aggregator).max_snapshot_age(NEVER).build()
}

fn page(server: &Server, path: &str, headers: &[(HeaderName, &str)]) -> Page {
    answer(server.respond(&get_with(path, headers)))
}

fn decompressed(page: &Page) -> String {
    let compressed = body(page);
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&compressed[..]);
    decoder.read_to_string(&mut text).expect("gzip of UTF-8");
    text
}
