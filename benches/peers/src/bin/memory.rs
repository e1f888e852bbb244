//! Prints the bytes of a shard with 64 aspects, and the allocations of 2,000 events after a thread's first.
//!
//! A process of its own, since counting allocations slows down what the main program measures.

use std::alloc::System;
use std::hint::black_box;

use parsec_telemetry::{CoarseClock, EnvelopeCounters, ManualClock};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../../../support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    // Allocated once for the whole process.
    drop(CoarseClock::shared());
    let recorded = |threads| support::recorded(ManualClock::new().clock(), threads, 64);
    bytes_held(|| recorded(1));
    // Both numbers are beyond the shards that a counter allocates in advance.
    let (few, many) = (256, 512);
    let difference = bytes_held(|| recorded(many)) - bytes_held(|| recorded(few));
    println!("{} {}", difference / (many - few), allocations());
}

fn bytes_held<T>(make: impl FnOnce() -> T) -> usize {
    let region = Region::new(ALLOCATOR);
    let _held = make();
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

fn allocations() -> usize {
    let envelopes = EnvelopeCounters::new();
    let data = envelopes.aspect("data");
    data.observe();
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        data.observe();
        envelopes.observe(black_box("data"));
    }
    let change = region.change();
    change.allocations + change.reallocations
}
