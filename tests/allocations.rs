//! What is allocated, and above all what is not.
//!
//! The laws:
//!
//! 1. A count allocates nothing: by handle, by a name of any length that has been seen or finds no
//!    place, now or at another time; nor does a token's coming or going.
//! 2. But for a thread's first: outside of the slab it allocates the thread's shard, and at times a
//!    row of cells for it and its like. In the slab it allocates nothing. And a new name is copied
//!    once.
//! 3. A snapshot allocates in proportion to the names that it shows, and a page that is rendered
//!    into a used buffer nothing, but for a text page with alerts, which sorts them: the same
//!    number for the thousandth as for the first.
//!
//! Allocations are counted over all threads. So there is a single test in this file, which waits
//! until the test runner has settled, and whoever is not measured stands still.

use std::alloc::System;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use parsec_telemetry::{
    Aggregator, AlertRule, Aspect, CacheCounters, CacheSource, ChannelEntry, ChannelLister,
    ChannelSource, CoarseClock, EnvelopeCounters, Format, ManualClock, Severity, Snapshot, Source,
    TokenCounters,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

mod common;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often something was allocated, anew or to grow.
fn allocations(work: impl FnOnce()) -> usize {
    let during = allocated(work);
    during.allocations + during.reallocations
}

fn allocated(work: impl FnOnce()) -> Stats {
    let region = Region::new(ALLOCATOR);
    work();
    region.change()
}

/// Until no thread has allocated anything for a while. The test runner still keeps its books when a
/// test begins.
fn settle() {
    loop {
        let before = ALLOCATOR.stats();
        thread::sleep(Duration::from_millis(200));
        if ALLOCATOR.stats() == before {
            return;
        }
    }
}

#[test]
fn counting_allocates_nothing_and_reading_the_same_each_time() {
    // Every cache source begins with the shared clock, whose thread allocates when it starts.
    drop(CoarseClock::shared());
    settle();
    // The measure measures, and what is measured is not optimized away.
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
    let grow = |buffer: &mut Vec<u8>| buffer.reserve(buffer.capacity() + 1);
    assert_eq!(allocations(|| grow(black_box(&mut vec![1, 2, 3]))), 2);

    counting();
    counting_by_threads();
    reading();
}

// Laws 1 and 2

const LONG: &str = "a name of more than eight bytes";

struct Counted {
    clock: ManualClock,
    envelopes: EnvelopeCounters,
    full: EnvelopeCounters,
    tokens: TokenCounters,
    data: Aspect,
    too_long: String,
}

impl Counted {
    fn new() -> Self {
        let clock = ManualClock::new();
        let builder = EnvelopeCounters::builder().clock(clock.clock());
        let (envelopes, full) = (builder.clone().build(), builder.max_aspects(1).build());
        let _ = full.aspect("taken");
        for name in ["data", "cursor", LONG, ""] {
            let _ = envelopes.aspect(name);
        }
        Self {
            tokens: TokenCounters::builder().clock(clock.clock()).build(),
            data: envelopes.aspect("data"),
            clock,
            envelopes,
            full,
            too_long: "x".repeat(1000),
        }
    }

    /// Every way to count that allocates, with how often, in a thousand times each.
    fn that_allocate(&self) -> Vec<(&'static str, usize)> {
        let now = self.clock.now();
        let long_ago = SystemTime::UNIX_EPOCH;
        let late = now.checked_sub(Duration::from_secs(59)).unwrap_or(now);
        let to_come = now + Duration::from_secs(59);
        let (envelopes, full, tokens) = (&self.envelopes, &self.full, &self.tokens);
        let ways: [(&str, &dyn Fn()); 21] = [
            ("by handle", &|| self.data.observe()),
            ("by handle, late", &|| self.data.observe_at(late)),
            ("by handle, long ago", &|| self.data.observe_at(long_ago)),
            ("by handle, to come", &|| self.data.observe_at(to_come)),
            ("by a short name", &|| envelopes.observe("cursor")),
            ("by a long name", &|| envelopes.observe(LONG)),
            ("by no name", &|| envelopes.observe("")),
            ("by too long a name", &|| envelopes.observe(&self.too_long)),
            ("by name, now", &|| envelopes.observe_at(now, "data")),
            ("by name, late", &|| envelopes.observe_at(late, LONG)),
            ("by name, long ago", &|| {
                envelopes.observe_at(long_ago, "data");
            }),
            ("without a place", &|| full.observe("data")),
            ("without a place, long", &|| full.observe(LONG)),
            ("without a place, late", &|| full.observe_at(late, "data")),
            ("a name's handle", &|| drop(envelopes.aspect(LONG))),
            ("issued", &|| tokens.issued()),
            ("issued, late", &|| tokens.issued_at(late)),
            ("issued, long ago", &|| tokens.issued_at(long_ago)),
            ("revoked", &|| tokens.revoked()),
            ("revoked, to come", &|| tokens.revoked_at(to_come)),
            ("expired", &|| tokens.expired()),
        ];
        let mut found = Vec::with_capacity(ways.len());
        for (way, count) in ways {
            let allocations = allocations(|| (0..1000).for_each(|_| count()));
            if allocations > 0 {
                found.push((way, allocations));
            }
        }
        found
    }

    /// The first count of a thread on each counter.
    fn first_counts(&self) -> [Stats; 3] {
        [
            allocated(|| self.data.observe()),
            allocated(|| self.full.observe("data")),
            allocated(|| self.tokens.issued()),
        ]
    }
}

fn counting() {
    let counted = Counted::new();
    counted.first_counts();
    assert_eq!(counted.that_allocate(), []);
    // Also when the slots turn over, seconds and minutes.
    for _ in 0..200 {
        counted.clock.advance(Duration::from_secs(31));
        let turned = allocations(|| {
            counted.data.observe();
            counted.envelopes.observe(LONG);
            counted.tokens.issued();
            counted.tokens.revoked();
        });
        assert_eq!(turned, 0);
    }
    assert_eq!(counted.that_allocate(), []);

    let envelopes = &counted.envelopes;
    for new in ["new", "new, and of more than eight bytes"] {
        let twice = [(); 2].map(|()| allocations(|| envelopes.observe(new)));
        assert_eq!(twice, [1, 0], "{new:?}");
    }
}

/// What a new thread says of its first counts, and of those after them. Everybody else stands still
/// meanwhile.
fn in_a_new_thread(counted: &Counted) -> [Stats; 3] {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let first = counted.first_counts();
            assert_eq!(counted.that_allocate(), []);
            first
        });
        thread.join().expect("no panic")
    })
}

fn counting_by_threads() {
    const SHARD: usize = 1152;
    let counted = Counted::new();
    for first in in_a_new_thread(&counted) {
        assert_eq!(first.allocations, 0, "in the slab: {first:?}");
    }

    let cores = thread::available_parallelism().map_or(1, usize::from);
    let slab = (2 * cores).next_power_of_two().max(16);
    let (report, reports) = mpsc::channel();
    let crowd: Vec<_> = (0..slab)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let (report, data) = (report.clone(), counted.data.clone());
            let member = thread::spawn(move || {
                data.observe();
                report.send(()).expect("the test waits");
                let _ = ended.recv();
            });
            (end, member)
        })
        .collect();
    for _ in &crowd {
        reports.recv().expect("no panic");
    }
    settle();
    let first = in_a_new_thread(&counted);
    for first in first {
        let bytes = SHARD..=SHARD + slab * 16;
        assert!(
            (1..=2).contains(&first.allocations) && bytes.contains(&first.bytes_allocated),
            "outside of the slab: {first:?}"
        );
    }
    println!(
        "a thread's first count on three counters, outside of the slab: {:?} allocations, {:?} bytes",
        first.map(|first| first.allocations),
        first.map(|first| first.bytes_allocated)
    );
    // It finds the shards of the one before it.
    for first in in_a_new_thread(&counted) {
        assert_eq!(first.allocations, 0, "after another's end: {first:?}");
    }
    for (end, member) in crowd {
        drop(end);
        member.join().expect("no panic");
    }
}

// Law 3

struct Channels;

impl ChannelLister for Channels {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for (name, pattern) in [
            ("public:a", "public:*"),
            ("public:b", "public:*"),
            ("x", ""),
        ] {
            visit(ChannelEntry { name, pattern });
        }
    }
}

/// How much each part of reading allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    envelopes: usize,
    tokens: usize,
    cache: usize,
    snapshot: usize,
    json: usize,
    text: usize,
    text_without_alerts: usize,
}

fn reading() {
    for aspects in [8, 64] {
        let reading = reading_of(aspects);
        println!("{aspects} aspects: {reading:?}");
        assert_eq!((reading.tokens, reading.json), (0, 0));
        assert_eq!(reading.text_without_alerts, 0);
        assert!(reading.text <= 6, "two sets of two alerts");
        assert!(reading.cache <= 2);
        // A copy of each name, and the nodes of a tree of eleven at the most and five at the least.
        assert!(reading.envelopes <= aspects + aspects / 5 + 4);
        // Once more, where sources are merged, and the lists of sources that report.
        assert!(reading.snapshot <= 2 * reading.envelopes + 32);
    }
}

/// What a reading allocates with so many aspects, in steady state: every time the same.
fn reading_of(aspects: usize) -> Reading {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let handles: Vec<_> = (0..aspects)
        .map(|number| envelopes.aspect(&format!("aspect number {number}")))
        .collect();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    let cache = || {
        let counters = || CacheCounters {
            hits: 9,
            misses: 1,
            ..Default::default()
        };
        CacheSource::new(counters).clock(clock.clock())
    };
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(cache())
        .source(ChannelSource::new(Channels))
        .source(common::hit_rate(50.0))
        .clock(clock.clock());
    let rules = vec![
        AlertRule::new("quiet", Severity::Warning, |_| false),
        AlertRule::new("firing", Severity::Info, |_| true).description("always"),
    ];
    let aggregator = aggregator.with_alerts(rules).expect("valid");
    let cache = cache();

    let mut page = Vec::with_capacity(64 * 1024);
    let mut read = || {
        // The cache's readings are kept for an hour, so their number is steady from then on.
        clock.advance(Duration::from_secs(60));
        handles.iter().for_each(Aspect::observe);
        tokens.issued();
        let mut snapshot = None;
        let counted = Reading {
            envelopes: allocations(|| drop(envelopes.snapshot())),
            tokens: allocations(|| {
                black_box(tokens.snapshot());
            }),
            cache: allocations(|| {
                black_box(cache.cache());
            }),
            snapshot: allocations(|| snapshot = Some(aggregator.snapshot())),
            ..Reading::default()
        };
        let mut snapshot = snapshot.expect("taken");
        let mut render = |format: Format, snapshot: &Snapshot, rules: &[AlertRule]| {
            page.clear();
            allocations(|| format.render_into(&mut page, snapshot, rules))
        };
        let json = render(Format::Json, &snapshot, &[]);
        let text = render(Format::Prometheus, &snapshot, aggregator.rules());
        snapshot.alerts.clear();
        Reading {
            json,
            text,
            text_without_alerts: render(Format::Prometheus, &snapshot, &[]),
            ..counted
        }
    };
    for _ in 0..70 {
        read();
    }
    let readings: Vec<_> = (0..1000).map(|_| read()).collect();
    for (number, reading) in readings.iter().enumerate() {
        assert_eq!(reading, &readings[0], "reading {number}");
    }
    readings[0]
}
