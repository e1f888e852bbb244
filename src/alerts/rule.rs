use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::catch_panic::catch_panic;
use crate::snapshot::{FiringAlert, RuleStatus, Severity, Snapshot};

/// A named condition on a snapshot.
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
    /// Creates a rule that fires while its condition is true.
    ///
    /// The condition is evaluated on every snapshot, and sees the snapshot before `alerts` and `rules` are filled in.
    /// It must not block and should have no side effects: how often it is called depends on how often snapshots are
    /// taken. A panic is caught and counted in [`RuleStatus::failures_total`].
    pub fn new(
        name: impl Into<String>,
        severity: Severity,
        condition: impl Fn(&Snapshot) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), severity, description: String::new(), condition: Arc::new(condition) }
    }

    /// Sets the description, one line for the operator. Defaults to an empty string.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the severity.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Evaluates the condition on a snapshot without alerts. The error is the message of a panic.
    pub(crate) fn evaluate(&self, snapshot: &Snapshot) -> Result<bool, String> {
        catch_panic(|| (self.condition)(snapshot))
    }

    /// Returns the alert that the rule raises on a snapshot taken at `at`.
    pub(crate) fn firing(&self, at: SystemTime, since: SystemTime) -> FiringAlert {
        FiringAlert {
            name: self.name.clone(),
            severity: self.severity,
            description: self.description.clone(),
            at,
            since,
        }
    }

    /// Returns the status of the rule before its first evaluation.
    pub(crate) fn status(&self) -> RuleStatus {
        RuleStatus {
            name: self.name.clone(),
            severity: self.severity,
            description: self.description.clone(),
            ..RuleStatus::default()
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

/// Checks that every rule has a name, and that the names are unique.
///
/// # Errors
///
/// Returns an error that names the first invalid rule.
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
    for (index, rule) in rules.iter().enumerate() {
        if rule.name.is_empty() {
            return Err(AlertRuleError(Kind::EmptyName { number: index + 1, description: rule.description.clone() }));
        }
        if !names.insert(rule.name.as_str()) {
            return Err(AlertRuleError(Kind::DuplicateName(rule.name.clone())));
        }
    }
    Ok(())
}

/// An invalid list of alert rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRuleError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    EmptyName { number: usize, description: String },
    DuplicateName(String),
}

impl AlertRuleError {
    /// Returns whether a rule has an empty name.
    #[must_use]
    pub fn is_empty_name(&self) -> bool {
        matches!(self.0, Kind::EmptyName { .. })
    }

    /// Returns whether two rules have the same name.
    #[must_use]
    pub fn is_duplicate_name(&self) -> bool {
        matches!(self.0, Kind::DuplicateName(_))
    }
}

impl fmt::Display for AlertRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::EmptyName { number, description } if description.is_empty() => {
                write!(f, "alert rule {number} has an empty name: give it one")
            }
            Kind::EmptyName { number, description } => {
                write!(f, "alert rule {number} ({description:?}) has an empty name: give it one")
            }
            Kind::DuplicateName(name) => {
                write!(f, "two alert rules are named {name:?}: give each a name of its own")
            }
        }
    }
}

impl Error for AlertRuleError {}

/// Evaluates rules on a snapshot and returns those that fire, sorted by name.
///
/// Conditions see the snapshot without its `alerts` and `rules`. A rule whose condition panics does not fire; the
/// others are still evaluated.
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
    let seen = if snapshot.alerts.is_empty() && snapshot.rules.is_empty() {
        snapshot
    } else {
        without_alerts = Snapshot { alerts: Vec::new(), rules: Vec::new(), ..snapshot.clone() };
        &without_alerts
    };
    let at = snapshot.at;
    let firing = rules.iter().filter(|rule| rule.evaluate(seen) == Ok(true));
    let mut alerts: Vec<FiringAlert> = firing.map(|rule| rule.firing(at, at)).collect();
    alerts.sort_by(|a, b| a.name.cmp(&b.name));
    alerts
}
