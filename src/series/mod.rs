//! The recent past of the numbers of a snapshot, in three tiers.

mod aspects;
mod data;
mod recorder;
mod ring;
mod tier;

use std::collections::VecDeque;
use std::mem;
use std::time::SystemTime;

use crate::catalog::{SectionGauge, Value, section_gauges};
use crate::series::aspects::AspectRates;
use crate::series::recorder::TierRecorder;
use crate::snapshot::{AlertState, RuleStatus, Section, Snapshot};

pub use data::{Series, SeriesEvent, SeriesPoints, TierSeries};
pub use tier::Tier;

/// The number of state changes that are kept.
const MAX_EVENTS: usize = 128;

/// Records the values of snapshots and the states of rules.
///
/// Memory is allocated once, except for the names of at most 64 aspects and of the rules of at most 128 events.
pub(crate) struct SeriesRecorder {
    started_at: SystemTime,
    gauges: Box<[SectionGauge]>,
    aspects: AspectRates,
    /// The sample that is being recorded: the gauges, then the aspects.
    sample: Box<[f32]>,
    /// The position of the last sample.
    position: Option<u64>,
    tiers: [TierRecorder; 3],
    events: VecDeque<SeriesEvent>,
    /// The states of the rules in the last sample, in the order of the snapshot.
    states: Vec<AlertState>,
}

impl SeriesRecorder {
    pub(crate) fn new(started_at: SystemTime) -> Self {
        let gauges: Box<[_]> = section_gauges().collect();
        let (scalars, columns) = (gauges.len(), gauges.len() + aspects::COLUMNS);
        let tiers = Tier::ALL.map(|tier| match tier {
            Tier::Minute => TierRecorder::new(tier, columns, 0),
            Tier::Hour => TierRecorder::new(tier, columns, scalars),
            Tier::Day => TierRecorder::new(tier, scalars, scalars),
        });
        Self {
            started_at,
            gauges,
            aspects: AspectRates::new(),
            sample: vec![f32::NAN; columns].into(),
            position: None,
            tiers,
            events: VecDeque::with_capacity(MAX_EVENTS),
            states: Vec::new(),
        }
    }

    /// Records the values of a snapshot as the sample of second `position`, in Unix seconds. A position that is not
    /// after the last one changes nothing.
    ///
    /// A value is a gap if its section is in `stale` or not measured, and if it is not finite. After stale samples,
    /// the rate of an aspect is the mean since the last one that was not.
    pub(crate) fn record(&mut self, position: u64, snapshot: &Snapshot, stale: &[Section]) {
        if self.position.is_some_and(|last| position <= last) {
            return;
        }
        self.position = Some(position);
        let is_known = |section| !stale.contains(&section) && snapshot.is_measured(section);
        self.sample.fill(f32::NAN);
        let (scalars, rates) = self.sample.split_at_mut(self.gauges.len());
        for (value, &(_, section, read)) in scalars.iter_mut().zip(&self.gauges) {
            if is_known(section) {
                *value = single(read(snapshot));
            }
        }
        if is_known(Section::Envelopes) {
            self.aspects.record(position, &snapshot.envelopes.by_aspect, rates);
        }
        for tier in &mut self.tiers {
            tier.record(position, &self.sample);
        }
        self.record_events(position, &snapshot.rules);
    }

    /// Records each rule whose state has changed since the last sample.
    fn record_events(&mut self, position: u64, rules: &[RuleStatus]) {
        self.states.resize(rules.len(), AlertState::Inactive);
        for (state, rule) in self.states.iter_mut().zip(rules) {
            if mem::replace(state, rule.state) != rule.state {
                if self.events.len() == MAX_EVENTS {
                    self.events.pop_front();
                }
                self.events.push_back(SeriesEvent { t: position, alert: rule.name.clone(), to: rule.state });
            }
        }
    }

    /// Returns the points of one tier, or of all, that end after `since`, and the events within the span of the longest
    /// of these tiers before the last sample.
    ///
    /// The `end` of the minute tier can serve as `since` for all tiers: a bucket that ends later is not complete yet.
    pub(crate) fn read(&self, at: SystemTime, tier: Option<Tier>, since: Option<u64>) -> Series {
        let tiers: Vec<_> = Tier::ALL.into_iter().filter(|&each| tier.is_none_or(|tier| tier == each)).collect();
        let span = tiers.iter().map(|tier| tier.step() * tier.len() as u64).max().unwrap_or(0);
        let start = self.position.unwrap_or(0).saturating_sub(span);
        let events = self.events.iter().filter(|event| event.t > start);
        Series {
            at,
            started_at: self.started_at,
            tiers: tiers.iter().map(|&tier| self.read_tier(tier, since)).collect(),
            events: events.cloned().collect(),
        }
    }

    fn read_tier(&self, tier: Tier, since: Option<u64>) -> TierSeries {
        let recorder = &self.tiers[tier as usize];
        let n = recorder.count(since);
        let scalars = self.gauges.iter().enumerate();
        let series = scalars.filter_map(|(column, &(path, ..))| Some((path.to_owned(), recorder.points(column, n)?)));
        let has_aspects = tier != Tier::Day;
        let aspects = self.aspects.columns().filter(|_| has_aspects).filter_map(|(name, column)| {
            let points = recorder.points(self.gauges.len() + column, n)?;
            Some((name.to_owned(), points.avg))
        });
        TierSeries {
            tier,
            step: tier.step(),
            end: recorder.end(),
            n,
            series: series.collect(),
            aspects: aspects.collect(),
        }
    }
}

/// Returns the nearest `f32`, and NaN for a value that is not finite.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of an f32")]
fn single(value: Value) -> f32 {
    let value = match value {
        Value::Int(value) => value as f64,
        Value::Float(value) => value,
    };
    let (min, max) = (f64::from(f32::MIN), f64::from(f32::MAX));
    if value.is_finite() { value.clamp(min, max) as f32 } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use proptest::test_runner::{Config, FileFailurePersistence};

    use super::*;

    const RATE: &str = "envelopes.rate_per_second";
    const ACTIVE: &str = "channels.total_active";

    type Row = BTreeMap<String, f32>;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn recorder() -> SeriesRecorder {
        SeriesRecorder::new(at(1))
    }

    fn read(recorder: &SeriesRecorder, tier: Tier, since: Option<u64>) -> TierSeries {
        recorder.read(at(0), Some(tier), since).tiers.remove(0)
    }

    fn with_rate(rate: f64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.rate_per_second = rate;
        snapshot
    }

    fn with_counts(counts: &[(&str, u64)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.by_aspect = counts.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        snapshot
    }

    #[test]
    fn first_complete_bucket_ends_at_the_next_multiple_of_the_step() {
        let mut recorder = recorder();
        assert_eq!((read(&recorder, Tier::Hour, None).end, read(&recorder, Tier::Hour, None).n), (None, 0));
        for (position, rate) in [(17, 1.0), (18, f64::NAN), (19, 5.0)] {
            recorder.record(position, &with_rate(rate), &[]);
            let hour = read(&recorder, Tier::Hour, None);
            assert_eq!((hour.end, hour.n, hour.series.len()), (None, 0, 0));
        }
        let minute = read(&recorder, Tier::Minute, None);
        assert_eq!((minute.end, minute.n), (Some(19), 3));
        assert_eq!(minute.series[RATE].avg, [Some(1.0), None, Some(5.0)]);
        assert!(minute.series[RATE].min.is_empty() && minute.series[RATE].max.is_empty());

        recorder.record(20, &with_rate(9.0), &[]);
        let hour = read(&recorder, Tier::Hour, None);
        assert_eq!((hour.end, hour.n, hour.step), (Some(20), 1, 10));
        let points = SeriesPoints { avg: vec![Some(3.0)], min: vec![Some(1.0)], max: vec![Some(5.0)] };
        assert_eq!(hour.series[RATE], points);
        assert_eq!(read(&recorder, Tier::Day, None).end, None);
    }

    #[test]
    fn position_that_is_not_after_the_last_one_changes_nothing() {
        let mut recorder = recorder();
        recorder.record(100, &with_rate(1.0), &[]);
        let before = recorder.read(at(0), None, None);
        for position in [0, 99, 100] {
            recorder.record(position, &with_rate(2.0), &[]);
            assert_eq!(recorder.read(at(0), None, None), before);
        }
    }

    #[test]
    fn value_is_a_gap_while_it_is_stale_unmeasured_or_not_finite() {
        let mut recorder = recorder();
        recorder.record(1, &with_rate(1.0), &[]);
        recorder.record(2, &with_rate(2.0), &[Section::Envelopes]);
        recorder.record(3, &with_rate(f64::INFINITY), &[Section::Channels]);
        recorder.record(4, &Snapshot { unmeasured: vec!["channels".to_owned()], ..with_rate(f64::MAX) }, &[]);
        let series = read(&recorder, Tier::Minute, None).series;
        assert_eq!(series[RATE].avg, [Some(1.0), None, None, Some(f32::MAX)]);
        assert_eq!(series[ACTIVE].avg, [Some(0.0), Some(0.0), None, None]);
        // A series without any value among the points is omitted.
        let series = read(&recorder, Tier::Minute, Some(2)).series;
        assert!(!series.contains_key(ACTIVE));
        assert_eq!(series.len(), 13);
    }

    #[test]
    fn rate_of_an_aspect_is_its_difference_divided_by_the_seconds() {
        let mut recorder = recorder();
        recorder.record(10, &with_counts(&[("data", 100)]), &[]);
        recorder.record(11, &with_counts(&[("data", 130), ("cursor", 4)]), &[]);
        recorder.record(15, &with_counts(&[("data", 140), ("cursor", 4)]), &[]);
        recorder.record(16, &with_counts(&[("data", 7)]), &[]);
        recorder.record(17, &with_counts(&[("data", 9), ("cursor", 1)]), &[]);
        let aspects = read(&recorder, Tier::Minute, None).aspects;
        let (gap, data) = (None, Some);
        assert_eq!(aspects["data"], [gap, data(30.0), gap, gap, gap, data(2.5), gap, data(2.0)]);
        // Its count of 1 may be of any time since it was absent.
        assert_eq!(aspects["cursor"], [gap, data(4.0), gap, gap, gap, data(0.0), gap, gap]);
        assert_eq!(aspects.len(), 2);
        assert!(read(&recorder, Tier::Day, None).aspects.is_empty());
    }

    #[test]
    fn rate_after_stale_samples_is_the_mean_since_the_last_good_one() {
        let mut recorder = recorder();
        recorder.record(1, &with_counts(&[("data", 0)]), &[]);
        recorder.record(2, &with_counts(&[("data", 0)]), &[Section::Envelopes]);
        recorder.record(3, &with_counts(&[("data", 30)]), &[]);
        assert_eq!(read(&recorder, Tier::Minute, None).aspects["data"], [None, None, Some(15.0)]);
    }

    #[test]
    fn aspects_beyond_the_first_64_and_one_named_other_are_summed_as_other() {
        let mut recorder = recorder();
        let names: Vec<String> = (0..66).map(|index| format!("a{index:02}")).collect();
        let counts = |range: std::ops::Range<usize>, count| {
            let first = names[range].iter().map(|name| (name.as_str(), count));
            with_counts(&first.chain([("other", count)]).collect::<Vec<_>>())
        };
        recorder.record(1, &counts(1..66, 0), &[]);
        recorder.record(2, &counts(0..66, 1), &[]);
        let aspects = read(&recorder, Tier::Minute, None).aspects;
        assert_eq!(aspects.len(), 65);
        assert_eq!(aspects["a64"], [None, Some(1.0)]);
        // That is `a00`, which appeared too late, `a65` and the aspect of this name.
        assert_eq!(aspects["other"], [None, Some(3.0)]);
    }

    #[test]
    fn count_near_the_maximum_saturates_the_sum_of_the_rest() {
        let mut recorder = recorder();
        for position in 1..=2 {
            let mut snapshot = with_counts(&[("other", u64::MAX)]);
            snapshot.envelopes.by_aspect.extend((0..66).map(|index| (format!("a{index}"), u64::MAX)));
            recorder.record(position, &snapshot, &[]);
        }
        assert_eq!(read(&recorder, Tier::Minute, None).aspects["other"], [None, Some(0.0)]);
    }

    #[test]
    fn since_in_the_future_returns_no_point_and_one_in_the_past_the_whole_tier() {
        let mut recorder = recorder();
        (0..5000).for_each(|position| recorder.record(position, &with_rate(1.0), &[]));
        for (tier, end, len) in [(Tier::Minute, 4999, 60), (Tier::Hour, 4990, 360), (Tier::Day, 4800, 16)] {
            let read = |since| read(&recorder, tier, since);
            assert_eq!((read(None).end, read(None).n), (Some(end), len));
            assert_eq!(read(Some(0)), read(None));
            for since in [end, end + 1, u64::MAX] {
                let none = read(Some(since));
                assert_eq!((none.end, none.n, none.series.len()), (Some(end), 0, 0));
            }
            // Between two points.
            assert_eq!(read(Some(end - 1)).n, 1);
            assert_eq!(read(Some(end - tier.step())).n, 1);
            assert_eq!(read(Some(end - tier.step() - 1)).n, 2);
        }
    }

    #[test]
    fn longest_gap_leaves_the_newest_point_only() {
        let mut recorder = recorder();
        (0..700).for_each(|position| recorder.record(position, &with_rate(1.0), &[]));
        recorder.record(u64::MAX, &with_rate(2.0), &[]);
        recorder.record(u64::MAX, &with_rate(3.0), &[]);
        let minute = read(&recorder, Tier::Minute, None);
        assert_eq!((minute.end, minute.n), (Some(u64::MAX), 60));
        assert_eq!(minute.series[RATE].avg[58..], [None, Some(2.0)]);
        for tier in [Tier::Hour, Tier::Day] {
            let read = read(&recorder, tier, None);
            let end = u64::MAX - u64::MAX % tier.step();
            assert_eq!((read.end, read.n, read.series.len()), (Some(end), tier.len(), 0));
        }
    }

    fn with_rules(states: &[(&str, AlertState)]) -> Snapshot {
        let rule =
            |&(name, state): &(&str, AlertState)| RuleStatus { name: name.to_owned(), state, ..RuleStatus::default() };
        Snapshot { rules: states.iter().map(rule).collect(), ..Snapshot::default() }
    }

    /// Alternates the state of a rule with each sample.
    fn alternating(position: u64) -> Snapshot {
        with_rules(&[("cold", if position.is_multiple_of(2) { AlertState::Firing } else { AlertState::Resolved })])
    }

    #[test]
    fn change_of_a_state_is_an_event() {
        use AlertState::{Firing, Inactive, Pending};
        let mut recorder = recorder();
        for (position, first, second) in
            [(5, Inactive, Firing), (6, Pending, Firing), (9, Firing, Inactive), (9, Inactive, Inactive)]
        {
            recorder.record(position, &with_rules(&[("a", first), ("b", second)]), &Section::ALL);
        }
        let events = recorder.read(at(0), None, Some(9)).events;
        let events: Vec<_> = events.iter().map(|event| (event.t, event.alert.as_str(), event.to)).collect();
        assert_eq!(events, [(5, "b", Firing), (6, "a", Pending), (9, "a", Firing), (9, "b", Inactive)]);
    }

    #[test]
    fn last_128_events_within_the_span_of_the_longest_tier_are_returned() {
        let mut recorder = recorder();
        (1..=200).for_each(|position| recorder.record(position, &alternating(position), &[]));
        let mut events = |tier, position| {
            recorder.record(position, &alternating(200), &[]);
            let events = recorder.read(at(0), tier, None).events;
            (events.len(), events.first().map(|event| event.t))
        };
        assert_eq!(events(None, 200), (128, Some(73)));
        assert_eq!(events(Some(Tier::Minute), 200), (60, Some(141)));
        assert_eq!(events(Some(Tier::Hour), 3700), (100, Some(101)));
        assert_eq!(events(Some(Tier::Day), 86_500), (100, Some(101)));
        assert_eq!(events(None, 90_000), (0, None));
    }

    #[test]
    fn json_has_the_documented_keys() {
        let mut recorder = recorder();
        recorder.record(9, &Snapshot::empty(at(9)), &[]);
        let mut snapshot = Snapshot { unmeasured: Vec::new(), ..Snapshot::empty(at(10)) };
        snapshot.envelopes.rate_per_second = 112.4;
        recorder.record(10, &snapshot, &Section::ALL[2..]);
        recorder.record(20, &Snapshot { rules: alternating(0).rules, ..snapshot }, &[]);
        let mut series = recorder.read(at(20), Some(Tier::Hour), None);
        series.tiers[0].series.retain(|path, _| path == RATE);
        let json = serde_json::to_string(&series).expect("series are JSON");
        let expected = concat!(
            r#"{"at":"1970-01-01T00:00:20Z","started_at":"1970-01-01T00:00:01Z","tiers":[{"name":"hour","step":10,"#,
            r#""end":20,"n":2,"series":{"envelopes.rate_per_second":{"avg":[null,112.4],"min":[null,112.4],"#,
            r#""max":[null,112.4]}},"aspects":{}}],"events":[{"t":20,"alert":"cold","to":"firing"}]}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Series>(&json).expect("reads back"), series);
        let empty = SeriesRecorder::new(at(1)).read(at(2), Some(Tier::Minute), None);
        let json = serde_json::to_string(&empty).expect("series are JSON");
        assert!(json.contains(r#""end":null,"n":0,"series":{},"aspects":{}}],"events":[]}"#), "{json}");
    }

    /// Returns the bytes that a recorder has allocated.
    fn bytes(recorder: &SeriesRecorder) -> usize {
        let SeriesRecorder { gauges, aspects, sample, tiers, events, states, .. } = recorder;
        let tiers: usize = tiers.iter().map(TierRecorder::bytes).sum();
        let names: usize = events.iter().map(|event| event.alert.capacity()).sum();
        let events = events.capacity() * size_of::<SeriesEvent>() + names;
        size_of_val(&**states) + size_of_val(&**gauges) + size_of_val(&**sample) + aspects.bytes() + tiers + events
    }

    #[test]
    fn memory_is_at_most_256_kib_and_flat_over_a_thousand_hours() {
        let mut recorder = recorder();
        let allocated = bytes(&recorder);
        let mut snapshot = with_rules(&[(&"x".repeat(128), AlertState::Inactive)]);
        let names = (0..100).map(|index| format!("{index:0128}"));
        snapshot.envelopes.by_aspect = names.map(|name| (name, 0)).collect();
        let mut position = 0;
        for bucket in 0..12_000 {
            // A sample per 5 minutes, but each second of one bucket in 500.
            let samples = if bucket % 500 == 0 { 300 } else { 1 };
            for _ in 0..samples {
                position += 300 / samples;
                snapshot.rules[0].state = alternating(position).rules[0].state;
                recorder.record(position, &snapshot, &[]);
            }
        }
        assert_eq!(position, 1000 * 3600);
        assert_eq!(bytes(&recorder), allocated + 64 * 128 + MAX_EVENTS * 128 + 1);
        assert!(bytes(&recorder) <= 256 << 10, "{} bytes", bytes(&recorder));
        assert_eq!(read(&recorder, Tier::Day, None).n, 288);
    }

    // Against a model that keeps every sample.

    /// The samples that were recorded, each with its values by path, and its rates by aspect under `rate NAME`.
    #[derive(Default)]
    struct Model {
        rows: BTreeMap<u64, Row>,
        /// The aspects with a series of their own.
        named: Vec<String>,
        counted: Option<(u64, BTreeMap<String, u64>)>,
        /// The latest count of each series.
        latest: BTreeMap<String, u64>,
    }

    fn is_rate(key: &str) -> bool {
        key.starts_with("rate ")
    }

    impl Model {
        fn record(&mut self, position: u64, snapshot: &Snapshot, stale: &[Section]) {
            if self.rows.last_key_value().is_some_and(|(&last, _)| position <= last) {
                return;
            }
            let mut row = Row::new();
            let known = |section: Section| {
                !stale.contains(&section) && !snapshot.unmeasured.iter().any(|name| name == section.as_str())
            };
            if known(Section::Channels) {
                row.insert(ACTIVE.to_owned(), snapshot.channels.total_active as f32);
            }
            if known(Section::Envelopes) {
                let rate = snapshot.envelopes.rate_per_second;
                if rate.is_finite() {
                    #[expect(clippy::cast_possible_truncation)]
                    row.insert(RATE.to_owned(), rate as f32);
                }
                row.extend(self.rates(position, &snapshot.envelopes.by_aspect));
            }
            self.rows.insert(position, row);
        }

        fn rates(&mut self, position: u64, by_aspect: &BTreeMap<String, u64>) -> Row {
            for name in by_aspect.keys() {
                if name != "other" && !self.named.contains(name) && self.named.len() < 64 {
                    self.named.push(name.clone());
                }
            }
            let mut counts = BTreeMap::<String, u64>::new();
            for (name, count) in by_aspect {
                let series = if self.named.contains(name) { name } else { "other" };
                *counts.entry(format!("rate {series}")).or_default() += count;
            }
            let latest = self.latest.clone();
            self.latest.extend(counts.clone());
            let Some((last, before)) = self.counted.replace((position, counts.clone())) else {
                return Row::new();
            };
            let rates = counts.iter().filter_map(|(key, count)| {
                // One that has counted and then was absent begins with a gap.
                let is_new = latest.get(key).is_none_or(|&count| count == 0);
                let before = before.get(key).copied().or_else(|| is_new.then_some(0))?;
                let events = count.checked_sub(before)?;
                #[expect(clippy::cast_possible_truncation)]
                Some((key.clone(), (events as f64 / (position - last) as f64) as f32))
            });
            rates.collect()
        }

        /// Returns the points of a tier by their end, as mean, minimum and maximum.
        fn points(&self, tier: Tier) -> BTreeMap<u64, BTreeMap<String, [f32; 3]>> {
            let (Some((&first, _)), Some((&newest, _))) = (self.rows.first_key_value(), self.rows.last_key_value())
            else {
                return BTreeMap::new();
            };
            let (step, len) = (tier.step(), tier.len() as u64);
            // A sample of the minute tier is complete at once, and ends where it begins.
            let (last, offset) = match tier {
                Tier::Minute => (newest, 0),
                _ if first / step == newest / step => return BTreeMap::new(),
                _ => (newest / step - 1, 1),
            };
            let mut points = BTreeMap::new();
            for index in (first / step).max(last.saturating_sub(len - 1))..=last {
                let begin = index * step;
                let samples: Vec<_> = self.rows.range(begin..=begin + (step - 1)).map(|(_, row)| row).collect();
                let mut point = BTreeMap::new();
                for key in samples.iter().flat_map(|row| row.keys()) {
                    if tier == Tier::Day && is_rate(key) {
                        continue;
                    }
                    let values: Vec<f32> = samples.iter().filter_map(|row| row.get(key).copied()).collect();
                    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
                    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
                    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    #[expect(clippy::cast_possible_truncation)]
                    let mean = mean as f32;
                    // An aspect has no range.
                    point.insert(key.clone(), if is_rate(key) { [mean; 3] } else { [mean, min, max] });
                }
                points.insert((index + offset) * step, point);
            }
            points
        }
    }

    /// Returns the points of a response in the model's form, without the values that the model has not.
    fn points_of(read: &TierSeries) -> BTreeMap<u64, BTreeMap<String, [f32; 3]>> {
        let Some(end) = read.end else {
            assert_eq!((read.n, read.series.len(), read.aspects.len()), (0, 0, 0));
            return BTreeMap::new();
        };
        let ends = (0..read.n as u64).rev().map(|back| end - back * read.step);
        let mut points: BTreeMap<_, _> = ends.map(|end| (end, BTreeMap::new())).collect();
        let mut add = |key: &str, avg: &[Option<f32>], min: &[Option<f32>], max: &[Option<f32>]| {
            assert!([avg, min, max].iter().all(|list| list.len() == read.n), "{key}");
            assert!(avg.iter().any(Option::is_some), "{key} has no value");
            for (point, values) in points.values_mut().zip(avg.iter().zip(min).zip(max)) {
                match values {
                    ((&Some(avg), &Some(min)), &Some(max)) => drop(point.insert(key.to_owned(), [avg, min, max])),
                    values => assert_eq!(values, ((&None, &None), &None)),
                }
            }
        };
        for path in [RATE, ACTIVE] {
            match read.series.get(path) {
                Some(SeriesPoints { avg, min, max }) if read.tier == Tier::Minute => {
                    assert_eq!((min.len(), max.len()), (0, 0));
                    add(path, avg, avg, avg);
                }
                Some(SeriesPoints { avg, min, max }) => add(path, avg, min, max),
                None => {}
            }
        }
        for (name, avg) in &read.aspects {
            add(&format!("rate {name}"), avg, avg, avg);
        }
        points
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// How many seconds pass before the next sample.
        Advance(u64),
        /// Several samples in succession.
        Samples(u64),
        Rate(f64),
        Active(u64),
        /// Sets the counts of aspects.
        Count(BTreeMap<u8, u64>),
        Add(u64),
        Restart,
        Stale(Vec<Section>),
        Unmeasured(Vec<Section>),
        Poll(Tier),
    }

    fn sections() -> impl Strategy<Value = Vec<Section>> {
        subsequence(vec![Section::Channels, Section::Envelopes], 0..=2)
    }

    fn steps() -> impl Strategy<Value = Step> {
        let edges = select(vec![0, 1, 2, 9, 10, 11, 59, 60, 61, 299, 300, 301, 3599, 3600, 3601, 86_400, 1 << 62]);
        prop_oneof![
            4 => edges.prop_map(Step::Advance),
            2 => (0..100_000_u64).prop_map(Step::Advance),
            8 => (1..40_u64).prop_map(Step::Samples),
            1 => (200..400_u64).prop_map(Step::Samples),
            3 => prop_oneof![0.0..1e6, select(vec![f64::NAN, f64::INFINITY, -0.5])].prop_map(Step::Rate),
            3 => any::<u32>().prop_map(|active| Step::Active(active.into())),
            2 => btree_map(0..4_u8, 0..1000_u64, 0..4).prop_map(Step::Count),
            1 => btree_map(0..90_u8, 0..1000_u64, 60..90).prop_map(Step::Count),
            4 => (0..1000_u64).prop_map(Step::Add),
            1 => Just(Step::Restart),
            3 => sections().prop_map(Step::Stale),
            2 => sections().prop_map(Step::Unmeasured),
            5 => select(Tier::ALL.to_vec()).prop_map(Step::Poll),
        ]
    }

    fn config() -> Config {
        let beside_the_source = FileFailurePersistence::WithSource("proptest-regressions");
        Config { failure_persistence: Some(Box::new(beside_the_source)), ..Config::default() }
    }

    proptest! {
        #![proptest_config(config())]

        /// Each tier equals the model's. A client that passes the `end` of a response as `since` of the next gets
        /// each point once, unless it falls behind by more than the tier holds.
        #[test]
        fn tiers_equal_a_model_that_keeps_every_sample(
            start in prop_oneof![0..1000_u64, Just(1_767_225_599), Just(u64::MAX - (1 << 63))],
            steps in vec(steps(), 1..20),
        ) {
            let (mut recorder, mut model) = (recorder(), Model::default());
            let (mut snapshot, mut stale, mut position) = (Snapshot::default(), Vec::new(), start);
            let mut ends = [None; 3];
            for step in steps {
                match step {
                    Step::Advance(seconds) => position = position.saturating_add(seconds),
                    Step::Samples(n) => {
                        for _ in 0..n {
                            snapshot.channels.total_active ^= 1;
                            if let Some(count) = snapshot.envelopes.by_aspect.values_mut().next() {
                                *count += position % 3;
                            }
                            recorder.record(position, &snapshot, &stale);
                            model.record(position, &snapshot, &stale);
                            position = position.saturating_add(1);
                        }
                    }
                    Step::Rate(rate) => snapshot.envelopes.rate_per_second = rate,
                    Step::Active(active) => snapshot.channels.total_active = active,
                    Step::Count(counts) => {
                        // Number 3 is named as the rest.
                        let name = |index| if index == 3 { "other".to_owned() } else { format!("a{index}") };
                        snapshot.envelopes.by_aspect.extend(counts.into_iter().map(|(index, n)| (name(index), n)));
                    }
                    Step::Add(n) => snapshot.envelopes.by_aspect.values_mut().for_each(|count| *count += n),
                    Step::Restart => snapshot.envelopes.by_aspect.clear(),
                    Step::Stale(sections) => stale = sections,
                    Step::Unmeasured(sections) => {
                        snapshot.unmeasured = sections.iter().map(|section| section.as_str().to_owned()).collect();
                    }
                    Step::Poll(tier) => {
                        let since = &mut ends[tier as usize];
                        let read = read(&recorder, tier, *since);
                        let mut expected = model.points(tier);
                        expected.retain(|&end, _| since.is_none_or(|since| end > since));
                        prop_assert_eq!(points_of(&read), expected);
                        *since = read.end;
                    }
                }
            }
            for tier in Tier::ALL {
                prop_assert_eq!(points_of(&read(&recorder, tier, None)), model.points(tier));
            }
        }
    }
}
