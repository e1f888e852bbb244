//! How many connections there may be, and who gets a place when there is none.
//!
//! A place is taken before a connection is accepted, so who comes beyond the limit waits in the
//! system's queue, and costs nothing. But a probe that waits there behind a thousand idle clients
//! says that the process is dead. So there is a small reserve, for a moment each: its connections
//! get an answer to a probe, or a 503. Where the reserve is full as well, the oldest of it goes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::serve::limits::{RESERVE, RESERVE_STAY_LEAST};
use crate::serve::stats::{CloseReason, Stats};

pub(super) struct Places {
    usual: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// Who holds the reserve, the oldest first, and some who no longer do.
    guests: VecDeque<(Instant, AbortHandle)>,
    stats: Arc<Stats>,
}

/// A place, given back when it is dropped.
pub(super) struct Place {
    pub(super) is_usual: bool,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(connections: usize, stats: Arc<Stats>) -> Self {
        Self {
            usual: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            // One more, which is held while nobody has come for it.
            reserve: Arc::new(Semaphore::new(RESERVE + 1)),
            guests: VecDeque::with_capacity(RESERVE),
            stats,
        }
    }

    /// A place, as soon as there is one. Nothing is lost where this is dropped half-way.
    pub(super) async fn take(&mut self) -> Place {
        if let Some(place) = self.usual() {
            return place;
        }
        self.take_reserve().await
    }

    /// A place of the reserve: those are all that there are while the server ends.
    pub(super) async fn take_reserve(&mut self) -> Place {
        while let Some((_, guest)) = self.guests.front()
            && guest.is_finished()
        {
            self.guests.pop_front();
        }
        if let Ok(permit) = Arc::clone(&self.reserve).try_acquire_owned() {
            return Place::of_the_reserve(permit);
        }
        if let Some((since, guest)) = self.guests.front() {
            sleep_until(*since + RESERVE_STAY_LEAST).await;
            guest.abort();
            self.stats.closed(CloseReason::Limit);
            self.guests.pop_front();
        }
        let permit = Arc::clone(&self.reserve).acquire_owned().await;
        Place::of_the_reserve(permit.expect("this semaphore is never closed"))
    }

    /// A place of the usual ones, if there is one now.
    pub(super) fn usual(&self) -> Option<Place> {
        let permit = Arc::clone(&self.usual).try_acquire_owned();
        permit.ok().map(|permit| Place {
            is_usual: true,
            _permit: permit,
        })
    }

    /// Remembers who has a place of the reserve.
    pub(super) fn has_come(&mut self, guest: AbortHandle) {
        self.guests.push_back((Instant::now(), guest));
    }
}

impl Place {
    fn of_the_reserve(permit: OwnedSemaphorePermit) -> Self {
        Self {
            is_usual: false,
            _permit: permit,
        }
    }
}
