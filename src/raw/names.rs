//! A fixed table from names to small dense numbers, found without a lock and without a copy.
//!
//! Names are few and stay for ever, and a look-up sits on every count by name. So a name is boiled
//! down to one word, its tag, and the table is an open-addressed array of tags, at most half full:
//!
//! ```text
//!   "data"  ─►  tag  ─►  ┌──────┬────┬──────┬────┬──────┬────┬─
//!                 │      │ tag  │ id │  0   │    │ tag  │ id │ …      id ─► names[id], totals[id], …
//!                 └────► └──────┴────┴──────┴────┴──────┴────┴─
//! ```
//!
//! A name of up to eight bytes *is* its tag: equal tags are equal names, and nothing else has to be
//! compared. A longer name's tag is a hash, in a range that no short name can reach, and the name
//! itself is compared as well.
//!
//! # Orderings
//!
//! A tag is stored last, with `Release`, and found with `Acquire`: whoever sees it sees the id and
//! the name.
//!
//! # Progress
//!
//! Finding a name that is there is wait-free. A name's first appearance takes a lock, for as long
//! as it takes to copy it, and so do those who come with it at the same moment. Once every place is
//! taken, nobody takes the lock.

use std::sync::{OnceLock, PoisonError};

use crate::sync::{Acquire, Atomic, Mutex, Relaxed, Release};

/// Counts for every name that has no place of its own.
pub(crate) const OVERFLOW_NAME: &str = "__overflow__";

/// Stands in for the empty name.
pub(crate) const UNKNOWN_NAME: &str = "unknown";

/// The number of [`OVERFLOW_NAME`].
pub(crate) const OVERFLOW: usize = 0;

/// The longest name that gets a place of its own, in bytes.
pub(crate) const LONGEST: usize = 128;

pub(crate) struct Names {
    /// A power of two of them, at least half of them vacant.
    entries: Box<[Entry]>,
    /// By id. The first is [`OVERFLOW_NAME`]'s.
    by_id: Box<[OnceLock<Box<str>>]>,
    /// How many ids are given out. Written under the lock only.
    taken: Atomic<usize>,
    adding: Mutex<()>,
}

/// A place in the table; vacant while its tag is [`Tag::VACANT`].
struct Entry {
    tag: Atomic<u64>,
    id: Atomic<usize>,
}

impl Names {
    /// A table with room for `most` names besides [`OVERFLOW_NAME`].
    pub(crate) fn new(most: usize) -> Self {
        let ids = most + 1;
        let entry = |_| Entry {
            tag: Atomic::new(Tag::VACANT.0),
            id: Atomic::new(OVERFLOW),
        };
        let names = Self {
            entries: (0..(2 * ids).next_power_of_two()).map(entry).collect(),
            by_id: (0..ids).map(|_| OnceLock::new()).collect(),
            taken: Atomic::new(0),
            adding: Mutex::new(()),
        };
        names.add(OVERFLOW_NAME);
        names
    }

    /// The number of a name, which gets one now if it has none and there is a place left.
    ///
    /// Nearly every name is short and stands where its search begins. That case is inlined into the
    /// caller, and all others are not, so that they do not make it slower.
    #[inline]
    pub(crate) fn intern(&self, name: &str) -> usize {
        let Some(tag) = Tag::whole(name) else {
            return self.intern_long(name);
        };
        let entry = self.entry(tag.home());
        // Acquire: as in `find`. The empty name's tag is that of a vacant entry, whose id is not a
        // name's.
        if entry.tag.load(Acquire) == tag.0 && tag != Tag::VACANT {
            return entry.id.load(Relaxed);
        }
        self.intern_elsewhere(name)
    }

    /// The same for a name that is more than its tag.
    #[inline(never)]
    fn intern_long(&self, name: &str) -> usize {
        let bytes = name.as_bytes();
        let id = match bytes.len() {
            ..=16 => self.at_home::<8>(bytes),
            17..=32 => self.at_home::<16>(bytes),
            33..=64 => self.at_home::<32>(bytes),
            _ => None,
        };
        id.unwrap_or_else(|| self.intern_elsewhere(name))
    }

    /// The number of a name that two ends of `N` bytes cover, if it stands where its search begins.
    ///
    /// So the name is read, hashed and compared in a few wide words.
    #[inline]
    fn at_home<const N: usize>(&self, name: &[u8]) -> Option<usize> {
        let ends = (name.first_chunk::<N>()?, name.last_chunk::<N>()?);
        let tag = Tag::hashed(name.len(), ends.0, ends.1);
        let entry = self.entry(tag.home());
        // Acquire: as in `find`.
        if entry.tag.load(Acquire) != tag.0 {
            return None;
        }
        let id = entry.id.load(Relaxed);
        let held = self.by_id.get(id)?.get()?.as_bytes();
        let is_held = held.len() == name.len()
            && held.first_chunk() == Some(ends.0)
            && held.last_chunk() == Some(ends.1);
        is_held.then_some(id)
    }

    #[inline(never)]
    fn intern_elsewhere(&self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| self.add(name))
    }

    /// The entry at a place, counted round and round.
    #[inline]
    fn entry(&self, place: usize) -> &Entry {
        &self.entries[place & (self.entries.len() - 1)]
    }

    /// The number of a name that has one.
    fn find(&self, name: &str) -> Option<usize> {
        let tag = Tag::of(name);
        let mut place = tag.home();
        // Ends: at least half of the entries are vacant.
        loop {
            let entry = self.entry(place);
            // Acquire: partner of the Release in `add`, which makes the id and the name visible.
            match Tag(entry.tag.load(Acquire)) {
                Tag::VACANT => return None,
                seen if seen == tag => {
                    let id = entry.id.load(Relaxed);
                    if name.len() <= Tag::WHOLE || self.name(id) == name {
                        return Some(id);
                    }
                }
                _ => {}
            }
            place += 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn add(&self, name: &str) -> usize {
        if name.is_empty() {
            return self.intern(UNKNOWN_NAME);
        }
        if name.len() > LONGEST {
            return OVERFLOW;
        }
        // Acquire: partner of the Release below. Once the table is full no name comes to it any
        // more, so the lock is spared; but this name may have been the last one to find a place.
        if self.taken.load(Acquire) == self.by_id.len() {
            return self.find(name).unwrap_or(OVERFLOW);
        }
        // Nothing under this lock can panic half-way: what it guards is whole even if a holder
        // died.
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = self.taken.load(Relaxed);
        let Some(cell) = self.by_id.get(id) else {
            return OVERFLOW;
        };
        cell.get_or_init(|| name.into());
        let tag = Tag::of(name);
        let mut place = tag.home();
        // Relaxed: only the holder of the lock writes tags.
        while self.entry(place).tag.load(Relaxed) != Tag::VACANT.0 {
            place += 1;
        }
        let entry = self.entry(place);
        entry.id.store(id, Relaxed);
        entry.tag.store(tag.0, Release);
        self.taken.store(id + 1, Release);
        id
    }

    /// The name of a number that [`intern`](Self::intern) gave out.
    pub(crate) fn name(&self, id: usize) -> &str {
        self.by_id
            .get(id)
            .and_then(OnceLock::get)
            .map_or(OVERFLOW_NAME, |name| name)
    }

    /// How many numbers are given out so far.
    pub(crate) fn len(&self) -> usize {
        // Acquire: partner of the Release in `add`.
        self.taken.load(Acquire)
    }

    /// The names of all numbers given out so far, in their order; [`OVERFLOW`]'s first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|id| self.name(id))
    }
}

/// A name in a word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    /// The tag of the empty name, which is never in the table.
    const VACANT: Self = Self(0);

    /// The longest name, in bytes, whose tag says all that it says.
    const WHOLE: usize = 8;

    fn of(name: &str) -> Self {
        fn ends<const N: usize>(bytes: &[u8]) -> Option<Tag> {
            let (first, last) = (bytes.first_chunk::<N>()?, bytes.last_chunk::<N>()?);
            Some(Tag::hashed(bytes.len(), first, last))
        }
        let bytes = name.as_bytes();
        let hashed = || match bytes.len() {
            ..=16 => ends::<8>(bytes),
            17..=32 => ends::<16>(bytes),
            _ => ends::<32>(bytes),
        };
        Self::whole(name).or_else(hashed).unwrap_or(Self::VACANT)
    }

    /// The bytes of a short name, complemented and padded with zeros: no byte of a `str` is 0xff,
    /// so no byte of the complement is zero, and the padding cannot be taken for a part of the
    /// name.
    #[inline]
    fn whole(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let word = match bytes.len() {
            // The first four and the last four, which overlap and agree where they do.
            len @ 4..=Self::WHOLE => {
                let (first, last) = (half(bytes, 0), half(bytes, len - 4));
                u64::from(!first) | (u64::from(!last) << (8 * (len - 4)))
            }
            // First, middle and last byte: between them they are every byte of up to three.
            len @ 1..=3 => {
                let byte = |at: usize| u64::from(!bytes[at]) << (8 * at);
                byte(0) | byte(len / 2) | byte(len - 1)
            }
            0 => Self::VACANT.0,
            _ => return None,
        };
        Some(Self(word))
    }

    /// A hash of a long name by its ends, under a first byte that no `str` begins with.
    ///
    /// Up to 64 bytes the ends are all of it. Longer names that differ in between have the same
    /// tag, and are told apart by the comparison that long names need in any case.
    #[inline]
    fn hashed<const N: usize>(length: usize, first: &[u8; N], last: &[u8; N]) -> Self {
        let mut hash = length as u64;
        // One end after the other: loops of a fixed length, which the compiler unrolls.
        for end in [first, last] {
            for word in end.as_chunks().0 {
                // Turned by an amount that is no whole byte, so that equal letters do not cancel
                // out.
                hash = hash.rotate_left(21) ^ u64::from_le_bytes(*word);
            }
        }
        // Multiplied, so that no byte of the name is lost with the one that is masked.
        Self(hash.wrapping_mul(SPREAD) & !0xff | 0x01)
    }

    /// Where in the table the search begins, before the mask.
    #[inline]
    fn home(self) -> usize {
        // The table has far fewer entries than 2^32: the upper half, where multiplication mixes
        // best, is enough.
        (self.0.wrapping_mul(SPREAD) >> 32) as usize
    }
}

/// Four bytes from `at`.
#[inline]
fn half(bytes: &[u8], at: usize) -> u32 {
    let mut half = [0; 4];
    half.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(half)
}

/// 2^64 over the golden ratio: an odd number whose multiples lie far apart (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_keep_their_numbers() {
        let names = Names::new(300);
        let all: Vec<String> = (0..300)
            .map(|n| format!("{}{n}", "x".repeat(n % 40)))
            .collect();
        let ids: Vec<_> = all.iter().map(|name| names.intern(name)).collect();
        assert_eq!(ids, (1..=300).collect::<Vec<_>>());
        for (name, &id) in all.iter().zip(&ids) {
            assert_eq!((names.intern(name), names.name(id)), (id, name.as_str()));
        }
        assert_eq!(names.intern("one too many"), OVERFLOW);
        assert_eq!(names.intern(&all[299]), 300);
        assert_eq!(names.iter().count(), 301);
    }

    #[test]
    fn names_that_differ_in_one_byte_are_two_names() {
        for len in [9, 12, 16, 17, 24, 32, 33, 48, 64, 65, 100, LONGEST] {
            let names = Names::new(LONGEST);
            let all: Vec<String> = (0..len)
                .map(|at| {
                    let mut name = "x".repeat(len);
                    name.replace_range(at..=at, "y");
                    name
                })
                .collect();
            for round in 0..2 {
                for (at, name) in all.iter().enumerate() {
                    assert_eq!(names.intern(name), at + 1, "{name} in round {round}");
                }
            }
        }
    }

    #[test]
    fn the_longest_name_has_a_place_and_a_longer_one_has_none() {
        let names = Names::new(4);
        assert_ne!(names.intern(&"x".repeat(LONGEST)), OVERFLOW);
        assert_eq!(names.intern(&"x".repeat(LONGEST + 1)), OVERFLOW);
    }

    #[test]
    fn the_empty_name_is_unknown_and_overflow_is_itself() {
        let names = Names::new(4);
        assert_eq!(names.name(names.intern("")), UNKNOWN_NAME);
        assert_eq!(names.intern(""), names.intern(UNKNOWN_NAME));
        assert_eq!(names.intern(OVERFLOW_NAME), OVERFLOW);
    }

    #[test]
    fn a_table_without_places_sends_all_to_overflow() {
        let names = Names::new(0);
        assert_eq!(
            (names.intern("data"), names.intern("")),
            (OVERFLOW, OVERFLOW)
        );
    }

    #[test]
    fn short_tags_are_the_names_themselves() {
        let mut names: Vec<String> = (0..=8).map(|len| "\0".repeat(len)).collect();
        names.extend((0..=8).map(|len| "a".repeat(len)).skip(1));
        names.extend(
            [
                "ab", "ba", "abc", "acb", "abcd", "abdc", "aé", "é", "\u{7f}", "日本", "日本a",
                "aa\0",
            ]
            .map(str::to_owned),
        );
        let tags: HashSet<u64> = names.iter().map(|name| Tag::of(name).0).collect();
        assert_eq!(tags.len(), names.len());
        let long = (9..200).map(|len| Tag::of(&"y".repeat(len)).0);
        assert!(
            long.clone()
                .all(|tag| !tags.contains(&tag) && tag & 0xff == 1)
        );
        assert_eq!(long.collect::<HashSet<_>>().len(), 191);
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::outcomes;
    use ::loom::sync::Arc;
    use ::loom::thread;

    /// Two threads that each intern a name, and what they got.
    fn both(places: usize, names: [&'static str; 2]) -> [usize; 2] {
        let table = Arc::new(Names::new(places));
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || table.intern(names[1])
        });
        let ids = [table.intern(names[0]), other.join().unwrap()];
        // Whatever they got stays theirs.
        assert_eq!([table.intern(names[0]), table.intern(names[1])], ids);
        ids
    }

    /// Law: one name has one number, whoever is first.
    #[test]
    fn two_threads_intern_the_same_name() {
        assert_eq!(outcomes(|| both(2, ["data", "data"])), [[1, 1]].into());
        assert_eq!(outcomes(|| both(2, ["a longer name"; 2])), [[1, 1]].into());
    }

    /// Law: two names have two numbers.
    #[test]
    fn two_threads_intern_different_names() {
        assert_eq!(
            outcomes(|| both(2, ["data", "cursor"])),
            [[1, 2], [2, 1]].into()
        );
    }

    /// Law: the last free place goes to one name, and the other overflows.
    #[test]
    fn two_threads_intern_the_last_name() {
        let ids = outcomes(|| both(1, ["data", "cursor"]));
        assert_eq!(ids, [[1, OVERFLOW], [OVERFLOW, 1]].into());
    }

    /// Law: a name that had the last place before is never taken for one too many.
    #[test]
    fn a_name_is_found_while_the_table_fills() {
        let ids = outcomes(|| {
            let table = Arc::new(Names::new(2));
            let first = table.intern("data");
            let other = thread::spawn({
                let table = Arc::clone(&table);
                move || table.intern("cursor")
            });
            [
                first,
                table.intern("data"),
                table.intern("cursor"),
                other.join().unwrap(),
            ]
        });
        assert_eq!(ids, [[1, 1, 2, 2]].into());
    }
}
