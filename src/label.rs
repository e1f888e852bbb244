//! The length limit of label values.

use std::borrow::Cow;

/// The longest label value, in bytes.
pub(crate) const MAX_LABEL_LEN: usize = 128;

/// What is left of a longer value, before `~` and a hash of 16 digits.
const CUT_LEN: usize = MAX_LABEL_LEN - 17;

/// Returns a value of at most [`MAX_LABEL_LEN`] bytes. A longer one is cut on a character boundary, and ends in the
/// FNV-1a hash of the whole.
pub(crate) fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= MAX_LABEL_LEN {
        return Cow::Borrowed(value);
    }
    let end = (0..=CUT_LEN).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
    let hash = value
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Cow::Owned(format!("{}~{hash:016x}", &value[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_within_the_limit_is_unchanged() {
        for value in ["", "a", &"a".repeat(128), &"é".repeat(64)] {
            assert_eq!(bounded(value), value);
        }
    }

    #[test]
    fn longer_value_is_cut_on_a_character_boundary_and_ends_in_the_hash_of_the_whole() {
        assert_eq!(bounded(&"a".repeat(129)), "a".repeat(111) + "~ba20d66a82fdb40c");
        let cut = bounded(&"é".repeat(65)).into_owned();
        assert!(cut.starts_with(&("é".repeat(55) + "~")), "{cut}");
        assert_eq!(cut.len(), 110 + 17);
        assert_ne!(bounded(&("a".repeat(129) + "b")), bounded(&("a".repeat(129) + "c")));
    }
}
