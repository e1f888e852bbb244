//! The Prometheus text page, version 0.0.4.
//!
//! The names and their order are the wire contract's. Only bounded labels leave: `pattern`,
//! `aspect`, `alert` and `severity`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use crate::alerts::{AlertRule, FiringAlert, Severity};
use crate::snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, TokenStats,
    reported,
};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn render(page: &mut Vec<u8>, snapshot: &Snapshot, rules: &[AlertRule]) {
    let mut page = Page(page);
    page.channels(&snapshot.channels);
    page.envelopes(&snapshot.envelopes);
    page.presence(&snapshot.presence);
    page.history(&snapshot.history);
    page.tokens(&snapshot.tokens);
    page.cache(&snapshot.cache);
    page.alerts(&snapshot.alerts, rules);
}

/// The families, in the order of the contract.
impl Page<'_> {
    fn channels(&mut self, channels: &ChannelStats) {
        self.gauge(
            "parsec_telemetry_channels_active",
            "Channels open now.",
            channels.total_active,
        );
        self.family_by(
            "parsec_telemetry_channels_by_pattern",
            "gauge",
            "Channels open now, by the pattern that they match.",
            "pattern",
            &channels.by_pattern,
        );
    }

    fn envelopes(&mut self, envelopes: &EnvelopeStats) {
        self.gauge(
            "parsec_telemetry_envelope_rate_per_second",
            "Envelopes published a second, over the last 60 seconds.",
            envelopes.rate_per_second,
        );
        self.family_by(
            "parsec_telemetry_envelopes_by_aspect",
            "gauge",
            "Envelopes published since the start, by aspect. \
             Kept for existing dashboards: prefer parsec_telemetry_envelopes_total.",
            "aspect",
            &envelopes.by_aspect,
        );
        self.family_by(
            "parsec_telemetry_envelopes_total",
            "counter",
            "Envelopes published since the start, by aspect.",
            "aspect",
            &envelopes.by_aspect,
        );
    }

    fn presence(&mut self, presence: &PresenceStats) {
        self.gauge(
            "parsec_telemetry_presence_total_users",
            "Users present now.",
            presence.total_users,
        );
        self.gauge(
            "parsec_telemetry_presence_total_agents",
            "Agents present now.",
            presence.total_agents,
        );
        self.gauge(
            "parsec_telemetry_presence_average_per_channel",
            "Members present in a channel, on average.",
            presence.average_per_channel,
        );
    }

    fn history(&mut self, history: &HistoryStats) {
        self.gauge(
            "parsec_telemetry_history_buffered",
            "Envelopes held in history buffers now.",
            history.total_envelopes_buffered,
        );
        self.gauge(
            "parsec_telemetry_history_buffer_utilization_pct",
            "How full the history buffers are, in percent.",
            history.buffer_utilization_pct,
        );
    }

    fn tokens(&mut self, tokens: &TokenStats) {
        self.gauge(
            "parsec_telemetry_tokens_issued_last_hour",
            "Tokens issued in the last 60 minutes.",
            tokens.issued_last_hour,
        );
        self.gauge(
            "parsec_telemetry_tokens_revoked_last_hour",
            "Tokens revoked in the last 60 minutes.",
            tokens.revoked_last_hour,
        );
        self.gauge(
            "parsec_telemetry_tokens_active",
            "Tokens issued and neither revoked nor expired.",
            tokens.active_count,
        );
    }

    fn cache(&mut self, cache: &CacheStats) {
        self.gauge(
            "parsec_telemetry_cache_hit_rate_pct",
            "Cache look-ups of the last 60 minutes that hit, in percent.",
            cache.hit_rate_pct,
        );
        self.gauge(
            "parsec_telemetry_cache_size_bytes",
            "Bytes held in the cache now.",
            cache.size_bytes,
        );
        self.gauge(
            "parsec_telemetry_cache_size_entries",
            "Entries held in the cache now.",
            cache.size_entries,
        );
        self.gauge(
            "parsec_telemetry_cache_evictions_last_hour",
            "Cache entries evicted in the last 60 minutes.",
            cache.evictions_last_hour,
        );
    }

    fn alerts(&mut self, alerts: &[FiringAlert], rules: &[AlertRule]) {
        let firing: BTreeSet<Alert<'_>> = alerts
            .iter()
            .map(|alert| (alert.name.as_str(), alert.severity))
            .collect();
        let mut known: BTreeSet<Alert<'_>> = rules
            .iter()
            .map(|rule| (rule.name(), rule.severity()))
            .collect();
        known.extend(&firing);
        self.family_by_alert(
            "parsec_alerts_firing",
            "Whether the alert rule fires: 1 if it does, 0 if not.",
            known
                .iter()
                .map(|alert| (*alert, u64::from(firing.contains(alert)))),
        );
        self.family_by_alert(
            "parsec_telemetry_alerts_firing",
            "1 for each alert rule that fires.",
            firing.iter().map(|alert| (*alert, 1)),
        );
    }
}

/// A rule's name and severity: its labels.
type Alert<'a> = (&'a str, Severity);

/// A sample's value, as it prints.
trait Value {
    fn write(self, page: &mut Vec<u8>);
}

impl Value for u64 {
    fn write(self, page: &mut Vec<u8>) {
        write(page, format_args!("{self}"));
    }
}

impl Value for i64 {
    fn write(self, page: &mut Vec<u8>) {
        write(page, format_args!("{self}"));
    }
}

/// The shortest digits that read back to the same value, with an exponent where a plain number
/// would be long.
impl Value for f64 {
    fn write(self, page: &mut Vec<u8>) {
        let value = reported(self);
        let size = value.abs();
        if size == 0.0 || (1e-4..1e21).contains(&size) {
            write(page, format_args!("{value}"));
        } else {
            write(page, format_args!("{value:e}"));
        }
    }
}

fn write(page: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a Vec takes every write");
}

/// A page in the making, family by family.
struct Page<'a>(&'a mut Vec<u8>);

impl Page<'_> {
    fn header(&mut self, family: &str, kind: &str, help: &str) {
        write(
            self.0,
            format_args!("# HELP {family} {help}\n# TYPE {family} {kind}\n"),
        );
    }

    /// A family of one sample without labels.
    fn gauge(&mut self, family: &str, help: &str, value: impl Value) {
        self.header(family, "gauge", help);
        write(self.0, format_args!("{family} "));
        self.value(value);
    }

    /// A family with a sample for each key; none of it where there are no keys.
    fn family_by(
        &mut self,
        family: &str,
        kind: &str,
        help: &str,
        label: &str,
        counts: &BTreeMap<String, u64>,
    ) {
        if counts.is_empty() {
            return;
        }
        self.header(family, kind, help);
        for (key, &count) in counts {
            write(
                self.0,
                format_args!("{family}{{{label}=\"{}\"}} ", escaped(key)),
            );
            self.value(count);
        }
    }

    /// A family with a sample for each alert; none of it where there are no alerts.
    fn family_by_alert<'a>(
        &mut self,
        family: &str,
        help: &str,
        alerts: impl Iterator<Item = (Alert<'a>, u64)>,
    ) {
        let mut alerts = alerts.peekable();
        if alerts.peek().is_none() {
            return;
        }
        self.header(family, "gauge", help);
        for ((name, severity), state) in alerts {
            let name = escaped(name);
            write(
                self.0,
                format_args!("{family}{{alert=\"{name}\",severity=\"{severity}\"}} "),
            );
            self.value(state);
        }
    }

    fn value(&mut self, value: impl Value) {
        value.write(self.0);
        self.0.push(b'\n');
    }
}

/// A label's value with `\`, `"` and newline escaped, as the format asks.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    let mut escaped = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str(r"\\"),
            '"' => escaped.push_str(r#"\""#),
            '\n' => escaped.push_str(r"\n"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}
