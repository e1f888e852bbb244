//! The tokens of the last hour, to the nanosecond, on a manual clock.
//!
//! Properties:
//!
//! 1. The last hour is what the last 60 minutes hold, rounded to the nearest whole number, halves up. It is not
//!    divided by anything.
//! 2. The slot at the window's far edge is weighted by the fraction of it that is inside.
//! 3. A token of another time is placed by its age: in the totals only, if it is older than the window, and now, if
//!    it is in the future.

#![allow(clippy::unchecked_time_subtraction, reason = "a test may panic, and most of the terms are constants")]

mod common;

use std::time::Duration;

use common::counters::{interval, last_hour, mature_tokens, tokens_created_at};
use common::{HOUR, MINUTE, NANO, SECOND};

/// Properties 1 and 2, at every hundredth of a minute, for counters created at any of them.
#[test]
fn even_stream_at_any_phase_reads_its_exact_hour() {
    let hundredth = MINUTE / 100;
    for phase in (0..100).step_by(13) {
        let (clock, tokens) = tokens_created_at(phase * hundredth);
        for age in 1..=63 * 100u32 {
            interval(&clock, hundredth, || {
                tokens.issued();
                if age % 2 == 0 {
                    tokens.revoked();
                }
            });
            if age < 200 {
                assert_eq!(last_hour(&tokens), (u64::from(age), u64::from(age / 2)));
            } else if age >= 60 * 100 {
                let (issued, revoked) = last_hour(&tokens);
                assert_eq!(issued, 6000, "created at {phase}/100 min, {age}/100 minutes old");
                // One event every other hundredth: the edge is off by at most half an event.
                assert!(revoked.abs_diff(3000) <= 1, "{revoked} revoked");
            }
        }
        assert_eq!(tokens.snapshot().active_count, 3150);
    }
}

/// Properties 1 and 2.
#[test]
fn slot_at_the_edge_is_weighted_by_the_fraction_inside_and_rounded() {
    let (clock, tokens) = mature_tokens();
    for _ in 0..4 {
        tokens.issued();
    }
    tokens.revoked();
    let burst = clock.now();
    for (after, expected) in [
        (Duration::ZERO, (4, 1)),
        (HOUR - NANO, (4, 1)),
        (HOUR, (4, 1)),
        (HOUR + 15 * SECOND, (3, 1)),
        (HOUR + 30 * SECOND, (2, 1)), // 0.5 is rounded up.
        (HOUR + 30 * SECOND + NANO, (2, 0)),
        (HOUR + 45 * SECOND, (1, 0)),
        (HOUR + 52 * SECOND, (1, 0)),
        (HOUR + 53 * SECOND, (0, 0)),
        (HOUR + MINUTE - NANO, (0, 0)),
        (HOUR + MINUTE, (0, 0)),
        (HOUR + 4 * MINUTE, (0, 0)), // The ring has wrapped around to the slot's index.
        (50 * HOUR, (0, 0)),
    ] {
        let now = burst + after;
        clock.advance(now.duration_since(clock.now()).expect("in order"));
        assert_eq!(last_hour(&tokens), expected, "{after:?} after the burst");
    }
    assert_eq!(tokens.snapshot().active_count, 3);
}

/// The counters recorded for 20 s of their first slot.
#[test]
fn slot_of_the_creation_is_weighted_by_the_time_that_it_recorded() {
    for (seconds, expected) in [(0, 100), (5, 75), (10, 50), (15, 25), (20, 0)] {
        let (clock, tokens) = tokens_created_at(40 * SECOND);
        for _ in 0..100 {
            tokens.issued();
        }
        clock.advance(HOUR + seconds * SECOND);
        assert_eq!(last_hour(&tokens), (expected, 0), "{seconds} s after the first hour");
    }
}

/// Property 3.
#[test]
fn token_of_another_time_is_placed_by_its_age() {
    for (phase, age, expected) in [
        (0, Duration::ZERO, 60),
        (0, MINUTE, 60),
        (0, HOUR - NANO, 60),
        (0, HOUR, 60),
        (0, HOUR + NANO, 0),
        (15, HOUR - MINUTE, 60),
        (15, HOUR - 44 * SECOND, 45),
        (15, HOUR, 45),
        (15, HOUR + NANO, 0),
        (15, 24 * HOUR, 0),
    ] {
        let (clock, tokens) = mature_tokens();
        clock.advance(phase * SECOND);
        for _ in 0..60 {
            tokens.issued_at(clock.now() - age);
            tokens.issued_at(clock.now() - age);
            tokens.revoked_at(clock.now() - age);
        }
        assert_eq!(last_hour(&tokens), (2 * expected, expected), "aged {age:?} at a phase of {phase} s");
        assert_eq!(tokens.snapshot().active_count, 60);
    }
}

#[test]
fn late_token_of_any_age_does_not_overwrite_a_newer_slot() {
    let (clock, tokens) = mature_tokens();
    for _ in 0..60 {
        interval(&clock, MINUTE, || {
            tokens.issued();
            tokens.revoked();
        });
    }
    for age in 61..61 + 200 {
        tokens.issued_at(clock.now() - age * MINUTE);
        tokens.revoked_at(clock.now() - age * MINUTE);
    }
    assert_eq!(last_hour(&tokens), (60, 60));
    for age in 0..60 {
        tokens.issued_at(clock.now() - age * MINUTE);
    }
    assert_eq!(last_hour(&tokens), (120, 60));
    assert_eq!(tokens.snapshot().active_count, 60);
}

#[test]
fn future_token_counts_as_now_and_expires_with_it() {
    let (clock, tokens) = mature_tokens();
    tokens.issued_at(clock.now() + 1000 * HOUR);
    tokens.revoked_at(clock.now() + NANO);
    assert_eq!(last_hour(&tokens), (1, 1));
    clock.advance(HOUR);
    assert_eq!(last_hour(&tokens), (1, 1));
    clock.advance(MINUTE);
    assert_eq!(last_hour(&tokens), (0, 0));
}

#[test]
fn idle_counter_reads_zero_and_a_burst_after_it_reads_at_once() {
    for idle in [61, 64, 65, 128, 64 * 60, 100_000] {
        let (clock, tokens) = mature_tokens();
        for _ in 0..70 {
            tokens.issued();
            clock.advance(MINUTE);
        }
        clock.advance(idle * MINUTE);
        for _ in 0..7 {
            tokens.issued();
        }
        tokens.revoked();
        assert_eq!(last_hour(&tokens), (7, 1), "idle for {idle} minutes");
        assert_eq!(tokens.snapshot().active_count, 76);
    }
}

#[test]
fn active_count_is_issued_less_revoked_and_expired_at_any_age() {
    let (clock, tokens) = tokens_created_at(Duration::ZERO);
    for _ in 0..5 {
        tokens.issued();
    }
    tokens.revoked();
    tokens.expired();
    assert_eq!(tokens.snapshot().active_count, 3);
    // An expiry is not a revocation.
    assert_eq!(last_hour(&tokens), (5, 1));
    clock.advance(1000 * HOUR);
    assert_eq!(last_hour(&tokens), (0, 0));
    assert_eq!(tokens.snapshot().active_count, 3);
    for _ in 0..4 {
        tokens.expired();
    }
    tokens.revoked();
    assert_eq!(tokens.snapshot().active_count, -2);
    tokens.issued();
    assert_eq!(tokens.snapshot().active_count, -1);
    assert_eq!(last_hour(&tokens), (1, 1));
}
