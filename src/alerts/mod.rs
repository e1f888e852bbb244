//! Alert rules: their conditions, their states, and the worker that evaluates them.

pub(crate) mod evaluator;
mod lifecycle;
mod rule;

pub use rule::{AlertRule, AlertRuleError, evaluate_alerts, validate_alert_rules};
