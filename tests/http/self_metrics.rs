//! The server's metrics about itself and its process, on the text page.

// Counts are whole numbers.
#![allow(clippy::float_cmp)]

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use parsec_telemetry::{Aggregator, EnvelopeCounters, Server};

use crate::support::page::{JSON, TEXT, call, get, get_with, text, uncached};
use crate::support::server::RunningServer;

const SCRAPES: &str = "parsec_telemetry_scrapes_total";
const CLOSED: &str = "parsec_telemetry_connections_closed_total";

/// JSON, Prometheus and OpenMetrics.
const FORMATS: usize = 3;
/// 200, 400, 401, 405, 421, 500 and 503.
const CODES: usize = 7;
const CLOSE_REASONS: usize = 4;

#[test]
fn scrapes_are_counted_by_format_and_code() {
    let server = uncached(Aggregator::new());
    for _ in 0..3 {
        call(&server, Method::GET, JSON);
    }
    call(&server, Method::POST, JSON);
    call(&server, Method::HEAD, TEXT);
    call(&server, Method::GET, "/no/such/page");
    let samples = samples(&server);
    let scrapes = |format, code| samples[&format!("{SCRAPES}{{format=\"{format}\",code=\"{code}\"}}")];
    assert_eq!(scrapes("json", 200), 3.0);
    assert_eq!(scrapes("json", 405), 1.0);
    // A page is counted once it has been rendered, so this is the HEAD request.
    assert_eq!(scrapes("prometheus", 200), 1.0);
}

#[test]
fn closed_label_sets_are_complete_from_the_start() {
    let server = RunningServer::serve(Aggregator::new());
    let page = String::from_utf8(server.connect().get(TEXT).body).expect("UTF-8");
    let series = |family| page.lines().filter(|line| line.starts_with(family)).count();
    assert_eq!(series(SCRAPES), FORMATS * CODES);
    assert_eq!(series(CLOSED), CLOSE_REASONS);
}

#[test]
fn server_without_a_listener_has_no_connection_metrics() {
    for name in samples(&uncached(Aggregator::new())).keys() {
        assert!(!name.contains("connections_") && !name.contains("accept_errors"), "{name}");
    }
}

#[test]
fn build_info_has_the_version() {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("parsec_telemetry_build_info{{version=\"{version}\"}}");
    assert_eq!(samples(&uncached(Aggregator::new()))[&name], 1.0);
}

#[cfg(target_os = "linux")]
#[test]
fn process_metrics_are_plausible() {
    let samples = samples(&uncached(Aggregator::new()));
    for (name, least, most) in [
        ("process_cpu_seconds_total", 0.0, 1e5),
        ("process_resident_memory_bytes", 1e5, 1e11),
        ("process_virtual_memory_bytes", 1e5, 1e15),
        ("process_open_fds", 3.0, 1e4),
        ("process_max_fds", 16.0, 1e10),
    ] {
        let value = samples[name];
        assert!((least..most).contains(&value), "{name} {value}");
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
    let age = now - samples["process_start_time_seconds"];
    assert!((-2.0..600.0).contains(&age), "{age} s old");
}

/// The bound that the documentation gives for the page: the maximum number of aspects with the longest names, without
/// patterns and rules.
#[test]
fn page_with_the_most_and_longest_aspects_is_within_the_documented_size() {
    let envelopes = EnvelopeCounters::new();
    for number in 0..200 {
        envelopes.observe(&format!("{number:\"<128}"));
    }
    envelopes.observe("");
    let server = uncached(Aggregator::new().source(envelopes));
    let samples = samples(&server).len();
    let bytes = text(&server.handle(&get(TEXT))).len();
    assert!(samples <= 179 && bytes <= 48 * 1024, "{samples} samples, {bytes} bytes");
}

#[test]
fn unauthorized_scrape_is_counted() {
    let server = Server::builder(Aggregator::new()).bearer_token("token").expect("a valid token").build();
    assert_eq!(call(&server, Method::GET, JSON).status(), StatusCode::UNAUTHORIZED);
    let authorization = (http::header::AUTHORIZATION, "Bearer token");
    let page = server.handle(&get_with(TEXT, &[authorization]));
    let sample = format!("\n{SCRAPES}{{format=\"json\",code=\"401\"}} 1\n");
    assert!(text(&page).contains(&sample));
}

/// The samples of the text page, by name and labels.
pub(crate) fn samples(server: &Server) -> BTreeMap<String, f64> {
    let page = text(&server.handle(&get(TEXT)));
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}
