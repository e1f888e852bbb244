//! Calling what others wrote.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a source, a rule or the like returns; `None` if it panicked, however it did.
///
/// Unwind safe, because no caller changes anything of its own in the closure, and what the
/// closure's own captures hold is their owner's to keep whole.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let payload = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    // What the panic carried may panic in turn when it is dropped. What that panic carries is not
    // given the chance.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    None
}
