//! Everything that a page shows, as plain data.
//!
//! The fields are the keys of the JSON page, in its order.

mod numbers;
mod rfc3339;
mod sections;
mod severity;
mod status;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use numbers::finite_or_zero;
pub use sections::{CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, TokenStats};
pub use severity::{Severity, UnknownSeverity};
pub use status::{AlertState, FiringAlert, RuleStatus, SourceStatus};

/// All telemetry at one point in time: the input of alert rules and of every page.
///
/// A section that no source reports is zero. A snapshot reads back from its JSON as an equal value:
///
/// ```
/// use parsec_telemetry::{Aggregator, EnvelopeCounters, Snapshot};
///
/// let envelopes = EnvelopeCounters::new();
/// envelopes.observe("data");
/// let snapshot = Aggregator::new().source(envelopes).snapshot();
///
/// let page = serde_json::to_string(&snapshot)?;
/// assert_eq!(serde_json::from_str::<Snapshot>(&page)?, snapshot);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// A float that is not finite counts as not reported: JSON has no representation for it, and the pages print 0. A
/// time outside of the years 0 to 9999 is written as the nearest time inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Open channels.
    #[serde(default)]
    pub channels: ChannelStats,
    /// Published envelopes.
    #[serde(default)]
    pub envelopes: EnvelopeStats,
    /// Members of channels.
    #[serde(default)]
    pub presence: PresenceStats,
    /// History buffers.
    #[serde(default)]
    pub history: HistoryStats,
    /// Access tokens.
    #[serde(default)]
    pub tokens: TokenStats,
    /// The cache.
    #[serde(default)]
    pub cache: CacheStats,
    /// When the snapshot was taken. RFC 3339 in UTC.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// The alert rules that fire, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<FiringAlert>,
    /// All alert rules with their states, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStatus>,
    /// All sources, in the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceStatus>,
    /// When the aggregator was created. RFC 3339 in UTC; the Unix epoch if the key is absent.
    #[serde(with = "rfc3339", default = "unix_epoch")]
    pub started_at: SystemTime,
}

impl Snapshot {
    /// Returns the snapshot of an aggregator that was created at `at` and has no sources.
    #[must_use]
    pub fn empty(at: SystemTime) -> Self {
        Self {
            channels: ChannelStats::default(),
            envelopes: EnvelopeStats::default(),
            presence: PresenceStats::default(),
            history: HistoryStats::default(),
            tokens: TokenStats::default(),
            cache: CacheStats::default(),
            at,
            alerts: Vec::new(),
            rules: Vec::new(),
            sources: Vec::new(),
            started_at: at,
        }
    }
}

/// Returns the empty snapshot of the Unix epoch.
impl Default for Snapshot {
    fn default() -> Self {
        Self::empty(SystemTime::UNIX_EPOCH)
    }
}

fn unix_epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at_of(at: SystemTime) -> String {
        serde_json::to_value(Snapshot::empty(at)).expect("a snapshot is JSON")["at"].as_str().expect("text").to_owned()
    }

    #[test]
    fn time_is_written_in_utc_with_the_fewest_fraction_digits() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(at_of(epoch), "1970-01-01T00:00:00Z");
        assert_eq!(at_of(epoch + Duration::from_millis(1500)), "1970-01-01T00:00:01.5Z");
        assert_eq!(at_of(epoch + Duration::from_nanos(1)), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(at_of(epoch - Duration::from_nanos(1)), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn time_out_of_range_is_written_as_the_nearest_in_range() {
        let far = Duration::from_secs(1 << 40);
        assert_eq!(at_of(SystemTime::UNIX_EPOCH - far), "0000-01-01T00:00:00Z");
        assert!(at_of(SystemTime::UNIX_EPOCH + far).starts_with("9999-12-30T"));
    }

    #[test]
    fn float_that_is_not_finite_is_written_as_zero() {
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = f64::NAN;
        snapshot.presence.average_per_channel = f64::INFINITY;
        snapshot.history.buffer_utilization_pct = f64::NEG_INFINITY;
        snapshot.cache.hit_rate_pct = f64::NAN;
        let page = serde_json::to_string(&snapshot).expect("JSON");
        assert_eq!(serde_json::from_str::<Snapshot>(&page).expect("reads back"), Snapshot::default());
    }

    #[test]
    fn invalid_time_is_named_in_the_error() {
        let error = serde_json::from_str::<Snapshot>(r#"{"at":"yesterday"}"#).expect_err("not a time");
        assert!(error.to_string().contains(r#""yesterday" is not a time like 2026-01-01T00:00:00Z"#), "{error}");
    }

    #[test]
    fn unknown_and_absent_keys_are_accepted() {
        let snapshot: Snapshot =
            serde_json::from_str(r#"{"at":"1970-01-01T00:00:00Z","quotas":{"used":1}}"#).expect("read");
        assert_eq!(snapshot, Snapshot::default());
    }
}
