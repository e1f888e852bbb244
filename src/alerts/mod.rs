//! Alert rules and their evaluation.

mod rule;

use std::time::SystemTime;

use crate::snapshot::{FiringAlert, Snapshot};

pub use rule::{AlertRule, AlertRuleError, validate_alert_rules};

/// Evaluates rules on a snapshot and returns those that fire, sorted by name.
///
/// Conditions see the snapshot without its `alerts` and `rules`. A rule whose condition panics does
/// not fire; the others are still evaluated.
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
        without_alerts = Snapshot {
            alerts: Vec::new(),
            rules: Vec::new(),
            ..snapshot.clone()
        };
        &without_alerts
    };
    let fire = rules.iter().filter(|rule| rule.fires(seen) == Some(true));
    alerts_of(snapshot.at, fire)
}

/// Returns the alerts of rules that fire, sorted by name.
pub(crate) fn alerts_of<'a>(
    at: SystemTime,
    fire: impl Iterator<Item = &'a AlertRule>,
) -> Vec<FiringAlert> {
    let mut firing: Vec<FiringAlert> = fire.map(|rule| rule.alert(at)).collect();
    firing.sort_by(|a, b| a.name.cmp(&b.name));
    firing
}
