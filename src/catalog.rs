//! Every metric of a [`Snapshot`], in the order of the text page.
//!
//! `docs/METRICS.md` has the same list, and a test compares the two. Only bounded labels are exported; the names of
//! channels, users and tokens never are.

use std::collections::BTreeMap;

use crate::snapshot::{AlertState, RuleStatus, Severity, Snapshot, SourceStatus};

use MetricType::{Counter, Gauge};
use Samples::{Labeled, Single};
use Scope::{Process, Shared};

/// The name, type and HELP text of a metric family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FamilyMetadata {
    pub(crate) metric_type: MetricType,
    /// The name in the Prometheus format: that of a counter ends in `_total`.
    pub(crate) name: &'static str,
    /// Must not contain a backslash, a quote or a newline, which would need escaping.
    pub(crate) help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricType {
    Counter,
    Gauge,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "a self-metric"))]
    Summary,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// A family whose samples are read from a [`Snapshot`].
#[cfg_attr(not(test), expect(dead_code, reason = "a test compares unit and scope with the docs"))]
pub(crate) struct Metric {
    pub(crate) family: FamilyMetadata,
    pub(crate) unit: &'static str,
    pub(crate) scope: Scope,
    pub(crate) samples: Samples,
}

/// What a value describes, and so how to aggregate it over the instances of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One process: take the sum.
    Process,
    /// State that instances usually share, such as a registry of channels: take the maximum.
    Shared,
}

/// How to read the samples of a family. A family without samples is omitted.
pub(crate) enum Samples {
    /// One sample without labels.
    Single(fn(&Snapshot) -> Value),
    /// The names of the labels, and a function that passes the labels' values and the value of each sample to a
    /// callback.
    Labeled(&'static [&'static str], fn(&Snapshot, Emit<'_>)),
}

pub(crate) type Emit<'a> = &'a mut dyn FnMut(&[&str], Value);

pub(crate) const METRICS: &[Metric] = &[
    Metric {
        family: gauge("parsec_telemetry_channels_active", "Open channels."),
        unit: "channels",
        scope: Shared,
        samples: Single(|s| s.channels.total_active.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_channels_by_pattern", "Open channels by channel pattern."),
        unit: "channels",
        scope: Shared,
        samples: Labeled(&["pattern"], |s, emit| by_key(&s.channels.by_pattern, emit)),
    },
    Metric {
        family: gauge(
            "parsec_telemetry_envelope_rate_per_second",
            "Envelopes published per second over the last 60 seconds.",
        ),
        unit: "envelopes/s",
        scope: Process,
        samples: Single(|s| s.envelopes.rate_per_second.into()),
    },
    Metric {
        family: gauge(
            "parsec_telemetry_envelopes_by_aspect",
            "Envelopes published by aspect. Kept for existing dashboards: prefer parsec_telemetry_envelopes_total.",
        ),
        unit: "envelopes",
        scope: Process,
        samples: Labeled(&["aspect"], |s, emit| by_key(&s.envelopes.by_aspect, emit)),
    },
    Metric {
        family: counter("parsec_telemetry_envelopes_total", "Envelopes published by aspect."),
        unit: "envelopes",
        scope: Process,
        samples: Labeled(&["aspect"], |s, emit| by_key(&s.envelopes.by_aspect, emit)),
    },
    Metric {
        family: gauge("parsec_telemetry_presence_total_users", "Users present."),
        unit: "users",
        scope: Shared,
        samples: Single(|s| s.presence.total_users.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_presence_total_agents", "Agents present."),
        unit: "agents",
        scope: Shared,
        samples: Single(|s| s.presence.total_agents.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_presence_average_per_channel", "Mean number of users and agents per channel."),
        unit: "members",
        scope: Shared,
        samples: Single(|s| s.presence.average_per_channel.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_history_buffered", "Envelopes in the history buffers."),
        unit: "envelopes",
        scope: Process,
        samples: Single(|s| s.history.total_envelopes_buffered.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_history_buffer_utilization_pct", "Used capacity of the history buffers."),
        unit: "percent",
        scope: Process,
        samples: Single(|s| s.history.buffer_utilization_pct.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_tokens_issued_last_hour", "Tokens issued in the last 60 minutes."),
        unit: "tokens",
        scope: Process,
        samples: Single(|s| s.tokens.issued_last_hour.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_tokens_revoked_last_hour", "Tokens revoked in the last 60 minutes."),
        unit: "tokens",
        scope: Process,
        samples: Single(|s| s.tokens.revoked_last_hour.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_tokens_active", "Tokens issued, less those revoked or expired."),
        unit: "tokens",
        scope: Process,
        samples: Single(|s| s.tokens.active_count.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_cache_hit_rate_pct", "Cache lookups of the last 60 minutes that were hits."),
        unit: "percent",
        scope: Process,
        samples: Single(|s| s.cache.hit_rate_pct.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_cache_size_bytes", "Size of the cache."),
        unit: "bytes",
        scope: Process,
        samples: Single(|s| s.cache.size_bytes.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_cache_size_entries", "Entries in the cache."),
        unit: "entries",
        scope: Process,
        samples: Single(|s| s.cache.size_entries.into()),
    },
    Metric {
        family: gauge("parsec_telemetry_cache_evictions_last_hour", "Cache entries evicted in the last 60 minutes."),
        unit: "entries",
        scope: Process,
        samples: Single(|s| s.cache.evictions_last_hour.into()),
    },
    Metric {
        family: gauge("parsec_alerts_firing", "Whether the alert rule fires: 1 if it does, 0 otherwise."),
        unit: "boolean",
        scope: Process,
        samples: Labeled(&["alert", "severity"], |s, emit| {
            for (name, severity, firing) in alerts(s) {
                emit(&[name, severity.as_str()], firing.into());
            }
        }),
    },
    Metric {
        family: gauge(
            "parsec_telemetry_alerts_firing",
            "1 for each alert rule that fires. Rules that do not fire are omitted.",
        ),
        unit: "boolean",
        scope: Process,
        samples: Labeled(&["alert", "severity"], |s, emit| {
            for (name, severity, firing) in alerts(s) {
                if firing {
                    emit(&[name, severity.as_str()], firing.into());
                }
            }
        }),
    },
    Metric {
        family: counter("parsec_alerts_fired_total", "How many times the alert rule started to fire."),
        unit: "alerts",
        scope: Process,
        samples: Labeled(&["alert", "severity"], |s, emit| {
            for rule in rules(s) {
                emit(&[&rule.name, rule.severity.as_str()], rule.fired_total.into());
            }
        }),
    },
    Metric {
        family: gauge(
            "parsec_telemetry_source_up",
            "Whether the source answers: 1 if it does, 0 while its last good report is shown.",
        ),
        unit: "boolean",
        scope: Process,
        samples: Labeled(&["source", "type"], |s, emit| {
            for source in sources(s) {
                emit(&[&source.name, &source.type_name], source.up.into());
            }
        }),
    },
    Metric {
        family: gauge(
            "parsec_telemetry_source_age_seconds",
            "Age of the source's report on this page. Absent before the first report.",
        ),
        unit: "seconds",
        scope: Process,
        samples: Labeled(&["source", "type"], |s, emit| {
            for source in sources(s) {
                if let Some(age) = source.age_seconds.filter(|age| age.is_finite()) {
                    emit(&[&source.name, &source.type_name], age.into());
                }
            }
        }),
    },
    Metric {
        family: counter("parsec_telemetry_source_panics_total", "Calls of the source that panicked."),
        unit: "calls",
        scope: Process,
        samples: Labeled(&["source", "type"], |s, emit| {
            for source in sources(s) {
                emit(&[&source.name, &source.type_name], source.panics_total.into());
            }
        }),
    },
    Metric {
        family: counter("parsec_telemetry_source_timeouts_total", "Calls of the source that exceeded their deadline."),
        unit: "calls",
        scope: Process,
        samples: Labeled(&["source", "type"], |s, emit| {
            for source in sources(s) {
                emit(&[&source.name, &source.type_name], source.timeouts_total.into());
            }
        }),
    },
    Metric {
        family: counter(
            "parsec_telemetry_rule_failures_total",
            "Evaluations of the alert rule that panicked or exceeded their deadline.",
        ),
        unit: "evaluations",
        scope: Process,
        samples: Labeled(&["alert"], |s, emit| {
            for rule in rules(s) {
                emit(&[&rule.name], rule.failures_total.into());
            }
        }),
    },
];

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> FamilyMetadata {
    FamilyMetadata { metric_type: Gauge, name, help }
}

pub(crate) const fn counter(name: &'static str, help: &'static str) -> FamilyMetadata {
    FamilyMetadata { metric_type: Counter, name, help }
}

impl MetricType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Unsigned(value.into())
    }
}

fn by_key(counts: &BTreeMap<String, u64>, emit: Emit<'_>) {
    for (key, &count) in counts {
        emit(&[key], count.into());
    }
}

// A snapshot that was built or read from JSON may contain a name twice. Each label set must appear once: Prometheus
// rejects a page with duplicates.

fn rules(snapshot: &Snapshot) -> Vec<&RuleStatus> {
    let mut rules: Vec<&RuleStatus> = snapshot.rules.iter().collect();
    rules.sort_by_key(|rule| &rule.name);
    rules.dedup_by_key(|rule| &rule.name);
    rules
}

/// Returns name, severity and whether it fires for every rule, and for every firing alert whose rule the snapshot
/// does not contain.
fn alerts(snapshot: &Snapshot) -> Vec<(&str, Severity, bool)> {
    let firing = snapshot.alerts.iter();
    let firing = firing.map(|alert| (alert.name.as_str(), alert.severity, true));
    let rules = snapshot.rules.iter();
    let rules = rules.map(|rule| {
        let firing = rule.state == AlertState::Firing;
        (rule.name.as_str(), rule.severity, firing)
    });
    let mut alerts: Vec<_> = firing.chain(rules).collect();
    // `true` first, so that it is the one that remains.
    alerts.sort_unstable_by_key(|&(name, severity, firing)| (name, severity, !firing));
    alerts.dedup_by_key(|&mut (name, severity, _)| (name, severity));
    alerts
}

fn sources(snapshot: &Snapshot) -> impl Iterator<Item = &SourceStatus> {
    let sources = snapshot.sources.iter().enumerate();
    let is_first = |&(index, source): &(usize, &SourceStatus)| {
        let mut earlier = snapshot.sources[..index].iter();
        !earlier.any(|other| other.name == source.name && other.type_name == source.type_name)
    };
    sources.filter(is_first).map(|(_, source)| source)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    const DOCS: &str = include_str!("../docs/METRICS.md");

    /// Returns the row of a metric in `docs/METRICS.md`.
    fn row(metric: &Metric) -> String {
        let labels: &[&str] = match metric.samples {
            Single(_) => &[],
            Labeled(labels, _) => labels,
        };
        let mut row = format!("| `{}` | {} |", metric.family.name, metric.family.metric_type.as_str());
        for (index, label) in labels.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(row, "{separator} `{label}`").expect("a String accepts every write");
        }
        let scope = match metric.scope {
            Process => "process",
            Shared => "shared",
        };
        row + &format!(" | {} | {scope} | {} |", metric.unit, metric.family.help)
    }

    #[test]
    fn docs_list_the_catalog_in_its_order() {
        let (_, section) = DOCS.split_once("\n### Snapshot\n").expect("a section");
        let (section, _) = section.split_once("\n### ").expect("a next section");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<&str> = rows.collect();
        for (index, metric) in METRICS.iter().enumerate() {
            let row = row(metric);
            assert!(
                rows.get(index) == Some(&row.as_str()),
                "docs/METRICS.md, row {} of \"Snapshot\" must be:\n{row}\nnot:\n{}",
                index + 1,
                rows.get(index).unwrap_or(&"(nothing)")
            );
        }
        assert_eq!(rows.len(), METRICS.len(), "docs/METRICS.md has extra rows");
    }

    #[test]
    fn metadata_follows_the_conventions_of_the_formats() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let FamilyMetadata { metric_type, name, help } = metric.family;
            assert!(names.insert(name), "{name} appears twice");
            assert_eq!(name.ends_with("_total"), metric_type == Counter, "{name}");
            assert!(!help.contains(['\\', '"', '\n']), "{name}: {help}");
        }
    }
}
