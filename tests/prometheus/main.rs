//! Prometheus itself scrapes the server, and evaluates rules of its own.

#![cfg(feature = "serve")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../support"]
mod support {
    pub(crate) mod poll;
    pub(crate) mod program;
    pub(crate) mod prometheus;
    pub(crate) mod socket;
}

mod alerts;
mod scrapes;
