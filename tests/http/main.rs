//! The pages over HTTP: called as a function, mounted in other servers, and served over sockets.
//!
//! No test sleeps to wait: it polls, or reads, until a deadline.

#![cfg(feature = "serve")]

mod auth;
mod coalescing;
mod connections;
mod console;
mod draining;
mod failing_sources;
mod mounting;
mod negotiation;
mod routes;
mod self_metrics;
mod series;
mod slow_rules;
mod slow_sources;
mod timeouts;

#[path = "../support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod page;
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod server;
    pub(crate) mod socket;
    pub(crate) mod sources;
}

use std::time::Duration;

/// A timeout that does not expire during a test: more than the deadline of a wait.
const NEVER: Duration = Duration::from_secs(600);

/// A timeout that a test lets expire.
const SHORT: Duration = Duration::from_millis(200);
