//! The JSON page and the text pages of a snapshot.
//!
//! Properties:
//!
//! 1. The pages of a full snapshot and of an empty one are the expected bytes.
//! 2. A strict parser reads the text page and finds the values of the JSON page. Prometheus's own parser accepts the
//!    page.
//! 3. Every label value that a client can choose reads back.
//! 4. A float is written with the fewest digits that read back to it.
//! 5. The JSON page reads back to its snapshot.

mod exposition;
mod json;
#[path = "../support/program.rs"]
mod program;
mod reader;
mod snapshots;

use parsec_telemetry::{Aggregator, Format, ManualClock, Snapshot};
use serde_json::Value;

use reader::{find, read};
use snapshots::{Fixed, full};

#[test]
fn content_type_names_the_format_and_its_version() {
    assert_eq!(Format::Json.content_type(), "application/json");
    assert_eq!(Format::Prometheus.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(Format::OpenMetrics.content_type(), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

#[test]
fn aggregator_renders_the_page_of_its_snapshot() {
    let clock = ManualClock::new();
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(Fixed(full()))
        .with_alerts(snapshots::alert_rules())
        .expect("names are unique");
    let snapshot = aggregator.snapshot();
    for format in [Format::Json, Format::Prometheus, Format::OpenMetrics] {
        let page = String::from_utf8(aggregator.render(format)).expect("pages are UTF-8");
        assert_same_page(&page, &render(format, &snapshot));
    }

    let page = aggregator.render(Format::Json);
    let read: Snapshot = serde_json::from_slice(&page).expect("a page reads back");
    assert_eq!(read, snapshot);
    let full = full();
    let expected = Snapshot {
        at: snapshot.at,
        alerts: snapshot.alerts,
        rules: snapshot.rules,
        sources: snapshot.sources,
        started_at: snapshot.started_at,
        ..full.clone()
    };
    assert_eq!(read, expected);
    let firing: Vec<_> = read.alerts.iter().map(|alert| (&alert.name, alert.severity)).collect();
    let expected: Vec<_> = full.alerts.iter().map(|alert| (&alert.name, alert.severity)).collect();
    assert_eq!(firing, expected);
}

#[test]
fn page_is_appended_to_the_buffer() {
    let snapshot = full();
    let mut page = b"before\n".to_vec();
    Format::Prometheus.render_into(&mut page, &snapshot);
    Format::Json.render_into(&mut page, &snapshot);
    let [text, json] = [Format::Prometheus, Format::Json].map(|format| render(format, &snapshot));
    let page = String::from_utf8(page).expect("pages are UTF-8");
    assert_same_page(&page, &format!("before\n{text}{json}"));
}

#[test]
fn text_page_has_the_values_of_the_json_page() {
    for snapshot in [full(), Snapshot::default()] {
        let page = render(Format::Prometheus, &snapshot);
        let families = read(&page);
        let json = render(Format::Json, &snapshot);
        let json: Value = serde_json::from_str(&json).expect("JSON");
        for (family, key) in [
            ("channels_active", "/channels/total_active"),
            ("envelope_rate_per_second", "/envelopes/rate_per_second"),
            ("presence_total_users", "/presence/total_users"),
            ("presence_total_agents", "/presence/total_agents"),
            ("presence_average_per_channel", "/presence/average_per_channel"),
            ("history_buffered", "/history/total_envelopes_buffered"),
            ("history_buffer_utilization_pct", "/history/buffer_utilization_pct"),
            ("tokens_issued_last_hour", "/tokens/issued_last_hour"),
            ("tokens_revoked_last_hour", "/tokens/revoked_last_hour"),
            ("tokens_active", "/tokens/active_count"),
            ("cache_hit_rate_pct", "/cache/hit_rate_pct"),
            ("cache_size_bytes", "/cache/size_bytes"),
            ("cache_size_entries", "/cache/size_entries"),
            ("cache_evictions_last_hour", "/cache/evictions_last_hour"),
        ] {
            let family = find(&families, &format!("parsec_telemetry_{family}"));
            let [sample] = &family.samples[..] else { panic!("one sample: {family:?}") };
            assert_eq!((family.kind.as_str(), &sample.labels[..]), ("gauge", &[][..]));
            // JSON omits some keys whose value is zero.
            let value = json.pointer(key).cloned().unwrap_or_else(|| Value::from(0));
            assert_same_value(&sample.value, &value, key);
        }
        for (family, kind, label, key) in [
            ("channels_by_pattern", "gauge", "pattern", "/channels/by_pattern"),
            ("envelopes_by_aspect", "gauge", "aspect", "/envelopes/by_aspect"),
            ("envelopes_total", "counter", "aspect", "/envelopes/by_aspect"),
        ] {
            let name = format!("parsec_telemetry_{family}");
            let Some(counts) = json.pointer(key) else {
                assert!(families.iter().all(|family| family.name != name), "{name}");
                continue;
            };
            let family = find(&families, &name);
            assert_eq!(family.kind, kind);
            let counts = counts.as_object().expect("a map");
            assert_eq!(family.samples.len(), counts.len());
            for sample in &family.samples {
                let [(name, value)] = &sample.labels[..] else { panic!("one label: {sample:?}") };
                assert_eq!(name, label);
                assert_same_value(&sample.value, &counts[value], key);
            }
        }
    }
}

fn render(format: Format, snapshot: &Snapshot) -> String {
    String::from_utf8(format.render(snapshot)).expect("pages are UTF-8")
}

/// Reports the first line that differs, since a page is long.
fn assert_same_page(page: &str, expected: &str) {
    for (number, (line, expected)) in page.split('\n').zip(expected.split('\n')).enumerate() {
        assert_eq!(line, expected, "line {}", number + 1);
    }
    assert_eq!(page, expected);
}

/// Compares integers as text: as floats, the largest would be indistinguishable.
fn assert_same_value(text: &str, json: &Value, key: &str) {
    match json.as_f64().filter(|_| json.is_f64()) {
        Some(value) => {
            let text: f64 = text.parse().expect("a number");
            assert_eq!(text.to_bits(), value.to_bits(), "{key}");
        }
        None => assert_eq!(text, json.to_string(), "{key}"),
    }
}
