//! Clones, handles, builders and dropped counters.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::mpsc;
use std::thread;

use common::counters::{envelopes_on, frozen_envelopes, frozen_tokens, total};
use common::{SECOND, counts};
use parsec_telemetry::{Aspect, EnvelopeCounters, ManualClock, TokenCounters};

#[test]
fn counter_dropped_while_its_threads_live_leaves_its_handles_usable() {
    let (sender, received) = mpsc::channel::<(EnvelopeCounters, TokenCounters, Aspect)>();
    let (reply, replies) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut kept = None;
        for (envelopes, tokens, aspect) in received {
            envelopes.observe("data");
            aspect.observe();
            tokens.issued();
            drop((envelopes, tokens));
            // A handle keeps its counter's shards alive.
            kept = Some(aspect);
            reply.send(()).expect("the test waits");
        }
        let kept = kept.expect("at least one message");
        kept.observe();
        kept.name().to_owned()
    });
    for _ in 0..50 {
        let (envelopes, tokens) = (frozen_envelopes(), frozen_tokens());
        let aspect = envelopes.aspect("data");
        sender.send((envelopes.clone(), tokens.clone(), aspect)).expect("the thread waits");
        replies.recv().expect("no panic");
        // Nothing of an earlier counter shows in this one.
        assert_eq!(envelopes.snapshot().by_aspect, counts(&[("data", 2)]));
        assert_eq!(tokens.snapshot().active_count, 1);
    }
    drop(sender);
    assert_eq!(thread.join().expect("no panic"), "data");
}

#[test]
fn clones_share_counts_and_clock() {
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock.clone());
    let data = envelopes.clone().aspect("data");
    data.clone().observe();
    data.observe();
    envelopes.clone().observe("data");
    assert_eq!(envelopes.snapshot().by_aspect["data"], 3);
    assert_eq!(envelopes.clone().snapshot(), envelopes.snapshot());

    let tokens = TokenCounters::builder().clock(clock.clock().clone()).build();
    tokens.clone().issued();
    tokens.clone().revoked();
    tokens.issued();
    assert_eq!(tokens.snapshot(), tokens.clone().snapshot());
    assert_eq!(tokens.snapshot().active_count, 1);

    // A clone of the clock advances the counters that were created before it, too.
    clock.clone().advance(10 * SECOND);
    assert_eq!(clock.now(), clock.clone().now());
    assert_eq!(clock.now(), clock.clock().now());
    assert_eq!(envelopes.snapshot().rate_per_second, 0.3);
}

/// Values beyond the range are raised or lowered to it.
#[test]
fn builder_options_of_any_value_create_counters_that_record() {
    for value in [0, 1, 15, 1 << 20, usize::MAX] {
        let envelopes = EnvelopeCounters::builder().max_aspects(value.min(1 << 16)).preallocated_shards(value.min(64));
        let preallocated = EnvelopeCounters::builder().preallocated_shards(value);
        let aspects = EnvelopeCounters::builder().max_aspects(value);
        for envelopes in [envelopes, preallocated, aspects].map(parsec_telemetry::EnvelopeCountersBuilder::build) {
            thread::scope(|scope| (0..20).for_each(|_| drop(scope.spawn(|| envelopes.observe("data")))));
            assert_eq!(total(&envelopes), 20, "{value}");
        }
        let tokens = TokenCounters::builder().preallocated_shards(value).build();
        tokens.issued();
        assert_eq!(tokens.snapshot().active_count, 1, "{value}");
    }
}

#[test]
fn builder_creates_separate_counters_each_time() {
    let builder = EnvelopeCounters::builder().max_aspects(1);
    let (one, other) = (builder.clone().build(), builder.build());
    one.observe("data");
    assert_eq!((total(&one), total(&other)), (1, 0));
    let builder = TokenCounters::builder();
    let (one, other) = (builder.clone().build(), builder.build());
    one.issued();
    assert_eq!((one.snapshot().active_count, other.snapshot().active_count), (1, 0));
}
