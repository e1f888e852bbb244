//! Where numbers come from.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::{CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, TokenStats};

/// An error of [`Source::collect`], of any type.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// A part of the application that measures some of the sections of a [`Snapshot`](crate::Snapshot).
///
/// Implement the methods of the sections that the source measures. The others return `None`: not measured here. That
/// is different from measuring zero, since averages are taken over the sources that report a section.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use parsec_telemetry::{Aggregator, PresenceStats, Source};
///
/// struct Rooms { users: AtomicU64, channels: AtomicU64 }
///
/// impl Source for Rooms {
///     fn presence(&self) -> Option<PresenceStats> {
///         let (users, channels) = (self.users.load(Ordering::Relaxed), self.channels.load(Ordering::Relaxed));
///         let average_per_channel = users as f64 / channels.max(1) as f64;
///         Some(PresenceStats { total_users: users, average_per_channel, ..Default::default() })
///     }
/// }
///
/// let rooms = Rooms { users: 6.into(), channels: 4.into() };
/// assert_eq!(Aggregator::new().source(rooms).snapshot().presence.average_per_channel, 1.5);
/// ```
///
/// A source that can be disabled is an `Option`: `None` measures nothing.
///
/// # Which thread calls a source
///
/// [`Aggregator::snapshot`](crate::Aggregator::snapshot) calls every source in turn on the calling thread. A page
/// over HTTP is made from calls on the crate's own threads, outside any async runtime; [`schedule`](Self::schedule)
/// decides on which, and how often. Calls of one source can overlap where both ways are used.
///
/// # Sources that fail
///
/// A call that panics, returns an error, or has not returned by a page's deadline leaves the last good report of the
/// source on the page, whole, with its age and `parsec_telemetry_source_up 0` once the source is stale. So no counter
/// falls and no alert changes because a call failed. Split a source whose sections should fail independently. See
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
    /// ```
    /// use parsec_telemetry::{Aggregator, CacheStats, HistoryStats, Report, Source, SourceError};
    ///
    /// struct Store;
    ///
    /// impl Source for Store {
    ///     fn collect(&self) -> Result<Report, SourceError> {
    ///         let [entries, buffered] = query("entries, buffered")?;
    ///         Ok(Report {
    ///             cache: Some(CacheStats { size_entries: entries, ..Default::default() }),
    ///             history: Some(HistoryStats { total_envelopes_buffered: buffered, ..Default::default() }),
    ///             ..Default::default()
    ///         })
    ///     }
    /// }
    ///
    /// fn query(_: &str) -> Result<[u64; 2], SourceError> {
    ///     Err("connection refused".into())
    /// }
    ///
    /// let snapshot = Aggregator::new().source(Store).snapshot();
    /// assert_eq!(snapshot.sources[0].error.as_deref(), Some("connection refused"));
    /// ```
    ///
    /// # Errors
    ///
    /// Any error means that the source cannot report now. Its text, shortened to 200 characters, is shown in the JSON
    /// page under `sources`.
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

    /// Returns on which thread, and how often, pages over HTTP call the source. Defaults to [`Schedule::OnDemand`].
    ///
    /// It is called once, when the source is added to an aggregator.
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
    /// On the source's own worker thread, once per period and not for each snapshot. The first call is made for the
    /// first snapshot, which waits for it. A random part of the period precedes the second, so that processes that
    /// start together spread their calls.
    ///
    /// A period below 1 ms counts as 1 ms.
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

impl<S: Source + ?Sized> Source for &S {
    forward_sections!(self => Some(&**self));

    fn schedule(&self) -> Schedule {
        (**self).schedule()
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    forward_sections!(self => Some(&**self));

    fn schedule(&self) -> Schedule {
        (**self).schedule()
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    forward_sections!(self => Some(&**self));

    fn schedule(&self) -> Schedule {
        (**self).schedule()
    }
}

/// `None` measures nothing.
impl<S: Source> Source for Option<S> {
    forward_sections!(self => self.as_ref());

    fn schedule(&self) -> Schedule {
        self.as_ref().map_or(Schedule::Inline, Source::schedule)
    }
}
