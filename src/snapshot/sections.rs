//! The six sections that sources report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::numbers;

/// Open channels.
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
    /// The number of open channels.
    pub total_active: u64,
    /// The number of open channels that match each channel pattern.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_pattern: BTreeMap<String, u64>,
}

/// Published envelopes.
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
    /// Envelopes per second over the last 60 seconds, or since the counter was created if that is more recent.
    #[serde(serialize_with = "numbers::finite")]
    pub rate_per_second: f64,
    /// The number of envelopes since the counter was created, by aspect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_aspect: BTreeMap<String, u64>,
}

/// Members of channels.
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
    /// The number of users present.
    pub total_users: u64,
    /// The number of agents present.
    pub total_agents: u64,
    /// The mean number of members, users and agents together, per channel.
    #[serde(serialize_with = "numbers::finite")]
    pub average_per_channel: f64,
}

/// History buffers.
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
    /// The number of envelopes in all history buffers.
    pub total_envelopes_buffered: u64,
    /// The used share of the buffers' capacity, in percent.
    #[serde(serialize_with = "numbers::finite")]
    pub buffer_utilization_pct: f64,
}

/// Access tokens.
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
    /// The number of tokens issued in the last 60 minutes.
    pub issued_last_hour: u64,
    /// The number of tokens revoked in the last 60 minutes.
    pub revoked_last_hour: u64,
    /// Tokens issued, less those revoked or expired. A negative value means that the application reports more
    /// revocations and expirations than issuances.
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
    /// The share of lookups in the last 60 minutes that were hits, in percent. 0 if there were no lookups.
    #[serde(serialize_with = "numbers::finite")]
    pub hit_rate_pct: f64,
    /// The size of the cache, in bytes.
    pub size_bytes: u64,
    /// The number of entries in the cache.
    #[serde(skip_serializing_if = "numbers::is_zero")]
    pub size_entries: u64,
    /// The number of entries evicted in the last 60 minutes.
    pub evictions_last_hour: u64,
}
