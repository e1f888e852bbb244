//! What is on the text pages: Prometheus 0.0.4 and OpenMetrics 1.0.0.
//!
//! The names and their order are the wire contract's. Only bounded labels leave: `pattern`,
//! `aspect`, `alert` and `severity`.

use std::collections::BTreeMap;

use crate::alerts::AlertRule;
use crate::encode::text::{Opening, Page, gauge, opening};
use crate::snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, FiringAlert, HistoryStats, PresenceStats, Severity,
    Snapshot, TokenStats,
};

/// Writes the families of a snapshot; those of the alerts show every rule.
pub(crate) fn write(page: &mut Page<'_>, snapshot: &Snapshot, rules: &[AlertRule]) {
    page.channels(&snapshot.channels);
    page.envelopes(&snapshot.envelopes);
    page.presence(&snapshot.presence);
    page.history(&snapshot.history);
    page.tokens(&snapshot.tokens);
    page.cache(&snapshot.cache);
    page.alerts(&snapshot.alerts, rules);
}

/// The fixed text of a family with a label.
struct Family {
    opening: Opening,
    sample: &'static str,
}

/// A [`Family`]: its opening, and what stands before the label's value in each of its samples.
macro_rules! family {
    (counter, $stem:literal, $label:literal, $help:literal) => {
        Family {
            opening: opening!(counter, $stem, $help),
            sample: concat!($stem, "_total{", $label, "=\""),
        }
    };
    (gauge, $family:literal, $label:literal, $help:literal) => {
        Family {
            opening: opening!(gauge, $family, $help),
            sample: concat!($family, "{", $label, "=\""),
        }
    };
}

/// The families, in the order of the contract.
impl Page<'_> {
    fn channels(&mut self, channels: &ChannelStats) {
        self.single(
            gauge!("parsec_telemetry_channels_active", "Channels open now."),
            channels.total_active,
        );
        self.by_key(
            &family!(
                gauge,
                "parsec_telemetry_channels_by_pattern",
                "pattern",
                "Channels open now, by the pattern that they match."
            ),
            &channels.by_pattern,
        );
    }

    fn envelopes(&mut self, envelopes: &EnvelopeStats) {
        self.single(
            gauge!(
                "parsec_telemetry_envelope_rate_per_second",
                "Envelopes published a second, over the last 60 seconds."
            ),
            envelopes.rate_per_second,
        );
        self.by_key(
            &family!(
                gauge,
                "parsec_telemetry_envelopes_by_aspect",
                "aspect",
                "Envelopes published since the start, by aspect. \
                 Kept for existing dashboards: prefer parsec_telemetry_envelopes_total."
            ),
            &envelopes.by_aspect,
        );
        self.by_key(
            &family!(
                counter,
                "parsec_telemetry_envelopes",
                "aspect",
                "Envelopes published since the start, by aspect."
            ),
            &envelopes.by_aspect,
        );
    }

    fn presence(&mut self, presence: &PresenceStats) {
        self.single(
            gauge!(
                "parsec_telemetry_presence_total_users",
                "Users present now."
            ),
            presence.total_users,
        );
        self.single(
            gauge!(
                "parsec_telemetry_presence_total_agents",
                "Agents present now."
            ),
            presence.total_agents,
        );
        self.single(
            gauge!(
                "parsec_telemetry_presence_average_per_channel",
                "Members present in a channel, on average."
            ),
            presence.average_per_channel,
        );
    }

    fn history(&mut self, history: &HistoryStats) {
        self.single(
            gauge!(
                "parsec_telemetry_history_buffered",
                "Envelopes held in history buffers now."
            ),
            history.total_envelopes_buffered,
        );
        self.single(
            gauge!(
                "parsec_telemetry_history_buffer_utilization_pct",
                "How full the history buffers are, in percent."
            ),
            history.buffer_utilization_pct,
        );
    }

    fn tokens(&mut self, tokens: &TokenStats) {
        self.single(
            gauge!(
                "parsec_telemetry_tokens_issued_last_hour",
                "Tokens issued in the last 60 minutes."
            ),
            tokens.issued_last_hour,
        );
        self.single(
            gauge!(
                "parsec_telemetry_tokens_revoked_last_hour",
                "Tokens revoked in the last 60 minutes."
            ),
            tokens.revoked_last_hour,
        );
        self.single(
            gauge!(
                "parsec_telemetry_tokens_active",
                "Tokens issued and neither revoked nor expired."
            ),
            tokens.active_count,
        );
    }

    fn cache(&mut self, cache: &CacheStats) {
        self.single(
            gauge!(
                "parsec_telemetry_cache_hit_rate_pct",
                "Cache look-ups of the last 60 minutes that hit, in percent."
            ),
            cache.hit_rate_pct,
        );
        self.single(
            gauge!(
                "parsec_telemetry_cache_size_bytes",
                "Bytes held in the cache now."
            ),
            cache.size_bytes,
        );
        self.single(
            gauge!(
                "parsec_telemetry_cache_size_entries",
                "Entries held in the cache now."
            ),
            cache.size_entries,
        );
        self.single(
            gauge!(
                "parsec_telemetry_cache_evictions_last_hour",
                "Cache entries evicted in the last 60 minutes."
            ),
            cache.evictions_last_hour,
        );
    }

    fn alerts(&mut self, alerts: &[FiringAlert], rules: &[AlertRule]) {
        let firing = alerts
            .iter()
            .map(|alert| (alert.name.as_str(), alert.severity, true));
        let rules = rules
            .iter()
            .map(|rule| (rule.name(), rule.severity(), false));
        let mut known: Vec<Alert<'_>> = firing.chain(rules).collect();
        // One that fires comes before the rule that it is of, which is then left out.
        known.sort_unstable_by_key(|&(name, severity, fires)| (name, severity, !fires));
        known.dedup_by_key(|&mut (name, severity, _)| (name, severity));
        self.by_alert(
            &family!(
                gauge,
                "parsec_alerts_firing",
                "alert",
                "Whether the alert rule fires: 1 if it does, 0 if not."
            ),
            known.iter(),
        );
        self.by_alert(
            &family!(
                gauge,
                "parsec_telemetry_alerts_firing",
                "alert",
                "1 for each alert rule that fires."
            ),
            known.iter().filter(|(.., fires)| *fires),
        );
    }
}

/// A rule's name and severity, which are its labels, and whether it fires.
type Alert<'a> = (&'a str, Severity, bool);

impl Page<'_> {
    /// A family with a sample for each key; none of it where there are no keys.
    fn by_key(&mut self, family: &Family, counts: &BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        self.family(family.opening);
        for (key, &count) in counts {
            self.text(family.sample);
            self.label(key);
            self.text("\"} ");
            self.value(count);
        }
    }

    /// A family with a sample for each alert; none of it where there are no alerts.
    fn by_alert<'a>(&mut self, family: &Family, alerts: impl Iterator<Item = &'a Alert<'a>>) {
        let mut alerts = alerts.peekable();
        if alerts.peek().is_none() {
            return;
        }
        self.family(family.opening);
        for &(name, severity, fires) in alerts {
            self.text(family.sample);
            self.label(name);
            self.text("\",severity=\"");
            self.text(severity.as_str());
            self.text("\"} ");
            self.value(u64::from(fires));
        }
    }
}
