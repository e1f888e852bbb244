//! The broker's own source: the open channels, their subscribers and their histories.
//!
//! A source implements the sections that it measures. The others default to `None`, which means "not measured here",
//! not zero. The values are read when a snapshot is taken, so there are no copies that could go out of date.

use parsec_telemetry::{ChannelEntry, ChannelLister, HistoryStats, PresenceStats, Source};

use crate::channels::Channels;

impl ChannelLister for Channels {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        self.for_each(|name, channel| {
            visit(ChannelEntry { name, pattern: &channel.pattern });
        });
    }
}

impl Source for Channels {
    fn presence(&self) -> Option<PresenceStats> {
        self.stall.wait();
        let mut stats = PresenceStats::default();
        let mut channels = 0_u64;
        self.for_each(|_, channel| {
            let gauges = channel.gauges();
            stats.total_users += gauges.users;
            stats.total_agents += gauges.agents;
            channels += 1;
        });
        let subscribers = stats.total_users + stats.total_agents;
        stats.average_per_channel = subscribers as f64 / channels.max(1) as f64;
        Some(stats)
    }

    fn history(&self) -> Option<HistoryStats> {
        let mut stats = HistoryStats::default();
        let (mut utilization, mut channels) = (0.0, 0_u64);
        self.for_each(|_, channel| {
            let gauges = channel.gauges();
            stats.total_envelopes_buffered += gauges.buffered;
            utilization += gauges.utilization;
            channels += 1;
        });
        stats.buffer_utilization_pct = 100.0 * utilization / channels.max(1) as f64;
        Some(stats)
    }
}
