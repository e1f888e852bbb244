//! Every metric of a [`Snapshot`], in the order of the text page and of `docs/METRICS.md`.
//!
//! Only bounded labels are exported; the names of channels, users and tokens never are.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::snapshot::{AlertState, RuleStatus, Section, Severity, Snapshot, SourceStatus};

use AlertState::{Firing, Pending};
use MetricType::{Counter, Gauge};
use Samples::{Labeled, Single};
use Section::{Cache, Channels, Envelopes, History, Presence, Tokens};

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
    Int(i64),
    Float(f64),
}

/// A family whose samples are read from a [`Snapshot`].
pub(crate) struct Metric {
    pub(crate) family: FamilyMetadata,
    /// The section that the samples are read from, if they are from one.
    pub(crate) section: Option<Section>,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the docs"))]
    pub(crate) unit: &'static str,
    pub(crate) samples: Samples,
}

/// How to read the samples of a family. A family without samples is omitted.
pub(crate) enum Samples {
    /// One sample without labels: the path of its value in JSON, and how to read it.
    Single(&'static str, fn(&Snapshot) -> Value),
    /// The names of the labels, and a function that passes the labels' values and the value of each sample to a
    /// callback. Values beyond the names are ignored.
    Labeled(Labels, fn(&Snapshot, Emit<'_>)),
}

pub(crate) type Emit<'a> = &'a mut dyn FnMut(&[&str], Value);

type Labels = &'static [&'static str];

pub(crate) const METRICS: &[Metric] = &[
    gauge("parsec_telemetry_channels_active", "Open channels.")
        .value("channels.total_active", "channels", |s| s.channels.total_active.into())
        .of(Channels),
    gauge("parsec_telemetry_channels_by_pattern", "Open channels by channel pattern.")
        .labeled("channels", &["pattern"], |s, emit| per_key(&s.channels.by_pattern, emit))
        .of(Channels),
    gauge("parsec_telemetry_envelope_rate_per_second", "Envelopes published per second over the last 60 seconds.")
        .value("envelopes.rate_per_second", "envelopes/s", |s| s.envelopes.rate_per_second.into())
        .of(Envelopes),
    gauge("parsec_telemetry_envelopes_by_aspect", "Envelopes published by aspect, for existing dashboards.")
        .labeled("envelopes", &["aspect"], |s, emit| per_key(&s.envelopes.by_aspect, emit))
        .of(Envelopes),
    counter("parsec_telemetry_envelopes_total", "Envelopes published by aspect.")
        .labeled("envelopes", &["aspect"], |s, emit| per_key(&s.envelopes.by_aspect, emit))
        .of(Envelopes),
    gauge("parsec_telemetry_presence_total_users", "Users present.")
        .value("presence.total_users", "users", |s| s.presence.total_users.into())
        .of(Presence),
    gauge("parsec_telemetry_presence_total_agents", "Agents present.")
        .value("presence.total_agents", "agents", |s| s.presence.total_agents.into())
        .of(Presence),
    gauge("parsec_telemetry_presence_average_per_channel", "Mean number of users and agents per channel.")
        .value("presence.average_per_channel", "members", |s| s.presence.average_per_channel.into())
        .of(Presence),
    gauge("parsec_telemetry_history_buffered", "Envelopes in the history buffers.")
        .value("history.total_envelopes_buffered", "envelopes", |s| s.history.total_envelopes_buffered.into())
        .of(History),
    gauge("parsec_telemetry_history_buffer_utilization_pct", "Used capacity of the history buffers.")
        .value("history.buffer_utilization_pct", "percent", |s| s.history.buffer_utilization_pct.into())
        .of(History),
    gauge("parsec_telemetry_tokens_issued_last_hour", "Tokens issued in the last 60 minutes.")
        .value("tokens.issued_last_hour", "tokens", |s| s.tokens.issued_last_hour.into())
        .of(Tokens),
    gauge("parsec_telemetry_tokens_revoked_last_hour", "Tokens revoked in the last 60 minutes.")
        .value("tokens.revoked_last_hour", "tokens", |s| s.tokens.revoked_last_hour.into())
        .of(Tokens),
    gauge("parsec_telemetry_tokens_active", "Tokens issued, less those revoked or expired.")
        .value("tokens.active_count", "tokens", |s| s.tokens.active_count.into())
        .of(Tokens),
    gauge("parsec_telemetry_cache_hit_rate_pct", "Cache lookups of the last 60 minutes that were hits.")
        .value("cache.hit_rate_pct", "percent", |s| s.cache.hit_rate_pct.into())
        .of(Cache),
    gauge("parsec_telemetry_cache_size_bytes", "Size of the cache.")
        .value("cache.size_bytes", "bytes", |s| s.cache.size_bytes.into())
        .of(Cache),
    gauge("parsec_telemetry_cache_size_entries", "Entries in the cache.")
        .value("cache.size_entries", "entries", |s| s.cache.size_entries.into())
        .of(Cache),
    gauge("parsec_telemetry_cache_evictions_last_hour", "Cache entries evicted in the last 60 minutes.")
        .value("cache.evictions_last_hour", "entries", |s| s.cache.evictions_last_hour.into())
        .of(Cache),
    gauge("parsec_alerts_firing", "Whether the alert rule fires: 1 if it does, 0 otherwise.")
        .per_alert("boolean", |s, emit| per_alert(s, |_| true, emit)),
    gauge("parsec_telemetry_alerts_firing", "1 for each alert rule that fires. Rules that do not fire are omitted.")
        .per_alert("boolean", |s, emit| per_alert(s, |fires| fires, emit)),
    gauge("parsec_alerts_pending", "Whether the alert rule is pending: 1 if it is, 0 otherwise.")
        .per_alert("boolean", |s, emit| per_rule(s, |rule| u64::from(rule.state == Pending).into(), emit)),
    gauge("parsec_alerts_since_timestamp_seconds", "When the condition of a pending or firing rule became true.")
        .per_alert("seconds", |s, emit| per_rule(s, since, emit)),
    counter("parsec_alerts_fired_total", "How many times the alert rule started to fire.")
        .per_alert("alerts", |s, emit| per_rule(s, |rule| rule.fired_total.into(), emit)),
    gauge("parsec_telemetry_source_up", "Whether the source answers: 0 while it is stale.")
        .per_source("boolean", |s, emit| per_source(s, |source| u64::from(source.up).into(), emit)),
    gauge("parsec_telemetry_source_age_seconds", "Age of the source's report on this page, once it has reported.")
        .per_source("seconds", |s, emit| per_source(s, |source| source.age_seconds.unwrap_or(f64::NAN).into(), emit)),
    counter("parsec_telemetry_source_panics_total", "Calls of the source that panicked.")
        .per_source("calls", |s, emit| per_source(s, |source| source.panics_total.into(), emit)),
    counter("parsec_telemetry_source_timeouts_total", "Calls of the source that exceeded their deadline.")
        .per_source("calls", |s, emit| per_source(s, |source| source.timeouts_total.into(), emit)),
    counter("parsec_telemetry_rule_failures_total", "Evaluations of the rule that panicked or missed their deadline.")
        .labeled("evaluations", &["alert"], |s, emit| per_rule(s, |rule| rule.failures_total.into(), emit)),
];

/// The path of a value in a snapshot's JSON, its section, and how to read it.
pub(crate) type SectionGauge = (&'static str, Section, fn(&Snapshot) -> Value);

/// Returns the gauges without labels that are read from a section: those that have a series.
pub(crate) fn section_gauges() -> impl Iterator<Item = SectionGauge> {
    METRICS.iter().filter_map(|metric| match (metric.family.metric_type, metric.section, &metric.samples) {
        (Gauge, Some(section), &Single(path, read)) => Some((path, section, read)),
        _ => None,
    })
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> FamilyMetadata {
    FamilyMetadata { metric_type: Gauge, name, help }
}

pub(crate) const fn counter(name: &'static str, help: &'static str) -> FamilyMetadata {
    FamilyMetadata { metric_type: Counter, name, help }
}

impl FamilyMetadata {
    const fn value(self, path: &'static str, unit: &'static str, read: fn(&Snapshot) -> Value) -> Metric {
        Metric { family: self, section: None, unit, samples: Single(path, read) }
    }

    const fn labeled(self, unit: &'static str, labels: Labels, read: fn(&Snapshot, Emit<'_>)) -> Metric {
        Metric { family: self, section: None, unit, samples: Labeled(labels, read) }
    }

    const fn per_alert(self, unit: &'static str, read: fn(&Snapshot, Emit<'_>)) -> Metric {
        self.labeled(unit, &["alert", "severity"], read)
    }

    const fn per_source(self, unit: &'static str, read: fn(&Snapshot, Emit<'_>)) -> Metric {
        self.labeled(unit, &["source", "type"], read)
    }
}

impl Metric {
    const fn of(self, section: Section) -> Self {
        Self { section: Some(section), ..self }
    }
}

impl MetricType {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

/// Saturates at 2^63 − 1, the largest integer that clients in Go read.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

fn per_key(counts: &BTreeMap<String, u64>, emit: Emit<'_>) {
    for (key, &count) in counts {
        emit(&[key], count.into());
    }
}

// A snapshot that was built or read from JSON may contain a name twice. Each label set must appear once: Prometheus
// rejects a page with duplicates.

fn per_rule(snapshot: &Snapshot, value: fn(&RuleStatus) -> Value, emit: Emit<'_>) {
    let mut rules: Vec<&RuleStatus> = snapshot.rules.iter().collect();
    // Stable, so that the first rule of a name is kept.
    rules.sort_by_key(|rule| &rule.name);
    rules.dedup_by_key(|rule| &rule.name);
    for rule in rules {
        emit(&[&rule.name, rule.severity.as_str()], value(rule));
    }
}

/// The Unix time since which a rule is pending or fires, in seconds. Without a value otherwise.
fn since(rule: &RuleStatus) -> Value {
    let since = rule.since.filter(|_| matches!(rule.state, Pending | Firing));
    let since = since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(f64::NAN, |since| since.as_secs_f64()).into()
}

/// Emits every rule, and every firing alert whose rule the snapshot does not contain.
fn per_alert(snapshot: &Snapshot, is_shown: fn(bool) -> bool, emit: Emit<'_>) {
    let rules = snapshot.rules.iter().map(|rule| (&rule.name, rule.severity, rule.state == Firing));
    let alerts = snapshot.alerts.iter().map(|alert| (&alert.name, alert.severity, true));
    let mut states: Vec<(&String, Severity, bool)> = rules.chain(alerts).collect();
    states.sort_by_key(|&(name, severity, _)| (name, severity));
    states.dedup_by(|(name, severity, fires), kept| {
        let is_same = (*name, *severity) == (kept.0, kept.1);
        kept.2 |= is_same && *fires;
        is_same
    });
    for (name, severity, fires) in states.into_iter().filter(|&(_, _, fires)| is_shown(fires)) {
        emit(&[name, severity.as_str()], u64::from(fires).into());
    }
}

fn per_source(snapshot: &Snapshot, value: fn(&SourceStatus) -> Value, emit: Emit<'_>) {
    for (index, source) in snapshot.sources.iter().enumerate() {
        let is_same = |other: &SourceStatus| other.name == source.name && other.type_name == source.type_name;
        if !snapshot.sources[..index].iter().any(is_same) {
            emit(&[&source.name, &source.type_name], value(source));
        }
    }
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
            Single(..) => &[],
            Labeled(labels, _) => labels,
        };
        let mut row = format!("| `{}` | {} |", metric.family.name, metric.family.metric_type.as_str());
        for (index, label) in labels.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(row, "{separator} `{label}`").expect("a String accepts every write");
        }
        // Instances usually share channels and their members: see the docs.
        let scope = match metric.section {
            Some(Channels | Presence) => "shared",
            _ => "process",
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
    fn docs_list_the_series_in_the_order_of_the_catalog() {
        let (_, section) = DOCS.split_once("\n| path | unit |\n| --- | --- |\n").expect("a table");
        let rows = section.lines().take_while(|line| line.starts_with('|'));
        let units = METRICS.iter().filter_map(|metric| match metric.samples {
            Single(path, _) => Some(format!("| `{path}` | {} |", metric.unit)),
            Labeled(..) => None,
        });
        assert_eq!(rows.collect::<Vec<_>>(), units.collect::<Vec<_>>());
    }

    #[test]
    fn path_of_a_gauge_leads_to_its_value_in_the_json_of_its_section() {
        let mut values = 1..;
        let mut next = || values.next().expect("endless");
        let mut snapshot = Snapshot::default();
        snapshot.channels.total_active = next();
        snapshot.envelopes.rate_per_second = next() as f64;
        snapshot.presence.total_users = next();
        snapshot.presence.total_agents = next();
        snapshot.presence.average_per_channel = next() as f64;
        snapshot.history.total_envelopes_buffered = next();
        snapshot.history.buffer_utilization_pct = next() as f64;
        snapshot.tokens.issued_last_hour = next();
        snapshot.tokens.revoked_last_hour = next();
        snapshot.tokens.active_count = next().cast_signed();
        snapshot.cache.hit_rate_pct = next() as f64;
        snapshot.cache.size_bytes = next();
        snapshot.cache.size_entries = next();
        snapshot.cache.evictions_last_hour = next();
        let json = serde_json::to_value(&snapshot).expect("a snapshot is JSON");

        let mut paths = BTreeSet::new();
        for (path, section, read) in section_gauges() {
            let value = match read(&snapshot) {
                Value::Int(value) => value as f64,
                Value::Float(value) => value,
            };
            let at_path = json.pointer(&format!("/{}", path.replace('.', "/"))).expect(path);
            assert_eq!(at_path.as_f64(), Some(value), "{path}");
            assert!(path.starts_with(&format!("{}.", section.as_str())), "{path}");
            assert!(paths.insert(path), "{path} appears twice");
        }
        assert_eq!(paths.len(), 14);
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
