//! Law: whatever is counted, by whom and for whatever time, and however the clock stands, creeps and leaps meanwhile,
//! the counters say what a plain list of numbered seconds and minutes says.
//!
//! The list is computed with by the definitions of the design page and by nothing else of the crate's: a slot is a
//! whole second (or minute) of wall time; an event is placed by its age, of now if that is negative, nowhere if it is
//! more than 60 of them; the slot that straddles the window's far edge weighs what is inside of what was counted in it;
//! a rate is over the counter's age in its first minute, and over a second at least. Totals and the numbers of the hour
//! are compared exactly, a rate to a billionth of itself.

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

/// What the pages call the names that have no place, and the one that is empty.
const OVERFLOW: &str = "__overflow__";
const UNKNOWN: &str = "unknown";

/// The clock's documented beginning, 1 January 2026.
const BEGINNING: i128 = 1_767_225_600 * SECOND;

#[derive(Arbitrary, Debug)]
struct Input {
    /// How old the clock is when the counters are made.
    made_after: Step,
    max_aspects: u8,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Advance(Step),
    Count {
        event: Event,
        when: When,
        times: u8,
        by: Thread,
    },
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
    /// Counts as expired now, whenever it is said to have been.
    Expired,
}

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    Data,
    Cursor,
    Empty,
    Unknown,
    Overflow,
    /// Of so many bytes, the last of which tells them apart: 128 have a place, 129 have not.
    Long(u8, bool),
    Any(String),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum When {
    Now,
    Late(Step),
    /// So many nanoseconds from the far edge of the last minute.
    FarEdgeOfTheMinute(i8),
    FarEdgeOfTheHour(i8),
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
    /// To just before, at or just after the next turn of a second or minute.
    ToSecond(i8),
    ToMinute(i8),
}

/// Who counts.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Thread {
    This,
    Too,
    Again,
    /// A new one, which ends.
    Other,
    /// A new one, which has a number no more: it counts as its thread-local data is destroyed.
    Ending,
}

impl Step {
    /// In nanoseconds, for somebody at `now`.
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
    /// The nanosecond, for somebody at `now`; `None` for now itself.
    fn nanos(self, now: i128) -> Option<i128> {
        match self {
            Self::Now => None,
            Self::Late(by) => Some(now - by.nanos(now)),
            Self::FarEdgeOfTheMinute(off) => Some(now - MINUTE + i128::from(off)),
            Self::FarEdgeOfTheHour(off) => Some(now - HOUR + i128::from(off)),
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

/// The seconds, or the minutes, in which something was counted.
struct Slots {
    length: i128,
    made: i128,
    counts: BTreeMap<i128, u64>,
}

impl Slots {
    fn new(length: i128, made: i128) -> Self {
        Self {
            length,
            made,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, now: i128, at: Option<i128>, times: u64) {
        let age = (now - at.unwrap_or(now)).max(0);
        if age <= 60 * self.length {
            *self
                .counts
                .entry((now - age).div_euclid(self.length))
                .or_default() += times;
        }
    }

    /// The events of the last 60, as a fraction: only one slot is cut by the far edge.
    fn of_the_window(&self, now: i128) -> (i128, i128) {
        let edge = now - 60 * self.length;
        let (mut whole, mut cut) = (0, (0, 1));
        for (&number, &count) in &self.counts {
            let (begins, ends) = (number * self.length, (number + 1) * self.length);
            if begins >= edge {
                whole += i128::from(count);
            } else if ends > edge {
                let counted_from = if self.made < ends {
                    begins.max(self.made)
                } else {
                    begins
                };
                let (inside, live) = (ends - edge.max(counted_from), ends - counted_from);
                cut = (i128::from(count) * inside, live);
            }
        }
        (whole * cut.1 + cut.0, cut.1)
    }

    fn rounded(&self, now: i128) -> u64 {
        let (events, of) = self.of_the_window(now);
        u64::try_from((2 * events + of).div_euclid(2 * of)).expect("counts are not negative")
    }

    fn rate_per_second(&self, now: i128) -> f64 {
        let (events, of) = self.of_the_window(now);
        let span = (now - self.made).clamp(SECOND, 60 * self.length);
        (events as f64 / of as f64) / (span as f64 / SECOND as f64)
    }
}

/// The counters as they ought to be.
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

    /// The name that an aspect counts under. From here on it has its place.
    fn place(&mut self, name: &str) -> String {
        let name = if name.is_empty() { UNKNOWN } else { name };
        let has_place = name != OVERFLOW
            && name.len() <= 128
            && (self.by_aspect.contains_key(name) || self.by_aspect.len() < self.max_aspects);
        if has_place {
            self.by_aspect.entry(name.to_owned()).or_default();
            name.to_owned()
        } else {
            OVERFLOW.to_owned()
        }
    }

    fn count(&mut self, event: &Event, when: Option<i128>, times: u8) {
        let n = u64::from(times);
        match event {
            // By name, one that is never counted is never seen.
            Event::Published {
                by_handle: false, ..
            } if times == 0 => {}
            Event::Published { aspect, .. } => {
                let name = self.place(&aspect.text());
                *self
                    .by_aspect
                    .get_mut(&name)
                    .unwrap_or(&mut self.overflowed) += n;
                self.published.count(self.now, when, n);
            }
            Event::Issued => {
                self.issued.count(self.now, when, n);
                self.active += i64::from(times);
            }
            Event::Revoked => {
                self.revoked.count(self.now, when, n);
                self.active -= i64::from(times);
            }
            Event::Expired => self.active -= i64::from(times),
        }
    }
}

#[derive(Clone)]
struct Counters {
    envelopes: EnvelopeCounters,
    tokens: TokenCounters,
}

impl Counters {
    fn count(&self, event: &Event, at: Option<i128>, times: u8) {
        let at = at.map(system_time);
        match event {
            Event::Published {
                aspect,
                by_handle: false,
            } => {
                let name = aspect.text();
                (0..times).for_each(|_| match at {
                    None => self.envelopes.observe(&name),
                    Some(at) => self.envelopes.observe_at(at, &name),
                });
            }
            Event::Published {
                aspect,
                by_handle: true,
            } => {
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

/// Does something as the thread ends, after the crate's own thread-local data is gone.
struct AtTheEnd(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

thread_local! {
    static AT_THE_END: AtTheEnd = const { AtTheEnd(RefCell::new(None)) };
}

fn on(by: Thread, counters: &Counters, count: impl FnOnce(&Counters) + Send + 'static) {
    let counters = counters.clone();
    let ended = match by {
        Thread::This | Thread::Too | Thread::Again => return count(&counters),
        Thread::Other => thread::spawn(move || count(&counters)).join(),
        Thread::Ending => thread::spawn(move || {
            // Thread-local data is destroyed last made, first gone: this is made before the crate's own.
            AT_THE_END.with(|at_the_end| {
                let counters = counters.clone();
                at_the_end
                    .0
                    .replace(Some(Box::new(move || count(&counters))));
            });
            // Counts nothing, but takes the number that this thread is to be without.
            EnvelopeCounters::builder()
                .clock(ManualClock::new().clock())
                .build()
                .observe("");
        })
        .join(),
    };
    ended.expect("it does not panic");
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Advances the clock, and returns what it shows then. It stands still at its end, which is documented to the year.
fn advance(clock: &ManualClock, from: i128, step: Step) -> i128 {
    let by = step.nanos(from);
    clock.advance(duration(by));
    let shown = clock.now();
    if shown == system_time(from + by) {
        return from + by;
    }
    let shown = i128::try_from(
        shown
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .expect("it begins later")
            .as_nanos(),
    )
    .expect("it lasts 584 years");
    assert!(
        shown >= BEGINNING + 584 * YEAR && shown < from + by,
        "{by} ns from {from} the clock shows {shown}"
    );
    shown
}

fn check(counters: &Counters, model: &Model) {
    let envelopes = counters.envelopes.snapshot();
    let mut by_aspect = model.by_aspect.clone();
    if model.overflowed > 0 {
        by_aspect.insert(OVERFLOW.to_owned(), model.overflowed);
    }
    assert_eq!(envelopes.by_aspect, by_aspect);
    let (rate, expected) = (
        envelopes.rate_per_second,
        model.published.rate_per_second(model.now),
    );
    assert!(
        (rate - expected).abs() <= 1e-9 * expected,
        "a rate of {rate} instead of {expected}"
    );

    let tokens = counters.tokens.snapshot();
    assert_eq!(tokens.active_count, model.active, "active");
    assert_eq!(
        tokens.issued_last_hour,
        model.issued.rounded(model.now),
        "issued"
    );
    assert_eq!(
        tokens.revoked_last_hour,
        model.revoked.rounded(model.now),
        "revoked"
    );

    // To look changes nothing.
    assert_eq!(counters.envelopes.snapshot(), envelopes);
    assert_eq!(counters.tokens.snapshot(), tokens);
}

fuzz_target!(|input: Input| {
    let clock = ManualClock::new();
    let now = advance(&clock, BEGINNING, input.made_after);
    let max_aspects = usize::from(input.max_aspects);
    let counters = Counters {
        envelopes: EnvelopeCounters::builder()
            .clock(clock.clock())
            .max_aspects(max_aspects)
            .build(),
        tokens: TokenCounters::builder().clock(clock.clock()).build(),
    };
    let mut model = Model::new(now, max_aspects);
    for operation in input.operations {
        match operation {
            Operation::Advance(step) => model.now = advance(&clock, model.now, step),
            Operation::Count {
                event,
                when,
                times,
                by,
            } => {
                let at = when.nanos(model.now);
                model.count(&event, at, times);
                on(by, &counters, move |counters| {
                    counters.count(&event, at, times)
                });
            }
            Operation::Snapshot => check(&counters, &model),
        }
    }
    check(&counters, &model);
});
