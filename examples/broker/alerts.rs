//! The alert rules: conditions on a snapshot, and for how long they must hold. Firing alerts appear on the pages.

use std::time::Duration;

use parsec_telemetry::{AlertRule, Severity};

/// `max_delay` shortens `for_at_least` and `keep_firing_for`.
pub(crate) fn rules(max_channels: usize, max_delay: Duration) -> Vec<AlertRule> {
    let seconds = |seconds| Duration::from_secs(seconds).min(max_delay);
    vec![
        // Without lookups, the rate is NaN, and no comparison with NaN is true.
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
            .description("The token cache answers less than 80 % of the lookups")
            // After a start, the first lookup of each token misses.
            .for_at_least(seconds(300))
            // A rate close to 80 % would resolve the alert and fire it again.
            .keep_firing_for(seconds(60)),
        AlertRule::new("too_many_channels", Severity::Warning, move |s| {
            s.channels.total_active * 10 >= max_channels as u64 * 9
        })
        .description("90 % of the channel limit is in use: raise --channels")
        // Channels without messages are removed as soon as their last subscriber leaves.
        .for_at_least(seconds(30))
        // A count close to the limit changes with every subscriber.
        .keep_firing_for(seconds(60)),
        AlertRule::new("no_publishes", Severity::Warning, |s| {
            s.presence.total_users + s.presence.total_agents > 0 && s.envelopes.rate_per_second <= 0.0
        })
        .description("There are subscribers, but no message was published in the last minute")
        // After a start, subscribers may connect before the first publisher. Later, the rate itself takes 60 s to
        // become 0.
        .for_at_least(seconds(30)),
        AlertRule::new("no_subscribers", Severity::Info, |s| {
            s.presence.total_users + s.presence.total_agents == 0 && s.history.total_envelopes_buffered > 0
        })
        .description("Messages are buffered, but no channel has a subscriber")
        // Subscribers that lose their connection come back within seconds.
        .for_at_least(seconds(60)),
        AlertRule::new("revocation_burst", Severity::Critical, |s| {
            s.tokens.revoked_last_hour > 100 && s.tokens.revoked_last_hour * 2 > s.tokens.issued_last_hour
        })
        .description("More than half of the tokens of the last hour were revoked: check for a leaked key")
        // A key rotation revokes the old tokens before it issues the new ones.
        .for_at_least(seconds(30))
        // New tokens lower the ratio, but do not replace the leaked key.
        .keep_firing_for(seconds(300)),
    ]
}
