//! A small server for the pages: which path shows what, and to whom.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

use crate::aggregator::Aggregator;
use crate::encode::Format;
use crate::serve::accept;
use crate::serve::builder::ServerBuilder;
use crate::serve::handler;
use crate::serve::limits::Limits;
use crate::serve::reply::{self, HTML, PLAIN, Reply};
use crate::serve::scraper::{Answer, Scraper, Terms};
use crate::serve::stats::{CloseReason, Stats};
use crate::serve::token::Token;

const INDEX: &str = "/";
const JSON: &str = "/parsec/metrics";
const PROMETHEUS: &str = "/parsec/telemetry/metrics";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";

/// Every page, with a line on what it is.
const PAGES: [(&str, &str); 5] = [
    (INDEX, "this list"),
    (JSON, "every number, and the alerts that fire, as JSON"),
    (PROMETHEUS, "the same for Prometheus to scrape"),
    (HEALTH, "says ok while the server answers"),
    (READY, "says ready until the server is to end"),
];

/// Serves the pages of an aggregator until `shutdown` is ready, with the defaults of
/// [`Server::builder`].
///
/// # Errors
///
/// Those of [`Server::serve`].
///
/// # Panics
///
/// Likewise.
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

/// The pages of an [`Aggregator`], each at its usual path: `/parsec/metrics`,
/// `/parsec/telemetry/metrics`, `/healthz`, `/readyz`, and an index at `/`.
///
/// Clones are of the same server.
#[derive(Clone)]
pub struct Server {
    state: Arc<State>,
}

struct State {
    scraper: Scraper,
    limits: Limits,
    token: Option<Token>,
    stats: Arc<Stats>,
    draining: AtomicBool,
}

/// What a connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Full,
    ProbesBeyondTheLimit,
    ProbesWhileDraining,
}

impl Server {
    /// Begins to set up a server.
    pub fn builder(aggregator: Aggregator) -> ServerBuilder {
        ServerBuilder {
            aggregator,
            limits: Limits::DEFAULT,
            token: None,
        }
    }

    pub(super) fn new(builder: ServerBuilder) -> Self {
        let ServerBuilder {
            aggregator,
            limits,
            token,
        } = builder;
        let counts = Arc::<Stats>::default();
        let state = State {
            scraper: Scraper::new(aggregator, Arc::clone(&counts)),
            limits,
            token,
            stats: counts,
            draining: AtomicBool::new(false),
        };
        Self {
            state: Arc::new(state),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.state.limits
    }

    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.state.stats
    }

    /// From now on `/readyz` is answered with 503, so that no new work is sent here.
    ///
    /// [`serve`](Self::serve) begins its end with this. It is here for who serves the pages by
    /// [`handle`](Self::handle) in a loop of their own. There is no way back: to begin again, build
    /// another server.
    pub fn begin_draining(&self) {
        // Relaxed: nothing else is read because of it.
        self.state.draining.store(true, Relaxed);
    }

    /// The response to a request: all that the server does, but for the network.
    ///
    /// It is made where it holds up nobody else, so awaiting it holds up no runtime; nor does it
    /// need one.
    ///
    /// ```
    /// use http::{Request, StatusCode};
    /// use parsec_telemetry::{Aggregator, Server};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let server = Server::builder(Aggregator::new()).build();
    /// let request = Request::get("/parsec/metrics").body(()).expect("a request");
    /// assert_eq!(server.respond(&request).await.status(), StatusCode::OK);
    /// # });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn respond<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<B> {
        self.answer(request, Admission::Full)
    }

    /// [`respond`](Self::respond), waited for: it blocks its thread for as long as the sources and
    /// the rules take.
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
    pub fn handle<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        self.answer(request, Admission::Full).wait()
    }

    /// Serves until `shutdown` is ready. Then `/readyz` says so, requests in flight are finished,
    /// idle connections are closed, new ones are answered by the probes only, and what is not done
    /// when the drain timeout ends is dropped.
    ///
    /// It outlives connections that are aborted, and waits where the system has no descriptor left.
    /// To end it before the drain is over, drop this future, and all that is open is dropped.
    ///
    /// Who is not accepted yet waits in the listener's queue. `TcpListener::bind` asks the system
    /// for one of 128; beyond that a caller tries again after a second. A listener of
    /// `TcpSocket::listen` has one as long as it asks for.
    ///
    /// # Errors
    ///
    /// None of a connection's: those end that connection. It fails only if the listener itself is
    /// unusable.
    ///
    /// # Panics
    ///
    /// On a runtime of tokio's that was built without its timers: it wants `enable_all`.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future) -> io::Result<()> {
        accept::serve(&self, &listener, shutdown).await
    }

    pub(super) fn answer<B>(&self, request: &Request<B>, admission: Admission) -> Answer {
        let (method, path) = (request.method(), request.uri().path());
        let format = match path {
            JSON => Some(Format::Json),
            PROMETHEUS => Some(Format::Prometheus),
            _ => None,
        };
        if let Some(refusal) = self.refusal(path, request.headers(), admission) {
            if let Some(format) = format {
                self.stats().scraped(format, refusal.status());
            }
            return Answer::now(refusal);
        }
        let Some(format) = format else {
            return Answer::now(self.page(method, path));
        };
        let Limits {
            freshness,
            source_timeout: timeout,
            ..
        } = self.state.limits;
        let terms = Terms { freshness, timeout };
        handler::answer(
            &self.state.scraper,
            Some(Arc::clone(self.stats())),
            terms,
            format,
            method,
            request.headers(),
        )
    }

    /// A page that needs no numbers.
    fn page(&self, method: &Method, path: &str) -> Reply {
        match path {
            HEALTH => reply::page(method, PLAIN, || Bytes::from_static(b"ok\n")),
            READY if self.state.draining.load(Relaxed) => unavailable(ENDING),
            READY => reply::page(method, PLAIN, || Bytes::from_static(b"ready\n")),
            INDEX => reply::page(method, HTML, || Bytes::from(index())),
            path => reply::error(StatusCode::NOT_FOUND, not_found(path)),
        }
    }

    /// The answer to what may not be asked for, or not on this connection. Probes always may.
    fn refusal(&self, path: &str, headers: &HeaderMap, admission: Admission) -> Option<Reply> {
        if matches!(path, HEALTH | READY) {
            return None;
        }
        let (why, text) = match admission {
            Admission::Full => {
                let token = self.state.token.as_ref()?;
                return (!token.is_in(headers)).then(reply::unauthorized);
            }
            Admission::ProbesBeyondTheLimit => (CloseReason::Limit, FULL),
            Admission::ProbesWhileDraining => (CloseReason::Draining, ENDING),
        };
        self.state.stats.closed(why);
        Some(unavailable(text))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("aggregator", self.state.scraper.aggregator())
            .field("limits", &self.state.limits)
            .field("stats", &self.state.stats)
            .field("draining", &self.state.draining)
            .finish_non_exhaustive()
    }
}

const FULL: &str = "every connection that may be open is: try again, or raise the limit\n";
const ENDING: &str = "the server is ending: try again when it is back\n";

pub(super) fn unavailable(text: &'static str) -> Reply {
    let mut reply = reply::error(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    let headers = reply.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    reply
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
