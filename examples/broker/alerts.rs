//! The alert rules: plain conditions on a snapshot. What fires is listed on the page and is a gauge
//! for Prometheus.

use parsec_telemetry::{AlertRule, Severity};

pub(crate) fn rules(most_channels: usize) -> Vec<AlertRule> {
    vec![
        // A cache that nobody has asked yet is empty, not cold.
        AlertRule::new("cache_cold", Severity::Warning, |s| {
            s.cache.size_entries > 0 && s.cache.hit_rate_pct < 80.0
        })
        .description("Less than 80 % of the token look-ups are answered by the cache"),
        AlertRule::new("too_many_channels", Severity::Warning, move |s| {
            s.channels.total_active * 10 >= most_channels as u64 * 9
        })
        .description(
            "90 % of the channels that --channels allows are there; new ones will be refused",
        ),
        AlertRule::new("no_publishes", Severity::Warning, |s| {
            s.presence.total_users + s.presence.total_agents > 0
                && s.envelopes.rate_per_second <= 0.0
        })
        .description("There are subscribers, but nothing was published for a minute"),
        AlertRule::new("unheard", Severity::Info, |s| {
            s.presence.total_users + s.presence.total_agents == 0
                && s.history.total_envelopes_buffered > 0
        })
        .description("Histories hold messages, and nobody is subscribed to any channel"),
        AlertRule::new("revocation_burst", Severity::Critical, |s| {
            s.tokens.revoked_last_hour > 100
                && s.tokens.revoked_last_hour * 2 > s.tokens.issued_last_hour
        })
        .description(
            "More than half of the tokens of the last hour were revoked: has somebody lost a key?",
        ),
    ]
}
