//! What a page shows: plain data, owned, with nothing live in it.
//!
//! The names of the fields are the keys of the JSON page, and their order is its order.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::alerts::FiringAlert;

/// The channels that are open.
///
/// ```
/// use parsec_telemetry::ChannelStats;
///
/// let channels = ChannelStats { total_active: 2, by_pattern: [("public:*".to_owned(), 2)].into() };
/// assert_eq!(channels.by_pattern["public:*"], 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelStats {
    /// Channels open now, of any pattern.
    pub total_active: u64,
    /// The same, by the pattern of the channel grammar that they match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_pattern: BTreeMap<String, u64>,
}

/// What has been published.
///
/// ```
/// use parsec_telemetry::EnvelopeStats;
///
/// let envelopes = EnvelopeStats { rate_per_second: 12.5, ..Default::default() };
/// assert!(envelopes.by_aspect.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvelopeStats {
    /// Envelopes a second over the last 60 seconds, or since the counter was made if that is less
    /// long ago.
    #[serde(serialize_with = "finite")]
    pub rate_per_second: f64,
    /// All envelopes since the counter was made, by aspect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_aspect: BTreeMap<String, u64>,
}

/// Who is there.
///
/// ```
/// use parsec_telemetry::PresenceStats;
///
/// let presence = PresenceStats { total_users: 40, total_agents: 2, average_per_channel: 3.5 };
/// assert_eq!(presence.total_users + presence.total_agents, 42);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceStats {
    /// Users present now.
    pub total_users: u64,
    /// Agents present now.
    pub total_agents: u64,
    /// Members, of either kind, in a channel on average.
    #[serde(serialize_with = "finite")]
    pub average_per_channel: f64,
}

/// The history buffers.
///
/// ```
/// use parsec_telemetry::HistoryStats;
///
/// let history = HistoryStats { total_envelopes_buffered: 750, buffer_utilization_pct: 75.0 };
/// assert!(history.buffer_utilization_pct <= 100.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryStats {
    /// Envelopes held now, in all buffers.
    pub total_envelopes_buffered: u64,
    /// How full the buffers are, in percent.
    #[serde(serialize_with = "finite")]
    pub buffer_utilization_pct: f64,
}

/// Tokens, come and gone.
///
/// ```
/// use parsec_telemetry::TokenStats;
///
/// let tokens = TokenStats { issued_last_hour: 10, revoked_last_hour: 1, active_count: 9 };
/// assert_eq!(tokens.active_count, 9);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenStats {
    /// Tokens issued in the last 60 minutes.
    pub issued_last_hour: u64,
    /// Tokens revoked in the last 60 minutes.
    pub revoked_last_hour: u64,
    /// Tokens issued and neither revoked nor expired since. Negative if more went than came: one of
    /// those is counted in the wrong place.
    pub active_count: i64,
}

/// The cache.
///
/// ```
/// use parsec_telemetry::CacheStats;
///
/// let cache = CacheStats { hit_rate_pct: 99.0, ..Default::default() };
/// assert_eq!(cache.size_entries, 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStats {
    /// Look-ups of the last hour that found what they looked for, in percent; 0 when there were
    /// none.
    #[serde(serialize_with = "finite")]
    pub hit_rate_pct: f64,
    /// Bytes held now.
    pub size_bytes: u64,
    /// Entries held now.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_entries: u64,
    /// Entries that had to make room in the last 60 minutes.
    pub evictions_last_hour: u64,
}

/// Everything at one moment: what both pages show, and what alert rules look at.
///
/// A section that no source reports holds its default, zeros. What the JSON page prints reads back
/// to an equal value:
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
/// A float that is not finite, which JSON cannot say, is printed as 0: not reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The channels that are open.
    #[serde(default)]
    pub channels: ChannelStats,
    /// What has been published.
    #[serde(default)]
    pub envelopes: EnvelopeStats,
    /// Who is there.
    #[serde(default)]
    pub presence: PresenceStats,
    /// The history buffers.
    #[serde(default)]
    pub history: HistoryStats,
    /// Tokens, come and gone.
    #[serde(default)]
    pub tokens: TokenStats,
    /// The cache.
    #[serde(default)]
    pub cache: CacheStats,
    /// When the snapshot was taken. Written as RFC 3339 in UTC, up to 30 December 9999.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// The rules that fire, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<FiringAlert>,
}

impl Snapshot {
    /// A snapshot of a moment in which nothing was reported.
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
        }
    }
}

/// The snapshot of the Unix epoch in which nothing was reported: a base for `..Default::default()`
/// in tests.
impl Default for Snapshot {
    fn default() -> Self {
        Self::empty(SystemTime::UNIX_EPOCH)
    }
}

/// The value as the pages show it: one that is not finite was not reported.
pub(crate) fn reported(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

// serde's attributes hand over references.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn finite<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(reported(*value))
}

#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Times as RFC 3339 in UTC with as many of nine fraction digits as it takes.
pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use jiff::Timestamp;
    use jiff::fmt::temporal::DateTimePrinter;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&nearest(*at))
    }

    /// Appends a time to a page.
    pub(crate) fn write(at: SystemTime, page: &mut Vec<u8>) {
        let printed = DateTimePrinter::new().print_timestamp(&nearest(at), page);
        printed.expect("a Vec takes every write");
    }

    /// A time outside of the years that RFC 3339 can write is written as the nearest that it can.
    fn nearest(at: SystemTime) -> Timestamp {
        let end = if at < SystemTime::UNIX_EPOCH {
            EARLIEST
        } else {
            Timestamp::MAX
        };
        Timestamp::try_from(at).unwrap_or(end).max(EARLIEST)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let at: Timestamp = text.parse().map_err(|error| {
            D::Error::custom(format_args!(
                "{text:?} is not a time like 2026-01-01T00:00:00Z: {error}"
            ))
        })?;
        at.try_into().map_err(D::Error::custom)
    }

    /// Midnight of 1 January in the year 0, the first that RFC 3339 can write.
    const EARLIEST: Timestamp = Timestamp::constant(-62_167_219_200, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at_of(at: SystemTime) -> String {
        serde_json::to_value(Snapshot::empty(at)).expect("a snapshot is JSON")["at"]
            .as_str()
            .expect("text")
            .to_owned()
    }

    #[test]
    fn times_are_written_in_utc_with_the_digits_they_need() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(at_of(epoch), "1970-01-01T00:00:00Z");
        assert_eq!(
            at_of(epoch + Duration::from_millis(1500)),
            "1970-01-01T00:00:01.5Z"
        );
        assert_eq!(
            at_of(epoch + Duration::from_nanos(1)),
            "1970-01-01T00:00:00.000000001Z"
        );
        assert_eq!(
            at_of(epoch - Duration::from_nanos(1)),
            "1969-12-31T23:59:59.999999999Z"
        );
    }

    #[test]
    fn a_time_that_cannot_be_written_is_written_as_the_nearest() {
        let far = Duration::from_secs(1 << 40);
        assert_eq!(at_of(SystemTime::UNIX_EPOCH - far), "0000-01-01T00:00:00Z");
        assert!(at_of(SystemTime::UNIX_EPOCH + far).starts_with("9999-12-30T"));
    }

    #[test]
    fn what_is_not_finite_is_not_reported() {
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = f64::NAN;
        snapshot.presence.average_per_channel = f64::INFINITY;
        snapshot.history.buffer_utilization_pct = f64::NEG_INFINITY;
        snapshot.cache.hit_rate_pct = f64::NAN;
        let page = serde_json::to_string(&snapshot).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Snapshot>(&page).expect("reads back"),
            Snapshot::default()
        );
    }

    #[test]
    fn a_bad_time_is_named() {
        let error =
            serde_json::from_str::<Snapshot>(r#"{"at":"yesterday"}"#).expect_err("not a time");
        assert!(
            error
                .to_string()
                .contains(r#""yesterday" is not a time like 2026-01-01T00:00:00Z"#),
            "{error}"
        );
    }

    #[test]
    fn keys_to_come_and_sections_left_out_are_no_errors() {
        let snapshot: Snapshot =
            serde_json::from_str(r#"{"at":"1970-01-01T00:00:00Z","quotas":{"used":1}}"#)
                .expect("read");
        assert_eq!(snapshot, Snapshot::default());
    }
}
