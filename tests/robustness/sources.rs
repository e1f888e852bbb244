//! Sources and rules that panic, block, are late, or report extreme values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use parsec_telemetry::{
    Aggregator, AlertRule, CacheStats, ChannelStats, HistoryStats, PresenceStats, Severity, Source, TokenStats,
};

use crate::SHORT;

pub(crate) fn large() -> Aggregator {
    Aggregator::new().source(Large)
}

/// All of them, and one source that reports [`TOKENS`] active tokens.
pub(crate) fn failing() -> Aggregator {
    let rules = vec![
        AlertRule::new("panics", Severity::Info, |_| panic!("on purpose")),
        AlertRule::new("blocks", Severity::Info, |_| block_forever()),
    ];
    Aggregator::new()
        .source(Panics)
        .source(Blocks)
        .source(SometimesLate::default())
        .source(Extreme)
        .source(Large)
        .source(Tokens)
        .with_alerts(rules)
        .expect("valid rules")
}

pub(crate) const TOKENS: i64 = 3;

struct Tokens;

impl Source for Tokens {
    fn tokens(&self) -> Option<TokenStats> {
        Some(TokenStats { active_count: TOKENS, ..Default::default() })
    }
}

/// Reports 256 KiB of patterns.
struct Large;

impl Source for Large {
    fn channels(&self) -> Option<ChannelStats> {
        let pattern = |n: u64| (format!("{n:0>100}"), n);
        Some(ChannelStats { total_active: 0, by_pattern: (0..2500).map(pattern).collect() })
    }
}

/// Reports a million patterns until [`report_none`](Self::report_none).
#[derive(Clone, Default)]
pub(crate) struct ManyPatterns(Arc<AtomicBool>);

impl ManyPatterns {
    pub(crate) const PATTERNS: u64 = 1_000_000;

    pub(crate) fn report_none(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn pattern(n: u64) -> String {
        format!("room:{n:07}:*")
    }
}

impl Source for ManyPatterns {
    fn channels(&self) -> Option<ChannelStats> {
        let patterns = if self.0.load(Relaxed) { 0 } else { Self::PATTERNS };
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
        block_forever();
        None
    }
}

fn block_forever() -> bool {
    loop {
        thread::park();
    }
}

/// Misses the deadline in every 50th call.
#[derive(Default)]
struct SometimesLate(AtomicU64);

impl Source for SometimesLate {
    fn history(&self) -> Option<HistoryStats> {
        if self.0.fetch_add(1, Relaxed).is_multiple_of(50) {
            thread::sleep(2 * SHORT);
        }
        Some(HistoryStats::default())
    }
}

/// Reports values that are not finite, or at their maximum.
struct Extreme;

impl Source for Extreme {
    fn presence(&self) -> Option<PresenceStats> {
        Some(PresenceStats { total_users: u64::MAX, total_agents: u64::MAX, average_per_channel: f64::NAN })
    }

    fn cache(&self) -> Option<CacheStats> {
        Some(CacheStats { hit_rate_pct: f64::INFINITY, ..Default::default() })
    }
}
