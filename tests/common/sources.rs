//! Sources, listers and statters with contents that a test chooses.

use std::sync::{Arc, Mutex, PoisonError};

use parsec_telemetry::{
    Aggregator, CacheCounters, CacheSource, CacheStats, CacheStatter, ChannelEntry, ChannelLister, ChannelStats,
    EnvelopeStats, HistoryStats, ManualClock, PresenceStats, Snapshot, Source, TokenStats,
};

use super::{counts, sections_of};

/// A source that reports the sections that it holds, and no others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    pub(crate) channels: Option<ChannelStats>,
    pub(crate) envelopes: Option<EnvelopeStats>,
    pub(crate) presence: Option<PresenceStats>,
    pub(crate) history: Option<HistoryStats>,
    pub(crate) tokens: Option<TokenStats>,
    pub(crate) cache: Option<CacheStats>,
}

impl Source for Reports {
    fn channels(&self) -> Option<ChannelStats> {
        self.channels.clone()
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        self.envelopes.clone()
    }

    fn presence(&self) -> Option<PresenceStats> {
        self.presence.clone()
    }

    fn history(&self) -> Option<HistoryStats> {
        self.history.clone()
    }

    fn tokens(&self) -> Option<TokenStats> {
        self.tokens.clone()
    }

    fn cache(&self) -> Option<CacheStats> {
        self.cache.clone()
    }
}

/// A source that calls a function with the name of each section it is asked for.
///
/// It reports what the second field holds.
pub(crate) struct Intercepted<F>(pub(crate) F, pub(crate) Reports);

impl<F: Fn(&'static str) + Send + Sync> Source for Intercepted<F> {
    fn channels(&self) -> Option<ChannelStats> {
        (self.0)("channels");
        self.1.channels()
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        (self.0)("envelopes");
        self.1.envelopes()
    }

    fn presence(&self) -> Option<PresenceStats> {
        (self.0)("presence");
        self.1.presence()
    }

    fn history(&self) -> Option<HistoryStats> {
        (self.0)("history");
        self.1.history()
    }

    fn tokens(&self) -> Option<TokenStats> {
        (self.0)("tokens");
        self.1.tokens()
    }

    fn cache(&self) -> Option<CacheStats> {
        (self.0)("cache");
        self.1.cache()
    }
}

/// A cache with this hit rate.
pub(crate) fn hit_rate(hit_rate_pct: f64) -> Reports {
    Reports { cache: Some(CacheStats { hit_rate_pct, ..Default::default() }), ..Default::default() }
}

/// A source that reports every section.
pub(crate) fn everything(count: u64, float: f64, key: &str) -> Reports {
    Reports {
        channels: Some(ChannelStats { total_active: count, by_pattern: counts(&[(key, count), ("both", 1)]) }),
        envelopes: Some(EnvelopeStats { rate_per_second: float, by_aspect: counts(&[(key, count), ("both", 2)]) }),
        presence: Some(PresenceStats { total_users: count, total_agents: 10 * count, average_per_channel: float }),
        history: Some(HistoryStats { total_envelopes_buffered: count, buffer_utilization_pct: float }),
        tokens: Some(TokenStats {
            issued_last_hour: count,
            revoked_last_hour: 10 * count,
            active_count: -i64::try_from(count).expect("a small count"),
        }),
        cache: Some(CacheStats {
            hit_rate_pct: float,
            size_bytes: count,
            size_entries: 10 * count,
            evictions_last_hour: 100 * count,
        }),
    }
}

/// The sections of one snapshot of these sources, taken at a manual clock's start.
pub(crate) fn snapshot_of<const N: usize>(sources: [Reports; N]) -> Snapshot {
    let aggregator = sources.into_iter().fold(Aggregator::new(), Aggregator::source);
    sections_of(&aggregator.clock(ManualClock::new().clock()).snapshot())
}

/// Channels with these names and patterns.
pub(crate) struct Channels(pub(crate) Vec<(&'static str, &'static str)>);

impl ChannelLister for Channels {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for &(name, pattern) in &self.0 {
            visit(ChannelEntry { name, pattern });
        }
    }
}

/// A cache whose counters a test sets.
#[derive(Clone, Default)]
pub(crate) struct ManualCache(Arc<Mutex<CacheCounters>>);

impl ManualCache {
    /// An empty cache and a source that was created over it, on a clock of its own.
    pub(crate) fn with_source() -> (ManualClock, Self, CacheSource<Self>) {
        let (clock, cache) = (ManualClock::new(), Self::default());
        let source = CacheSource::new(cache.clone()).clock(clock.clock());
        (clock, cache, source)
    }

    pub(crate) fn set(&self, counters: CacheCounters) {
        self.update(|current| *current = counters);
    }

    pub(crate) fn add(&self, hits: u64, misses: u64, evictions: u64) {
        self.update(|counters| {
            counters.hits += hits;
            counters.misses += misses;
            counters.evictions += evictions;
        });
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut CacheCounters)) {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl CacheStatter for ManualCache {
    fn stats(&self) -> CacheCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
