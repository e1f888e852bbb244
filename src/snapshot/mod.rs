//! Everything that a page shows, as plain data. The fields are the keys of the JSON page, in its order.

mod fields;
pub(crate) mod rfc3339;
mod sections;
mod severity;
mod status;

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use fields::MAX_COUNT;
pub use sections::{CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Section, TokenStats};
pub use severity::{Severity, UnknownSeverity};
pub use status::{AlertState, AlertTransition, FiringAlert, RuleStatus, SourceStatus};

/// All telemetry at one point in time: the input of alert rules and of every page.
///
/// A snapshot reads back from its JSON as an equal value:
///
/// ```
/// use parsec_telemetry::{Aggregator, EnvelopeCounters, Section, Snapshot};
///
/// let snapshot = Aggregator::new().source(EnvelopeCounters::new()).snapshot();
/// assert!(snapshot.is_measured(Section::Envelopes));
/// assert!(snapshot.cache.hit_rate_pct.is_nan());
///
/// let page = serde_json::to_string(&snapshot)?;
/// assert_eq!(serde_json::from_str::<Snapshot>(&page)?, snapshot);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Values that are not known
///
/// Unknown is not zero. A float is NaN if no source measures its section, and if it is a ratio without a denominator
/// or a mean over nothing; so `<`, `<=`, `==`, `>=` and `>` on it are false. Counts have no NaN: ask
/// [`is_measured`](Self::is_measured). The text page omits what has no value. The JSON page writes 0 and names the
/// section or the float in `unmeasured`, from which reading a snapshot restores NaN. Any other float that is not
/// finite counts as NaN.
///
/// # Formats
///
/// Use JSON. Formats that are not human-readable, such as those of `rmp-serde`, `bincode` and `postcard`, are refused
/// with an error: they may identify fields by position, which omitted fields would shift. Counts above 2^63 − 1 are
/// written as that, and a time outside of the years 0 to 9999 as the nearest time inside.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Open channels.
    pub channels: ChannelStats,
    /// Published envelopes.
    pub envelopes: EnvelopeStats,
    /// Members of channels.
    pub presence: PresenceStats,
    /// History buffers.
    pub history: HistoryStats,
    /// Access tokens.
    pub tokens: TokenStats,
    /// The cache.
    pub cache: CacheStats,
    /// When the snapshot was taken. RFC 3339 in UTC.
    pub at: SystemTime,
    /// The alert rules that fire, sorted by name.
    pub alerts: Vec<FiringAlert>,
    /// All alert rules with their states, sorted by name.
    pub rules: Vec<RuleStatus>,
    /// All sources, in the order in which they were added.
    pub sources: Vec<SourceStatus>,
    /// When the aggregator was created. RFC 3339 in UTC; the Unix epoch if the key is absent.
    pub started_at: SystemTime,
    /// The sections that no source measures, such as `tokens`, then the floats without a value in those that are
    /// measured, such as `cache.hit_rate_pct`. Where a snapshot is written or compared, other floats that are not finite are added.
    pub unmeasured: Vec<String>,
}

impl Snapshot {
    /// Returns the snapshot of an aggregator that was created at `at` and has no sources: no section is measured. In
    /// the [`Default`], all are.
    #[must_use]
    pub fn empty(at: SystemTime) -> Self {
        let unmeasured = Section::ALL.map(|section| section.as_str().to_owned()).into();
        Self { at, started_at: at, unmeasured, ..Self::default() }.with_nan()
    }

    /// Returns whether a source measures a section. If not, its counts are 0 and its floats NaN.
    #[must_use]
    pub fn is_measured(&self, section: Section) -> bool {
        !is_listed(section.as_str(), &self.unmeasured)
    }

    /// Returns `unmeasured` with every float that has no value.
    pub(crate) fn all_unmeasured(&self) -> Cow<'_, [String]> {
        let mut names = Cow::Borrowed(&self.unmeasured[..]);
        for (name, value) in [
            ("envelopes.rate_per_second", self.envelopes.rate_per_second),
            ("presence.average_per_channel", self.presence.average_per_channel),
            ("history.buffer_utilization_pct", self.history.buffer_utilization_pct),
            ("cache.hit_rate_pct", self.cache.hit_rate_pct),
        ] {
            if !value.is_finite() && !is_listed(name, &names) {
                names.to_mut().push(name.to_owned());
            }
        }
        names
    }

    /// Sets the floats that are listed in `unmeasured` to NaN.
    fn with_nan(mut self) -> Self {
        for name in &self.unmeasured {
            match name.as_str() {
                "envelopes" | "envelopes.rate_per_second" => self.envelopes.rate_per_second = f64::NAN,
                "presence" | "presence.average_per_channel" => self.presence.average_per_channel = f64::NAN,
                "history" | "history.buffer_utilization_pct" => self.history.buffer_utilization_pct = f64::NAN,
                "cache" | "cache.hit_rate_pct" => self.cache.hit_rate_pct = f64::NAN,
                _ => {}
            }
        }
        self
    }
}

/// Returns whether `names` contains a name or its section.
fn is_listed(name: &str, names: &[String]) -> bool {
    let (section, _) = name.split_once('.').unwrap_or((name, ""));
    names.iter().any(|listed| listed == name || listed == section)
}

/// Returns the snapshot of the Unix epoch in which everything is measured and zero.
impl Default for Snapshot {
    fn default() -> Self {
        Self {
            channels: ChannelStats::default(),
            envelopes: EnvelopeStats::default(),
            presence: PresenceStats::default(),
            history: HistoryStats::default(),
            tokens: TokenStats::default(),
            cache: CacheStats::default(),
            at: SystemTime::UNIX_EPOCH,
            alerts: Vec::new(),
            rules: Vec::new(),
            sources: Vec::new(),
            started_at: SystemTime::UNIX_EPOCH,
            unmeasured: Vec::new(),
        }
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.channels == other.channels
            && self.envelopes == other.envelopes
            && self.presence == other.presence
            && self.history == other.history
            && self.tokens == other.tokens
            && self.cache == other.cache
            && self.at == other.at
            && self.alerts == other.alerts
            && self.rules == other.rules
            && self.sources == other.sources
            && self.started_at == other.started_at
            && self.all_unmeasured() == other.all_unmeasured()
    }
}

/// The keys of a [`Snapshot`], in their order.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Snapshot")]
struct Keys {
    #[serde(default)]
    channels: ChannelStats,
    #[serde(default)]
    envelopes: EnvelopeStats,
    #[serde(default)]
    presence: PresenceStats,
    #[serde(default)]
    history: HistoryStats,
    #[serde(default)]
    tokens: TokenStats,
    #[serde(default)]
    cache: CacheStats,
    #[serde(with = "rfc3339")]
    at: SystemTime,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alerts: Vec<FiringAlert>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceStatus>,
    #[serde(with = "rfc3339", default = "unix_epoch")]
    started_at: SystemTime,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unmeasured: Vec<String>,
}

fn unix_epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.all_unmeasured() {
            Cow::Borrowed(_) => Keys::serialize(self, serializer),
            Cow::Owned(unmeasured) => Keys::serialize(&Self { unmeasured, ..self.clone() }, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Err(D::Error::custom(fields::NEEDS_KEYS));
        }
        deserializer.deserialize_map(KeysVisitor)
    }
}

/// Accepts no sequence, which has positions instead of keys.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Snapshot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with the keys of a snapshot")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Snapshot, A::Error> {
        Keys::deserialize(MapAccessDeserializer::new(map)).map(Snapshot::with_nan)
    }
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

    /// A section has no list of what is unmeasured.
    #[test]
    fn float_without_a_value_is_written_as_zero_in_a_section_alone() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let stats = HistoryStats { buffer_utilization_pct: value, ..HistoryStats::default() };
            let page = serde_json::to_string(&stats).expect("JSON");
            assert_eq!(serde_json::from_str::<HistoryStats>(&page).expect("reads back"), HistoryStats::default());
        }
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
