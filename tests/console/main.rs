//! The console in headless Chromium.
//!
//! Each test has a browser of its own: a start takes more than a second. A time in a test is that of a `ManualClock`, so
//! that states last until the test has seen them.

#![cfg(all(feature = "serve", unix))]

mod accessibility;
mod alerts;
mod connection;
mod keyboard;
mod mounting;
mod numbers;
mod policy;
mod screenshots;
mod site;

// Shared with tests that need more of it.
#[allow(dead_code)]
#[path = "../support"]
mod support {
    pub(crate) mod browser;
    pub(crate) mod browser_process;
    pub(crate) mod client;
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod server;
    pub(crate) mod socket;
}
