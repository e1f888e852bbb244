//! Events per second by aspect, from the differences between samples.

use std::collections::BTreeMap;
use std::mem;

/// The number of aspects with a series of their own.
pub(super) const MAX_ASPECTS: usize = 64;

/// The columns of a sample: those of the aspects by appearance, then that of the rest.
pub(super) const COLUMNS: usize = MAX_ASPECTS + 1;

/// The name of the rest.
const OTHER: &str = "other";

pub(super) struct AspectRates {
    /// Sorted by name. At most [`MAX_ASPECTS`], allocated once.
    aspects: Vec<Aspect>,
    other: Counter,
    /// The position of the last sample.
    last: Option<u64>,
}

struct Aspect {
    name: String,
    column: usize,
    counter: Counter,
}

impl AspectRates {
    pub(super) fn new() -> Self {
        Self { aspects: Vec::with_capacity(MAX_ASPECTS), other: Counter::NEW, last: None }
    }

    /// Writes the rates since the last sample: NaN for an aspect that is absent, and for all in the first sample.
    ///
    /// The names have at most [`MAX_LABEL_LEN`](crate::label::MAX_LABEL_LEN) bytes, as those of a merged snapshot.
    pub(super) fn record(&mut self, position: u64, counts: &BTreeMap<String, u64>, rates: &mut [f32]) {
        for (name, &count) in counts {
            let sum = self.counter(name).count.get_or_insert(0);
            *sum = sum.saturating_add(count);
        }
        let seconds = self.last.replace(position).map(|last| position - last);
        for aspect in &mut self.aspects {
            rates[aspect.column] = aspect.counter.rate(seconds);
        }
        rates[MAX_ASPECTS] = self.other.rate(seconds);
    }

    /// An aspect that is named as the rest belongs to it, so that no two series have the same name.
    fn counter(&mut self, name: &str) -> &mut Counter {
        let column = self.aspects.len();
        match self.aspects.binary_search_by(|aspect| (*aspect.name).cmp(name)) {
            Ok(index) => &mut self.aspects[index].counter,
            Err(index) if column < MAX_ASPECTS && name != OTHER => {
                let aspect = Aspect { name: name.to_owned(), column, counter: Counter::NEW };
                self.aspects.insert(index, aspect);
                &mut self.aspects[index].counter
            }
            Err(_) => &mut self.other,
        }
    }

    /// Returns the name and the column of each aspect, and of the rest.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        let aspects = self.aspects.iter().map(|aspect| (&*aspect.name, aspect.column));
        aspects.chain([(OTHER, MAX_ASPECTS)])
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.aspects.iter().map(|aspect| aspect.name.capacity()).sum();
        self.aspects.capacity() * size_of::<Aspect>() + names
    }
}

/// A count that grows, until its owner restarts.
struct Counter {
    /// The count in the last sample. That of a new aspect is 0, and one that was absent has none.
    before: Option<u64>,
    /// The count in the sample that is being recorded, if it has one.
    count: Option<u64>,
}

impl Counter {
    const NEW: Self = Self { before: Some(0), count: None };

    /// Takes the count of a sample and returns the rate since the one before.
    #[expect(clippy::cast_possible_truncation, reason = "2^64 is within the range")]
    fn rate(&mut self, seconds: Option<u64>) -> f32 {
        let count = self.count.take();
        // What has not appeared yet stays new.
        let before =
            if count.is_none() && self.before == Some(0) { None } else { mem::replace(&mut self.before, count) };
        let events = count.zip(before).and_then(|(count, before)| count.checked_sub(before));
        events.zip(seconds).map_or(f32::NAN, |(events, seconds)| (events as f64 / seconds as f64) as f32)
    }
}
