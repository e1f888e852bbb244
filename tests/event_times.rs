//! Events recorded with a time of their own, and clocks at the end of their range.
//!
//! Properties:
//!
//! 1. An event is placed by its age: in the totals only, if it is older than the window, and now, if it is in the
//!    future.
//! 2. Totals are exact, whatever the time, and no time panics.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]
#![allow(clippy::unchecked_time_subtraction, reason = "a test may panic, and most of the terms are constants")]

mod common;

use std::time::{Duration, SystemTime};

use common::counters::{
    envelopes_created_at, envelopes_on, extreme_times, interval, last_hour, mature_envelopes, rate, tokens_created_at,
    tokens_on, total,
};
use common::{HOUR, MINUTE, NANO, SECOND};
use parsec_telemetry::ManualClock;

/// Property 1, also at a phase of the second at which the slot at the edge is partly inside.
#[test]
fn event_of_another_time_is_placed_by_its_age() {
    for (phase, age, expected) in [
        (0, Duration::ZERO, 1.0),
        (0, SECOND, 1.0),
        (0, MINUTE - NANO, 1.0),
        (0, MINUTE, 1.0),
        (0, MINUTE + NANO, 0.0),
        (0, 2 * MINUTE, 0.0),
        (250, MINUTE - SECOND, 1.0),
        // In the slot at the edge, of which three quarters are inside.
        (250, MINUTE - 700 * SECOND / 1000, 0.75),
        (250, MINUTE - NANO, 0.75),
        (250, MINUTE, 0.75),
        // Outside of the window, although a part of its slot is inside.
        (250, MINUTE + NANO, 0.0),
        (250, MINUTE + SECOND / 4, 0.0),
        (250, HOUR, 0.0),
    ] {
        let (clock, envelopes) = mature_envelopes();
        clock.advance(Duration::from_millis(phase));
        let data = envelopes.aspect("data");
        for _ in 0..30 {
            envelopes.observe_at(clock.now() - age, "data");
            data.observe_at(clock.now() - age);
        }
        assert_eq!(rate(&envelopes), expected, "aged {age:?} at a phase of {phase} ms");
        assert_eq!(total(&envelopes), 60);
    }
}

#[test]
fn late_event_expires_60_seconds_after_its_own_time() {
    let (clock, envelopes) = mature_envelopes();
    for _ in 0..60 {
        envelopes.observe_at(clock.now() - 50 * SECOND, "data");
    }
    clock.advance(10 * SECOND);
    assert_eq!(rate(&envelopes), 1.0);
    clock.advance(SECOND);
    assert_eq!(rate(&envelopes), 0.0);
}

#[test]
fn late_event_does_not_overwrite_a_newer_slot() {
    let (clock, envelopes) = mature_envelopes();
    for _ in 0..60 {
        interval(&clock, SECOND, || envelopes.observe("data"));
    }
    // Older than the window, by every age that maps to a slot in use.
    for age in 61..61 + 200 {
        envelopes.observe_at(clock.now() - age * SECOND, "late");
    }
    assert_eq!(rate(&envelopes), 1.0);
    // Inside the window.
    for age in 0..60 {
        envelopes.observe_at(clock.now() - age * SECOND, "late");
    }
    assert_eq!(rate(&envelopes), 2.0);
    assert_eq!(envelopes.snapshot().by_aspect["late"], 260);
}

#[test]
fn event_before_the_creation_of_counter_and_clock_counts() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    for age in [SECOND, 30 * SECOND, MINUTE] {
        envelopes.observe_at(clock.now() - age, "data");
    }
    assert_eq!((rate(&envelopes), total(&envelopes)), (3.0 / 60.0, 3));
    envelopes.observe_at(clock.now() - MINUTE - NANO, "data");
    assert_eq!((rate(&envelopes), total(&envelopes)), (3.0 / 60.0, 4));

    let (clock, tokens) = tokens_created_at(Duration::ZERO);
    for age in [MINUTE, 30 * MINUTE, HOUR] {
        tokens.issued_at(clock.now() - age);
    }
    assert_eq!(last_hour(&tokens), (3, 0));
    tokens.issued_at(clock.now() - HOUR - NANO);
    assert_eq!(last_hour(&tokens), (3, 0));
}

/// A broker replays the last minute at its start, in any order, beside events that happen now.
#[test]
fn sixty_events_of_the_last_minute_that_are_replayed_at_start_read_one_a_second() {
    for phase in [0, 1, 300, 999] {
        for newest_first in [false, true] {
            let (clock, envelopes) = envelopes_created_at(Duration::from_millis(phase));
            let mut ages: Vec<u32> = (1..=60).collect();
            if newest_first {
                ages.reverse();
            }
            for age in ages {
                envelopes.observe_at(clock.now() - age * SECOND, "data");
            }
            assert_eq!(rate(&envelopes), 1.0, "created at {phase} ms");
            // And on from there.
            for _ in 0..200 {
                clock.advance(SECOND);
                envelopes.observe("data");
                assert!((rate(&envelopes) - 1.0).abs() <= 1.0 / 60.0, "{} at {phase} ms", rate(&envelopes));
            }
        }
    }
}

#[test]
fn rate_is_divided_by_the_time_since_the_oldest_placed_event() {
    let (clock, envelopes) = envelopes_created_at(Duration::from_millis(700));
    envelopes.observe("data");
    assert_eq!(rate(&envelopes), 1.0);
    // Not before the creation: no change.
    envelopes.observe_at(clock.now(), "data");
    envelopes.observe_at(clock.now() + HOUR, "data");
    assert_eq!(rate(&envelopes), 3.0);
    // Older than the window: in the totals only.
    envelopes.observe_at(clock.now() - 2 * MINUTE, "data");
    assert_eq!(rate(&envelopes), 3.0);
    envelopes.observe_at(clock.now() - SECOND / 2, "data");
    assert_eq!(rate(&envelopes), 4.0);
    envelopes.observe_at(clock.now() - 10 * SECOND, "data");
    envelopes.observe_at(clock.now() - 5 * SECOND, "data");
    assert_eq!(rate(&envelopes), 0.6);
    clock.advance(2 * SECOND);
    assert_eq!(rate(&envelopes), 0.5);
    clock.advance(48 * SECOND);
    assert_eq!(rate(&envelopes), 0.1);
}

/// The replayed tokens of the creation's minute were spread over more of it than the counter has existed.
#[test]
fn tokens_replayed_at_start_leave_the_hour_evenly() {
    let (clock, tokens) = tokens_created_at(59 * SECOND);
    for age in 0..60 {
        tokens.issued_at(clock.now() - age * SECOND);
    }
    // The oldest, at the start of the minute, is one hour old.
    clock.advance(HOUR - 59 * SECOND);
    for left in (0..=60).rev() {
        assert_eq!(last_hour(&tokens), (left, 0));
        clock.advance(SECOND);
    }
}

#[test]
fn future_event_counts_as_now_and_expires_with_it() {
    for ahead in [NANO, SECOND, MINUTE, HOUR, 100_000 * HOUR] {
        let (clock, envelopes) = mature_envelopes();
        for _ in 0..60 {
            envelopes.observe_at(clock.now() + ahead, "data");
        }
        assert_eq!(rate(&envelopes), 1.0, "{ahead:?} ahead");
        clock.advance(MINUTE);
        assert_eq!(rate(&envelopes), 1.0, "{ahead:?} ahead");
        clock.advance(SECOND);
        assert_eq!(rate(&envelopes), 0.0, "{ahead:?} ahead");
        assert_eq!(total(&envelopes), 60);
    }
}

/// Property 2.
#[test]
fn event_of_any_representable_time_is_in_the_totals() {
    let epoch = SystemTime::UNIX_EPOCH;
    let [earliest, latest] = extreme_times();
    assert!(earliest < epoch - 1_000 * 365 * 24 * HOUR && latest > epoch);

    let (clock, envelopes) = mature_envelopes();
    let tokens = tokens_on(&clock);
    let data = envelopes.aspect("data");
    let past = [earliest, epoch - 365 * 24 * HOUR, epoch - NANO, epoch, epoch + NANO];
    for at in past {
        envelopes.observe_at(at, "data");
        data.observe_at(at);
        tokens.issued_at(at);
        tokens.revoked_at(at);
    }
    assert_eq!((rate(&envelopes), total(&envelopes)), (0.0, 10));
    assert_eq!(last_hour(&tokens), (0, 0));

    envelopes.observe_at(latest, "data");
    data.observe_at(latest);
    tokens.issued_at(latest);
    tokens.revoked_at(latest);
    tokens.issued_at(latest);
    assert_eq!((rate(&envelopes), total(&envelopes)), (2.0 / 60.0, 12));
    assert_eq!(last_hour(&tokens), (2, 1));
    assert_eq!(tokens.snapshot().active_count, 1);
}

#[test]
fn clock_at_its_end_still_records() {
    let clock = ManualClock::new();
    let envelopes = envelopes_on(&clock);
    let tokens = tokens_on(&clock);
    for _ in 0..3 {
        clock.advance(Duration::MAX);
        envelopes.observe("data");
        envelopes.observe_at(clock.now(), "data");
        tokens.issued();
        tokens.issued_at(clock.now() - MINUTE);
        let _ = envelopes_on(&clock).snapshot();
    }
    assert_eq!((rate(&envelopes), total(&envelopes)), (6.0 / 60.0, 6));
    assert_eq!(last_hour(&tokens), (6, 0));
}
