//! Law: whatever the names, the numbers and the times of a snapshot, both of its pages are pages, and readers that are
//! none of ours find in both the numbers that the snapshot has: under the names, in the order and of the types of the
//! wire contract, with every label whole, and nothing else.
//!
//! The JSON page, which is written by hand, is also to the byte what serde makes of the snapshot.
//!
//! A float that is not finite reads as 0, and a time that RFC 3339 cannot write as the nearest that it can.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Arbitrary, Unstructured};
use fuzzing::json::Json;
use fuzzing::moment::{Moment, SECOND, read_rfc3339, system_time};
use fuzzing::text::{self, Family, Sample};
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{
    AlertRule, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, Format, HistoryStats,
    PresenceStats, Severity, Snapshot, TokenStats, evaluate_alerts,
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
    /// Instead of those that the rules make of the snapshot.
    alerts: Option<Vec<Alert>>,
}

#[derive(Arbitrary, Debug)]
struct Rule {
    name: Name,
    severity: Word,
    description: Name,
    fires: bool,
}

#[derive(Arbitrary, Debug)]
struct Alert {
    name: Name,
    severity: Word,
    description: Name,
    at: Moment,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Info,
    Warning,
    Critical,
}

/// Text that is likely to be hard on one of the formats.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

const HARD: [&str; 20] = [
    "\\", "\"", "\n", "\r", "\\n", "\\\"", "{", "}", "\"}", ",", "=", "=\"", " ", "#", "# HELP ",
    "\t", "\0", "\u{7f}", "\u{85}", "\u{2028}",
];

impl Arbitrary<'_> for Name {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let mut name = String::new();
        for _ in 0..u.int_in_range(0..=8)? {
            if u.arbitrary()? {
                name.push_str(u.choose(&HARD)?);
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
            // As a rate or a percentage is: a ratio of counts.
            _ => f64::from(u.arbitrary::<u32>()?) / f64::from(u.arbitrary::<u16>()?),
        }))
    }
}

impl Float {
    /// As the pages show it.
    fn shown(self) -> f64 {
        if self.0.is_nan() || self.0.is_infinite() {
            0.0
        } else {
            self.0
        }
    }
}

impl Word {
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

impl Input {
    fn snapshot(&self, alerts: Vec<FiringAlert>) -> Snapshot {
        let counts = |names: &BTreeMap<Name, u64>| {
            names.iter().map(|(name, &n)| (name.0.clone(), n)).collect()
        };
        Snapshot {
            channels: ChannelStats {
                total_active: self.channels.0,
                by_pattern: counts(&self.channels.1),
            },
            envelopes: EnvelopeStats {
                rate_per_second: self.envelopes.0.0,
                by_aspect: counts(&self.envelopes.1),
            },
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
            alerts,
        }
    }

    fn rules(&self) -> Vec<AlertRule> {
        let rule = |rule: &Rule| {
            let fires = rule.fires;
            AlertRule::new(rule.name.0.clone(), rule.severity.severity(), move |_| {
                fires
            })
            .description(rule.description.0.clone())
        };
        self.rules.iter().map(rule).collect()
    }

    /// The alerts of the snapshot, as they are given.
    fn given(&self) -> Option<Vec<FiringAlert>> {
        let alert = |alert: &Alert| FiringAlert {
            name: alert.name.0.clone(),
            severity: alert.severity.severity(),
            description: alert.description.0.clone(),
            at: system_time(alert.at.nanos()),
        };
        self.alerts
            .as_ref()
            .map(|alerts| alerts.iter().map(alert).collect())
    }

    /// The alerts that ought to be in the snapshot: name, severity, description and time.
    fn alerts(&self) -> Vec<(&str, &str, &str, i128)> {
        match &self.alerts {
            Some(alerts) => alerts
                .iter()
                .map(|alert| {
                    let at = alert.at.nanos();
                    (
                        alert.name.0.as_str(),
                        alert.severity.text(),
                        alert.description.0.as_str(),
                        at,
                    )
                })
                .collect(),
            None => {
                let mut firing: Vec<_> = self
                    .rules
                    .iter()
                    .filter(|rule| rule.fires)
                    .map(|rule| {
                        let at = self.at.nanos();
                        (
                            rule.name.0.as_str(),
                            rule.severity.text(),
                            rule.description.0.as_str(),
                            at,
                        )
                    })
                    .collect();
                // Stable: of rules with one name, the one that was added first.
                firing.sort_by_key(|&(name, ..)| name);
                firing
            }
        }
    }
}

// The JSON page

/// The object that the contract describes. Times are left as the integers that they stand for.
fn json(input: &Input) -> Json {
    let int = |n: u64| Json::Int(n.into());
    let float = |float: Float| Json::Float(float.shown());
    let object = |entries: Vec<(&str, Option<Json>)>| {
        let present =
            |(key, value): (&str, Option<Json>)| value.map(|value| (key.to_owned(), value));
        Json::Object(entries.into_iter().filter_map(present).collect())
    };
    let counts = |names: &BTreeMap<Name, u64>| {
        let entry = |(name, &n): (&Name, &u64)| (name.0.clone(), int(n));
        (!names.is_empty()).then(|| Json::Object(names.iter().map(entry).collect()))
    };
    let at = |nanos: i128| Some(Json::Int(written(nanos)));
    let text = |text: &str| Some(Json::Text(text.to_owned()));
    let alerts: Vec<Json> = input
        .alerts()
        .into_iter()
        .map(|(name, severity, description, when)| {
            object(vec![
                ("name", text(name)),
                ("severity", text(severity)),
                (
                    "description",
                    text(description).filter(|_| !description.is_empty()),
                ),
                ("at", at(when)),
            ])
        })
        .collect();
    object(vec![
        (
            "channels",
            Some(object(vec![
                ("total_active", Some(int(input.channels.0))),
                ("by_pattern", counts(&input.channels.1)),
            ])),
        ),
        (
            "envelopes",
            Some(object(vec![
                ("rate_per_second", Some(float(input.envelopes.0))),
                ("by_aspect", counts(&input.envelopes.1)),
            ])),
        ),
        (
            "presence",
            Some(object(vec![
                ("total_users", Some(int(input.presence.0))),
                ("total_agents", Some(int(input.presence.1))),
                ("average_per_channel", Some(float(input.presence.2))),
            ])),
        ),
        (
            "history",
            Some(object(vec![
                ("total_envelopes_buffered", Some(int(input.history.0))),
                ("buffer_utilization_pct", Some(float(input.history.1))),
            ])),
        ),
        (
            "tokens",
            Some(object(vec![
                ("issued_last_hour", Some(int(input.tokens.0))),
                ("revoked_last_hour", Some(int(input.tokens.1))),
                ("active_count", Some(Json::Int(input.tokens.2.into()))),
            ])),
        ),
        (
            "cache",
            Some(object(vec![
                ("hit_rate_pct", Some(float(input.cache.0))),
                ("size_bytes", Some(int(input.cache.1))),
                (
                    "size_entries",
                    Some(int(input.cache.2)).filter(|_| input.cache.2 > 0),
                ),
                ("evictions_last_hour", Some(int(input.cache.3))),
            ])),
        ),
        ("at", at(input.at.nanos())),
        (
            "alerts",
            Some(Json::List(alerts)).filter(|alerts| *alerts != Json::List(Vec::new())),
        ),
    ])
}

/// The nearest time that the page can write: from the year 0 to the last that the time zone at the end of the world
/// sees of the year 9999.
fn written(nanos: i128) -> i128 {
    const FIRST: i128 = -62_167_219_200 * SECOND;
    const LAST: i128 = 253_402_207_201 * SECOND - 1;
    nanos.clamp(FIRST, LAST)
}

/// The page with its times, and those of its alerts, as what they stand for.
fn with_times_read(json: Json, of_times: bool) -> Json {
    match json {
        Json::Text(text) if of_times => Json::Int(
            read_rfc3339(&text).unwrap_or_else(|| panic!("{text:?} is no time in RFC 3339")),
        ),
        // A pattern may be named `at`, but what it has is no text.
        Json::Object(entries) => Json::Object(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let is_time = key == "at";
                    (key, with_times_read(value, is_time))
                })
                .collect(),
        ),
        Json::List(values) => Json::List(
            values
                .into_iter()
                .map(|value| with_times_read(value, false))
                .collect(),
        ),
        other => other,
    }
}

// The Prometheus page

#[derive(Clone, Copy, Debug)]
enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// Whether a text is this number, to the last bit, and no longer than any float has to be.
    fn is_written_as(self, text: &str) -> bool {
        const LONGEST: usize = "-2.2250738585072014e-308".len();
        match self {
            Self::Int(int) => int.to_string() == text,
            Self::Float(float) => {
                text.parse().map(f64::to_bits) == Ok(float.to_bits()) && text.len() <= LONGEST
            }
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

/// The families that the contract describes, in its order.
fn families(input: &Input) -> Vec<Family<Number>> {
    let int = |n: u64| Number::Int(n.into());
    let float = |float: Float| Number::Float(float.shown());
    let family = |name: &str, kind: &str, samples| Family {
        name: name.to_owned(),
        kind: kind.to_owned(),
        samples,
    };
    let gauge = |name: &str, value: Number| {
        let labels = Vec::new();
        family(name, "gauge", vec![Sample { labels, value }])
    };
    let by = |name: &str, kind: &str, label: &str, names: &BTreeMap<Name, u64>| {
        let sample = |(name, &n): (&Name, &u64)| Sample {
            labels: vec![(label.to_owned(), name.0.clone())],
            value: int(n),
        };
        family(name, kind, names.iter().map(sample).collect())
    };

    let severities = ["info", "warning", "critical"];
    let rank = |severity: &str| severities.iter().position(|known| *known == severity);
    let firing: BTreeSet<_> = input
        .alerts()
        .into_iter()
        .map(|(name, severity, ..)| (name.to_owned(), rank(severity)))
        .collect();
    let ruled = input
        .rules
        .iter()
        .map(|rule| (rule.name.0.clone(), rank(rule.severity.text())));
    let known: BTreeSet<_> = ruled.chain(firing.iter().cloned()).collect();
    let by_alert = |name: &str, alerts: &BTreeSet<(String, Option<usize>)>| {
        let sample = |alert: &(String, Option<usize>)| Sample {
            labels: vec![
                ("alert".to_owned(), alert.0.clone()),
                (
                    "severity".to_owned(),
                    severities[alert.1.expect("a severity")].to_owned(),
                ),
            ],
            value: int(firing.contains(alert).into()),
        };
        family(name, "gauge", alerts.iter().map(sample).collect())
    };

    let mut all = vec![
        gauge("parsec_telemetry_channels_active", int(input.channels.0)),
        by(
            "parsec_telemetry_channels_by_pattern",
            "gauge",
            "pattern",
            &input.channels.1,
        ),
        gauge(
            "parsec_telemetry_envelope_rate_per_second",
            float(input.envelopes.0),
        ),
        by(
            "parsec_telemetry_envelopes_by_aspect",
            "gauge",
            "aspect",
            &input.envelopes.1,
        ),
        by(
            "parsec_telemetry_envelopes_total",
            "counter",
            "aspect",
            &input.envelopes.1,
        ),
        gauge(
            "parsec_telemetry_presence_total_users",
            int(input.presence.0),
        ),
        gauge(
            "parsec_telemetry_presence_total_agents",
            int(input.presence.1),
        ),
        gauge(
            "parsec_telemetry_presence_average_per_channel",
            float(input.presence.2),
        ),
        gauge("parsec_telemetry_history_buffered", int(input.history.0)),
        gauge(
            "parsec_telemetry_history_buffer_utilization_pct",
            float(input.history.1),
        ),
        gauge(
            "parsec_telemetry_tokens_issued_last_hour",
            int(input.tokens.0),
        ),
        gauge(
            "parsec_telemetry_tokens_revoked_last_hour",
            int(input.tokens.1),
        ),
        gauge(
            "parsec_telemetry_tokens_active",
            Number::Int(input.tokens.2.into()),
        ),
        gauge("parsec_telemetry_cache_hit_rate_pct", float(input.cache.0)),
        gauge("parsec_telemetry_cache_size_bytes", int(input.cache.1)),
        gauge("parsec_telemetry_cache_size_entries", int(input.cache.2)),
        gauge(
            "parsec_telemetry_cache_evictions_last_hour",
            int(input.cache.3),
        ),
        by_alert("parsec_alerts_firing", &known),
        by_alert("parsec_telemetry_alerts_firing", &firing),
    ];
    all.retain(|family| !family.samples.is_empty());
    all
}

/// Checks that a page has these families, as a reader found them.
fn compare<V: Copy + std::fmt::Debug>(
    found: &[Family<V>],
    expected: &[Family<Number>],
    is: fn(Number, V) -> bool,
) {
    let names = |family: &[String]| family.join("\n");
    assert_eq!(
        names(
            &found
                .iter()
                .map(|family| family.name.clone())
                .collect::<Vec<_>>()
        ),
        names(
            &expected
                .iter()
                .map(|family| family.name.clone())
                .collect::<Vec<_>>()
        )
    );
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.kind, expected.kind, "{}", found.name);
        assert_eq!(
            found.samples.len(),
            expected.samples.len(),
            "{}",
            found.name
        );
        for (sample, expected) in found.samples.iter().zip(&expected.samples) {
            assert_eq!(sample.labels, expected.labels, "{}", found.name);
            assert!(
                is(expected.value, sample.value),
                "{} is {:?} instead of {:?}",
                found.name,
                sample.value,
                expected.value
            );
        }
    }
}

/// Whether the published parser gets to see a page, too: it takes five times as long as all the rest, and what it
/// could find is not rare.
fn is_one_in(so_many: u8, page: &[u8]) -> bool {
    let sum = page.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    sum.is_multiple_of(so_many)
}

fuzz_target!(|input: Input| {
    let rules = input.rules();
    let mut snapshot = input.snapshot(Vec::new());
    snapshot.alerts = input
        .given()
        .unwrap_or_else(|| evaluate_alerts(&snapshot, &rules));

    let page = Format::Json.render(&snapshot, &rules);
    let by_serde = serde_json::to_string(&snapshot).expect("a snapshot has a JSON form") + "\n";
    assert_eq!(str::from_utf8(&page), Ok(&*by_serde));
    let found = Json::read(&page).unwrap_or_else(|error| panic!("the JSON page is none: {error}"));
    assert_eq!(with_times_read(found, false), json(&input));

    let page = Format::Prometheus.render(&snapshot, &rules);
    let mut expected = families(&input);
    let found = text::read(&page).unwrap_or_else(|error| panic!("the text page is none: {error}"));
    compare(&found, &expected, Number::is_written_as);
    if is_one_in(32, &page)
        && let Some(found) = text::read_by_others(&page)
    {
        let found =
            found.unwrap_or_else(|error| panic!("the text page is none to others: {error}"));
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        compare(&found, &expected, |number, value| number.as_f64() == value);
    }
});
