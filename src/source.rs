//! Where numbers come from.

use std::sync::Arc;

use crate::snapshot::{
    CacheStats, ChannelStats, EnvelopeStats, HistoryStats, PresenceStats, TokenStats,
};

/// Something that knows some of the numbers.
///
/// Each method reports a section of the [`Snapshot`](crate::Snapshot); `None`, which is what all of
/// them say by themselves, means that it is not measured here. That is not the same as measuring
/// zero: where several sources report a section, its averages are taken over those that do.
///
/// Every method is called once for each snapshot, on the thread that takes it; for a page over
/// HTTP, on a thread of the crate's own. Keep it short: it should read numbers that are there, not
/// go and fetch them. If it panics, the panic is caught and counted and the section is taken from
/// the other sources. If it blocks, so does [`snapshot`](crate::Aggregator::snapshot); a page over
/// HTTP comes without it and names it, and it is not asked again before its call has returned.
///
/// Your own takes a few lines:
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
/// What can be switched off is an `Option`: `None` reports nothing.
///
/// ```
/// use parsec_telemetry::{Aggregator, CacheSource, CacheCounters};
///
/// let cache: Option<CacheSource<fn() -> CacheCounters>> = None;
/// assert_eq!(Aggregator::new().source(cache).snapshot().cache.size_entries, 0);
/// ```
pub trait Source: Send + Sync {
    /// The channels that are open.
    fn channels(&self) -> Option<ChannelStats> {
        None
    }

    /// What has been published.
    fn envelopes(&self) -> Option<EnvelopeStats> {
        None
    }

    /// Who is there.
    fn presence(&self) -> Option<PresenceStats> {
        None
    }

    /// The history buffers.
    fn history(&self) -> Option<HistoryStats> {
        None
    }

    /// Tokens, come and gone.
    fn tokens(&self) -> Option<TokenStats> {
        None
    }

    /// The cache.
    fn cache(&self) -> Option<CacheStats> {
        None
    }
}

/// Implements [`Source`] for a wrapper by asking what it wraps: six methods that must never fall
/// out of step.
macro_rules! delegate {
    ($wrapper:ty, $wrapped:ident => $target:expr) => {
        impl<S: Source + ?Sized> Source for $wrapper {
            delegate!(@ $wrapped => $target; channels ChannelStats, envelopes EnvelopeStats, presence PresenceStats,
                history HistoryStats, tokens TokenStats, cache CacheStats);
        }
    };
    (@ $wrapped:ident => $target:expr; $($section:ident $stats:ident),+) => {
        $(fn $section(&self) -> Option<$stats> {
            let $wrapped = self;
            $target.$section()
        })+
    };
}

delegate!(&S, source => (**source));
delegate!(Arc<S>, source => (**source));
delegate!(Box<S>, source => (**source));

/// `None` measures nothing.
impl<S: Source> Source for Option<S> {
    delegate!(@ source => source.as_ref()?; channels ChannelStats, envelopes EnvelopeStats, presence PresenceStats,
        history HistoryStats, tokens TokenStats, cache CacheStats);
}
