//! Sources in every shape that an aggregator accepts, and channels.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::{Arc, Mutex};

use common::sources::{Channels, Intercepted, Reports, everything, hit_rate, snapshot_of};
use common::{counts, page, sections_of};
use parsec_telemetry::{
    Aggregator, CacheCounters, CacheSource, ChannelLister, ChannelSource, ChannelStats, Format, ManualClock,
    PresenceStats, Source,
};

#[test]
fn source_in_any_shape_reports_the_same() {
    static STATIC: Reports = Reports {
        channels: None,
        envelopes: None,
        presence: Some(PresenceStats { total_users: 1, total_agents: 0, average_per_channel: 1.0 }),
        history: None,
        tokens: None,
        cache: None,
    };
    let source = || everything(1, 1.0, "one");
    let expected = snapshot_of([source()]);
    let shared: Arc<dyn Source> = Arc::new(source());
    let boxed: Box<dyn Source> = Box::new(source());
    let optional: Option<Box<dyn Source>> = Some(Box::new(source()));
    let nested: Arc<Option<Arc<Reports>>> = Arc::new(Some(Arc::new(source())));
    let shapes: Vec<Box<dyn Source>> = vec![
        Box::new(source()),
        Box::new(Arc::new(source())),
        Box::new(shared),
        Box::new(boxed),
        Box::new(Box::new(source())),
        Box::new(Some(source())),
        Box::new(optional),
        Box::new(nested),
    ];
    for shape in shapes {
        let clock = ManualClock::new();
        let aggregator = Aggregator::new().source(shape).clock(clock.clock());
        assert_eq!(sections_of(&aggregator.snapshot()), expected);
    }

    // Each reference counts as one source.
    let by_reference = Aggregator::new().source(&STATIC).source(&STATIC);
    assert_eq!(by_reference.snapshot().presence.total_users, 2);
}

#[test]
fn absent_source_is_excluded_from_averages() {
    let absent: [Box<dyn Source>; 3] = [
        Box::new(None::<Reports>),
        Box::new(None::<Arc<dyn Source>>),
        Box::new(Arc::new(None::<CacheSource<fn() -> CacheCounters>>)),
    ];
    for absent in absent {
        assert_eq!(absent.cache(), None);
        let aggregator = Aggregator::new().source(absent).source(hit_rate(90.0));
        assert_eq!(aggregator.snapshot().cache.hit_rate_pct, 90.0);
    }
}

#[test]
fn source_without_methods_reports_nothing() {
    struct Silent;
    impl Source for Silent {}
    let silent: &dyn Source = &Silent;
    assert_eq!(silent.channels(), None);
    assert_eq!(silent.envelopes(), None);
    assert_eq!(silent.presence(), None);
    assert_eq!(silent.history(), None);
    assert_eq!(silent.tokens(), None);
    assert_eq!(silent.cache(), None);
}

#[test]
fn snapshot_collects_each_section_once() {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&collected);
    let source = Intercepted(move |section| log.lock().expect("no panic").push(section), Reports::default());
    let aggregator = Aggregator::new().source(Some(Box::new(source)));
    assert_eq!(*collected.lock().expect("no panic"), [""; 0]);
    let _ = aggregator.snapshot();
    let mut sections = collected.lock().expect("no panic").clone();
    sections.sort_unstable();
    let every = ["cache", "channels", "envelopes", "history", "presence", "tokens"];
    assert_eq!(sections, every);
}

#[test]
fn channels_without_a_pattern_are_counted_as_unknown() {
    let channels = || {
        Channels(vec![
            ("public:lobby", "public:*"),
            ("public:attic", "public:*"),
            ("agents:7", "agents:*"),
            ("stray", ""),
            ("", ""),
            ("named so", "unknown"),
        ])
    };
    let expected =
        ChannelStats { total_active: 6, by_pattern: counts(&[("agents:*", 1), ("public:*", 2), ("unknown", 3)]) };
    assert_eq!(ChannelSource::new(channels()).channels(), Some(expected.clone()));
    // A lister in another shape counts the same, each time.
    let shared: Arc<dyn ChannelLister> = Arc::new(channels());
    let source = ChannelSource::new(shared).clone();
    assert_eq!(source.channels(), Some(expected.clone()));
    assert_eq!(source.channels(), Some(expected.clone()));
    let boxed: Box<dyn ChannelLister> = Box::new(channels());
    assert_eq!(ChannelSource::new(boxed).channels(), Some(expected));
    // An empty list is a report of zero, not an absent report.
    assert_eq!(ChannelSource::new(Channels(Vec::new())).channels(), Some(ChannelStats::default()));
    assert_eq!(ChannelSource::new(channels()).cache(), None);
}

#[test]
fn channel_name_is_on_no_page() {
    let aggregator = Aggregator::new().source(ChannelSource::new(Channels(vec![("secret", "")])));
    for format in [Format::Json, Format::Prometheus] {
        let page = page(&aggregator, format);
        assert!(!page.contains("secret") && page.contains("unknown"), "{page}");
    }
}
