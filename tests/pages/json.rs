use std::time::{Duration, SystemTime};

use parsec_telemetry::{AlertState, Format, Section, Snapshot, SourceStatus};
use serde_json::Value;

use crate::render;
use crate::snapshots::{Random, full, hostile};

/// The page is the block on one line.
const FULL: &str = r#"
{"channels":{"total_active":7,"by_pattern":{"agents:*":1,"public:*":4,"unknown":2}},
"envelopes":{"rate_per_second":100.0,"by_aspect":{"\"quoted\"":3,"C:\\new":4,"cursor":0,
"data":9223372036854775807,"größer, 更大":6,"two\nlines":5}},
"presence":{"total_users":40,"total_agents":2,"average_per_channel":1.6666666666666667},
"history":{"total_envelopes_buffered":900,"buffer_utilization_pct":1e-7},
"tokens":{"issued_last_hour":5,"revoked_last_hour":8,"active_count":-3},
"cache":{"hit_rate_pct":72.5,"size_bytes":4096,"size_entries":12,"evictions_last_hour":1},
"at":"2026-01-01T01:00:00.123456789Z",
"alerts":[
{"name":"cache_cold","severity":"warning","description":"Hit rate below \"80 %\"",
"at":"2026-01-01T01:00:00.123456789Z","since":"2026-01-01T00:00:00.5Z"},
{"name":"tokens \"gone\"","severity":"critical",
"at":"2026-01-01T01:00:00.123456789Z","since":"2026-01-01T01:00:00.123456789Z"}],
"rules":[
{"name":"cache_cold","severity":"warning","description":"Hit rate below \"80 %\"",
"state":"firing","since":"2026-01-01T00:00:00.5Z","for_seconds":300.0,"fired_total":2},
{"name":"no_channels","severity":"critical",
"state":"pending","since":"2026-01-01T01:00:00.123456789Z","failures_total":1,"error":"the condition panicked"},
{"name":"tokens \"gone\"","severity":"critical",
"state":"firing","since":"2026-01-01T01:00:00.123456789Z","fired_total":1},
{"name":"yesterday","severity":"info",
"state":"resolved","resolved_at":"2026-01-01T01:00:00.123456789Z","fired_total":1}],
"sources":[
{"name":"sessions","type":"CacheSource","up":false,"age_seconds":40.25,"panics_total":3,"timeouts_total":1,
"error":"the source panicked"},
{"name":"TokenCounters","type":"TokenCounters","up":true,"age_seconds":0.0},
{"name":"not \"yet\"","type":"Registry","up":false}],
"started_at":"2026-01-01T00:00:00Z"}
"#;

pub(crate) const ZEROS: &str = r#"
{"channels":{"total_active":0},
"envelopes":{"rate_per_second":0.0},
"presence":{"total_users":0,"total_agents":0,"average_per_channel":0.0},
"history":{"total_envelopes_buffered":0,"buffer_utilization_pct":0.0},
"tokens":{"issued_last_hour":0,"revoked_last_hour":0,"active_count":0},
"cache":{"hit_rate_pct":0.0,"size_bytes":0,"evictions_last_hour":0},
"at":"1970-01-01T00:00:00Z",
"started_at":"1970-01-01T00:00:00Z"}
"#;

/// Joins the lines of a block.
pub(crate) fn on_one_line(block: &str) -> String {
    block.lines().collect::<String>() + "\n"
}

#[test]
fn page_of_a_full_snapshot_has_every_key_in_order() {
    assert_eq!(render(Format::Json, &full()), on_one_line(FULL));
}

#[test]
fn page_of_zeros_has_all_six_sections() {
    let page = render(Format::Json, &Snapshot::default());
    assert_eq!(page, on_one_line(ZEROS));
}

/// Unknown is not zero: what is not measured was not named.
#[test]
fn page_of_a_snapshot_without_sources_names_all_six_sections() {
    let snapshot = Snapshot::empty(SystemTime::UNIX_EPOCH);
    let names = r#","unmeasured":["channels","envelopes","presence","history","tokens","cache"]}"#;
    assert_eq!(render(Format::Json, &snapshot), on_one_line(ZEROS).replace("}\n", names) + "\n");
}

#[test]
fn names_in_unmeasured_read_as_nan() {
    let page = r#"{"at":"1970-01-01T00:00:00Z","cache":{"hit_rate_pct":0.0},"history":{"buffer_utilization_pct":7.5},
        "unmeasured":["presence","cache.hit_rate_pct","quotas","quotas.used_pct"]}"#;
    let snapshot: Snapshot = serde_json::from_str(page).expect("unknown names are accepted");
    assert!(snapshot.cache.hit_rate_pct.is_nan() && snapshot.presence.average_per_channel.is_nan());
    assert_eq!((snapshot.envelopes.rate_per_second, snapshot.history.buffer_utilization_pct), (0.0, 7.5));
    for section in Section::ALL {
        assert_eq!(snapshot.is_measured(section), section != Section::Presence, "{section:?}");
    }
    // The names that this version does not know are kept.
    let page = render(Format::Json, &snapshot);
    let names = r#""unmeasured":["presence","cache.hit_rate_pct","quotas","quotas.used_pct"]}"#;
    assert!(page.trim_end().ends_with(names), "{page}");
    assert_eq!(serde_json::from_str::<Snapshot>(&page).expect("a page reads back"), snapshot);
}

/// Clients in Go read integers as `int64`, and reject the whole page for a larger one.
#[test]
fn counts_saturate_at_the_largest_signed_integer() {
    let mut snapshot = full();
    snapshot.channels.total_active = u64::MAX;
    snapshot.channels.by_pattern.insert("most".to_owned(), (1 << 63) - 1);
    snapshot.channels.by_pattern.insert("more".to_owned(), 1 << 63);
    snapshot.cache.size_entries = u64::MAX;
    snapshot.rules[0].fired_total = u64::MAX;
    snapshot.rules[0].failures_total = u64::MAX;
    snapshot.sources[0].panics_total = u64::MAX;
    snapshot.sources[0].timeouts_total = u64::MAX;
    for format in [Format::Json, Format::Prometheus, Format::OpenMetrics] {
        let page = render(format, &snapshot);
        let numbers = page.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() >= 19);
        let numbers: Vec<&str> = numbers.collect();
        assert!(numbers.len() >= 9, "{page}");
        assert!(numbers.iter().all(|digits| *digits == i64::MAX.to_string()), "{numbers:?}");
    }
}

#[test]
fn page_reads_back_to_its_snapshot() {
    for snapshot in [full(), hostile(), Snapshot::default(), Snapshot::empty(SystemTime::UNIX_EPOCH)] {
        let page = render(Format::Json, &snapshot);
        let read: Snapshot = serde_json::from_str(&page).expect("a page reads back");
        assert_eq!(read, snapshot);
        let value: Value = serde_json::from_str(&page).expect("JSON");
        let read: Snapshot = serde_json::from_value(value).expect("a page reads back");
        assert_eq!(read, snapshot);
    }
}

/// Rates and percentages are quotients of counts.
#[test]
fn every_quotient_reads_back() {
    let mut random = Random(0xf10a7);
    let mut failed = Vec::new();
    for _ in 0..20_000 {
        let (part, whole) = (1 + random.below(1_000_000), 1 + random.below(1_000_000));
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = part as f64 / 60.0;
        snapshot.cache.hit_rate_pct = 100.0 * part as f64 / (part + whole) as f64;
        let page = render(Format::Json, &snapshot);
        if serde_json::from_str::<Snapshot>(&page).expect("a page reads back") != snapshot {
            failed.push(page);
        }
    }
    assert!(
        failed.is_empty(),
        "{} of 20000 pages read back to other floats, the first of them: {}",
        failed.len(),
        failed[0]
    );
}

#[test]
fn page_of_the_package_that_this_crate_replaces_reads_back() {
    let page = r#"{"at":"2026-01-01T00:00:00Z","alerts":[
        {"name":"idle","severity":"info","at":"2026-01-01T00:00:00Z"}]}"#;
    let snapshot: Snapshot = serde_json::from_str(page).expect("every new key is optional");
    let [alert] = &snapshot.alerts[..] else { panic!("one alert: {snapshot:?}") };
    assert_eq!(alert.since, snapshot.at);
    assert_eq!(snapshot.started_at, SystemTime::UNIX_EPOCH);
    assert!(snapshot.rules.is_empty() && snapshot.sources.is_empty());
}

#[test]
fn absent_keys_of_a_rule_and_of_a_source_read_as_their_defaults() {
    let page =
        r#"{"at":"1970-01-01T00:00:01Z","rules":[{"name":"idle","severity":"critical"}],"sources":[{"type":"A"}]}"#;
    let snapshot: Snapshot = serde_json::from_str(page).expect("absent keys have defaults");
    assert_eq!(snapshot.at, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!(snapshot.rules[0].state, AlertState::Inactive);
    assert_eq!(snapshot.rules[0].since, None);
    let source = SourceStatus { type_name: "A".to_owned(), ..SourceStatus::default() };
    assert_eq!(snapshot.sources, [source]);
}
