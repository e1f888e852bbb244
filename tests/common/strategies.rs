//! What the property tests generate, and how they run.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError};

pub(crate) type Checked = Result<(), TestCaseError>;

/// Keeps a failure beside the test file, in `NAME.proptest-regressions`, and tries it first from then on: check that
/// file in. `PROPTEST_CASES` overrides the 256 cases of each property.
pub(crate) fn config() -> Config {
    // proptest's default searches the parents of the test file for `lib.rs` and finds none.
    let beside_the_test = FileFailurePersistence::WithSource("proptest-regressions");
    Config { failure_persistence: Some(Box::new(beside_the_test)), max_shrink_time: 60_000, ..Config::default() }
}

/// From zero to centuries, often to the nanosecond where a window begins or a ring wraps around.
pub(crate) fn spans() -> impl Strategy<Value = Duration> + Clone {
    let units = select(vec![1, 60]);
    let edges = (select(vec![1, 30, 59, 60, 61, 63, 64, 65, 128]), units, -1..=1i64);
    prop_oneof![
        1 => Just(Duration::ZERO),
        4 => (0..2_000_000_000u64).prop_map(Duration::from_nanos),
        2 => (0..120_000_000_000u64).prop_map(Duration::from_nanos),
        4 => (0..130u64).prop_map(Duration::from_secs),
        3 => (0..130u64).prop_map(|minutes| Duration::from_secs(60 * minutes)),
        4 => edges.prop_map(|(ticks, unit, off)| {
            let nanos = i64::from(ticks * unit) * 1_000_000_000 + off;
            Duration::from_nanos(nanos.unsigned_abs())
        }),
        1 => (1..100u64).prop_map(|hours| Duration::from_secs(3600 * hours)),
        1 => (1..400u64).prop_map(|years| Duration::from_secs(365 * 24 * 3600 * years)),
    ]
}
