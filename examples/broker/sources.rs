//! What the crate cannot count by itself: which channels there are, who listens to them, and what
//! they hold.
//!
//! A source says what it knows. The methods that are not written here answer `None`, which is "not
//! measured" and not "zero". All of this is asked for when the page is read, so there are no copies
//! of numbers that could drift from the truth.

use parsec_telemetry::{ChannelEntry, ChannelLister, HistoryStats, PresenceStats, Source};

use crate::channels::Channels;

impl ChannelLister for Channels {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        self.for_each(|name, channel| {
            visit(ChannelEntry {
                name,
                pattern: &channel.pattern,
            });
        });
    }
}

impl Source for Channels {
    fn presence(&self) -> Option<PresenceStats> {
        let mut stats = PresenceStats::default();
        let mut channels = 0_u64;
        self.for_each(|_, channel| {
            let gauge = channel.gauge();
            stats.total_users += gauge.users;
            stats.total_agents += gauge.agents;
            channels += 1;
        });
        stats.average_per_channel =
            (stats.total_users + stats.total_agents) as f64 / channels.max(1) as f64;
        Some(stats)
    }

    fn history(&self) -> Option<HistoryStats> {
        let mut stats = HistoryStats::default();
        let (mut fill, mut channels) = (0.0, 0_u64);
        self.for_each(|_, channel| {
            let gauge = channel.gauge();
            stats.total_envelopes_buffered += gauge.buffered;
            fill += gauge.fill;
            channels += 1;
        });
        stats.buffer_utilization_pct = 100.0 * fill / channels.max(1) as f64;
        Some(stats)
    }
}
