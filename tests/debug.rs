//! What a developer sees who prints one of the crate's values: what it is, and what matters about it.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use parsec_telemetry::{
    Aggregator, AlertRule, CacheCounters, CacheSource, ChannelEntry, ChannelLister, ChannelSource,
    EnvelopeCounters, ManualClock, Severity, TokenCounters,
};

fn shows(value: &impl Debug, parts: &[&str]) {
    let shown = format!("{value:?}");
    for part in parts {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
}

#[test]
fn counters_show_their_numbers() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let data = envelopes.aspect("data");
    data.observe();
    clock.advance(Duration::from_secs(1));
    shows(
        &envelopes,
        &["EnvelopeCounters", "rate_per_second: 1.0", r#""data": 1"#],
    );
    shows(&data, &[r#"Aspect("data")"#]);

    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    tokens.issued();
    shows(
        &tokens,
        &["TokenCounters", "issued_last_hour: 1", "active_count: 1"],
    );
}

#[test]
fn clocks_show_the_time() {
    let clock = ManualClock::default();
    let before = format!("{:?}", clock.clock());
    shows(&clock, &["ManualClock", "now"]);
    clock.advance(Duration::from_secs(1));
    assert_ne!(format!("{:?}", clock.clock()), before);
    assert_eq!(
        clock.now(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_601)
    );
}

#[test]
fn an_aggregator_shows_how_many_sources_and_which_rules_it_has() {
    let rule = AlertRule::new("idle", Severity::Info, |_| false).description("nothing to do");
    shows(&rule, &["AlertRule", "idle", "Info", "nothing to do"]);
    let aggregator = Aggregator::new()
        .source(TokenCounters::default())
        .source(EnvelopeCounters::default())
        .with_alerts(vec![rule])
        .expect("a good rule");
    shows(&aggregator, &["sources: 2", "idle", "Averaged"]);
    shows(&aggregator.sum_envelope_rates(), &["Summed"]);
}

#[test]
fn sources_over_what_others_wrote_say_what_they_are() {
    struct Nothing;
    impl ChannelLister for Nothing {
        fn list(&self, _: &mut dyn FnMut(ChannelEntry<'_>)) {}
    }
    let boxed: Box<dyn ChannelLister> = Box::new(Nothing);
    shows(&ChannelSource::new(boxed), &["ChannelSource"]);
    shows(&CacheSource::new(CacheCounters::default), &["CacheSource"]);
}
