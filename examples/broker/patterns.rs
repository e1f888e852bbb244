//! Which channels there may be: globs, of which a name must fit one.
//!
//! The pattern that a name fits becomes a label on the page. Channel names never do: there may be
//! very many of them, and they may say who talks to whom. Patterns are few, and the operator has
//! written them.

use std::sync::Arc;

use crate::limits;
use crate::reply::Refusal;

#[derive(Clone)]
pub(crate) struct Grammar {
    patterns: Vec<Arc<str>>,
}

impl Grammar {
    pub(crate) fn new(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            if !is_name(&pattern.replace('*', "x")) {
                return Err(format!(
                    "--pattern '{pattern}': not a pattern, which is up to {} letters, digits, and . _ - : *",
                    limits::NAME
                ));
            }
        }
        let patterns = patterns.into_iter().map(Arc::from).collect();
        Ok(Self { patterns })
    }

    pub(crate) fn patterns(&self) -> &[Arc<str>] {
        &self.patterns
    }

    /// The first pattern that `name` fits.
    pub(crate) fn pattern_of(&self, name: &str) -> Result<&Arc<str>, Refusal> {
        if !is_name(name) {
            return Err(Refusal::bad_request(format!(
                "not a channel name: use 1 to {} letters, digits, and . _ - :",
                limits::NAME
            )));
        }
        self.patterns.iter().find(|glob| fits(glob, name)).ok_or_else(|| {
            Refusal::bad_request(format!(
                "channel {name} fits none of this broker's patterns: use a name that fits one of {}, \
                 or start the broker with --pattern",
                self.patterns.join(", ")
            ))
        })
    }
}

/// Names end up in server-sent events, where a line break would end the field: so no text, but
/// these few characters.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=limits::NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
}

/// `*` stands for any run of characters, the empty one included.
fn fits(glob: &str, name: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        // The leftmost place leaves the most for the pieces to come.
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}
