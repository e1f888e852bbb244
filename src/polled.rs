//! A source that is called on its own period.

use std::time::Duration;

use crate::source::{Schedule, Source, forward_sections};

/// Calls a source once per period instead of for each snapshot.
///
/// For sources that are slow, or that many processes share: a database, a registry of presence. The numbers on a page
/// are then up to one period old; `parsec_telemetry_source_age_seconds` says how old.
///
/// ```
/// use std::time::Duration;
/// use parsec_telemetry::{Aggregator, CacheCounters, CacheSource, Polled};
///
/// # fn info() -> CacheCounters { CacheCounters::default() }
/// let redis = CacheSource::new(|| info());
/// let aggregator = Aggregator::new().named_source("sessions", Polled::every(Duration::from_secs(5), redis));
/// ```
#[derive(Clone, Debug)]
pub struct Polled<S> {
    period: Duration,
    source: S,
}

impl<S: Source> Polled<S> {
    /// Returns the same source with [`Schedule::Every`] as its schedule.
    pub fn every(period: Duration, source: S) -> Self {
        Self { period, source }
    }
}

impl<S: Source> Source for Polled<S> {
    forward_sections!(self => Some(&self.source));

    fn schedule(&self) -> Schedule {
        Schedule::Every(self.period)
    }
}
