//! Clients and sources that mean ill, or know no better.
//!
//! After each of them the page answers right within a second, and the descriptors are back. So the
//! tests here run one at a time.

// Without `serve` there is nothing to abuse; without Linux, nobody who counts descriptors.
#![cfg(all(feature = "serve", target_os = "linux"))]

use std::time::Duration;

mod clients;
mod faults;
mod outside;
mod reports;
mod site;
mod soak;
mod sources;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod watch;
mod wire;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the page promises.
const IN_TIME: Duration = Duration::from_secs(1);

/// A timeout that a test sets so that it runs out.
const SOON: Duration = Duration::from_millis(200);

/// A timeout that a test sets so that it does not run out.
const NEVER: Duration = Duration::from_secs(600);

const GET: &str = "GET /parsec/metrics HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_TEXT: &str = "GET /parsec/telemetry/metrics HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_READY: &str = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";

const MIB: u64 = 1024 * 1024;
