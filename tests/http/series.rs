//! `/parsec/series`, and the monitor that the server starts.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};
use parsec_telemetry::{Aggregator, EnvelopeCounters, ManualClock, Monitor, Series, Server, Tier};

use crate::support::page::{INDEX, Page, SERIES, TEXT, answer, body, call, get_with, text};
use crate::support::poll::poll;
use crate::support::sources::{CountsCalls, frozen_aggregator};

const RATE: &str = "envelopes.rate_per_second";

#[test]
fn series_without_a_query_are_those_of_the_monitor() {
    let (clock, server, monitor) = server();
    sample(&clock, &monitor, 700);
    let page = call(&server, Method::GET, SERIES);
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(page.headers()[VARY], "Accept-Encoding");
    let text = text(&page);
    assert!(text.starts_with("{\"at\":\"") && text.ends_with("}\n"), "{text}");
    let read = series(&page);
    assert_eq!(read, monitor.series());
    let counts: Vec<_> = read.tiers.iter().map(|tier| (tier.tier, tier.n)).collect();
    assert_eq!(counts, [(Tier::Minute, 60), (Tier::Hour, 70), (Tier::Day, 2)]);
    assert_eq!(read.tiers[0].series[RATE].avg.len(), 60);
}

#[test]
fn tier_and_since_select_the_points() {
    let (clock, server, monitor) = server();
    sample(&clock, &monitor, 100);
    for tier in Tier::ALL {
        let read = read(&server, &format!("?tier={}", tier.as_str()));
        assert_eq!(read, monitor.series_since(Some(tier), None));
    }
    let end = read(&server, "?tier=minute").tiers[0].end.expect("a complete bucket");
    sample(&clock, &monitor, 3);
    for query in [format!("?tier=minute&since={end}"), format!("?since={end}&tier=minute")] {
        let tier = &read(&server, &query).tiers[0];
        assert_eq!((tier.n, tier.end), (3, Some(end + 3)), "{query}");
    }
    for since in [end + 3, end + 4, u64::MAX] {
        assert_eq!(read(&server, &format!("?tier=minute&since={since}")).tiers[0].n, 0, "{since}");
    }
    assert_eq!(read(&server, "?tier=minute&since=0").tiers[0].n, 60);
    assert_eq!(read(&server, "?"), read(&server, ""));
}

#[test]
fn series_before_the_first_sample_have_no_points() {
    let (_, server, _) = server();
    for query in ["", "?tier=hour", "?since=5"] {
        assert!(read(&server, query).tiers.iter().all(|tier| tier.n == 0 && tier.end.is_none()), "{query}");
    }
}

#[test]
fn invalid_parameter_is_answered_with_400_that_lists_the_valid_ones() {
    let (_, server, _) = server();
    for (query, expected) in [
        ("tier=week", "tier=week: use minute, hour or day\n"),
        ("since=abc", "since=abc: use whole seconds since the Unix epoch, such as \"end\" of an earlier response\n"),
        ("span=day", "unknown parameter span: use tier and since\n"),
        ("since=1&since=2", "since=2 is the second since: use tier and since at most once\n"),
    ] {
        let page = call(&server, Method::GET, &format!("{SERIES}?{query}"));
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(page.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(text(&page), expected);
        let page = call(&server, Method::POST, &format!("{SERIES}?{query}"));
        assert_eq!(page.status(), StatusCode::METHOD_NOT_ALLOWED, "{query}");
        assert_eq!(page.headers()[ALLOW], "GET, HEAD, OPTIONS");
    }
}

#[test]
fn series_of_1024_bytes_are_compressed_for_a_client_that_accepts_gzip() {
    let (clock, server, monitor) = server();
    sample(&clock, &monitor, 1000);
    for (query, is_compressed) in [("", true), ("?tier=minute&since=18446744073709551615", false)] {
        let plain = call(&server, Method::GET, &format!("{SERIES}{query}"));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(body(&plain).len() >= 1024, is_compressed, "{query}");
        let request = get_with(&format!("{SERIES}{query}"), &[(ACCEPT_ENCODING, "gzip")]);
        let page = answer(server.respond(&request));
        assert_eq!(page.headers()[VARY], "Accept-Encoding");
        assert_eq!(page.headers()[CONTENT_LENGTH], body(&page).len().to_string());
        assert_eq!(page.headers().contains_key(CONTENT_ENCODING), is_compressed, "{query}");
        let mut decoded = body(&page).to_vec();
        if is_compressed {
            decoded.clear();
            GzDecoder::new(&*body(&page)).read_to_end(&mut decoded).expect("gzip");
        }
        assert_eq!(decoded, body(&plain));
    }
}

#[test]
fn series_and_console_are_no_scrapes_and_call_no_source() {
    let source = CountsCalls::default();
    let aggregator = frozen_aggregator().source(source.clone());
    let server = Server::builder(aggregator).build();
    for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
        for path in [INDEX, SERIES, "/parsec/series?tier=week"] {
            let _ = call(&server, method.clone(), path);
        }
    }
    assert_eq!(source.calls(), 0);
    let page = text(&call(&server, Method::GET, TEXT));
    let scrapes = page.lines().filter(|line| line.starts_with("parsec_telemetry_scrapes_total{"));
    assert!(scrapes.clone().count() > 0, "{page}");
    for scrape in scrapes {
        assert!(scrape.ends_with(" 0"), "{scrape}");
    }
}

#[test]
fn server_takes_a_snapshot_every_second_without_requests() {
    let source = CountsCalls::default();
    let server = Server::builder(Aggregator::new().source(source.clone())).build();
    poll("three snapshots", || (source.calls() >= 3).then_some(()));
    let tiers = poll("two samples", || {
        let tiers = read(&server, "?tier=minute").tiers;
        tiers.first().is_some_and(|tier| tier.n >= 2).then_some(tiers)
    });
    assert!(tiers[0].series.contains_key("history.total_envelopes_buffered"), "{tiers:?}");
}

#[test]
fn monitor_ends_with_the_last_clone_of_the_server() {
    let aggregator = Aggregator::new().source(CountsCalls::default());
    let server = Server::builder(aggregator.clone()).build();
    let clone = server.clone();
    drop(server);
    poll("two samples for the clone", || {
        let tiers = read(&clone, "?tier=minute").tiers;
        tiers.first().is_some_and(|tier| tier.n >= 2).then_some(())
    });
    drop(clone);
    // The series of another monitor begin anew.
    let read = Monitor::start(&aggregator).series_since(Some(Tier::Minute), None);
    assert!(read.tiers.iter().all(|tier| tier.n <= 1), "{read:?}");
}

/// A server with a manual clock, and a handle to its monitor.
fn server() -> (ManualClock, Server, Monitor) {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    envelopes.observe("data");
    let aggregator = Aggregator::new().clock(clock.clock()).source(envelopes);
    let server = Server::builder(aggregator.clone()).build();
    (clock, server, Monitor::start(&aggregator))
}

fn sample(clock: &ManualClock, monitor: &Monitor, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        monitor.tick();
    }
}

fn read(server: &Server, query: &str) -> Series {
    series(&call(server, Method::GET, &format!("{SERIES}{query}")))
}

fn series(page: &Page) -> Series {
    serde_json::from_slice(&body(page)).unwrap_or_else(|error| panic!("{error}: {}", text(page)))
}
