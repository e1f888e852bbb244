//! Counters on a manual clock, and what they read.

use std::time::{Duration, SystemTime};

use parsec_telemetry::{EnvelopeCounters, EnvelopeStats, ManualClock, TokenCounters};

use super::{HOUR, MINUTE};

pub(crate) fn envelopes_on(clock: &ManualClock) -> EnvelopeCounters {
    EnvelopeCounters::builder().clock(clock.clock()).build()
}

pub(crate) fn tokens_on(clock: &ManualClock) -> TokenCounters {
    TokenCounters::builder().clock(clock.clock()).build()
}

/// Envelope counters on a clock that no test advances.
pub(crate) fn frozen_envelopes() -> EnvelopeCounters {
    envelopes_on(&ManualClock::new())
}

/// Token counters on a clock that no test advances.
pub(crate) fn frozen_tokens() -> TokenCounters {
    tokens_on(&ManualClock::new())
}

/// Envelope counters that were created `phase` after the start of a second.
pub(crate) fn envelopes_created_at(phase: Duration) -> (ManualClock, EnvelopeCounters) {
    let clock = ManualClock::new();
    clock.advance(phase);
    let envelopes = envelopes_on(&clock);
    (clock, envelopes)
}

/// Envelope counters that are ten minutes old, at the start of a second.
pub(crate) fn mature_envelopes() -> (ManualClock, EnvelopeCounters) {
    let (clock, envelopes) = envelopes_created_at(Duration::ZERO);
    clock.advance(10 * MINUTE);
    (clock, envelopes)
}

/// Token counters that were created `phase` after the start of a minute.
pub(crate) fn tokens_created_at(phase: Duration) -> (ManualClock, TokenCounters) {
    let clock = ManualClock::new();
    clock.advance(phase);
    let tokens = tokens_on(&clock);
    (clock, tokens)
}

/// Token counters that are ten hours old, at the start of a minute.
pub(crate) fn mature_tokens() -> (ManualClock, TokenCounters) {
    let (clock, tokens) = tokens_created_at(Duration::ZERO);
    clock.advance(10 * HOUR);
    (clock, tokens)
}

pub(crate) fn rate(envelopes: &EnvelopeCounters) -> f64 {
    envelopes.snapshot().rate_per_second
}

/// The events of all aspects.
pub(crate) fn total(envelopes: &EnvelopeCounters) -> u64 {
    total_of(&envelopes.snapshot())
}

pub(crate) fn total_of(stats: &EnvelopeStats) -> u64 {
    stats.by_aspect.values().sum()
}

/// The tokens issued and revoked in the last hour.
pub(crate) fn last_hour(tokens: &TokenCounters) -> (u64, u64) {
    let stats = tokens.snapshot();
    (stats.issued_last_hour, stats.revoked_last_hour)
}

/// Advances the clock by one interval of an even stream, with its event in the middle.
pub(crate) fn interval(clock: &ManualClock, length: Duration, event: impl FnOnce()) {
    clock.advance(length / 2);
    event();
    clock.advance(length / 2);
}

/// The earliest and the latest time that this platform can represent.
pub(crate) fn extreme_times() -> [SystemTime; 2] {
    let furthest = |step: fn(&SystemTime, Duration) -> Option<SystemTime>| {
        let seconds = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        let nanos = (0..30).rev().map(|bit| Duration::from_nanos(1 << bit));
        seconds.chain(nanos).fold(SystemTime::UNIX_EPOCH, |at, by| step(&at, by).unwrap_or(at))
    };
    [furthest(SystemTime::checked_sub), furthest(SystemTime::checked_add)]
}
