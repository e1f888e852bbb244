//! The knobs of a server.

use std::time::Duration;

use crate::aggregator::Aggregator;
use crate::serve::limits::Limits;
use crate::serve::server::Server;
use crate::serve::token::{InvalidToken, Token};

/// Sets up a [`Server`].
///
/// Every knob has a default that holds on the open network; [`Server::builder`] begins with those.
///
/// ```
/// use std::time::Duration;
/// use parsec_telemetry::{Aggregator, Server};
///
/// let server = Server::builder(Aggregator::new())
///     .max_connections(32)
///     .idle_timeout(Duration::from_secs(75))
///     .build();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ServerBuilder {
    pub(super) aggregator: Aggregator,
    pub(super) limits: Limits,
    pub(super) token: Option<Token>,
}

impl ServerBuilder {
    /// How many connections may be open at once: 256 unless said otherwise.
    ///
    /// Who comes beyond that waits to be accepted, but for a reserve of 32 more that are there for
    /// a moment each: they are answered where they ask for `/healthz` or `/readyz`, and told to
    /// come back where they ask for anything else.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.connections = connections;
        self
    }

    /// How long a client may take to send a request's headers: 5 seconds unless said otherwise,
    /// from the connection's start or from the first byte of a later request. A connection that has
    /// not sent them by then is closed. (What comes along with the request before counts as idle
    /// until more of it comes.)
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout;
        self
    }

    /// How long a connection may stay idle between requests: 20 seconds unless said otherwise,
    /// which keeps that of a scraper that comes every 15.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How long a client may take to read an answer that its socket does not hold: 10 seconds
    /// unless said otherwise, for the whole of it. Past that, the connection is closed.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.limits.write_timeout = timeout;
        self
    }

    /// How long requests in flight may take to finish once the server is to end: 5 seconds unless
    /// said otherwise.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain_timeout = timeout;
        self
    }

    /// How many headers a request may have: 100 unless said otherwise. More are answered with 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.limits.headers = headers;
        self
    }

    /// How many bytes a request's line and headers may have: 16 KiB unless said otherwise, and at
    /// least 8 KiB. More are answered with 431; with 414 where there is room for a target of more
    /// than 64 KiB, and it is longer than that.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.limits.header_bytes = bytes;
        self
    }

    /// How old the numbers of a page may be: 100 milliseconds unless said otherwise. Who asks
    /// within that time of another is answered from the same snapshot, in whatever format, unless
    /// something is missing in that and there is time for more. With zero, every request is
    /// answered from a snapshot that was begun after it came, unless its time is up before; those
    /// that come while one is taken share the next.
    pub fn freshness(mut self, freshness: Duration) -> Self {
        self.limits.freshness = freshness;
        self
    }

    /// How long a page waits for the sources and the rules: 5 seconds unless said otherwise, here
    /// or, with up to 30 seconds, by the request's header `X-Prometheus-Scrape-Timeout-Seconds`,
    /// less a tenth. Past that, the page comes with what there is, and says which source or rule is
    /// missing.
    pub fn source_timeout(mut self, timeout: Duration) -> Self {
        self.limits.source_timeout = timeout;
        self
    }

    /// Asks for a token on every path but `/healthz` and `/readyz`: `Authorization: Bearer TOKEN`,
    /// or 401. There is none unless one is set here.
    ///
    /// It is sent as it is: put a reverse proxy that speaks TLS in front, or stay on loopback.
    ///
    /// # Errors
    ///
    /// If the token is empty, or has anything but letters, digits and `-._~+/=`.
    ///
    /// ```
    /// use http::{Request, StatusCode};
    /// use parsec_telemetry::{Aggregator, Server};
    ///
    /// let server = Server::builder(Aggregator::new()).bearer_token("s3cret")?.build();
    /// let request = Request::get("/parsec/metrics").body(())?;
    /// assert_eq!(server.handle(&request).status(), StatusCode::UNAUTHORIZED);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bearer_token(mut self, token: impl Into<String>) -> Result<Self, InvalidToken> {
        self.token = Some(Token::new(token.into())?);
        Ok(self)
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        Server::new(self)
    }
}
