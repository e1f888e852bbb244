use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use parsec_telemetry::{
    AlertState, CacheStats, EnvelopeStats, FiringAlert, Format, HistoryStats, PresenceStats, RuleStatus, Section,
    Severity, Snapshot, SourceStatus,
};

use crate::json::{self, on_one_line};
use crate::program::find_program;
use crate::reader::{find, read, rows};
use crate::snapshots::{Random, full, hostile, hostile_names};
use crate::{assert_same_page, render};

const FULL: &str = r#"# HELP parsec_telemetry_channels_active Open channels.
# TYPE parsec_telemetry_channels_active gauge
parsec_telemetry_channels_active 7
# HELP parsec_telemetry_channels_by_pattern Open channels by channel pattern.
# TYPE parsec_telemetry_channels_by_pattern gauge
parsec_telemetry_channels_by_pattern{pattern="agents:*"} 1
parsec_telemetry_channels_by_pattern{pattern="public:*"} 4
parsec_telemetry_channels_by_pattern{pattern="unknown"} 2
# HELP parsec_telemetry_envelope_rate_per_second Envelopes published per second over the last 60 seconds.
# TYPE parsec_telemetry_envelope_rate_per_second gauge
parsec_telemetry_envelope_rate_per_second 100
# HELP parsec_telemetry_envelopes_by_aspect Envelopes published by aspect, for existing dashboards.
# TYPE parsec_telemetry_envelopes_by_aspect gauge
parsec_telemetry_envelopes_by_aspect{aspect="\"quoted\""} 3
parsec_telemetry_envelopes_by_aspect{aspect="C:\\new"} 4
parsec_telemetry_envelopes_by_aspect{aspect="cursor"} 0
parsec_telemetry_envelopes_by_aspect{aspect="data"} 9223372036854775807
parsec_telemetry_envelopes_by_aspect{aspect="größer, 更大"} 6
parsec_telemetry_envelopes_by_aspect{aspect="two\nlines"} 5
# HELP parsec_telemetry_envelopes_total Envelopes published by aspect.
# TYPE parsec_telemetry_envelopes_total counter
parsec_telemetry_envelopes_total{aspect="\"quoted\""} 3
parsec_telemetry_envelopes_total{aspect="C:\\new"} 4
parsec_telemetry_envelopes_total{aspect="cursor"} 0
parsec_telemetry_envelopes_total{aspect="data"} 9223372036854775807
parsec_telemetry_envelopes_total{aspect="größer, 更大"} 6
parsec_telemetry_envelopes_total{aspect="two\nlines"} 5
# HELP parsec_telemetry_presence_total_users Users present.
# TYPE parsec_telemetry_presence_total_users gauge
parsec_telemetry_presence_total_users 40
# HELP parsec_telemetry_presence_total_agents Agents present.
# TYPE parsec_telemetry_presence_total_agents gauge
parsec_telemetry_presence_total_agents 2
# HELP parsec_telemetry_presence_average_per_channel Mean number of users and agents per channel.
# TYPE parsec_telemetry_presence_average_per_channel gauge
parsec_telemetry_presence_average_per_channel 1.6666666666666667
# HELP parsec_telemetry_history_buffered Envelopes in the history buffers.
# TYPE parsec_telemetry_history_buffered gauge
parsec_telemetry_history_buffered 900
# HELP parsec_telemetry_history_buffer_utilization_pct Used capacity of the history buffers.
# TYPE parsec_telemetry_history_buffer_utilization_pct gauge
parsec_telemetry_history_buffer_utilization_pct 1e-7
# HELP parsec_telemetry_tokens_issued_last_hour Tokens issued in the last 60 minutes.
# TYPE parsec_telemetry_tokens_issued_last_hour gauge
parsec_telemetry_tokens_issued_last_hour 5
# HELP parsec_telemetry_tokens_revoked_last_hour Tokens revoked in the last 60 minutes.
# TYPE parsec_telemetry_tokens_revoked_last_hour gauge
parsec_telemetry_tokens_revoked_last_hour 8
# HELP parsec_telemetry_tokens_active Tokens issued, less those revoked or expired.
# TYPE parsec_telemetry_tokens_active gauge
parsec_telemetry_tokens_active -3
# HELP parsec_telemetry_cache_hit_rate_pct Cache lookups of the last 60 minutes that were hits.
# TYPE parsec_telemetry_cache_hit_rate_pct gauge
parsec_telemetry_cache_hit_rate_pct 72.5
# HELP parsec_telemetry_cache_size_bytes Size of the cache.
# TYPE parsec_telemetry_cache_size_bytes gauge
parsec_telemetry_cache_size_bytes 4096
# HELP parsec_telemetry_cache_size_entries Entries in the cache.
# TYPE parsec_telemetry_cache_size_entries gauge
parsec_telemetry_cache_size_entries 12
# HELP parsec_telemetry_cache_evictions_last_hour Cache entries evicted in the last 60 minutes.
# TYPE parsec_telemetry_cache_evictions_last_hour gauge
parsec_telemetry_cache_evictions_last_hour 1
# HELP parsec_alerts_firing Whether the alert rule fires: 1 if it does, 0 otherwise.
# TYPE parsec_alerts_firing gauge
parsec_alerts_firing{alert="cache_cold",severity="warning"} 1
parsec_alerts_firing{alert="no_channels",severity="critical"} 0
parsec_alerts_firing{alert="tokens \"gone\"",severity="critical"} 1
parsec_alerts_firing{alert="yesterday",severity="info"} 0
# HELP parsec_telemetry_alerts_firing 1 for each alert rule that fires. Rules that do not fire are omitted.
# TYPE parsec_telemetry_alerts_firing gauge
parsec_telemetry_alerts_firing{alert="cache_cold",severity="warning"} 1
parsec_telemetry_alerts_firing{alert="tokens \"gone\"",severity="critical"} 1
# HELP parsec_alerts_pending Whether the alert rule is pending: 1 if it is, 0 otherwise.
# TYPE parsec_alerts_pending gauge
parsec_alerts_pending{alert="cache_cold",severity="warning"} 0
parsec_alerts_pending{alert="no_channels",severity="critical"} 1
parsec_alerts_pending{alert="tokens \"gone\"",severity="critical"} 0
parsec_alerts_pending{alert="yesterday",severity="info"} 0
# HELP parsec_alerts_since_timestamp_seconds When the condition of a pending or firing rule became true.
# TYPE parsec_alerts_since_timestamp_seconds gauge
parsec_alerts_since_timestamp_seconds{alert="cache_cold",severity="warning"} 1767225600.5
parsec_alerts_since_timestamp_seconds{alert="no_channels",severity="critical"} 1767229200.1234567
parsec_alerts_since_timestamp_seconds{alert="tokens \"gone\"",severity="critical"} 1767229200.1234567
# HELP parsec_alerts_fired_total How many times the alert rule started to fire.
# TYPE parsec_alerts_fired_total counter
parsec_alerts_fired_total{alert="cache_cold",severity="warning"} 2
parsec_alerts_fired_total{alert="no_channels",severity="critical"} 0
parsec_alerts_fired_total{alert="tokens \"gone\"",severity="critical"} 1
parsec_alerts_fired_total{alert="yesterday",severity="info"} 1
# HELP parsec_telemetry_source_up Whether the source answers: 0 while it is stale.
# TYPE parsec_telemetry_source_up gauge
parsec_telemetry_source_up{source="sessions",type="CacheSource"} 0
parsec_telemetry_source_up{source="TokenCounters",type="TokenCounters"} 1
parsec_telemetry_source_up{source="not \"yet\"",type="Registry"} 0
# HELP parsec_telemetry_source_age_seconds Age of the source's report on this page, once it has reported.
# TYPE parsec_telemetry_source_age_seconds gauge
parsec_telemetry_source_age_seconds{source="sessions",type="CacheSource"} 40.25
parsec_telemetry_source_age_seconds{source="TokenCounters",type="TokenCounters"} 0
# HELP parsec_telemetry_source_panics_total Calls of the source that panicked.
# TYPE parsec_telemetry_source_panics_total counter
parsec_telemetry_source_panics_total{source="sessions",type="CacheSource"} 3
parsec_telemetry_source_panics_total{source="TokenCounters",type="TokenCounters"} 0
parsec_telemetry_source_panics_total{source="not \"yet\"",type="Registry"} 0
# HELP parsec_telemetry_source_timeouts_total Calls of the source that exceeded their deadline.
# TYPE parsec_telemetry_source_timeouts_total counter
parsec_telemetry_source_timeouts_total{source="sessions",type="CacheSource"} 1
parsec_telemetry_source_timeouts_total{source="TokenCounters",type="TokenCounters"} 0
parsec_telemetry_source_timeouts_total{source="not \"yet\"",type="Registry"} 0
# HELP parsec_telemetry_rule_failures_total Evaluations of the rule that panicked or missed their deadline.
# TYPE parsec_telemetry_rule_failures_total counter
parsec_telemetry_rule_failures_total{alert="cache_cold"} 0
parsec_telemetry_rule_failures_total{alert="no_channels"} 1
parsec_telemetry_rule_failures_total{alert="tokens \"gone\""} 0
parsec_telemetry_rule_failures_total{alert="yesterday"} 0
"#;

const ZEROS: &str = r"# HELP parsec_telemetry_channels_active Open channels.
# TYPE parsec_telemetry_channels_active gauge
parsec_telemetry_channels_active 0
# HELP parsec_telemetry_envelope_rate_per_second Envelopes published per second over the last 60 seconds.
# TYPE parsec_telemetry_envelope_rate_per_second gauge
parsec_telemetry_envelope_rate_per_second 0
# HELP parsec_telemetry_presence_total_users Users present.
# TYPE parsec_telemetry_presence_total_users gauge
parsec_telemetry_presence_total_users 0
# HELP parsec_telemetry_presence_total_agents Agents present.
# TYPE parsec_telemetry_presence_total_agents gauge
parsec_telemetry_presence_total_agents 0
# HELP parsec_telemetry_presence_average_per_channel Mean number of users and agents per channel.
# TYPE parsec_telemetry_presence_average_per_channel gauge
parsec_telemetry_presence_average_per_channel 0
# HELP parsec_telemetry_history_buffered Envelopes in the history buffers.
# TYPE parsec_telemetry_history_buffered gauge
parsec_telemetry_history_buffered 0
# HELP parsec_telemetry_history_buffer_utilization_pct Used capacity of the history buffers.
# TYPE parsec_telemetry_history_buffer_utilization_pct gauge
parsec_telemetry_history_buffer_utilization_pct 0
# HELP parsec_telemetry_tokens_issued_last_hour Tokens issued in the last 60 minutes.
# TYPE parsec_telemetry_tokens_issued_last_hour gauge
parsec_telemetry_tokens_issued_last_hour 0
# HELP parsec_telemetry_tokens_revoked_last_hour Tokens revoked in the last 60 minutes.
# TYPE parsec_telemetry_tokens_revoked_last_hour gauge
parsec_telemetry_tokens_revoked_last_hour 0
# HELP parsec_telemetry_tokens_active Tokens issued, less those revoked or expired.
# TYPE parsec_telemetry_tokens_active gauge
parsec_telemetry_tokens_active 0
# HELP parsec_telemetry_cache_hit_rate_pct Cache lookups of the last 60 minutes that were hits.
# TYPE parsec_telemetry_cache_hit_rate_pct gauge
parsec_telemetry_cache_hit_rate_pct 0
# HELP parsec_telemetry_cache_size_bytes Size of the cache.
# TYPE parsec_telemetry_cache_size_bytes gauge
parsec_telemetry_cache_size_bytes 0
# HELP parsec_telemetry_cache_size_entries Entries in the cache.
# TYPE parsec_telemetry_cache_size_entries gauge
parsec_telemetry_cache_size_entries 0
# HELP parsec_telemetry_cache_evictions_last_hour Cache entries evicted in the last 60 minutes.
# TYPE parsec_telemetry_cache_evictions_last_hour gauge
parsec_telemetry_cache_evictions_last_hour 0
";

#[test]
fn page_of_a_full_snapshot_has_every_family_in_order() {
    assert_same_page(&text(&full()), FULL);
}

#[test]
fn page_of_zeros_has_the_families_without_labels() {
    assert_same_page(&text(&Snapshot::default()), ZEROS);
}

#[test]
fn page_of_a_snapshot_without_sources_is_empty() {
    assert_eq!(text(&Snapshot::empty(SystemTime::UNIX_EPOCH)), "");
    assert_eq!(render(Format::OpenMetrics, &Snapshot::empty(SystemTime::UNIX_EPOCH)), "# EOF\n");
}

/// Unknown is not zero: a section that no source measures read as zero.
#[test]
fn families_of_an_unmeasured_section_are_omitted() {
    for section in Section::ALL {
        let snapshot = Snapshot { unmeasured: vec![section.as_str().to_owned()], ..full() };
        let prefix = match section {
            Section::Channels => "parsec_telemetry_channels_",
            Section::Envelopes => "parsec_telemetry_envelope",
            Section::Presence => "parsec_telemetry_presence_",
            Section::History => "parsec_telemetry_history_",
            Section::Tokens => "parsec_telemetry_tokens_",
            Section::Cache => "parsec_telemetry_cache_",
        };
        let expected = FULL.split_inclusive('\n').filter(|line| !line.split(' ').any(|word| word.starts_with(prefix)));
        assert_same_page(&text(&snapshot), &expected.collect::<String>());
    }
}

#[test]
fn openmetrics_page_differs_in_the_names_of_counters_and_in_its_end() {
    let mut expected = String::new();
    let mut counters = BTreeSet::new();
    for line in FULL.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ")
            && let Some(name) = name.strip_suffix(" counter")
        {
            counters.insert(name);
        }
    }
    for line in FULL.lines() {
        let mut words = line.splitn(4, ' ');
        let is_metadata = words.next() == Some("#");
        let name = words.nth(1).filter(|name| is_metadata && counters.contains(name));
        let renamed = name.map(|name| {
            let family = name.strip_suffix("_total").expect("the name of a counter");
            line.replacen(name, family, 1)
        });
        expected += &renamed.unwrap_or_else(|| line.to_owned());
        expected += "\n";
    }
    expected += "# EOF\n";
    assert_same_page(&render(Format::OpenMetrics, &full()), &expected);
}

#[test]
fn labels_are_from_a_bounded_set() {
    let page = text(&full());
    let labels: BTreeSet<String> = read(&page)
        .into_iter()
        .flat_map(|family| family.samples)
        .flat_map(|sample| sample.labels)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(labels.iter().collect::<Vec<_>>(), ["alert", "aspect", "pattern", "severity", "source", "type"]);
}

// Alerts and sources

const ALERT: [&str; 2] = ["alert", "severity"];

#[test]
fn every_rule_has_a_sample_and_every_firing_rule_a_second_one() {
    let snapshot = full();
    let families = read(&text(&snapshot));
    let samples = rows(&families, "parsec_alerts_firing", ALERT);
    assert_eq!(samples.len(), snapshot.rules.len());
    let mut firing = BTreeMap::new();
    for rule in &snapshot.rules {
        let labels = (rule.name.clone(), rule.severity.to_string());
        let fires = rule.state == AlertState::Firing;
        assert_eq!(samples[&labels], if fires { "1" } else { "0" }, "{rule:?}");
        if fires {
            firing.insert(labels, "1".to_owned());
        }
    }
    assert_eq!(rows(&families, "parsec_telemetry_alerts_firing", ALERT), firing);
}

#[test]
fn second_alert_family_is_omitted_while_no_rule_fires() {
    let snapshot = Snapshot { rules: vec![rule("never", Severity::Critical)], ..Snapshot::default() };
    let families = read(&text(&snapshot));
    let samples = rows(&families, "parsec_alerts_firing", ALERT);
    assert_eq!(samples[&("never".to_owned(), "critical".to_owned())], "0");
    assert!(families.iter().all(|family| family.name != "parsec_telemetry_alerts_firing"));
}

#[test]
fn firing_alert_without_a_rule_has_a_sample() {
    let snapshot = Snapshot {
        rules: vec![rule("inactive", Severity::Info)],
        alerts: vec![alert("from elsewhere", Severity::Info)],
        ..Snapshot::default()
    };
    let families = read(&text(&snapshot));
    let sample = ("from elsewhere".to_owned(), "info".to_owned());
    for family in ["parsec_alerts_firing", "parsec_telemetry_alerts_firing"] {
        assert_eq!(rows(&families, family, ALERT)[&sample], "1");
    }
    assert_eq!(find(&families, "parsec_alerts_fired_total").samples.len(), 1);
}

/// Prometheus rejects a page in which a sample appears twice.
#[test]
fn duplicate_names_have_one_sample() {
    let source = |up| SourceStatus {
        name: "twice".to_owned(),
        type_name: "Registry".to_owned(),
        up,
        age_seconds: Some(1.0),
        ..SourceStatus::default()
    };
    let snapshot = Snapshot {
        rules: vec![
            rule("twice", Severity::Critical),
            rule("other", Severity::Info),
            rule("twice", Severity::Info),
            rule("twice", Severity::Critical),
        ],
        alerts: vec![alert("twice", Severity::Critical), alert("twice", Severity::Critical)],
        sources: vec![source(true), source(false)],
        ..Snapshot::default()
    };
    // The reader rejects duplicates.
    let families = read(&text(&snapshot));
    let samples = rows(&families, "parsec_alerts_firing", ALERT);
    assert_eq!(samples[&("twice".to_owned(), "critical".to_owned())], "1");
    let up = find(&families, "parsec_telemetry_source_up");
    assert_eq!((up.samples.len(), up.samples[0].value.as_str()), (1, "1"));
}

#[test]
fn source_age_that_is_not_finite_is_omitted() {
    let source = |age| SourceStatus { name: format!("{age:?}"), age_seconds: age, ..SourceStatus::default() };
    let ages = [Some(f64::NAN), Some(f64::INFINITY), None, Some(0.5)];
    let snapshot = Snapshot { sources: ages.map(source).into(), ..Snapshot::default() };
    let families = read(&text(&snapshot));
    assert_eq!(find(&families, "parsec_telemetry_source_up").samples.len(), 4);
    let [age] = &find(&families, "parsec_telemetry_source_age_seconds").samples[..] else {
        panic!("one sample: {families:?}")
    };
    assert_eq!(age.value, "0.5");
}

fn rule(name: &str, severity: Severity) -> RuleStatus {
    RuleStatus { name: name.to_owned(), severity, ..RuleStatus::default() }
}

fn alert(name: &str, severity: Severity) -> FiringAlert {
    FiringAlert {
        name: name.to_owned(),
        severity,
        description: String::new(),
        at: SystemTime::UNIX_EPOCH,
        since: SystemTime::UNIX_EPOCH,
    }
}

// Label values and numbers

#[test]
fn every_label_value_reads_back() {
    let families = read(&text(&hostile()));
    let expected = hostile_names();
    for (family, labels) in [
        ("parsec_telemetry_channels_by_pattern", 0..1),
        ("parsec_telemetry_envelopes_by_aspect", 0..1),
        ("parsec_telemetry_envelopes_total", 0..1),
        ("parsec_alerts_firing", 0..1),
        ("parsec_telemetry_alerts_firing", 0..1),
        ("parsec_alerts_pending", 0..1),
        ("parsec_alerts_since_timestamp_seconds", 0..1),
        ("parsec_alerts_fired_total", 0..1),
        ("parsec_telemetry_source_up", 0..2),
        ("parsec_telemetry_source_age_seconds", 0..2),
        ("parsec_telemetry_source_panics_total", 0..2),
        ("parsec_telemetry_source_timeouts_total", 0..2),
        ("parsec_telemetry_rule_failures_total", 0..1),
    ] {
        for label in labels {
            let samples = find(&families, family).samples.iter();
            let values: BTreeSet<String> = samples.map(|sample| sample.labels[label].1.clone()).collect();
            assert_eq!(values, expected, "{family}");
        }
    }
}
#[test]
fn float_is_written_with_the_fewest_digits_that_read_back() {
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
        assert_eq!(printed_rate(value), printed);
    }

    let mut random = Random(0x5eed);
    for _ in 0..20_000 {
        let value = f64::from_bits(random.next());
        if value.is_finite() {
            let printed = printed_rate(value);
            let read: f64 = printed.parse().expect("a number");
            assert_eq!(read.to_bits(), value.to_bits(), "{printed}");
            // The standard library guarantees the fewest digits for `e`. Two texts may be equally short and equally
            // near, so only their lengths are compared.
            let fewest = digits(&format!("{value:e}")).len();
            assert_eq!(digits(&printed).len(), fewest, "{printed}");
        }
    }
}

/// Unknown is not zero: a float without a value read as 0.
#[test]
fn float_without_a_value_is_omitted_from_the_text_page_and_named_in_the_json_page() {
    const FLOATS: [&str; 4] = [
        "envelope_rate_per_second",
        "presence_average_per_channel",
        "history_buffer_utilization_pct",
        "cache_hit_rate_pct",
    ];
    let expected =
        ZEROS.split_inclusive('\n').filter(|line| !FLOATS.iter().any(|float| line.contains(&format!("_{float} "))));
    let expected: String = expected.collect();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let snapshot = Snapshot {
            envelopes: EnvelopeStats { rate_per_second: value, ..Default::default() },
            presence: PresenceStats { average_per_channel: value, ..Default::default() },
            history: HistoryStats { buffer_utilization_pct: value, ..Default::default() },
            cache: CacheStats { hit_rate_pct: value, ..Default::default() },
            ..Default::default()
        };
        assert_same_page(&text(&snapshot), &expected);
        let names = r#","unmeasured":["envelopes.rate_per_second","presence.average_per_channel","history.buffer_utilization_pct","cache.hit_rate_pct"]}"#;
        let expected = on_one_line(json::ZEROS).replace("}\n", names) + "\n";
        let page = render(Format::Json, &snapshot);
        assert_eq!(page, expected);
        assert_eq!(serde_json::from_str::<Snapshot>(&page).expect("a page reads back"), snapshot);
    }
}

// Prometheus's own parser

#[test]
fn promtool_accepts_the_pages() {
    for snapshot in [full(), hostile(), Snapshot::default(), Snapshot::empty(SystemTime::UNIX_EPOCH)] {
        let Some((code, output)) = promtool(&text(&snapshot)) else {
            return;
        };
        // 3 is advice about names, which are part of the contract.
        assert!(code == 0 || code == 3, "promtool exited with {code}: {output}");
        println!("promtool exited with {code}: {output}");
    }
    // Checks that promtool does reject invalid pages.
    let (code, output) = promtool("broken{label=\"never closed} 1\n").expect("it is installed");
    assert_eq!(code, 1, "{output}");
}

/// Returns the exit code and the output of promtool, or `None` if it is not installed.
fn promtool(page: &str) -> Option<(i32, String)> {
    let mut promtool = Command::new(find_program("promtool")?)
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
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("promtool exits");
    Some((code, String::from_utf8_lossy(&text).into_owned()))
}

fn text(snapshot: &Snapshot) -> String {
    render(Format::Prometheus, snapshot)
}

/// Returns a float as the text page prints it.
fn printed_rate(rate_per_second: f64) -> String {
    let snapshot =
        Snapshot { envelopes: EnvelopeStats { rate_per_second, ..Default::default() }, ..Default::default() };
    let families = read(&text(&snapshot));
    let rate = find(&families, "parsec_telemetry_envelope_rate_per_second");
    rate.samples[0].value.clone()
}

/// Returns the digits of a number without leading and trailing zeros.
fn digits(number: &str) -> String {
    let (mantissa, _) = number.split_once('e').unwrap_or((number, ""));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}
