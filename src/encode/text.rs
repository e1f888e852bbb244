//! What the text pages are written with.
//!
//! The two formats differ in how a counter's family is named and in how a page ends: see
//! [`opening!`] and [`Page::end`]. The rest is one.
//!
//! All of a page but its numbers and labels is known beforehand: what stands between two numbers is
//! one literal, copied whole.

use crate::encode::Format;
use crate::encode::escapes::Escapes;
use crate::encode::number::Number;

/// What a family begins with, in each format.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) prometheus: &'static str,
    pub(crate) openmetrics: &'static str,
}

/// The [`Opening`] of a family, and what else stands before its first number.
///
/// A counter is given by the name of its family in OpenMetrics, to which the text format, and each
/// sample in both, adds `_total`.
///
/// A macro, since only a macro makes one literal of them.
macro_rules! opening {
    (counter, $stem:literal, $help:literal $(, $more:literal)*) => {
        $crate::encode::text::Opening {
            prometheus: concat!(
                "# HELP ", $stem, "_total ", $help, "\n# TYPE ", $stem, "_total counter\n" $(, $more)*
            ),
            openmetrics: concat!(
                "# HELP ", $stem, " ", $help, "\n# TYPE ", $stem, " counter\n" $(, $more)*
            ),
        }
    };
    ($kind:ident, $family:literal, $help:literal $(, $more:literal)*) => {{
        const TEXT: &str = concat!(
            "# HELP ", $family, " ", $help, "\n# TYPE ", $family, " ", stringify!($kind), "\n"
            $(, $more)*
        );
        $crate::encode::text::Opening {
            prometheus: TEXT,
            openmetrics: TEXT,
        }
    }};
}

/// The [`Opening`] of a family that is one gauge without labels, up to its value.
macro_rules! gauge {
    ($family:literal, $help:literal) => {
        $crate::encode::text::opening!(gauge, $family, $help, $family, " ")
    };
}

/// The same of a counter, by its name without `_total`.
#[cfg(feature = "serve")]
macro_rules! counter {
    ($stem:literal, $help:literal) => {
        $crate::encode::text::opening!(counter, $stem, $help, $stem, "_total ")
    };
}

#[cfg(feature = "serve")]
pub(crate) use counter;
pub(crate) use {gauge, opening};

/// What is escaped in a label's value.
const ESCAPES: Escapes<3> = Escapes {
    below: 0,
    others: [b'\\', b'"', b'\n'],
};

/// A page in the making, in one of the two text formats.
pub(crate) struct Page<'a> {
    buffer: &'a mut Vec<u8>,
    format: Format,
}

impl<'a> Page<'a> {
    /// Goes on where the buffer ends.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, format: Format) -> Self {
        Self { buffer, format }
    }

    /// The page ends: in OpenMetrics it says so.
    pub(crate) fn end(self) {
        if self.format == Format::OpenMetrics {
            self.buffer.extend_from_slice(b"# EOF\n");
        }
    }

    /// A family begins.
    #[inline]
    pub(crate) fn family(&mut self, opening: Opening) {
        if self.format == Format::OpenMetrics {
            self.text(opening.openmetrics);
        } else {
            self.text(opening.prometheus);
        }
    }

    /// A family of one sample without labels.
    #[inline]
    pub(crate) fn single(&mut self, opening: Opening, value: impl Number) {
        self.family(opening);
        self.value(value);
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// The end of a sample.
    pub(crate) fn value(&mut self, value: impl Number) {
        value.write(self.buffer);
        self.buffer.push(b'\n');
    }

    /// A label's value with `\`, `"` and newline escaped, as the format asks.
    pub(crate) fn label(&mut self, value: &str) {
        if ESCAPES.are_in(value) {
            self.escaped(value);
        } else {
            self.text(value);
        }
    }

    #[cold]
    fn escaped(&mut self, value: &str) {
        let mut rest = value.as_bytes();
        while let Some(at) = rest.iter().position(|byte| ESCAPES.others.contains(byte)) {
            self.buffer.extend_from_slice(&rest[..at]);
            let escaped = if rest[at] == b'\n' { b'n' } else { rest[at] };
            self.buffer.extend_from_slice(&[b'\\', escaped]);
            rest = &rest[at + 1..];
        }
        self.buffer.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut buffer = b"before ".to_vec();
        let mut page = Page::new(&mut buffer, format);
        page.single(
            opening!(counter, "a", "Of all, a_total is one.", "a_total "),
            1_u64,
        );
        page.single(gauge!("total_users", "Not one, nor is b_total."), 2_u64);
        page.end();
        String::from_utf8(buffer).expect("UTF-8")
    }

    #[test]
    fn openmetrics_names_the_family_of_a_counter_without_its_suffix_and_ends_the_page() {
        let rest = "\
# HELP total_users Not one, nor is b_total.
# TYPE total_users gauge
total_users 2
";
        let text = format!(
            "before # HELP a_total Of all, a_total is one.\n# TYPE a_total counter\na_total 1\n{rest}"
        );
        let openmetrics = format!(
            "before # HELP a Of all, a_total is one.\n# TYPE a counter\na_total 1\n{rest}# EOF\n"
        );
        assert_eq!(page(Format::Prometheus), text);
        assert_eq!(page(Format::OpenMetrics), openmetrics);
    }
}
