//! A plain model of a sliding window: a list of events and exact integer arithmetic.

use std::time::Duration;

/// Nanoseconds since a clock's start; negative before it.
pub(crate) type Nanos = i128;

pub(crate) fn nanos(span: Duration) -> Nanos {
    span.as_nanos().cast_signed()
}

/// One kind of event: how many there were, and when those happened that a window can reach.
#[derive(Debug)]
pub(crate) struct WindowModel {
    slot: Nanos,
    created_at: Nanos,
    /// When the counter was created, or when the oldest event happened that was placed before that.
    since: Nanos,
    pub(crate) total: u64,
    events: Vec<(Nanos, u64)>,
}

impl WindowModel {
    /// A window of 60 slots of this length.
    pub(crate) fn new(slot: Duration, created_at: Nanos) -> Self {
        Self { slot: nanos(slot), created_at, since: created_at, total: 0, events: Vec::new() }
    }

    /// Records events that happened at `at`: now, if that is in the future, and in the total only, if the window
    /// begins later.
    pub(crate) fn record(&mut self, times: u64, now: Nanos, at: Nanos) {
        if times == 0 {
            return;
        }
        self.total += times;
        let at = at.min(now);
        if now - at <= 60 * self.slot {
            self.events.push((at, times));
            self.since = self.since.min(at);
        }
    }

    /// Makes the windows of one counter cover the same time.
    pub(crate) fn cover_together(windows: [&mut Self; 2]) {
        let since = windows[0].since.min(windows[1].since);
        for window in windows {
            window.since = since;
        }
    }

    /// When the counter was created, and when its events happened.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Nanos> {
        let events = self.events.iter().map(|&(at, _)| at);
        [self.created_at].into_iter().chain(events)
    }

    /// The events in the window before `now`, as a numerator and a denominator.
    ///
    /// The slot at the window's far edge is weighted by the fraction of its recording time that is inside.
    fn held(&self, now: Nanos) -> (Nanos, Nanos) {
        let edge = now - 60 * self.slot;
        let slot_start = edge.div_euclid(self.slot) * self.slot;
        let slot_end = slot_start + self.slot;
        let recording_since = if (slot_start..slot_end).contains(&self.since) { self.since } else { slot_start };
        let whole = slot_end - recording_since;
        let inside = slot_end - edge.max(recording_since);
        let share = |at: Nanos| match at {
            at if at >= slot_end => whole,
            at if at >= slot_start => inside,
            _ => 0,
        };
        let events = self.events.iter();
        let held = events.map(|&(at, times)| Nanos::from(times) * share(at));
        (held.sum(), whole)
    }

    /// The events in the window, rounded to the nearest whole number, halves up.
    pub(crate) fn rounded(&self, now: Nanos) -> u64 {
        let (held, of) = self.held(now);
        u64::try_from((2 * held + of) / (2 * of)).expect("a count")
    }

    /// The rate that a counter should read, and by how much it may differ. NaN if it is empty and younger than a
    /// second.
    ///
    /// A whole rate is exact. Any other is off by the rounding of some four operations on floats: by at most 4.5 in
    /// 10^16, and the model's own by as much.
    pub(crate) fn rate(&self, now: Nanos) -> (f64, f64) {
        let (held, of) = self.held(now);
        let second = nanos(Duration::from_secs(1));
        if self.total == 0 && now - self.since < second {
            return (f64::NAN, 0.0);
        }
        let span = (now - self.since).clamp(second, 60 * second);
        let (events, time) = (held * second, of * span);
        if events % time == 0 {
            ((events / time) as f64, 0.0)
        } else {
            let rate = events as f64 / time as f64;
            (rate, 1e-15 * rate)
        }
    }
}
