//! Where numbers come from.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::{CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, Section, TokenStats};

/// An error of [`Source::collect`], of any type.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// A part of the application that measures some of the sections of a [`Snapshot`](crate::Snapshot).
///
/// Implement the methods of the sections that the source measures. The others return `None`: not measured here, which
/// is different from zero, since averages are taken over the sources that report a section.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use parsec_telemetry::{Aggregator, PresenceStats, Source};
///
/// struct Rooms { users: AtomicU64 }
///
/// impl Source for Rooms {
///     fn presence(&self) -> Option<PresenceStats> {
///         Some(PresenceStats { total_users: self.users.load(Relaxed), ..Default::default() })
///     }
/// }
///
/// let rooms = Rooms { users: 6.into() };
/// assert_eq!(Aggregator::new().source(rooms).snapshot().presence.total_users, 6);
/// ```
///
/// A source that can be disabled is an `Option`: `None` measures nothing.
///
/// [`Aggregator::snapshot`](crate::Aggregator::snapshot) calls every source in turn on the calling thread. Pages over
/// HTTP call it on the crate's own threads, outside any async runtime, as its [`schedule`](Self::schedule) says.
/// Calls of one source can overlap where both ways are used. For calls that fail, see
/// [`Aggregator`](crate::Aggregator#sources-that-fail).
pub trait Source: Send + Sync {
    /// Returns the open channels.
    fn channels(&self) -> Option<ChannelStats> {
        None
    }

    /// Returns the published envelopes.
    fn envelopes(&self) -> Option<EnvelopeStats> {
        None
    }

    /// Returns the users and agents that are present.
    fn presence(&self) -> Option<PresenceStats> {
        None
    }

    /// Returns the state of the history buffers.
    fn history(&self) -> Option<HistoryStats> {
        None
    }

    /// Returns the token counts.
    fn tokens(&self) -> Option<TokenStats> {
        None
    }

    /// Returns the state of the cache.
    fn cache(&self) -> Option<CacheStats> {
        None
    }

    /// Collects every section in one call. Defaults to calling the six methods above.
    ///
    /// Override it to fill several sections from one query, or to fail: the aggregator calls this method and
    /// [`schedule`](Self::schedule) only.
    ///
    /// # Errors
    ///
    /// Any error means that the source cannot report now. The JSON page shows its first 200 characters under
    /// `sources`.
    fn collect(&self) -> Result<Report, SourceError> {
        Ok(Report {
            channels: self.channels(),
            envelopes: self.envelopes(),
            presence: self.presence(),
            history: self.history(),
            tokens: self.tokens(),
            cache: self.cache(),
        })
    }

    /// Returns the schedule of the source. Called once, when the source is added to an aggregator. Defaults to
    /// [`Schedule::OnDemand`].
    fn schedule(&self) -> Schedule {
        Schedule::OnDemand
    }
}

/// On which thread, and how often, a source is called for pages over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// For each snapshot, on the thread that collects all of them. For sources that never block, such as the counters
    /// of this crate.
    Inline,
    /// For each snapshot, on a worker thread of the source's own, with at most one call in flight.
    #[default]
    OnDemand,
    /// On the source's own worker thread, once per period, which is at least 1 ms. The first snapshot waits for the
    /// first call. A random part of the period precedes the second, so that processes that start together spread out.
    Every(Duration),
}

/// The sections that one source reported in one call. `None`: not measured by this source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The open channels.
    pub channels: Option<ChannelStats>,
    /// The published envelopes.
    pub envelopes: Option<EnvelopeStats>,
    /// The users and agents that are present.
    pub presence: Option<PresenceStats>,
    /// The state of the history buffers.
    pub history: Option<HistoryStats>,
    /// The token counts.
    pub tokens: Option<TokenStats>,
    /// The state of the cache.
    pub cache: Option<CacheStats>,
}

impl Report {
    /// Returns the sections that are measured.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        let is_measured = [
            self.channels.is_some(),
            self.envelopes.is_some(),
            self.presence.is_some(),
            self.history.is_some(),
            self.tokens.is_some(),
            self.cache.is_some(),
        ];
        Section::ALL.into_iter().zip(is_measured).filter_map(|(section, is_measured)| is_measured.then_some(section))
    }
}

/// Forwards the sections of a wrapper to the source that it may wrap. A macro, so that no wrapper misses a section:
/// the default would hide what the wrapped source measures.
macro_rules! forward_sections {
    ($self:ident => $source:expr) => {
        forward_sections!(@ $self => $source; channels ChannelStats, envelopes EnvelopeStats,
            presence PresenceStats, history HistoryStats, tokens TokenStats, cache CacheStats);

        fn collect(&$self) -> Result<crate::source::Report, crate::source::SourceError> {
            $source.map_or_else(|| Ok(crate::source::Report::default()), Source::collect)
        }
    };
    (@ $self:ident => $source:expr; $($section:ident $stats:ident),+) => {
        $(fn $section(&$self) -> Option<crate::snapshot::$stats> {
            $source.and_then(Source::$section)
        })+
    };
}

pub(crate) use forward_sections;

/// Forwards the sections and the schedule.
macro_rules! forward_source {
    ($self:ident => $source:expr) => {
        forward_sections!($self => $source);

        fn schedule(&$self) -> Schedule {
            $source.map_or(Schedule::Inline, Source::schedule)
        }
    };
}

impl<S: Source + ?Sized> Source for &S {
    forward_source!(self => Some(&**self));
}

impl<S: Source + ?Sized> Source for Arc<S> {
    forward_source!(self => Some(&**self));
}

impl<S: Source + ?Sized> Source for Box<S> {
    forward_source!(self => Some(&**self));
}

/// `None` measures nothing.
impl<S: Source> Source for Option<S> {
    forward_source!(self => self.as_ref());
}
