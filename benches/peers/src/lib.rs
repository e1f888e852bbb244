//! What the benchmarks and the report of `parsec-telemetry` beside its peers both have to know. See
//! `README.md`.

/// Counts that criterion is told are one iteration, whose time is then divided by as many: it learns
/// how many iterations fill a sample by doubling them from one, and where more threads than cores
/// have to be started for each try, it would be done warming up before it got anywhere.
pub const AT_ONCE: u32 = 1_000;
