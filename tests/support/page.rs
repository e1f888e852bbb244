//! Requests and responses as values, without a socket.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use parsec_telemetry::{Aggregator, Server, Snapshot};

use super::poll::DEADLINE;

pub(crate) const INDEX: &str = "/";
pub(crate) const JSON: &str = "/parsec/metrics";
pub(crate) const TEXT: &str = "/parsec/telemetry/metrics";
pub(crate) const HEALTH: &str = "/healthz";
pub(crate) const READY: &str = "/readyz";
pub(crate) const METRICS: &str = "/metrics";
pub(crate) const SERIES: &str = "/parsec/series";
pub(crate) const PATHS: [&str; 7] = [INDEX, JSON, TEXT, METRICS, SERIES, HEALTH, READY];

pub(crate) type Page = Response<Full<Bytes>>;

pub(crate) fn get(path: &str) -> Request<()> {
    get_with(path, &[])
}

pub(crate) fn get_with(path: &str, headers: &[(HeaderName, &str)]) -> Request<()> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(()).expect("a valid request")
}

/// A request for the JSON page by a scraper with this timeout, in seconds.
pub(crate) fn get_json_within(seconds: &str) -> Request<()> {
    let timeout = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
    get_with(JSON, &[(timeout, seconds)])
}

/// A server that takes a snapshot for every request.
pub(crate) fn uncached(aggregator: Aggregator) -> Server {
    Server::builder(aggregator).max_snapshot_age(Duration::ZERO).build()
}

pub(crate) fn call(server: &Server, method: Method, uri: &str) -> Page {
    let request = Request::builder().method(method).uri(uri).body(());
    answer(server.respond(&request.expect("a valid request")))
}

/// The output of a future. Panics after [`DEADLINE`].
pub(crate) fn answer<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await }).expect("an answer in time")
}

pub(crate) fn body(page: &Page) -> Bytes {
    collect(page.body().clone())
}

pub(crate) fn collect<B>(body: B) -> Bytes
where
    B: BodyExt,
    B::Error: Debug,
{
    answer(body.collect()).expect("a body").to_bytes()
}

pub(crate) fn text(page: &Page) -> String {
    String::from_utf8(body(page).into()).expect("UTF-8")
}

pub(crate) fn snapshot(page: &Page) -> Snapshot {
    parse_snapshot(&body(page))
}

pub(crate) fn parse_snapshot(json: &[u8]) -> Snapshot {
    serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(json)))
}

/// The names of the sources that are stale.
pub(crate) fn stale_sources(page: &Page) -> Vec<String> {
    let sources = snapshot(page).sources.into_iter();
    let stale = sources.filter(|source| !source.up);
    stale.map(|source| source.name).collect()
}

/// The names of the rules whose last evaluation failed.
pub(crate) fn failed_rules(page: &Page) -> Vec<String> {
    let rules = snapshot(page).rules.into_iter();
    let failed = rules.filter(|rule| rule.error.is_some());
    failed.map(|rule| rule.name).collect()
}
