//! One page as a service, to be mounted wherever it is wanted.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::aggregator::Aggregator;
use crate::catch_panic::catch_panic;
use crate::encode::Format;
use crate::serve::limits::{Limits, SCRAPE_TIMEOUT_MOST};
use crate::serve::negotiate;
use crate::serve::reply;
use crate::serve::scraper::{Answer, Scraper, Terms};
use crate::serve::stats::Stats;
use crate::serve::taken::Form;

/// A page of an [`Aggregator`], as a hyper and a tower `Service`.
///
/// It answers GET with the page, HEAD with the page's headers, and every other method with 405. It
/// looks at no path: mount it at any.
///
/// Each GET is answered from a snapshot that was begun after it came; requests that come while one
/// is taken share the next. The sources and the rules are asked on threads of the crate's own, and
/// have as long as the header `X-Prometheus-Scrape-Timeout-Seconds` says, less a tenth, or else 5
/// seconds. Past that, the page comes with what there is, even if that was asked for a little
/// before the request came, and says what is missing.
///
/// Make one of each page and clone it: clones share those threads, and two that were made apart
/// each have their own. (A [`Server`](crate::Server) makes both pages with the same.)
///
/// The answer to HEAD takes no snapshot, so it has no `Content-Length`; a framework that puts one
/// on whatever body it gets, as axum does, says 0 there.
///
/// With axum, which takes tower services:
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
    scraper: Arc<Scraper>,
    format: Format,
}

impl Aggregator {
    /// The JSON page as a service. Its usual place is `/parsec/metrics`.
    #[must_use]
    pub fn handler(&self) -> Handler {
        Handler::new(self, Format::Json)
    }

    /// The text page as a service: Prometheus 0.0.4, or OpenMetrics 1.0.0 for who prefers it. Its
    /// usual place is `/parsec/telemetry/metrics`.
    #[must_use]
    pub fn prometheus_handler(&self) -> Handler {
        Handler::new(self, Format::Prometheus)
    }
}

impl Handler {
    fn new(aggregator: &Aggregator, format: Format) -> Self {
        Self {
            scraper: Arc::new(Scraper::new(aggregator.clone(), Arc::default())),
            format,
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Answer {
        let terms = Terms {
            freshness: Duration::ZERO,
            timeout: Limits::DEFAULT.source_timeout,
        };
        answer(
            &self.scraper,
            None,
            terms,
            self.format,
            request.method(),
            request.headers(),
        )
    }
}

/// The answer to a request for a page of numbers. A server counts it, and reports on itself there.
pub(super) fn answer(
    scraper: &Scraper,
    server: Option<Arc<Stats>>,
    mut terms: Terms,
    page: Format,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let (format, content_type, vary) = match page {
        Format::Json => (page, page.content_type(), "Accept-Encoding"),
        Format::Prometheus | Format::OpenMetrics => {
            let (format, content_type) = negotiate::text_format(headers);
            (format, content_type, "Accept, Accept-Encoding")
        }
    };
    if method != Method::GET {
        let mut reply = reply::page(method, content_type, Bytes::new);
        reply
            .headers_mut()
            .insert(VARY, HeaderValue::from_static(vary));
        if let Some(stats) = server {
            stats.scraped(format, reply.status());
        }
        return Answer::now(reply);
    }
    if let Some(timeout) = scrape_timeout(headers) {
        terms.timeout = timeout;
    }
    let form = Form {
        format,
        gzip: negotiate::wants_gzip(headers),
    };
    let aggregator = Arc::clone(scraper.aggregator());
    scraper.scrape(
        terms,
        |taken| taken.has(form),
        move |taken| {
            let server = server.as_deref();
            // It stands on the page itself. Who does not get the page is not among them after all.
            if let Some(stats) = server {
                stats.scraped(format, StatusCode::OK);
            }
            let Some((form, page)) = catch_panic(|| taken.page(form, &aggregator, server)) else {
                if let Some(stats) = server {
                    stats.failed(format);
                }
                return reply::failed();
            };
            let mut reply = reply::page(&Method::GET, content_type, || page);
            let headers = reply.headers_mut();
            headers.insert(VARY, HeaderValue::from_static(vary));
            if form.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            reply
        },
    )
}

/// How long who asks will wait, less a tenth, for the answer has a way to go.
fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("x-prometheus-scrape-timeout-seconds")?;
    let seconds: f64 = seconds.to_str().ok()?.parse().ok()?;
    (seconds > 0.0)
        .then(|| Duration::from_secs_f64((seconds * 0.9).min(SCRAPE_TIMEOUT_MOST.as_secs_f64())))
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("aggregator", self.scraper.aggregator())
            .field("format", &self.format)
            .finish()
    }
}

/// The response of a [`Handler`], once there is a snapshot. It needs no particular runtime.
#[derive(Debug)]
pub struct Responding(Answer);

impl Future for Responding {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Ok)
    }
}

impl<B> hyper::service::Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<B>) -> Self::Future {
        Responding(self.answer(&request))
    }
}

impl<B> tower_service::Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Responding(self.answer(&request))
    }
}
