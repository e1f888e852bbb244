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
pub use tier::{Tier, UnknownTier};

/// The number of transitions that are kept.
const MAX_EVENTS: usize = 128;

/// Records samples and transitions. Memory is allocated once, except for names: those of 64 aspects and of the rules
/// of 128 transitions.
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
        for (value, gauge) in scalars.iter_mut().zip(&self.gauges) {
            if is_known(gauge.section) {
                *value = single((gauge.read)(snapshot));
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

    /// Returns the points of one tier, or of all, that end after `since`, and the transitions within the span of the
    /// longest of these tiers before `at`.
    ///
    /// The `end` of the minute tier can serve as `since` for all tiers: a bucket that ends later is not complete yet.
    pub(crate) fn read(&self, at: SystemTime, tier: Option<Tier>, since: Option<u64>) -> Series {
        let tiers: Vec<_> = Tier::ALL.into_iter().filter(|&each| tier.is_none_or(|tier| tier == each)).collect();
        let span = tiers.iter().map(|tier| tier.step() * tier.len() as u64).max().unwrap_or(0);
        let start = unix_seconds(at).saturating_sub(span);
        let events = self.events.iter().filter(|event| event.t >= start);
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
        let series = scalars.filter_map(|(column, gauge)| Some((gauge.path.to_owned(), recorder.points(column, n)?)));
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

/// Returns 0 for a time before 1970.
fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
