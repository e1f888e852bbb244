//! Property: for any sequence of events, on any threads and with any times, and for any movement of the clock, the
//! counters report the values of a simple model.
//!
//! The model follows the definitions of the design page. A slot is a whole second (or minute) of wall time. An event is
//! placed by its age: in the current slot if the age is negative, and in none if it is more than 60 slots. The partial
//! slot at the far edge of the window is weighted by its fraction inside the window. A rate is divided by
//! the time covered in the first minute, since the counter was created or since an older event that was placed before
//! that, and by one second at least; it is NaN while the counter is empty and younger than a second. Totals and hourly
//! values must be equal; rates must agree to 1e-9.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use arbitrary::Arbitrary;
use fuzzing::moment::{MINUTE, Moment, SECOND, system_time};
use libfuzzer_sys::fuzz_target;
use parsec_telemetry::{EnvelopeCounters, ManualClock, TokenCounters};

const HOUR: i128 = 60 * MINUTE;
const YEAR: i128 = 365 * 24 * HOUR;

/// The aspect of names beyond the cardinality limit, and that of the empty name.
const OVERFLOW: &str = "__overflow__";
const UNKNOWN: &str = "unknown";

/// The time at which a `ManualClock` starts, 1 January 2026.
const START: i128 = 1_767_225_600 * SECOND;

#[derive(Arbitrary, Debug)]
struct Input {
    /// How far the clock advances before the counters are created.
    created_after: Step,
    max_aspects: u8,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Advance(Step),
    Record { event: Event, when: When, times: u8, thread: Thread },
    Snapshot,
}

#[derive(Arbitrary, Clone, Debug)]
enum Event {
    Published {
        aspect: Name,
        by_handle: bool,
    },
    Issued,
    Revoked,
    /// Has no time: `expired` takes none.
    Expired,
}

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    Data,
    Cursor,
    Empty,
    Unknown,
    Overflow,
    /// A name of this length with one of two last bytes. 128 bytes is the limit.
    Long(u8, bool),
    Any(String),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum When {
    Now,
    Late(Step),
    /// This many nanoseconds from the far edge of the window.
    FarEdgeOfMinute(i8),
    FarEdgeOfHour(i8),
    Ahead(Step),
    At(Moment),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Zero,
    Nanos(u8),
    Fraction(u32),
    Seconds(u8),
    Minutes(u8),
    Hours(u16),
    Years(u8),
    Any(u64),
    /// To just before, at or just after the start of the next second or minute.
    ToSecond(i8),
    ToMinute(i8),
}

/// The thread that records an event. Three variants make the main thread the most likely.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Thread {
    Main,
    Main2,
    Main3,
    /// A new thread.
    New,
    /// A new thread that records while its thread-local data is destroyed, when it has no thread id anymore.
    Ending,
}

impl Step {
    /// Returns the step in nanoseconds from `now`.
    fn nanos(self, now: i128) -> i128 {
        match self {
            Self::Zero => 0,
            Self::Nanos(nanos) => nanos.into(),
            Self::Fraction(nanos) => i128::from(nanos) % SECOND,
            Self::Seconds(n) => i128::from(n) * SECOND,
            Self::Minutes(n) => i128::from(n) * MINUTE,
            Self::Hours(n) => i128::from(n) * HOUR,
            Self::Years(n) => i128::from(n) * YEAR,
            Self::Any(nanos) => nanos.into(),
            Self::ToSecond(off) => (SECOND - now.rem_euclid(SECOND) + i128::from(off)).max(0),
            Self::ToMinute(off) => (MINUTE - now.rem_euclid(MINUTE) + i128::from(off)).max(0),
        }
    }
}

impl When {
    /// Returns the time in nanoseconds. `None` stands for `now`.
    fn nanos(self, now: i128) -> Option<i128> {
        match self {
            Self::Now => None,
            Self::Late(by) => Some(now - by.nanos(now)),
            Self::FarEdgeOfMinute(off) => Some(now - MINUTE + i128::from(off)),
            Self::FarEdgeOfHour(off) => Some(now - HOUR + i128::from(off)),
            Self::Ahead(by) => Some(now + by.nanos(now)),
            Self::At(moment) => Some(moment.nanos()),
        }
    }
}

impl Name {
    fn text(&self) -> String {
        match self {
            Self::Data => "data".to_owned(),
            Self::Cursor => "cursor".to_owned(),
            Self::Empty => String::new(),
            Self::Unknown => UNKNOWN.to_owned(),
            Self::Overflow => OVERFLOW.to_owned(),
            Self::Long(length, last) => {
                let mut name = "x".repeat(usize::from(*length).max(1) - 1);
                name.push(if *last { 'y' } else { 'z' });
                name
            }
            Self::Any(text) => text.clone(),
        }
    }
}

/// Counts per second, or per minute.
struct Slots {
    length: i128,
    /// When the counter was created, or when the oldest event happened that was placed before that.
    since: i128,
    counts: BTreeMap<i128, u64>,
}

impl Slots {
    fn new(length: i128, created_at: i128) -> Self {
        Self { length, since: created_at, counts: BTreeMap::new() }
    }

    fn record(&mut self, now: i128, at: Option<i128>, times: u64) {
        let age = (now - at.unwrap_or(now)).max(0);
        if times > 0 && age <= 60 * self.length {
            self.since = self.since.min(now - age);
            *self.counts.entry((now - age).div_euclid(self.length)).or_default() += times;
        }
    }

    /// Returns the events of the last 60 slots as a fraction: at most one slot is partial.
    fn window_sum(&self, now: i128) -> (i128, i128) {
        let edge = now - 60 * self.length;
        let (mut full, mut partial) = (0, (0, 1));
        for (&number, &count) in &self.counts {
            let (start, end) = (number * self.length, (number + 1) * self.length);
            if start >= edge {
                full += i128::from(count);
            } else if end > edge {
                let live_from = if self.since < end { start.max(self.since) } else { start };
                let (inside, live) = (end - edge.max(live_from), end - live_from);
                partial = (i128::from(count) * inside, live);
            }
        }
        (full * partial.1 + partial.0, partial.1)
    }

    fn rounded(&self, now: i128) -> u64 {
        let (events, of) = self.window_sum(now);
        u64::try_from((2 * events + of).div_euclid(2 * of)).expect("counts are not negative")
    }

    fn rate_per_second(&self, now: i128) -> f64 {
        let (events, of) = self.window_sum(now);
        let span = (now - self.since).clamp(SECOND, 60 * self.length);
        (events as f64 / of as f64) / (span as f64 / SECOND as f64)
    }
}

/// The expected values.
struct Model {
    now: i128,
    published: Slots,
    max_aspects: usize,
    by_aspect: BTreeMap<String, u64>,
    overflowed: u64,
    issued: Slots,
    revoked: Slots,
    active: i64,
}

impl Model {
    fn new(now: i128, max_aspects: usize) -> Self {
        Self {
            now,
            published: Slots::new(SECOND, now),
            max_aspects,
            by_aspect: BTreeMap::new(),
            overflowed: 0,
            issued: Slots::new(MINUTE, now),
            revoked: Slots::new(MINUTE, now),
            active: 0,
        }
    }

    /// Returns the aspect that a name is recorded as, and adds it if it is new.
    fn intern(&mut self, name: &str) -> String {
        let name = if name.is_empty() { UNKNOWN } else { name };
        let is_interned = name != OVERFLOW
            && name.len() <= 128
            && (self.by_aspect.contains_key(name) || self.by_aspect.len() < self.max_aspects);
        if is_interned {
            self.by_aspect.entry(name.to_owned()).or_default();
            name.to_owned()
        } else {
            OVERFLOW.to_owned()
        }
    }

    fn record(&mut self, event: &Event, when: Option<i128>, times: u8) {
        let n = u64::from(times);
        match event {
            // A name that is recorded zero times is not interned; a handle interns it.
            Event::Published { by_handle: false, .. } if times == 0 => {}
            Event::Published { aspect, .. } => {
                let name = self.intern(&aspect.text());
                *self.by_aspect.get_mut(&name).unwrap_or(&mut self.overflowed) += n;
                self.published.record(self.now, when, n);
            }
            Event::Issued => {
                self.issued.record(self.now, when, n);
                self.active += i64::from(times);
            }
            Event::Revoked => {
                self.revoked.record(self.now, when, n);
                self.active -= i64::from(times);
            }
            Event::Expired => self.active -= i64::from(times),
        }
        // One counter records both.
        let since = self.issued.since.min(self.revoked.since);
        (self.issued.since, self.revoked.since) = (since, since);
    }
}

#[derive(Clone)]
struct Counters {
    envelopes: EnvelopeCounters,
    tokens: TokenCounters,
}

impl Counters {
    fn record(&self, event: &Event, at: Option<i128>, times: u8) {
        let at = at.map(system_time);
        match event {
            Event::Published { aspect, by_handle: false } => {
                let name = aspect.text();
                (0..times).for_each(|_| match at {
                    None => self.envelopes.observe(&name),
                    Some(at) => self.envelopes.observe_at(at, &name),
                });
            }
            Event::Published { aspect, by_handle: true } => {
                let aspect = self.envelopes.aspect(&aspect.text());
                (0..times).for_each(|_| match at {
                    None => aspect.observe(),
                    Some(at) => aspect.observe_at(at),
                });
            }
            Event::Issued => (0..times).for_each(|_| match at {
                None => self.tokens.issued(),
                Some(at) => self.tokens.issued_at(at),
            }),
            Event::Revoked => (0..times).for_each(|_| match at {
                None => self.tokens.revoked(),
                Some(at) => self.tokens.revoked_at(at),
            }),
            Event::Expired => (0..times).for_each(|_| self.tokens.expired()),
        }
    }
}

/// Runs a closure when the thread ends, after the crate's thread-local data is destroyed.
struct OnThreadExit(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for OnThreadExit {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static ON_THREAD_EXIT: OnThreadExit = const { OnThreadExit(RefCell::new(None)) };
}

fn on(thread: Thread, counters: &Counters, record: impl FnOnce(&Counters) + Send + 'static) {
    let counters = counters.clone();
    let ended = match thread {
        Thread::Main | Thread::Main2 | Thread::Main3 => return record(&counters),
        Thread::New => thread::spawn(move || record(&counters)).join(),
        Thread::Ending => thread::spawn(move || {
            // Destroyed after the crate's thread-local data, because it is created before.
            ON_THREAD_EXIT.with(|on_exit| {
                let counters = counters.clone();
                on_exit.0.replace(Some(Box::new(move || record(&counters))));
            });
            // Acquires the thread id, on a counter that is not compared.
            EnvelopeCounters::builder().clock(ManualClock::new().clock()).build().observe("");
        })
        .join(),
    };
    ended.expect("recording does not panic");
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Advances the clock and returns its time. The clock stops after 584 years, as documented.
fn advance(clock: &ManualClock, from: i128, step: Step) -> i128 {
    let by = step.nanos(from);
    clock.advance(duration(by));
    let shown = clock.now();
    if shown == system_time(from + by) {
        return from + by;
    }
    let shown = i128::try_from(
        shown.duration_since(std::time::SystemTime::UNIX_EPOCH).expect("the clock starts after 1970").as_nanos(),
    )
    .expect("the clock covers 584 years");
    assert!(shown >= START + 584 * YEAR && shown < from + by, "{by} ns after {from} the clock shows {shown}");
    shown
}

fn check(counters: &Counters, model: &Model) {
    let envelopes = counters.envelopes.snapshot();
    let mut by_aspect = model.by_aspect.clone();
    if model.overflowed > 0 {
        by_aspect.insert(OVERFLOW.to_owned(), model.overflowed);
    }
    assert_eq!(envelopes.by_aspect, by_aspect);
    let (rate, expected) = (envelopes.rate_per_second, model.published.rate_per_second(model.now));
    // A counter that is empty and younger than a second has no rate.
    let is_unknown = by_aspect.values().all(|&count| count == 0) && model.now - model.published.since < SECOND;
    assert_eq!(rate.is_nan(), is_unknown);
    assert!(is_unknown || (rate - expected).abs() <= 1e-9 * expected, "the rate is {rate}, not {expected}");

    let tokens = counters.tokens.snapshot();
    assert_eq!(tokens.active_count, model.active, "active");
    assert_eq!(tokens.issued_last_hour, model.issued.rounded(model.now), "issued");
    assert_eq!(tokens.revoked_last_hour, model.revoked.rounded(model.now), "revoked");

    // A snapshot changes nothing.
    assert_eq!(counters.envelopes.snapshot(), envelopes);
    assert_eq!(counters.tokens.snapshot(), tokens);
}

fuzz_target!(|input: Input| {
    let clock = ManualClock::new();
    let now = advance(&clock, START, input.created_after);
    let max_aspects = usize::from(input.max_aspects);
    let counters = Counters {
        envelopes: EnvelopeCounters::builder().clock(clock.clock()).max_aspects(max_aspects).build(),
        tokens: TokenCounters::builder().clock(clock.clock()).build(),
    };
    let mut model = Model::new(now, max_aspects);
    for operation in input.operations {
        match operation {
            Operation::Advance(step) => model.now = advance(&clock, model.now, step),
            Operation::Record { event, when, times, thread } => {
                let at = when.nanos(model.now);
                model.record(&event, at, times);
                on(thread, &counters, move |counters| {
                    counters.record(&event, at, times);
                });
            }
            Operation::Snapshot => check(&counters, &model),
        }
    }
    check(&counters, &model);
});
