//! The reports of several sources become the sections of one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::snapshot::{CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, TokenStats};
use crate::source::Report;

/// How the envelope rates of several sources become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EnvelopeRate {
    #[default]
    Averaged,
    Summed,
}

/// Fills the sections of a snapshot.
pub(crate) fn merge(reports: &[Arc<Report>], rate: EnvelopeRate, snapshot: &mut Snapshot) {
    snapshot.channels = channels(reports);
    snapshot.envelopes = envelopes(reports, rate);
    snapshot.presence = presence(reports);
    snapshot.history = history(reports);
    snapshot.tokens = tokens(reports);
    snapshot.cache = cache(reports);
}

fn channels(reports: &[Arc<Report>]) -> ChannelStats {
    let channels = sections(reports, |report| report.channels.as_ref());
    ChannelStats {
        total_active: sum(channels.clone().map(|stats| stats.total_active)),
        by_pattern: sum_by_key(channels.map(|stats| &stats.by_pattern)),
    }
}

fn envelopes(reports: &[Arc<Report>], rate: EnvelopeRate) -> EnvelopeStats {
    let envelopes = sections(reports, |report| report.envelopes.as_ref());
    let rates = envelopes.clone().map(|stats| stats.rate_per_second);
    EnvelopeStats {
        rate_per_second: match rate {
            EnvelopeRate::Averaged => mean(rates),
            EnvelopeRate::Summed => add(finite(rates)).clamp(f64::MIN, f64::MAX),
        },
        by_aspect: sum_by_key(envelopes.map(|stats| &stats.by_aspect)),
    }
}

fn presence(reports: &[Arc<Report>]) -> PresenceStats {
    let presence = sections(reports, |report| report.presence.as_ref());
    PresenceStats {
        total_users: sum(presence.clone().map(|stats| stats.total_users)),
        total_agents: sum(presence.clone().map(|stats| stats.total_agents)),
        average_per_channel: mean(presence.map(|stats| stats.average_per_channel)),
    }
}

fn history(reports: &[Arc<Report>]) -> HistoryStats {
    let history = sections(reports, |report| report.history.as_ref());
    HistoryStats {
        total_envelopes_buffered: sum(history.clone().map(|stats| stats.total_envelopes_buffered)),
        buffer_utilization_pct: mean(history.map(|stats| stats.buffer_utilization_pct)),
    }
}

fn tokens(reports: &[Arc<Report>]) -> TokenStats {
    let tokens = sections(reports, |report| report.tokens.as_ref());
    TokenStats {
        issued_last_hour: sum(tokens.clone().map(|stats| stats.issued_last_hour)),
        revoked_last_hour: sum(tokens.clone().map(|stats| stats.revoked_last_hour)),
        // Saturates once, at the end, so that the order of the sources does not matter.
        active_count: clamp(tokens.map(|stats| i128::from(stats.active_count)).sum()),
    }
}

fn cache(reports: &[Arc<Report>]) -> CacheStats {
    let cache = sections(reports, |report| report.cache.as_ref());
    CacheStats {
        hit_rate_pct: mean(cache.clone().map(|stats| stats.hit_rate_pct)),
        size_bytes: sum(cache.clone().map(|stats| stats.size_bytes)),
        size_entries: sum(cache.clone().map(|stats| stats.size_entries)),
        evictions_last_hour: sum(cache.map(|stats| stats.evictions_last_hour)),
    }
}

/// Returns one section of the reports that have it.
fn sections<'a, T: 'a>(
    reports: &'a [Arc<Report>],
    section: impl Fn(&'a Report) -> Option<&'a T> + Clone,
) -> impl Iterator<Item = &'a T> + Clone {
    reports.iter().filter_map(move |report| section(report))
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

type Counts = BTreeMap<String, u64>;

fn sum_by_key<'a>(mut reports: impl Iterator<Item = &'a Counts>) -> Counts {
    let mut sums = reports.next().cloned().unwrap_or_default();
    for (key, &count) in reports.flatten() {
        match sums.get_mut(key) {
            Some(sum) => *sum = sum.saturating_add(count),
            None => {
                sums.insert(key.clone(), count);
            }
        }
    }
    sums
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
}

fn finite(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = f64> + Clone {
    values.filter(|value| value.is_finite())
}

/// Returns the mean of the finite values, and 0 if there is none.
fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let values = finite(values);
    let count = values.clone().count().max(1) as f64;
    let sum = add(values.clone());
    // The sum of large values can leave the range that their mean is in.
    if sum.is_finite() { sum / count } else { add(values.map(|value| value / count)) }
}

/// Returns the sum. The standard library's starts at -0.0, which a page would show.
fn add(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_finite_values_is_finite() {
        let mean = |values: &[f64]| super::mean(values.iter().copied()).to_bits();
        assert_eq!(mean(&[]), 0.0f64.to_bits());
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX.to_bits());
        assert_eq!(mean(&[1.0, 2.0, 4.0]), (7.0f64 / 3.0).to_bits());
        assert_eq!(mean(&[f64::MAX, -f64::MAX]), 0.0f64.to_bits());
        assert_eq!(mean(&[f64::NAN, 30.0, f64::INFINITY, 0.0]), 15.0f64.to_bits());
    }

    #[test]
    fn signed_sum_saturates_at_both_ends() {
        assert_eq!((clamp(i128::MAX), clamp(i128::MIN), clamp(-3)), (i64::MAX, i64::MIN, -3));
    }
}
