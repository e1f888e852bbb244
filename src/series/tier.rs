use serde::{Deserialize, Serialize};

/// A span and resolution of the [`Series`](crate::Series).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The last minute: 60 samples, one per second.
    Minute,
    /// The last hour: 360 buckets of 10 seconds.
    Hour,
    /// The last day: 288 buckets of 5 minutes.
    Day,
}

impl Tier {
    /// All tiers, from the shortest to the longest.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Returns the name of the tier, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Returns the distance between points, in seconds.
    pub(crate) const fn step(self) -> u64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 10,
            Self::Day => 300,
        }
    }

    /// Returns the number of points that are kept.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Minute => 60,
            Self::Hour => 360,
            Self::Day => 288,
        }
    }
}
