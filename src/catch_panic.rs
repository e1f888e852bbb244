//! Calls into code of the embedder, which may panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `call`. If it panics, returns the panic's message.
///
/// Unwind safe, because no caller changes anything of its own in the closure, and what the closure captures is for
/// its owner to keep consistent.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let payload = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => return Ok(value),
        Err(payload) => payload,
    };
    let message = message(&*payload);
    // Dropping the payload can panic in turn. The payload of that panic is leaked.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    Err(message)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| "panicked".to_owned(), |text| shorten(format!("panicked: {text}")))
}

/// Cuts the message of an error after 200 characters.
pub(crate) fn shorten(mut error: String) -> String {
    if let Some((end, _)) = error.char_indices().nth(200) {
        error.truncate(end);
        error.push('…');
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    #[test]
    fn panic_is_returned_with_its_message() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        let of = |panic: fn()| catch_panic(panic).expect_err("a panic");
        assert_eq!(of(|| panic!("no table")), "panicked: no table");
        assert_eq!(of(|| panic!("{} tables", 2)), "panicked: 2 tables");
        assert_eq!(of(|| panic_any(7)), "panicked");
    }

    #[test]
    fn payload_that_panics_when_dropped_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(Bomb);
            }
        }
        assert_eq!(catch_panic(|| panic_any(Bomb)), Err("panicked".to_owned()));
    }

    #[test]
    fn long_error_is_cut_on_a_character_boundary() {
        assert_eq!(shorten("é".repeat(200)), "é".repeat(200));
        assert_eq!(shorten("é".repeat(201)), "é".repeat(200) + "…");
    }
}
