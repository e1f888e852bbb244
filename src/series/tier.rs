use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span and resolution of the [`Series`](crate::Series).
///
/// ```
/// use parsec_telemetry::Tier;
///
/// assert_eq!("hour".parse(), Ok(Tier::Hour));
/// ```
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

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|tier| tier.as_str() == word);
        known.ok_or_else(|| UnknownTier { word: word.to_owned() })
    }
}

/// The error of parsing a [`Tier`] from an unknown word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTier {
    word: String,
}

impl fmt::Display for UnknownTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [minute, hour, day] = Tier::ALL;
        write!(f, "unknown tier {:?}: use {minute}, {hour} or {day}", self.word)
    }
}

impl Error for UnknownTier {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tier_reads_back_from_its_name() {
        for tier in Tier::ALL {
            assert_eq!(tier.as_str().parse(), Ok(tier));
        }
    }

    #[test]
    fn error_of_an_unknown_tier_lists_the_tiers() {
        for word in ["week", "Hour", " day", ""] {
            let error = word.parse::<Tier>().expect_err("not a tier").to_string();
            assert_eq!(error, format!("unknown tier {word:?}: use minute, hour or day"));
        }
    }
}
