//! One round of questions to the sources, and then to the rules, by threads that may get stuck.
//!
//! A source can block its thread, for ever if it wants to, and so can a rule. So both are asked by
//! threads of our own, which hold up neither a runtime nor its end. One is enough for as long as
//! all of them answer: it asks them in turn. Where it gets stuck, another takes over the rest; what
//! has a call that has not returned is not asked again before it has. So there are at most as many
//! threads as there are sources and rules, and one.

use std::mem;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::aggregator::{Aggregator, Report};
use crate::serve::taken::{Missing, Taken};
use crate::snapshot::Snapshot;

/// What the rules have at least, once the sources have taken all the time that there was. They
/// should only look at the snapshot; and a scraper that waits for a second takes 0.9 of it for the
/// sources.
const RULES_LEAST: Duration = Duration::from_millis(50);

/// Who has not answered for so long may be stuck: another thread goes on with the rest.
pub(super) const STALL: Duration = Duration::from_millis(20);

/// Who has a call that has not returned for so long is stuck: no other round waits for that.
const STUCK: Duration = Duration::from_millis(250);

/// Which sources, and behind them which rules, have a call that has not returned, of this round or
/// of one before.
#[derive(Clone)]
pub(super) struct Engaged {
    /// Since when, in nanoseconds from `zero`; 0 for those that have none.
    since: Arc<[AtomicU64]>,
    zero: Instant,
}

impl Engaged {
    pub(super) fn none_of(aggregator: &Aggregator) -> Self {
        let places = aggregator.source_types().len() + aggregator.rules().len();
        Self {
            since: (0..places).map(|_| AtomicU64::new(0)).collect(),
            zero: Instant::now(),
        }
    }

    /// Begins a call; `Err` where there is one already, with how long it has been so.
    fn begin(&self, place: usize) -> Result<(), Duration> {
        let now = u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Acquire: pairs with the release in `end`, so that the calls of one place follow each other.
        let begun = self.since[place].compare_exchange(0, now.max(1), Acquire, Relaxed);
        begun.map_or_else(
            |since| Err(Duration::from_nanos(now.saturating_sub(since))),
            |_| Ok(()),
        )
    }

    fn end(&self, place: usize) {
        self.since[place].store(0, Release);
    }

    fn places(&self) -> usize {
        self.since.len()
    }
}

pub(super) struct Round {
    aggregator: Arc<Aggregator>,
    engaged: Engaged,
    /// How many of the places are sources': the others are rules'.
    sources: usize,
    state: Mutex<State>,
    settled: Condvar,
}

struct State {
    /// Of each source that has answered, what.
    reports: Vec<Option<Report>>,
    /// What the sources have said: there once none is waited for any more.
    said: Option<Said>,
    /// The places that are to be asked: the sources', and then the rules'.
    open: Vec<usize>,
    /// How many have answered, or are not asked in this round.
    settled: usize,
}

#[derive(Clone)]
struct Said {
    since: Instant,
    snapshot: Arc<Snapshot>,
    missing: Vec<usize>,
    /// Of each rule that has been evaluated, whether it fires.
    fires: Vec<Option<bool>>,
}

enum Question {
    Source(usize),
    Rule(usize, Arc<Snapshot>),
}

impl Round {
    pub(super) fn new(aggregator: Arc<Aggregator>, engaged: Engaged) -> Self {
        let sources = aggregator.source_types().len();
        let state = State {
            reports: vec![None; sources],
            said: None,
            open: (0..sources).rev().collect(),
            settled: 0,
        };
        let round = Self {
            aggregator,
            engaged,
            sources,
            state: Mutex::new(state),
            settled: Condvar::new(),
        };
        if sources == 0 {
            round.give_up_sources();
        }
        round
    }

    /// What there is by now, as a round of its own that waits for no source.
    pub(super) fn so_far(&self) -> Self {
        let state = self.state();
        let said = state.said.clone();
        // Rules that are being evaluated are not evaluated twice.
        let settled = said.as_ref().map_or(0, |_| self.engaged.places());
        let state = State {
            reports: state.reports.clone(),
            said,
            open: Vec::new(),
            settled,
        };
        let round = Self {
            aggregator: Arc::clone(&self.aggregator),
            engaged: self.engaged.clone(),
            sources: self.sources,
            state: Mutex::new(state),
            settled: Condvar::new(),
        };
        round.give_up_sources();
        round
    }

    /// Asks one after the other, together with whoever else is doing so.
    fn ask(&self) {
        while let Some(question) = self.next() {
            match question {
                Question::Source(place) => {
                    let report = self.aggregator.ask(place);
                    let mut state = self.answered(place);
                    // Once nobody waits for a source any more, there are none to be filled in.
                    if let Some(answer) = state.reports.get_mut(place) {
                        *answer = Some(report);
                        self.settle(&mut state);
                    }
                }
                Question::Rule(rule, snapshot) => {
                    let fires = self.aggregator.fires(rule, &snapshot);
                    // So that it need not be cloned at the end.
                    drop(snapshot);
                    let mut state = self.answered(self.sources + rule);
                    if let Some(said) = &mut state.said {
                        said.fires[rule] = Some(fires);
                    }
                    self.settle(&mut state);
                }
            }
        }
    }

    /// The next that is to be asked and can be.
    ///
    /// Who has a call of an earlier round, which was ended by somebody in haste, may be about to answer
    /// that, and is left for later; unless it has been so for so long that it is stuck.
    fn next(&self) -> Option<Question> {
        let mut state = self.state();
        let mut later = Vec::new();
        let mut found = None;
        while let Some(place) = state.open.pop() {
            match self.engaged.begin(place) {
                Ok(()) => {
                    found = Some(match &state.said {
                        Some(said) => {
                            Question::Rule(place - self.sources, Arc::clone(&said.snapshot))
                        }
                        None => Question::Source(place),
                    });
                    break;
                }
                Err(time) if time < STUCK => later.push(place),
                Err(_) => self.settle(&mut state),
            }
        }
        // Behind all others.
        state.open.splice(0..0, later);
        found
    }

    fn answered(&self, place: usize) -> MutexGuard<'_, State> {
        self.engaged.end(place);
        self.state()
    }

    fn settle(&self, state: &mut State) {
        state.settled += 1;
        if state.settled == self.sources {
            self.have_said(state);
        }
        if state.settled == self.engaged.places() {
            self.settled.notify_all();
        }
    }

    /// Waits for no source any more.
    fn have_said(&self, state: &mut State) {
        let reports = mem::take(&mut state.reports);
        let is_missing = |&place: &usize| reports[place].is_none();
        let missing = (0..reports.len()).filter(is_missing).collect();
        let reports = reports.into_iter().map(Option::unwrap_or_default).collect();
        let at = self.aggregator.now();
        state.said = Some(Said {
            since: Instant::now(),
            snapshot: Arc::new(self.aggregator.without_alerts(at, reports)),
            missing,
            fires: vec![None; self.aggregator.rules().len()],
        });
        state.open = (self.sources..self.engaged.places()).rev().collect();
        state.settled = self.sources;
    }

    /// Waits until all have answered or are known not to: `Err` with how many have, if time runs
    /// out first.
    pub(super) fn wait(&self, until: Instant) -> Result<(), usize> {
        let mut state = self.state();
        loop {
            if state.settled == self.engaged.places() {
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

    /// Whether there is somebody whom nobody has begun to ask.
    pub(super) fn has_more(&self) -> bool {
        !self.state().open.is_empty()
    }

    /// Waits for no source any more, and says until when the rules may still be waited for.
    pub(super) fn give_up_sources(&self) -> Instant {
        let mut state = self.state();
        if state.said.is_none() {
            self.have_said(&mut state);
        }
        let since = state.said.as_ref().map(|said| said.since);
        since.unwrap_or_else(Instant::now) + RULES_LEAST
    }

    /// What there is at the end, once no source is waited for. Nobody is asked any more.
    pub(super) fn end(&self, begun: Instant, given: Duration) -> Taken {
        let mut state = self.state();
        state.open.clear();
        let said = state.said.take().expect("what the sources have said");
        drop(state);
        let Said {
            snapshot,
            missing: sources,
            fires,
            ..
        } = said;
        let fires = &fires;
        let those = |state| (0..fires.len()).filter(move |&rule| fires[rule] == state);
        let rules = those(None).collect();
        // One that is stuck still looks at it.
        let mut snapshot = Arc::unwrap_or_clone(snapshot);
        snapshot.alerts = self.aggregator.alerts(snapshot.at, those(Some(true)));
        snapshot.rules = self.aggregator.rule_statuses(&snapshot.alerts);
        Taken::new(begun, given, snapshot, Missing { sources, rules })
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
