//! The rate over the last 60 seconds, to the nanosecond, on a manual clock.
//!
//! Properties:
//!
//! 1. A rate is the events of the last 60 seconds divided by 60. In a counter's first minute they are divided by its
//!    age, which counts as at least one second. A counter that is younger than a second and empty has no rate.
//! 2. The slot at the window's far edge is weighted by the fraction of it that is inside.
//! 3. So an even stream of 100 events a second reads 100.0 at any phase of the second.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::time::Duration;

use common::counters::{envelopes_created_at, envelopes_on, interval, mature_envelopes, rate, total};
use common::{HOUR, MINUTE, NANO, SECOND};
use parsec_telemetry::ManualClock;

/// Property 3, at every hundredth of a second from the first second on, for counters created at any hundredth.
#[test]
fn even_stream_at_any_phase_and_age_reads_its_exact_rate() {
    let hundredth = SECOND / 100;
    for phase in (0..100).step_by(9) {
        let (clock, envelopes) = envelopes_created_at(phase * hundredth);
        let data = envelopes.aspect("data");
        for age in 1..=63 * 100u32 {
            interval(&clock, hundredth, || data.observe());
            let in_question = (100..220).contains(&age) || age >= 59 * 100;
            if in_question {
                assert_eq!(rate(&envelopes), 100.0, "created at {phase}/100 s, {age}/100 s old");
            }
        }
        assert_eq!(total(&envelopes), 6300);
    }
}

/// Property 3, without a snapshot in the first hours.
#[test]
fn even_stream_after_three_hours_reads_its_exact_rate() {
    let (clock, envelopes) = envelopes_created_at(370 * SECOND / 1000);
    for _ in 0..3 * 3600 {
        interval(&clock, SECOND, || envelopes.observe("data"));
    }
    for _ in 0..61 * 100 {
        interval(&clock, SECOND / 100, || envelopes.observe("data"));
    }
    for step in 0..100 {
        interval(&clock, SECOND / 100, || envelopes.observe("data"));
        assert_eq!(rate(&envelopes), 100.0, "step {step}");
    }
    assert_eq!(total(&envelopes), 3 * 3600 + 62 * 100);
}

/// Property 3 for other rates: neither 98.99999999999999 nor 99.00000000000001 equals 99.
#[test]
fn even_stream_of_any_whole_rate_reads_that_rate() {
    let mut wrong = Vec::new();
    for per_second in [1, 3, 7, 11, 99, 101, 777, 1_001, 4_999] {
        let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
        let data = envelopes.aspect("data");
        for age in 1..=62 {
            for _ in 0..per_second {
                data.observe();
            }
            clock.advance(SECOND);
            let rate = rate(&envelopes);
            if rate != f64::from(per_second) {
                wrong.push((per_second, age, rate));
            }
        }
    }
    let some: Vec<_> = wrong.iter().take(5).collect();
    assert!(wrong.is_empty(), "{} wrong, as (rate, age, read): {some:?}…", wrong.len());
}

/// Each of the two slots at the window's ends can be one event off.
#[test]
fn stream_unaligned_with_the_second_is_off_by_at_most_two_events() {
    for (created, every) in
        [(1, 9_999_991), (123_456_789, 10_000_019), (999_999_999, 333_333_333), (500_000_001, 1_000_000_007)]
    {
        let (clock, envelopes) = envelopes_created_at(Duration::from_nanos(created));
        let every = Duration::from_nanos(every);
        let truth = 1.0 / every.as_secs_f64();
        let (mut age, mut step) = (Duration::ZERO, 0u32);
        while age < 100 * SECOND {
            clock.advance(every);
            envelopes.observe("data");
            (age, step) = (age + every, step + 1);
            if age >= MINUTE && step % 7 == 0 {
                let off = (rate(&envelopes) - truth).abs() * 60.0;
                assert!(off <= 2.0, "{off} events off, created at {created} ns, every {every:?}, at {age:?}");
            }
        }
    }
}

#[test]
fn one_event_a_second_reads_one() {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    for second in 1..=4 * 3600 {
        interval(&clock, SECOND, || envelopes.observe("data"));
        if second % 61 == 0 || second < 130 {
            assert_eq!(rate(&envelopes), 1.0, "after {second} s");
        }
    }
}

/// Property 2.
#[test]
fn slot_at_the_edge_is_weighted_by_the_fraction_inside() {
    let (clock, envelopes) = mature_envelopes();
    for _ in 0..60 {
        envelopes.observe("data");
    }
    let burst = clock.now();
    for (millis, expected) in [
        (0, 1.0),
        (1_000, 1.0),
        (59_999, 1.0),
        (60_000, 1.0),
        (60_250, 0.75),
        (60_500, 0.5),
        (60_999, 0.001),
        (61_000, 0.0),
        (64_000, 0.0), // The ring has wrapped around to the slot's index.
        (128_000, 0.0),
    ] {
        let now = burst + Duration::from_millis(millis);
        clock.advance(now.duration_since(clock.now()).expect("in order"));
        assert_eq!(rate(&envelopes), expected, "{millis} ms after the burst");
    }
    assert_eq!(total(&envelopes), 60);
}

#[test]
fn event_leaves_the_window_to_the_nanosecond() {
    let (clock, envelopes) = mature_envelopes();
    envelopes.observe("data");
    clock.advance(MINUTE);
    assert_eq!(rate(&envelopes), 1.0 / 60.0);
    clock.advance(NANO);
    assert!(rate(&envelopes) < 1.0 / 60.0);
    clock.advance(Duration::from_nanos(999_999_998));
    assert!(rate(&envelopes) > 0.0);
    clock.advance(NANO);
    assert_eq!(rate(&envelopes), 0.0);
}

/// The counter recorded for 250 ms of its first slot, and that slot's events are spread over them.
#[test]
fn slot_of_the_creation_is_weighted_by_the_time_that_it_recorded() {
    for (millis, expected) in [(0, 1.0), (50, 0.8), (125, 0.5), (200, 0.2), (250, 0.0)] {
        let (clock, envelopes) = envelopes_created_at(750 * SECOND / 1000);
        for _ in 0..60 {
            envelopes.observe("data");
        }
        clock.advance(MINUTE + Duration::from_millis(millis));
        assert_eq!(rate(&envelopes), expected, "{millis} ms after the first minute");
    }
}

#[test]
fn idle_counter_reads_zero_and_a_burst_after_it_reads_at_once() {
    for idle in [61, 62, 64, 65, 120, 128, 3600, 3840, 86_400] {
        let (clock, envelopes) = mature_envelopes();
        for _ in 0..5 {
            envelopes.observe("data");
            clock.advance(SECOND);
        }
        clock.advance(idle * SECOND);
        assert_eq!(rate(&envelopes), 0.0, "idle for {idle} s");
        for _ in 0..600 {
            envelopes.observe("data");
        }
        assert_eq!(rate(&envelopes), 10.0, "a burst after {idle} s");
        assert_eq!(total(&envelopes), 605);
    }
}

/// Without a snapshot in between, only the recording thread rotates its slots.
#[test]
fn burst_after_idle_time_without_snapshots_excludes_older_events() {
    for idle in [61, 64, 65, 128, 3840] {
        let (clock, envelopes) = mature_envelopes();
        for _ in 0..70 {
            envelopes.observe("data");
            clock.advance(SECOND);
        }
        clock.advance(idle * SECOND);
        for _ in 0..600 {
            envelopes.observe("data");
        }
        assert_eq!(rate(&envelopes), 10.0, "after {idle} s");
    }
}

/// Property 1.
#[test]
fn rate_of_a_new_counter_is_divided_by_its_age_of_at_least_one_second() {
    for created in [0, 1, 370, 999] {
        let (clock, envelopes) = envelopes_created_at(Duration::from_millis(created));
        assert!(rate(&envelopes).is_nan());
        for _ in 0..300 {
            envelopes.observe("data");
        }
        let mut age = 0;
        for (millis, expected) in [
            (0, 300.0),
            (1, 300.0),
            (999, 300.0),
            (1_000, 300.0),
            (1_500, 200.0),
            (2_000, 150.0),
            (10_000, 30.0),
            (59_999, 300.0 / 59.999),
            (60_000, 5.0),
        ] {
            clock.advance(Duration::from_millis(millis - age));
            age = millis;
            assert_eq!(rate(&envelopes), expected, "created at {created} ms, {millis} ms old");
        }
    }
}

/// No rule on a rate of zero fires before anything could have been counted.
#[test]
fn rate_of_an_empty_counter_is_nan_in_its_first_second() {
    for created in [0, 1, 999] {
        let (clock, envelopes) = envelopes_created_at(Duration::from_millis(created));
        assert!(rate(&envelopes).is_nan());
        clock.advance(Duration::from_nanos(999_999_999));
        assert!(rate(&envelopes).is_nan());
        clock.advance(NANO);
        assert_eq!(rate(&envelopes), 0.0);
        clock.advance(HOUR);
        assert_eq!(rate(&envelopes), 0.0);
    }
}

#[test]
fn first_minute_begins_with_the_counter_not_with_the_clock() {
    let clock = ManualClock::new();
    clock.advance(HOUR);
    let older = envelopes_on(&clock);
    clock.advance(MINUTE);
    let younger = envelopes_on(&clock);
    clock.advance(2 * SECOND);
    for envelopes in [&older, &younger] {
        for _ in 0..120 {
            envelopes.observe("data");
        }
    }
    assert_eq!((rate(&older), rate(&younger)), (2.0, 60.0));
}

#[test]
fn ring_after_many_laps_holds_only_its_window() {
    let (clock, envelopes) = envelopes_created_at(SECOND / 4);
    let mut events = 0;
    for second in 1..=6 * 3600u64 {
        // One in each second of an even minute, two in each of an odd one.
        let in_second = 1 + second / 60 % 2;
        for _ in 0..in_second {
            envelopes.observe("data");
        }
        events += in_second;
        clock.advance(SECOND);
        if second % 60 == 59 && second > 60 {
            // The newest slot misses three quarters of a second; the oldest has as much inside.
            let expected = 1.0 + (second / 60 % 2) as f64;
            assert!((rate(&envelopes) - expected).abs() <= 1.0 / 60.0, "after {second} s: {}", rate(&envelopes));
        }
    }
    assert_eq!(total(&envelopes), events);
}

#[test]
fn snapshots_without_new_events_are_equal() {
    let (_clock, envelopes) = mature_envelopes();
    envelopes.observe("data");
    let first = envelopes.snapshot();
    for _ in 0..100 {
        assert_eq!(envelopes.snapshot(), first);
    }
}
