//! Wait-free windowed counters for a pub/sub broker, and the pages its operators read.
//!
//! ```
//! use parsec_telemetry::{Aggregator, AlertRule, CacheCounters, CacheSource, EnvelopeCounters, Severity};
//!
//! let envelopes = EnvelopeCounters::new();
//! let aggregator = Aggregator::new()
//!     .source(envelopes.clone())
//!     .source(CacheSource::new(|| CacheCounters { hits: 7, misses: 3, ..Default::default() }))
//!     .with_alerts(vec![AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)])?;
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
//! # Overview
//!
//! ```text
//!  observe() ──► counter ──┐
//!                          ├──► Source ──► Aggregator ──► Snapshot ──► Format ──► serve
//!  the application's data ─┘                   ▲             (JSON, Prometheus)
//!                                          AlertRule
//!  on every event                 when a page is read
//! ```
//!
//! - **Counters.** [`EnvelopeCounters`] counts published envelopes by [`Aspect`], and [`TokenCounters`] issued,
//!   revoked and expired tokens. Recording an event takes about 2 ns.
//! - **Sources.** A [`Source`] reports some of the six sections of a snapshot. The counters are sources;
//!   [`ChannelSource`] and [`CacheSource`] read the application's data; [`Polled`] calls a slow source periodically.
//! - **Aggregator.** An [`Aggregator`] merges the reports of all sources into a [`Snapshot`]. A source that fails,
//!   panics or is late keeps its last good report there, and is named in `sources`.
//! - **Alerts.** An [`AlertRule`] is a condition on a snapshot, with a name and a [`Severity`]. It is pending, fires and
//!   is resolved as in Prometheus.
//! - **Monitor.** A [`Monitor`] takes a snapshot every second, so that alerts do not depend on readers. It keeps the
//!   [`Series`] of the past day, and reports each [`AlertTransition`].
//! - **Pages.** A [`Format`] renders a snapshot as JSON, Prometheus text 0.0.4 or OpenMetrics 1.0.
#![cfg_attr(
    feature = "serve",
    doc = "  A [`Handler`] serves one page in a hyper, axum or tower application; [`serve()`] and [`Server`] serve the console, all pages, the series and the probes on a listener, with limits on connections, time and bytes."
)]
//! - **Tests.** A [`ManualClock`] advances only when told to.
//!
//! `docs/METRICS.md` in the repository lists every metric and every JSON key. [`design`] describes the mechanism and
//! states each guarantee with the test that holds it.
//!
//! # Feature flags
//!
//! - `serve` (default): the handlers and the server, with tokio and hyper. Without it, the crate depends on no async
//!   runtime.
//! - `tracing`: events for accept errors, stale sources and transitions of alerts.

pub mod design;

// In level order: a module imports only from the groups above it and from its own.

mod catch_panic;
mod label;
mod per_process;
mod sync;
mod time;
mod worker;

mod clock;
mod raw;
mod snapshot;

mod catalog;
mod source;

mod alerts;
mod board;
mod cache;
mod channels;
mod encode;
mod envelopes;
mod merge;
mod polled;
mod tokens;

mod aggregator;
mod collector;
mod series;

mod monitor;
#[cfg(feature = "serve")]
mod serve;

pub use aggregator::Aggregator;
pub use alerts::{AlertRule, AlertRuleError, evaluate_alerts, validate_alert_rules};
pub use cache::{CacheCounters, CacheSource, CacheStatter};
pub use channels::{ChannelEntry, ChannelLister, ChannelSource};
pub use clock::{CoarseClock, ManualClock};
pub use encode::Format;
pub use envelopes::{Aspect, EnvelopeCounters, EnvelopeCountersBuilder};
pub use monitor::{Monitor, MonitorBuilder};
pub use polled::Polled;
pub use series::{Series, SeriesEvent, SeriesPoints, Tier, TierSeries};
#[cfg(feature = "serve")]
pub use serve::{Handler, InvalidToken, ResponseFuture, Server, ServerBuilder, serve, shutdown_signal};
pub use snapshot::{
    AlertState, AlertTransition, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, HistoryStats, PresenceStats,
    RuleStatus, Section, Severity, Snapshot, SourceStatus, TokenStats, UnknownSeverity,
};
pub use source::{Report, Schedule, Source, SourceError};
pub use tokens::{TokenCounters, TokenCountersBuilder};

/// Compiles the programs in the README.
#[cfg(all(doctest, feature = "serve"))]
#[doc = include_str!("../README.md")]
struct Readme;
