//! Alert rules: their conditions, their states, and the worker that evaluates them.

pub(crate) mod evaluator;
mod lifecycle;
mod rule;

pub use lifecycle::evaluate_alerts;
pub use rule::{AlertRule, AlertRuleError, validate_alert_rules};
