//! A small server for the pages: which path shows what, and the loop that accepts connections.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::aggregator::Aggregator;
use crate::serve::handler::Handler;
use crate::serve::reply::{self, HTML, PLAIN, Reply};

const INDEX: &str = "/";
const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";
const HEALTH: &str = "/healthz";

/// Every page, with a line on what it is.
const PAGES: [(&str, &str); 4] = [
    (INDEX, "this list"),
    (JSON, "every number, and the alerts that fire, as JSON"),
    (PROMETHEUS, "the same for Prometheus to scrape"),
    (HEALTH, "says ok while the server answers"),
];

/// Serves the pages of an aggregator until `shutdown` is ready, with the defaults of
/// [`Server::builder`].
///
/// # Errors
///
/// None of a connection's: those end that connection. It fails only if the listener itself is
/// unusable.
///
/// ```no_run
/// use parsec_telemetry::{Aggregator, EnvelopeCounters};
///
/// # async fn run() -> std::io::Result<()> {
/// let envelopes = EnvelopeCounters::new();
/// let aggregator = Aggregator::new().source(envelopes.clone());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9464").await?;
/// parsec_telemetry::serve(listener, aggregator, tokio::signal::ctrl_c()).await
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    aggregator: Aggregator,
    shutdown: impl Future,
) -> io::Result<()> {
    Server::builder(aggregator)
        .build()
        .serve(listener, shutdown)
        .await
}

/// Sets up a [`Server`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ServerBuilder {
    aggregator: Aggregator,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    header_timeout: Duration,
    drain_timeout: Duration,
}

impl ServerBuilder {
    /// How long a client may take to send a request's headers: 5 seconds unless said otherwise. A
    /// connection that has not sent them by then is closed, and so is one that stays idle for as
    /// long between requests.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout;
        self
    }

    /// How long requests in flight may take to finish once the server is to end: 5 seconds unless
    /// said otherwise.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        let Self { aggregator, limits } = self;
        Server {
            json: aggregator.handler(),
            prometheus: aggregator.prometheus_handler(),
            limits,
        }
    }
}

/// The pages of an [`Aggregator`], each at its usual path: `/parsec/metrics`,
/// `/parsec/telemetry/metrics`, `/healthz`, and an index at `/`.
#[derive(Clone, Debug)]
pub struct Server {
    json: Handler,
    prometheus: Handler,
    limits: Limits,
}

impl Server {
    /// Begins to set up a server.
    pub fn builder(aggregator: Aggregator) -> ServerBuilder {
        let limits = Limits {
            header_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
        };
        ServerBuilder { aggregator, limits }
    }

    /// The response to a request: all that the server does, but for the network.
    ///
    /// ```
    /// use http::{Request, StatusCode};
    /// use parsec_telemetry::{Aggregator, Server};
    ///
    /// let server = Server::builder(Aggregator::new()).build();
    /// let request = Request::get("/parsec/metrics").body(())?;
    /// assert_eq!(server.handle(&request).status(), StatusCode::OK);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn handle<B>(&self, request: &Request<B>) -> Reply {
        let method = request.method();
        match request.uri().path() {
            JSON => self.json.reply(method),
            PROMETHEUS => self.prometheus.reply(method),
            HEALTH => reply::page(method, PLAIN, || Bytes::from_static(b"ok\n")),
            INDEX => reply::page(method, HTML, || Bytes::from(index())),
            path => reply::error(StatusCode::NOT_FOUND, not_found(path)),
        }
    }

    /// Serves until `shutdown` is ready. Then no connection is accepted any more, requests in
    /// flight are finished, and what is not done when the drain timeout ends is dropped.
    ///
    /// # Errors
    ///
    /// None of a connection's: those end that connection. It fails only if the listener itself is
    /// unusable.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future) -> io::Result<()> {
        let graceful = GracefulShutdown::new();
        // Dropped with this future, and what is open with it.
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                _ = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(graceful.watch(self.connection(stream)));
                }
                Err(error) if is_of_the_connection(&error) => {}
                // Out of descriptors or memory, most likely: to try again at once would only spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        drop(listener);
        // Whether all of them ended or the time did, there is nothing left to wait for.
        let _ = tokio::time::timeout(self.limits.drain_timeout, graceful.shutdown()).await;
        Ok(())
    }

    fn connection(
        &self,
        stream: TcpStream,
    ) -> impl GracefulConnection<Output = hyper::Result<()>> + Send + use<> {
        let server = self.clone();
        http1::Builder::new()
            // Without a timer hyper has no timeouts.
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| server.clone().respond(request)),
            )
    }

    /// The response to a request, made where it holds up nobody else: a source may block its
    /// thread, and this one's next task is another connection.
    async fn respond<B: Send + 'static>(self, request: Request<B>) -> Result<Reply, Infallible> {
        if !takes_a_snapshot(&request) {
            return Ok(self.handle(&request));
        }
        let made = tokio::task::spawn_blocking(move || self.handle(&request)).await;
        Ok(made.unwrap_or_else(|_| {
            // Sources and rules that panic are caught, so the runtime itself is ending.
            let text = "the server is ending: try again when it is back\n".to_owned();
            reply::error(StatusCode::SERVICE_UNAVAILABLE, text)
        }))
    }
}

fn takes_a_snapshot<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && matches!(request.uri().path(), JSON | PROMETHEUS)
}

/// Whether an error of `accept` was of the one connection that it would have returned.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn index() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Parsec telemetry</title>\n\
         <style>body{font:1rem/1.6 system-ui,sans-serif;margin:2rem;max-width:40rem;color-scheme:light dark}\
         dt{font-family:ui-monospace,monospace}dd{margin:0 0 1rem}</style>\n\
         <h1>Parsec telemetry</h1>\n<dl>\n",
    );
    for (path, what) in &PAGES[1..] {
        // A `String` takes every write.
        let _ = writeln!(page, "<dt><a href=\"{path}\">{path}</a>\n<dd>{what}");
    }
    page + "</dl>\n"
}

fn not_found(path: &str) -> String {
    let mut text = format!(
        "there is no page at {}; there are:\n",
        reply::shortened(path)
    );
    for (path, what) in PAGES {
        let _ = writeln!(text, "{path} - {what}");
    }
    text
}
