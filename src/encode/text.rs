//! What the text pages are written with.
//!
//! All of a page but its numbers and labels is known beforehand: what stands between two numbers is
//! one literal, copied whole.

use crate::encode::escapes::Escapes;
use crate::encode::number::Number;

/// What stands before the samples of a family. A macro, since only a macro makes one literal of them.
macro_rules! header {
    ($kind:literal, $family:literal, $help:literal) => {
        concat!(
            "# HELP ",
            $family,
            " ",
            $help,
            "\n# TYPE ",
            $family,
            " ",
            $kind,
            "\n"
        )
    };
}

/// What stands before the value of a family that is one gauge without labels.
macro_rules! gauge {
    ($family:literal, $help:literal) => {
        concat!(
            $crate::encode::text::header!("gauge", $family, $help),
            $family,
            " "
        )
    };
}

/// What stands before the value of a family that is one counter without labels.
#[cfg(feature = "serve")]
macro_rules! counter {
    ($family:literal, $help:literal) => {
        concat!(
            $crate::encode::text::header!("counter", $family, $help),
            $family,
            " "
        )
    };
}

#[cfg(feature = "serve")]
pub(crate) use counter;
pub(crate) use {gauge, header};

/// A page in the making.
pub(crate) struct Page<'a>(&'a mut Vec<u8>);

impl<'a> Page<'a> {
    /// Goes on where the buffer ends.
    pub(crate) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self(buffer)
    }

    /// A family of one sample without labels: `before` is what [`gauge!`] makes, or its like.
    pub(crate) fn single(&mut self, before: &str, value: impl Number) {
        self.text(before);
        self.value(value);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The end of a sample.
    pub(crate) fn value(&mut self, value: impl Number) {
        value.write(self.0);
        self.0.push(b'\n');
    }

    /// A label's value with `\`, `"` and newline escaped, as the format asks.
    pub(crate) fn label(&mut self, value: &str) {
        const ESCAPES: Escapes<3> = Escapes {
            below: 0,
            others: [b'\\', b'"', b'\n'],
        };
        if ESCAPES.are_in(value) {
            self.escaped(value);
        } else {
            self.text(value);
        }
    }

    #[cold]
    fn escaped(&mut self, value: &str) {
        let mut rest = value.as_bytes();
        while let Some(at) = rest
            .iter()
            .position(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
        {
            self.0.extend_from_slice(&rest[..at]);
            let escaped = if rest[at] == b'\n' { b'n' } else { rest[at] };
            self.0.extend_from_slice(&[b'\\', escaped]);
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
    }
}
