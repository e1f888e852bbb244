//! What the benchmarks and the report of `parsec-telemetry` beside its peers have in common. See
//! `README.md`.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

pub mod figures;
pub mod http;
pub mod subjects;

/// Counts that criterion is told are one iteration, whose time is then divided by as many: it learns
/// how many iterations fill a sample by doubling them from one, and where more threads than cores
/// have to be started for each try, it would be done warming up before it got anywhere.
pub const AT_ONCE: u32 = 1_000;

/// Holds this thread to a core, where the system lets it: a process that is itself held to some
/// cores may not choose others.
pub fn stay_on_core(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// What this thread has had of a processor so far.
#[must_use]
pub fn processor_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// What all threads of this process have had of a processor so far.
#[must_use]
pub fn processor_time_of_all() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
