//! The channels that there are. One begins with its first message or subscriber, and ends when
//! nobody has use for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::channel::{Channel, Kind};
use crate::event_stream::EventStream;
use crate::grammar::Grammar;
use crate::reply::Refusal;
use crate::{limits, lock};

pub(crate) struct Channels {
    grammar: Grammar,
    most: usize,
    history: usize,
    seats: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_name: BTreeMap<String, Arc<Channel>>,
    closing: bool,
}

impl Channels {
    pub(crate) fn new(grammar: Grammar, most: usize, history: usize) -> Self {
        let seats = Arc::new(Semaphore::new(limits::SUBSCRIBERS));
        Self {
            grammar,
            most,
            history,
            seats,
            open: Mutex::default(),
        }
    }

    pub(crate) fn patterns(&self) -> &[Arc<str>] {
        self.grammar.patterns()
    }

    pub(crate) fn publish(&self, name: &str, aspect: &str, payload: &str) -> Result<u64, Refusal> {
        Ok(self.channel(name)?.publish(aspect, payload))
    }

    pub(crate) fn subscribe(
        &self,
        name: &str,
        kind: Kind,
        last_seen: Option<u64>,
    ) -> Result<EventStream, Refusal> {
        let seat = self.seat()?;
        Ok(self.channel(name)?.subscribe(kind, last_seen, seat))
    }

    fn seat(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| {
            Refusal::unavailable(format!(
                "all {} places for subscribers are taken: come back when one has left",
                limits::SUBSCRIBERS
            ))
        })
    }

    fn channel(&self, name: &str) -> Result<Arc<Channel>, Refusal> {
        let pattern = self.grammar.pattern_of(name)?;
        let mut open = lock(&self.open);
        if let Some(channel) = open.by_name.get(name) {
            return Ok(Arc::clone(channel));
        }
        if open.by_name.len() >= self.most {
            return Err(Refusal::unavailable(format!(
                "there are {} channels, which is the most: use one that is there, or start the broker with a larger --channels",
                self.most
            )));
        }
        let channel = Arc::new(Channel::new(
            Arc::clone(pattern),
            self.history,
            open.closing,
        ));
        open.by_name.insert(name.to_owned(), Arc::clone(&channel));
        Ok(channel)
    }

    /// Forgets the channels that are empty, or that nobody has used for long.
    pub(crate) fn forget_idle(&self, now: Instant) {
        // A count of one is ours: nobody is about to publish into a channel that is being
        // forgotten, because they would hold it, and they can only get hold of it under this lock.
        lock(&self.open)
            .by_name
            .retain(|_, channel| Arc::strong_count(channel) > 1 || !channel.is_idle(now));
    }

    /// Ends all streams. Publishing goes on to work, for the requests that are in flight.
    pub(crate) fn close(&self) {
        let mut open = lock(&self.open);
        open.closing = true;
        open.by_name.values().for_each(|channel| channel.close());
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&str, &Channel)) {
        for (name, channel) in &lock(&self.open).by_name {
            visit(name, channel);
        }
    }
}
