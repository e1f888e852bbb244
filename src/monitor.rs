//! A snapshot every second, so that alert states and series do not depend on when pages are read.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use crate::aggregator::Aggregator;
use crate::catch_panic::catch_panic;
use crate::collector::{Collected, Sampler};
use crate::per_process::PerProcess;
use crate::series::{Series, SeriesRecorder, Tier};
use crate::snapshot::AlertTransition;
use crate::time::{Second, Unit as _};
use crate::worker::{Next, Worker, lock};

/// Takes a snapshot of an [`Aggregator`] every second, evaluates its rules, and records [`Series`].
///
/// An aggregator has one monitor: starting a second one returns another handle to it. It ends when its last handle
/// is dropped. Each `Server` has a handle.
///
/// The snapshots are taken on the aggregator's collector thread, at the beginning of each second of its clock. It
/// needs no async runtime. A second that is missed, because the process was stopped, is a gap in the series. A
/// source has 250 ms; after that, its last good report is used. A source whose call took a time *d* is not called for
/// the monitor before 20 × *d* has passed.
///
/// ```
/// use std::time::Duration;
/// use parsec_telemetry::{Aggregator, EnvelopeCounters, ManualClock, Monitor, Tier};
///
/// let clock = ManualClock::new();
/// let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
/// let aggregator = Aggregator::new().clock(clock.clock()).source(envelopes.clone());
/// let monitor = Monitor::start(&aggregator);
///
/// for _ in 0..3 {
///     envelopes.observe("data");
///     clock.advance(Duration::from_secs(1));
///     monitor.tick(); // a clock that runs by itself needs no ticks
/// }
/// let minute = &monitor.series_since(Some(Tier::Minute), None).tiers[0];
/// assert_eq!(minute.aspects["data"], [None, Some(1.0), Some(1.0)]);
/// assert_eq!(monitor.series_since(Some(Tier::Minute), minute.end).tiers[0].n, 0); // nothing new since then
/// ```
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

/// Starts a [`Monitor`] with options.
#[must_use = "call `start` to get the monitor"]
pub struct MonitorBuilder {
    aggregator: Aggregator,
    has_series: bool,
    callbacks: Vec<Callback>,
}

type Callback = Arc<dyn Fn(&AlertTransition) + Send + Sync>;

struct Inner {
    aggregator: Aggregator,
    has_series: AtomicBool,
    callbacks: Mutex<Vec<Callback>>,
    state: PerProcess<State>,
}

#[derive(Default)]
struct State {
    recording: Mutex<Option<Recording>>,
    notifier: Worker,
    /// Held by the [`Monitor::tick`] that delivers transitions, so that two do not at the same time.
    delivering: Mutex<()>,
    callback_panics: AtomicU64,
}

/// Series, and the axis of their positions.
struct Recording {
    series: SeriesRecorder,
    /// Unix seconds less the seconds of the clock's reading.
    offset: Option<i64>,
}

impl Monitor {
    /// Starts the monitor of an aggregator, with series.
    #[must_use = "the monitor ends when its last handle is dropped"]
    pub fn start(aggregator: &Aggregator) -> Self {
        Self::builder(aggregator).start()
    }

    /// Returns a builder with the defaults.
    pub fn builder(aggregator: &Aggregator) -> MonitorBuilder {
        MonitorBuilder { aggregator: aggregator.clone(), has_series: true, callbacks: Vec::new() }
    }

    /// Returns all series that are recorded.
    #[must_use]
    pub fn series(&self) -> Series {
        self.series_since(None, None)
    }

    /// Returns the points of one tier, or of all, that end after `since`, in Unix seconds.
    ///
    /// With the `end` of an earlier result as `since`, these are the points that are new.
    #[must_use]
    pub fn series_since(&self, tier: Option<Tier>, since: Option<u64>) -> Series {
        self.0.wake();
        let shared = self.0.aggregator.collector().shared();
        let (at, started_at) = (shared.clock.now(), shared.started_at);
        let series = self.0.with_recording(started_at, |recording| recording.series.read(at, tier, since));
        series.unwrap_or(Series { at, started_at, tiers: Vec::new(), events: Vec::new() })
    }

    /// Takes the snapshot of this second and delivers transitions, on this thread. Use it with a
    /// [`ManualClock`](crate::ManualClock), for which no thread does. With any other clock, it does nothing.
    pub fn tick(&self) {
        let collector = self.0.aggregator.collector();
        let shared = collector.shared();
        if shared.clock.is_manual() {
            self.0.sample(&collector.collect_for_monitor());
            let state = self.0.state();
            while shared.evaluator.has_transitions() {
                let Ok(_delivering) = state.delivering.try_lock() else { break };
                while deliver_next(Arc::clone(&self.0)) {}
            }
        }
    }

    /// Returns how many transitions were dropped because 1,024 were waiting for a callback to return.
    #[must_use]
    pub fn dropped_transitions(&self) -> u64 {
        self.0.aggregator.collector().shared().evaluator.dropped_transitions()
    }

    /// Returns how many calls of [`on_transition`](MonitorBuilder::on_transition) callbacks panicked.
    #[must_use]
    pub fn callback_panics(&self) -> u64 {
        self.0.state().callback_panics.load(Relaxed)
    }
}

impl MonitorBuilder {
    /// Sets whether series are recorded, in 220 to 252 KiB of memory. Defaults to true.
    ///
    /// If the aggregator has a monitor that records them, they go on being recorded.
    pub fn series(mut self, series: bool) -> Self {
        self.has_series = series;
        self
    }

    /// Adds a callback for each change of an alert rule's state, [`AlertState::Pending`](crate::AlertState::Pending)
    /// included.
    ///
    /// Callbacks see the transitions in order, each once, on a thread named `parsec-notify`; with a
    /// [`ManualClock`](crate::ManualClock), on the thread that calls [`Monitor::tick`]. A callback may block: up to
    /// 1,024 transitions wait, and beyond that the oldest is dropped and counted. A panic is caught and counted.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use parsec_telemetry::{Aggregator, AlertRule, AlertState, ManualClock, Monitor, Severity};
    ///
    /// let clock = ManualClock::new();
    /// let rule = AlertRule::new("idle", Severity::Info, |s| s.channels.total_active == 0);
    /// let aggregator = Aggregator::new().clock(clock.clock()).with_alerts(vec![rule])?;
    /// let (sender, transitions) = mpsc::channel();
    /// let monitor = Monitor::builder(&aggregator)
    ///     .on_transition(move |transition| drop(sender.send(transition.clone())))
    ///     .start();
    ///
    /// monitor.tick();
    /// let transition = transitions.try_recv().expect("the rule fires");
    /// assert_eq!((transition.from, transition.to), (AlertState::Inactive, AlertState::Firing));
    /// # Ok::<(), parsec_telemetry::AlertRuleError>(())
    /// ```
    pub fn on_transition(mut self, callback: impl Fn(&AlertTransition) + Send + Sync + 'static) -> Self {
        self.callbacks.push(Arc::new(callback));
        self
    }

    /// Starts the monitor, or adds these options to the one that the aggregator has.
    ///
    /// If the system has no thread left, the next request for a page or for series tries again.
    #[must_use = "the monitor ends when its last handle is dropped"]
    pub fn start(self) -> Monitor {
        let collector = Arc::clone(self.aggregator.collector());
        let shared = collector.shared();
        let inner = collector.monitor(|| {
            // Transitions from before are not delivered.
            shared.evaluator.forget_transitions();
            let (has_series, callbacks) = (AtomicBool::default(), Mutex::default());
            Arc::new(Inner { aggregator: self.aggregator, has_series, callbacks, state: PerProcess::new() })
        });
        inner.has_series.fetch_or(self.has_series, Relaxed);
        lock(&inner.callbacks).extend(self.callbacks);
        inner.wake();
        Monitor(inner)
    }
}

impl Inner {
    fn state(&self) -> Arc<State> {
        self.state.get_or_create(State::default)
    }

    /// Wakes the collector thread, which is gone after `fork`.
    fn wake(&self) {
        let shared = self.aggregator.collector().shared();
        if !shared.clock.is_manual() {
            shared.wake_thread();
        }
    }

    /// Passes the recording to a callback, if series are recorded.
    fn with_recording<T>(&self, started_at: SystemTime, call: impl FnOnce(&mut Recording) -> T) -> Option<T> {
        let new = || Recording { series: SeriesRecorder::new(started_at), offset: None };
        let state = self.has_series.load(Relaxed).then(|| self.state())?;
        let mut recording = lock(&state.recording);
        Some(call(recording.get_or_insert_with(new)))
    }
}

impl Sampler for Inner {
    fn sample(&self, collected: &Collected) {
        self.with_recording(collected.snapshot.started_at, |recording| recording.record(collected));
    }

    fn deliver(self: Arc<Self>) {
        if lock(&self.callbacks).is_empty() {
            return self.aggregator.collector().shared().evaluator.forget_transitions();
        }
        let state = self.state();
        let inner = Arc::downgrade(&self);
        // Without a thread, the transitions wait for the next attempt.
        state.notifier.wake_or_spawn("parsec-notify", move || {
            move || match inner.upgrade() {
                Some(inner) => Next::Continue(deliver_next(inner).then(Instant::now)),
                None => Next::Break(()),
            }
        });
    }
}

/// Passes the oldest transition to each callback. Returns whether there was one.
fn deliver_next(inner: Arc<Inner>) -> bool {
    let next = inner.aggregator.collector().shared().evaluator.next_transition();
    let Some(transition) = next else { return false };
    let (callbacks, state) = (lock(&inner.callbacks).clone(), inner.state());
    // A callback that never returns must not keep the monitor.
    drop(inner);
    for callback in &callbacks {
        if catch_panic(|| callback(&transition)).is_err() {
            state.callback_panics.fetch_add(1, Relaxed);
        }
    }
    true
}

impl Recording {
    fn record(&mut self, collected: &Collected) {
        let reading = collected.coverage.reading / Second::NANOS;
        let unix = unix_seconds(collected.snapshot.at);
        let reading = i64::try_from(reading).unwrap_or(i64::MAX);
        let offset = self.offset.get_or_insert(unix - reading);
        // The clock does not run while the machine is suspended, and the wall clock may have been set forward. If it
        // has been set back, times stay ahead, since a position must not recur.
        if unix - reading > *offset + 1 {
            *offset = unix - reading;
        }
        let position = u64::try_from(reading + *offset).unwrap_or(0);
        self.series.record(position, &collected.snapshot, &collected.coverage.stale_sections);
    }
}

fn unix_seconds(at: SystemTime) -> i64 {
    let elapsed = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("aggregator", &self.0.aggregator).finish_non_exhaustive()
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorBuilder")
            .field("aggregator", &self.aggregator)
            .field("series", &self.has_series)
            .finish_non_exhaustive()
    }
}
