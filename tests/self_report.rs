//! What the server says of itself on the text page.

// Without `serve` there is no server.
#![cfg(feature = "serve")]
// Counts are whole numbers, and come back as they were.
#![allow(clippy::float_cmp)]

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parsec_telemetry::{
    Aggregator, AlertRule, EnvelopeCounters, PresenceStats, Server, Severity, Source,
};

const JSON: &str = "/parsec/metrics";
const TEXT: &str = "/parsec/telemetry/metrics";

#[test]
fn scrapes_are_counted_by_format_and_code() {
    let server = server(Aggregator::new());
    for _ in 0..3 {
        status(&server, Method::GET, JSON);
    }
    status(&server, Method::POST, JSON);
    status(&server, Method::HEAD, TEXT);
    status(&server, Method::GET, "/no/such/page");
    let samples = samples(&server);
    let scrapes = |format, code| {
        samples[&format!("parsec_telemetry_scrapes_total{{format=\"{format}\",code=\"{code}\"}}")]
    };
    assert_eq!(scrapes("json", 200), 3.0);
    assert_eq!(scrapes("json", 405), 1.0);
    // The HEAD, and the page itself.
    assert_eq!(scrapes("prometheus", 200), 2.0);
    let named = |part: &str| samples.keys().filter(|name| name.starts_with(part)).count();
    assert_eq!(named("parsec_telemetry_scrapes_total"), FORMATS * 5);
    assert_eq!(named("parsec_telemetry_connections_refused_total"), 5);
}

const FORMATS: usize = 3;

#[test]
fn faults_are_counted() {
    struct Broken;
    impl Source for Broken {
        fn presence(&self) -> Option<PresenceStats> {
            panic!("on purpose")
        }
    }
    let rule = AlertRule::new("broken", Severity::Info, |_| panic!("on purpose"));
    let aggregator = Aggregator::new().source(Broken).with_alerts(vec![rule]);
    let samples = samples(&server(aggregator.expect("a good rule")));
    assert_eq!(samples["parsec_telemetry_source_panics_total"], 1.0);
    assert_eq!(samples["parsec_telemetry_rule_panics_total"], 1.0);
    assert_eq!(samples["parsec_telemetry_source_timeouts_total"], 0.0);
    assert_eq!(
        samples["parsec_telemetry_snapshot_duration_seconds_count"],
        1.0
    );
}

#[test]
fn the_build_is_named() {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("parsec_telemetry_build_info{{version=\"{version}\"}}");
    assert_eq!(samples(&server(Aggregator::new()))[&name], 1.0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_described() {
    let samples = samples(&server(Aggregator::new()));
    for (name, least, most) in [
        ("process_cpu_seconds_total", 0.0, 1e5),
        ("process_resident_memory_bytes", 1e5, 1e11),
        ("process_virtual_memory_bytes", 1e5, 1e15),
        ("process_open_fds", 3.0, 1e4),
        ("process_max_fds", 16.0, 1e10),
    ] {
        assert!(
            (least..most).contains(&samples[name]),
            "{name} {}",
            samples[name]
        );
    }
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64();
    let age = now - samples["process_start_time_seconds"];
    assert!((-2.0..600.0).contains(&age), "{age} s old");
}

/// The README says how large the page gets: with as many aspects as there may be, of names as long as
/// they may be, and no patterns and rules, whose number is the embedder's.
#[test]
fn the_page_is_no_larger_than_the_readme_says() {
    let envelopes = EnvelopeCounters::new();
    for number in 0..200 {
        envelopes.observe(&format!("{number:\"<128}"));
    }
    envelopes.observe("");
    let server = server(Aggregator::new().source(envelopes));
    let (samples, bytes) = (samples(&server).len(), page(&server).len());
    assert!(
        samples <= 178 && bytes <= 48 * 1024,
        "{samples} samples, {bytes} bytes"
    );
}

fn server(aggregator: Aggregator) -> Server {
    Server::builder(aggregator)
        .freshness(Duration::ZERO)
        .build()
}

fn status(server: &Server, method: Method, path: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path).body(());
    server.handle(&request.expect("a request")).status()
}

fn page(server: &Server) -> String {
    let request = Request::get(TEXT).body(()).expect("a request");
    let body = server.handle(&request).into_body();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let body = runtime.expect("a runtime").block_on(body.collect());
    String::from_utf8(body.expect("a body").to_bytes().into()).expect("UTF-8")
}

/// The samples of the text page, by name and labels.
fn samples(server: &Server) -> BTreeMap<String, f64> {
    let page = page(server);
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}
