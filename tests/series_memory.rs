//! The memory of a monitor with series: at most 256 KiB, and flat.
//!
//! Allocations are measured over all threads, so that this file has a single test.

mod common;

use std::alloc::System;
use std::time::Duration;

use common::sources::Reports;
use parsec_telemetry::{Aggregator, AlertRule, EnvelopeStats, ManualClock, Monitor, Severity};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[test]
fn monitor_allocates_at_most_256_kib_and_no_more_in_a_thousand_hours() {
    let clock = ManualClock::new();
    // More aspects than have series of their own, with the longest names, and a rule that changes with each sample.
    let names = (0..100).map(|index| format!("{index:0128}"));
    let envelopes = EnvelopeStats { by_aspect: names.map(|name| (name, 1)).collect(), ..Default::default() };
    let now = clock.clock();
    let rule = AlertRule::new("r".repeat(128), Severity::Info, move |_| {
        now.now().duration_since(std::time::UNIX_EPOCH).is_ok_and(|elapsed| elapsed.as_secs() / 300 % 2 == 0)
    });
    let aggregator = Aggregator::new()
        .clock(clock.clock())
        .source(Reports { envelopes: Some(envelopes), ..Reports::default() })
        .with_alerts(vec![rule])
        .expect("a valid rule");
    drop(aggregator.snapshot());

    let before = allocated();
    let monitor = Monitor::start(&aggregator);
    let tick = |n: u32, seconds| {
        for _ in 0..n {
            clock.advance(Duration::from_secs(seconds));
            monitor.tick();
        }
        allocated()
    };
    // A day fills every tier and the events.
    tick(4000, 1);
    let filled = tick(288, 300);
    assert!(filled - before <= 256 << 10, "{} bytes", filled - before);

    // The test runner may allocate a little meanwhile.
    let is_flat = |allocated: usize| allocated.abs_diff(filled) < 1024;
    assert!(is_flat(tick(12_000, 300)));
    assert!(is_flat(tick(4000, 1)));
    let series = monitor.series();
    assert_eq!(series.events.len(), 128);
    assert_eq!(series.tiers.iter().map(|tier| tier.n).collect::<Vec<_>>(), [60, 360, 288]);
    drop(series);
    assert!(is_flat(allocated()));
}
