//! Both pages, whole and to the letter of the contract, and read back.
//!
//! What must hold:
//!
//! 1. The pages of a rich snapshot and of an empty one are these, byte for byte.
//! 2. Another parser than ours reads the text page, and finds in it what the JSON page says: the one
//!    below, which is as strict as the format. Prometheus' own accepts it.
//! 3. That holds for every label value that a client can choose.
//! 4. A float prints with the fewest digits that read back to it.
//! 5. The JSON page reads back to the snapshot that it was made of.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, Format,
    HistoryStats, ManualClock, PresenceStats, Severity, Snapshot, Source, TokenStats,
    evaluate_alerts,
};
use serde_json::Value;

mod support {
    pub(crate) mod program;
}

// The pages, whole

const RICH_TEXT: &str = r#"# HELP parsec_telemetry_channels_active Channels open now.
# TYPE parsec_telemetry_channels_active gauge
parsec_telemetry_channels_active 7
# HELP parsec_telemetry_channels_by_pattern Channels open now, by the pattern that they match.
# TYPE parsec_telemetry_channels_by_pattern gauge
parsec_telemetry_channels_by_pattern{pattern="agents:*"} 1
parsec_telemetry_channels_by_pattern{pattern="public:*"} 4
parsec_telemetry_channels_by_pattern{pattern="unknown"} 2
# HELP parsec_telemetry_envelope_rate_per_second Envelopes published a second, over the last 60 seconds.
# TYPE parsec_telemetry_envelope_rate_per_second gauge
parsec_telemetry_envelope_rate_per_second 100
# HELP parsec_telemetry_envelopes_by_aspect Envelopes published since the start, by aspect. Kept for existing dashboards: prefer parsec_telemetry_envelopes_total.
# TYPE parsec_telemetry_envelopes_by_aspect gauge
parsec_telemetry_envelopes_by_aspect{aspect="\"quoted\""} 3
parsec_telemetry_envelopes_by_aspect{aspect="C:\\new"} 4
parsec_telemetry_envelopes_by_aspect{aspect="cursor"} 0
parsec_telemetry_envelopes_by_aspect{aspect="data"} 18446744073709551615
parsec_telemetry_envelopes_by_aspect{aspect="größer, 更大"} 6
parsec_telemetry_envelopes_by_aspect{aspect="two\nlines"} 5
# HELP parsec_telemetry_envelopes_total Envelopes published since the start, by aspect.
# TYPE parsec_telemetry_envelopes_total counter
parsec_telemetry_envelopes_total{aspect="\"quoted\""} 3
parsec_telemetry_envelopes_total{aspect="C:\\new"} 4
parsec_telemetry_envelopes_total{aspect="cursor"} 0
parsec_telemetry_envelopes_total{aspect="data"} 18446744073709551615
parsec_telemetry_envelopes_total{aspect="größer, 更大"} 6
parsec_telemetry_envelopes_total{aspect="two\nlines"} 5
# HELP parsec_telemetry_presence_total_users Users present now.
# TYPE parsec_telemetry_presence_total_users gauge
parsec_telemetry_presence_total_users 40
# HELP parsec_telemetry_presence_total_agents Agents present now.
# TYPE parsec_telemetry_presence_total_agents gauge
parsec_telemetry_presence_total_agents 2
# HELP parsec_telemetry_presence_average_per_channel Members present in a channel, on average.
# TYPE parsec_telemetry_presence_average_per_channel gauge
parsec_telemetry_presence_average_per_channel 1.6666666666666667
# HELP parsec_telemetry_history_buffered Envelopes held in history buffers now.
# TYPE parsec_telemetry_history_buffered gauge
parsec_telemetry_history_buffered 900
# HELP parsec_telemetry_history_buffer_utilization_pct How full the history buffers are, in percent.
# TYPE parsec_telemetry_history_buffer_utilization_pct gauge
parsec_telemetry_history_buffer_utilization_pct 1e-7
# HELP parsec_telemetry_tokens_issued_last_hour Tokens issued in the last 60 minutes.
# TYPE parsec_telemetry_tokens_issued_last_hour gauge
parsec_telemetry_tokens_issued_last_hour 5
# HELP parsec_telemetry_tokens_revoked_last_hour Tokens revoked in the last 60 minutes.
# TYPE parsec_telemetry_tokens_revoked_last_hour gauge
parsec_telemetry_tokens_revoked_last_hour 8
# HELP parsec_telemetry_tokens_active Tokens issued and neither revoked nor expired.
# TYPE parsec_telemetry_tokens_active gauge
parsec_telemetry_tokens_active -3
# HELP parsec_telemetry_cache_hit_rate_pct Cache look-ups of the last 60 minutes that hit, in percent.
# TYPE parsec_telemetry_cache_hit_rate_pct gauge
parsec_telemetry_cache_hit_rate_pct 72.5
# HELP parsec_telemetry_cache_size_bytes Bytes held in the cache now.
# TYPE parsec_telemetry_cache_size_bytes gauge
parsec_telemetry_cache_size_bytes 4096
# HELP parsec_telemetry_cache_size_entries Entries held in the cache now.
# TYPE parsec_telemetry_cache_size_entries gauge
parsec_telemetry_cache_size_entries 12
# HELP parsec_telemetry_cache_evictions_last_hour Cache entries evicted in the last 60 minutes.
# TYPE parsec_telemetry_cache_evictions_last_hour gauge
parsec_telemetry_cache_evictions_last_hour 1
# HELP parsec_alerts_firing Whether the alert rule fires: 1 if it does, 0 if not.
# TYPE parsec_alerts_firing gauge
parsec_alerts_firing{alert="cache_cold",severity="warning"} 1
parsec_alerts_firing{alert="no_channels",severity="critical"} 0
parsec_alerts_firing{alert="tokens \"gone\"",severity="critical"} 1
parsec_alerts_firing{alert="yesterday",severity="info"} 0
# HELP parsec_telemetry_alerts_firing 1 for each alert rule that fires.
# TYPE parsec_telemetry_alerts_firing gauge
parsec_telemetry_alerts_firing{alert="cache_cold",severity="warning"} 1
parsec_telemetry_alerts_firing{alert="tokens \"gone\"",severity="critical"} 1
"#;

/// On the page this is one line.
const RICH_JSON: &str = r#"
{"channels":{"total_active":7,"by_pattern":{"agents:*":1,"public:*":4,"unknown":2}},
"envelopes":{"rate_per_second":100.0,"by_aspect":{"\"quoted\"":3,"C:\\new":4,"cursor":0,
"data":18446744073709551615,"größer, 更大":6,"two\nlines":5}},
"presence":{"total_users":40,"total_agents":2,"average_per_channel":1.6666666666666667},
"history":{"total_envelopes_buffered":900,"buffer_utilization_pct":1e-7},
"tokens":{"issued_last_hour":5,"revoked_last_hour":8,"active_count":-3},
"cache":{"hit_rate_pct":72.5,"size_bytes":4096,"size_entries":12,"evictions_last_hour":1},
"at":"2026-01-01T00:00:00.123456789Z",
"alerts":[
{"name":"cache_cold","severity":"warning","description":"Hit rate below \"80 %\"","at":"2026-01-01T00:00:00.123456789Z"},
{"name":"tokens \"gone\"","severity":"critical","at":"2026-01-01T00:00:00.123456789Z"}]}
"#;

const EMPTY_TEXT: &str = "\
# HELP parsec_telemetry_channels_active Channels open now.
# TYPE parsec_telemetry_channels_active gauge
parsec_telemetry_channels_active 0
# HELP parsec_telemetry_envelope_rate_per_second Envelopes published a second, over the last 60 seconds.
# TYPE parsec_telemetry_envelope_rate_per_second gauge
parsec_telemetry_envelope_rate_per_second 0
# HELP parsec_telemetry_presence_total_users Users present now.
# TYPE parsec_telemetry_presence_total_users gauge
parsec_telemetry_presence_total_users 0
# HELP parsec_telemetry_presence_total_agents Agents present now.
# TYPE parsec_telemetry_presence_total_agents gauge
parsec_telemetry_presence_total_agents 0
# HELP parsec_telemetry_presence_average_per_channel Members present in a channel, on average.
# TYPE parsec_telemetry_presence_average_per_channel gauge
parsec_telemetry_presence_average_per_channel 0
# HELP parsec_telemetry_history_buffered Envelopes held in history buffers now.
# TYPE parsec_telemetry_history_buffered gauge
parsec_telemetry_history_buffered 0
# HELP parsec_telemetry_history_buffer_utilization_pct How full the history buffers are, in percent.
# TYPE parsec_telemetry_history_buffer_utilization_pct gauge
parsec_telemetry_history_buffer_utilization_pct 0
# HELP parsec_telemetry_tokens_issued_last_hour Tokens issued in the last 60 minutes.
# TYPE parsec_telemetry_tokens_issued_last_hour gauge
parsec_telemetry_tokens_issued_last_hour 0
# HELP parsec_telemetry_tokens_revoked_last_hour Tokens revoked in the last 60 minutes.
# TYPE parsec_telemetry_tokens_revoked_last_hour gauge
parsec_telemetry_tokens_revoked_last_hour 0
# HELP parsec_telemetry_tokens_active Tokens issued and neither revoked nor expired.
# TYPE parsec_telemetry_tokens_active gauge
parsec_telemetry_tokens_active 0
# HELP parsec_telemetry_cache_hit_rate_pct Cache look-ups of the last 60 minutes that hit, in percent.
# TYPE parsec_telemetry_cache_hit_rate_pct gauge
parsec_telemetry_cache_hit_rate_pct 0
# HELP parsec_telemetry_cache_size_bytes Bytes held in the cache now.
# TYPE parsec_telemetry_cache_size_bytes gauge
parsec_telemetry_cache_size_bytes 0
# HELP parsec_telemetry_cache_size_entries Entries held in the cache now.
# TYPE parsec_telemetry_cache_size_entries gauge
parsec_telemetry_cache_size_entries 0
# HELP parsec_telemetry_cache_evictions_last_hour Cache entries evicted in the last 60 minutes.
# TYPE parsec_telemetry_cache_evictions_last_hour gauge
parsec_telemetry_cache_evictions_last_hour 0
";

const EMPTY_JSON: &str = r#"
{"channels":{"total_active":0},
"envelopes":{"rate_per_second":0.0},
"presence":{"total_users":0,"total_agents":0,"average_per_channel":0.0},
"history":{"total_envelopes_buffered":0,"buffer_utilization_pct":0.0},
"tokens":{"issued_last_hour":0,"revoked_last_hour":0,"active_count":0},
"cache":{"hit_rate_pct":0.0,"size_bytes":0,"evictions_last_hour":0},
"at":"1970-01-01T00:00:00Z"}
"#;

#[test]
fn the_pages_of_a_rich_snapshot() {
    let (snapshot, rules) = rich();
    same_page(&text(&snapshot, &rules), RICH_TEXT);
    assert_eq!(json(&snapshot, &rules), on_one_line(RICH_JSON));
}

#[test]
fn the_pages_of_an_empty_snapshot() {
    same_page(&text(&Snapshot::default(), &[]), EMPTY_TEXT);
    assert_eq!(json(&Snapshot::default(), &[]), on_one_line(EMPTY_JSON));
}

#[test]
fn a_page_says_what_it_is() {
    assert_eq!(Format::Json.content_type(), "application/json");
    assert_eq!(
        Format::Prometheus.content_type(),
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[test]
fn an_aggregator_renders_the_pages_of_its_snapshot_and_rules() {
    let (snapshot, rules) = rich();
    let clock = ManualClock::new();
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(Fixed(snapshot.clone()))
        .with_alerts(rules)
        .expect("names of their own");
    let text = String::from_utf8(aggregator.render(Format::Prometheus)).expect("UTF-8");
    same_page(&text, RICH_TEXT);

    let page = aggregator.render(Format::Json);
    let mut expected = Snapshot {
        at: clock.now(),
        ..snapshot
    };
    for alert in &mut expected.alerts {
        alert.at = expected.at;
    }
    assert_eq!(
        serde_json::from_slice::<Snapshot>(&page).expect("reads back"),
        expected
    );
}

#[test]
fn a_buffer_is_appended_to() {
    let (snapshot, rules) = rich();
    let mut page = b"before\n".to_vec();
    Format::Prometheus.render_into(&mut page, &snapshot, &rules);
    Format::Json.render_into(&mut page, &snapshot, &rules);
    let expected = format!("before\n{RICH_TEXT}{}", on_one_line(RICH_JSON));
    same_page(&String::from_utf8(page).expect("UTF-8"), &expected);
}

// What they say

#[test]
fn the_text_page_says_what_the_json_page_says() {
    for (snapshot, rules) in [rich(), (Snapshot::default(), Vec::new())] {
        let said = read(&text(&snapshot, &rules));
        let json: Value = serde_json::from_str(&json(&snapshot, &rules)).expect("JSON");
        for (family, key) in [
            ("channels_active", "/channels/total_active"),
            ("envelope_rate_per_second", "/envelopes/rate_per_second"),
            ("presence_total_users", "/presence/total_users"),
            ("presence_total_agents", "/presence/total_agents"),
            (
                "presence_average_per_channel",
                "/presence/average_per_channel",
            ),
            ("history_buffered", "/history/total_envelopes_buffered"),
            (
                "history_buffer_utilization_pct",
                "/history/buffer_utilization_pct",
            ),
            ("tokens_issued_last_hour", "/tokens/issued_last_hour"),
            ("tokens_revoked_last_hour", "/tokens/revoked_last_hour"),
            ("tokens_active", "/tokens/active_count"),
            ("cache_hit_rate_pct", "/cache/hit_rate_pct"),
            ("cache_size_bytes", "/cache/size_bytes"),
            ("cache_size_entries", "/cache/size_entries"),
            ("cache_evictions_last_hour", "/cache/evictions_last_hour"),
        ] {
            let family = find(&said, &format!("parsec_telemetry_{family}"));
            let [sample] = &family.samples[..] else {
                panic!("one sample: {family:?}")
            };
            assert_eq!(
                (family.kind.as_str(), &sample.labels[..]),
                ("gauge", &[][..])
            );
            // The JSON page leaves some keys out where they are zero.
            let value = json.pointer(key).cloned().unwrap_or_else(|| Value::from(0));
            same_value(&sample.value, &value, key);
        }
        for (family, kind, label, key) in [
            (
                "channels_by_pattern",
                "gauge",
                "pattern",
                "/channels/by_pattern",
            ),
            (
                "envelopes_by_aspect",
                "gauge",
                "aspect",
                "/envelopes/by_aspect",
            ),
            (
                "envelopes_total",
                "counter",
                "aspect",
                "/envelopes/by_aspect",
            ),
        ] {
            let family = format!("parsec_telemetry_{family}");
            let Some(counts) = json.pointer(key) else {
                assert!(said.iter().all(|said| said.name != family), "{family}");
                continue;
            };
            let family = find(&said, &family);
            assert_eq!(family.kind, kind);
            let counts = counts.as_object().expect("a map");
            assert_eq!(family.samples.len(), counts.len());
            for sample in &family.samples {
                let [(name, value)] = &sample.labels[..] else {
                    panic!("one label: {sample:?}")
                };
                assert_eq!(name, label);
                same_value(&sample.value, &counts[value], key);
            }
        }
    }
}

#[test]
fn the_json_page_reads_back_to_its_snapshot() {
    for (snapshot, rules) in [rich(), nasty(), (Snapshot::default(), Vec::new())] {
        assert_eq!(
            serde_json::from_str::<Snapshot>(&json(&snapshot, &rules)).expect("reads back"),
            snapshot
        );
    }
}

/// Rates and percentages are quotients of counts: all of these are floats that a page can show.
#[test]
fn every_float_of_the_json_page_reads_back() {
    let mut random = Random(0xf10a7);
    let mut astray = Vec::new();
    for _ in 0..20_000 {
        let (part, whole) = (1 + random.below(1_000_000), 1 + random.below(1_000_000));
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = part as f64 / 60.0;
        snapshot.cache.hit_rate_pct = 100.0 * part as f64 / (part + whole) as f64;
        let page = json(&snapshot, &[]);
        if serde_json::from_str::<Snapshot>(&page).expect("reads back") != snapshot {
            astray.push(page);
        }
    }
    assert!(
        astray.is_empty(),
        "{} of 20000 pages read back to other floats, the first of them: {}",
        astray.len(),
        astray[0]
    );
}

#[test]
fn only_the_bounded_labels_leave() {
    let (snapshot, rules) = rich();
    let labels: BTreeSet<String> = read(&text(&snapshot, &rules))
        .into_iter()
        .flat_map(|family| family.samples)
        .flat_map(|sample| sample.labels)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        labels.iter().collect::<Vec<_>>(),
        ["alert", "aspect", "pattern", "severity"]
    );
}

// Alerts

#[test]
fn each_rule_has_a_row_and_each_that_fires_a_second_one() {
    let (snapshot, rules) = rich();
    let said = read(&text(&snapshot, &rules));
    let known = rows(&said, "parsec_alerts_firing");
    assert_eq!(known.len(), rules.len());
    for rule in &rules {
        let fires = snapshot
            .alerts
            .iter()
            .any(|alert| alert.name == rule.name());
        assert_eq!(
            known[&(rule.name().to_owned(), rule.severity().to_string())],
            if fires { "1" } else { "0" },
            "{rule:?}"
        );
    }
    let firing: BTreeMap<_, _> = snapshot
        .alerts
        .iter()
        .map(|alert| {
            let labels = (alert.name.clone(), alert.severity.to_string());
            (labels, "1".to_owned())
        })
        .collect();
    assert_eq!(rows(&said, "parsec_telemetry_alerts_firing"), firing);
}

#[test]
fn rules_that_do_not_fire_leave_the_second_family_out() {
    let rules = [AlertRule::new("never", Severity::Critical, |_| false)];
    let said = read(&text(&Snapshot::default(), &rules));
    let rows = rows(&said, "parsec_alerts_firing");
    assert_eq!(rows[&("never".to_owned(), "critical".to_owned())], "0");
    assert!(
        said.iter()
            .all(|family| family.name != "parsec_telemetry_alerts_firing")
    );
}

#[test]
fn an_alert_without_its_rule_is_shown_firing() {
    let snapshot = Snapshot {
        alerts: vec![FiringAlert {
            name: "from elsewhere".to_owned(),
            severity: Severity::Info,
            description: String::new(),
            at: SystemTime::UNIX_EPOCH,
        }],
        ..Snapshot::default()
    };
    let said = read(&text(&snapshot, &[]));
    let row = ("from elsewhere".to_owned(), "info".to_owned());
    assert_eq!(rows(&said, "parsec_alerts_firing")[&row], "1");
    assert_eq!(rows(&said, "parsec_telemetry_alerts_firing")[&row], "1");
}

// Labels and numbers

#[test]
fn every_label_value_reads_back() {
    let (snapshot, rules) = nasty();
    let said = read(&text(&snapshot, &rules));
    let values = |family: &str, label: usize| -> BTreeSet<String> {
        let samples = &find(&said, family).samples;
        samples
            .iter()
            .map(|sample| sample.labels[label].1.clone())
            .collect()
    };
    let expected: BTreeSet<String> = nasty_names().into_iter().collect();
    for family in [
        "parsec_telemetry_channels_by_pattern",
        "parsec_telemetry_envelopes_by_aspect",
        "parsec_telemetry_envelopes_total",
        "parsec_alerts_firing",
        "parsec_telemetry_alerts_firing",
    ] {
        assert_eq!(values(family, 0), expected, "{family}");
    }
}

#[test]
fn floats_print_the_fewest_digits_that_read_back() {
    for (value, printed) in [
        (0.0, "0"),
        (100.0, "100"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.0 / 3.0, "0.3333333333333333"),
        (99.9, "99.9"),
        (0.000_000_1, "1e-7"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
    ] {
        assert_eq!(rate_of(value), printed);
    }

    let mut random = Random(0x5eed);
    for _ in 0..20_000 {
        let value = f64::from_bits(random.next());
        if value.is_finite() {
            let printed = rate_of(value);
            let read: f64 = printed.parse().expect("a number");
            assert_eq!(read.to_bits(), value.to_bits(), "{printed}");
            // The standard library promises the fewest digits for `e`. Which of two equally short and
            // equally near ones is printed is a matter of taste.
            let fewest = digits(&format!("{value:e}")).len();
            assert_eq!(digits(&printed).len(), fewest, "{printed}");
        }
    }
}

#[test]
fn a_float_that_is_not_finite_is_not_reported() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let snapshot = Snapshot {
            envelopes: EnvelopeStats {
                rate_per_second: value,
                ..Default::default()
            },
            presence: PresenceStats {
                average_per_channel: value,
                ..Default::default()
            },
            history: HistoryStats {
                buffer_utilization_pct: value,
                ..Default::default()
            },
            cache: CacheStats {
                hit_rate_pct: value,
                ..Default::default()
            },
            ..Default::default()
        };
        same_page(&text(&snapshot, &[]), EMPTY_TEXT);
        assert_eq!(json(&snapshot, &[]), on_one_line(EMPTY_JSON));
    }
}

// Prometheus' own parser

#[test]
fn promtool_accepts_the_pages() {
    let pages = [rich(), nasty(), (Snapshot::default(), Vec::new())];
    for (snapshot, rules) in pages {
        let Some((code, said)) = promtool(&text(&snapshot, &rules)) else {
            return;
        };
        // 3 is advice about names, and these are the contract's.
        assert!(code == 0 || code == 3, "promtool ended with {code}: {said}");
        println!("promtool ended with {code}: {said}");
    }
    // Were the line above blind, it would be here too.
    let (code, said) =
        promtool("broken{label=\"never closed} 1\n").expect("it was here a moment ago");
    assert_eq!(code, 1, "{said}");
}

/// What promtool says of a page, and its exit code.
fn promtool(page: &str) -> Option<(i32, String)> {
    let mut promtool = Command::new(support::program::find_program("promtool")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(page.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("promtool ends by itself");
    Some((code, String::from_utf8_lossy(&said).into_owned()))
}

// Snapshots

/// Something in every section, and every kind of label and number.
fn rich() -> (Snapshot, Vec<AlertRule>) {
    let mut snapshot = Snapshot {
        channels: ChannelStats {
            total_active: 7,
            by_pattern: counts([("unknown", 2), ("public:*", 4), ("agents:*", 1)]),
        },
        envelopes: EnvelopeStats {
            rate_per_second: 100.0,
            by_aspect: counts([
                ("data", u64::MAX),
                ("cursor", 0),
                ("\"quoted\"", 3),
                ("C:\\new", 4),
                ("two\nlines", 5),
                ("größer, 更大", 6),
            ]),
        },
        presence: PresenceStats {
            total_users: 40,
            total_agents: 2,
            average_per_channel: 5.0 / 3.0,
        },
        history: HistoryStats {
            total_envelopes_buffered: 900,
            buffer_utilization_pct: 0.000_000_1,
        },
        tokens: TokenStats {
            issued_last_hour: 5,
            revoked_last_hour: 8,
            active_count: -3,
        },
        cache: CacheStats {
            hit_rate_pct: 72.5,
            size_bytes: 4096,
            size_entries: 12,
            evictions_last_hour: 1,
        },
        at: SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789),
        alerts: Vec::new(),
    };
    let rules = vec![
        AlertRule::new("yesterday", Severity::Info, |s| {
            s.at < SystemTime::UNIX_EPOCH
        }),
        AlertRule::new("tokens \"gone\"", Severity::Critical, |s| {
            s.tokens.active_count < 0
        }),
        AlertRule::new("cache_cold", Severity::Warning, |s| {
            s.cache.hit_rate_pct < 80.0
        })
        .description("Hit rate below \"80 %\""),
        AlertRule::new("no_channels", Severity::Critical, |s| {
            s.channels.total_active == 0
        }),
    ];
    snapshot.alerts = evaluate_alerts(&snapshot, &rules);
    (snapshot, rules)
}

/// Every label value is one that a client or a careless hand may have chosen.
fn nasty() -> (Snapshot, Vec<AlertRule>) {
    let names = nasty_names();
    let numbered: BTreeMap<String, u64> = names.iter().cloned().zip(1..).collect();
    let mut snapshot = Snapshot {
        channels: ChannelStats {
            total_active: 1,
            by_pattern: numbered.clone(),
        },
        envelopes: EnvelopeStats {
            rate_per_second: 0.000_01,
            by_aspect: numbered,
        },
        ..Snapshot::default()
    };
    let rules: Vec<_> = names
        .iter()
        .map(|name| AlertRule::new(name, Severity::Warning, |_| true).description(name))
        .collect();
    snapshot.alerts = evaluate_alerts(&snapshot, &rules);
    (snapshot, rules)
}

fn nasty_names() -> Vec<String> {
    const PIECES: [&str; 16] = [
        "\\", "\"", "\n", "n", "\r", "\t", "\0", "{", "}", "=", ",", "#", " ", "é", "更",
        "\u{2028}",
    ];
    let by_hand = [
        "\\",
        "\"",
        "\n",
        "\\n",
        "\\\n",
        "\\\\n",
        "\\\"",
        "\"} 1\nforged_total 1\n#",
        "# HELP a b",
        "a\r\nb",
        "\u{feff}",
        "\u{85}",
        "\u{10ffff}",
    ];
    let mut names: BTreeSet<String> = by_hand.into_iter().map(str::to_owned).collect();
    let mut random = Random(0x000a_5eed);
    for _ in 0..300 {
        let pieces = 1 + random.below(8);
        names.insert(
            (0..pieces)
                .map(|_| PIECES[random.below(PIECES.len())])
                .collect(),
        );
    }
    names.into_iter().collect()
}

/// A source that always reports the same.
struct Fixed(Snapshot);

impl Source for Fixed {
    fn channels(&self) -> Option<ChannelStats> {
        Some(self.0.channels.clone())
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        Some(self.0.envelopes.clone())
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(self.0.presence.clone())
    }

    fn history(&self) -> Option<HistoryStats> {
        Some(self.0.history.clone())
    }

    fn tokens(&self) -> Option<TokenStats> {
        Some(self.0.tokens.clone())
    }

    fn cache(&self) -> Option<CacheStats> {
        Some(self.0.cache.clone())
    }
}

fn counts<const N: usize>(pairs: [(&str, u64); N]) -> BTreeMap<String, u64> {
    pairs.map(|(key, count)| (key.to_owned(), count)).into()
}

/// `xorshift64*`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("small");
        usize::try_from((self.next() >> 32) % end).expect("small")
    }
}

// Pages

fn text(snapshot: &Snapshot, rules: &[AlertRule]) -> String {
    String::from_utf8(Format::Prometheus.render(snapshot, rules)).expect("UTF-8")
}

fn json(snapshot: &Snapshot, rules: &[AlertRule]) -> String {
    String::from_utf8(Format::Json.render(snapshot, rules)).expect("UTF-8")
}

/// The page of a block that is broken into lines to be read.
fn on_one_line(block: &str) -> String {
    block.lines().collect::<String>() + "\n"
}

/// Names the first line that differs, for a page is long.
fn same_page(page: &str, expected: &str) {
    for (number, (line, expected)) in page.split('\n').zip(expected.split('\n')).enumerate() {
        assert_eq!(line, expected, "line {}", number + 1);
    }
    assert_eq!(page, expected);
}

/// Whole numbers as text, because a float would not tell the greatest of them apart.
fn same_value(text: &str, json: &Value, key: &str) {
    match json.as_f64().filter(|_| json.is_f64()) {
        Some(value) => {
            let text: f64 = text.parse().expect("a number");
            assert_eq!(text.to_bits(), value.to_bits(), "{key}");
        }
        None => assert_eq!(text, json.to_string(), "{key}"),
    }
}

/// How the text page prints a float.
fn rate_of(rate_per_second: f64) -> String {
    let snapshot = Snapshot {
        envelopes: EnvelopeStats {
            rate_per_second,
            ..Default::default()
        },
        ..Default::default()
    };
    let said = read(&text(&snapshot, &[]));
    let rate = find(&said, "parsec_telemetry_envelope_rate_per_second");
    rate.samples[0].value.clone()
}

/// A number's digits, without the zeros at either end that only say how great it is.
fn digits(number: &str) -> String {
    let (mantissa, _) = number.split_once('e').unwrap_or((number, ""));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

// A reader of the text format, as strict as the format is and more

#[derive(Debug)]
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(String, String)>,
    value: String,
}

fn find<'a>(said: &'a [Family], name: &str) -> &'a Family {
    said.iter()
        .find(|family| family.name == name)
        .unwrap_or_else(|| panic!("no family {name}"))
}

/// The samples of a family of alerts, by name and severity.
fn rows(said: &[Family], family: &str) -> BTreeMap<(String, String), String> {
    let row = |sample: &Sample| {
        let [(alert, name), (severity, level)] = &sample.labels[..] else {
            panic!("two labels: {sample:?}")
        };
        assert_eq!((alert.as_str(), severity.as_str()), ("alert", "severity"));
        ((name.clone(), level.clone()), sample.value.clone())
    };
    find(said, family).samples.iter().map(row).collect()
}

/// Reads a page, in which each family has its HELP, then its TYPE, then its samples, at least one.
fn read(page: &str) -> Vec<Family> {
    assert!(page.ends_with('\n'), "the last line ends too");
    let mut families: Vec<Family> = Vec::new();
    let mut lines = page.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect("a family's HELP");
        let (name, help) = help.split_once(' ').expect("a text");
        assert!(!help.is_empty() && !help.contains('\\'), "{line}");
        let line = lines.next().expect("a family's TYPE");
        let kind = line.strip_prefix("# TYPE ").expect("a family's TYPE");
        let (named, kind) = kind.split_once(' ').expect("a type");
        assert_eq!(named, name);
        assert!(["counter", "gauge"].contains(&kind), "{line}");
        assert!(is_name(name), "{name}");
        assert!(
            families.iter().all(|known| known.name != name),
            "{name} twice"
        );

        let mut samples: Vec<Sample> = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let sample = line.strip_prefix(name).expect("a sample of this family");
            let sample = read_sample(sample);
            assert!(
                samples.iter().all(|known| known.labels != sample.labels),
                "twice: {line}"
            );
            samples.push(sample);
        }
        assert!(!samples.is_empty(), "{name} without samples");
        families.push(Family {
            name: name.to_owned(),
            kind: kind.to_owned(),
            samples,
        });
    }
    families
}

/// A sample behind its name: labels, if there are any, a space and the value.
fn read_sample(text: &str) -> Sample {
    let mut labels = Vec::new();
    let mut rest = text;
    if let Some(inside) = text.strip_prefix('{') {
        rest = inside;
        loop {
            let (name, behind) = rest.split_once("=\"").expect("a label");
            assert!(is_name(name) && !name.contains(':'), "{name}");
            let (value, behind) = read_label_value(behind);
            labels.push((name.to_owned(), value));
            match behind.split_at(1) {
                (",", behind) => rest = behind,
                ("}", behind) => {
                    rest = behind;
                    break;
                }
                _ => panic!("neither another label nor the end: {text}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{text}");
    Sample {
        labels,
        value: value.to_owned(),
    }
}

/// A label's value up to its closing quote, and what is behind that.
fn read_label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                other => panic!("no such escape: {other:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("never closed: {text}")
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}
