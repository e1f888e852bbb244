//! Rules over a snapshot, and those of them that fire.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::catch_panic::catch_panic;
use crate::snapshot::{Snapshot, rfc3339};

/// How urgent an alert is, from what can wait to what cannot.
///
/// ```
/// use parsec_telemetry::Severity;
///
/// assert_eq!("warning".parse(), Ok(Severity::Warning));
/// assert_eq!(Severity::Critical.to_string(), "critical");
/// assert!(Severity::Info < Severity::Critical);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Unusual, but nobody has to act.
    Info,
    /// To be looked into: traffic is served, and a threshold is crossed that tends to come before
    /// trouble.
    Warning,
    /// To be acted on at once: users feel it, or will within minutes.
    Critical,
}

impl Severity {
    /// Every severity, least urgent first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word that the pages use.
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
        let known = Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == word);
        known.ok_or_else(|| UnknownSeverity {
            word: word.to_owned(),
        })
    }
}

/// A word that is no [`Severity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSeverity {
    word: String,
}

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [info, warning, critical] = Severity::ALL;
        write!(
            f,
            "unknown severity {:?}: use {info}, {warning} or {critical}",
            self.word
        )
    }
}

impl Error for UnknownSeverity {}

/// A condition on a snapshot, with a name to know it by.
///
/// ```
/// use parsec_telemetry::{AlertRule, Severity};
///
/// let cold = AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
///     .description("Cache hit rate below 80 %");
/// assert_eq!(cold.name(), "cache_cold");
/// ```
#[derive(Clone)]
pub struct AlertRule {
    name: String,
    severity: Severity,
    description: String,
    condition: Arc<dyn Fn(&Snapshot) -> bool + Send + Sync>,
}

impl AlertRule {
    /// A rule that fires for the snapshots that its condition is true of.
    ///
    /// The condition is evaluated for every snapshot, on the thread that takes it (for a page over
    /// HTTP, on one of the crate's own), and sees the snapshot before its alerts are filled in. It
    /// should only look: how often it is called depends on how often the pages are read. If it
    /// panics, the panic is caught and counted, and the rule does not fire. If it blocks, so does
    /// [`snapshot`](crate::Aggregator::snapshot); a page over HTTP comes without it, as without a
    /// source that is stuck, and names it.
    pub fn new(
        name: impl Into<String>,
        severity: Severity,
        condition: impl Fn(&Snapshot) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            severity,
            description: String::new(),
            condition: Arc::new(condition),
        }
    }

    /// A line for the operator: what the rule guards against.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// What the pages call the rule.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How urgent it is when the rule fires.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Whether it fires on a snapshot that shows no alerts; `None` if it panicked.
    pub(crate) fn fires(&self, seen: &Snapshot) -> Option<bool> {
        catch_panic(|| (self.condition)(seen))
    }

    fn firing(&self, at: SystemTime) -> FiringAlert {
        FiringAlert {
            name: self.name.clone(),
            severity: self.severity,
            description: self.description.clone(),
            at,
        }
    }
}

impl fmt::Debug for AlertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertRule")
            .field("name", &self.name)
            .field("severity", &self.severity)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// A rule that fired on a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FiringAlert {
    /// The rule's name.
    pub name: String,
    /// The rule's severity.
    pub severity: Severity,
    /// The rule's line for the operator.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When the snapshot was taken on which it fired.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
}

/// Checks that every rule has a name, and that no two have the same.
///
/// # Errors
///
/// The first rule that breaks this, by its name or its place in the list.
///
/// ```
/// use parsec_telemetry::{validate_alert_rules, AlertRule, Severity};
///
/// let rules = ["idle", "idle"].map(|name| AlertRule::new(name, Severity::Info, |s| s.envelopes.rate_per_second == 0.0));
/// let error = validate_alert_rules(&rules).unwrap_err();
/// assert_eq!(error.to_string(), r#"two alert rules are named "idle": give each a name of its own"#);
/// ```
pub fn validate_alert_rules(rules: &[AlertRule]) -> Result<(), AlertRuleError> {
    let mut names = HashSet::new();
    for (at, rule) in rules.iter().enumerate() {
        if rule.name.is_empty() {
            let description = rule.description.clone();
            return Err(AlertRuleError(Fault::NoName {
                place: at + 1,
                description,
            }));
        }
        if !names.insert(rule.name.as_str()) {
            return Err(AlertRuleError(Fault::NameUsedTwice(rule.name.clone())));
        }
    }
    Ok(())
}

/// What is wrong with a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRuleError(Fault);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    NoName { place: usize, description: String },
    NameUsedTwice(String),
}

impl AlertRuleError {
    /// Whether a rule has no name.
    #[must_use]
    pub fn is_empty_name(&self) -> bool {
        matches!(self.0, Fault::NoName { .. })
    }

    /// Whether two rules have the same name.
    #[must_use]
    pub fn is_duplicate_name(&self) -> bool {
        matches!(self.0, Fault::NameUsedTwice(_))
    }
}

impl fmt::Display for AlertRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::NoName { place, description } if description.is_empty() => {
                write!(f, "alert rule {place} has an empty name: give it one")
            }
            Fault::NoName { place, description } => {
                write!(
                    f,
                    "alert rule {place} ({description:?}) has an empty name: give it one"
                )
            }
            Fault::NameUsedTwice(name) => {
                write!(
                    f,
                    "two alert rules are named {name:?}: give each a name of its own"
                )
            }
        }
    }
}

impl Error for AlertRuleError {}

/// The rules that fire on a snapshot, sorted by name.
///
/// A rule sees the snapshot before its alerts are filled in: were there any, they are hidden from
/// it. One that panics does not fire, and the others are not held up.
///
/// ```
/// use parsec_telemetry::{evaluate_alerts, AlertRule, Severity, Snapshot};
///
/// let rules = [AlertRule::new("idle", Severity::Info, |s| s.envelopes.rate_per_second == 0.0)];
/// let firing = evaluate_alerts(&Snapshot::default(), &rules);
/// assert_eq!(firing[0].name, "idle");
/// ```
#[must_use]
pub fn evaluate_alerts(snapshot: &Snapshot, rules: &[AlertRule]) -> Vec<FiringAlert> {
    let without_alerts;
    let seen = if snapshot.alerts.is_empty() {
        snapshot
    } else {
        without_alerts = Snapshot {
            alerts: Vec::new(),
            ..snapshot.clone()
        };
        &without_alerts
    };
    let fire = rules.iter().filter(|rule| rule.fires(seen) == Some(true));
    alerts_of(snapshot.at, fire)
}

/// The alerts of the rules that fire.
pub(crate) fn alerts_of<'a>(
    at: SystemTime,
    fire: impl Iterator<Item = &'a AlertRule>,
) -> Vec<FiringAlert> {
    let mut firing: Vec<FiringAlert> = fire.map(|rule| rule.firing(at)).collect();
    firing.sort_by(|a, b| a.name.cmp(&b.name));
    firing
}
