//! What a reader of the series gets, as plain data. The fields are the keys of its JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::series::tier::Tier;
use crate::snapshot::{AlertState, rfc3339};

/// The recent past of the numbers of a [`Snapshot`](crate::Snapshot), sampled once per second by a
/// [`Monitor`](crate::Monitor).
///
/// The axis is in Unix seconds. `docs/METRICS.md` in the repository lists the series and the JSON keys, and
/// [`Monitor`](crate::Monitor) has an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// When the series were read. RFC 3339 in UTC.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// When the aggregator was created. A different value than in an earlier response means that the process
    /// restarted. RFC 3339 in UTC.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
    /// The tiers that were asked for, from the shortest to the longest.
    pub tiers: Vec<TierSeries>,
    /// The last 128 changes of the states of alert rules, oldest first, without those before the span of the longest
    /// tier in `tiers`.
    pub events: Vec<SeriesEvent>,
}

/// The points of one [`Tier`]: every list has `n`, oldest first, and `None` is a gap.
///
/// A series without any value among these points is omitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierSeries {
    /// The tier. Its key in JSON is `name`.
    #[serde(rename = "name")]
    pub tier: Tier,
    /// The distance between points, in seconds: 1, 10 or 300.
    pub step: u64,
    /// Where the newest point of the tier ends, in Unix seconds, a multiple of `step`. A later request with this as
    /// `since` returns newer points only. `None` before the first complete bucket.
    pub end: Option<u64>,
    /// The number of points, from 0 to 60, 360 or 288. The last one ends at `end`.
    pub n: usize,
    /// The points by the path of the value in a snapshot's JSON, such as `envelopes.rate_per_second`.
    ///
    /// A value is a gap while a source of its section is stale, while no source measures the section, while the value
    /// is not known, and in seconds without a sample. A bucket without samples is a gap.
    pub series: BTreeMap<String, SeriesPoints>,
    /// Events per second by aspect: samples in [`Tier::Minute`], the mean of each bucket in [`Tier::Hour`]. Empty in
    /// [`Tier::Day`].
    ///
    /// The first sample, one in which the count is less than before, and one in which the aspect is absent are gaps.
    /// The first 64 aspects by appearance have a series of their own. `other` is the sum of the rest, an aspect of
    /// this name included.
    pub aspects: BTreeMap<String, Vec<Option<f32>>>,
}

/// The points of one value: samples in [`Tier::Minute`], otherwise their mean, minimum and maximum per bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoints {
    /// The samples, or the mean of those in each bucket.
    pub avg: Vec<Option<f32>>,
    /// The minimum of each bucket. Empty, and omitted from JSON, in [`Tier::Minute`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub min: Vec<Option<f32>>,
    /// The maximum of each bucket. Empty, and omitted from JSON, in [`Tier::Minute`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub max: Vec<Option<f32>>,
}

/// A change of an alert rule's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesEvent {
    /// The time of the first sample with this state, in Unix seconds.
    pub t: u64,
    /// The name of the rule.
    pub alert: String,
    /// The state since then.
    pub to: AlertState,
}
