//! Every limit of the broker.
//!
//! Memory at the default limits: 1,000 channels with 256 KiB of history each take 250 MiB. A subscriber that does not
//! read holds at most 256 messages of 64 KiB, 16 MiB, which it shares with the other subscribers of its channel.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Size of a published payload. Larger ones are answered with 413.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// How much of a body that is too large is read and discarded. A client that sends before it reads would otherwise
/// never see the 413.
pub(crate) const MAX_DISCARDED_BYTES: usize = 1024 * 1024;
/// Applies to a request's head, and again to its body.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Length of a channel's or an aspect's name.
pub(crate) const MAX_NAME_BYTES: usize = 128;
/// Size of one channel's history, as encoded. `--history` limits the number of messages.
pub(crate) const MAX_HISTORY_BYTES: usize = 256 * 1024;
/// The largest value of `--history`.
pub(crate) const MAX_HISTORY_MESSAGES: usize = 100_000;
/// A channel without subscribers and messages for this long is removed with its history.
pub(crate) const CHANNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Messages queued for one subscriber. A subscriber with a full queue is removed: see `channel.rs`.
pub(crate) const SUBSCRIBER_QUEUE: usize = 256;
/// Concurrent subscribers. Fewer than the connections, so that the telemetry pages stay reachable.
pub(crate) const MAX_SUBSCRIBERS: usize = 256;
/// Concurrent connections. Fewer than 1,024, the usual limit of file descriptors of a process.
pub(crate) const MAX_CONNECTIONS: usize = 512;
/// Interval of the comments on an event stream without messages. A write is what detects a peer that has vanished
/// without closing its connection.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Live tokens.
pub(crate) const MAX_TOKENS: usize = 10_000;
/// Allowed values of `?ttl=`, in seconds.
pub(crate) const TOKEN_TTL_SECONDS: RangeInclusive<u64> = 1..=86_400;
pub(crate) const DEFAULT_TOKEN_TTL_SECONDS: u64 = 60;

/// Interval at which expired tokens and idle channels are removed.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(200);
/// Time from the first signal until open connections are aborted.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
