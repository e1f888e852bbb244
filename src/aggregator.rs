//! Many sources, one snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use crate::alerts::{AlertRule, AlertRuleError, FiringAlert, alerts_of, validate_alert_rules};
use crate::catch_panic::catch_panic;
use crate::clock::CoarseClock;
use crate::encode::Format;
use crate::snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Snapshot, TokenStats,
};
use crate::source::Source;

/// Turns sources into a [`Snapshot`], and evaluates alert rules over it.
///
/// It keeps no numbers of its own: [`snapshot`](Self::snapshot) asks every source anew, in turn, on
/// the thread that calls it. (The pages over HTTP are made on threads of their own.)
///
/// - Counts are summed over the sources that report them; a sum that does not fit stays at the
///   greatest number.
/// - `rate_per_second`, `average_per_channel`, `buffer_utilization_pct` and `hit_rate_pct` are
///   averaged over the sources that report the section, zeros included. (See
///   [`sum_envelope_rates`](Self::sum_envelope_rates).)
/// - A float that is not finite counts as not reported.
/// - A source or a rule that panics is left out of this snapshot and counted; the rest is right.
///   ([`source_panics`](Self::source_panics), [`rule_panics`](Self::rule_panics). A program built
///   with `panic = "abort"` ends instead.)
///
/// Clones share sources, rules and those counts.
///
/// ```
/// use parsec_telemetry::{Aggregator, AlertRule, EnvelopeCounters, Severity, TokenCounters};
///
/// let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
/// let aggregator = Aggregator::new()
///     .source(envelopes.clone())
///     .source(tokens.clone())
///     .with_alerts(vec![AlertRule::new("no_tokens", Severity::Warning, |s| s.tokens.active_count == 0)])?;
///
/// envelopes.observe("data");
/// let snapshot = aggregator.snapshot();
/// assert_eq!(snapshot.envelopes.by_aspect["data"], 1);
/// assert_eq!(snapshot.alerts[0].name, "no_tokens");
/// # Ok::<(), parsec_telemetry::AlertRuleError>(())
/// ```
#[derive(Clone, Default)]
pub struct Aggregator {
    sources: Vec<Named>,
    rules: Vec<AlertRule>,
    envelope_rate: EnvelopeRate,
    clock: Option<CoarseClock>,
    panics: Arc<Panics>,
}

#[derive(Clone)]
struct Named {
    source: Arc<dyn Source>,
    type_name: &'static str,
}

/// What one source says, section by section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    channels: Option<ChannelStats>,
    envelopes: Option<EnvelopeStats>,
    presence: Option<PresenceStats>,
    history: Option<HistoryStats>,
    tokens: Option<TokenStats>,
    cache: Option<CacheStats>,
}

/// How the envelope rates of several sources become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EnvelopeRate {
    #[default]
    Averaged,
    Summed,
}

#[derive(Debug, Default)]
struct Panics {
    sources: AtomicU64,
    rules: AtomicU64,
}

impl Aggregator {
    /// An aggregator of nothing: every section reads zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source.
    #[must_use]
    pub fn source<S: Source + 'static>(mut self, source: S) -> Self {
        self.sources.push(Named {
            source: Arc::new(source),
            type_name: std::any::type_name::<S>(),
        });
        self
    }

    /// The types of the sources, in the order in which they were added: what a page calls a source
    /// that did not answer in time.
    ///
    /// ```
    /// use parsec_telemetry::{Aggregator, TokenCounters};
    ///
    /// let aggregator = Aggregator::new().source(TokenCounters::new());
    /// let types: Vec<&str> = aggregator.source_types().collect();
    /// assert!(types[0].ends_with("TokenCounters"));
    /// ```
    #[must_use]
    pub fn source_types(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.sources.iter().map(|named| named.type_name)
    }

    /// Adds alert rules, to be evaluated on every snapshot.
    ///
    /// # Errors
    ///
    /// If a rule has no name, or one that another rule has, here or among those added before.
    ///
    /// ```
    /// use parsec_telemetry::{Aggregator, AlertRule, Severity};
    ///
    /// let rules = vec![AlertRule::new("", Severity::Info, |_| true)];
    /// assert!(Aggregator::new().with_alerts(rules).unwrap_err().is_empty_name());
    /// ```
    pub fn with_alerts(mut self, rules: Vec<AlertRule>) -> Result<Self, AlertRuleError> {
        self.rules.extend(rules);
        validate_alert_rules(&self.rules)?;
        Ok(self)
    }

    /// Sums the envelope rates of its sources, instead of averaging them.
    ///
    /// Averaging is what the wire contract says, and it is right where each source reports the same
    /// stream. Where a process publishes through several counters, each of which sees a part of the
    /// stream, the whole is their sum.
    ///
    /// ```
    /// use parsec_telemetry::{Aggregator, EnvelopeStats, Source};
    ///
    /// struct Shard(f64);
    /// impl Source for Shard {
    ///     fn envelopes(&self) -> Option<EnvelopeStats> {
    ///         Some(EnvelopeStats { rate_per_second: self.0, ..Default::default() })
    ///     }
    /// }
    ///
    /// let shards = Aggregator::new().source(Shard(30.0)).source(Shard(10.0));
    /// assert_eq!(shards.snapshot().envelopes.rate_per_second, 20.0);
    /// assert_eq!(shards.sum_envelope_rates().snapshot().envelopes.rate_per_second, 40.0);
    /// ```
    #[must_use]
    pub fn sum_envelope_rates(mut self) -> Self {
        self.envelope_rate = EnvelopeRate::Summed;
        self
    }

    /// The clock that snapshots are dated by, instead of the [shared](CoarseClock::shared) one.
    #[must_use]
    pub fn clock(mut self, clock: CoarseClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Asks every source and evaluates every rule.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let at = self.now();
        let reports = (0..self.sources.len()).map(|place| self.ask(place));
        self.merged(at, reports.collect())
    }

    /// What a snapshot that is begun now is dated.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock
            .as_ref()
            .map_or_else(SystemTime::now, CoarseClock::now)
    }

    /// Asks one source for its sections. Those in which it panics are counted and left out.
    pub(crate) fn ask(&self, place: usize) -> Report {
        let source = &*self.sources[place].source;
        Report {
            channels: self.section(|| source.channels()),
            envelopes: self.section(|| source.envelopes()),
            presence: self.section(|| source.presence()),
            history: self.section(|| source.history()),
            tokens: self.section(|| source.tokens()),
            cache: self.section(|| source.cache()),
        }
    }

    fn section<T>(&self, ask: impl FnOnce() -> Option<T>) -> Option<T> {
        catch_panic(ask).unwrap_or_else(|| {
            self.panics.sources.fetch_add(1, Relaxed);
            None
        })
    }

    /// The snapshot of what the sources have said, with the alerts that fire on it.
    pub(crate) fn merged(&self, at: SystemTime, reports: Vec<Report>) -> Snapshot {
        let mut snapshot = self.without_alerts(at, reports);
        let fire = (0..self.rules.len()).filter(|&place| self.fires(place, &snapshot));
        snapshot.alerts = self.alerts(at, fire);
        snapshot
    }

    /// The snapshot of what the sources have said, as the rules are to see it.
    pub(crate) fn without_alerts(&self, at: SystemTime, mut reports: Vec<Report>) -> Snapshot {
        Snapshot {
            channels: merged_channels(&mut reports),
            envelopes: merged_envelopes(&mut reports, self.envelope_rate),
            presence: merged_presence(&reports),
            history: merged_history(&reports),
            tokens: merged_tokens(&reports),
            cache: merged_cache(&reports),
            ..Snapshot::empty(at)
        }
    }

    /// Whether one rule fires on a snapshot without alerts. If it panics, that is counted, and it
    /// does not.
    pub(crate) fn fires(&self, place: usize, seen: &Snapshot) -> bool {
        self.rules[place].fires(seen).unwrap_or_else(|| {
            self.panics.rules.fetch_add(1, Relaxed);
            false
        })
    }

    /// The alerts of the rules in these places.
    pub(crate) fn alerts(
        &self,
        at: SystemTime,
        places: impl Iterator<Item = usize>,
    ) -> Vec<FiringAlert> {
        alerts_of(at, places.map(|place| &self.rules[place]))
    }

    /// Takes a snapshot and renders it as a page.
    ///
    /// ```
    /// use parsec_telemetry::{Aggregator, Format};
    ///
    /// let page = Aggregator::new().render(Format::Prometheus);
    /// assert!(String::from_utf8(page).unwrap().contains("parsec_telemetry_channels_active 0\n"));
    /// ```
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        format.render(&self.snapshot(), &self.rules)
    }

    /// The rules that are evaluated, in the order in which they were added.
    #[must_use]
    pub fn rules(&self) -> &[AlertRule] {
        &self.rules
    }

    /// How often a source has panicked while a snapshot was taken.
    #[must_use]
    pub fn source_panics(&self) -> u64 {
        self.panics.sources.load(Relaxed)
    }

    /// How often a rule has panicked while a snapshot was taken.
    #[must_use]
    pub fn rule_panics(&self) -> u64 {
        self.panics.rules.load(Relaxed)
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregator")
            .field("sources", &self.sources.len())
            .field("rules", &self.rules)
            .field("envelope_rate", &self.envelope_rate)
            .field("panics", &self.panics)
            .finish_non_exhaustive()
    }
}

fn merged_channels(reports: &mut [Report]) -> ChannelStats {
    let channels = sections(reports, |report| report.channels.as_ref());
    ChannelStats {
        total_active: sum(channels.map(|stats| stats.total_active)),
        by_pattern: sum_by_key(reports.iter_mut().filter_map(|report| {
            let stats = report.channels.as_mut()?;
            Some(mem::take(&mut stats.by_pattern))
        })),
    }
}

fn merged_envelopes(reports: &mut [Report], rate: EnvelopeRate) -> EnvelopeStats {
    let envelopes = sections(reports, |report| report.envelopes.as_ref());
    let rates = envelopes.map(|stats| stats.rate_per_second);
    EnvelopeStats {
        rate_per_second: match rate {
            EnvelopeRate::Averaged => mean(rates),
            EnvelopeRate::Summed => add(finite(rates)).clamp(f64::MIN, f64::MAX),
        },
        by_aspect: sum_by_key(reports.iter_mut().filter_map(|report| {
            let stats = report.envelopes.as_mut()?;
            Some(mem::take(&mut stats.by_aspect))
        })),
    }
}

fn merged_presence(reports: &[Report]) -> PresenceStats {
    let presence = sections(reports, |report| report.presence.as_ref());
    PresenceStats {
        total_users: sum(presence.clone().map(|stats| stats.total_users)),
        total_agents: sum(presence.clone().map(|stats| stats.total_agents)),
        average_per_channel: mean(presence.map(|stats| stats.average_per_channel)),
    }
}

fn merged_history(reports: &[Report]) -> HistoryStats {
    let history = sections(reports, |report| report.history.as_ref());
    HistoryStats {
        total_envelopes_buffered: sum(history.clone().map(|stats| stats.total_envelopes_buffered)),
        buffer_utilization_pct: mean(history.map(|stats| stats.buffer_utilization_pct)),
    }
}

fn merged_tokens(reports: &[Report]) -> TokenStats {
    let tokens = sections(reports, |report| report.tokens.as_ref());
    TokenStats {
        issued_last_hour: sum(tokens.clone().map(|stats| stats.issued_last_hour)),
        revoked_last_hour: sum(tokens.clone().map(|stats| stats.revoked_last_hour)),
        // Signed: saturates once, at the end, so that the order of the sources does not matter.
        active_count: clamp(tokens.map(|stats| i128::from(stats.active_count)).sum()),
    }
}

fn merged_cache(reports: &[Report]) -> CacheStats {
    let cache = sections(reports, |report| report.cache.as_ref());
    CacheStats {
        hit_rate_pct: mean(cache.clone().map(|stats| stats.hit_rate_pct)),
        size_bytes: sum(cache.clone().map(|stats| stats.size_bytes)),
        size_entries: sum(cache.clone().map(|stats| stats.size_entries)),
        evictions_last_hour: sum(cache.map(|stats| stats.evictions_last_hour)),
    }
}

/// A section of those that report it.
fn sections<'a, T: 'a>(
    reports: &'a [Report],
    section: impl Fn(&'a Report) -> Option<&'a T> + Clone,
) -> impl Iterator<Item = &'a T> + Clone {
    reports.iter().filter_map(section)
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

type Counts = BTreeMap<String, u64>;

/// The first becomes the sum: most sections are reported by one source, and nothing is copied.
fn sum_by_key(mut reports: impl Iterator<Item = Counts>) -> Counts {
    let mut sums = reports.next().unwrap_or_default();
    for (key, count) in reports.flatten() {
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }
    sums
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
}

fn finite(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = f64> + Clone {
    values.filter(|value| value.is_finite())
}

/// The mean of the values that are finite; 0 if there is none.
fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let values = finite(values);
    let count = values.clone().count().max(1) as f64;
    let sum = add(values.clone());
    // The sum of great values can leave the range that their mean is in.
    if sum.is_finite() {
        sum / count
    } else {
        add(values.map(|value| value / count))
    }
}

/// The sum. (The standard library's begins at -0.0, and that would show on a page.)
fn add(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_stay_in_range() {
        assert_eq!(mean([].into_iter()).to_bits(), 0.0f64.to_bits());
        assert_eq!(
            mean([f64::MAX, f64::MAX].into_iter()).to_bits(),
            f64::MAX.to_bits()
        );
        assert_eq!(
            mean([1.0, 2.0, 4.0].into_iter()).to_bits(),
            (7.0f64 / 3.0).to_bits()
        );
        assert_eq!(
            mean([f64::MAX, -f64::MAX].into_iter()).to_bits(),
            0.0f64.to_bits()
        );
        assert_eq!(
            mean([f64::NAN, 30.0, f64::INFINITY, 0.0].into_iter()).to_bits(),
            15.0f64.to_bits()
        );
    }

    #[test]
    fn signed_sums_saturate_at_both_ends() {
        assert_eq!(
            (clamp(i128::MAX), clamp(i128::MIN), clamp(-3)),
            (i64::MAX, i64::MIN, -3)
        );
    }
}
