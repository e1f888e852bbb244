//! A small server for the pages.

use std::fmt;
use std::io;
use std::sync::Arc;

use http::Request;
use tokio::net::TcpListener;

use crate::aggregator::Aggregator;
use crate::serve::accept;
use crate::serve::response::Response;
use crate::serve::routes::{Admission, Routes};
use crate::serve::service::impl_service;

/// Serves the pages of an aggregator until `shutdown` completes, with the defaults of [`Server::builder`].
///
/// # Errors
///
/// Those of [`Server::serve`], which also documents panics.
pub async fn serve(listener: TcpListener, aggregator: Aggregator, shutdown: impl Future) -> io::Result<()> {
    Server::builder(aggregator).build().serve(listener, shutdown).await
}

/// The pages of an [`Aggregator`] at their usual paths: the console at `/`, `/parsec/metrics` (JSON),
/// `/parsec/telemetry/metrics` and `/metrics` (text), `/parsec/series`, and the probes `/healthz` and `/readyz`.
///
/// The JSON of `/parsec/series` is a [`Series`](crate::Series). `?tier=` selects a [`Tier`](crate::Tier), and
/// `?since=`, the `end` of an earlier response, the points after it. A server holds a [`Monitor`](crate::Monitor)
/// of the aggregator, mounted or not.
///
/// [`serve`](Self::serve) answers on a listener. As a hyper and a tower `Service`, the whole server mounts in an
/// application, which then accepts the connections: their limits and timeouts, and the check of the host, are those of
/// the application. A router that mounts it under a prefix strips the prefix, as axum does:
///
/// ```
/// use axum::Router;
/// use http::{Request, StatusCode};
/// use parsec_telemetry::{Aggregator, Server};
/// use tower::ServiceExt as _;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let server = Server::builder(Aggregator::new()).build();
/// let app: Router = Router::new().nest_service("/ops", server);
/// let request = Request::get("/ops/parsec/metrics").body(axum::body::Body::empty())?;
/// assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share all state.
#[derive(Clone)]
pub struct Server {
    pub(super) routes: Arc<Routes>,
}

impl Server {
    /// Starts to drain: from now on `/readyz` answers 503, so that load balancers send no new work.
    ///
    /// [`serve`](Self::serve) does this for its own connections when its `shutdown` completes. Call it where another
    /// accept loop receives the requests: on a server that is mounted, or that answers by [`respond`](Self::respond)
    /// or [`handle`](Self::handle). It affects all clones. Draining cannot be undone: build another server instead.
    pub fn begin_draining(&self) {
        self.routes.begin_draining();
    }

    /// Returns the response to a request: all that the server does, apart from the network and the check of the host.
    ///
    /// Sources and rules run on threads of the aggregator's own. Awaiting the future blocks no executor, and needs
    /// none in particular.
    pub fn respond<B>(&self, request: &Request<B>) -> impl Future<Output = Response> + Send + use<B> {
        let response = self.routes.respond(request, Admission::Embedded);
        async {
            let Ok(response) = response.await;
            response
        }
    }

    /// Returns the response of [`respond`](Self::respond), and blocks the calling thread until it is there.
    #[must_use]
    pub fn handle<B>(&self, request: &Request<B>) -> Response {
        self.routes.respond(request, Admission::Embedded).wait()
    }

    /// Serves until `shutdown` completes, then drains: `/readyz` answers 503, and after the drain delay requests in
    /// flight are finished, idle connections are closed, new connections are answered on the probes only, and what is
    /// left after the drain timeout is aborted. Clones that serve other listeners stay ready.
    ///
    /// Dropping the future aborts every connection.
    ///
    /// Errors of single connections, and a lack of descriptors, do not end the server. Connections beyond the limit
    /// wait in the listen backlog: 128 for `TcpListener::bind`, any length for `TcpSocket::listen`.
    ///
    /// # Errors
    ///
    /// If the listener can accept no further connection.
    ///
    /// # Panics
    ///
    /// On a tokio runtime without timers or I/O: build it with `enable_all`.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future) -> io::Result<()> {
        accept::serve(&self.routes, &listener, shutdown).await
    }
}

impl_service!(Server, |server, request| server.routes.respond(request, Admission::Embedded));

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("aggregator", &self.routes.pages.aggregator)
            .field("options", &self.routes.options)
            .field("stats", &self.routes.stats)
            .field("is_draining", &self.routes.is_draining())
            .finish_non_exhaustive()
    }
}
