//! What the server counts of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was not served, or no longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// Every place was taken.
    Full,
    /// The headers of a request did not come in time.
    SlowRequest,
    /// An answer was not read in time.
    SlowReader,
    /// The server was ending.
    Ending,
    /// The system had no descriptor, or no memory, for it.
    NotAccepted,
}

/// Counts, and nothing that grows. All relaxed: none says anything about another.
#[derive(Debug, Default)]
pub(super) struct Stats {
    accepted: AtomicU64,
    open: AtomicU64,
    refused: [AtomicU64; 5],
}

impl Stats {
    pub(super) fn refused(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// A connection, until what this returns is dropped.
    pub(super) fn accepted(self: std::sync::Arc<Self>) -> Open {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(self)
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Open(std::sync::Arc<Stats>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
