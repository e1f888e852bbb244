//! Merges the reports of several sources into the sections of one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::label::bounded;
use crate::snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, MAX_COUNT, PresenceStats, Section, Snapshot, TokenStats,
};
use crate::source::Report;

/// How the envelope rates of several sources are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EnvelopeRate {
    #[default]
    Averaged,
    Summed,
}

/// Fills the sections of a snapshot, and lists those that no report has.
pub(crate) fn merge(reports: &[Arc<Report>], rate: EnvelopeRate, snapshot: &mut Snapshot) {
    let unmeasured = &mut snapshot.unmeasured;
    let channels = Reported::new(reports, Section::Channels, |report| report.channels.as_ref(), unmeasured);
    snapshot.channels = ChannelStats {
        total_active: channels.sum(|stats| stats.total_active),
        by_pattern: channels.sum_by_key(|stats| &stats.by_pattern),
    };
    let envelopes = Reported::new(reports, Section::Envelopes, |report| report.envelopes.as_ref(), unmeasured);
    let rates = envelopes.finite(|stats| stats.rate_per_second);
    snapshot.envelopes = EnvelopeStats {
        rate_per_second: match rate {
            EnvelopeRate::Summed if !rates.is_empty() => add(&rates).clamp(f64::MIN, f64::MAX),
            _ => mean(&rates),
        },
        by_aspect: envelopes.sum_by_key(|stats| &stats.by_aspect),
    };
    let presence = Reported::new(reports, Section::Presence, |report| report.presence.as_ref(), unmeasured);
    snapshot.presence = PresenceStats {
        total_users: presence.sum(|stats| stats.total_users),
        total_agents: presence.sum(|stats| stats.total_agents),
        average_per_channel: mean(&presence.finite(|stats| stats.average_per_channel)),
    };
    let history = Reported::new(reports, Section::History, |report| report.history.as_ref(), unmeasured);
    snapshot.history = HistoryStats {
        total_envelopes_buffered: history.sum(|stats| stats.total_envelopes_buffered),
        buffer_utilization_pct: mean(&history.finite(|stats| stats.buffer_utilization_pct)),
    };
    let tokens = Reported::new(reports, Section::Tokens, |report| report.tokens.as_ref(), unmeasured);
    snapshot.tokens = TokenStats {
        issued_last_hour: tokens.sum(|stats| stats.issued_last_hour),
        revoked_last_hour: tokens.sum(|stats| stats.revoked_last_hour),
        // Saturates once, at the end, so that the order of the sources does not matter.
        active_count: clamp(tokens.0.iter().map(|stats| i128::from(stats.active_count)).sum()),
    };
    let cache = Reported::new(reports, Section::Cache, |report| report.cache.as_ref(), unmeasured);
    snapshot.cache = CacheStats {
        hit_rate_pct: mean(&cache.finite(|stats| stats.hit_rate_pct)),
        size_bytes: cache.sum(|stats| stats.size_bytes),
        size_entries: cache.sum(|stats| stats.size_entries),
        evictions_last_hour: cache.sum(|stats| stats.evictions_last_hour),
    };
    snapshot.unmeasured = snapshot.all_unmeasured().into_owned();
}

/// One section of the reports that have it.
struct Reported<'a, T>(Vec<&'a T>);

type Counts = BTreeMap<String, u64>;

impl<'a, T> Reported<'a, T> {
    /// Lists the section as unmeasured if no report has it.
    fn new(
        reports: &'a [Arc<Report>],
        section: Section,
        of: fn(&Report) -> Option<&T>,
        unmeasured: &mut Vec<String>,
    ) -> Self {
        let reported: Vec<&T> = reports.iter().filter_map(|report| of(report)).collect();
        if reported.is_empty() {
            unmeasured.push(section.as_str().to_owned());
        }
        Self(reported)
    }

    fn sum(&self, count: fn(&T) -> u64) -> u64 {
        self.0.iter().fold(0, |sum, stats| add_count(sum, count(stats)))
    }

    /// Sums the counts of keys that are the same once they are cut to the length of a label.
    fn sum_by_key(&self, counts: fn(&T) -> &Counts) -> Counts {
        let mut sums = Counts::new();
        for (key, &count) in self.0.iter().flat_map(|stats| counts(stats)) {
            let sum = sums.entry(bounded(key).into_owned()).or_default();
            *sum = add_count(*sum, count);
        }
        sums
    }

    fn finite(&self, float: fn(&T) -> f64) -> Vec<f64> {
        self.0.iter().map(|stats| float(stats)).filter(|value| value.is_finite()).collect()
    }
}

fn add_count(sum: u64, count: u64) -> u64 {
    sum.saturating_add(count).min(MAX_COUNT)
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
}

/// Returns the mean of finite values: NaN if there are none.
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let (count, sum) = (values.len() as f64, add(values));
    // The sum of large values can leave the range that their mean is in.
    let mean = if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() };
    mean.clamp(f64::MIN, f64::MAX)
}

/// Returns the sum. The standard library's starts at -0.0, which a page would show.
fn add(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_finite_values_is_finite() {
        let mean = |values: &[f64]| super::mean(values).to_bits();
        assert!(super::mean(&[]).is_nan());
        assert_eq!(mean(&[f64::MAX; 3]), f64::MAX.to_bits());
        assert_eq!(mean(&[1.0, 2.0, 4.0]), (7.0f64 / 3.0).to_bits());
        assert_eq!(mean(&[f64::MAX, -f64::MAX]), 0.0f64.to_bits());
    }

    #[test]
    fn signed_sum_saturates_at_both_ends() {
        assert_eq!((clamp(i128::MAX), clamp(i128::MIN), clamp(-3)), (i64::MAX, i64::MIN, -3));
    }
}
