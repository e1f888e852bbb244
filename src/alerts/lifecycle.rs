//! The state of each rule, and what an evaluation makes of it.

use std::time::{Duration, SystemTime};

use crate::alerts::rule::AlertRule;
use crate::snapshot::{AlertState, AlertTransition, FiringAlert, RuleStatus, Snapshot};
use crate::time::Nanos;

/// How long a resolved rule is listed as such.
const RESOLVED_FOR: Duration = Duration::from_secs(15 * 60);

/// Evaluates rules on a snapshot and returns those whose condition is true, sorted by name.
///
/// Conditions see the snapshot without its `alerts` and `rules`. A rule whose condition panics does not fire. Nothing
/// is known of earlier snapshots, so [`AlertRule::for_at_least`] and [`AlertRule::keep_firing_for`] have no effect.
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
    let seen = Snapshot { alerts: Vec::new(), rules: Vec::new(), ..snapshot.clone() };
    let firing = rules.iter().filter(|rule| rule.evaluate(&seen) == Ok(true));
    let mut alerts: Vec<_> = firing.map(|rule| alert(&rule.status(), seen.at, seen.at)).collect();
    alerts.sort_by(|a, b| a.name.cmp(&b.name));
    alerts
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
    phase: Phase,
    fired: u64,
    failures: u64,
    error: Option<String>,
}

/// An alert state, and since when: durations are those of the aggregator's clock, and wall times are only shown.
#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Inactive,
    Pending {
        since: Moment,
    },
    Firing {
        since: SystemTime,
        /// When the condition became false, if it is.
        false_since: Option<Nanos>,
    },
    Resolved {
        since: SystemTime,
        resolved: Moment,
    },
}

/// When a snapshot was taken, on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: SystemTime,
    pub(super) reading: Nanos,
}

impl Phase {
    /// Returns the state after an evaluation that succeeded.
    fn next(self, is_true: bool, (for_at_least, keep_firing_for): (Duration, Duration), now: Moment) -> Self {
        let elapsed = |since: Nanos| Duration::from_nanos(now.reading.saturating_sub(since));
        match (self, is_true) {
            (Self::Inactive | Self::Resolved { .. }, true) if for_at_least.is_zero() => {
                Self::Firing { since: now.at, false_since: None }
            }
            (Self::Inactive | Self::Resolved { .. }, true) => Self::Pending { since: now },
            (Self::Pending { since }, true) if elapsed(since.reading) >= for_at_least => {
                Self::Firing { since: since.at, false_since: None }
            }
            (Self::Pending { .. }, false) => Self::Inactive,
            (Self::Firing { since, .. }, true) => Self::Firing { since, false_since: None },
            (Self::Firing { since, false_since }, false) => {
                let false_since = false_since.unwrap_or(now.reading);
                if elapsed(false_since) >= keep_firing_for {
                    Self::Resolved { since, resolved: now }
                } else {
                    Self::Firing { since, false_since: Some(false_since) }
                }
            }
            (Self::Resolved { resolved, .. }, false) if elapsed(resolved.reading) >= RESOLVED_FOR => Self::Inactive,
            (Self::Inactive | Self::Resolved { .. }, false) | (Self::Pending { .. }, true) => self,
        }
    }

    fn state(self) -> AlertState {
        match self {
            Self::Inactive => AlertState::Inactive,
            Self::Pending { .. } => AlertState::Pending,
            Self::Firing { .. } => AlertState::Firing,
            Self::Resolved { .. } => AlertState::Resolved,
        }
    }

    fn since(self) -> Option<SystemTime> {
        match self {
            Self::Inactive => None,
            Self::Pending { since } => Some(since.at),
            Self::Firing { since, .. } | Self::Resolved { since, .. } => Some(since),
        }
    }

    fn resolved_at(self) -> Option<SystemTime> {
        if let Self::Resolved { resolved, .. } = self { Some(resolved.at) } else { None }
    }
}

impl RuleStates {
    pub(super) fn new(rules: usize) -> Self {
        Self { states: vec![RuleState::default(); rules], applied: 0 }
    }

    /// Applies the outcomes of one snapshot, and returns the changes of state. Outcomes of a snapshot that is older
    /// than the last one applied change nothing but the count of failures.
    pub(super) fn apply(
        &mut self,
        rules: &[AlertRule],
        now: Moment,
        outcomes: Vec<Result<bool, String>>,
    ) -> Vec<AlertTransition> {
        let is_current = now.reading >= self.applied;
        self.applied = self.applied.max(now.reading);
        let mut transitions = Vec::new();
        for ((rule, state), outcome) in rules.iter().zip(&mut self.states).zip(outcomes) {
            match outcome {
                Err(error) => state.fail(error, is_current),
                Ok(is_true) if is_current => {
                    state.error = None;
                    let from = state.phase.state();
                    state.phase = state.phase.next(is_true, rule.durations(), now);
                    let to = state.phase.state();
                    if from != to {
                        state.fired += u64::from(to == AlertState::Firing);
                        transitions.push(state.transition(rule, from, now.at));
                    }
                }
                Ok(_) => {}
            }
        }
        transitions
    }

    /// Counts an evaluation of a rule that has not returned by its deadline.
    pub(super) fn fail(&mut self, rule: usize, error: &str) {
        self.states[rule].fail(error.to_owned(), true);
    }

    /// Sets the error of every rule, for a snapshot on which none can be evaluated.
    pub(super) fn defer(&mut self, reason: &str) {
        self.states.iter_mut().for_each(|state| state.error = Some(reason.to_owned()));
    }

    pub(super) fn fill(&self, rules: &[AlertRule], snapshot: &mut Snapshot) {
        let statuses = rules.iter().zip(&self.states).map(|(rule, state)| state.status(rule));
        snapshot.rules = statuses.collect();
        snapshot.rules.sort_by(|a, b| a.name.cmp(&b.name));
        let firing = snapshot.rules.iter().filter(|rule| rule.state == AlertState::Firing);
        let at = snapshot.at;
        snapshot.alerts = firing.map(|rule| alert(rule, at, rule.since.unwrap_or(at))).collect();
    }
}

impl RuleState {
    fn fail(&mut self, error: String, is_current: bool) {
        self.failures += 1;
        self.error = Some(error).filter(|_| is_current).or_else(|| self.error.take());
    }

    fn status(&self, rule: &AlertRule) -> RuleStatus {
        RuleStatus {
            state: self.phase.state(),
            since: self.phase.since(),
            resolved_at: self.phase.resolved_at(),
            fired_total: self.fired,
            failures_total: self.failures,
            error: self.error.clone(),
            ..rule.status()
        }
    }

    fn transition(&self, rule: &AlertRule, from: AlertState, at: SystemTime) -> AlertTransition {
        let RuleStatus { name, severity, description, state: to, since, .. } = self.status(rule);
        AlertTransition { name, severity, description, from, to, at, since }
    }
}

/// Returns the alert of a rule that fires on a snapshot taken at `at`.
fn alert(rule: &RuleStatus, at: SystemTime, since: SystemTime) -> FiringAlert {
    let (name, description) = (rule.name.clone(), rule.description.clone());
    FiringAlert { name, severity: rule.severity, description, at, since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Severity;
    use AlertState::{Firing, Inactive, Pending, Resolved};

    const SECOND: Nanos = 1_000_000_000;

    /// One rule, and its states.
    struct Fixture {
        rules: [AlertRule; 1],
        states: RuleStates,
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    impl Fixture {
        fn new(for_at_least: u64, keep_firing_for: u64) -> Self {
            let rule = AlertRule::new("cold", Severity::Warning, |_| true)
                .for_at_least(Duration::from_secs(for_at_least))
                .keep_firing_for(Duration::from_secs(keep_firing_for));
            Self { rules: [rule], states: RuleStates::new(1) }
        }

        /// Applies an outcome at a second: `None` is a failed evaluation. Returns the status after it.
        fn apply(&mut self, second: u64, outcome: Option<bool>) -> RuleStatus {
            let before = self.status();
            let now = Moment { at: at(second), reading: second * SECOND };
            let outcome = outcome.ok_or_else(|| "panicked".to_owned());
            let transitions = self.states.apply(&self.rules, now, vec![outcome]);
            let after = self.status();
            let changes: Vec<_> = transitions.iter().map(|change| (change.from, change.to, change.at)).collect();
            let expected = (before.state, after.state, at(second));
            assert_eq!(changes, if before.state == after.state { vec![] } else { vec![expected] });
            after
        }

        fn status(&self) -> RuleStatus {
            let mut snapshot = Snapshot::empty(at(99));
            self.states.fill(&self.rules, &mut snapshot);
            assert_eq!(snapshot.alerts.len(), usize::from(snapshot.rules[0].state == Firing));
            snapshot.rules.remove(0)
        }

        fn run(&mut self, outcomes: &[(u64, Option<bool>)]) -> Vec<AlertState> {
            outcomes.iter().map(|&(second, outcome)| self.apply(second, outcome).state).collect()
        }
    }

    const TRUE: Option<bool> = Some(true);
    const FALSE: Option<bool> = Some(false);
    const FAILED: Option<bool> = None;

    #[test]
    fn inactive_rule_becomes_pending_and_without_a_duration_fires_at_once() {
        assert_eq!(Fixture::new(5, 0).run(&[(1, FALSE), (2, FAILED), (3, TRUE)]), [Inactive, Inactive, Pending]);
        assert_eq!(Fixture::new(0, 0).run(&[(1, FALSE), (2, FAILED), (3, TRUE)]), [Inactive, Inactive, Firing]);
    }

    #[test]
    fn pending_rule_fires_once_the_duration_has_elapsed_and_becomes_inactive_before() {
        let mut rule = Fixture::new(5, 0);
        let outcomes = [(1, TRUE), (5, TRUE), (6, FAILED), (6, TRUE)];
        assert_eq!(rule.run(&outcomes), [Pending, Pending, Pending, Firing]);
        assert_eq!(rule.status().since, Some(at(1)));
        let mut rule = Fixture::new(5, 0);
        assert_eq!(rule.run(&[(1, TRUE), (2, FALSE), (3, TRUE), (7, TRUE)]), [Pending, Inactive, Pending, Pending]);
        assert_eq!((rule.status().since, rule.status().fired_total), (Some(at(3)), 0));
    }

    #[test]
    fn firing_rule_is_resolved_once_its_condition_is_false() {
        let mut rule = Fixture::new(0, 0);
        assert_eq!(rule.run(&[(1, TRUE), (2, TRUE), (3, FAILED), (4, FALSE)]), [Firing, Firing, Firing, Resolved]);
        let status = rule.status();
        assert_eq!((status.since, status.resolved_at, status.fired_total), (Some(at(1)), Some(at(4)), 1));
    }

    #[test]
    fn rule_keeps_firing_until_its_condition_has_been_false_for_long_enough() {
        let mut rule = Fixture::new(0, 5);
        let outcomes =
            [(1, TRUE), (2, FALSE), (6, FALSE), (7, TRUE), (8, FALSE), (9, FAILED), (13, FAILED), (14, FALSE)];
        let states = rule.run(&outcomes);
        assert_eq!(states, [Firing, Firing, Firing, Firing, Firing, Firing, Firing, Resolved]);
        assert_eq!((rule.status().since, rule.status().resolved_at), (Some(at(1)), Some(at(14))));
    }

    #[test]
    fn resolved_rule_is_listed_for_fifteen_minutes_unless_a_new_incident_begins() {
        let mut rule = Fixture::new(0, 0);
        let states = rule.run(&[(1, TRUE), (2, FALSE), (901, FALSE), (902, FAILED), (902, FALSE)]);
        assert_eq!(states, [Firing, Resolved, Resolved, Resolved, Inactive]);
        assert_eq!((rule.status().since, rule.status().resolved_at), (None, None));
        let mut rule = Fixture::new(5, 0);
        assert_eq!(rule.run(&[(1, TRUE), (6, TRUE), (7, FALSE), (8, TRUE)]), [Pending, Firing, Resolved, Pending]);
        assert_eq!((rule.status().since, rule.status().resolved_at), (Some(at(8)), None));
    }

    #[test]
    fn failed_evaluation_is_counted_and_named_until_the_next_success() {
        let mut rule = Fixture::new(0, 0);
        rule.apply(1, TRUE);
        let failed = rule.apply(2, FAILED);
        assert_eq!((failed.failures_total, failed.error.as_deref()), (1, Some("panicked")));
        let again = rule.apply(3, TRUE);
        assert_eq!((again.since, again.fired_total, again.error), (Some(at(1)), 1, None));
    }

    #[test]
    fn snapshot_older_than_the_last_one_applied_changes_no_state() {
        let mut rule = Fixture::new(0, 0);
        assert_eq!(rule.run(&[(5, TRUE), (4, FALSE), (5, FALSE)]), [Firing, Firing, Resolved]);
    }

    #[test]
    fn failed_evaluation_of_an_older_snapshot_is_counted_but_not_named() {
        let mut rule = Fixture::new(0, 0);
        rule.apply(5, TRUE);
        let status = rule.apply(4, FAILED);
        assert_eq!((status.state, status.failures_total, status.error), (Firing, 1, None));
    }

    #[test]
    fn rule_survives_a_clock_that_jumps_by_a_century() {
        let century = 100 * 365 * 86_400;
        let states = Fixture::new(5, 5).run(&[(1, TRUE), (century, TRUE), (2 * century, FALSE), (3 * century, FALSE)]);
        assert_eq!(states, [Pending, Firing, Firing, Resolved]);
    }
}
