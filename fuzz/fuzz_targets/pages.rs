//! Property: for any names, numbers and times in a snapshot, both pages are valid, and independent readers find the
//! snapshot's values in them: with the names, order and types of the wire contract, with unchanged label values, and
//! nothing else.
//!
//! A float that is not finite has no value: the JSON page shows 0 and names it, and the text page omits it. A count
//! above 2^63 - 1 reads as that, and a time that RFC 3339 cannot represent as the nearest one that it can.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Arbitrary, Unstructured};
use fuzzing::json::Json;
use fuzzing::moment::{Moment, SECOND, read_rfc3339, system_time};
use fuzzing::text::{self, Family, Sample};
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{
    AlertRule, AlertState, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, Format, HistoryStats, PresenceStats,
    RuleStatus, Section, Severity, Snapshot, SourceStatus, TokenStats, evaluate_alerts,
};

#[derive(Arbitrary, Debug)]
struct Input {
    channels: (u64, BTreeMap<Name, u64>),
    envelopes: (Float, BTreeMap<Name, u64>),
    presence: (u64, u64, Float),
    history: (u64, Float),
    tokens: (u64, u64, i64),
    cache: (Float, u64, u64, u64),
    at: Moment,
    rules: Vec<Rule>,
    /// Defaults to the alerts of the rules.
    alerts: Option<Vec<Alert>>,
    sources: Vec<Origin>,
    started_at: Moment,
    unmeasured: BTreeSet<Unmeasured>,
}

/// A name that `unmeasured` may contain.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unmeasured {
    Channels,
    Envelopes,
    Presence,
    History,
    Tokens,
    Cache,
    Rate,
    Average,
    Utilization,
    HitRate,
    /// A name that a later version may write.
    Quotas,
}

impl Unmeasured {
    fn text(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Envelopes => "envelopes",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Tokens => "tokens",
            Self::Cache => "cache",
            Self::Rate => "envelopes.rate_per_second",
            Self::Average => "presence.average_per_channel",
            Self::Utilization => "history.buffer_utilization_pct",
            Self::HitRate => "cache.hit_rate_pct",
            Self::Quotas => "quotas",
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Rule {
    name: Name,
    severity: Level,
    description: Name,
    state: State,
    since: Option<Moment>,
    resolved_at: Option<Moment>,
    for_seconds: Float,
    fired_total: u64,
    failures_total: u64,
    error: Option<Name>,
}

#[derive(Arbitrary, Clone, Debug)]
struct Alert {
    name: Name,
    severity: Level,
    description: Name,
    at: Moment,
    since: Moment,
}

#[derive(Arbitrary, Debug)]
struct Origin {
    name: Name,
    type_name: Name,
    up: bool,
    sections: [bool; 6],
    age_seconds: Option<Float>,
    panics_total: u64,
    timeouts_total: u64,
    error: Option<Name>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Info,
    Warning,
    Critical,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Inactive,
    Pending,
    Firing,
    Resolved,
}

/// Text that is likely to need escaping in one of the formats.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

const SPECIAL: [&str; 20] = [
    "\\", "\"", "\n", "\r", "\\n", "\\\"", "{", "}", "\"}", ",", "=", "=\"", " ", "#", "# HELP ", "\t", "\0", "\u{7f}",
    "\u{85}", "\u{2028}",
];

impl Arbitrary<'_> for Name {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let mut name = String::new();
        for _ in 0..u.int_in_range(0..=8)? {
            if u.arbitrary()? {
                name.push_str(u.choose(&SPECIAL)?);
            } else {
                name.push(u.arbitrary()?);
            }
        }
        Ok(Self(name))
    }
}

#[derive(Clone, Copy, Debug)]
struct Float(f64);

impl Arbitrary<'_> for Float {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        const ODD: [f64; 16] = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            1e-4,
            9.999_999e-5,
            1e21,
            999_999_999_999_999_900_000.0,
            1e16,
            0.1,
            100.0,
        ];
        Ok(Self(match u.int_in_range(0..=2)? {
            0 => *u.choose(&ODD)?,
            1 => u.arbitrary()?,
            // A ratio of counts, as rates and percentages are.
            _ => f64::from(u.arbitrary::<u32>()?) / f64::from(u.arbitrary::<u16>()?),
        }))
    }
}

impl Float {
    /// Returns the value that the pages show.
    fn written(self) -> f64 {
        if self.is_finite() { self.0 } else { 0.0 }
    }

    fn is_finite(self) -> bool {
        !self.0.is_nan() && !self.0.is_infinite()
    }
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Critical,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl State {
    fn state(self) -> AlertState {
        match self {
            Self::Inactive => AlertState::Inactive,
            Self::Pending => AlertState::Pending,
            Self::Firing => AlertState::Firing,
            Self::Resolved => AlertState::Resolved,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Rule {
    fn status(&self) -> RuleStatus {
        RuleStatus {
            name: self.name.0.clone(),
            severity: self.severity.severity(),
            description: self.description.0.clone(),
            state: self.state.state(),
            since: self.since.map(|since| system_time(since.nanos())),
            resolved_at: self.resolved_at.map(|at| system_time(at.nanos())),
            for_seconds: self.for_seconds.0,
            fired_total: self.fired_total,
            failures_total: self.failures_total,
            error: self.error.clone().map(|error| error.0),
        }
    }

    fn fires(&self) -> bool {
        self.state == State::Firing
    }

    /// The time since which a pending or firing rule is so, unless that is before 1970.
    fn since_seconds(&self) -> Option<Float> {
        let since = self.since.filter(|_| matches!(self.state, State::Pending | State::Firing))?.nanos();
        (since >= 0).then(|| Float((since / SECOND) as f64 + (since % SECOND) as f64 / 1e9))
    }

    fn alert_rule(&self) -> AlertRule {
        let fires = self.fires();
        let severity = self.severity.severity();
        AlertRule::new(self.name.0.clone(), severity, move |_| fires).description(self.description.0.clone())
    }
}

impl Origin {
    fn status(&self) -> SourceStatus {
        SourceStatus {
            name: self.name.0.clone(),
            type_name: self.type_name.0.clone(),
            up: self.up,
            sections: Section::ALL.into_iter().zip(self.sections).filter_map(|(it, has)| has.then_some(it)).collect(),
            age_seconds: self.age_seconds.map(|age| age.0),
            panics_total: self.panics_total,
            timeouts_total: self.timeouts_total,
            error: self.error.clone().map(|error| error.0),
        }
    }

    fn age_seconds(&self) -> Option<Float> {
        self.age_seconds.filter(|age| age.is_finite())
    }
}

impl Input {
    fn snapshot(&self) -> Snapshot {
        let alerts = self.alerts();
        let alert = |alert: &Alert| FiringAlert {
            name: alert.name.0.clone(),
            severity: alert.severity.severity(),
            description: alert.description.0.clone(),
            at: system_time(alert.at.nanos()),
            since: system_time(alert.since.nanos()),
        };
        let counts = |names: &BTreeMap<Name, u64>| names.iter().map(|(name, &n)| (name.0.clone(), n)).collect();
        Snapshot {
            channels: ChannelStats { total_active: self.channels.0, by_pattern: counts(&self.channels.1) },
            envelopes: EnvelopeStats { rate_per_second: self.envelopes.0.0, by_aspect: counts(&self.envelopes.1) },
            presence: PresenceStats {
                total_users: self.presence.0,
                total_agents: self.presence.1,
                average_per_channel: self.presence.2.0,
            },
            history: HistoryStats {
                total_envelopes_buffered: self.history.0,
                buffer_utilization_pct: self.history.1.0,
            },
            tokens: TokenStats {
                issued_last_hour: self.tokens.0,
                revoked_last_hour: self.tokens.1,
                active_count: self.tokens.2,
            },
            cache: CacheStats {
                hit_rate_pct: self.cache.0.0,
                size_bytes: self.cache.1,
                size_entries: self.cache.2,
                evictions_last_hour: self.cache.3,
            },
            at: system_time(self.at.nanos()),
            alerts: alerts.iter().map(alert).collect(),
            rules: self.rules.iter().map(Rule::status).collect(),
            sources: self.sources.iter().map(Origin::status).collect(),
            started_at: system_time(self.started_at.nanos()),
            unmeasured: self.unmeasured.iter().map(|name| name.text().to_owned()).collect(),
        }
    }

    /// Returns the names of the JSON page: the listed ones, and each float without a value that is in none of them.
    fn unmeasured(&self) -> Vec<Json> {
        let listed = self.unmeasured.iter();
        let mut names: Vec<Json> = listed.map(|name| string(name.text())).collect();
        for (section, name, float) in [
            (Unmeasured::Envelopes, Unmeasured::Rate, self.envelopes.0),
            (Unmeasured::Presence, Unmeasured::Average, self.presence.2),
            (Unmeasured::History, Unmeasured::Utilization, self.history.1),
            (Unmeasured::Cache, Unmeasured::HitRate, self.cache.0),
        ] {
            let is_listed = self.unmeasured.contains(&section) || self.unmeasured.contains(&name);
            if !float.is_finite() && !is_listed {
                names.push(string(name.text()));
            }
        }
        names
    }

    /// Returns the alerts of the snapshot.
    fn alerts(&self) -> Vec<Alert> {
        self.alerts.clone().unwrap_or_else(|| {
            let firing = self.rules.iter().filter(|rule| rule.fires());
            let alert = |rule: &Rule| Alert {
                name: rule.name.clone(),
                severity: rule.severity,
                description: rule.description.clone(),
                at: self.at,
                since: self.at,
            };
            let mut alerts: Vec<Alert> = firing.map(alert).collect();
            // Stable: rules with the same name keep their order.
            alerts.sort_by(|a, b| a.name.cmp(&b.name));
            alerts
        })
    }
}

// The JSON page

/// The largest integer that clients with 64-bit integers with a sign can read.
fn saturated(n: u64) -> i128 {
    i128::from(n).min(i128::from(i64::MAX))
}

fn int(n: u64) -> Json {
    Json::Int(saturated(n))
}

fn nonzero(n: u64) -> Option<Json> {
    (n != 0).then(|| int(n))
}

fn float(float: Float) -> Json {
    Json::Float(float.written())
}

fn string(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn nonempty(name: &Name) -> Option<Json> {
    (!name.0.is_empty()).then(|| string(&name.0))
}

/// The nearest time that the page can show, as an integer.
fn time(moment: Moment) -> Json {
    // From the year 0 to the last second of 9999 in the time zone with the largest offset.
    const FIRST: i128 = -62_167_219_200 * SECOND;
    const LAST: i128 = 253_402_207_201 * SECOND - 1;
    Json::Int(moment.nanos().clamp(FIRST, LAST))
}

fn counts(names: &BTreeMap<Name, u64>) -> Option<Json> {
    let entry = |(name, &n): (&Name, &u64)| (name.0.clone(), int(n));
    (!names.is_empty()).then(|| Json::Object(names.iter().map(entry).collect()))
}

fn list(values: Vec<Json>) -> Option<Json> {
    (!values.is_empty()).then_some(Json::List(values))
}

/// Returns an object without the keys whose value is `None`.
fn object<const N: usize>(entries: [(&str, Option<Json>); N]) -> Json {
    let present = |(key, value): (&str, Option<Json>)| value.map(|value| (key.to_owned(), value));
    Json::Object(entries.into_iter().filter_map(present).collect())
}

impl Alert {
    fn json(&self) -> Json {
        object([
            ("name", Some(string(&self.name.0))),
            ("severity", Some(string(self.severity.text()))),
            ("description", nonempty(&self.description)),
            ("at", Some(time(self.at))),
            ("since", Some(time(self.since))),
        ])
    }
}

impl Rule {
    fn json(&self) -> Json {
        let for_seconds = Some(self.for_seconds).filter(|seconds| seconds.written() != 0.0);
        object([
            ("name", Some(string(&self.name.0))),
            ("severity", Some(string(self.severity.text()))),
            ("description", nonempty(&self.description)),
            ("state", Some(string(self.state.text()))),
            ("since", self.since.map(time)),
            ("resolved_at", self.resolved_at.map(time)),
            ("for_seconds", for_seconds.map(float)),
            ("fired_total", nonzero(self.fired_total)),
            ("failures_total", nonzero(self.failures_total)),
            ("error", self.error.as_ref().map(|error| string(&error.0))),
        ])
    }
}

impl Origin {
    fn json(&self) -> Json {
        let sections =
            ["channels", "envelopes", "presence", "history", "tokens", "cache"].into_iter().zip(self.sections);
        let sections = sections.filter(|(_, has)| *has).map(|(section, _)| string(section));
        object([
            ("name", Some(string(&self.name.0))),
            ("type", Some(string(&self.type_name.0))),
            ("up", Some(Json::Bool(self.up))),
            ("sections", list(sections.collect())),
            ("age_seconds", self.age_seconds().map(float)),
            ("panics_total", nonzero(self.panics_total)),
            ("timeouts_total", nonzero(self.timeouts_total)),
            ("error", self.error.as_ref().map(|error| string(&error.0))),
        ])
    }
}

/// Returns the object that the contract specifies, with times as integers.
fn json(input: &Input) -> Json {
    let channels = object([("total_active", Some(int(input.channels.0))), ("by_pattern", counts(&input.channels.1))]);
    let envelopes =
        object([("rate_per_second", Some(float(input.envelopes.0))), ("by_aspect", counts(&input.envelopes.1))]);
    let presence = object([
        ("total_users", Some(int(input.presence.0))),
        ("total_agents", Some(int(input.presence.1))),
        ("average_per_channel", Some(float(input.presence.2))),
    ]);
    let history = object([
        ("total_envelopes_buffered", Some(int(input.history.0))),
        ("buffer_utilization_pct", Some(float(input.history.1))),
    ]);
    let tokens = object([
        ("issued_last_hour", Some(int(input.tokens.0))),
        ("revoked_last_hour", Some(int(input.tokens.1))),
        ("active_count", Some(Json::Int(input.tokens.2.into()))),
    ]);
    let cache = object([
        ("hit_rate_pct", Some(float(input.cache.0))),
        ("size_bytes", Some(int(input.cache.1))),
        ("size_entries", nonzero(input.cache.2)),
        ("evictions_last_hour", Some(int(input.cache.3))),
    ]);
    object([
        ("channels", Some(channels)),
        ("envelopes", Some(envelopes)),
        ("presence", Some(presence)),
        ("history", Some(history)),
        ("tokens", Some(tokens)),
        ("cache", Some(cache)),
        ("at", Some(time(input.at))),
        ("alerts", list(input.alerts().iter().map(Alert::json).collect())),
        ("rules", list(input.rules.iter().map(Rule::json).collect())),
        ("sources", list(input.sources.iter().map(Origin::json).collect())),
        ("started_at", Some(time(input.started_at))),
        ("unmeasured", list(input.unmeasured())),
    ])
}

/// Replaces the times of a page by integers.
fn with_times_as_integers(json: Json, is_time: bool) -> Json {
    match json {
        Json::Text(text) if is_time => {
            Json::Int(read_rfc3339(&text).unwrap_or_else(|| panic!("{text:?} is not an RFC 3339 time")))
        }
        Json::Object(entries) => {
            let entry = |(key, value): (String, Json)| {
                // A pattern may have one of these names, but its value is a number.
                let is_time = ["at", "since", "resolved_at", "started_at"].contains(&&*key);
                (key, with_times_as_integers(value, is_time))
            };
            Json::Object(entries.into_iter().map(entry).collect())
        }
        Json::List(values) => {
            let values = values.into_iter();
            Json::List(values.map(|value| with_times_as_integers(value, false)).collect())
        }
        other => other,
    }
}

// The text page

#[derive(Clone, Copy, Debug)]
enum Number {
    Int(i128),
    Float(f64),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Int(saturated(n))
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Int(is.into())
    }
}

impl From<Float> for Number {
    fn from(float: Float) -> Self {
        Self::Float(float.0)
    }
}

impl Number {
    /// Returns whether `text` is exactly this number, and no longer than the longest float.
    fn is_written_as(self, text: &str) -> bool {
        const LONGEST: usize = "-2.2250738585072014e-308".len();
        match self {
            Self::Int(int) => int.to_string() == text,
            Self::Float(float) => text.parse().map(f64::to_bits) == Ok(float.to_bits()) && text.len() <= LONGEST,
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

fn family(name: &str, kind: &str, samples: Vec<Sample<Number>>) -> Family<Number> {
    Family { name: format!("parsec_{name}"), kind: kind.to_owned(), samples }
}

fn gauge(name: &str, value: impl Into<Number>) -> Family<Number> {
    family(name, "gauge", vec![sample([], value)])
}

fn sample<const N: usize>(labels: [(&str, &str); N], value: impl Into<Number>) -> Sample<Number> {
    let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Sample { labels: labels.map(label).into(), value: value.into() }
}

fn by(label: &str, names: &BTreeMap<Name, u64>) -> Vec<Sample<Number>> {
    let names = names.iter();
    names.map(|(name, &n)| sample([(label, &name.0)], n)).collect()
}

/// Returns the families that the contract specifies, in its order.
fn families(input: &Input) -> Vec<Family<Number>> {
    let is_measured = |(section, _): &(Unmeasured, _)| !input.unmeasured.contains(section);
    let sections = section_families(input).into_iter().filter(is_measured);
    let mut families: Vec<Family<Number>> = sections.map(|(_, family)| family).collect();
    families.extend(alert_families(input));
    families.extend(source_families(input));
    let failures = rules_by_name(input).into_iter();
    let failures = failures.map(|(name, rule)| sample([("alert", name)], rule.failures_total));
    families.push(family("telemetry_rule_failures_total", "counter", failures.collect()));
    for family in &mut families {
        let is_known = |number: Number| !matches!(number, Number::Float(float) if !Float(float).is_finite());
        family.samples.retain(|sample| is_known(sample.value));
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

fn section_families(input: &Input) -> Vec<(Unmeasured, Family<Number>)> {
    vec![
        (Unmeasured::Channels, gauge("telemetry_channels_active", input.channels.0)),
        (Unmeasured::Channels, family("telemetry_channels_by_pattern", "gauge", by("pattern", &input.channels.1))),
        (Unmeasured::Envelopes, gauge("telemetry_envelope_rate_per_second", input.envelopes.0)),
        (Unmeasured::Envelopes, family("telemetry_envelopes_by_aspect", "gauge", by("aspect", &input.envelopes.1))),
        (Unmeasured::Envelopes, family("telemetry_envelopes_total", "counter", by("aspect", &input.envelopes.1))),
        (Unmeasured::Presence, gauge("telemetry_presence_total_users", input.presence.0)),
        (Unmeasured::Presence, gauge("telemetry_presence_total_agents", input.presence.1)),
        (Unmeasured::Presence, gauge("telemetry_presence_average_per_channel", input.presence.2)),
        (Unmeasured::History, gauge("telemetry_history_buffered", input.history.0)),
        (Unmeasured::History, gauge("telemetry_history_buffer_utilization_pct", input.history.1)),
        (Unmeasured::Tokens, gauge("telemetry_tokens_issued_last_hour", input.tokens.0)),
        (Unmeasured::Tokens, gauge("telemetry_tokens_revoked_last_hour", input.tokens.1)),
        (Unmeasured::Tokens, gauge("telemetry_tokens_active", Number::Int(input.tokens.2.into()))),
        (Unmeasured::Cache, gauge("telemetry_cache_hit_rate_pct", input.cache.0)),
        (Unmeasured::Cache, gauge("telemetry_cache_size_bytes", input.cache.1)),
        (Unmeasured::Cache, gauge("telemetry_cache_size_entries", input.cache.2)),
        (Unmeasured::Cache, gauge("telemetry_cache_evictions_last_hour", input.cache.3)),
    ]
}

/// Returns the first rule of each name.
fn rules_by_name(input: &Input) -> BTreeMap<&str, &Rule> {
    let mut rules = BTreeMap::new();
    for rule in &input.rules {
        rules.entry(rule.name.0.as_str()).or_insert(rule);
    }
    rules
}

fn alert_families(input: &Input) -> Vec<Family<Number>> {
    let alerts = input.alerts();
    let firing = alerts.iter().map(|alert| (&alert.name, alert.severity));
    let rules = input.rules.iter();
    let firing_rules = rules.clone().filter(|rule| rule.fires());
    let key = |rule: &'_ Rule| (rule.name.clone(), rule.severity);
    let firing: BTreeSet<(Name, Level)> =
        firing.map(|(name, severity)| (name.clone(), severity)).chain(firing_rules.map(key)).collect();
    let known: BTreeSet<(Name, Level)> = rules.map(key).chain(firing.iter().cloned()).collect();
    let samples = |alerts: &BTreeSet<(Name, Level)>| {
        let alerts = alerts.iter();
        let sample = |alert: &(Name, Level)| {
            let labels = [("alert", &*alert.0.0), ("severity", alert.1.text())];
            sample(labels, firing.contains(alert))
        };
        alerts.map(sample).collect()
    };
    let per_rule = |value: fn(&Rule) -> Option<Number>| {
        let sample = |(name, rule): (&str, &Rule)| {
            let labels = [("alert", name), ("severity", rule.severity.text())];
            Some(sample(labels, value(rule)?))
        };
        rules_by_name(input).into_iter().filter_map(sample).collect()
    };
    vec![
        family("alerts_firing", "gauge", samples(&known)),
        family("telemetry_alerts_firing", "gauge", samples(&firing)),
        family("alerts_pending", "gauge", per_rule(|rule| Some((rule.state == State::Pending).into()))),
        family("alerts_since_timestamp_seconds", "gauge", per_rule(|rule| rule.since_seconds().map(Number::from))),
        family("alerts_fired_total", "counter", per_rule(|rule| Some(rule.fired_total.into()))),
    ]
}

fn source_families(input: &Input) -> Vec<Family<Number>> {
    let mut seen = BTreeSet::new();
    let sources = input.sources.iter();
    let sources: Vec<&Origin> = sources.filter(|source| seen.insert((&source.name, &source.type_name))).collect();
    let samples = |read: fn(&Origin) -> Option<Number>| {
        let sample = |source: &&Origin| {
            let labels = [("source", &*source.name.0), ("type", &source.type_name.0)];
            Some(sample(labels, read(source)?))
        };
        sources.iter().filter_map(sample).collect()
    };
    vec![
        family("telemetry_source_up", "gauge", samples(|source| Some(source.up.into()))),
        family("telemetry_source_age_seconds", "gauge", samples(|source| source.age_seconds.map(Number::from))),
        family("telemetry_source_panics_total", "counter", samples(|source| Some(source.panics_total.into()))),
        family("telemetry_source_timeouts_total", "counter", samples(|source| Some(source.timeouts_total.into()))),
    ]
}

/// Compares the families that a reader found with the expected ones.
fn compare<V: Copy + std::fmt::Debug>(
    found: &[Family<V>],
    expected: &[Family<Number>],
    is_equal: fn(Number, V) -> bool,
) {
    let found_names: Vec<_> = found.iter().map(|family| &family.name).collect();
    let expected_names: Vec<_> = expected.iter().map(|family| &family.name).collect();
    assert_eq!(found_names, expected_names);
    for (found, expected) in found.iter().zip(expected) {
        let name = &found.name;
        assert_eq!(found.kind, expected.kind, "{name}");
        assert_eq!(found.samples.len(), expected.samples.len(), "{name}");
        for (sample, expected) in found.samples.iter().zip(&expected.samples) {
            assert_eq!(sample.labels, expected.labels, "{name}");
            assert!(is_equal(expected.value, sample.value), "{name} is {:?}, not {:?}", sample.value, expected.value);
        }
    }
}

/// Selects one page in 32 for the published parser, which takes five times as long as everything else.
fn is_selected(page: &[u8]) -> bool {
    let sum = page.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    sum.is_multiple_of(32)
}

fuzz_target!(|input: Input| {
    let snapshot = input.snapshot();
    if input.alerts.is_none() {
        let rules: Vec<AlertRule> = input.rules.iter().map(Rule::alert_rule).collect();
        assert_eq!(evaluate_alerts(&snapshot, &rules), snapshot.alerts);
    }

    let page = Format::Json.render(&snapshot);
    let found = Json::read(&page).unwrap_or_else(|error| panic!("invalid JSON page: {error}"));
    assert_eq!(with_times_as_integers(found, false), json(&input));

    let page = Format::Prometheus.render(&snapshot);
    let mut expected = families(&input);
    let found = text::read(&page).unwrap_or_else(|error| panic!("invalid text page: {error}"));
    compare(&found, &expected, Number::is_written_as);
    // The published parser does not know an empty page.
    if !page.is_empty()
        && is_selected(&page)
        && let Some(found) = text::read_by_published_parser(&page)
    {
        let found = found.unwrap_or_else(|error| panic!("the published parser rejects the text page: {error}"));
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        compare(&found, &expected, |number, value| number.as_f64() == value);
    }
});
