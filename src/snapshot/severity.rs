use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The urgency of an alert, in ascending order.
///
/// ```
/// use parsec_telemetry::Severity;
///
/// assert_eq!("warning".parse(), Ok(Severity::Warning));
/// assert!(Severity::Info < Severity::Critical);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Unusual, but requires no action.
    #[default]
    Info,
    /// Requires a look: traffic is still served.
    Warning,
    /// Requires immediate action: users are affected, or will be within minutes.
    Critical,
}

impl Severity {
    /// All severities, in ascending order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Returns the name of the severity, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|severity| severity.as_str() == word);
        known.ok_or_else(|| UnknownSeverity { word: word.to_owned() })
    }
}

/// The error of parsing a [`Severity`] from an unknown word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSeverity {
    word: String,
}

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [info, warning, critical] = Severity::ALL;
        write!(f, "unknown severity {:?}: use {info}, {warning} or {critical}", self.word)
    }
}

impl Error for UnknownSeverity {}
