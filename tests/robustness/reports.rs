//! Extreme values and labels over HTTP: in each format, plain and compressed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use parsec_telemetry::{
    Aggregator, CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, Source, TokenStats,
};

use crate::child_server::{ChildServer, Kind};
use crate::local_server::LocalServer;
use crate::sources::ManyPatterns;
use crate::support::poll::{DEADLINE, poll};
use crate::support::socket::connect;
use crate::wire::KeepAlive;
use crate::{GET_JSON, GET_TEXT, MIB};

/// The JSON page, and the text page in both formats.
struct Pages {
    json: Snapshot,
    texts: [String; 2],
}

impl Pages {
    fn get(address: SocketAddr, gzip: bool) -> Self {
        let stream = connect(address);
        // A debug build needs this for a page of a million patterns.
        let timeout = Some(2 * DEADLINE);
        stream.set_read_timeout(timeout).expect("a timeout");
        let mut connection = KeepAlive::new(stream);
        let mut get = |request: &str, accept: &str| {
            let encoding = if gzip { "gzip" } else { "identity" };
            let headers = format!("host: localhost\r\naccept: {accept}\r\naccept-encoding: {encoding}\r\n");
            let request = request.replace("host: localhost\r\n", &headers);
            let (status, body) = connection.request_bytes(&request).expect("a response");
            assert_eq!(status, 200);
            // Small pages are not compressed.
            if !body.starts_with(b"\x1f\x8b") {
                assert!(!gzip || body.len() < 1024);
                return String::from_utf8(body).expect("UTF-8");
            }
            assert!(gzip);
            let mut page = String::new();
            let mut body = GzDecoder::new(&body[..]);
            body.read_to_string(&mut page).expect("gzip of UTF-8");
            page
        };
        Self {
            json: serde_json::from_str(&get(GET_JSON, "*/*")).expect("a snapshot"),
            texts: ["text/plain", "application/openmetrics-text"].map(|accept| get(GET_TEXT, accept)),
        }
    }

    /// The values of a family, by name and labels.
    fn samples<'a>(page: &'a str, family: &str) -> BTreeMap<&'a str, &'a str> {
        page.split('\n')
            .filter(|line| line.starts_with(family))
            .map(|line| line.rsplit_once(' ').expect("a value"))
            .collect()
    }
}

#[test]
fn extreme_values_are_exact_and_non_finite_values_are_omitted() {
    struct Extreme(f64);
    impl Source for Extreme {
        fn presence(&self) -> Option<PresenceStats> {
            Some(PresenceStats { total_users: u64::MAX, total_agents: u64::MAX, average_per_channel: self.0 })
        }

        fn tokens(&self) -> Option<TokenStats> {
            Some(TokenStats { issued_last_hour: u64::MAX, revoked_last_hour: 0, active_count: i64::MIN })
        }

        fn history(&self) -> Option<HistoryStats> {
            Some(HistoryStats { total_envelopes_buffered: 0, buffer_utilization_pct: -self.0 })
        }

        fn cache(&self) -> Option<CacheStats> {
            Some(CacheStats { hit_rate_pct: self.0, ..Default::default() })
        }
    }

    for (reported, shown) in [
        (f64::NAN, f64::NAN),
        (f64::INFINITY, f64::NAN),
        (f64::NEG_INFINITY, f64::NAN),
        (f64::MAX, f64::MAX),
        (f64::MIN_POSITIVE, f64::MIN_POSITIVE),
        (5e-324, 5e-324),
        (-0.1, -0.1),
    ] {
        let server = LocalServer::without_baseline(Aggregator::new().source(Extreme(reported)), |server| server);
        for gzip in [false, true] {
            let Pages { json, texts } = Pages::get(server.address, gzip);
            assert_eq!(json.presence.total_users, u64::MAX >> 1);
            assert_eq!(json.tokens.active_count, i64::MIN);
            assert_eq!(json.presence.average_per_channel.to_bits(), shown.to_bits());
            for page in texts {
                for (family, value) in [
                    ("parsec_telemetry_presence_total_users", "9223372036854775807"),
                    ("parsec_telemetry_tokens_active", "-9223372036854775808"),
                ] {
                    assert_eq!(Pages::samples(&page, family)[family], value);
                }
                for (family, expected) in [
                    ("parsec_telemetry_presence_average_per_channel", shown),
                    ("parsec_telemetry_cache_hit_rate_pct", shown),
                    ("parsec_telemetry_history_buffer_utilization_pct", 0.0 - shown),
                ] {
                    let samples = Pages::samples(&page, family);
                    if expected.is_nan() {
                        assert!(samples.is_empty(), "{family} of {reported}");
                        continue;
                    }
                    let value = samples[family];
                    let value: f64 = value.parse().expect("a number");
                    assert_eq!(value.to_bits(), expected.to_bits(), "{family} of {reported}");
                }
            }
        }
    }
}

#[test]
fn labels_of_every_kind_are_unchanged() {
    struct Labels(BTreeMap<String, u64>);
    impl Source for Labels {
        fn channels(&self) -> Option<ChannelStats> {
            Some(ChannelStats { total_active: 1, by_pattern: self.0.clone() })
        }

        fn envelopes(&self) -> Option<EnvelopeStats> {
            Some(EnvelopeStats { rate_per_second: 1.0, by_aspect: self.0.clone() })
        }
    }

    let mut labels: Vec<String> = [
        "",
        " ",
        "\"",
        "\\",
        "\n",
        "\\n",
        "\r\n",
        "\t",
        "\0",
        "\u{7f}",
        "# EOF",
        "\n# EOF\n",
        "\"} 1\nforged_total 1\n#",
        "{a=\"b\"}",
        "</script>",
        "größer, 更大",
        "\u{202e}right to left",
        "\u{2028}",
        "\u{feff}",
        "👩‍👩‍👧‍👦",
        "\u{10ffff}",
        "e\u{301}",
    ]
    .map(String::from)
    .into();
    labels.push("x".repeat(128));
    labels.extend((0..=0x2ff).filter_map(char::from_u32).map(|char| format!("one {char}")));

    let labels: BTreeMap<String, u64> = labels.into_iter().zip(1..).collect();
    let server = LocalServer::without_baseline(Aggregator::new().source(Labels(labels.clone())), |server| server);
    for gzip in [false, true] {
        let Pages { json, texts } = Pages::get(server.address, gzip);
        assert_eq!(json.channels.by_pattern, labels);
        assert_eq!(json.envelopes.by_aspect, labels);
        for page in texts {
            for (family, label) in [
                ("parsec_telemetry_channels_by_pattern", "pattern"),
                ("parsec_telemetry_envelopes_by_aspect", "aspect"),
                ("parsec_telemetry_envelopes_total", "aspect"),
            ] {
                let samples = Pages::samples(&page, family);
                assert_eq!(samples.len(), labels.len(), "{family}");
                for (value, count) in &labels {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    let value = value.replace('\n', "\\n");
                    let sample = format!("{family}{{{label}=\"{value}\"}}");
                    assert_eq!(samples[&*sample], count.to_string(), "{sample}");
                }
            }
            assert_eq!(Pages::samples(&page, "forged"), BTreeMap::new());
        }
    }
}

/// Once the source reports no patterns, their memory is free again.
#[test]
#[ignore = "reads a million samples six times: needs a release build"]
fn a_million_patterns_are_complete_and_their_memory_is_released() {
    let server = ChildServer::start(Kind::ManyPatterns);
    let mut max = server.baseline;
    for gzip in [false, true] {
        let Pages { json, texts } = Pages::get(server.address, gzip);
        max = max.max(server.usage());
        assert_eq!(json.channels.total_active, ManyPatterns::PATTERNS);
        let patterns = json.channels.by_pattern;
        assert_eq!(patterns.len() as u64, ManyPatterns::PATTERNS);
        let is_expected = |((name, count), n): ((&String, &u64), u64)| *count == n && *name == ManyPatterns::pattern(n);
        assert!(patterns.iter().zip(0..).all(is_expected));
        for page in texts {
            let family = "parsec_telemetry_channels_by_pattern";
            let samples = Pages::samples(&page, family);
            let is_expected = |((sample, count), n): ((&&str, &&str), u64)| {
                let pattern = ManyPatterns::pattern(n);
                *sample == format!("{family}{{pattern=\"{pattern}\"}}") && *count == n.to_string()
            };
            assert!(samples.iter().zip(0..).all(is_expected));
            assert_eq!(samples.len() as u64, ManyPatterns::PATTERNS);
        }
    }
    server.report_no_patterns();
    let after = poll("the memory is released", || {
        Pages::get(server.address, false);
        let now = server.usage();
        (now.allocated < server.baseline.allocated + MIB).then_some(now)
    });
    println!("a million patterns: before {}; maximum {max}; after {after}", server.baseline);
}
