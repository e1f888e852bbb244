//! Every bound of the broker in one place: nothing that a client sends makes it grow past these.
//!
//! The worst case is their products: 1,000 channels with 256 KiB of history each are 250 MiB, and a
//! subscriber that has stopped reading holds up to 16 MiB of the largest messages, which all who
//! wait in the same channel share.

use std::time::Duration;

/// A published payload, in bytes. More is a 413.
pub(crate) const BODY: usize = 64 * 1024;
/// Of a body that is too large, this much is read and thrown away, so that its sender gets to hear
/// why.
pub(crate) const DISCARDED: usize = 1024 * 1024;
/// Waiting for a request's head, and for its body.
pub(crate) const READ: Duration = Duration::from_secs(10);

/// A channel's or an aspect's name, in bytes.
pub(crate) const NAME: usize = 128;
/// What one channel's history may hold, in bytes as sent; `--history` bounds the number of
/// messages.
pub(crate) const HISTORY_BYTES: usize = 256 * 1024;
/// `--history` itself.
pub(crate) const HISTORY_MESSAGES: usize = 100_000;
/// A channel that nobody has used for so long is forgotten, and its history with it.
pub(crate) const IDLE_CHANNEL: Duration = Duration::from_secs(600);

/// Messages waiting for one subscriber. One that falls further behind is cut off; see `channel.rs`.
pub(crate) const QUEUE: usize = 256;
/// Subscribers at once. Fewer than the connections, so that they cannot lock the operator out of
/// the page.
pub(crate) const SUBSCRIBERS: usize = 256;
/// Connections at once. Fewer than the 1,024 files that a process may usually have open.
pub(crate) const CONNECTIONS: usize = 512;
/// Between two signs of life on a stream without messages: the only way to notice a peer that
/// vanished silently.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Live tokens at once.
pub(crate) const TOKENS: usize = 10_000;
/// A token's time to live in seconds: what `?ttl=` may ask for, and what it is without.
pub(crate) const TTL_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
pub(crate) const TTL_SECONDS_DEFAULT: u64 = 60;

/// Between two looks for expired tokens and idle channels.
pub(crate) const SWEEP: Duration = Duration::from_millis(200);
/// From the signal to the end, at most.
pub(crate) const DRAIN: Duration = Duration::from_secs(3);
