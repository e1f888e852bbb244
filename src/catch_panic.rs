//! Isolates panics of code that is not ours: sources, rules, callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the result of `call`, or `None` if it panics.
///
/// Asserts unwind safety: callers of this function do not mutate their own state inside `call`, and
/// whatever else it captures belongs to the code that panicked.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    let payload = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    // Dropping the payload may panic in turn. The payload of that panic is leaked, since dropping it
    // could panic again.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    None
}
