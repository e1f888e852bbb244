//! What the numbers of a window mean, to the nanosecond. The clock is moved by hand; the time of day plays no part.
//!
//! The laws:
//!
//! 1. A rate is the events of the last 60 seconds, divided by 60; in a counter's first minute by its age, and by one
//!    second at the least.
//! 2. The slot that straddles the far edge counts for the part of it that is still inside.
//! 3. So an even stream of 100 a second reads 100.0 at any phase of the second.
//! 4. An hour is the same with minutes, not divided, and rounded to a whole number.
//! 5. An event of another time is placed by its age: too old, it is in the totals alone; from the future, it is of now.
//! 6. Totals are exact, whatever the time, and no time makes anything panic.

#![allow(
    clippy::float_cmp,
    reason = "that the numbers are exact is what is tested"
)]
#![allow(
    clippy::unchecked_time_subtraction,
    reason = "of constants, for the most part; a test may panic"
)]

use std::time::{Duration, SystemTime};

use parsec_telemetry::{EnvelopeCounters, ManualClock, TokenCounters};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Envelope counters made at a phase of the second, on a clock that stands there.
fn envelopes_made_at(phase: Duration) -> (ManualClock, EnvelopeCounters) {
    let clock = ManualClock::new();
    clock.advance(phase);
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    (clock, envelopes)
}

/// Envelope counters that are past their first minute, at the turn of a second.
fn settled_envelopes() -> (ManualClock, EnvelopeCounters) {
    let (clock, envelopes) = envelopes_made_at(Duration::ZERO);
    clock.advance(10 * MINUTE);
    (clock, envelopes)
}

/// Token counters made at a phase of the minute, on a clock that stands there.
fn tokens_made_at(phase: Duration) -> (ManualClock, TokenCounters) {
    let clock = ManualClock::new();
    clock.advance(phase);
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    (clock, tokens)
}

/// Token counters that are past their first hour, at the turn of a minute.
fn settled_tokens() -> (ManualClock, TokenCounters) {
    let (clock, tokens) = tokens_made_at(Duration::ZERO);
    clock.advance(10 * HOUR);
    (clock, tokens)
}

fn rate(envelopes: &EnvelopeCounters) -> f64 {
    envelopes.snapshot().rate_per_second
}

fn total(envelopes: &EnvelopeCounters) -> u64 {
    envelopes.snapshot().by_aspect.values().sum()
}

fn last_hour(tokens: &TokenCounters) -> (u64, u64) {
    let stats = tokens.snapshot();
    (stats.issued_last_hour, stats.revoked_last_hour)
}

/// An interval of an even stream, with its event in the middle.
fn interval(clock: &ManualClock, length: Duration, event: impl FnOnce()) {
    clock.advance(length / 2);
    event();
    clock.advance(length / 2);
}

/// The earliest and the latest time that this system can hold.
fn extremes() -> [SystemTime; 2] {
    let steps = || {
        let seconds = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        seconds.chain((0..30).rev().map(|bit| Duration::from_nanos(1 << bit)))
    };
    let furthest = |step: fn(&SystemTime, Duration) -> Option<SystemTime>| {
        steps().fold(SystemTime::UNIX_EPOCH, |at, by| step(&at, by).unwrap_or(at))
    };
    [
        furthest(SystemTime::checked_sub),
        furthest(SystemTime::checked_add),
    ]
}

// The rate

/// Law 3, in every hundredth of the second, from the first second on, for counters made in any hundredth.
#[test]
fn an_even_stream_reads_exactly_its_rate_at_every_phase_and_age() {
    let hundredth = SECOND / 100;
    for phase in (0..100).step_by(9) {
        let (clock, envelopes) = envelopes_made_at(phase * hundredth);
        let data = envelopes.aspect("data");
        for age in 1..=63 * 100u32 {
            interval(&clock, hundredth, || data.observe());
            let in_question = (100..220).contains(&age) || age >= 59 * 100;
            if in_question {
                assert_eq!(
                    rate(&envelopes),
                    100.0,
                    "made at {phase}/100 s, {age}/100 s old"
                );
            }
        }
        assert_eq!(total(&envelopes), 6300);
    }
}

/// Law 3, long after the first minute and not looked at meanwhile.
#[test]
fn an_even_stream_reads_exactly_its_rate_hours_later() {
    let (clock, envelopes) = envelopes_made_at(370 * SECOND / 1000);
    for _ in 0..3 * 3600 {
        interval(&clock, SECOND, || envelopes.observe("data"));
    }
    // Half a second of the newest slot's and half of the straddling one's make a whole.
    for _ in 0..61 * 100 {
        interval(&clock, SECOND / 100, || envelopes.observe("data"));
    }
    for step in 0..100 {
        interval(&clock, SECOND / 100, || envelopes.observe("data"));
        assert_eq!(rate(&envelopes), 100.0, "step {step}");
    }
    assert_eq!(total(&envelopes), 3 * 3600 + 62 * 100);
}

/// Law 3 for other rates: neither 98.99999999999999 nor 99.00000000000001 is 99.
#[test]
fn an_even_stream_of_any_whole_rate_reads_exactly_that() {
    let mut wrong = Vec::new();
    for per_second in [1, 3, 7, 11, 99, 101, 777, 1_001, 4_999] {
        let (clock, envelopes) = envelopes_made_at(Duration::ZERO);
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
    assert!(
        wrong.is_empty(),
        "{} wrong, as (rate, age, read): {some:?}…",
        wrong.len()
    );
}

/// Where the stream does not fall in with the second, a slot at either end of the window can be an event off, not more.
#[test]
fn a_stream_out_of_step_with_the_second_is_off_by_two_events_in_the_window_at_the_most() {
    for (made, every) in [
        (1, 9_999_991),
        (123_456_789, 10_000_019),
        (999_999_999, 333_333_333),
        (500_000_001, 1_000_000_007),
    ] {
        let (clock, envelopes) = envelopes_made_at(Duration::from_nanos(made));
        let every = Duration::from_nanos(every);
        let truth = 1.0 / every.as_secs_f64();
        let (mut age, mut step) = (Duration::ZERO, 0u32);
        while age < 100 * SECOND {
            clock.advance(every);
            envelopes.observe("data");
            (age, step) = (age + every, step + 1);
            if age >= MINUTE && step % 7 == 0 {
                let off = (rate(&envelopes) - truth).abs() * 60.0;
                assert!(
                    off <= 2.0,
                    "{off} events off, made at {made} ns, every {every:?}, at {age:?}"
                );
            }
        }
    }
}

#[test]
fn one_event_a_second_reads_one() {
    let (clock, envelopes) = envelopes_made_at(Duration::ZERO);
    for second in 1..=4 * 3600 {
        interval(&clock, SECOND, || envelopes.observe("data"));
        if second % 61 == 0 || second < 130 {
            assert_eq!(rate(&envelopes), 1.0, "after {second} s");
        }
    }
}

/// Law 2.
#[test]
fn the_straddling_second_counts_for_the_part_that_is_inside() {
    let (clock, envelopes) = settled_envelopes();
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
        (64_000, 0.0), // The slot's own index comes round again.
        (128_000, 0.0),
    ] {
        let now = burst + Duration::from_millis(millis);
        clock.advance(now.duration_since(clock.now()).expect("in order"));
        assert_eq!(rate(&envelopes), expected, "{millis} ms after the burst");
    }
    assert_eq!(total(&envelopes), 60);
}

#[test]
fn the_window_closes_to_the_nanosecond() {
    let (clock, envelopes) = settled_envelopes();
    envelopes.observe("data");
    clock.advance(MINUTE);
    assert_eq!(rate(&envelopes), 1.0 / 60.0);
    clock.advance(NANO);
    assert!(rate(&envelopes) < 1.0 / 60.0);
    clock.advance(SECOND - 2 * NANO);
    assert!(rate(&envelopes) > 0.0);
    clock.advance(NANO);
    assert_eq!(rate(&envelopes), 0.0);
}

/// A slot that the counter was made in was counted in for a part of it only, and its events stand for that part.
#[test]
fn the_second_in_which_a_counter_was_made_goes_by_what_was_left_of_it() {
    for (millis, expected) in [(0, 1.0), (50, 0.8), (125, 0.5), (200, 0.2), (250, 0.0)] {
        let (clock, envelopes) = envelopes_made_at(750 * SECOND / 1000);
        for _ in 0..60 {
            envelopes.observe("data");
        }
        clock.advance(MINUTE + Duration::from_millis(millis));
        assert_eq!(
            rate(&envelopes),
            expected,
            "{millis} ms after the first minute"
        );
    }
}

#[test]
fn idle_beyond_the_window_reads_zero_and_a_burst_reads_at_once() {
    for idle in [61, 62, 64, 65, 120, 128, 3600, 3840, 86_400] {
        let (clock, envelopes) = settled_envelopes();
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

/// The same without a look in between: nobody but the counting thread tends its slots.
#[test]
fn a_burst_after_idleness_that_nobody_watched_is_not_mixed_with_what_was_before() {
    for idle in [61, 64, 65, 128, 3840] {
        let (clock, envelopes) = settled_envelopes();
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

/// Law 1.
#[test]
fn the_first_minute_is_divided_by_the_age_and_by_a_second_at_the_least() {
    for made in [0, 1, 370, 999] {
        let (clock, envelopes) = envelopes_made_at(Duration::from_millis(made));
        assert_eq!(rate(&envelopes), 0.0);
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
            assert_eq!(
                rate(&envelopes),
                expected,
                "made at {made} ms, {millis} ms old"
            );
        }
    }
}

#[test]
fn the_first_minute_goes_by_the_counter_and_not_by_the_clock() {
    let clock = ManualClock::new();
    clock.advance(HOUR);
    let older = EnvelopeCounters::builder().clock(clock.clock()).build();
    clock.advance(MINUTE);
    let younger = EnvelopeCounters::builder().clock(clock.clock()).build();
    clock.advance(2 * SECOND);
    for envelopes in [&older, &younger] {
        for _ in 0..120 {
            envelopes.observe("data");
        }
    }
    assert_eq!((rate(&older), rate(&younger)), (2.0, 60.0));
}

#[test]
fn a_ring_that_has_gone_round_many_times_holds_its_window_and_nothing_else() {
    let (clock, envelopes) = envelopes_made_at(SECOND / 4);
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
            // Three quarters of the newest second are still to come, and as much of the oldest is still inside.
            let expected = 1.0 + (second / 60 % 2) as f64;
            assert!(
                (rate(&envelopes) - expected).abs() <= 1.0 / 60.0,
                "after {second} s: {}",
                rate(&envelopes)
            );
        }
    }
    assert_eq!(total(&envelopes), events);
}

#[test]
fn what_is_read_is_not_used_up() {
    let (_clock, envelopes) = settled_envelopes();
    envelopes.observe("data");
    let first = envelopes.snapshot();
    for _ in 0..100 {
        assert_eq!(envelopes.snapshot(), first);
    }
}

// Events of another time

/// Law 5, at a phase of the second that is no turn, so that the slot at the edge is a part.
#[test]
fn an_event_is_placed_by_its_age() {
    for (phase, age, expected) in [
        (0, Duration::ZERO, 1.0),
        (0, SECOND, 1.0),
        (0, MINUTE - NANO, 1.0),
        (0, MINUTE, 1.0),
        (0, MINUTE + NANO, 0.0),
        (0, 2 * MINUTE, 0.0),
        (250, MINUTE - SECOND, 1.0),
        // In the second at the edge, by its quarters: it counts for what is inside, three of them.
        (250, MINUTE - 700 * SECOND / 1000, 0.75),
        (250, MINUTE - NANO, 0.75),
        (250, MINUTE, 0.75),
        // Outside of the window, though its second is not.
        (250, MINUTE + NANO, 0.0),
        (250, MINUTE + SECOND / 4, 0.0),
        (250, HOUR, 0.0),
    ] {
        let (clock, envelopes) = settled_envelopes();
        clock.advance(Duration::from_millis(phase));
        let data = envelopes.aspect("data");
        for _ in 0..30 {
            envelopes.observe_at(clock.now() - age, "data");
            data.observe_at(clock.now() - age);
        }
        assert_eq!(
            rate(&envelopes),
            expected,
            "aged {age:?} at a phase of {phase} ms"
        );
        assert_eq!(total(&envelopes), 60);
    }
}

#[test]
fn a_late_event_leaves_when_it_is_a_minute_old_and_not_when_it_was_told() {
    let (clock, envelopes) = settled_envelopes();
    for _ in 0..60 {
        envelopes.observe_at(clock.now() - 50 * SECOND, "data");
    }
    clock.advance(10 * SECOND);
    assert_eq!(rate(&envelopes), 1.0);
    clock.advance(SECOND);
    assert_eq!(rate(&envelopes), 0.0);
}

#[test]
fn late_events_of_any_age_wipe_nothing() {
    let (clock, envelopes) = settled_envelopes();
    for _ in 0..60 {
        interval(&clock, SECOND, || envelopes.observe("data"));
    }
    // Older than the window, by every number of seconds that could fall on a slot in use.
    for age in 61..61 + 200 {
        envelopes.observe_at(clock.now() - age * SECOND, "late");
    }
    assert_eq!(rate(&envelopes), 1.0);
    // Within the window: each is one more.
    for age in 0..60 {
        envelopes.observe_at(clock.now() - age * SECOND, "late");
    }
    assert_eq!(rate(&envelopes), 2.0);
    assert_eq!(envelopes.snapshot().by_aspect["late"], 260);
}

#[test]
fn a_late_event_from_before_the_counter_and_its_clock_were_made_counts() {
    let (clock, envelopes) = envelopes_made_at(Duration::ZERO);
    for age in [SECOND, 30 * SECOND, MINUTE] {
        envelopes.observe_at(clock.now() - age, "data");
    }
    assert_eq!((rate(&envelopes), total(&envelopes)), (3.0, 3));
    envelopes.observe_at(clock.now() - MINUTE - NANO, "data");
    assert_eq!((rate(&envelopes), total(&envelopes)), (3.0, 4));

    let (clock, tokens) = tokens_made_at(Duration::ZERO);
    for age in [MINUTE, 30 * MINUTE, HOUR] {
        tokens.issued_at(clock.now() - age);
    }
    assert_eq!(last_hour(&tokens), (3, 0));
    tokens.issued_at(clock.now() - HOUR - NANO);
    assert_eq!(last_hour(&tokens), (3, 0));
}

#[test]
fn an_event_from_the_future_is_of_now_and_leaves_with_it() {
    for ahead in [NANO, SECOND, MINUTE, HOUR, 100_000 * HOUR] {
        let (clock, envelopes) = settled_envelopes();
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

/// Law 6.
#[test]
fn no_time_panics_and_every_one_is_in_the_totals() {
    let epoch = SystemTime::UNIX_EPOCH;
    let [earliest, latest] = extremes();
    assert!(earliest < epoch - 1_000 * 365 * 24 * HOUR && latest > epoch);

    let (clock, envelopes) = settled_envelopes();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    let data = envelopes.aspect("data");
    let past = [
        earliest,
        epoch - 365 * 24 * HOUR,
        epoch - NANO,
        epoch,
        epoch + NANO,
    ];
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
fn the_end_of_the_clock_is_no_end_of_counting() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    for _ in 0..3 {
        clock.advance(Duration::MAX);
        envelopes.observe("data");
        envelopes.observe_at(clock.now(), "data");
        tokens.issued();
        tokens.issued_at(clock.now() - MINUTE);
        let _ = EnvelopeCounters::builder()
            .clock(clock.clock())
            .build()
            .snapshot();
    }
    assert_eq!((rate(&envelopes), total(&envelopes)), (6.0 / 60.0, 6));
    assert_eq!(last_hour(&tokens), (6, 0));
}

// The last hour

/// Laws 3 and 4, in every hundredth of the minute, for counters made in any of them.
#[test]
fn an_even_stream_of_tokens_reads_exactly_its_hour_at_every_phase() {
    let hundredth = MINUTE / 100;
    for phase in (0..100).step_by(13) {
        let (clock, tokens) = tokens_made_at(phase * hundredth);
        for age in 1..=63 * 100u32 {
            interval(&clock, hundredth, || {
                tokens.issued();
                if age % 2 == 0 {
                    tokens.revoked();
                }
            });
            if age < 200 {
                // The first hour is not divided: what was issued was issued.
                assert_eq!(last_hour(&tokens), (u64::from(age), u64::from(age / 2)));
            } else if age >= 60 * 100 {
                let (issued, revoked) = last_hour(&tokens);
                assert_eq!(
                    issued, 6000,
                    "made at {phase}/100 min, {age}/100 minutes old"
                );
                // Every second hundredth only: half an event to either side.
                assert!(revoked.abs_diff(3000) <= 1, "{revoked} revoked");
            }
        }
        assert_eq!(tokens.snapshot().active_count, 3150);
    }
}

/// Laws 2 and 4.
#[test]
fn the_straddling_minute_counts_for_the_part_that_is_inside_rounded() {
    let (clock, tokens) = settled_tokens();
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
        (HOUR + 30 * SECOND, (2, 1)), // Half of one is rounded up.
        (HOUR + 30 * SECOND + NANO, (2, 0)),
        (HOUR + 45 * SECOND, (1, 0)),
        (HOUR + 52 * SECOND, (1, 0)),
        (HOUR + 53 * SECOND, (0, 0)),
        (HOUR + MINUTE - NANO, (0, 0)),
        (HOUR + MINUTE, (0, 0)),
        (HOUR + 4 * MINUTE, (0, 0)), // The slot's own index comes round again.
        (50 * HOUR, (0, 0)),
    ] {
        let now = burst + after;
        clock.advance(now.duration_since(clock.now()).expect("in order"));
        assert_eq!(last_hour(&tokens), expected, "{after:?} after the burst");
    }
    assert_eq!(tokens.snapshot().active_count, 3);
}

#[test]
fn the_minute_in_which_token_counters_were_made_goes_by_what_was_left_of_it() {
    for (seconds, expected) in [(0, 100), (5, 75), (10, 50), (15, 25), (20, 0)] {
        let (clock, tokens) = tokens_made_at(40 * SECOND);
        for _ in 0..100 {
            tokens.issued();
        }
        clock.advance(HOUR + seconds * SECOND);
        assert_eq!(
            last_hour(&tokens),
            (expected, 0),
            "{seconds} s after the first hour"
        );
    }
}

/// Law 5.
#[test]
fn a_token_is_placed_by_its_age() {
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
        let (clock, tokens) = settled_tokens();
        clock.advance(phase * SECOND);
        for _ in 0..60 {
            tokens.issued_at(clock.now() - age);
            tokens.issued_at(clock.now() - age);
            tokens.revoked_at(clock.now() - age);
        }
        assert_eq!(
            last_hour(&tokens),
            (2 * expected, expected),
            "aged {age:?} at a phase of {phase} s"
        );
        assert_eq!(tokens.snapshot().active_count, 60);
    }
}

#[test]
fn late_tokens_of_any_age_wipe_nothing() {
    let (clock, tokens) = settled_tokens();
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
fn a_token_from_the_future_is_of_now_and_leaves_with_it() {
    let (clock, tokens) = settled_tokens();
    tokens.issued_at(clock.now() + 1000 * HOUR);
    tokens.revoked_at(clock.now() + NANO);
    assert_eq!(last_hour(&tokens), (1, 1));
    clock.advance(HOUR);
    assert_eq!(last_hour(&tokens), (1, 1));
    clock.advance(MINUTE);
    assert_eq!(last_hour(&tokens), (0, 0));
}

#[test]
fn idle_beyond_the_hour_reads_zero_and_a_burst_reads_at_once() {
    for idle in [61, 64, 65, 128, 64 * 60, 100_000] {
        let (clock, tokens) = settled_tokens();
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
fn active_is_what_came_less_what_went_for_ever() {
    let (clock, tokens) = tokens_made_at(Duration::ZERO);
    for _ in 0..5 {
        tokens.issued();
    }
    tokens.revoked();
    tokens.expired();
    assert_eq!(tokens.snapshot().active_count, 3);
    // What has run out was not revoked.
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

// All laws at once, against a list of event times

/// A window as a list of event times, and the clock as a number of nanoseconds.
struct Model {
    slot: i128,
    made: i128,
    now: i128,
    events: Vec<i128>,
    total: u64,
}

impl Model {
    fn new(slot: Duration, made: Duration) -> Self {
        let made = nanos(made);
        Self {
            slot: nanos(slot),
            made,
            now: made,
            events: Vec::new(),
            total: 0,
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now += nanos(by);
    }

    fn count(&mut self, age: Duration) {
        self.total += 1;
        if nanos(age) <= 60 * self.slot {
            self.events.push(self.now - nanos(age));
        }
    }

    /// The events in the window, as a fraction: one counts for that part of its slot's life that lies in the window.
    fn inside(&self) -> (i128, i128) {
        let edge = self.now - 60 * self.slot;
        let (mut whole, mut part, mut life) = (0, 0, 1);
        for event in &self.events {
            let began = event.div_euclid(self.slot) * self.slot;
            let ends = began + self.slot;
            let live_from = if (began..ends).contains(&self.made) {
                self.made
            } else {
                began
            };
            if edge <= live_from {
                whole += 1;
            } else if edge < ends {
                // Only one slot straddles, so the parts have one denominator.
                (part, life) = (part + ends - edge, ends - live_from);
            }
        }
        (whole * life + part, life)
    }

    fn rounded(&self) -> u64 {
        let (events, of) = self.inside();
        u64::try_from((2 * events + of) / (2 * of)).expect("a count")
    }

    fn rate_per_second(&self) -> f64 {
        let (events, of) = self.inside();
        let second = nanos(SECOND);
        let span = (self.now - self.made).clamp(second, 60 * second);
        (events * second) as f64 / (of * span) as f64
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).expect("not that long")
}

/// Numbers that look random and are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    /// Mostly within the window and around its edges, of every order of magnitude.
    fn duration(&mut self, slot: Duration) -> Duration {
        let nanos = u64::try_from(slot.as_nanos()).expect("a slot");
        match self.below(8) {
            0 => Duration::ZERO,
            1 => NANO,
            2 => slot,
            3 => Duration::from_nanos(self.below(nanos / 100)),
            4 => Duration::from_nanos(self.below(3 * nanos)),
            5 => Duration::from_nanos(self.below(70 * nanos)),
            6 => 60 * slot - Duration::from_nanos(self.below(3)) + NANO,
            _ => slot / 4,
        }
    }

    /// A step: as above, but seldom a long one, and now and then to the turn of the slot.
    fn step(&mut self, slot: Duration, now: i128) -> Duration {
        match self.below(10) {
            0 => {
                let slot = nanos(slot);
                let left = slot - now.rem_euclid(slot);
                Duration::from_nanos(u64::try_from(left).expect("less than a slot"))
            }
            1 => self.duration(slot),
            2 if self.below(20) == 0 => slot * 1000,
            _ => self.duration(slot) / 50,
        }
    }
}

#[test]
fn envelopes_agree_with_a_list_of_event_times() {
    for seed in 1..=24 {
        let mut random = Random::seeded(seed);
        let made = random.duration(SECOND);
        let (clock, envelopes) = envelopes_made_at(made);
        let mut model = Model::new(SECOND, made);
        for step in 0..400 {
            match random.below(4) {
                0 => {
                    for _ in 0..random.below(20) {
                        envelopes.observe("data");
                        model.count(Duration::ZERO);
                    }
                }
                1 => {
                    let age = random.duration(SECOND);
                    envelopes.observe_at(clock.now() - age, "data");
                    model.count(age);
                }
                2 => {
                    envelopes.observe_at(clock.now() + random.duration(SECOND), "data");
                    model.count(Duration::ZERO);
                }
                _ => {
                    let by = random.step(SECOND, model.now);
                    clock.advance(by);
                    model.advance(by);
                }
            }
            let (rate, expected) = (rate(&envelopes), model.rate_per_second());
            let close = (rate - expected).abs() <= 1e-12 * expected;
            assert!(
                close,
                "seed {seed}, step {step}: {rate} instead of {expected}"
            );
            assert_eq!(total(&envelopes), model.total);
        }
    }
}

#[test]
fn tokens_agree_with_a_list_of_event_times() {
    for seed in 1..=24 {
        let mut random = Random::seeded(seed);
        let made = random.duration(MINUTE);
        let (clock, tokens) = tokens_made_at(made);
        let mut models = [Model::new(MINUTE, made), Model::new(MINUTE, made)];
        let mut expired = 0;
        for step in 0..400 {
            let which = usize::from(random.below(2) == 1);
            let count = [TokenCounters::issued, TokenCounters::revoked][which];
            let count_at = [TokenCounters::issued_at, TokenCounters::revoked_at][which];
            match random.below(5) {
                0 => {
                    for _ in 0..random.below(20) {
                        count(&tokens);
                        models[which].count(Duration::ZERO);
                    }
                }
                1 => {
                    let age = random.duration(MINUTE);
                    count_at(&tokens, clock.now() - age);
                    models[which].count(age);
                }
                2 => {
                    count_at(&tokens, clock.now() + random.duration(MINUTE));
                    models[which].count(Duration::ZERO);
                }
                3 => {
                    tokens.expired();
                    expired += 1;
                }
                _ => {
                    let by = random.step(MINUTE, models[0].now);
                    clock.advance(by);
                    for model in &mut models {
                        model.advance(by);
                    }
                }
            }
            let [issued, revoked] = &models;
            assert_eq!(
                last_hour(&tokens),
                (issued.rounded(), revoked.rounded()),
                "seed {seed}, step {step}"
            );
            let active = i128::from(issued.total) - i128::from(revoked.total) - expired;
            assert_eq!(i128::from(tokens.snapshot().active_count), active);
        }
    }
}
