//! One page as a service that mounts anywhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::serve::options::{MAX_DURATION, MIN_TIMEOUT, ServeOptions};
use crate::serve::pages::Pages;
use crate::serve::service::impl_service;

/// A page of an [`Aggregator`], as a hyper and a tower `Service`.
///
/// It answers GET and HEAD on any path, OPTIONS with 204, and every other method with 405. Requests within 100 ms
/// share a snapshot. Sources and rules run on threads of the aggregator's own, never on the executor, and have 5
/// seconds, or nine tenths of the seconds in the header `X-Prometheus-Scrape-Timeout-Seconds`, at most 30. A page
/// whose deadline has passed shows the last good reports, and their age.
///
/// With axum, which mounts tower services:
///
/// ```
/// use axum::{Router, routing::any_service};
/// use parsec_telemetry::Aggregator;
///
/// let aggregator = Aggregator::new();
/// let app: Router = Router::new()
///     .route("/parsec/metrics", any_service(aggregator.handler()))
///     .route("/parsec/telemetry/metrics", any_service(aggregator.prometheus_handler()));
/// ```
#[derive(Clone)]
pub struct Handler {
    pages: Arc<Pages>,
    format: Format,
}

impl Aggregator {
    /// Returns the JSON page as a service. Its usual path is `/parsec/metrics`.
    #[must_use]
    pub fn handler(&self) -> Handler {
        Handler::new(self, Format::Json, ServeOptions::DEFAULT)
    }

    /// Returns the text page as a service: Prometheus 0.0.4, or OpenMetrics 1.0.0 where `Accept` prefers it. Its
    /// usual path is `/parsec/telemetry/metrics`.
    #[must_use]
    pub fn prometheus_handler(&self) -> Handler {
        Handler::new(self, Format::Prometheus, ServeOptions::DEFAULT)
    }
}

impl Handler {
    fn new(aggregator: &Aggregator, format: Format, options: ServeOptions) -> Self {
        Self { pages: Arc::new(Pages::new(aggregator.clone(), options, None)), format }
    }

    /// Sets how long the page waits for sources and rules: 100 milliseconds to one day. Defaults to 5 seconds.
    #[must_use]
    pub fn scrape_timeout(self, timeout: Duration) -> Self {
        let scrape_timeout = timeout.clamp(MIN_TIMEOUT, MAX_DURATION);
        Self::new(&self.pages.aggregator, self.format, ServeOptions { scrape_timeout, ..ServeOptions::DEFAULT })
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("aggregator", &self.pages.aggregator).field("format", &self.format).finish()
    }
}

impl_service!(Handler, |handler, request| handler.pages.respond(handler.format, request.method(), request.headers()));
