//! Every bound of the server in one place, and its default.

use std::time::Duration;

/// Connections beyond the limit that are accepted for a moment, so that probes are answered.
pub(super) const RESERVE: usize = 32;

/// How long one of the reserve may take in all.
pub(super) const RESERVE_STAY: Duration = Duration::from_millis(500);

/// How long one of the reserve may stay where others wait for its place.
///
/// A probe's request comes right behind its connection. 32 places that change hands every 10 ms
/// are 3,200 connections a second: a full queue of the system's (128, or 1,024 where the listener
/// asks for that) is through in a third of one.
pub(super) const RESERVE_STAY_LEAST: Duration = Duration::from_millis(10);

/// The most that a scraper's own timeout can grant the sources: it may say anything.
pub(super) const SCRAPE_TIMEOUT_MOST: Duration = Duration::from_secs(30);

/// The least that hyper's buffer can be told to hold.
pub(super) const HEADER_BYTES_LEAST: usize = 8 * 1024;

/// What a client may take: places, time and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) source_timeout: Duration,
    pub(super) freshness: Duration,
    pub(super) headers: usize,
    pub(super) header_bytes: usize,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self {
        connections: 256,
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(5),
        source_timeout: Duration::from_secs(5),
        freshness: Duration::from_millis(100),
        headers: 100,
        header_bytes: 16 * 1024,
    };

    /// What is left for who comes when every place is taken.
    pub(super) fn of_the_reserve(self) -> Self {
        Self {
            header_timeout: self.header_timeout.min(RESERVE_STAY),
            write_timeout: self.write_timeout.min(RESERVE_STAY),
            ..self
        }
    }
}
