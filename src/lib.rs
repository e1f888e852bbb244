//! Wait-free windowed counters, one snapshot of everything, alert rules over it, and two pages that
//! show it.
//!
//! For a pub/sub broker that publishes millions of envelopes a second, and for the operator who
//! opens its page at three in the morning. Counting must not be felt, nothing counted may be lost,
//! and every number has to mean what it says.
//!
//! ```
//! use parsec_telemetry::{Aggregator, AlertRule, CacheCounters, CacheSource, EnvelopeCounters, Severity, TokenCounters};
//!
//! let envelopes = EnvelopeCounters::new();
//! let tokens = TokenCounters::new();
//! let aggregator = Aggregator::new()
//!     .source(envelopes.clone())
//!     .source(tokens.clone())
//!     .source(CacheSource::new(|| CacheCounters { hits: 7, misses: 3, ..Default::default() }))
//!     .with_alerts(vec![
//!         AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
//!             .description("Cache hit rate below 80 %"),
//!     ])?;
//!
//! let data = envelopes.aspect("data"); // once, where the publisher is built
//! data.observe(); // on every publish
//! envelopes.observe("cursor"); // or by name
//!
//! let snapshot = aggregator.snapshot();
//! assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
//! assert_eq!(snapshot.alerts[0].name, "cache_cold");
//! # Ok::<(), parsec_telemetry::AlertRuleError>(())
//! ```
//!
//! With the feature `serve`, which is on unless it is turned off, one line puts the pages on a
//! port:
//!
//! ```no_run
//! # #[cfg(feature = "serve")]
//! # async fn run(aggregator: parsec_telemetry::Aggregator) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9464").await?;
//! parsec_telemetry::serve(listener, aggregator, tokio::signal::ctrl_c()).await
//! # }
//! ```
//!
//! # The way through
//!
//! Data flows one way:
//!
//! ```text
//!  observe ──► shard ──► Source ──► Aggregator ──► Snapshot ──► Format ──► serve
//!  (every publish)       (every time that a page is read)
//! ```
//!
//! - **Count**: [`EnvelopeCounters`], whose [`Aspect`]s are handles for the hot path, and
//!   [`TokenCounters`].
//! - **Report**: a [`Source`] knows some of the numbers. The counters are sources;
//!   [`ChannelSource`] and [`CacheSource`] are made of what you have; your own takes a few lines.
//! - **Aggregate**: an [`Aggregator`] asks every source, makes a [`Snapshot`] and evaluates
//!   [`AlertRule`]s over it.
//! - **Show**: a [`Format`] renders a snapshot as JSON or as Prometheus text.
#![cfg_attr(
    feature = "serve",
    doc = "- **Serve**: a [`Handler`] mounts a page in any hyper, axum or tower application; [`serve()`] is a small server of its own."
)]
//! - **Test**: a [`ManualClock`] stands still until it is told to advance, in your tests as in this
//!   crate's.
//!
//! What is promised, and why it holds, is on the design page: [`design`].
//!
//! # Features
//!
//! `serve` (default) brings the pages over HTTP, with tokio and hyper. Without default features the
//! crate is the counters, the aggregator and the two renderers, and there is no async runtime in
//! its tree.

pub mod design;

// From the ground up.

mod catch_panic;
mod sync;
mod time;

mod clock;
mod raw;

mod alerts;
mod snapshot;
mod source;

mod encode;

mod cache;
mod channels;
mod envelopes;
mod tokens;

mod aggregator;

#[cfg(feature = "serve")]
mod serve;

pub use aggregator::Aggregator;
pub use alerts::{
    AlertRule, AlertRuleError, FiringAlert, Severity, UnknownSeverity, evaluate_alerts,
    validate_alert_rules,
};
pub use cache::{CacheCounters, CacheSource, CacheStatter};
pub use channels::{ChannelEntry, ChannelLister, ChannelSource};
pub use clock::{CoarseClock, ManualClock};
pub use encode::Format;
pub use envelopes::{Aspect, EnvelopeCounters, EnvelopeCountersBuilder};
#[cfg(feature = "serve")]
pub use serve::{Handler, InvalidToken, Responding, Server, ServerBuilder, serve};
pub use snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, TokenStats,
};
pub use source::Source;
pub use tokens::{TokenCounters, TokenCountersBuilder};

/// The README's program, kept true.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../README.md")]
struct Readme;
