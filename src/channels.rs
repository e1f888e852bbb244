//! The open channels, by pattern.

use std::fmt;
use std::sync::Arc;

use crate::raw::interner::UNKNOWN_NAME;
use crate::snapshot::ChannelStats;
use crate::source::Source;

/// An open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelEntry<'a> {
    /// The channel's name. Never exported, since names are unbounded and often private.
    pub name: &'a str,
    /// The pattern of the channel grammar that the name matches; `""` counts as `unknown`.
    pub pattern: &'a str,
}

/// Lists the open channels.
///
/// ```
/// use parsec_telemetry::{ChannelEntry, ChannelLister, ChannelSource, Source};
///
/// struct Rooms(Vec<String>);
///
/// impl ChannelLister for Rooms {
///     fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
///         self.0.iter().for_each(|name| visit(ChannelEntry { name, pattern: "public:*" }));
///     }
/// }
///
/// let source = ChannelSource::new(Rooms(vec!["public:lobby".into(), "public:attic".into()]));
/// assert_eq!(source.channels().unwrap().by_pattern["public:*"], 2);
/// ```
pub trait ChannelLister: Send + Sync {
    /// Calls `visit` once for each open channel, in any order. Called once per snapshot.
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>));
}

impl<L: ChannelLister + ?Sized> ChannelLister for Arc<L> {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        (**self).list(visit);
    }
}

impl<L: ChannelLister + ?Sized> ChannelLister for Box<L> {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        (**self).list(visit);
    }
}

/// Counts the channels of a [`ChannelLister`] by pattern.
#[derive(Clone)]
pub struct ChannelSource<L>(L);

impl<L: ChannelLister> ChannelSource<L> {
    /// Creates a source over a lister.
    pub fn new(lister: L) -> Self {
        Self(lister)
    }
}

impl<L: ChannelLister> Source for ChannelSource<L> {
    fn channels(&self) -> Option<ChannelStats> {
        let mut stats = ChannelStats::default();
        self.0.list(&mut |channel| {
            let pattern = if channel.pattern.is_empty() { UNKNOWN_NAME } else { channel.pattern };
            stats.total_active += 1;
            // Not `entry`, which would copy the pattern for every channel.
            match stats.by_pattern.get_mut(pattern) {
                Some(active) => *active += 1,
                None => drop(stats.by_pattern.insert(pattern.to_owned(), 1)),
            }
        });
        Some(stats)
    }
}

impl<L> fmt::Debug for ChannelSource<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSource").finish_non_exhaustive()
    }
}
