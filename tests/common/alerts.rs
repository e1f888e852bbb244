//! Alert rules whose outcome a test chooses.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use parsec_telemetry::{AlertRule, RuleStatus, Severity, Snapshot};

/// The outcome of an evaluation. A condition that panics is one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    False,
    True,
    Failed,
}

impl Outcome {
    /// What a condition returns for this outcome.
    pub(crate) fn evaluate(self) -> bool {
        match self {
            Self::False => false,
            Self::True => true,
            // Without the message that a panic prints.
            Self::Failed => resume_unwind(Box::new("expected by the test")),
        }
    }
}

/// A condition that a test sets. It is false at first.
#[derive(Clone, Default)]
pub(crate) struct Condition(Arc<AtomicU8>);

impl Condition {
    pub(crate) fn set(&self, outcome: Outcome) {
        self.0.store(outcome as u8, SeqCst);
    }

    pub(crate) fn rule(&self, name: impl Into<String>) -> AlertRule {
        let condition = self.clone();
        AlertRule::new(name, Severity::Warning, move |_| condition.outcome().evaluate())
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let outcome = self.0.load(SeqCst);
        [Outcome::False, Outcome::True, Outcome::Failed][usize::from(outcome)]
    }
}

/// The status of a rule in a snapshot.
pub(crate) fn rule<'a>(snapshot: &'a Snapshot, name: &str) -> &'a RuleStatus {
    let found = snapshot.rules.iter().find(|rule| rule.name == name);
    found.unwrap_or_else(|| panic!("no rule {name} in {:?}", snapshot.rules))
}
