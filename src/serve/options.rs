//! The options of a server, with their defaults.

use std::time::Duration;

/// Connections that are accepted beyond `max_connections`, so that probes are still answered.
pub(super) const RESERVED_CONNECTIONS: usize = 32;

/// How long a reserved connection may be open: a probe takes milliseconds.
pub(super) const RESERVED_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a reserved connection stays open although others wait for its permit.
///
/// 32 permits that are reused every 10 ms accept 3,200 connections a second, which empties a listen backlog of 1,024
/// in a third of a second.
pub(super) const RESERVED_MIN_OPEN: Duration = Duration::from_millis(10);

/// Limits `X-Prometheus-Scrape-Timeout-Seconds`, a header that any client may set to any value.
pub(super) const MAX_SCRAPE_TIMEOUT: Duration = Duration::from_secs(30);

/// Lets a client on a loaded machine meet any timeout.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Can be added to any time.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a [`ServerBuilder`](crate::ServerBuilder).
#[derive(Clone, Copy, Debug)]
pub(super) struct ServeOptions {
    /// 256: dozens of scrapers and browser tabs, within the usual limit of 1,024 descriptors.
    pub(super) max_connections: usize,
    /// 5 s: one lost packet is sent again within 1 to 3 s.
    pub(super) header_read_timeout: Duration,
    /// 75 s: longer than a scrape interval of 60 s, so that no scrape races with the close.
    pub(super) idle_timeout: Duration,
    /// 10 s: a page of 100 KB at 10 KB/s.
    pub(super) write_timeout: Duration,
    /// None: a load balancer that reads `/readyz` needs twice its interval.
    pub(super) drain_delay: Duration,
    /// 5 s: half of a scrape timeout, and below the 10 s after which container runtimes kill.
    pub(super) drain_timeout: Duration,
    /// 5 s: half of the default scrape timeout of Prometheus.
    pub(super) scrape_timeout: Duration,
    /// 100 ms: at most 10 collections a second, and a page that still looks live.
    pub(super) max_snapshot_age: Duration,
    /// 100: hyper's own default. For any other value, hyper allocates 64 bytes per header for each request.
    pub(super) max_headers: usize,
    /// 16 KiB: twice what browsers and proxies send.
    pub(super) max_header_bytes: usize,
}

impl ServeOptions {
    pub(super) const DEFAULT: Self = Self {
        max_connections: 256,
        header_read_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(10),
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(5),
        scrape_timeout: Duration::from_secs(5),
        max_snapshot_age: Duration::from_millis(100),
        max_headers: 100,
        max_header_bytes: 16 * 1024,
    };

    /// The options of a reserved connection.
    pub(super) fn reserved(self) -> Self {
        Self {
            header_read_timeout: self.header_read_timeout.min(RESERVED_TIMEOUT),
            write_timeout: self.write_timeout.min(RESERVED_TIMEOUT),
            idle_timeout: Duration::ZERO,
            ..self
        }
    }
}
