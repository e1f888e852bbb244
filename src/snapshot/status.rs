//! The state of each source and of each alert rule.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::sections::Section;
use super::severity::Severity;
use super::{fields, rfc3339};

/// Whether a source answers, and how old its data is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// The name of the source, unique within its aggregator.
    #[serde(serialize_with = "fields::name")]
    pub name: String,
    /// The short name of the source's type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether the source answers.
    pub up: bool,
    /// The sections of the report in this snapshot. Empty before the first report.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// The age of the report in this snapshot, in seconds. `None` before the first report.
    #[serde(skip_serializing_if = "fields::is_unknown")]
    pub age_seconds: Option<f64>,
    /// The number of calls that panicked.
    #[serde(serialize_with = "fields::count", skip_serializing_if = "fields::is_zero")]
    pub panics_total: u64,
    /// The number of calls that exceeded their deadline.
    #[serde(serialize_with = "fields::count", skip_serializing_if = "fields::is_zero")]
    pub timeouts_total: u64,
    /// The error of the last call. `None` if the call succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The state of an alert rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition is false.
    #[default]
    Inactive,
    /// The condition is true, but has not been for long enough to fire.
    Pending,
    /// The rule fires.
    Firing,
    /// The rule stopped firing within the last 15 minutes.
    Resolved,
}

impl AlertState {
    /// Returns the state as the JSON page writes it, such as `pending`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert rule and its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleStatus {
    /// The name of the rule.
    #[serde(serialize_with = "fields::name")]
    pub name: String,
    /// The severity of the rule.
    pub severity: Severity,
    /// The description of the rule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The state after the rule was evaluated on this snapshot.
    pub state: AlertState,
    /// When the condition became true. `None` while the rule is inactive. RFC 3339 in UTC.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
    /// When the rule stopped firing. `None` unless it is resolved. RFC 3339 in UTC.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<SystemTime>,
    /// How long the condition must be true before the rule fires, in seconds.
    #[serde(skip_serializing_if = "fields::is_zero_or_not_finite")]
    pub for_seconds: f64,
    /// How many times the rule started to fire.
    #[serde(serialize_with = "fields::count", skip_serializing_if = "fields::is_zero")]
    pub fired_total: u64,
    /// The number of evaluations that panicked or exceeded their deadline.
    #[serde(serialize_with = "fields::count", skip_serializing_if = "fields::is_zero")]
    pub failures_total: u64,
    /// The error of the last evaluation. `None` if the evaluation succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An alert rule that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FiringAlertKeys")]
pub struct FiringAlert {
    /// The name of the rule.
    #[serde(serialize_with = "fields::name")]
    pub name: String,
    /// The severity of the rule.
    pub severity: Severity,
    /// The description of the rule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When the snapshot on which the rule fires was taken.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// When the condition became true. Reads back as `at` if the key is absent.
    #[serde(with = "rfc3339")]
    pub since: SystemTime,
}

/// A change of an alert rule's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertTransition {
    /// The name of the rule.
    #[serde(serialize_with = "fields::name")]
    pub name: String,
    /// The severity of the rule.
    pub severity: Severity,
    /// The description of the rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The state before.
    pub from: AlertState,
    /// The state after.
    pub to: AlertState,
    /// When the snapshot was taken that changed the state. RFC 3339 in UTC.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// When the condition became true. `None` if `to` is inactive. RFC 3339 in UTC.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
}

/// A [`FiringAlert`] as it is read: earlier versions wrote no `since`.
#[derive(Deserialize)]
struct FiringAlertKeys {
    name: String,
    severity: Severity,
    #[serde(default)]
    description: String,
    #[serde(deserialize_with = "rfc3339::deserialize")]
    at: SystemTime,
    #[serde(default, deserialize_with = "rfc3339::option::deserialize")]
    since: Option<SystemTime>,
}

impl From<FiringAlertKeys> for FiringAlert {
    fn from(FiringAlertKeys { name, severity, description, at, since }: FiringAlertKeys) -> Self {
        Self { name, severity, description, at, since: since.unwrap_or(at) }
    }
}
