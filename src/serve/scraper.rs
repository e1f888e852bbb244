//! One snapshot for all who ask at once.
//!
//! A thread of its own takes the snapshots: whoever asks while it takes one shares the next, or
//! this one if they do not mind that it was begun a little before they came. It waits for the
//! sources and the rules, and for none of them longer than those who ask have time: then they get
//! what there is.

use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::aggregator::Aggregator;
use crate::catch_panic::catch_panic;
use crate::serve::reply::{self, Reply};
use crate::serve::round::{Asker, Engaged, Round, STALL};
use crate::serve::stats::Stats;
use crate::serve::taken::{Missing, Taken};

/// How a request wants its snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long before the request the snapshot may have been begun.
    pub(super) freshness: Duration,
    /// How long the sources may take.
    pub(super) timeout: Duration,
}

impl Terms {
    fn may_be_of(&self, came: Instant, begun: Instant) -> bool {
        came <= begun || came.duration_since(begun) <= self.freshness
    }

    /// Whether who came then can have this snapshot. One that has something missing is for those
    /// whose own could be given no more time, or hardly more.
    fn are_met(&self, came: Instant, taken: &Taken) -> bool {
        let left = self
            .deadline(came)
            .saturating_duration_since(Instant::now());
        let would_gain_nothing = taken.missing.is_empty() || left <= taken.given + STALL;
        would_gain_nothing && self.may_be_of(came, taken.begun)
    }

    /// (Not every duration can be added to a time.)
    fn deadline(&self, came: Instant) -> Instant {
        const A_DAY: Duration = Duration::from_secs(86_400);
        came + self.timeout.min(A_DAY)
    }
}

/// Takes snapshots of an aggregator. It has no threads before it is first asked.
pub(super) struct Scraper {
    aggregator: Arc<Aggregator>,
    stats: Arc<Stats>,
    latest: Latest,
    /// To the thread that takes the snapshots, once there is one.
    orders: Mutex<Option<Sender<Order>>>,
}

/// The last snapshot whose round has ended.
#[derive(Clone, Default)]
struct Latest(Arc<Mutex<Option<Arc<Taken>>>>);

impl Latest {
    fn get(&self) -> Option<Arc<Taken>> {
        self.lock().clone()
    }

    fn set(&self, taken: Taken) -> Arc<Taken> {
        let taken = Arc::new(taken);
        *self.lock() = Some(Arc::clone(&taken));
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Taken>>> {
        // Nothing here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Make = Box<dyn FnOnce(&Taken) -> Reply + Send>;

struct Order {
    came: Instant,
    terms: Terms,
    make: Make,
    to: oneshot::Sender<Reply>,
}

impl Order {
    /// Whether a snapshot that was begun then is fresh enough.
    fn may_be_of(&self, begun: Instant) -> bool {
        self.terms.may_be_of(self.came, begun)
    }

    fn is_satisfied_by(&self, taken: &Taken) -> bool {
        self.terms.are_met(self.came, taken)
    }

    fn deadline(&self) -> Instant {
        self.terms.deadline(self.came)
    }
}

impl Scraper {
    pub(super) fn new(aggregator: Aggregator, stats: Arc<Stats>) -> Self {
        Self {
            aggregator: Arc::new(aggregator),
            stats,
            latest: Latest::default(),
            orders: Mutex::default(),
        }
    }

    pub(super) fn aggregator(&self) -> &Arc<Aggregator> {
        &self.aggregator
    }

    /// A reply made of a snapshot. It is made on the thread that takes the snapshots, for a large
    /// page takes its time too; unless `is_at_hand` says that there is little left to do.
    pub(super) fn scrape(
        &self,
        terms: Terms,
        is_at_hand: impl FnOnce(&Taken) -> bool,
        make: impl FnOnce(&Taken) -> Reply + Send + 'static,
    ) -> Answer {
        let came = Instant::now();
        if !terms.freshness.is_zero()
            && let Some(latest) = self.latest.get()
            && terms.are_met(came, &latest)
            && is_at_hand(&latest)
        {
            return Answer::now(make(&latest));
        }
        let (to, reply) = oneshot::channel();
        let order = Order {
            came,
            terms,
            make: Box::new(make),
            to,
        };
        if let Err(order) = self.send(order) {
            // No thread is to be had. Then this one takes the snapshot, as any program would.
            let snapshot = self.aggregator.snapshot();
            self.stats.took_snapshot(came.elapsed(), 0);
            let taken = Taken::new(came, Duration::ZERO, snapshot, Missing::default());
            let taken = self.latest.set(taken);
            return Answer::now((order.make)(&taken));
        }
        Answer(State::Later(reply))
    }

    /// Gives the order back where there is no thread for it. The next one tries again.
    fn send(&self, order: Order) -> Result<(), Order> {
        // Nothing here panics half-way.
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.is_none() {
            *orders = self.begin();
        }
        match &*orders {
            // The other end is there for as long as this one.
            Some(orders) => orders.send(order).map_err(|refused| refused.0),
            None => Err(order),
        }
    }

    fn begin(&self) -> Option<Sender<Order>> {
        let (sender, orders) = channel();
        let rounds = Rounds {
            engaged: Engaged::none_of(&self.aggregator),
            aggregator: Arc::clone(&self.aggregator),
            stats: Arc::clone(&self.stats),
            latest: self.latest.clone(),
            orders,
            waiting: Vec::new(),
            asker: None,
        };
        thread::Builder::new()
            .name("parsec-scraper".to_owned())
            .spawn(move || rounds.run())
            .ok()?;
        Some(sender)
    }
}

/// What there is when time is up: without the sources that have not answered, and with the rules,
/// which had to wait for them.
fn cut_short(round: &Arc<Round>, begun: Instant) -> Taken {
    let given = begun.elapsed();
    let until = round.give_up_sources();
    // Where a rule gets stuck, somebody else takes over those behind it.
    while round.has_more()
        && let Some(asker) = Asker::hire()
    {
        asker.begin(round);
        if round.wait(until.min(Instant::now() + STALL)).is_ok() || Instant::now() >= until {
            break;
        }
    }
    // Who is late is missing.
    let _ = round.wait(until);
    round.end(begun, given)
}

/// The thread that takes the snapshots: it ends when its [`Scraper`] does.
struct Rounds {
    aggregator: Arc<Aggregator>,
    stats: Arc<Stats>,
    latest: Latest,
    orders: Receiver<Order>,
    waiting: Vec<Order>,
    engaged: Engaged,
    /// Who asks, unless it was left with somebody who did not answer.
    asker: Option<Asker>,
}

impl Rounds {
    fn run(mut self) {
        while let Some(order) = self.next() {
            self.waiting.push(order);
            self.waiting.extend(self.orders.try_iter());
            if let Some(latest) = self.latest.get() {
                self.answer(&latest, |order| order.is_satisfied_by(&latest));
            }
            if !self.waiting.is_empty() {
                self.round();
            }
        }
    }

    fn next(&mut self) -> Option<Order> {
        // Who came while a round was on, and could not have its snapshot, comes first.
        self.waiting.pop().or_else(|| self.orders.recv().ok())
    }

    fn round(&mut self) {
        let begun = Instant::now();
        let end = self.waiting.iter().map(Order::deadline).max();
        let end = end.expect("somebody waits");
        let round = Round::new(Arc::clone(&self.aggregator), self.engaged.clone());
        let round = Arc::new(round);
        if self.asker.is_none() {
            self.asker = Asker::hire();
        }
        if let Some(asker) = &self.asker {
            asker.begin(&round);
        }
        let taken = if self.wait(&round, begun, end) {
            round.end(begun, end.saturating_duration_since(begun))
        } else {
            // It is stuck, or as good as: it ends when its call returns.
            self.asker = None;
            cut_short(&round, begun)
        };
        let missing = taken.missing.sources.len();
        self.stats.took_snapshot(begun.elapsed(), missing);
        let taken = self.latest.set(taken);
        self.waiting.extend(self.orders.try_iter());
        self.answer(&taken, |order| order.is_satisfied_by(&taken));
    }

    /// Waits until all have answered, or nobody waits for it any more; whether all have.
    fn wait(&mut self, round: &Arc<Round>, begun: Instant, end: Instant) -> bool {
        let mut progress = 0;
        loop {
            let deadlines = self.waiting.iter().map(Order::deadline);
            let until = deadlines.fold(end, Instant::min);
            match round.wait(until.min(Instant::now() + STALL)) {
                Ok(()) => return true,
                Err(settled) if settled == progress && round.has_more() => {
                    self.asker = Asker::hire();
                    if let Some(asker) = &self.asker {
                        asker.begin(round);
                    }
                }
                Err(settled) => progress = settled,
            }
            // Who comes later has a deadline, too.
            self.waiting.extend(self.orders.try_iter());
            self.waiting.retain(|order| !order.to.is_closed());
            let now = Instant::now();
            // Who came too late for this round may have all the time in the world: the next is
            // theirs, and whoever is stuck in this one does not hold that up.
            let mut waiting = self.waiting.iter();
            if now >= end || !waiting.any(|order| order.may_be_of(begun)) {
                return false;
            }
            if self.waiting.iter().any(|order| order.deadline() <= now) {
                let taken = cut_short(&Arc::new(round.so_far()), begun);
                self.answer(&taken, |order| order.deadline() <= now);
            }
        }
    }

    /// Answers those who can be, and leaves the others waiting.
    fn answer(&mut self, taken: &Taken, can_be: impl Fn(&Order) -> bool) {
        for order in self.waiting.extract_if(.., |order| can_be(order)) {
            // Without a reply, the other side says that there is none.
            if let Some(reply) = catch_panic(|| (order.make)(taken)) {
                // Who asked may have gone.
                let _ = order.to.send(reply);
            }
        }
    }
}

/// A reply, now or once there is a snapshot. It needs no particular runtime.
#[derive(Debug)]
pub(super) struct Answer(State);

#[derive(Debug)]
enum State {
    Now(Option<Reply>),
    Later(oneshot::Receiver<Reply>),
}

impl Answer {
    pub(super) fn now(reply: Reply) -> Self {
        Self(State::Now(Some(reply)))
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_at_hand(&self) -> bool {
        matches!(self.0, State::Now(_))
    }

    /// Blocks this thread, and so whatever else it runs.
    pub(super) fn wait(mut self) -> Reply {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(reply) = Pin::new(&mut self).poll(&mut context) {
                return reply;
            }
            thread::park();
        }
    }
}

impl Future for Answer {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        match &mut self.get_mut().0 {
            State::Now(reply) => Poll::Ready(reply.take().expect("polled once it was ready")),
            State::Later(reply) => Pin::new(reply)
                .poll(context)
                .map(|reply| reply.unwrap_or_else(|_| reply::failed())),
        }
    }
}
