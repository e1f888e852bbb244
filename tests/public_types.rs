//! What the public types have in common: `Debug` output, `Send`, `Sync` and `Clone`.

mod common;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::SECOND;
use common::counters::{envelopes_on, tokens_on};
use common::sources::Channels;
use parsec_telemetry::{
    Aggregator, AlertRule, AlertRuleError, Aspect, CacheCounters, CacheSource, CacheStats, ChannelEntry, ChannelLister,
    ChannelSource, ChannelStats, CoarseClock, EnvelopeCounters, EnvelopeCountersBuilder, EnvelopeStats, FiringAlert,
    HistoryStats, ManualClock, PresenceStats, Severity, Snapshot, Source, TokenCounters, TokenCountersBuilder,
    TokenStats, UnknownSeverity,
};

fn assert_debug(value: &impl Debug, parts: &[&str]) {
    let output = format!("{value:?}");
    for part in parts {
        assert!(output.contains(part), "no {part:?} in {output}");
    }
}

#[test]
fn debug_of_counters_has_their_numbers() {
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock);
    let data = envelopes.aspect("data");
    data.observe();
    clock.advance(SECOND);
    assert_debug(&envelopes, &["EnvelopeCounters", "rate_per_second: 1.0", r#""data": 1"#]);
    assert_debug(&data, &[r#"Aspect("data")"#]);

    let tokens = tokens_on(&clock);
    tokens.issued();
    assert_debug(&tokens, &["TokenCounters", "issued_last_hour: 1", "active_count: 1"]);
}

#[test]
fn debug_of_clocks_has_the_time() {
    let clock = ManualClock::default();
    let before = format!("{:?}", clock.clock());
    assert_debug(&clock, &["ManualClock", "now"]);
    clock.advance(SECOND);
    assert_ne!(format!("{:?}", clock.clock()), before);
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_601));
}

#[test]
fn debug_of_aggregator_has_its_sources_and_rules() {
    let rule = AlertRule::new("idle", Severity::Info, |_| false).description("nothing to do");
    assert_debug(&rule, &["AlertRule", "idle", "Info", "nothing to do"]);
    let aggregator = Aggregator::new()
        .source(TokenCounters::default())
        .source(EnvelopeCounters::default())
        .with_alerts(vec![rule])
        .expect("a valid rule");
    assert_debug(&aggregator, &["TokenCounters", "EnvelopeCounters", "idle", "Averaged"]);
    assert_debug(&aggregator.sum_envelope_rates(), &["Summed"]);
}

#[test]
fn debug_of_sources_over_user_code_has_their_type() {
    let boxed: Box<dyn ChannelLister> = Box::new(Channels(Vec::new()));
    assert_debug(&ChannelSource::new(boxed), &["ChannelSource"]);
    assert_debug(&CacheSource::new(CacheCounters::default), &["CacheSource"]);
}

#[test]
fn public_types_are_send_sync_and_clone() {
    fn send_sync<T: Send + Sync + 'static>() {}
    fn clone_send_sync<T: Clone + Send + Sync + 'static>() {}
    fn data<T>()
    where
        T: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync,
        T: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
    }

    clone_send_sync::<EnvelopeCounters>();
    clone_send_sync::<EnvelopeCountersBuilder>();
    clone_send_sync::<Aspect>();
    clone_send_sync::<TokenCounters>();
    clone_send_sync::<TokenCountersBuilder>();
    clone_send_sync::<CoarseClock>();
    clone_send_sync::<ManualClock>();
    clone_send_sync::<ChannelEntry<'static>>();
    clone_send_sync::<CacheCounters>();
    clone_send_sync::<Severity>();
    clone_send_sync::<UnknownSeverity>();
    clone_send_sync::<AlertRule>();
    clone_send_sync::<AlertRuleError>();
    clone_send_sync::<FiringAlert>();
    clone_send_sync::<Aggregator>();
    send_sync::<ChannelSource<Channels>>();
    send_sync::<CacheSource<fn() -> CacheCounters>>();
    send_sync::<Box<dyn Source>>();
    send_sync::<Arc<dyn Source>>();
    send_sync::<Box<dyn ChannelLister>>();
    data::<ChannelStats>();
    data::<EnvelopeStats>();
    data::<PresenceStats>();
    data::<HistoryStats>();
    data::<TokenStats>();
    data::<CacheStats>();
    data::<Snapshot>();
    #[cfg(feature = "serve")]
    {
        clone_send_sync::<parsec_telemetry::Handler>();
        clone_send_sync::<parsec_telemetry::Server>();
    }
}
