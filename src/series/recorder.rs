//! The points of one tier.
//!
//! A sample at position `p` is taken in second `p`, and its point in the minute tier ends at `p`. In the other tiers the
//! bucket from `b` has the samples from `b` to `b + step - 1`, ends at `b + step`, and is complete once a sample at or
//! after that is recorded.

use crate::series::data::SeriesPoints;
use crate::series::ring::Ring;
use crate::series::tier::Tier;

/// Records the samples of one tier.
pub(super) struct TierRecorder {
    tier: Tier,
    /// In the minute tier the samples. In the others a row has the means of all columns, then the minima of the first
    /// `ranges` columns, then their maxima.
    ring: Ring,
    means: usize,
    ranges: usize,
    /// The bucket that is not complete, by column, and its step. None in the minute tier.
    buckets: Box<[Bucket]>,
    step: Option<u64>,
}

impl TierRecorder {
    /// Returns a tier of the first `means` columns of each sample. The first `ranges` of these have a minimum and a
    /// maximum.
    pub(super) fn new(tier: Tier, means: usize, ranges: usize) -> Self {
        let ring = Ring::new(tier.len(), means + 2 * ranges);
        let buckets = if tier == Tier::Minute { 0 } else { means };
        Self { tier, ring, means, ranges, buckets: vec![Bucket::EMPTY; buckets].into(), step: None }
    }

    /// Records the sample of a second that is after that of the last one.
    pub(super) fn record(&mut self, position: u64, sample: &[f32]) {
        let sample = &sample[..self.means];
        if self.tier == Tier::Minute {
            self.ring.advance(position).copy_from_slice(sample);
            return;
        }
        let step = position / self.tier.step();
        if let Some(complete) = self.step.filter(|&current| current < step) {
            self.complete(complete);
            self.ring.advance(step - 1);
        }
        self.step = Some(step);
        for (bucket, &value) in self.buckets.iter_mut().zip(sample) {
            bucket.add(value);
        }
    }

    fn complete(&mut self, step: u64) {
        let (means, ranges) = self.ring.advance(step).split_at_mut(self.means);
        let (minima, maxima) = ranges.split_at_mut(self.ranges);
        for (mean, bucket) in means.iter_mut().zip(&self.buckets) {
            *mean = bucket.mean();
        }
        for ((min, max), bucket) in minima.iter_mut().zip(maxima).zip(&self.buckets) {
            (*min, *max) = (bucket.min, bucket.max);
        }
        self.buckets.fill(Bucket::EMPTY);
    }

    /// Returns where the newest point ends.
    pub(super) fn end(&self) -> Option<u64> {
        let newest = self.ring.newest()?;
        Some(if self.tier == Tier::Minute { newest } else { (newest + 1) * self.tier.step() })
    }

    /// Returns the number of points that end after `since`.
    pub(super) fn count(&self, since: Option<u64>) -> usize {
        let after = |since| self.end().unwrap_or(0).saturating_sub(since).div_ceil(self.tier.step());
        let n = since.map_or(u64::MAX, after);
        usize::try_from(n).unwrap_or(usize::MAX).min(self.ring.used())
    }

    /// Returns the last `n` points of a column: `None` if all are gaps.
    pub(super) fn points(&self, column: usize, n: usize) -> Option<SeriesPoints> {
        let avg = self.ring.column(column, n);
        if avg.iter().all(Option::is_none) {
            return None;
        }
        let range = |start| if column < self.ranges { self.ring.column(start + column, n) } else { Vec::new() };
        Some(SeriesPoints { avg, min: range(self.means), max: range(self.means + self.ranges) })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.ring.bytes() + size_of_val(&*self.buckets)
    }
}

/// The samples of one column in one bucket.
#[derive(Clone, Copy)]
struct Bucket {
    /// Of `f32` values, so that it is finite.
    sum: f64,
    samples: u32,
    min: f32,
    max: f32,
}

impl Bucket {
    const EMPTY: Self = Self { sum: 0.0, samples: 0, min: f32::NAN, max: f32::NAN };

    fn add(&mut self, value: f32) {
        if !value.is_nan() {
            self.sum += f64::from(value);
            self.samples += 1;
            (self.min, self.max) = (self.min.min(value), self.max.max(value));
        }
    }

    /// Returns NaN without samples.
    #[expect(clippy::cast_possible_truncation, reason = "a mean is within the range of its samples")]
    fn mean(&self) -> f32 {
        (self.sum / f64::from(self.samples)) as f32
    }
}
