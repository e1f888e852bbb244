//! The glob patterns that channel names have to match.
//!
//! The pattern that a name matches becomes a label on the telemetry pages. Channel names do not: their number is
//! unbounded, and they may reveal which users talk to each other.

use std::sync::Arc;

use crate::error::ApiError;
use crate::limits;

#[derive(Clone)]
pub(crate) struct Patterns(Vec<Arc<str>>);

impl Patterns {
    pub(crate) fn new(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            if !is_name(&pattern.replace('*', "x")) {
                return Err(format!(
                    "invalid --pattern '{pattern}': use 1 to {} letters, digits, and . _ - : *",
                    limits::MAX_NAME_BYTES
                ));
            }
        }
        Ok(Self(patterns.into_iter().map(Arc::from).collect()))
    }

    pub(crate) fn as_slice(&self) -> &[Arc<str>] {
        &self.0
    }

    /// Returns the first pattern that matches `name`.
    pub(crate) fn match_name(&self, name: &str) -> Result<&Arc<str>, ApiError> {
        if !is_name(name) {
            return Err(ApiError::bad_request(format!(
                "invalid channel name: use 1 to {} letters, digits, and . _ - :",
                limits::MAX_NAME_BYTES
            )));
        }
        self.0.iter().find(|pattern| matches(pattern, name)).ok_or_else(|| {
            ApiError::bad_request(format!(
                "channel {name} matches no pattern: use a name that matches one of {}, or add one with --pattern",
                self.0.join(", ")
            ))
        })
    }
}

/// Whether `text` may be the name of a channel or an aspect. A line break would end the field of a server-sent event,
/// so only these characters are allowed.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=limits::MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
}

/// `*` matches any sequence of characters, including none.
fn matches(pattern: &str, name: &str) -> bool {
    let mut literals = pattern.split('*');
    let first = literals.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = literals.next_back() else {
        return rest.is_empty();
    };
    for literal in literals {
        // The leftmost occurrence leaves the longest rest for the literals that follow.
        let Some((_, after)) = rest.split_once(literal) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}
