//! One page as a service, to be mounted wherever it is wanted.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::serve::reply;

/// A page of an [`Aggregator`], as a hyper and a tower `Service`.
///
/// It answers GET with the page, HEAD with the page's headers, and every other method with 405. It
/// looks at no path: mount it at any.
///
/// Each GET takes a snapshot of its own, on the thread that calls the service, which waits for the
/// sources. The answer to HEAD takes none, so it has no `Content-Length`; a framework that puts one
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
#[derive(Clone, Debug)]
pub struct Handler {
    aggregator: Arc<Aggregator>,
    format: Format,
}

impl Aggregator {
    /// The JSON page as a service. Its usual place is `/parsec/metrics`.
    #[must_use]
    pub fn handler(&self) -> Handler {
        Handler {
            aggregator: Arc::new(self.clone()),
            format: Format::Json,
        }
    }

    /// The Prometheus page as a service. Its usual place is `/parsec/telemetry/metrics`.
    #[must_use]
    pub fn prometheus_handler(&self) -> Handler {
        Handler {
            aggregator: Arc::new(self.clone()),
            format: Format::Prometheus,
        }
    }
}

impl Handler {
    pub(super) fn reply(&self, method: &Method) -> Response<Full<Bytes>> {
        reply::page(method, self.format.content_type(), || {
            Bytes::from(self.aggregator.render(self.format))
        })
    }
}

impl<B> hyper::service::Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.reply(request.method())))
    }
}

impl<B> tower_service::Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.reply(request.method())))
    }
}
