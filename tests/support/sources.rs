//! Sources that a test controls.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelStats, HistoryStats, ManualClock, PresenceStats, Severity, Source,
};

use super::poll::poll;

/// An aggregator whose clock stands still: the monitor of its server takes no snapshot.
pub(crate) fn frozen_aggregator() -> Aggregator {
    Aggregator::new().clock(ManualClock::new().clock())
}

/// Reports the number of its calls as `history.total_envelopes_buffered`.
#[derive(Clone, Default)]
pub(crate) struct CountsCalls {
    calls: Arc<AtomicU64>,
    duration: Duration,
}

impl CountsCalls {
    /// Each call takes this long.
    pub(crate) fn taking(duration: Duration) -> Self {
        Self { duration, ..Self::default() }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

impl Source for CountsCalls {
    fn history(&self) -> Option<HistoryStats> {
        thread::sleep(self.duration);
        Some(HistoryStats { total_envelopes_buffered: self.calls.fetch_add(1, Relaxed) + 1, ..Default::default() })
    }
}

/// Reports [`SIZE_ENTRIES`] as `cache.size_entries`.
pub(crate) struct Responsive;

pub(crate) const SIZE_ENTRIES: u64 = 7;

impl Source for Responsive {
    fn cache(&self) -> Option<CacheStats> {
        Some(CacheStats { size_entries: SIZE_ENTRIES, ..Default::default() })
    }
}

/// Reports 2 MiB of patterns, more than the buffers of a connection hold.
pub(crate) struct Large;

impl Source for Large {
    fn channels(&self) -> Option<ChannelStats> {
        let pattern = |n: u64| (format!("{n:0>100}"), n);
        Some(ChannelStats { total_active: 0, by_pattern: (0..20_000).map(pattern).collect() })
    }
}

pub(crate) struct Panics;

impl Source for Panics {
    fn presence(&self) -> Option<PresenceStats> {
        panic!("on purpose")
    }
}

/// Blocks the calls of its source and rules until it is opened or dropped.
#[derive(Default)]
pub(crate) struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    calls: u64,
    is_open: bool,
}

impl Gate {
    pub(crate) fn source(&self) -> Gated {
        Gated(Arc::clone(&self.0))
    }

    /// A rule that fires, once it returns.
    pub(crate) fn rule(&self, name: &str) -> AlertRule {
        let shared = Arc::clone(&self.0);
        AlertRule::new(name, Severity::Info, move |_| {
            shared.pass();
            true
        })
    }

    pub(crate) fn open(&self) {
        self.0.lock().is_open = true;
        self.0.opened.notify_all();
    }

    pub(crate) fn close(&self) {
        self.0.lock().is_open = false;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    pub(crate) fn wait_for_call(&self) {
        poll("a call", || (self.calls() > 0).then_some(()));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Shared {
    fn pass(&self) {
        let mut state = self.lock();
        state.calls += 1;
        let passed = self.opened.wait_while(state, |state| !state.is_open);
        drop(passed.expect("no panic under the lock"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

/// Reports one user as `presence.total_users` once its [`Gate`] is open.
#[derive(Clone)]
pub(crate) struct Gated(Arc<Shared>);

impl Source for Gated {
    fn presence(&self) -> Option<PresenceStats> {
        self.0.pass();
        Some(PresenceStats { total_users: 1, ..Default::default() })
    }
}
