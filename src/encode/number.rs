//! Numbers as the pages print them, without the detour through `core::fmt`.

use crate::snapshot::finite_or_zero;

/// A sample's value.
pub(crate) trait Number {
    /// Appends the number to a page.
    fn write(self, page: &mut Vec<u8>);
}

impl Number for u64 {
    fn write(self, page: &mut Vec<u8>) {
        page.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

impl Number for i64 {
    fn write(self, page: &mut Vec<u8>) {
        page.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

/// The fewest digits that read back to the same value, with an exponent where a plain number would
/// be long. A whole number has no fraction.
impl Number for f64 {
    fn write(self, page: &mut Vec<u8>) {
        let mut buffer = zmij::Buffer::new();
        let digits = buffer.format_finite(finite_or_zero(self));
        page.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: impl Number) -> String {
        let mut page = Vec::new();
        number.write(&mut page);
        String::from_utf8(page).expect("digits")
    }

    #[test]
    fn numbers_print_short_and_read_back() {
        let printed = [
            0.0,
            -0.0,
            100.0,
            1e-7,
            0.1,
            1.0 / 3.0,
            1e300,
            f64::MIN_POSITIVE,
        ]
        .map(text);
        let expected = [
            "0",
            "-0",
            "100",
            "1e-7",
            "0.1",
            "0.3333333333333333",
            "1e+300",
            "2.2250738585072014e-308",
        ];
        assert_eq!(printed, expected);
        assert_eq!(
            (text(u64::MAX), text(i64::MIN)),
            (u64::MAX.to_string(), i64::MIN.to_string())
        );
        assert_eq!([f64::NAN, f64::INFINITY].map(text), ["0", "0"]);
    }
}
