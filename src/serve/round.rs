//! One round of questions to the sources, by threads that may get stuck.
//!
//! A source can block its thread, for ever if it wants to. So sources are asked by threads of our
//! own, which hold up neither a runtime nor its end. One is enough for as long as every source
//! answers: it asks them in turn. Where it gets stuck, another takes over the rest; a source whose
//! call has not returned is not asked again before it has. So there are at most as many threads as
//! there are sources, and one.

use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::aggregator::{Aggregator, Report};

/// Which sources have a call that has not returned, of this round or of one before.
#[derive(Clone)]
pub(super) struct Engaged(Arc<[AtomicBool]>);

impl Engaged {
    pub(super) fn none_of(sources: usize) -> Self {
        Self((0..sources).map(|_| AtomicBool::new(false)).collect())
    }
}

pub(super) struct Round {
    aggregator: Arc<Aggregator>,
    engaged: Engaged,
    state: Mutex<State>,
    settled: Condvar,
}

struct State {
    /// Of each source that has answered, what.
    reports: Vec<Option<Report>>,
    /// The next source to be asked.
    next: usize,
    /// How many have answered, or are not asked in this round.
    settled: usize,
}

impl Round {
    pub(super) fn new(aggregator: Arc<Aggregator>, engaged: Engaged) -> Self {
        let state = State {
            reports: vec![None; engaged.0.len()],
            next: 0,
            settled: 0,
        };
        Self {
            aggregator,
            engaged,
            state: Mutex::new(state),
            settled: Condvar::new(),
        }
    }

    /// Asks one source after the other, together with whoever else is doing so.
    fn ask(&self) {
        while let Some(place) = self.next() {
            let report = self.aggregator.ask(place);
            // Pairs with the acquisition in `next`: a source's calls follow each other.
            self.engaged.0[place].store(false, Release);
            let mut state = self.state();
            state.reports[place] = Some(report);
            self.settle(&mut state);
        }
    }

    fn next(&self) -> Option<usize> {
        let mut state = self.state();
        while state.next < state.reports.len() {
            let place = state.next;
            state.next += 1;
            if !self.engaged.0[place].swap(true, AcqRel) {
                return Some(place);
            }
            self.settle(&mut state);
        }
        None
    }

    fn settle(&self, state: &mut State) {
        state.settled += 1;
        if state.settled == state.reports.len() {
            self.settled.notify_all();
        }
    }

    /// Waits until every source has answered or is known not to: `Err` with how many have, if time
    /// runs out first.
    pub(super) fn wait(&self, until: Instant) -> Result<(), usize> {
        let mut state = self.state();
        loop {
            if state.settled == state.reports.len() {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(state.settled);
            }
            let waited = self.settled.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there are sources that nobody has begun to ask.
    pub(super) fn has_more(&self) -> bool {
        let state = self.state();
        state.next < state.reports.len()
    }

    /// What there is by now.
    pub(super) fn reports(&self) -> Vec<Option<Report>> {
        self.state().reports.clone()
    }

    /// What there is at the end. Nobody is asked any more.
    pub(super) fn end(&self) -> Vec<Option<Report>> {
        let mut state = self.state();
        state.next = state.reports.len();
        let none = vec![None; state.reports.len()];
        std::mem::replace(&mut state.reports, none)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that asks, round after round; it ends when this is dropped and its last call returns.
pub(super) struct Asker(Sender<Arc<Round>>);

impl Asker {
    /// `None` where the system has no thread left.
    pub(super) fn hire() -> Option<Self> {
        let (rounds, to_ask) = channel::<Arc<Round>>();
        thread::Builder::new()
            .name("parsec-asker".to_owned())
            .spawn(move || to_ask.iter().for_each(|round| round.ask()))
            .ok()?;
        Some(Self(rounds))
    }

    pub(super) fn begin(&self, round: &Arc<Round>) {
        // The thread lives for as long as this does.
        let _ = self.0.send(Arc::clone(round));
    }
}
