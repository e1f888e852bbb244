//! Whether a text stands on a page as it is: nearly every name does.

/// The bytes that a format has to escape: those below some byte, and some others.
pub(super) struct Escapes<const N: usize> {
    pub(super) below: u8,
    pub(super) others: [u8; N],
}

/// A word of ones, byte by byte, and of highest bits.
const ONES: u64 = u64::MAX / 0xff;
const HIGHS: u64 = 0x80 * ONES;

impl<const N: usize> Escapes<N> {
    /// Whether any of them is in a text. It looks at eight bytes at a time.
    #[inline]
    pub(super) fn are_in(&self, text: &str) -> bool {
        let (words, rest) = text.as_bytes().as_chunks();
        // Filled up with a byte that is in no text, and that nobody escapes.
        let mut last = [0xff; 8];
        last[..rest.len()].copy_from_slice(rest);
        words.iter().any(|word| self.are_in_word(*word)) || self.are_in_word(last)
    }

    #[inline]
    fn are_in_word(&self, bytes: [u8; 8]) -> bool {
        let word = u64::from_le_bytes(bytes);
        let others = self.others.iter();
        let found = others.fold(below(word, self.below), |found, &other| {
            found | below(word ^ (u64::from(other) * ONES), 1)
        });
        found != 0
    }
}

/// The highest bits of a word's bytes that are below `least`, or of none if there is none.
/// (Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n".)
#[inline]
fn below(word: u64, least: u8) -> u64 {
    word.wrapping_sub(u64::from(least) * ONES) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_wherever_it_stands_and_no_other_byte_is_taken_for_one() {
        let escapes = Escapes {
            below: b' ',
            others: [b'"', b'\\'],
        };
        for len in 0..40 {
            assert!(!escapes.are_in(&"é~ !#[]\u{7f}\u{80}€xyz".repeat(len)));
            for at in 0..len {
                for byte in 0..0x80 {
                    let mut text = vec![b'x'; len];
                    text[at] = byte;
                    let text = String::from_utf8(text).expect("ASCII");
                    let expected = byte < b' ' || byte == b'"' || byte == b'\\';
                    assert_eq!(escapes.are_in(&text), expected, "{text:?}");
                }
            }
        }
    }
}
