//! One channel: its history, and who listens.
//!
//! A publisher never waits for a subscriber. Each has a bounded queue; one whose queue is full is
//! cut off: it still gets what is queued, then its stream ends, and it comes back with
//! `Last-Event-ID` for the rest, as far as the history reaches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::event_stream::EventStream;
use crate::history::History;
use crate::{limits, lock};

pub(crate) struct Channel {
    pub(crate) pattern: Arc<str>,
    state: Mutex<State>,
}

struct State {
    history: History,
    subscribers: HashMap<u64, Subscriber>,
    next_subscriber: u64,
    last_publish: Instant,
    closed: bool,
}

struct Subscriber {
    kind: Kind,
    queue: mpsc::Sender<Bytes>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    User,
    Agent,
}

/// What the telemetry page wants to know of a channel.
pub(crate) struct Gauge {
    pub(crate) users: u64,
    pub(crate) agents: u64,
    pub(crate) buffered: u64,
    pub(crate) fill: f64,
}

impl Channel {
    /// A channel that is born `closed` is there for requests that are still in flight while the
    /// broker drains.
    pub(crate) fn new(pattern: Arc<str>, history: usize, closed: bool) -> Self {
        let state = State {
            history: History::new(history),
            subscribers: HashMap::new(),
            next_subscriber: 0,
            last_publish: Instant::now(),
            closed,
        };
        Self {
            pattern,
            state: Mutex::new(state),
        }
    }

    /// Hands the message to all subscribers and gives its id. They are all served under the lock,
    /// so each of them sees the messages in the order of their ids.
    pub(crate) fn publish(&self, aspect: &str, payload: &str) -> u64 {
        let mut state = lock(&self.state);
        state.last_publish = Instant::now();
        let message = state.history.push(aspect, payload);
        state
            .subscribers
            .retain(|_, subscriber| subscriber.queue.try_send(message.event.clone()).is_ok());
        message.id
    }

    /// Replays what came after `last_seen`, or nothing, and goes on with what comes from now on,
    /// with no gap between them.
    pub(crate) fn subscribe(
        self: Arc<Self>,
        kind: Kind,
        last_seen: Option<u64>,
        seat: OwnedSemaphorePermit,
    ) -> EventStream {
        let (queue, live) = mpsc::channel(limits::QUEUE);
        let mut state = lock(&self.state);
        let replay = last_seen
            .map(|id| state.history.after(id))
            .unwrap_or_default();
        let number = state.next_subscriber;
        state.next_subscriber += 1;
        if !state.closed {
            state.subscribers.insert(number, Subscriber { kind, queue });
        }
        drop(state);
        EventStream::new(
            replay,
            live,
            Subscription {
                channel: self,
                number,
                _seat: seat,
            },
        )
    }

    /// Ends all streams, now and from now on.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.subscribers.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        let unused = now.saturating_duration_since(state.last_publish);
        state.subscribers.is_empty() && (state.history.len() == 0 || unused > limits::IDLE_CHANNEL)
    }

    pub(crate) fn gauge(&self) -> Gauge {
        let state = lock(&self.state);
        let count = |kind| {
            state
                .subscribers
                .values()
                .filter(|subscriber| subscriber.kind == kind)
                .count()
        };
        Gauge {
            users: count(Kind::User) as u64,
            agents: count(Kind::Agent) as u64,
            buffered: state.history.len() as u64,
            fill: state.history.fill(),
        }
    }
}

/// A subscriber's place in its channel. The stream holds it, and hyper holds the stream: when the
/// connection ends, for whatever reason, it is dropped, and the subscriber is counted out.
pub(crate) struct Subscription {
    channel: Arc<Channel>,
    number: u64,
    _seat: OwnedSemaphorePermit,
}

impl Subscription {
    pub(crate) fn channel_is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.channel.state).subscribers.remove(&self.number);
    }
}
