//! Snapshots to render.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use parsec_telemetry::{
    AlertRule, AlertState, CacheStats, ChannelStats, EnvelopeStats, FiringAlert, HistoryStats, PresenceStats,
    RuleStatus, Severity, Snapshot, Source, SourceStatus, TokenStats,
};

/// Returns a snapshot with values in every section and in every optional key.
pub(crate) fn full() -> Snapshot {
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let at = started_at + Duration::new(3600, 123_456_789);
    Snapshot {
        channels: ChannelStats {
            total_active: 7,
            by_pattern: counts([("unknown", 2), ("public:*", 4), ("agents:*", 1)]),
        },
        envelopes: EnvelopeStats {
            rate_per_second: 100.0,
            by_aspect: counts([
                ("data", (1 << 63) - 1),
                ("cursor", 0),
                ("\"quoted\"", 3),
                ("C:\\new", 4),
                ("two\nlines", 5),
                ("größer, 更大", 6),
            ]),
        },
        presence: PresenceStats { total_users: 40, total_agents: 2, average_per_channel: 5.0 / 3.0 },
        history: HistoryStats { total_envelopes_buffered: 900, buffer_utilization_pct: 0.000_000_1 },
        tokens: TokenStats { issued_last_hour: 5, revoked_last_hour: 8, active_count: -3 },
        cache: CacheStats { hit_rate_pct: 72.5, size_bytes: 4096, size_entries: 12, evictions_last_hour: 1 },
        at,
        alerts: vec![
            FiringAlert {
                name: "cache_cold".to_owned(),
                severity: Severity::Warning,
                description: "Hit rate below \"80 %\"".to_owned(),
                at,
                since: started_at + Duration::from_millis(500),
            },
            FiringAlert {
                name: "tokens \"gone\"".to_owned(),
                severity: Severity::Critical,
                description: String::new(),
                at,
                since: at,
            },
        ],
        rules: rules(started_at, at),
        sources: sources(),
        started_at,
        unmeasured: Vec::new(),
    }
}

fn rules(started_at: SystemTime, at: SystemTime) -> Vec<RuleStatus> {
    vec![
        RuleStatus {
            name: "cache_cold".to_owned(),
            severity: Severity::Warning,
            description: "Hit rate below \"80 %\"".to_owned(),
            state: AlertState::Firing,
            since: Some(started_at + Duration::from_millis(500)),
            for_seconds: 300.0,
            fired_total: 2,
            ..RuleStatus::default()
        },
        RuleStatus {
            name: "no_channels".to_owned(),
            severity: Severity::Critical,
            state: AlertState::Pending,
            since: Some(at),
            failures_total: 1,
            error: Some("the condition panicked".to_owned()),
            ..RuleStatus::default()
        },
        RuleStatus {
            name: "tokens \"gone\"".to_owned(),
            severity: Severity::Critical,
            state: AlertState::Firing,
            since: Some(at),
            fired_total: 1,
            ..RuleStatus::default()
        },
        RuleStatus {
            name: "yesterday".to_owned(),
            state: AlertState::Resolved,
            resolved_at: Some(at),
            fired_total: 1,
            ..RuleStatus::default()
        },
    ]
}

fn sources() -> Vec<SourceStatus> {
    vec![
        SourceStatus {
            name: "sessions".to_owned(),
            type_name: "CacheSource".to_owned(),
            age_seconds: Some(40.25),
            panics_total: 3,
            timeouts_total: 1,
            error: Some("the source panicked".to_owned()),
            ..SourceStatus::default()
        },
        SourceStatus {
            name: "TokenCounters".to_owned(),
            type_name: "TokenCounters".to_owned(),
            up: true,
            age_seconds: Some(0.0),
            ..SourceStatus::default()
        },
        SourceStatus { name: "not \"yet\"".to_owned(), type_name: "Registry".to_owned(), ..SourceStatus::default() },
    ]
}

/// Returns rules that fire on [`full`] like those in its status.
pub(crate) fn alert_rules() -> Vec<AlertRule> {
    vec![
        AlertRule::new("yesterday", Severity::Info, |s| s.at < SystemTime::UNIX_EPOCH),
        AlertRule::new("tokens \"gone\"", Severity::Critical, |s| s.tokens.active_count < 0),
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 80.0)
            .description("Hit rate below \"80 %\""),
        AlertRule::new("no_channels", Severity::Critical, |s| s.channels.total_active == 0),
    ]
}

/// Returns a snapshot whose names, all of them, are hard on one of the formats.
pub(crate) fn hostile() -> Snapshot {
    let names = hostile_names();
    let numbered: BTreeMap<String, u64> = names.iter().cloned().zip(1..).collect();
    let alert = |name: &String| FiringAlert {
        name: name.clone(),
        severity: Severity::Warning,
        description: name.clone(),
        at: SystemTime::UNIX_EPOCH,
        since: SystemTime::UNIX_EPOCH,
    };
    let rule = |name: &String| RuleStatus {
        name: name.clone(),
        severity: Severity::Warning,
        description: name.clone(),
        state: AlertState::Firing,
        since: Some(SystemTime::UNIX_EPOCH),
        error: Some(name.clone()),
        ..RuleStatus::default()
    };
    let source = |name: &String| SourceStatus {
        name: name.clone(),
        type_name: name.clone(),
        age_seconds: Some(0.1),
        error: Some(name.clone()),
        ..SourceStatus::default()
    };
    Snapshot {
        channels: ChannelStats { total_active: 1, by_pattern: numbered.clone() },
        envelopes: EnvelopeStats { rate_per_second: 0.000_01, by_aspect: numbered },
        alerts: names.iter().map(alert).collect(),
        rules: names.iter().map(rule).collect(),
        sources: names.iter().map(source).collect(),
        ..Snapshot::default()
    }
}

/// Returns the names of [`hostile`], sorted.
pub(crate) fn hostile_names() -> BTreeSet<String> {
    const PIECES: [&str; 16] =
        ["\\", "\"", "\n", "n", "\r", "\t", "\0", "{", "}", "=", ",", "#", " ", "é", "更", "\u{2028}"];
    let fixed = [
        "\\",
        "\"",
        "\n",
        "\\n",
        "\\\n",
        "\\\\n",
        "\\\"",
        "\"} 1\nforged_total 1\n#",
        "# HELP a b",
        "a\r\nb",
        "\u{feff}",
        "\u{85}",
        "\u{10ffff}",
    ];
    let mut names: BTreeSet<String> = fixed.into_iter().map(str::to_owned).collect();
    let mut random = Random(0x000a_5eed);
    for _ in 0..300 {
        let pieces = 1 + random.below(8);
        names.insert((0..pieces).map(|_| PIECES[random.below(PIECES.len())]).collect());
    }
    names
}

/// A source that reports the sections of a snapshot.
pub(crate) struct Fixed(pub(crate) Snapshot);

impl Source for Fixed {
    fn channels(&self) -> Option<ChannelStats> {
        Some(self.0.channels.clone())
    }

    fn envelopes(&self) -> Option<EnvelopeStats> {
        Some(self.0.envelopes.clone())
    }

    fn presence(&self) -> Option<PresenceStats> {
        Some(self.0.presence.clone())
    }

    fn history(&self) -> Option<HistoryStats> {
        Some(self.0.history.clone())
    }

    fn tokens(&self) -> Option<TokenStats> {
        Some(self.0.tokens.clone())
    }

    fn cache(&self) -> Option<CacheStats> {
        Some(self.0.cache.clone())
    }
}

fn counts<const N: usize>(pairs: [(&str, u64); N]) -> BTreeMap<String, u64> {
    pairs.map(|(key, count)| (key.to_owned(), count)).into()
}

/// `xorshift64*`: returns the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("small");
        usize::try_from((self.next() >> 32) % end).expect("small")
    }
}
