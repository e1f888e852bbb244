//! The six sections that sources report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::{self, known};

/// A section of a [`Snapshot`](crate::Snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// [`Snapshot::channels`](crate::Snapshot::channels)
    Channels,
    /// [`Snapshot::envelopes`](crate::Snapshot::envelopes)
    Envelopes,
    /// [`Snapshot::presence`](crate::Snapshot::presence)
    Presence,
    /// [`Snapshot::history`](crate::Snapshot::history)
    History,
    /// [`Snapshot::tokens`](crate::Snapshot::tokens)
    Tokens,
    /// [`Snapshot::cache`](crate::Snapshot::cache)
    Cache,
}

impl Section {
    /// All sections, in the order of the JSON page.
    pub const ALL: [Self; 6] =
        [Self::Channels, Self::Envelopes, Self::Presence, Self::History, Self::Tokens, Self::Cache];

    /// Returns the key of the section in the JSON page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Envelopes => "envelopes",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Tokens => "tokens",
            Self::Cache => "cache",
        }
    }
}

/// Open channels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelStats {
    /// The number of open channels.
    #[serde(serialize_with = "fields::count")]
    pub total_active: u64,
    /// The number of open channels that match each channel pattern.
    #[serde(serialize_with = "fields::counts", skip_serializing_if = "BTreeMap::is_empty")]
    pub by_pattern: BTreeMap<String, u64>,
}

/// Published envelopes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvelopeStats {
    /// Envelopes per second over the last 60 seconds, or since the counter was created if that is more recent.
    #[serde(serialize_with = "fields::float")]
    pub rate_per_second: f64,
    /// The number of envelopes since the counter was created, by aspect.
    #[serde(serialize_with = "fields::counts", skip_serializing_if = "BTreeMap::is_empty")]
    pub by_aspect: BTreeMap<String, u64>,
}

/// Members of channels.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceStats {
    /// The number of users present.
    #[serde(serialize_with = "fields::count")]
    pub total_users: u64,
    /// The number of agents present.
    #[serde(serialize_with = "fields::count")]
    pub total_agents: u64,
    /// The mean number of members, users and agents together, per channel. NaN without channels.
    #[serde(serialize_with = "fields::float")]
    pub average_per_channel: f64,
}

/// History buffers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryStats {
    /// The number of envelopes in all history buffers.
    #[serde(serialize_with = "fields::count")]
    pub total_envelopes_buffered: u64,
    /// The used share of the buffers' capacity, in percent. NaN without capacity.
    #[serde(serialize_with = "fields::float")]
    pub buffer_utilization_pct: f64,
}

/// Access tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenStats {
    /// The number of tokens issued in the last 60 minutes.
    #[serde(serialize_with = "fields::count")]
    pub issued_last_hour: u64,
    /// The number of tokens revoked in the last 60 minutes.
    #[serde(serialize_with = "fields::count")]
    pub revoked_last_hour: u64,
    /// Tokens issued, less those revoked or expired. A negative value means that the application reports more
    /// revocations and expirations than issuances.
    pub active_count: i64,
}

/// The cache.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStats {
    /// The share of lookups in the last 60 minutes that were hits, in percent. NaN if there were no lookups.
    #[serde(serialize_with = "fields::float")]
    pub hit_rate_pct: f64,
    /// The size of the cache, in bytes.
    #[serde(serialize_with = "fields::count")]
    pub size_bytes: u64,
    /// The number of entries in the cache.
    #[serde(serialize_with = "fields::count", skip_serializing_if = "fields::is_zero")]
    pub size_entries: u64,
    /// The number of entries evicted in the last 60 minutes.
    #[serde(serialize_with = "fields::count")]
    pub evictions_last_hour: u64,
}

// Floats without a value are equal, so that a snapshot equals its copy and what is read from its page.

impl PartialEq for EnvelopeStats {
    fn eq(&self, other: &Self) -> bool {
        known(self.rate_per_second) == known(other.rate_per_second) && self.by_aspect == other.by_aspect
    }
}

impl PartialEq for PresenceStats {
    fn eq(&self, other: &Self) -> bool {
        let fields = |s: &Self| (s.total_users, s.total_agents, known(s.average_per_channel));
        fields(self) == fields(other)
    }
}

impl PartialEq for HistoryStats {
    fn eq(&self, other: &Self) -> bool {
        let fields = |s: &Self| (s.total_envelopes_buffered, known(s.buffer_utilization_pct));
        fields(self) == fields(other)
    }
}

impl PartialEq for CacheStats {
    fn eq(&self, other: &Self) -> bool {
        let fields = |s: &Self| (known(s.hit_rate_pct), s.size_bytes, s.size_entries, s.evictions_last_hour);
        fields(self) == fields(other)
    }
}
