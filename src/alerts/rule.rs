use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::catch_panic::catch_panic;
use crate::label::{MAX_LABEL_LEN, bounded};
use crate::snapshot::{RuleStatus, Severity, Snapshot};

/// A named condition on a snapshot.
///
/// ```
/// use parsec_telemetry::{AlertRule, Section, Severity, Snapshot};
///
/// let condition = |s: &Snapshot| s.is_measured(Section::Tokens) && s.tokens.active_count == 0;
/// let rule = AlertRule::new("no_tokens", Severity::Critical, condition).description("No active tokens");
/// ```
///
/// A float without a value is NaN, for which every comparison but `!=` is false. A count has no NaN: one of a section
/// that no source measures is 0, and a rule on it asks [`Snapshot::is_measured`] first.
///
/// # States
///
/// A rule is inactive, pending, firing or resolved. The transitions are those of Prometheus, and are driven by the
/// aggregator's clock:
///
/// | state | condition true | condition false |
/// | --- | --- | --- |
/// | inactive | pending; firing without [`for_at_least`](Self::for_at_least) | inactive |
/// | pending | firing once it has been true for that long | inactive |
/// | firing | firing | resolved once it has been false for [`keep_firing_for`](Self::keep_firing_for) |
/// | resolved | as inactive | inactive after 15 minutes |
///
/// An evaluation that panics or does not return in time changes no state. States change only when a snapshot is
/// taken: a [`Monitor`](crate::Monitor), which each `Server` starts, takes one every second. They are
/// not persisted: after a restart, every rule is inactive.
///
/// A rule serializes without its condition: `name`, `severity`, `description` (omitted when empty), `for_seconds` and
/// `keep_firing_for_seconds` (omitted when 0).
#[derive(Clone, Serialize)]
pub struct AlertRule {
    name: String,
    severity: Severity,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(rename = "for_seconds", serialize_with = "seconds", skip_serializing_if = "Duration::is_zero")]
    for_at_least: Duration,
    #[serde(rename = "keep_firing_for_seconds", serialize_with = "seconds", skip_serializing_if = "Duration::is_zero")]
    keep_firing_for: Duration,
    #[serde(skip)]
    condition: Arc<dyn Fn(&Snapshot) -> bool + Send + Sync>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl AlertRule {
    /// Creates a rule that fires as soon as and while its condition is true.
    ///
    /// The condition is evaluated on every snapshot, and sees the snapshot before `alerts` and `rules` are filled in.
    /// It must not block and should have no side effects: how often it is called depends on how often snapshots are
    /// taken. A panic is caught and counted in [`RuleStatus::failures_total`].
    pub fn new(
        name: impl Into<String>,
        severity: Severity,
        condition: impl Fn(&Snapshot) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            severity,
            description: String::new(),
            for_at_least: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            condition: Arc::new(condition),
        }
    }

    /// Sets the description, one line for the operator. Defaults to an empty string.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets how long the condition must be true before the rule fires: until then, it is pending. Defaults to zero.
    ///
    /// The rule fires at the first evaluation that finds the time elapsed: under a [`Monitor`](crate::Monitor), at
    /// most a second later. A source that is silent ends no pending: the rule sees its last good report.
    ///
    /// ```
    /// use std::time::Duration;
    /// use parsec_telemetry::{Aggregator, AlertRule, AlertState, ManualClock, Severity};
    ///
    /// let clock = ManualClock::new();
    /// let minute = Duration::from_secs(60);
    /// let rule = AlertRule::new("idle", Severity::Info, |s| s.channels.total_active == 0).for_at_least(minute);
    /// let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![rule])?;
    ///
    /// assert_eq!(aggregator.snapshot().rules[0].state, AlertState::Pending);
    /// clock.advance(minute);
    /// assert_eq!(aggregator.snapshot().rules[0].state, AlertState::Firing);
    /// # Ok::<(), parsec_telemetry::AlertRuleError>(())
    /// ```
    #[must_use]
    pub fn for_at_least(mut self, duration: Duration) -> Self {
        self.for_at_least = duration;
        self
    }

    /// Sets how long the condition must be false before a rule that fires is resolved. Defaults to zero.
    ///
    /// If the condition becomes true within that time, the rule goes on firing, with the same start. A failed
    /// evaluation neither restarts nor ends that time.
    #[must_use]
    pub fn keep_firing_for(mut self, duration: Duration) -> Self {
        self.keep_firing_for = duration;
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
    pub(super) fn evaluate(&self, snapshot: &Snapshot) -> Result<bool, String> {
        catch_panic(|| (self.condition)(snapshot))
    }

    /// Returns how long the condition must be true before the rule fires, and false before it is resolved.
    pub(super) fn durations(&self) -> (Duration, Duration) {
        (self.for_at_least, self.keep_firing_for)
    }

    /// Returns the status of the rule before its first evaluation.
    pub(super) fn status(&self) -> RuleStatus {
        let (name, description) = (self.name.clone(), self.description.clone());
        let for_seconds = self.for_at_least.as_secs_f64();
        RuleStatus { name, severity: self.severity, description, for_seconds, ..RuleStatus::default() }
    }
}

impl fmt::Debug for AlertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertRule")
            .field("name", &self.name)
            .field("severity", &self.severity)
            .field("description", &self.description)
            .field("for_at_least", &self.for_at_least)
            .field("keep_firing_for", &self.keep_firing_for)
            .finish_non_exhaustive()
    }
}

/// Checks that every rule has a name of at most 128 bytes, and that the names are unique.
///
/// # Errors
///
/// Returns an error that names the first invalid rule.
pub fn validate_alert_rules(rules: &[AlertRule]) -> Result<(), AlertRuleError> {
    let mut names = HashSet::new();
    for (index, AlertRule { name, description, .. }) in rules.iter().enumerate() {
        let (kind, message) = if name.is_empty() {
            let rule = if description.is_empty() { String::new() } else { format!(" ({description:?})") };
            (Kind::EmptyName, format!("alert rule {}{rule} has an empty name: give it one", index + 1))
        } else if name.len() > MAX_LABEL_LEN {
            let (rule, length) = (bounded(name), name.len());
            let message = format!("the name of alert rule {rule:?} has {length} bytes: use at most {MAX_LABEL_LEN}");
            (Kind::NameTooLong, message)
        } else if !names.insert(name) {
            (Kind::DuplicateName, format!("two alert rules are named {name:?}: give each a name of its own"))
        } else {
            continue;
        };
        return Err(AlertRuleError { kind, message });
    }
    Ok(())
}

/// An invalid list of alert rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRuleError {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    EmptyName,
    NameTooLong,
    DuplicateName,
}

impl AlertRuleError {
    /// Returns whether a rule has an empty name.
    #[must_use]
    pub fn is_empty_name(&self) -> bool {
        self.kind == Kind::EmptyName
    }

    /// Returns whether the name of a rule is longer than 128 bytes.
    #[must_use]
    pub fn is_name_too_long(&self) -> bool {
        self.kind == Kind::NameTooLong
    }

    /// Returns whether two rules have the same name.
    #[must_use]
    pub fn is_duplicate_name(&self) -> bool {
        self.kind == Kind::DuplicateName
    }
}

impl fmt::Display for AlertRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for AlertRuleError {}
