//! The state of each rule, and what an evaluation makes of it.

use std::time::SystemTime;

use crate::alerts::rule::AlertRule;
use crate::snapshot::{AlertState, FiringAlert, RuleStatus, Snapshot};
use crate::time::Nanos;

/// Evaluates rules on a snapshot and returns those that fire, sorted by name.
///
/// Conditions see the snapshot without its `alerts` and `rules`. A rule whose condition panics does not fire.
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
    let mut seen = Snapshot { alerts: Vec::new(), rules: Vec::new(), ..snapshot.clone() };
    let mut states = RuleStates::new(rules.len());
    states.apply(seen.at, 0, rules.iter().map(|rule| rule.evaluate(&seen)).collect());
    states.fill(rules, &mut seen);
    seen.alerts
}

/// The states of all rules of an aggregator, in the order of its rules.
#[derive(Default)]
pub(super) struct RuleStates {
    states: Vec<RuleState>,
    /// The reading of the latest snapshot that was applied.
    applied: Nanos,
}

#[derive(Clone, Default)]
struct RuleState {
    firing_since: Option<SystemTime>,
    fired: u64,
    failures: u64,
    error: Option<String>,
}

impl RuleStates {
    pub(super) fn new(rules: usize) -> Self {
        Self { states: vec![RuleState::default(); rules], applied: 0 }
    }

    /// Applies the outcomes of one snapshot. Those of a snapshot that is older than the last one applied change
    /// nothing but the count of failures.
    pub(super) fn apply(&mut self, at: SystemTime, reading: Nanos, outcomes: Vec<Result<bool, String>>) {
        let is_current = reading >= self.applied;
        self.applied = self.applied.max(reading);
        for (state, outcome) in self.states.iter_mut().zip(outcomes) {
            if let Err(error) = &outcome {
                state.failures += 1;
                state.error = Some(error.clone());
            } else if is_current {
                state.error = None;
            }
            match outcome {
                Ok(true) if is_current && state.firing_since.is_none() => {
                    state.firing_since = Some(at);
                    state.fired += 1;
                }
                Ok(false) if is_current => state.firing_since = None,
                // A rule that already fires keeps its start, and a failed evaluation every state.
                _ => {}
            }
        }
    }

    /// Counts an evaluation of a rule that has not returned by its deadline.
    pub(super) fn fail(&mut self, rule: usize, error: &str) {
        let state = &mut self.states[rule];
        state.failures += 1;
        state.error = Some(error.to_owned());
    }

    pub(super) fn fill(&self, rules: &[AlertRule], snapshot: &mut Snapshot) {
        let statuses = rules.iter().zip(&self.states).map(|(rule, state)| state.status(rule));
        snapshot.rules = statuses.collect();
        snapshot.rules.sort_by(|a, b| a.name.cmp(&b.name));
        let at = snapshot.at;
        snapshot.alerts = snapshot.rules.iter().filter_map(|rule| alert(rule, at)).collect();
    }
}

impl RuleState {
    fn status(&self, rule: &AlertRule) -> RuleStatus {
        RuleStatus {
            state: if self.firing_since.is_some() { AlertState::Firing } else { AlertState::Inactive },
            since: self.firing_since,
            fired_total: self.fired,
            failures_total: self.failures,
            error: self.error.clone(),
            ..rule.status()
        }
    }
}

/// Returns the alert of a rule that fires on a snapshot taken at `at`.
fn alert(rule: &RuleStatus, at: SystemTime) -> Option<FiringAlert> {
    let (name, description) = (rule.name.clone(), rule.description.clone());
    let since = rule.since.filter(|_| rule.state == AlertState::Firing)?;
    Some(FiringAlert { name, severity: rule.severity, description, at, since })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Severity;
    use std::time::Duration;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn status(states: &RuleStates) -> RuleStatus {
        let rules = [AlertRule::new("cold", Severity::Warning, |_| true)];
        let mut snapshot = Snapshot::empty(at(99));
        states.fill(&rules, &mut snapshot);
        let is_firing = snapshot.rules[0].state == AlertState::Firing;
        assert_eq!(snapshot.alerts.len(), usize::from(is_firing));
        snapshot.rules.remove(0)
    }

    #[test]
    fn failed_evaluation_keeps_the_state_and_is_named_until_the_next_success() {
        let mut states = RuleStates::new(1);
        states.apply(at(1), 1, vec![Ok(true)]);
        states.apply(at(2), 2, vec![Err("panicked".to_owned())]);
        let failed = status(&states);
        assert_eq!((failed.state, failed.since), (AlertState::Firing, Some(at(1))));
        assert_eq!((failed.failures_total, failed.error.as_deref()), (1, Some("panicked")));
        states.apply(at(3), 3, vec![Ok(true)]);
        let again = status(&states);
        assert_eq!((again.since, again.fired_total, again.error), (Some(at(1)), 1, None));
    }

    #[test]
    fn snapshot_older_than_the_last_one_applied_changes_no_state() {
        let mut states = RuleStates::new(1);
        states.apply(at(5), 5, vec![Ok(true)]);
        states.apply(at(4), 4, vec![Ok(false)]);
        assert_eq!(status(&states).state, AlertState::Firing);
        states.apply(at(5), 5, vec![Ok(false)]);
        assert_eq!(status(&states).state, AlertState::Inactive);
    }
}
