//! Slow, malformed and hostile clients, and sources that fail.
//!
//! During each attack every answer is correct and in time. After it, the process holds no more descriptors, threads
//! or memory than before. Descriptors belong to the process, so the tests run one at a time, and where that does not
//! suffice against a server in a child process.

// Descriptors and threads are counted in /proc.
#![cfg(all(feature = "serve", target_os = "linux"))]

use std::time::Duration;

mod attacks;
mod child_server;
mod connection_limit;
mod local_server;
mod malformed;
mod observer;
mod reports;
mod shutdown;
mod slow_clients;
mod soak;
mod sources;
mod tools;
mod wire;

#[path = "../support"]
mod support {
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod socket;
}

/// Every answer arrives within this time. One second is the goal; the rest is for a busy machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// A timeout that a test lets expire.
const SHORT: Duration = Duration::from_millis(200);

/// A timeout that does not expire during a test.
const NEVER: Duration = Duration::from_secs(600);

const GET_JSON: &str = "GET /parsec/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_TEXT: &str = "GET /parsec/telemetry/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_READY: &str = "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_INDEX: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

const MIB: u64 = 1024 * 1024;
