//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything. Only a test that fails waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `check` until it returns a value. Panics after [`DEADLINE`].
pub(crate) fn poll<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    try_poll(check).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// Calls `check` until it returns a value. Returns `None` after [`DEADLINE`].
pub(crate) fn try_poll<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        let value = check();
        if value.is_some() {
            return value;
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
