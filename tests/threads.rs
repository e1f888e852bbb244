//! Recording on many threads at once.
//!
//! Property: once a thread has been joined, every snapshot holds each of its events exactly once.
//!
//! Clocks stand still unless a test advances them, so rates are as exact as totals.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use common::counters::{envelopes_on, frozen_envelopes, frozen_tokens, tokens_on, total_of};
use common::threads::run_threads;
use common::{MINUTE, SECOND, counts};
use parsec_telemetry::{EnvelopeCounters, ManualClock, TokenCounters, TokenStats};

/// More threads than a slab has shards by default, alive at the same time.
#[test]
fn events_of_64_threads_at_once_are_all_counted() {
    let (threads, rounds) = (64, 300);
    let (envelopes, tokens) = (frozen_envelopes(), frozen_tokens());
    let data = envelopes.aspect("data");
    let all_recorded = Barrier::new(threads);
    run_threads(threads, |number| {
        let own = format!("aspect {}", number % 10);
        for round in 0..rounds {
            data.observe();
            envelopes.observe("cursor");
            envelopes.observe(&own);
            tokens.issued();
            tokens.issued();
            if number % 2 == 0 {
                tokens.revoked();
            } else {
                tokens.expired();
            }
            if round == 0 {
                all_recorded.wait();
            }
        }
    });

    let all = 64 * 300;
    let stats = envelopes.snapshot();
    assert_eq!((total_of(&stats), stats.rate_per_second), (3 * all, 57_600.0));
    assert_eq!((stats.by_aspect["data"], stats.by_aspect["cursor"]), (all, all));
    for number in 0..10 {
        let sharers = if number < 4 { 7 } else { 6 };
        assert_eq!(stats.by_aspect[&format!("aspect {number}")], sharers * 300);
    }
    let expected = TokenStats { issued_last_hour: 2 * all, revoked_last_hour: all / 2, active_count: 64 * 300 };
    assert_eq!(tokens.snapshot(), expected);
}

#[test]
fn late_events_of_64_threads_at_once_are_all_counted() {
    let threads = 64;
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock);
    let tokens = tokens_on(&clock);
    clock.advance(100 * SECOND);
    let now = clock.now();
    let (in_window, before_window) = (now - 59 * SECOND, now - 61 * SECOND);
    let (in_hour, before_hour) = (now - 90 * SECOND, now - 3601 * SECOND);
    let all_recorded = Barrier::new(threads);
    run_threads(threads, |_| {
        for round in 0..15 {
            envelopes.observe_at(in_window, "data");
            envelopes.aspect("data").observe_at(before_window);
            tokens.issued_at(in_hour);
            tokens.issued_at(before_hour);
            tokens.revoked_at(in_hour);
            if round == 0 {
                all_recorded.wait();
            }
        }
    });
    let stats = envelopes.snapshot();
    assert_eq!((total_of(&stats), stats.rate_per_second), (2 * 960, 16.0));
    let expected = TokenStats { issued_last_hour: 960, revoked_last_hour: 960, active_count: 960 };
    assert_eq!(tokens.snapshot(), expected);
}

/// A new thread takes over the shards of an ended one, and the counts in them.
#[test]
fn events_of_ended_threads_stay_counted() {
    let (envelopes, tokens) = (frozen_envelopes(), frozen_tokens());
    for wave in 1..=12 {
        let threads = 30;
        let all_recorded = Barrier::new(threads);
        run_threads(threads, |number| {
            envelopes.observe("first");
            all_recorded.wait();
            envelopes.aspect(["even", "odd"][number % 2]).observe();
            tokens.issued();
            tokens.expired();
            tokens.issued();
        });
        let stats = envelopes.snapshot();
        let expected = [("even", 15 * wave), ("first", 30 * wave), ("odd", 15 * wave)];
        assert_eq!(stats.by_aspect, counts(&expected));
        assert_eq!(stats.rate_per_second, (60 * wave) as f64);
        let stats = tokens.snapshot();
        assert_eq!(stats.issued_last_hour, 60 * wave);
        assert_eq!(u64::try_from(stats.active_count), Ok(30 * wave));
    }
}

#[test]
fn thread_that_takes_over_a_shard_adds_to_its_slots() {
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock);
    clock.advance(MINUTE);
    for _ in 0..60 {
        for _ in 0..5 {
            run_threads(1, |_| envelopes.observe("data"));
        }
        clock.advance(SECOND);
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 5.0);
    clock.advance(4 * SECOND);
    for _ in 0..56 {
        run_threads(1, |_| envelopes.observe("data"));
    }
    // 56 of the last 60 seconds with five, and a burst of 56.
    assert_eq!(envelopes.snapshot().rate_per_second, (56.0 * 5.0 + 56.0) / 60.0);
}

#[test]
fn events_on_the_shared_clock_are_all_counted() {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    run_threads(8, |_| {
        for _ in 0..1000 {
            envelopes.observe("data");
            tokens.issued();
        }
    });
    assert_eq!(envelopes.snapshot().by_aspect["data"], 8000);
    assert_eq!(tokens.snapshot().active_count, 8000);
}

#[test]
fn new_name_on_several_threads_at_once_is_one_aspect() {
    let (threads, names) = (4, 60);
    let envelopes = frozen_envelopes();
    let next = Barrier::new(threads);
    let name = |number: usize| match number % 3 {
        0 => format!("a{number}"),
        1 => format!("an aspect with the name {number}"),
        _ => format!("{number}{}", "ö".repeat(number % 40)),
    };
    let misnamed = AtomicU64::new(0);
    run_threads(threads, |thread| {
        for number in 0..names {
            let name = name(number);
            next.wait();
            if thread % 2 == 0 {
                envelopes.observe(&name);
            } else {
                let aspect = envelopes.aspect(&name);
                aspect.observe();
                // A panic here would leave the other threads at the barrier.
                misnamed.fetch_add(u64::from(aspect.name() != name), SeqCst);
            }
        }
    });
    assert_eq!(misnamed.into_inner(), 0);
    let expected: BTreeMap<_, _> = (0..names).map(|number| (name(number), 4)).collect();
    assert_eq!(envelopes.snapshot().by_aspect, expected);
}

#[test]
fn totals_beyond_max_aspects_hold_every_event() {
    for max_aspects in [0, 1, 7, 64, 100] {
        let clock = ManualClock::new().clock();
        let envelopes = EnvelopeCounters::builder().clock(clock).max_aspects(max_aspects).build();
        let (threads, names) = (8, 120);
        let start = Barrier::new(threads);
        run_threads(threads, |thread| {
            start.wait();
            for round in 0..3 {
                for number in 0..names {
                    // Each thread begins at another name, so that each registers some.
                    let name = format!("aspect {}", (number + 15 * thread) % names);
                    if round % 2 == 0 {
                        envelopes.observe(&name);
                    } else {
                        envelopes.aspect(&name).observe();
                    }
                }
            }
        });
        let mut stats = envelopes.snapshot();
        assert_eq!(total_of(&stats), 8 * 120 * 3);
        assert_eq!(stats.rate_per_second, f64::from(8 * 120 * 3));
        // A name is registered at its first event or never, so an aspect has all events of its name.
        let overflow = stats.by_aspect.remove("__overflow__");
        assert_eq!(stats.by_aspect.len(), max_aspects);
        assert!(stats.by_aspect.values().all(|&count| count == 24), "{stats:?}");
        assert_eq!(overflow, Some((120 - max_aspects as u64) * 24));
    }
}

#[test]
fn counters_do_not_affect_each_other() {
    let counters: Vec<_> = (0..20).map(|_| frozen_envelopes()).collect();
    run_threads(20, |number| {
        for (at, envelopes) in counters.iter().enumerate() {
            for _ in 0..=at {
                envelopes.observe(&format!("a{number}"));
            }
        }
    });
    for (at, envelopes) in counters.iter().enumerate() {
        let stats = envelopes.snapshot();
        assert_eq!(stats.by_aspect.len(), 20);
        assert!(stats.by_aspect.values().all(|&count| count == at as u64 + 1));
    }
}
