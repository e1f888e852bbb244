//! Faults 6 to 8 and 11 of the original: what the pages print.
//!
//! Each test is named after the fault and fails on what the original did. The numbers are those of the wire
//! contract's list.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use common::exposition::{samples, value_of};
use common::sources::{Channels, ManualCache, Reports, hit_rate};
use common::{firing, json, page, render};
use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, CacheStats, ChannelSource, EnvelopeCounters, EnvelopeStats,
    Format, HistoryStats, Severity, Snapshot, Source,
};

/// Fault 6: `size_bytes` was never set.
#[test]
fn size_in_bytes_is_on_both_pages() {
    let (_clock, cache, source) = ManualCache::with_source();
    cache.update(|counters| counters.size_bytes = 4096);
    let aggregator = Aggregator::new().source(source);
    assert_eq!(json(&aggregator).cache.size_bytes, 4096);
    let page = page(&aggregator, Format::Prometheus);
    assert!(page.contains("\nparsec_telemetry_cache_size_bytes 4096\n"), "{page}");
}

/// Fault 7: a disabled cache was a nil pointer in the list of sources, and every scrape panicked.
#[test]
fn disabled_cache_does_not_break_the_pages() {
    let disabled: Option<CacheSource<fn() -> CacheCounters>> = None;
    let boxed: Option<Box<dyn Source>> = None;
    let aggregator = Aggregator::new().source(disabled).source(boxed).source(hit_rate(90.0));
    for _ in 0..3 {
        // The disabled cache is not part of the average either.
        assert_eq!(json(&aggregator).cache.hit_rate_pct, 90.0);
        assert!(page(&aggregator, Format::Prometheus).contains("\nparsec_telemetry_cache_hit_rate_pct 90\n"));
    }
}

/// Fault 8: values were printed with six decimals.
#[test]
fn small_value_does_not_print_as_zero() {
    for value in [1e-7, 0.000_000_49, 1.0 / 60.0 / 1e6, 5e-324, 0.1 + 0.2, 1e300] {
        let report = Reports {
            envelopes: Some(EnvelopeStats { rate_per_second: value, ..Default::default() }),
            history: Some(HistoryStats { buffer_utilization_pct: value, ..Default::default() }),
            ..hit_rate(value)
        };
        let page = page(&Aggregator::new().source(report), Format::Prometheus);
        for family in ["envelope_rate_per_second", "history_buffer_utilization_pct", "cache_hit_rate_pct"] {
            let shown = value_of(&page, &format!("parsec_telemetry_{family}"));
            assert_eq!(shown, value, "{family}");
        }
    }
}

/// Fault 8: the encoder rejected NaN after the headers were sent: status 200 and an empty body.
#[test]
fn nan_does_not_empty_the_json_page() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let report = Reports {
            envelopes: Some(EnvelopeStats { rate_per_second: bad, by_aspect: [("data".to_owned(), 3)].into() }),
            ..hit_rate(bad)
        };
        let aggregator = Aggregator::new().source(report).source(hit_rate(80.0));
        let snapshot = json(&aggregator);
        assert!(snapshot.envelopes.rate_per_second.is_nan());
        assert_eq!(snapshot.envelopes.by_aspect["data"], 3);
        assert_eq!(snapshot.cache.hit_rate_pct, 80.0);
        let page = page(&aggregator, Format::Prometheus);
        assert!(samples(&page).iter().all(|(.., value)| value.is_finite()), "{page}");

        // The same holds for a snapshot that was built by hand.
        let mut built = Snapshot::default();
        built.presence.average_per_channel = bad;
        let page = render(Format::Json, &built);
        let read: Snapshot = serde_json::from_str(&page).expect("JSON");
        assert_eq!(read, built);
        assert_eq!(read.unmeasured, ["presence.average_per_channel"]);
    }
}

/// Fault 8: an invalid label was printed as it was, and Prometheus rejected the whole scrape.
#[test]
fn awkward_label_does_not_invalidate_the_page() {
    let awkward = [
        "a\"b",
        "back\\slash",
        "ends in \\",
        "two\nlines",
        "\n# TYPE parsec_telemetry_channels_active counter\n",
        "\"} 1\nevil{a=\"b",
        "\u{0}\u{1f}\u{7f}",
        "\r\n",
        "日本 🦀",
        "\u{2028}",
        " ",
        "{}=,",
    ];
    let envelopes = EnvelopeCounters::new();
    for aspect in awkward {
        envelopes.observe(aspect);
    }
    let patterns = awkward.map(|pattern| ("", pattern));
    let rules = awkward.map(|name| AlertRule::new(name, Severity::Info, |_| true).description(name));
    let aggregator = Aggregator::new()
        .source(envelopes)
        .source(ChannelSource::new(Channels(patterns.into())))
        .with_alerts(rules.into())
        .expect("valid names");
    let page = page(&aggregator, Format::Prometheus);
    let expected: BTreeSet<&str> = awkward.into();
    let samples = samples(&page);
    for (family, label) in [
        ("parsec_telemetry_channels_by_pattern", "pattern"),
        ("parsec_telemetry_envelopes_by_aspect", "aspect"),
        ("parsec_telemetry_envelopes_total", "aspect"),
        ("parsec_alerts_firing", "alert"),
        ("parsec_telemetry_alerts_firing", "alert"),
    ] {
        let of_family = samples.iter().filter(|(name, ..)| name == family);
        let shown: BTreeSet<&str> = of_family
            .map(|(_, labels, value)| {
                assert_eq!((labels[0].0.as_str(), *value), (label, 1.0));
                labels[0].1.as_str()
            })
            .collect();
        assert_eq!(shown, expected, "{family}");
    }
    assert!(samples.iter().all(|(name, ..)| name.starts_with("parsec_")));
    let snapshot = json(&aggregator);
    assert_eq!(firing(&snapshot).into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A cache whose hit rate a test changes.
struct Rate(Arc<AtomicU64>);

impl Source for Rate {
    fn cache(&self) -> Option<CacheStats> {
        hit_rate(self.0.load(SeqCst) as f64).cache()
    }
}

/// Fault 11: the sample was there only while the alert fired, and Prometheus reads its absence as a failed scrape.
#[test]
fn resolved_alert_goes_to_zero_and_does_not_vanish() {
    let hit_rate_pct = Arc::new(AtomicU64::new(90));
    let source = Rate(Arc::clone(&hit_rate_pct));
    let cold = AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0);
    let aggregator = Aggregator::new().source(source).with_alerts(vec![cold]).expect("valid rules");
    for (rate, fires) in [(90, 0.0), (70, 1.0), (90, 0.0), (0, 1.0)] {
        hit_rate_pct.store(rate, SeqCst);
        let page = page(&aggregator, Format::Prometheus);
        let labels = |pairs: [(&str, &str); 2]| pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let expected =
            ("parsec_alerts_firing".to_owned(), labels([("alert", "cache_cold"), ("severity", "warning")]), fires);
        assert!(samples(&page).contains(&expected), "at {rate} %: {page}");
        // The original's own family still has a sample for firing alerts only.
        let old = "parsec_telemetry_alerts_firing{alert=\"cache_cold\",severity=\"warning\"} 1\n";
        assert_eq!(page.contains(old), fires > 0.0, "at {rate} %: {page}");
    }
}
