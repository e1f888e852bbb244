//! Telemetry.

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
pub use serve::{Handler, Server, ServerBuilder, serve};
pub use snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, TokenStats,
};
pub use source::Source;
pub use tokens::{TokenCounters, TokenCountersBuilder};
