//! The JSON page: the snapshot's own serialization, and a newline.

use crate::snapshot::Snapshot;

pub(super) const CONTENT_TYPE: &str = "application/json";

pub(super) fn render(page: &mut Vec<u8>, snapshot: &Snapshot) {
    // A `Vec` takes every write, keys are strings and every float that reaches the serializer is
    // finite.
    serde_json::to_writer(&mut *page, snapshot).expect("a snapshot always has a JSON form");
    page.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::alerts::{FiringAlert, Severity};
    use crate::snapshot::{
        CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, TokenStats,
    };

    fn page(snapshot: &Snapshot) -> String {
        let mut page = Vec::new();
        render(&mut page, snapshot);
        String::from_utf8(page).expect("JSON is UTF-8")
    }

    #[test]
    fn the_empty_page_has_all_six_sections() {
        let expected = concat!(
            r#"{"channels":{"total_active":0},"#,
            r#""envelopes":{"rate_per_second":0.0},"#,
            r#""presence":{"total_users":0,"total_agents":0,"average_per_channel":0.0},"#,
            r#""history":{"total_envelopes_buffered":0,"buffer_utilization_pct":0.0},"#,
            r#""tokens":{"issued_last_hour":0,"revoked_last_hour":0,"active_count":0},"#,
            r#""cache":{"hit_rate_pct":0.0,"size_bytes":0,"evictions_last_hour":0},"#,
            r#""at":"1970-01-01T00:00:00Z"}"#,
            "\n",
        );
        assert_eq!(page(&Snapshot::default()), expected);
    }

    #[test]
    fn the_full_page_keeps_the_order_of_the_contract_and_reads_back() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789);
        let counts =
            |pairs: &[(&str, u64)]| pairs.iter().map(|&(key, n)| (key.to_owned(), n)).collect();
        let alert = |name: &str, description: &str| FiringAlert {
            name: name.to_owned(),
            severity: Severity::Warning,
            description: description.to_owned(),
            at,
        };
        let snapshot = Snapshot {
            channels: ChannelStats {
                total_active: 3,
                by_pattern: counts(&[("public:*", 2), ("agents:*", 1)]),
            },
            envelopes: EnvelopeStats {
                rate_per_second: 12.5,
                by_aspect: counts(&[("data", u64::MAX), ("cursor", 7)]),
            },
            presence: PresenceStats {
                total_users: 4,
                total_agents: 1,
                average_per_channel: 5.0 / 3.0,
            },
            history: HistoryStats {
                total_envelopes_buffered: 900,
                buffer_utilization_pct: 0.000_000_1,
            },
            tokens: TokenStats {
                issued_last_hour: 5,
                revoked_last_hour: 2,
                active_count: -3,
            },
            cache: CacheStats {
                hit_rate_pct: 99.9,
                size_bytes: 4096,
                size_entries: 12,
                evictions_last_hour: 1,
            },
            at,
            alerts: vec![alert("cache_cold", "Cache \"cold\""), alert("idle", "")],
        };
        let expected = concat!(
            r#"{"channels":{"total_active":3,"by_pattern":{"agents:*":1,"public:*":2}},"#,
            r#""envelopes":{"rate_per_second":12.5,"by_aspect":{"cursor":7,"data":18446744073709551615}},"#,
            r#""presence":{"total_users":4,"total_agents":1,"average_per_channel":1.6666666666666667},"#,
            r#""history":{"total_envelopes_buffered":900,"buffer_utilization_pct":1e-7},"#,
            r#""tokens":{"issued_last_hour":5,"revoked_last_hour":2,"active_count":-3},"#,
            r#""cache":{"hit_rate_pct":99.9,"size_bytes":4096,"size_entries":12,"evictions_last_hour":1},"#,
            r#""at":"2026-01-01T00:00:00.123456789Z","#,
            r#""alerts":["#,
            r#"{"name":"cache_cold","severity":"warning","description":"Cache \"cold\"","at":"2026-01-01T00:00:00.123456789Z"},"#,
            r#"{"name":"idle","severity":"warning","at":"2026-01-01T00:00:00.123456789Z"}]}"#,
            "\n",
        );
        assert_eq!(page(&snapshot), expected);
        assert_eq!(
            serde_json::from_str::<Snapshot>(expected).expect("reads back"),
            snapshot
        );
    }
}
