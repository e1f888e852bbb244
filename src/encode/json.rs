//! The JSON page: what serde makes of a [`Snapshot`], to the byte, and a newline.
//!
//! Written out by hand, since a page is all fixed text but for its numbers, and the
//! budget of a page is a few hundred nanoseconds. That it is what serde writes is a test.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

use crate::alerts::FiringAlert;
use crate::encode::escapes::Escapes;
use crate::encode::number::{Float, Number};
use crate::snapshot::{Snapshot, rfc3339};

pub(super) fn render(page: &mut Vec<u8>, snapshot: &Snapshot) {
    let Snapshot {
        channels,
        envelopes,
        presence,
        history,
        tokens,
        cache,
        at,
        alerts,
    } = snapshot;
    let mut page = Page(page);
    page.number(r#"{"channels":{"total_active":"#, channels.total_active);
    page.counts(r#","by_pattern":{"#, &channels.by_pattern);
    page.number(
        r#"},"envelopes":{"rate_per_second":"#,
        Float(envelopes.rate_per_second),
    );
    page.counts(r#","by_aspect":{"#, &envelopes.by_aspect);
    page.number(r#"},"presence":{"total_users":"#, presence.total_users);
    page.number(r#","total_agents":"#, presence.total_agents);
    page.number(
        r#","average_per_channel":"#,
        Float(presence.average_per_channel),
    );
    page.number(
        r#"},"history":{"total_envelopes_buffered":"#,
        history.total_envelopes_buffered,
    );
    page.number(
        r#","buffer_utilization_pct":"#,
        Float(history.buffer_utilization_pct),
    );
    page.number(
        r#"},"tokens":{"issued_last_hour":"#,
        tokens.issued_last_hour,
    );
    page.number(r#","revoked_last_hour":"#, tokens.revoked_last_hour);
    page.number(r#","active_count":"#, tokens.active_count);
    page.number(r#"},"cache":{"hit_rate_pct":"#, Float(cache.hit_rate_pct));
    page.number(r#","size_bytes":"#, cache.size_bytes);
    if cache.size_entries != 0 {
        page.number(r#","size_entries":"#, cache.size_entries);
    }
    page.number(r#","evictions_last_hour":"#, cache.evictions_last_hour);
    page.text(r#"},"at":"#);
    let written = page.time(*at);
    page.alerts(alerts, (*at, written));
    page.text("}\n");
}

struct Page<'a>(&'a mut Vec<u8>);

impl Page<'_> {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, before: &str, number: impl Number) {
        self.text(before);
        number.write(self.0);
    }

    fn counts(&mut self, before: &str, counts: &BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        self.text(before);
        for (at, (key, &count)) in counts.iter().enumerate() {
            if at > 0 {
                self.text(",");
            }
            self.string(key);
            self.number(":", count);
        }
        self.text("}");
    }

    /// Nearly always they fired when the snapshot was taken: that time is `written` already.
    fn alerts(&mut self, alerts: &[FiringAlert], (taken, written): (SystemTime, Range<usize>)) {
        for (
            place,
            FiringAlert {
                name,
                severity,
                description,
                at,
            },
        ) in alerts.iter().enumerate()
        {
            self.text(if place == 0 {
                r#","alerts":[{"name":"#
            } else {
                r#",{"name":"#
            });
            self.string(name);
            self.text(r#","severity":""#);
            self.text(severity.as_str());
            self.text("\"");
            if !description.is_empty() {
                self.text(r#","description":"#);
                self.string(description);
            }
            self.text(r#","at":"#);
            if *at == taken {
                self.0.extend_from_within(written.clone());
            } else {
                self.time(*at);
            }
            self.text("}");
        }
        if !alerts.is_empty() {
            self.text("]");
        }
    }

    /// Says where on the page it stands.
    fn time(&mut self, at: SystemTime) -> Range<usize> {
        let begin = self.0.len();
        self.text("\"");
        rfc3339::write(at, self.0);
        self.text("\"");
        begin..self.0.len()
    }

    fn string(&mut self, text: &str) {
        const ESCAPES: Escapes<2> = Escapes {
            below: b' ',
            others: [b'"', b'\\'],
        };
        if ESCAPES.are_in(text) {
            serde_json::to_writer(&mut *self.0, text).expect("a Vec takes every write");
        } else {
            self.text("\"");
            self.text(text);
            self.text("\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn the_page_is_what_serde_writes() {
        let mut snapshot = Snapshot::default();
        for text in ["", "plain", "\u{7f} é 日本", "\" \\ \n \t \u{0} \u{1f}"] {
            snapshot.channels.by_pattern.insert(text.to_owned(), 1);
            snapshot
                .envelopes
                .by_aspect
                .insert(text.to_owned(), u64::MAX);
            for description in ["", text] {
                snapshot.alerts.push(FiringAlert {
                    name: text.to_owned(),
                    severity: Severity::Critical,
                    description: description.to_owned(),
                    at: SystemTime::UNIX_EPOCH - Duration::new(7, 1),
                });
            }
            let serde = serde_json::to_string(&snapshot).expect("JSON");
            assert_eq!(page(&snapshot), serde + "\n");
        }
        for value in [
            -0.0,
            1.0 / 3.0,
            1e300,
            -1e-300,
            5e-324,
            f64::NAN,
            f64::INFINITY,
        ] {
            snapshot.envelopes.rate_per_second = value;
            snapshot.cache.hit_rate_pct = value;
            snapshot.cache.size_entries = 1;
            snapshot.tokens.active_count = i64::MIN;
            let serde = serde_json::to_string(&snapshot).expect("JSON");
            assert_eq!(page(&snapshot), serde + "\n");
        }
    }
}
