//! Which path shows which page, and which request may have it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::{Method, Request, StatusCode};

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::monitor::Monitor;
use crate::serve::auth::AccessToken;
use crate::serve::console;
use crate::serve::future::ResponseFuture;
use crate::serve::host::{self, InvalidHost};
use crate::serve::options::ServeOptions;
use crate::serve::pages::Pages;
use crate::serve::response::{self, Response, TEXT_PLAIN};
use crate::serve::series;
use crate::serve::stats::{CloseReason, Stats};

const INDEX: &str = "/";
const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";
const METRICS: &str = "/metrics";
const SERIES: &str = "/parsec/series";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";

/// Every path, with a line on what it shows.
const PATHS: [(&str, &str); 7] = [
    (INDEX, "the console"),
    (JSON, "all numbers and the firing alerts, as JSON"),
    (PROMETHEUS, "the same in the Prometheus text format"),
    (METRICS, "the same, where Prometheus looks by default"),
    (SERIES, "the last minute, hour and day of the numbers, as JSON"),
    (HEALTH, "ok while the server answers"),
    (READY, "ready until the server drains"),
];

const DRAINING: &str = "the server is shutting down: retry after its restart\n";

/// What a connection may request.
#[derive(Clone, Copy)]
pub(super) enum Admission {
    /// Everything, without a check of the host: another accept loop accepted the connection.
    Embedded,
    /// Everything. On loopback, only allowed hosts are answered.
    Regular { is_loopback: bool },
    /// Probes only. Other requests are answered with 503, and the connection is closed for this reason.
    ProbesOnly(CloseReason),
}

/// The state of a server, or of one of its listeners.
#[derive(Clone)]
pub(super) struct Routes {
    pub(super) options: ServeOptions,
    pub(super) stats: Arc<Stats>,
    pub(super) pages: Arc<Pages>,
    monitor: Monitor,
    token: Option<AccessToken>,
    allowed_hosts: Vec<String>,
    is_draining: Arc<AtomicBool>,
    pub(super) is_listener_draining: Arc<AtomicBool>,
}

impl Routes {
    pub(super) fn new(
        aggregator: Aggregator,
        options: ServeOptions,
        token: Option<AccessToken>,
        allowed_hosts: Vec<String>,
    ) -> Self {
        let stats = Arc::<Stats>::default();
        Self {
            monitor: Monitor::start(&aggregator),
            pages: Arc::new(Pages::new(aggregator, options, Some(Arc::clone(&stats)))),
            options,
            stats,
            token,
            allowed_hosts,
            is_draining: Arc::default(),
            is_listener_draining: Arc::default(),
        }
    }

    /// Returns a copy with a draining flag of its own.
    pub(super) fn for_listener(&self) -> Self {
        Self { is_listener_draining: Arc::default(), ..self.clone() }
    }

    pub(super) fn is_draining(&self) -> bool {
        // Relaxed: the flags guard no other data.
        self.is_draining.load(Relaxed) || self.is_listener_draining.load(Relaxed)
    }

    pub(super) fn begin_draining(&self) {
        self.is_draining.store(true, Relaxed);
    }

    pub(super) fn respond<B>(&self, request: &Request<B>, admission: Admission) -> ResponseFuture {
        let (method, path) = (request.method(), request.uri().path());
        let format = match path {
            JSON => Some(Format::Json),
            PROMETHEUS | METRICS => Some(Format::Prometheus),
            _ => None,
        };
        if let Some(rejection) = self.reject(request, admission) {
            if let Some(format) = format {
                self.pages.record(format, rejection.status());
            }
            return ResponseFuture::ready(rejection);
        }
        match format {
            _ if method == Method::OPTIONS => ResponseFuture::ready(response::other_method(method)),
            Some(format) => self.pages.respond(format, method, request.headers()),
            None => ResponseFuture::ready(self.other_page(request)),
        }
    }

    /// Returns the error for a request that may not be made, or not on this connection. Probes and OPTIONS need no
    /// token, no allowed host and no regular connection.
    fn reject<B>(&self, request: &Request<B>, admission: Admission) -> Option<Response> {
        let host = match (admission, host::authority(request)) {
            (Admission::Embedded, _) => None,
            (_, Ok(host)) => host,
            (_, Err(InvalidHost)) => {
                let text = "no valid host in the request: send one Host header\n";
                return Some(response::error(StatusCode::BAD_REQUEST, text));
            }
        };
        match request.uri().path() {
            // Load balancers request this path with any method.
            READY if self.is_draining() => return Some(response::unavailable(DRAINING)),
            HEALTH | READY => return None,
            _ if request.method() == Method::OPTIONS => return None,
            _ => {}
        }
        match (admission, &self.token) {
            (Admission::ProbesOnly(reason), _) => {
                self.stats.closed(reason);
                Some(response::unavailable(match reason {
                    CloseReason::Draining => DRAINING,
                    _ => "connection limit reached: retry, or raise max_connections\n",
                }))
            }
            (_, Some(token)) => (!token.is_in(request.headers())).then(response::unauthorized),
            (Admission::Regular { is_loopback: true }, None) => {
                let host = host.filter(|host| !host::is_allowed(host, &self.allowed_hosts))?;
                Some(response::misdirected(host.as_str()))
            }
            _ => None,
        }
    }

    /// Answers a request for a page that shows no snapshot.
    fn other_page<B>(&self, request: &Request<B>) -> Response {
        let (method, path) = (request.method(), request.uri().path());
        if !matches!(path, INDEX | SERIES | HEALTH | READY) {
            return response::error(StatusCode::NOT_FOUND, not_found(path));
        }
        if !response::is_read(method) {
            return response::other_method(method);
        }
        let probe = |text: &'static str| response::page(method == Method::HEAD, TEXT_PLAIN, text.into());
        match path {
            HEALTH => probe("ok\n"),
            READY => probe("ready\n"),
            SERIES => series::respond(&self.monitor, request),
            _ => console::respond(method, request.headers()),
        }
    }
}

fn not_found(path: &str) -> String {
    let path = response::truncate_for_display(path);
    let mut text =
        format!("no page at {path}: use one of these, below the prefix if the server is mounted under one\n");
    for (path, description) in PATHS {
        let _ = writeln!(text, "{path} - {description}");
    }
    text
}
