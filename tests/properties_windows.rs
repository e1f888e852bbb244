//! One counter on a long walk through time agrees with the model after each step.
//!
//! `properties` has more kinds of operations, but shorter sequences that it checks less often. See [`config`] for
//! where failures are kept.

mod common;

use std::time::Duration;

use common::counters::{envelopes_created_at, last_hour, tokens_created_at, total};
use common::model::{Nanos, WindowModel, nanos};
use common::strategies::config;
use common::{MINUTE, NANO, SECOND};
use parsec_telemetry::TokenCounters;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

#[derive(Clone, Copy, Debug)]
enum Step {
    Record { which: usize, times: u64 },
    RecordLate { which: usize, age: Duration },
    RecordFuture { which: usize, ahead: Duration },
    Expire,
    Advance(Duration),
    AdvanceToNextSlot,
}

/// Mostly inside a window of 60 slots and around its edges, of every order of magnitude.
fn spans(slot: Duration) -> impl Strategy<Value = Duration> + Clone {
    let nanos = u64::try_from(slot.as_nanos()).expect("a minute at most");
    prop_oneof![
        Just(Duration::ZERO),
        Just(NANO),
        Just(slot),
        Just(slot / 4),
        (0..nanos / 100).prop_map(Duration::from_nanos),
        (0..3 * nanos).prop_map(Duration::from_nanos),
        (0..70 * nanos).prop_map(Duration::from_nanos),
        (-1..=1i64).prop_map(move |off| {
            Duration::from_nanos((60 * nanos).checked_add_signed(off).expect("far from both ends"))
        }),
    ]
}

fn walks(slot: Duration) -> impl Strategy<Value = (Duration, Vec<Step>)> {
    let step = prop_oneof![
        200 => (0..2usize, 0..20u64).prop_map(|(which, times)| Step::Record { which, times }),
        200 => (0..2usize, spans(slot)).prop_map(|(which, age)| Step::RecordLate { which, age }),
        200 => (0..2usize, spans(slot))
            .prop_map(|(which, ahead)| Step::RecordFuture { which, ahead }),
        100 => Just(Step::Expire),
        // Small steps, mostly, so that the window holds many events.
        160 => spans(slot).prop_map(|by| Step::Advance(by / 50)),
        20 => spans(slot).prop_map(Step::Advance),
        1 => Just(Step::Advance(1000 * slot)),
        20 => Just(Step::AdvanceToNextSlot),
    ];
    (spans(slot), vec(step, 400))
}

/// How far a step advances the clock.
fn advance_by(step: Step, slot: Duration, now: Nanos) -> Duration {
    match step {
        Step::Advance(by) => by,
        Step::AdvanceToNextSlot => {
            let left = nanos(slot) - now.rem_euclid(nanos(slot));
            Duration::from_nanos(u64::try_from(left).expect("at most a slot"))
        }
        _ => Duration::ZERO,
    }
}

/// Walks are long, so there are fewer of them.
fn walk_config() -> Config {
    let config = config();
    Config { cases: config.cases / 8, ..config }
}

proptest! {
    #![proptest_config(walk_config())]

    #[test]
    fn envelopes_on_a_long_walk_agree_with_the_model((phase, steps) in walks(SECOND)) {
        let (clock, envelopes) = envelopes_created_at(phase);
        let mut now = nanos(phase);
        let mut model = WindowModel::new(SECOND, now);
        for step in steps {
            match step {
                Step::Record { times, .. } => {
                    (0..times).for_each(|_| envelopes.observe("data"));
                    model.record(times, now, now);
                }
                Step::RecordLate { age, .. } => {
                    envelopes.observe_at(clock.now() - age, "data");
                    model.record(1, now, now - nanos(age));
                }
                Step::RecordFuture { ahead, .. } => {
                    envelopes.observe_at(clock.now() + ahead, "data");
                    model.record(1, now, now + nanos(ahead));
                }
                Step::Expire | Step::Advance(_) | Step::AdvanceToNextSlot => {}
            }
            let by = advance_by(step, SECOND, now);
            clock.advance(by);
            now += nanos(by);
            let (rate, (expected, tolerance)) =
                (envelopes.snapshot().rate_per_second, model.rate(now));
            let agrees = (rate - expected).abs() <= tolerance || rate.is_nan() && expected.is_nan();
            prop_assert!(agrees, "{rate} instead of {expected}");
            prop_assert_eq!(total(&envelopes), model.total);
        }
    }

    #[test]
    fn tokens_on_a_long_walk_agree_with_the_model((phase, steps) in walks(MINUTE)) {
        let (clock, tokens) = tokens_created_at(phase);
        let mut now = nanos(phase);
        let mut models = [(); 2].map(|()| WindowModel::new(MINUTE, now));
        let mut expired = 0;
        let record = [TokenCounters::issued, TokenCounters::revoked];
        let record_at = [TokenCounters::issued_at, TokenCounters::revoked_at];
        for step in steps {
            match step {
                Step::Record { which, times } => {
                    (0..times).for_each(|_| record[which](&tokens));
                    models[which].record(times, now, now);
                }
                Step::RecordLate { which, age } => {
                    record_at[which](&tokens, clock.now() - age);
                    models[which].record(1, now, now - nanos(age));
                }
                Step::RecordFuture { which, ahead } => {
                    record_at[which](&tokens, clock.now() + ahead);
                    models[which].record(1, now, now + nanos(ahead));
                }
                Step::Expire => {
                    tokens.expired();
                    expired += 1;
                }
                Step::Advance(_) | Step::AdvanceToNextSlot => {}
            }
            let by = advance_by(step, MINUTE, now);
            clock.advance(by);
            now += nanos(by);
            let [issued, revoked] = &mut models;
            WindowModel::cover_together([issued, revoked]);
            prop_assert_eq!(last_hour(&tokens), (issued.rounded(now), revoked.rounded(now)));
            let active = Nanos::from(issued.total) - Nanos::from(revoked.total) - expired;
            prop_assert_eq!(Nanos::from(tokens.snapshot().active_count), active);
        }
    }
}
