//! Law: no bytes make reading a snapshot panic; and what reads as a snapshot prints as a page that reads back as the
//! same snapshot and prints as the same page, whichever way it is read.
//!
//! One thing may change on the way: a time of a year that RFC 3339 cannot write is printed as the nearest that it can.

#![no_main]

use std::time::SystemTime;

use fuzzing::json::Json;
use fuzzing::moment::read_rfc3339;
use fuzzing::text;
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{Format, Snapshot};

/// The snapshot with the times that its page shows.
fn as_printed(snapshot: &Snapshot) -> Snapshot {
    let mut printed = snapshot.clone();
    printed.at = printed.at.max(beginning());
    for alert in &mut printed.alerts {
        alert.at = alert.at.max(beginning());
    }
    printed
}

/// 1 January of the year 0.
fn beginning() -> SystemTime {
    fuzzing::moment::system_time(read_rfc3339("0000-01-01T00:00:00Z").expect("a time"))
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else {
        return;
    };
    let page = Format::Json.render(&snapshot, &[]);
    Json::read(&page).unwrap_or_else(|error| panic!("the page is none: {error}"));
    let printed: Snapshot = serde_json::from_slice(&page).expect("a page reads back");
    assert_eq!(printed, as_printed(&snapshot));
    assert_eq!(Format::Json.render(&printed, &[]), page);

    let from_reader: Snapshot =
        serde_json::from_reader(bytes).expect("what reads from a slice reads from a reader");
    assert_eq!(from_reader, snapshot);
    let value: serde_json::Value = serde_json::from_slice(&page).expect("a page is JSON");
    let from_value: Snapshot =
        serde_json::from_value(value).expect("what reads as a page reads as a value");
    assert_eq!(from_value, printed);

    let page = Format::Prometheus.render(&snapshot, &[]);
    text::read(&page).unwrap_or_else(|error| panic!("the text page is none: {error}"));
});
