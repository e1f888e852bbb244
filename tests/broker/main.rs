//! The example broker, end to end: its binary, over HTTP, with signals.
//!
//! Each test performs known operations and polls the telemetry page until it shows exactly those.

// `process` sends Unix signals with `kill`.
#![cfg(all(unix, feature = "serve"))]

mod alerts;
mod errors;
mod http_client;
mod lifecycle;
mod messages;
mod options;
mod pages;
mod process;
mod readme;
mod sections;
