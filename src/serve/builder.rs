//! The options of a server.

use std::sync::Arc;
use std::time::Duration;

use crate::aggregator::Aggregator;
use crate::serve::auth::{AccessToken, InvalidToken};
use crate::serve::host;
use crate::serve::options::{MAX_DURATION, MIN_TIMEOUT, ServeOptions};
use crate::serve::routes::Routes;
use crate::serve::server::Server;

/// Builds a [`Server`]. The defaults bound what a client can take, and require no token.
///
/// A value outside an option's range is replaced by the nearest one inside. Durations are at most one day.
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the server"]
pub struct ServerBuilder {
    aggregator: Aggregator,
    options: ServeOptions,
    token: Option<AccessToken>,
    allowed_hosts: Vec<String>,
}

impl Server {
    /// Returns a builder with the defaults.
    pub fn builder(aggregator: Aggregator) -> ServerBuilder {
        ServerBuilder { aggregator, options: ServeOptions::DEFAULT, token: None, allowed_hosts: Vec::new() }
    }
}

impl ServerBuilder {
    /// Sets how many connections may be open at once, at least 1. Defaults to 256.
    ///
    /// Further connections wait in the listen backlog. A reserve of 32 is accepted for up to 500 ms each, so that
    /// `/healthz` and `/readyz` are still answered; other paths answer 503 there.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections.max(1);
        self
    }

    /// Sets how long the head of a request may take to arrive: from the accepted connection, or from the first byte
    /// of a later request; at least 100 milliseconds. Defaults to 5 seconds. Past that, the connection is closed.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_read_timeout = timeout.clamp(MIN_TIMEOUT, MAX_DURATION);
        self
    }

    /// Sets how long a connection may be idle between requests. Defaults to 75 seconds, which keeps the connection of
    /// a scraper with an interval of 60. Zero closes each connection after its response.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.idle_timeout = timeout.min(MAX_DURATION);
        self
    }

    /// Sets how long a client may take to read a whole response: at least 100 milliseconds. Defaults to 10 seconds.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.options.write_timeout = timeout.clamp(MIN_TIMEOUT, MAX_DURATION);
        self
    }

    /// Sets how long the server still serves after `shutdown`, while `/readyz` answers 503. Defaults to zero.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.options.drain_delay = delay.min(MAX_DURATION);
        self
    }

    /// Sets how long requests in flight may take to finish once the server drains. Defaults to 5 seconds.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout.min(MAX_DURATION);
        self
    }

    /// Sets how many headers a request may have: 1 to 1,000. Defaults to 100. More are answered with 431.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.options.max_headers = headers.clamp(1, 1000);
        self
    }

    /// Sets how large the head of a request may be: 8 to 256 KiB. Defaults to 16 KiB. Larger ones are answered with
    /// 431.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.options.max_header_bytes = bytes.clamp(8 * 1024, 256 * 1024);
        self
    }

    /// Sets how old the snapshot of a page may be. Defaults to 100 milliseconds: requests within that time share one.
    /// With zero, each snapshot is begun after its request was received. Requests that wait at the same time share
    /// it.
    pub fn max_snapshot_age(mut self, age: Duration) -> Self {
        self.options.max_snapshot_age = age.min(MAX_DURATION);
        self
    }

    /// Sets how long a page waits for sources and rules, at least 100 milliseconds. Defaults to 5 seconds. The header
    /// `X-Prometheus-Scrape-Timeout-Seconds`, less a tenth and at most 30 seconds, takes precedence. A page whose
    /// deadline has passed shows the last good report of a source that has not returned.
    pub fn scrape_timeout(mut self, timeout: Duration) -> Self {
        self.options.scrape_timeout = timeout.clamp(MIN_TIMEOUT, MAX_DURATION);
        self
    }

    /// Requires a token on every path but `/healthz` and `/readyz`, or else answers 401. OPTIONS, which shows no
    /// metrics, needs none. Defaults to none.
    ///
    /// The token is sent as `Authorization: Bearer TOKEN`, or as the password of `Basic` with any user name. So a
    /// browser asks for it, and `basic_auth` of Prometheus works.
    ///
    /// The token is sent in clear: use a reverse proxy with TLS, or stay on loopback.
    ///
    /// # Errors
    ///
    /// If the token is empty, has more than 4,096 bytes, or has characters other than letters, digits and `-._~+/=`.
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
        self.token = Some(AccessToken::new(token.into())?);
        Ok(self)
    }

    /// Sets the hosts that a server without a token also answers on loopback. Defaults to none.
    ///
    /// A web page can let its own name resolve to 127.0.0.1, and would then read this server (DNS rebinding).
    /// Therefore a request that arrives on a loopback address receives 421, except on the probes, if its `Host` is
    /// not an IP address, `localhost`, `*.localhost` or one of these, such as the host that a reverse proxy on this
    /// machine passes on. Ports, letter case and a trailing dot are ignored, and so are values that are no hosts.
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_hosts = host::allowed(hosts);
        self
    }

    /// Returns the server, and starts the [`Monitor`](crate::Monitor) of the aggregator, which runs until the last
    /// clone of the server is dropped.
    ///
    /// From now on, the aggregator takes a snapshot every second on a thread of its own, so that alert states and
    /// series do not depend on when pages are read. With a [`ManualClock`](crate::ManualClock), nothing runs until
    /// [`Monitor::tick`](crate::Monitor::tick).
    #[must_use]
    pub fn build(self) -> Server {
        Server { routes: Arc::new(Routes::new(self.aggregator, self.options, self.token, self.allowed_hosts)) }
    }
}
