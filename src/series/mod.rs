//! The recent past of the numbers of a snapshot, in three tiers.

mod data;
mod tier;

use std::time::SystemTime;

use crate::snapshot::{Section, Snapshot};

pub use data::{Series, SeriesEvent, SeriesPoints, TierSeries};
pub use tier::{Tier, UnknownTier};

/// Records samples and transitions in memory that is allocated once.
pub(crate) struct SeriesRecorder {
    started_at: SystemTime,
}

impl SeriesRecorder {
    pub(crate) fn new(started_at: SystemTime) -> Self {
        Self { started_at }
    }

    /// Records the values of a snapshot as the sample of second `position`, in Unix seconds. A position that is not
    /// after the last one changes nothing. The sections in `stale` have a gap.
    pub(crate) fn record(&mut self, _position: u64, _snapshot: &Snapshot, _stale: &[Section]) {}

    /// Returns the points that end after `since` of one tier or of all.
    pub(crate) fn read(&self, at: SystemTime, _tier: Option<Tier>, _since: Option<u64>) -> Series {
        Series { at, started_at: self.started_at, tiers: Vec::new(), events: Vec::new() }
    }
}
