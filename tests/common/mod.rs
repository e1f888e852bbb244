//! What several test files need.

use parsec_telemetry::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Source, TokenStats,
};

/// A source that reports what it is given, and no other section.
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

/// A cache that reports this hit rate.
pub(crate) fn hit_rate(hit_rate_pct: f64) -> Reports {
    Reports {
        cache: Some(CacheStats {
            hit_rate_pct,
            ..Default::default()
        }),
        ..Default::default()
    }
}
