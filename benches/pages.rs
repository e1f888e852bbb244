//! The time to render a page in each format, by its number of patterns and aspects.
//!
//! `cargo bench --bench pages`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parsec_telemetry::{
    AlertRule, CacheStats, ChannelStats, EnvelopeStats, Format, HistoryStats, PresenceStats, RuleStatus, Severity,
    Snapshot, TokenStats, evaluate_alerts,
};

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    let rules = [
        AlertRule::new("cache_cold", Severity::Warning, |s| s.cache.hit_rate_pct < 95.0)
            .description("Cache hit rate below 95 %"),
        AlertRule::new("idle", Severity::Info, |s| s.envelopes.rate_per_second == 0.0),
    ];
    for keys in [4, 1_000, 100_000] {
        let snapshot = snapshot_of(keys, &rules);
        for (name, format) in
            [("json", Format::Json), ("text", Format::Prometheus), ("openmetrics", Format::OpenMetrics)]
        {
            let mut page = format.render(&snapshot);
            group.throughput(Throughput::Bytes(page.len() as u64));
            group.bench_function(BenchmarkId::new(name, keys), |bencher| {
                bencher.iter(|| {
                    page.clear();
                    format.render_into(&mut page, black_box(&snapshot));
                });
            });
        }
    }
    group.finish();
}

/// A snapshot with `keys` patterns and as many aspects.
fn snapshot_of(keys: u64, rules: &[AlertRule]) -> Snapshot {
    let counts = |name: &str| (0..keys).map(|key| (format!("{name}-{key}"), 1_000 + key)).collect();
    let mut snapshot = Snapshot {
        channels: ChannelStats { total_active: 1_234, by_pattern: counts("pattern") },
        envelopes: EnvelopeStats { rate_per_second: 48_211.35, by_aspect: counts("aspect") },
        presence: PresenceStats { total_users: 8_021, total_agents: 37, average_per_channel: 6.53 },
        history: HistoryStats { total_envelopes_buffered: 118_000, buffer_utilization_pct: 72.4 },
        tokens: TokenStats { issued_last_hour: 9_400, revoked_last_hour: 120, active_count: 8_058 },
        cache: CacheStats { hit_rate_pct: 91.7, size_bytes: 1 << 24, size_entries: 9_000, evictions_last_hour: 12 },
        ..Snapshot::default()
    };
    snapshot.alerts = evaluate_alerts(&snapshot, rules);
    snapshot.rules = rules.iter().map(status).collect();
    snapshot
}

fn status(rule: &AlertRule) -> RuleStatus {
    RuleStatus { name: rule.name().to_owned(), severity: rule.severity(), ..RuleStatus::default() }
}

criterion_group!(benches, pages);
criterion_main!(benches);
