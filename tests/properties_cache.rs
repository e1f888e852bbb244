//! A cache source agrees with the list of all its readings.
//!
//! Property: the hour slides over what the cache's counters gained, and a counter gains evenly between two readings.
//! A reading with a counter below its last value is ignored, unless it is the second one, at least a second after the
//! first, not below it and not all zeros: then all counters have started again from zero. Of readings less than 15
//! seconds apart, the source may discard some.
//!
//! See [`config`] for where failures are kept.

mod common;

use std::time::Duration;

use common::model::{Nanos, nanos};
use common::sources::ManualCache;
use common::strategies::{config, spans};
use common::{HOUR, SECOND};
use parsec_telemetry::{CacheCounters, CacheSource, ManualClock, Source};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Op {
    Advance(Duration),
    /// To where the hour begins this many nanoseconds after a reading.
    AdvanceToEdge(Index, i64),
    Gain([u64; 3]),
    /// From these counts on. Where none is below its last reading, no source can detect it.
    Restart([u64; 3]),
    Check,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // So small that a source's gains fit into 64 bits.
    let amount = || prop_oneof![1 => Just(0), 4 => 0..1000u64, 1 => 0..1u64 << 50];
    let amounts = (amount(), amount(), amount()).prop_map(<[u64; 3]>::from);
    let short = (1..30_000_000_000u64).prop_map(Duration::from_nanos);
    let near = -30_000_000_000..=30_000_000_000i64;
    let op = prop_oneof![
        3 => spans().prop_map(Op::Advance),
        5 => short.prop_map(Op::Advance),
        2 => (any::<Index>(), near).prop_map(|(reading, off)| Op::AdvanceToEdge(reading, off)),
        8 => amounts.clone().prop_map(Op::Gain),
        1 => amounts.prop_map(Op::Restart),
        8 => Just(Op::Check),
    ];
    vec(op, 0..100)
}

/// The time of each reading, and what hits, misses and evictions had gained until then.
struct Readings(Vec<(Nanos, [Nanos; 3])>);

impl Readings {
    /// The least and the most that a counter can have gained in the hour before `now`.
    ///
    /// They are equal where the readings before and after the hour's beginning are at least 15 seconds apart: the
    /// source has discarded neither. Elsewhere the truth is between the readings of less than 15 seconds before and
    /// after.
    fn last_hour(&self, now: Nanos, counter: usize) -> [Nanos; 2] {
        let min_spacing = nanos(15 * SECOND);
        let edge = now - nanos(HOUR);
        let total = self.0.last().expect("the first reading").1[counter];
        let later = self.0.partition_point(|(at, _)| *at <= edge);
        if later == 0 {
            return [total, total];
        }
        if later == self.0.len() {
            return [0, 0];
        }
        let (before, after) = (self.0[later - 1], self.0[later]);
        let apart = after.0 - before.0;
        if apart >= min_spacing {
            let gained = (after.1[counter] - before.1[counter]) * (edge - before.0);
            let at_edge = before.1[counter] + (2 * gained + apart) / (2 * apart);
            return [total - at_edge, total - at_edge];
        }
        let near = edge - min_spacing + 1..edge + min_spacing;
        let near = self.0.iter().filter(|(at, _)| near.contains(at));
        let near: Vec<Nanos> = near.map(|(_, gains)| gains[counter]).collect();
        [total - near[near.len() - 1], total - near[0]]
    }
}

fn percentage(hits: Nanos, misses: Nanos) -> f64 {
    if hits == 0 { 0.0 } else { 100.0 * hits as f64 / (hits + misses) as f64 }
}

proptest! {
    #![proptest_config(config())]

    /// Evictions are exact; a hit rate is off by the rounding of three operations on floats.
    #[test]
    fn cache_source_after_any_operations_agrees_with_its_readings(phase in spans(), ops in ops()) {
        let (clock, cache) = (ManualClock::new(), ManualCache::default());
        let start = clock.now();
        clock.advance(phase);
        let source = CacheSource::new(cache.clone()).clock(clock.clock());
        let elapsed = || nanos(clock.now().duration_since(start).expect("the clock is monotonic"));
        let mut readings = Readings(vec![(elapsed(), [0; 3])]);
        let (mut counters, mut seen, mut fallen) = ([0; 3], [0; 3], None::<(Nanos, [u64; 3])>);
        for op in ops.iter().chain([&Op::Check]) {
            match *op {
                Op::Advance(by) => clock.advance(by),
                Op::AdvanceToEdge(reading, off) => {
                    let to = reading.get(&readings.0).0 + nanos(HOUR) + Nanos::from(off);
                    let by = u64::try_from(to - elapsed()).unwrap_or_default();
                    clock.advance(Duration::from_nanos(by));
                }
                Op::Gain(gains) => (0..3).for_each(|at| counters[at] += gains[at]),
                Op::Restart(from) => counters = from,
                Op::Check => {
                    let [hits, misses, evictions] = counters;
                    let sizes @ [size_entries, size_bytes] = [hits.rotate_left(32), u64::MAX - misses];
                    cache.set(CacheCounters {
                        hits,
                        misses,
                        evictions,
                        puts: hits ^ misses,
                        size_entries,
                        size_bytes,
                    });
                    let stats = source.cache().expect("a cache source reports the cache");

                    let now = elapsed();
                    let is_below = |mark: [u64; 3]| (0..3).any(|at| counters[at] < mark[at]);
                    let held = if is_below(seen) {
                        let first = fallen.filter(|&(_, first)| !is_below(first)).unwrap_or((now, counters));
                        let is_restart = now - first.0 >= nanos(SECOND) && counters != [0; 3];
                        fallen = Some(first);
                        if is_restart {
                            seen = [0; 3];
                        }
                        !is_restart
                    } else {
                        false
                    };
                    if !held {
                        let (_, mut gains) = *readings.0.last().expect("the first reading");
                        (0..3).for_each(|at| gains[at] += Nanos::from(counters[at] - seen[at]));
                        readings.0.push((now, gains));
                        (seen, fallen) = (counters, None);
                    }

                    let [hits, misses, evictions] = [0, 1, 2].map(|at| readings.last_hour(now, at));
                    let read = Nanos::from(stats.evictions_last_hour);
                    prop_assert!((evictions[0]..=evictions[1]).contains(&read), "{read} of {evictions:?} evictions");
                    let (least, most) = (percentage(hits[0], misses[1]), percentage(hits[1], misses[0]));
                    let read = stats.hit_rate_pct;
                    let may_be_empty = hits[0] + misses[0] == 0;
                    prop_assert!(
                        may_be_empty && read.is_nan() || (least * (1.0 - 1e-15)..=most * (1.0 + 1e-15)).contains(&read),
                        "a hit rate of {read} outside of {least}..={most}: {hits:?} hits, {misses:?} misses",
                    );
                    prop_assert_eq!([stats.size_entries, stats.size_bytes], sizes);
                }
            }
        }
    }
}
