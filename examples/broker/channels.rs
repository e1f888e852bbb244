//! The open channels. A channel is created by its first message or subscriber and removed when it is idle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::channel::{Channel, SubscriberKind};
use crate::chaos::Stall;
use crate::error::ApiError;
use crate::event_stream::EventStream;
use crate::patterns::Patterns;
use crate::{limits, lock};

pub(crate) struct Channels {
    patterns: Patterns,
    limit: usize,
    history: usize,
    subscriber_permits: Arc<Semaphore>,
    open: Mutex<Open>,
    /// Stalls the source in `sources.rs`.
    pub(crate) stall: Stall,
}

#[derive(Default)]
struct Open {
    by_name: BTreeMap<String, Arc<Channel>>,
    closed: bool,
}

impl Channels {
    pub(crate) fn new(patterns: Patterns, limit: usize, history: usize) -> Self {
        Self {
            patterns,
            limit,
            history,
            subscriber_permits: Arc::new(Semaphore::new(limits::MAX_SUBSCRIBERS)),
            open: Mutex::default(),
            stall: Stall::default(),
        }
    }

    pub(crate) fn patterns(&self) -> &[Arc<str>] {
        self.patterns.as_slice()
    }

    pub(crate) fn publish(&self, name: &str, aspect: &str, payload: &str) -> Result<u64, ApiError> {
        Ok(self.get_or_create(name)?.publish(aspect, payload))
    }

    pub(crate) fn subscribe(
        &self,
        name: &str,
        kind: SubscriberKind,
        last_event_id: Option<u64>,
    ) -> Result<EventStream, ApiError> {
        let permit = self.subscriber_permit()?;
        let channel = self.get_or_create(name)?;
        Ok(EventStream::new(channel.subscribe(kind, last_event_id, permit)))
    }

    fn subscriber_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = Arc::clone(&self.subscriber_permits);
        permits.try_acquire_owned().map_err(|_| {
            ApiError::unavailable(format!(
                "subscriber limit reached ({}): retry after another subscriber has left",
                limits::MAX_SUBSCRIBERS
            ))
        })
    }

    fn get_or_create(&self, name: &str) -> Result<Arc<Channel>, ApiError> {
        let pattern = self.patterns.match_name(name)?;
        let mut open = lock(&self.open);
        if let Some(channel) = open.by_name.get(name) {
            return Ok(Arc::clone(channel));
        }
        if open.by_name.len() >= self.limit {
            return Err(ApiError::unavailable(format!(
                "channel limit reached ({}): use an existing channel, or raise --channels",
                self.limit
            )));
        }
        let channel = Arc::new(Channel::new(Arc::clone(pattern), self.history, open.closed));
        open.by_name.insert(name.to_owned(), Arc::clone(&channel));
        Ok(channel)
    }

    /// Removes channels without subscribers that are empty, or that have had no message for
    /// [`limits::CHANNEL_IDLE_TIMEOUT`].
    pub(crate) fn remove_idle(&self, now: Instant) {
        // References are handed out under this lock only. With a count of one, the map holds the only reference, so
        // no request is about to publish to the channel.
        lock(&self.open).by_name.retain(|_, channel| Arc::strong_count(channel) > 1 || !channel.is_idle(now));
    }

    /// Ends all event streams. Requests in flight can still publish.
    pub(crate) fn close(&self) {
        let mut open = lock(&self.open);
        open.closed = true;
        open.by_name.values().for_each(|channel| channel.close());
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&str, &Channel)) {
        for (name, channel) in &lock(&self.open).by_name {
            visit(name, channel);
        }
    }
}
