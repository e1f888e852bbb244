//! The atomics that the wait-free floor is built on, in one place so that a model checker can stand in for them.
//!
//! Only [`raw`](crate::raw) and the clock use this module: everything above them shares nothing but what they hold.

pub(crate) use atomic::Atomic;
pub(crate) use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
