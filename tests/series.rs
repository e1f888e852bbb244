//! What a reader of the series gets from a monitor.
//!
//! The tiers are compared with a model of every sample in the unit tests of `src/series`.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use common::SECOND;
use parsec_telemetry::{
    Aggregator, ChannelStats, EnvelopeStats, ManualClock, Monitor, Report, Schedule, Source, SourceError, Tier,
    TierSeries,
};

const RATE: &str = "envelopes.rate_per_second";
const ACTIVE: &str = "channels.total_active";

/// Reports what a test sets, or fails.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    envelopes: u64,
    fails: bool,
}

impl Broker {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Source for Broker {
    fn schedule(&self) -> Schedule {
        Schedule::Inline
    }

    fn collect(&self) -> Result<Report, SourceError> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fails {
            return Err("no answer".into());
        }
        let by_aspect = BTreeMap::from([("data".to_owned(), state.envelopes)]);
        Ok(Report {
            envelopes: Some(EnvelopeStats { rate_per_second: state.envelopes as f64, by_aspect }),
            ..Report::default()
        })
    }
}

struct Setup {
    clock: ManualClock,
    broker: Broker,
    monitor: Monitor,
}

impl Setup {
    /// The channels are reported by a source of their own, which always answers.
    fn new() -> Self {
        let (clock, broker) = (ManualClock::new(), Broker::default());
        let channels = common::sources::Reports {
            channels: Some(ChannelStats { total_active: 5, ..ChannelStats::default() }),
            ..Default::default()
        };
        let aggregator = Aggregator::new().clock(clock.clock()).source(broker.clone()).source(channels);
        let monitor = Monitor::start(&aggregator);
        Self { clock, broker, monitor }
    }

    fn tick_after(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.monitor.tick();
    }

    fn read(&self, tier: Tier, since: Option<u64>) -> TierSeries {
        self.monitor.series_since(Some(tier), since).tiers.remove(0)
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }
}

#[test]
fn stale_source_leaves_a_gap_in_its_sections_only() {
    let setup = Setup::new();
    for (envelopes, fails) in [(10, false), (20, false), (90, true), (50, false)] {
        setup.broker.set(|state| *state = State { envelopes, fails });
        setup.tick_after(1);
    }
    let minute = setup.read(Tier::Minute, None);
    assert_eq!(minute.end, Some(setup.now()));
    assert_eq!(minute.series[RATE].avg, [Some(10.0), Some(20.0), None, Some(50.0)]);
    assert_eq!(minute.series[ACTIVE].avg, [Some(5.0); 4]);
    // After the gap, the mean since the last good sample.
    assert_eq!(minute.aspects["data"], [None, Some(10.0), None, Some(15.0)]);
    // Sections without a source have no series.
    assert_eq!(minute.series.keys().collect::<Vec<_>>(), [ACTIVE, RATE]);
}

#[test]
fn restart_of_a_counter_is_a_gap_of_its_aspect() {
    let setup = Setup::new();
    for envelopes in [100, 103, 2, 4] {
        setup.broker.set(|state| state.envelopes = envelopes);
        setup.tick_after(1);
    }
    let minute = setup.read(Tier::Minute, None);
    assert_eq!(minute.aspects["data"], [None, Some(3.0), None, Some(2.0)]);
    assert_eq!(minute.series[RATE].avg.len(), 4);
}

#[test]
fn clients_that_pass_back_the_end_get_each_point_once_whatever_their_period() {
    let setup = Setup::new();
    let mut clients = Vec::new();
    for (tier, period) in [(Tier::Minute, 1), (Tier::Minute, 59), (Tier::Hour, 1), (Tier::Hour, 37), (Tier::Day, 299)] {
        clients.push((tier, period, None, Vec::new()));
    }
    for second in 1..=1500 {
        setup.broker.set(|state| state.envelopes = second);
        setup.tick_after(1);
        for (tier, _, since, received) in clients.iter_mut().filter(|(_, period, ..)| second % period == 0) {
            let read = setup.read(*tier, *since);
            received.extend(read.series.get(RATE).map_or(Vec::new(), |points| points.avg.clone()));
            *since = read.end;
        }
    }
    for (tier, period, since, received) in clients {
        let rest = setup.read(tier, since).series.remove(RATE).map_or(Vec::new(), |points| points.avg);
        let received: Vec<_> = received.into_iter().chain(rest).collect();
        assert!(received.is_sorted(), "{tier:?} every {period} s: {received:?}");
        let whole = setup.read(tier, None);
        assert!(received.ends_with(&whole.series[RATE].avg), "{tier:?} every {period} s");
        let expected = match tier {
            Tier::Minute => 1500,
            // The first bucket is shorter, so that there may be one more.
            _ => 1500 / usize::try_from(whole.step).expect("small"),
        };
        assert!((expected..=expected + 1).contains(&received.len()), "{tier:?} every {period} s: {}", received.len());
    }
}

#[test]
fn end_of_the_minute_tier_serves_as_since_of_all_tiers() {
    let setup = Setup::new();
    let (mut since, mut received) = (None, [0; 3]);
    for _ in 0..700 {
        setup.tick_after(1);
        let series = setup.monitor.series_since(None, since);
        for (received, tier) in received.iter_mut().zip(&series.tiers) {
            *received += tier.n;
        }
        since = series.tiers[0].end;
    }
    let whole = setup.monitor.series();
    assert_eq!(received, [700, whole.tiers[1].n, whole.tiers[2].n]);
    assert!(whole.tiers[2].n >= 2);
}

#[test]
fn process_that_was_stopped_for_hours_goes_on_after_a_gap() {
    let setup = Setup::new();
    for seconds in [1, 1, 10 * 3600, 1, 600] {
        setup.tick_after(seconds);
    }
    let minute = setup.read(Tier::Minute, None);
    assert_eq!((minute.end, minute.n), (Some(setup.now()), 60));
    let day = setup.read(Tier::Day, None);
    assert_eq!(day.series[ACTIVE].avg.iter().filter(|point| point.is_some()).count(), 2);
    assert!((121..=123).contains(&day.n), "{}", day.n);
    assert_eq!(day.end.map(|end| end % 300), Some(0));
    assert_eq!(SECOND.as_secs(), minute.step);
}
