//! Which serde formats hold a snapshot.
//!
//! Fields that are omitted shifted the others in formats that identify them by position: a snapshot read back with
//! values swapped or lost, and no error. So these formats are refused.

use std::time::SystemTime;

use parsec_telemetry::{
    CacheStats, ChannelStats, EnvelopeStats, FiringAlert, HistoryStats, PresenceStats, RuleStatus, Severity, Snapshot,
    SourceStatus, TokenStats,
};
use serde::{Deserialize, Serialize};

fn snapshot() -> Snapshot {
    let at = SystemTime::UNIX_EPOCH;
    let name = "sessions".to_owned();
    Snapshot {
        // Without `size_entries`, `evictions_last_hour` is in its position.
        cache: CacheStats { hit_rate_pct: 72.5, size_bytes: 1, size_entries: 0, evictions_last_hour: 7 },
        alerts: vec![alert()],
        sources: vec![SourceStatus { name, up: true, panics_total: 3, ..Default::default() }],
        rules: vec![RuleStatus { name: "cold".to_owned(), failures_total: 1, ..Default::default() }],
        unmeasured: vec!["tokens".to_owned()],
        at,
        ..Default::default()
    }
}

fn alert() -> FiringAlert {
    let at = SystemTime::UNIX_EPOCH;
    FiringAlert { name: "cold".to_owned(), severity: Severity::Info, description: String::new(), at, since: at }
}

/// The error of each format that refuses a value.
fn refusals<T: Serialize>(value: &T) -> [String; 5] {
    let standard = bincode::config::standard();
    [
        rmp_serde::to_vec(value).expect_err("MessagePack").to_string(),
        rmp_serde::to_vec_named(value).expect_err("MessagePack with keys").to_string(),
        bincode::serde::encode_to_vec(value, standard).expect_err("bincode").to_string(),
        bincode::serde::encode_to_vec(value, standard.with_fixed_int_encoding()).expect_err("bincode 1").to_string(),
        postcard::to_allocvec(value).expect_err("postcard").to_string(),
    ]
}

#[test]
fn binary_format_refuses_a_snapshot_and_says_what_to_use() {
    let [.., postcard] = refusals(&snapshot());
    // The errors of postcard have no text of ours.
    assert!(!postcard.is_empty());
    for error in &refusals(&snapshot())[..4] {
        assert!(error.contains("not human-readable") && error.contains("use JSON"), "{error}");
    }
    refusals(&Snapshot::default());
}

#[test]
fn binary_format_refuses_each_part_of_a_snapshot() {
    refusals(&ChannelStats::default());
    refusals(&EnvelopeStats::default());
    refusals(&PresenceStats::default());
    refusals(&HistoryStats::default());
    refusals(&TokenStats::default());
    refusals(&CacheStats::default());
    refusals(&SourceStatus::default());
    refusals(&RuleStatus::default());
    refusals(&alert());
    refusals(&(1, vec![Some(CacheStats::default())]));
}

#[test]
fn binary_format_refuses_to_read_a_snapshot() {
    let zeros = [0; 256];
    assert!(rmp_serde::from_slice::<Snapshot>(&zeros).is_err());
    assert!(postcard::from_bytes::<Snapshot>(&zeros).is_err());
    let standard = bincode::config::standard();
    let error = bincode::serde::decode_from_slice::<Snapshot, _>(&zeros, standard).expect_err("bincode");
    assert!(error.to_string().contains("use JSON"), "{error}");
}

#[test]
fn json_text_within_a_binary_format_reads_back() {
    let text = serde_json::to_string(&snapshot()).expect("JSON");
    let bytes = postcard::to_allocvec(&text).expect("a string");
    let text: String = postcard::from_bytes(&bytes).expect("a string");
    assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("JSON"), snapshot());
}

/// `rmp-serde` can be told that its format is human-readable, and still identifies fields by position.
#[test]
fn positions_are_refused_where_a_format_claims_to_be_human_readable() {
    for snapshot in [snapshot(), Snapshot::default()] {
        let (mut positions, mut keys) = (Vec::new(), Vec::new());
        let serializer = &mut rmp_serde::Serializer::new(&mut positions).with_human_readable();
        snapshot.serialize(serializer).expect("written");
        let serializer = &mut rmp_serde::Serializer::new(&mut keys).with_human_readable().with_struct_map();
        snapshot.serialize(serializer).expect("written");

        let read = |bytes| Snapshot::deserialize(&mut rmp_serde::Deserializer::new(bytes).with_human_readable());
        let error = read(&positions[..]).expect_err("fields by position").to_string();
        assert!(error.contains("a map with the keys of a snapshot"), "{error}");
        assert_eq!(read(&keys[..]).expect("fields by key"), snapshot);
    }
}

#[test]
fn snapshot_within_another_object_reads_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Instance {
        host: String,
        #[serde(flatten)]
        snapshot: Snapshot,
    }

    for snapshot in [snapshot(), Snapshot::default(), Snapshot::empty(SystemTime::UNIX_EPOCH)] {
        let instance = Instance { host: "a".to_owned(), snapshot };
        let text = serde_json::to_string(&instance).expect("JSON");
        assert_eq!(serde_json::from_str::<Instance>(&text).expect("JSON"), instance);
    }
}
