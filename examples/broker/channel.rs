//! One channel: its history and its subscribers.
//!
//! A publisher never waits for a subscriber. Each subscriber has a bounded queue. When the queue is full, the
//! subscriber is removed: it still receives what is queued, then its stream ends, and it can reconnect with
//! `Last-Event-ID` to receive the rest from the history.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::history::History;
use crate::{limits, lock};

pub(crate) struct Channel {
    pub(crate) pattern: Arc<str>,
    state: Mutex<State>,
}

struct State {
    history: History,
    subscribers: HashMap<u64, Subscriber>,
    next_subscriber_id: u64,
    last_publish: Instant,
    closed: bool,
}

struct Subscriber {
    kind: SubscriberKind,
    queue: mpsc::Sender<Bytes>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum SubscriberKind {
    User,
    Agent,
}

/// What the telemetry source reads from one channel.
pub(crate) struct ChannelGauges {
    pub(crate) users: u64,
    pub(crate) agents: u64,
    pub(crate) buffered: u64,
    pub(crate) utilization: f64,
}

impl Channel {
    /// `closed` channels accept messages but no subscribers: requests in flight may still publish while the broker
    /// shuts down.
    pub(crate) fn new(pattern: Arc<str>, history: usize, closed: bool) -> Self {
        let state = State {
            history: History::new(history),
            subscribers: HashMap::new(),
            next_subscriber_id: 0,
            last_publish: Instant::now(),
            closed,
        };
        Self { pattern, state: Mutex::new(state) }
    }

    /// Sends the message to all subscribers and returns its id.
    ///
    /// Sends under the lock, so that each subscriber receives the messages in the order of their ids.
    pub(crate) fn publish(&self, aspect: &str, payload: &str) -> u64 {
        let mut state = lock(&self.state);
        state.last_publish = Instant::now();
        let message = state.history.push(aspect, payload);
        state.subscribers.retain(|_, subscriber| subscriber.queue.try_send(message.event.clone()).is_ok());
        message.id
    }

    /// Replays the messages after `last_event_id`, if there is one, and continues with new messages without a gap.
    pub(crate) fn subscribe(
        self: Arc<Self>,
        kind: SubscriberKind,
        last_event_id: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Subscription {
        let (queue, live) = mpsc::channel(limits::SUBSCRIBER_QUEUE);
        let mut state = lock(&self.state);
        let replay = last_event_id.map(|id| state.history.after(id)).unwrap_or_default();
        let id = state.next_subscriber_id;
        state.next_subscriber_id += 1;
        if !state.closed {
            state.subscribers.insert(id, Subscriber { kind, queue });
        }
        drop(state);
        Subscription { replay, live, channel: self, id, _permit: permit }
    }

    /// Ends all event streams, and those of later subscribers.
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
        state.subscribers.is_empty() && (state.history.len() == 0 || unused > limits::CHANNEL_IDLE_TIMEOUT)
    }

    pub(crate) fn gauges(&self) -> ChannelGauges {
        let state = lock(&self.state);
        let count = |kind| state.subscribers.values().filter(|subscriber| subscriber.kind == kind).count();
        ChannelGauges {
            users: count(SubscriberKind::User) as u64,
            agents: count(SubscriberKind::Agent) as u64,
            buffered: state.history.len() as u64,
            utilization: state.history.utilization(),
        }
    }
}

/// The events of one subscriber. Dropping it removes the subscriber from the channel. The response body owns it, so
/// hyper drops it when the connection ends for any reason.
pub(crate) struct Subscription {
    pub(crate) replay: VecDeque<Bytes>,
    pub(crate) live: mpsc::Receiver<Bytes>,
    channel: Arc<Channel>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Subscription {
    pub(crate) fn channel_is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.channel.state).subscribers.remove(&self.id);
    }
}
