//! Wait-free windowed counters for a pub/sub broker, and the pages its operators read.
//!
//! The crate counts envelopes and tokens, collects what the application's own sources report, evaluates alert rules
//! over the result, and renders it as JSON and in the Prometheus text formats. Its major parts are:
//!
//! - [Counters](#counters) for hot paths: recording an event takes about 2 ns, without a lock or a retry, at any
//!   number of threads.
//! - [Sources and the aggregator](#sources-and-the-aggregator), which merge all numbers into one [`Snapshot`].
//! - [Alert rules](#alert-rules) over the snapshot.
//! - [Pages](#pages), which render it, and a small HTTP server for them.
//!
//! # Example
//!
//! ```
//! use parsec_telemetry::{Aggregator, AlertRule, CacheCounters, CacheSource, EnvelopeCounters, Severity};
//!
//! let envelopes = EnvelopeCounters::new();
//! let aggregator = Aggregator::new()
//!     .source(envelopes.clone())
//!     .source(CacheSource::new(|| CacheCounters { hits: 7, misses: 3, ..Default::default() }))
//!     .with_alerts(vec![
//!         AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
//!             .description("Cache hit rate below 80 %"),
//!     ])?;
//!
//! let data = envelopes.aspect("data"); // once, where the publisher is built
//! data.observe(); // on every publish
//!
//! let snapshot = aggregator.snapshot();
//! assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
//! assert_eq!(snapshot.alerts[0].name, "cache_cold");
//! # Ok::<(), parsec_telemetry::AlertRuleError>(())
//! ```
//!
//! The feature `serve`, enabled by default, serves the pages on a port:
//!
//! ```no_run
//! # #[cfg(feature = "serve")]
//! # async fn run(aggregator: parsec_telemetry::Aggregator) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9464").await?;
//! parsec_telemetry::serve(listener, aggregator, parsec_telemetry::shutdown_signal()).await
//! # }
//! ```
//!
//! # Data flow
//!
//! ```text
//!  observe() ──► counter ──┐
//!                          ├──► Source ──► Aggregator ──► Snapshot ──► Format ──► serve
//!  the application's data ─┘                   ▲             (JSON, Prometheus)
//!                                          AlertRule
//!
//!  on every event                 when a page is read
//! ```
//!
//! ## Counters
//!
//! [`EnvelopeCounters`] counts published envelopes by aspect: a total for each, and the rate of the last 60 seconds
//! over all. An [`Aspect`] is a handle to one of them, for the hot path. [`TokenCounters`] counts issued, revoked and
//! expired tokens, over an hour. Both are cheap to clone, and clones share their counts.
//!
//! ## Sources and the aggregator
//!
//! A [`Source`] reports some of the six sections of a snapshot: channels, envelopes, presence, history, tokens and
//! cache. The counters are sources. [`ChannelSource`] reports what a [`ChannelLister`] lists, and [`CacheSource`] the
//! hit rate of a cache over the last hour. Implement [`Source`] for everything else; its
//! [`schedule`](Source::schedule) selects the thread that calls it, and [`Polled`] calls a slow source in the
//! background.
//!
//! An [`Aggregator`] collects all sources and merges their reports. A source that fails, panics or is late keeps its
//! last good report in the snapshot, which names it in `sources`.
//!
//! ## Alert rules
//!
//! An [`AlertRule`] is a condition on a snapshot, with a name and a [`Severity`]. The rules whose condition holds are
//! the snapshot's `alerts`; `rules` has the state of every rule.
//!
//! ## Pages
//!
//! A [`Format`] renders a snapshot as JSON, Prometheus text 0.0.4 or OpenMetrics 1.0.
#![cfg_attr(
    feature = "serve",
    doc = "A [`Handler`] serves one page, mounted in a hyper, axum or tower application. [`serve()`] and [`Server`] serve both pages and the probes `/healthz` and `/readyz` on a listener, with limits on connections, time and bytes."
)]
//! `docs/METRICS.md` in the repository lists every metric and every JSON key.
//!
//! # Guarantees
//!
//! [`design`] describes the mechanism, states each guarantee with the test that holds it, and says what a number
//! means, what the crate costs, and where its limits are.
//!
//! # Testing
//!
//! A [`ManualClock`] advances only when told to, so that tests of windows and rates need no sleep.
//!
//! # Feature flags
//!
//! - `serve` (default): the handlers and the server, with tokio and hyper. Without it, the crate is counters,
//!   aggregator and renderers, and depends on no async runtime.
//! - `tracing`: events for accept errors and stale sources. Off by default.

pub mod design;

// In level order: a module imports only from modules above it.

mod catch_panic;
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod events;
mod sync;
mod time;
mod worker;

mod clock;
mod raw;

mod snapshot;

mod catalog;
mod source;

#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod alerts;
mod encode;

mod cache;
mod channels;
mod envelopes;
mod polled;
mod tokens;

// Only pages over HTTP use the collector thread and its workers.
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod board;
mod merge;

#[cfg_attr(not(feature = "serve"), allow(dead_code))]
mod collector;

mod aggregator;

#[cfg(feature = "serve")]
mod serve;

pub use aggregator::Aggregator;
pub use alerts::{AlertRule, AlertRuleError, evaluate_alerts, validate_alert_rules};
pub use cache::{CacheCounters, CacheSource, CacheStatter};
pub use channels::{ChannelEntry, ChannelLister, ChannelSource};
pub use clock::{CoarseClock, ManualClock};
pub use encode::Format;
pub use envelopes::{Aspect, EnvelopeCounters, EnvelopeCountersBuilder};
pub use polled::Polled;
#[cfg(feature = "serve")]
pub use serve::{Handler, InvalidToken, ResponseFuture, Server, ServerBuilder, serve, shutdown_signal};
pub use snapshot::{
    AlertState, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, HistoryStats, PresenceStats, RuleStatus,
    Severity, Snapshot, SourceStatus, TokenStats, UnknownSeverity,
};
pub use source::{Report, Schedule, Source, SourceError};
pub use tokens::{TokenCounters, TokenCountersBuilder};

/// Compiles the programs in the README.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../README.md")]
struct Readme;
