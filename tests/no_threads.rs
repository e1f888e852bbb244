//! A process that can spawn no thread: the caller does the work, and every page comes whole.
//!
//! The test runs itself as a child whose address space is limited to what it has, so that there is no room for the
//! stack of a thread.

#![cfg(all(target_os = "linux", feature = "serve"))]

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, EnvelopeCounters, Polled, Server, Severity, Snapshot,
    TokenCounters,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CHILD: &str = "PARSEC_TEST_NO_THREADS";

#[test]
fn pages_are_whole_without_a_single_thread() {
    if env::var_os(CHILD).is_some() {
        return child();
    }
    let test = env::current_exe().expect("the path of this test");
    let child = Command::new(test)
        .args(["--exact", "pages_are_whole_without_a_single_thread", "--test-threads", "1", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the child runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

fn child() {
    let unlimited = getrlimit(Resource::As);
    limit_address_space(unlimited);
    assert!(thread::Builder::new().spawn(|| {}).is_err(), "there is room for a thread");

    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    let cache = || CacheSource::new(|| CacheCounters { hits: 9, misses: 1, size_entries: 5, ..Default::default() });
    let rule = AlertRule::new("published", Severity::Info, |s| !s.envelopes.by_aspect.is_empty());
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(cache())
        .named_source("polled", Polled::every(Duration::from_secs(5), cache()))
        .with_alerts(vec![rule])
        .expect("a valid rule");
    envelopes.observe("data");
    tokens.issued();
    let server = Server::builder(aggregator).max_snapshot_age(Duration::ZERO).build();
    for issued in 1..=3 {
        let page = page(&server);
        assert_eq!(page.envelopes.by_aspect["data"], 1);
        assert_eq!(page.tokens.issued_last_hour, issued);
        assert_eq!((page.cache.hit_rate_pct, page.cache.size_entries), (90.0, 10));
        assert!(page.sources.iter().all(|source| source.up && source.timeouts_total == 0), "{:?}", page.sources);
        assert_eq!(page.alerts[0].name, "published");
        tokens.issued();
    }

    // Once there is room, threads do the work again.
    setrlimit(Resource::As, unlimited).expect("the soft limit can be raised");
    assert_eq!(page(&server).tokens.issued_last_hour, 4);
}

/// Leaves less than the stack of a thread, 2 MiB.
fn limit_address_space(unlimited: Rlimit) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a line VmSize");
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().expect("a number");
    let current = Some((kib + 1536) * 1024);
    setrlimit(Resource::As, Rlimit { current, ..unlimited }).expect("the soft limit can be lowered");
}

fn page(server: &Server) -> Snapshot {
    let request = Request::get("/parsec/metrics").body(()).expect("a valid request");
    let response = server.handle(&request);
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect();
    let body = tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(body);
    serde_json::from_slice(&body.expect("a body").to_bytes()).expect("a snapshot")
}
