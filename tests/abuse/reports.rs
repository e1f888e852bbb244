//! What a source may report, whole and right over HTTP: in each format, plain and packed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use parsec_telemetry::{
    Aggregator, CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot,
    Source, TokenStats,
};

use crate::outside::{Kind, Outside};
use crate::site::Site;
use crate::sources::Million;
use crate::wire::{Kept, connect, poll};
use crate::{GET, GET_TEXT, MIB, PATIENCE};

/// The JSON page, and the text page in both of its formats.
struct Pages {
    json: Snapshot,
    texts: [String; 2],
}

impl Pages {
    fn of(at: SocketAddr, packed: bool) -> Self {
        let stream = connect(at);
        // A page may be made of a million patterns, on a machine that has more to do.
        let long = Some(6 * PATIENCE);
        stream.set_read_timeout(long).expect("a timeout");
        let mut scraper = Kept::of(stream);
        let mut ask = |request: &str, accept: &str| {
            let encoding = if packed { "gzip" } else { "identity" };
            let headers = format!("host: x\r\naccept: {accept}\r\naccept-encoding: {encoding}\r\n");
            let request = request.replace("host: x\r\n", &headers);
            let (status, body) = scraper.ask_for_bytes(&request).expect("an answer");
            assert_eq!(status, 200);
            // A small page comes as it is.
            if !body.starts_with(b"\x1f\x8b") {
                assert!(!packed || body.len() < 1024);
                return String::from_utf8(body).expect("UTF-8");
            }
            assert!(packed);
            let mut page = String::new();
            let mut body = GzDecoder::new(&body[..]);
            body.read_to_string(&mut page).expect("gzip, and UTF-8");
            page
        };
        Self {
            json: serde_json::from_str(&ask(GET, "*/*")).expect("a snapshot"),
            texts: ["text/plain", "application/openmetrics-text"]
                .map(|accept| ask(GET_TEXT, accept)),
        }
    }

    /// The samples of a family, by what stands before their values.
    fn samples<'a>(page: &'a str, family: &str) -> BTreeMap<&'a str, &'a str> {
        page.split('\n')
            .filter(|line| line.starts_with(family))
            .map(|line| line.rsplit_once(' ').expect("a value"))
            .collect()
    }
}

#[test]
fn numbers_at_their_ends_come_as_they_are_and_what_is_no_number_does_not() {
    struct Ends(f64);
    impl Source for Ends {
        fn presence(&self) -> Option<PresenceStats> {
            Some(PresenceStats {
                total_users: u64::MAX,
                total_agents: u64::MAX,
                average_per_channel: self.0,
            })
        }

        fn tokens(&self) -> Option<TokenStats> {
            Some(TokenStats {
                issued_last_hour: u64::MAX,
                revoked_last_hour: 0,
                active_count: i64::MIN,
            })
        }

        fn history(&self) -> Option<HistoryStats> {
            Some(HistoryStats {
                total_envelopes_buffered: 0,
                buffer_utilization_pct: -self.0,
            })
        }

        fn cache(&self) -> Option<CacheStats> {
            Some(CacheStats {
                hit_rate_pct: self.0,
                ..Default::default()
            })
        }
    }

    for (reported, shown) in [
        (f64::NAN, 0.0),
        (f64::INFINITY, 0.0),
        (f64::NEG_INFINITY, 0.0),
        (f64::MAX, f64::MAX),
        (f64::MIN_POSITIVE, f64::MIN_POSITIVE),
        (5e-324, 5e-324),
        (-0.1, -0.1),
    ] {
        let site = Site::begin(Aggregator::new().source(Ends(reported)), |server| server);
        for packed in [false, true] {
            let Pages { json, texts } = Pages::of(site.at, packed);
            assert_eq!(json.presence.total_users, u64::MAX);
            assert_eq!(json.tokens.active_count, i64::MIN);
            assert_eq!(json.presence.average_per_channel.to_bits(), shown.to_bits());
            for page in texts {
                for (family, value) in [
                    (
                        "parsec_telemetry_presence_total_users",
                        "18446744073709551615",
                    ),
                    ("parsec_telemetry_tokens_active", "-9223372036854775808"),
                ] {
                    assert_eq!(Pages::samples(&page, family)[family], value);
                }
                for (family, expected) in [
                    ("parsec_telemetry_presence_average_per_channel", shown),
                    ("parsec_telemetry_cache_hit_rate_pct", shown),
                    (
                        "parsec_telemetry_history_buffer_utilization_pct",
                        0.0 - shown,
                    ),
                ] {
                    let value = Pages::samples(&page, family)[family];
                    let value: f64 = value.parse().expect("a number");
                    assert_eq!(
                        value.to_bits(),
                        expected.to_bits(),
                        "{family} of {reported}"
                    );
                }
            }
        }
    }
}

#[test]
fn labels_of_every_kind_come_through_whole() {
    struct Labels(BTreeMap<String, u64>);
    impl Source for Labels {
        fn channels(&self) -> Option<ChannelStats> {
            Some(ChannelStats {
                total_active: 1,
                by_pattern: self.0.clone(),
            })
        }

        fn envelopes(&self) -> Option<EnvelopeStats> {
            Some(EnvelopeStats {
                rate_per_second: 1.0,
                by_aspect: self.0.clone(),
            })
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
    labels.push("x".repeat(100_000));
    labels.extend(
        (0..=0x2ff)
            .filter_map(char::from_u32)
            .map(|char| format!("one {char}")),
    );

    let labels: BTreeMap<String, u64> = labels.into_iter().zip(1..).collect();
    let site = Site::begin(Aggregator::new().source(Labels(labels.clone())), |server| {
        server
    });
    for packed in [false, true] {
        let Pages { json, texts } = Pages::of(site.at, packed);
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

/// The pages are whole, in each format; health is answered while they are made; and once it is
/// over, so is what they took.
#[test]
#[ignore = "reads a million samples four times: takes a release build"]
fn a_million_patterns_are_served_and_forgotten() {
    let server = Outside::start(Kind::Long);
    let mut worst = server.before;
    for packed in [false, true] {
        let Pages { json, texts } = Pages::of(server.at, packed);
        worst = worst.at_worst(server.takes());
        assert_eq!(json.channels.total_active, Million::PATTERNS);
        let patterns = json.channels.by_pattern;
        assert_eq!(patterns.len() as u64, Million::PATTERNS);
        let is_right = |((name, count), n): ((&String, &u64), u64)| {
            *count == n && *name == Million::pattern(n)
        };
        assert!(patterns.iter().zip(0..).all(is_right));
        for page in texts {
            let family = "parsec_telemetry_channels_by_pattern";
            let samples = Pages::samples(&page, family);
            let is_right = |((sample, count), n): ((&&str, &&str), u64)| {
                let pattern = Million::pattern(n);
                *sample == format!("{family}{{pattern=\"{pattern}\"}}") && *count == n.to_string()
            };
            assert!(samples.iter().zip(0..).all(is_right));
            assert_eq!(samples.len() as u64, Million::PATTERNS);
        }
    }
    server.tell();
    let after = poll("nothing of it is left", || {
        Pages::of(server.at, false);
        let now = server.takes();
        (now.held < server.before.held + MIB).then_some(now)
    });
    println!(
        "a million patterns: before {}; worst {worst}; after {after}",
        server.before
    );
}
