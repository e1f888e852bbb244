//! A fixed table from names to small dense ids, read without a lock.
//!
//! Names are few and never removed, and every event recorded by name looks one up. A name is reduced to one word, its
//! tag, and the table is an open-addressed array of tags, at most half full:
//!
//! ```text
//!   "data"  ─►  tag  ─►  ┌──────┬────┬──────┬────┬──────┬────┬─
//!                 │      │ tag  │ id │  0   │    │ tag  │ id │ …      id ─► names[id], totals[id], …
//!                 └────► └──────┴────┴──────┴────┴──────┴────┴─
//! ```
//!
//! The tag of a name of up to eight bytes contains the name: equal tags are equal names. The tag of a longer name is
//! a hash, in a range of its own, and the names are compared. Looking up a known name is wait-free. A new name takes
//! a lock while it is inserted, unless the table is full.
//!
//! A tag, like the length, is stored last, with `Release`, and loaded with `Acquire`: a thread that sees it sees the
//! id and the name. The holder of the lock is the only writer and loads its own stores with `Relaxed`.

use std::sync::{OnceLock, PoisonError};

use bytemuck::{Pod, Zeroable};

use crate::sync::{Acquire, Atomic, Mutex, Relaxed, Release, Word};

/// The name and id of all events whose own name has no id, or has more than [`MAX_NAME_LEN`] bytes.
pub(crate) const OVERFLOW_NAME: &str = "__overflow__";
pub(crate) const OVERFLOW: usize = 0;
pub(crate) const MAX_NAME_LEN: usize = 128;

/// Replaces the empty name.
pub(crate) const UNKNOWN_NAME: &str = "unknown";

pub(crate) struct Interner {
    /// A power of two of them, at least half of them vacant.
    entries: Box<[Entry]>,
    /// The length of `entries` minus one. Stored, which takes fewer instructions than to derive it.
    mask: usize,
    /// Indexed by id. The first is [`OVERFLOW_NAME`].
    by_id: Box<[OnceLock<Box<str>>]>,
    /// The number of ids in use.
    len: Atomic<usize>,
    insert_lock: Mutex<()>,
}

/// A cell of the table, vacant while its tag is [`Tag::VACANT`].
struct Entry {
    tag: Atomic<Tag>,
    id: Atomic<usize>,
}

impl Interner {
    /// Creates a table for `capacity` names besides [`OVERFLOW_NAME`].
    pub(crate) fn new(capacity: usize) -> Self {
        let ids = capacity + 1;
        let entries = (2 * ids).next_power_of_two();
        let entry = |_| Entry { tag: Atomic::new(Tag::VACANT), id: Atomic::new(OVERFLOW) };
        let interner = Self {
            entries: (0..entries).map(entry).collect(),
            mask: entries - 1,
            by_id: (0..ids).map(|_| OnceLock::new()).collect(),
            len: Atomic::new(0),
            insert_lock: Mutex::new(()),
        };
        interner.intern_slow(OVERFLOW_NAME);
        interner
    }

    /// Returns the id of a name. A new name gets the next id, or [`OVERFLOW`] if the table is full. Inlines only the
    /// common case, a short name in the first entry that is probed.
    #[inline]
    pub(crate) fn intern(&self, name: &str) -> usize {
        let Some(tag) = Tag::inline(name.as_bytes()) else {
            return self.intern_long(name);
        };
        let entry = self.entry(tag.probe_start());
        // The empty name has the tag of a vacant entry, which has no id.
        if entry.tag.load(Acquire) == tag && tag != Tag::VACANT {
            return entry.id.load(Relaxed);
        }
        self.intern_slow(name)
    }

    /// As [`intern`](Self::intern), for a name that its tag does not contain.
    #[inline(never)]
    fn intern_long(&self, name: &str) -> usize {
        self.first_probe(name.as_bytes()).unwrap_or_else(|| self.intern_slow(name))
    }

    /// The id of a name of 9 to 64 bytes, if it is in the first entry probed. Hashes and compares whole words, which
    /// takes fewer instructions than a call to `memcmp`.
    #[inline]
    fn first_probe(&self, name: &[u8]) -> Option<usize> {
        let tag = Tag::hashed(name)?;
        let entry = self.entry(tag.probe_start());
        if entry.tag.load(Acquire) != tag {
            return None;
        }
        let id = entry.id.load(Relaxed);
        let held = self.by_id.get(id)?.get()?.as_bytes();
        let is_equal = held.len() == name.len()
            && match name.len() {
                ..=32 => ends(held)? == ends(name)?,
                33..=64 => {
                    held.first_chunk::<32>() == name.first_chunk() && held.last_chunk::<32>() == name.last_chunk()
                }
                _ => false,
            };
        is_equal.then_some(id)
    }

    #[inline]
    fn entry(&self, position: usize) -> &Entry {
        &self.entries[position & self.mask]
    }

    /// The id of a known name, or the vacant entry where a new one belongs.
    #[inline]
    fn find(&self, name: &str) -> Result<usize, &Entry> {
        let tag = Tag::of(name.as_bytes());
        let mut position = tag.probe_start();
        // Ends, since at least half of the entries are vacant.
        loop {
            let entry = self.entry(position);
            let seen = entry.tag.load(Acquire);
            if seen == Tag::VACANT {
                return Err(entry);
            }
            if seen == tag {
                let id = entry.id.load(Relaxed);
                if name.len() <= Tag::INLINE || self.name(id) == name {
                    return Ok(id);
                }
            }
            position += 1;
        }
    }

    #[inline(never)]
    fn intern_slow(&self, name: &str) -> usize {
        if let Ok(id) = self.find(name) {
            return id;
        }
        if name.is_empty() {
            return self.intern(UNKNOWN_NAME);
        }
        if name.len() > MAX_NAME_LEN {
            return OVERFLOW;
        }
        // A full table stays as it is, so the lock is not needed; but this name may be the last one inserted.
        if self.len() == self.by_id.len() {
            return self.find(name).unwrap_or(OVERFLOW);
        }
        // The table is consistent even if a holder panicked: nothing below panics half-way.
        let _lock = self.insert_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let vacant = match self.find(name) {
            Ok(id) => return id,
            Err(vacant) => vacant,
        };
        let id = self.len.load(Relaxed);
        let Some(cell) = self.by_id.get(id) else {
            return OVERFLOW;
        };
        cell.get_or_init(|| name.into());
        vacant.id.store(id, Relaxed);
        vacant.tag.store(Tag::of(name.as_bytes()), Release);
        self.len.store(id + 1, Release);
        id
    }

    /// The name of an id returned by [`intern`](Self::intern).
    pub(crate) fn name(&self, id: usize) -> &str {
        self.by_id.get(id).and_then(OnceLock::get).map_or(OVERFLOW_NAME, |name| name)
    }

    /// The number of ids in use.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// The names of all ids in use, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|id| self.name(id))
    }
}

/// A name in one word.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
struct Tag(Word);

impl Tag {
    /// The tag of the empty name, which is never in the table.
    const VACANT: Self = Self(Word(0));

    /// The length limit, in bytes, of names that their tag contains.
    const INLINE: usize = 8;

    fn of(name: &[u8]) -> Self {
        Self::inline(name).or_else(|| Self::hashed(name)).unwrap_or(Self::VACANT)
    }

    /// The complemented bytes of a short name, padded with zeros. No byte of a `str` is 0xff, so no complemented byte
    /// is zero, and padding is not mistaken for a part of the name.
    #[inline]
    fn inline(name: &[u8]) -> Option<Self> {
        let word = match name.len() {
            // The first and the last four bytes, which agree where they overlap.
            len @ 4..=Self::INLINE => {
                let half = |bytes: &[u8; 4]| u64::from(!u32::from_le_bytes(*bytes));
                half(name.first_chunk()?) | half(name.last_chunk()?) << (8 * (len - 4))
            }
            // The first, middle and last byte, which are all bytes of up to three.
            len @ 1..=3 => {
                let byte = |at: usize| u64::from(!name[at]) << (8 * at);
                byte(0) | byte(len / 2) | byte(len - 1)
            }
            0 => 0,
            _ => return None,
        };
        Some(Self(Word(word)))
    }

    /// A hash of a long name's length and [`ends`]. Longer names may differ only in between; the comparison tells
    /// them apart.
    #[inline]
    fn hashed(name: &[u8]) -> Option<Self> {
        let [a, b, c, d] = ends(name)?.map(|word| u64::from_le_bytes(*word));
        // Not rotated by a multiple of eight, so that equal letters do not cancel out.
        let mix = |hash: u64, word| hash.rotate_left(27) ^ word;
        let hash = mix(mix(mix(name.len() as u64 ^ a, b), c), d);
        // Multiplied, so that the masked byte loses no part of the name. That byte is 1: no short name's tag begins
        // with it, since no `str` begins with its complement, 0xfe.
        Some(Self(Word(hash.wrapping_mul(SPREAD) & !0xff | 0x01)))
    }

    /// The position at which probing begins, modulo the table's length.
    #[inline]
    fn probe_start(self) -> usize {
        // A multiplication mixes its upper half best, and the table is far smaller than 2^32.
        (self.0.0.wrapping_mul(SPREAD) >> 32) as usize
    }
}

/// The first and last 16 bytes of a name of at least eight, as words, which overlap in a name below 32 bytes.
#[inline]
fn ends(name: &[u8]) -> Option<[&[u8; 8]; 4]> {
    let len = name.len().min(16);
    Some([name.first_chunk()?, name[..len].last_chunk()?, name[name.len() - len..].first_chunk()?, name.last_chunk()?])
}

/// 2^64 divided by the golden ratio: an odd number whose multiples lie far apart (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn name_keeps_its_id() {
        let names = Interner::new(300);
        let all: Vec<String> = (0..300).map(|n| format!("{}{n}", "x".repeat(n % 40))).collect();
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
    fn names_that_differ_in_one_byte_have_different_ids() {
        for len in [9, 12, 16, 17, 24, 32, 33, 48, 64, 65, 100, MAX_NAME_LEN] {
            let names = Interner::new(MAX_NAME_LEN);
            let all: Vec<String> = (0..len)
                .map(|at| {
                    let mut name = "x".repeat(len);
                    name.replace_range(at..=at, "y");
                    name
                })
                .collect();
            for pass in 0..2 {
                for (at, name) in all.iter().enumerate() {
                    assert_eq!(names.intern(name), at + 1, "{name} in pass {pass}");
                }
            }
        }
    }

    #[test]
    fn name_above_the_length_limit_overflows() {
        let names = Interner::new(4);
        assert_ne!(names.intern(&"x".repeat(MAX_NAME_LEN)), OVERFLOW);
        assert_eq!(names.intern(&"x".repeat(MAX_NAME_LEN + 1)), OVERFLOW);
    }

    #[test]
    fn empty_name_is_unknown_and_overflow_is_itself() {
        let names = Interner::new(4);
        assert_eq!(names.name(names.intern("")), UNKNOWN_NAME);
        assert_eq!(names.intern(""), names.intern(UNKNOWN_NAME));
        assert_eq!(names.intern(OVERFLOW_NAME), OVERFLOW);
    }

    #[test]
    fn table_without_capacity_overflows_every_name() {
        let names = Interner::new(0);
        assert_eq!((names.intern("data"), names.intern("")), (OVERFLOW, OVERFLOW));
    }

    #[test]
    fn tags_of_short_names_are_unique() {
        let mut names: Vec<String> = (0..=8).map(|len| "\0".repeat(len)).collect();
        names.extend((0..=8).map(|len| "a".repeat(len)).skip(1));
        names.extend(
            ["ab", "ba", "abc", "acb", "abcd", "abdc", "aé", "é", "\u{7f}", "日本", "日本a", "aa\0"].map(str::to_owned),
        );
        let tags: HashSet<u64> = names.iter().map(|name| Tag::of(name.as_bytes()).0.0).collect();
        assert_eq!(tags.len(), names.len());
        let long = (9..200).map(|len| Tag::of("y".repeat(len).as_bytes()).0.0);
        assert!(long.clone().all(|tag| !tags.contains(&tag) && tag & 0xff == 1));
        assert_eq!(long.collect::<HashSet<_>>().len(), 191);
    }
}

#[cfg(all(test, parsec_loom))]
mod loom {
    use super::*;
    use crate::sync::outcomes;
    use ::loom::sync::Arc;
    use ::loom::thread;

    /// The ids that two threads get for a name each.
    fn both(capacity: usize, names: [&'static str; 2]) -> [usize; 2] {
        let table = Arc::new(Interner::new(capacity));
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || table.intern(names[1])
        });
        let ids = [table.intern(names[0]), other.join().unwrap()];
        // A name keeps its id.
        assert_eq!([table.intern(names[0]), table.intern(names[1])], ids);
        ids
    }

    /// Invariant: one name has one id, whichever thread is first.
    #[test]
    fn concurrent_threads_get_one_id_for_one_name() {
        assert_eq!(outcomes(|| both(2, ["data", "data"])), [[1, 1]].into());
        assert_eq!(outcomes(|| both(2, ["a longer name"; 2])), [[1, 1]].into());
    }

    /// Invariant: two names have two ids.
    #[test]
    fn concurrent_threads_get_two_ids_for_two_names() {
        assert_eq!(outcomes(|| both(2, ["data", "cursor"])), [[1, 2], [2, 1]].into());
    }

    /// Invariant: one of two new names gets the last id, and the other overflows.
    #[test]
    fn last_id_goes_to_one_of_two_names() {
        let ids = outcomes(|| both(1, ["data", "cursor"]));
        assert_eq!(ids, [[1, OVERFLOW], [OVERFLOW, 1]].into());
    }

    /// Invariant: a name that was inserted last does not overflow in a full table.
    #[test]
    fn known_name_is_found_while_the_table_fills() {
        let ids = outcomes(|| {
            let table = Arc::new(Interner::new(2));
            let first = table.intern("data");
            let other = thread::spawn({
                let table = Arc::clone(&table);
                move || table.intern("cursor")
            });
            [first, table.intern("data"), table.intern("cursor"), other.join().unwrap()]
        });
        assert_eq!(ids, [[1, 1, 2, 2]].into());
    }
}
