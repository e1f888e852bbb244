//! The alert rules: conditions on a snapshot. Firing alerts appear on the JSON page and as gauges for Prometheus.

use parsec_telemetry::{AlertRule, Severity};

pub(crate) fn rules(max_channels: usize) -> Vec<AlertRule> {
    vec![
        // A cache without entries has not been used yet.
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.size_entries > 0 && s.cache.hit_rate_pct < 80.0)
            .description("The token cache answers less than 80 % of the lookups"),
        AlertRule::new("too_many_channels", Severity::Warning, move |s| {
            s.channels.total_active * 10 >= max_channels as u64 * 9
        })
        .description("90 % of the channel limit is in use: raise --channels"),
        AlertRule::new("no_publishes", Severity::Warning, |s| {
            s.presence.total_users + s.presence.total_agents > 0 && s.envelopes.rate_per_second <= 0.0
        })
        .description("There are subscribers, but no message was published in the last minute"),
        AlertRule::new("no_subscribers", Severity::Info, |s| {
            s.presence.total_users + s.presence.total_agents == 0 && s.history.total_envelopes_buffered > 0
        })
        .description("Messages are buffered, but no channel has a subscriber"),
        AlertRule::new("revocation_burst", Severity::Critical, |s| {
            s.tokens.revoked_last_hour > 100 && s.tokens.revoked_last_hour * 2 > s.tokens.issued_last_hour
        })
        .description("More than half of the tokens of the last hour were revoked: check for a leaked key"),
    ]
}
