//! The connection limit, and a reserve beyond it for probes.
//!
//! A permit is acquired before `accept`, so connections beyond the limit wait in the listen backlog. A probe that
//! waits there behind idle clients would report the process as dead. Therefore 32 reserved connections are accepted
//! for up to 500 ms each, and the oldest of them is closed when another one waits.
//!
//! Considered: tower's `ConcurrencyLimit` limits requests, not connections, and has no reserve.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::serve::options::{RESERVED_CONNECTIONS, RESERVED_MIN_OPEN};
use crate::serve::stats::{CloseReason, Stats};

pub(super) struct ConnectionLimit {
    regular: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// The tasks of reserved connections and their start, oldest first.
    tracked: VecDeque<(Instant, AbortHandle)>,
    stats: Arc<Stats>,
}

/// Allows one connection until it is dropped.
pub(super) struct Permit {
    pub(super) is_regular: bool,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    pub(super) fn new(max_connections: usize, stats: Arc<Stats>) -> Self {
        Self {
            regular: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            // One more, which the accept loop holds while it waits for a connection.
            reserve: Arc::new(Semaphore::new(RESERVED_CONNECTIONS + 1)),
            tracked: VecDeque::new(),
            stats,
        }
    }

    /// Returns a regular permit if one is free, or else waits for a reserved one. Cancel safe.
    pub(super) async fn acquire(&mut self) -> Permit {
        match self.regular() {
            Some(permit) => permit,
            None => self.reserved().await,
        }
    }

    /// Returns a regular permit if one is free.
    pub(super) fn regular(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.regular).try_acquire_owned().ok()?;
        Some(Permit { is_regular: true, _permit: permit })
    }

    /// Waits for a reserved permit, and closes the oldest reserved connection if none is free. Cancel safe.
    pub(super) async fn reserved(&mut self) -> Permit {
        self.tracked.retain(|(_, task)| !task.is_finished());
        if self.reserve.available_permits() == 0
            && let Some((start, task)) = self.tracked.front()
        {
            sleep_until(*start + RESERVED_MIN_OPEN).await;
            // A connection that ended meanwhile has returned its permit.
            if !task.is_finished() {
                task.abort();
                self.stats.closed(CloseReason::Limit);
            }
            self.tracked.pop_front();
        }
        let permit = Arc::clone(&self.reserve).acquire_owned().await;
        Permit { is_regular: false, _permit: permit.expect("the semaphore is never closed") }
    }

    /// Registers the task of a reserved connection, so that it can be closed.
    pub(super) fn track(&mut self, task: AbortHandle) {
        self.tracked.push_back((Instant::now(), task));
    }
}
