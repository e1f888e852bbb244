//! Sources and rules of every ill kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelStats, HistoryStats, PresenceStats, Severity, Source,
    TokenStats,
};

use crate::SOON;

/// Nothing at all.
pub(crate) fn none() -> Aggregator {
    Aggregator::new()
}

pub(crate) fn long() -> Aggregator {
    Aggregator::new().source(Long)
}

/// All of them at once, and one that is well: it reports [`TOKENS`] live tokens.
pub(crate) fn ill() -> Aggregator {
    let rules = vec![
        AlertRule::new("panics", Severity::Info, |_| panic!("on purpose")),
        AlertRule::new("blocks", Severity::Info, |_| for_ever()),
    ];
    Aggregator::new()
        .source(Panics)
        .source(Blocks)
        .source(Dawdles::default())
        .source(Odd)
        .source(Long)
        .source(Well)
        .with_alerts(rules)
        .expect("names of their own")
}

/// How many live tokens the one that is well reports.
pub(crate) const TOKENS: i64 = 3;

struct Well;

impl Source for Well {
    fn tokens(&self) -> Option<TokenStats> {
        Some(TokenStats {
            active_count: TOKENS,
            ..Default::default()
        })
    }
}

/// Reports a quarter of a mebibyte of patterns.
pub(crate) struct Long;

impl Source for Long {
    fn channels(&self) -> Option<ChannelStats> {
        let pattern = |n: u64| (format!("{n:0>1024}"), n);
        Some(ChannelStats {
            total_active: 0,
            by_pattern: (0..256).map(pattern).collect(),
        })
    }
}

/// Reports a million patterns until that is enough.
#[derive(Clone, Default)]
pub(crate) struct Million(Arc<AtomicBool>);

impl Million {
    pub(crate) const PATTERNS: u64 = 1_000_000;

    pub(crate) fn is_enough(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn pattern(n: u64) -> String {
        format!("room:{n:07}:*")
    }
}

impl Source for Million {
    fn channels(&self) -> Option<ChannelStats> {
        let patterns = if self.0.load(Relaxed) {
            0
        } else {
            Self::PATTERNS
        };
        Some(ChannelStats {
            total_active: patterns,
            by_pattern: (0..patterns).map(|n| (Self::pattern(n), n)).collect(),
        })
    }
}

struct Panics;

impl Source for Panics {
    fn presence(&self) -> Option<PresenceStats> {
        panic!("on purpose")
    }
}

struct Blocks;

impl Source for Blocks {
    fn presence(&self) -> Option<PresenceStats> {
        for_ever();
        None
    }
}

fn for_ever() -> bool {
    loop {
        thread::park();
    }
}

/// Is too late now and then.
#[derive(Default)]
struct Dawdles(AtomicU64);

impl Source for Dawdles {
    fn history(&self) -> Option<HistoryStats> {
        if self.0.fetch_add(1, Relaxed).is_multiple_of(50) {
            thread::sleep(2 * SOON);
        }
        Some(HistoryStats::default())
    }
}

/// Reports what is no number.
struct Odd;

impl Source for Odd {
    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats {
            total_users: u64::MAX,
            total_agents: u64::MAX,
            average_per_channel: f64::NAN,
        })
    }

    fn cache(&self) -> Option<CacheStats> {
        Some(CacheStats {
            hit_rate_pct: f64::INFINITY,
            ..Default::default()
        })
    }
}
