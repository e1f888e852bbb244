//! Which path shows which page, and which connection may request it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::serve::auth::BearerToken;
use crate::serve::future::PendingResponse;
use crate::serve::options::ServeOptions;
use crate::serve::pages::Pages;
use crate::serve::response::{self, Response, TEXT_HTML, TEXT_PLAIN};
use crate::serve::stats::{CloseReason, Stats};

const INDEX: &str = "/";
const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";

/// Every path, with a line on what it shows.
const PATHS: [(&str, &str); 5] = [
    (INDEX, "this list"),
    (JSON, "all numbers and the firing alerts, as JSON"),
    (PROMETHEUS, "the same in the Prometheus text format"),
    (HEALTH, "ok while the server answers"),
    (READY, "ready until the server drains"),
];

const LIMIT_REACHED: &str = "connection limit reached: retry, or raise max_connections\n";
const DRAINING: &str = "the server is shutting down: retry after its restart\n";

/// What a connection may request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    All,
    /// Probes only: the connection limit is reached.
    BeyondLimit,
    /// Probes only: the server drains.
    WhileDraining,
}

/// The state of a server.
pub(super) struct Routes {
    pub(super) options: ServeOptions,
    pub(super) stats: Arc<Stats>,
    pages: Arc<Pages>,
    token: Option<BearerToken>,
    is_draining: AtomicBool,
}

impl Routes {
    pub(super) fn new(aggregator: Aggregator, options: ServeOptions, token: Option<BearerToken>) -> Self {
        let stats = Arc::<Stats>::default();
        let self_metrics = Some(Arc::clone(&stats));
        Self {
            pages: Arc::new(Pages::new(aggregator, options.scrape_options(), self_metrics)),
            options,
            stats,
            token,
            is_draining: AtomicBool::new(false),
        }
    }

    pub(super) fn aggregator(&self) -> &Aggregator {
        self.pages.aggregator()
    }

    pub(super) fn is_draining(&self) -> bool {
        // Relaxed: the flag guards no other data.
        self.is_draining.load(Relaxed)
    }

    pub(super) fn begin_draining(&self) {
        self.is_draining.store(true, Relaxed);
    }

    pub(super) fn respond<B>(&self, request: &Request<B>, admission: Admission) -> PendingResponse {
        let (method, path) = (request.method(), request.uri().path());
        let format = match path {
            JSON => Some(Format::Json),
            PROMETHEUS => Some(Format::Prometheus),
            _ => None,
        };
        if let Some(rejection) = self.reject(path, request.headers(), admission) {
            if let Some(format) = format {
                self.pages.record(format, rejection.status());
            }
            return PendingResponse::ready(rejection);
        }
        match format {
            Some(format) => self.pages.respond(format, method, request.headers()),
            None => PendingResponse::ready(self.fixed_page(method, path)),
        }
    }

    /// Answers a request for a page that shows no metrics.
    fn fixed_page(&self, method: &Method, path: &str) -> Response {
        let (content_type, body) = match path {
            READY if self.is_draining() => return response::unavailable(DRAINING),
            HEALTH => (TEXT_PLAIN, Bytes::from_static(b"ok\n")),
            READY => (TEXT_PLAIN, Bytes::from_static(b"ready\n")),
            INDEX => (TEXT_HTML, Bytes::from(index())),
            path => return response::error(StatusCode::NOT_FOUND, not_found(path)),
        };
        if response::is_read(method) {
            response::page(method == Method::HEAD, content_type, body)
        } else {
            response::method_not_allowed(method)
        }
    }

    /// Returns the error for a request that may not be made, or not on this connection. Probes are always answered.
    fn reject(&self, path: &str, headers: &HeaderMap, admission: Admission) -> Option<Response> {
        if matches!(path, HEALTH | READY) {
            return None;
        }
        let (reason, text) = match admission {
            Admission::All => {
                let token = self.token.as_ref()?;
                return (!token.is_in(headers)).then(response::unauthorized);
            }
            Admission::BeyondLimit => (CloseReason::Limit, LIMIT_REACHED),
            Admission::WhileDraining => (CloseReason::Draining, DRAINING),
        };
        self.stats.closed(reason);
        Some(response::unavailable(text))
    }
}

fn index() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Parsec telemetry</title>\n\
         <style>body{font:1rem/1.6 system-ui,sans-serif;margin:2rem;max-width:40rem;color-scheme:light dark}\
         dt{font-family:ui-monospace,monospace}dd{margin:0 0 1rem}</style>\n\
         <h1>Parsec telemetry</h1>\n<dl>\n",
    );
    for (path, description) in &PATHS[1..] {
        // Writing to a String succeeds.
        let _ = writeln!(page, "<dt><a href=\"{path}\">{path}</a>\n<dd>{description}");
    }
    page + "</dl>\n"
}

fn not_found(path: &str) -> String {
    let path = response::truncate_for_display(path);
    let mut text = format!("no page at {path}: use one of\n");
    for (path, description) in PATHS {
        let _ = writeln!(text, "{path} - {description}");
    }
    text
}
