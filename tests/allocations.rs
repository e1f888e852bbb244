//! What allocates, and what does not.
//!
//! Properties:
//!
//! 1. Recording allocates nothing: not by handle, nor by a name of any length, registered or in `__overflow__`, nor
//!    for an event of another time, nor for a token.
//! 2. The exceptions are a thread's first event and a new name. Outside of the slab, a first event allocates the
//!    thread's shard and sometimes a row of cells for shards; in the slab it allocates nothing. A new name is copied
//!    once.
//! 3. A counter takes what the design page says: a shard for each thread of the slab and one more, and a table of
//!    names. With the 32 shards of a machine with 16 cores or more this is at most 48 KiB.
//! 4. A snapshot allocates in proportion to the names that it holds, and rendering into a used buffer allocates
//!    nothing, except that a text page sorts its alerts. The thousandth time allocates as much as the first.
//!
//! Allocations are measured over all threads. So this file has a single test, which first waits until the test runner
//! allocates nothing, and only one thread runs at a time.

mod common;

use std::alloc::System;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::sources::{Channels, hit_rate};
use common::threads::{SlabOccupants, slab_len};
use common::{MINUTE, SECOND, TIMEOUT, counters};
use parsec_telemetry::{
    Aggregator, AlertRule, Aspect, CacheCounters, CacheSource, ChannelSource, CoarseClock, EnvelopeCounters, Format,
    ManualClock, Severity, Source, TokenCounters,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often `work` allocates or reallocates.
fn allocations(work: impl FnOnce()) -> usize {
    let during = allocated(work);
    during.allocations + during.reallocations
}

fn allocated(work: impl FnOnce()) -> Stats {
    let region = Region::new(ALLOCATOR);
    work();
    region.change()
}

/// Waits until no thread has allocated anything for 200 ms: the test runner still does when a test begins.
fn wait_until_quiet() {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let before = ALLOCATOR.stats();
        thread::sleep(Duration::from_millis(200));
        if ALLOCATOR.stats() == before {
            return;
        }
        assert!(Instant::now() < deadline, "timed out after {TIMEOUT:?}: something keeps allocating");
    }
}

#[test]
fn recording_allocates_nothing_and_reading_a_constant_amount() {
    // A cache source starts the shared clock, whose thread allocates when it starts.
    drop(CoarseClock::shared());
    wait_until_quiet();
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
    let grow = |buffer: &mut Vec<u8>| buffer.reserve(buffer.capacity() + 1);
    assert_eq!(allocations(|| grow(black_box(&mut vec![1, 2, 3]))), 2);

    check_recording();
    check_first_events();
    check_memory();
    check_reading();
}

/// The bytes of a shard of 64 aspects, and of one of tokens: 131 to 133 words, padded to cache lines.
const SHARD: usize = (131 * 8_usize).next_multiple_of(align_of::<crossbeam_utils::CachePadded<()>>());

// Properties 1 and 2

const LONG: &str = "a name of more than eight bytes";

struct Recorders {
    clock: ManualClock,
    envelopes: EnvelopeCounters,
    full: EnvelopeCounters,
    tokens: TokenCounters,
    data: Aspect,
    too_long: String,
}

impl Recorders {
    fn new() -> Self {
        let clock = ManualClock::new();
        let builder = EnvelopeCounters::builder().clock(clock.clock());
        let (envelopes, full) = (builder.clone().build(), builder.max_aspects(1).build());
        let _ = full.aspect("the only one");
        for name in ["data", "cursor", LONG, ""] {
            let _ = envelopes.aspect(name);
        }
        Self {
            tokens: counters::tokens_on(&clock),
            data: envelopes.aspect("data"),
            clock,
            envelopes,
            full,
            too_long: "x".repeat(1000),
        }
    }

    /// The ways to record that allocate, with the number of allocations in 1,000 calls.
    fn allocating_ways(&self) -> Vec<(&'static str, usize)> {
        let now = self.clock.now();
        let long_ago = SystemTime::UNIX_EPOCH;
        let late = now.checked_sub(59 * SECOND).unwrap_or(now);
        let future = now + 59 * SECOND;
        let (envelopes, full, tokens) = (&self.envelopes, &self.full, &self.tokens);
        let ways: [(&str, &dyn Fn()); 21] = [
            ("handle", &|| self.data.observe()),
            ("handle, late", &|| self.data.observe_at(late)),
            ("handle, long ago", &|| self.data.observe_at(long_ago)),
            ("handle, future", &|| self.data.observe_at(future)),
            ("short name", &|| envelopes.observe("cursor")),
            ("long name", &|| envelopes.observe(LONG)),
            ("empty name", &|| envelopes.observe("")),
            ("overlong name", &|| envelopes.observe(&self.too_long)),
            ("name, now", &|| envelopes.observe_at(now, "data")),
            ("name, late", &|| envelopes.observe_at(late, LONG)),
            ("name, long ago", &|| envelopes.observe_at(long_ago, "data")),
            ("overflow", &|| full.observe("data")),
            ("overflow, long name", &|| full.observe(LONG)),
            ("overflow, late", &|| full.observe_at(late, "data")),
            ("new handle", &|| drop(envelopes.aspect(LONG))),
            ("issued", &|| tokens.issued()),
            ("issued, late", &|| tokens.issued_at(late)),
            ("issued, long ago", &|| tokens.issued_at(long_ago)),
            ("revoked", &|| tokens.revoked()),
            ("revoked, future", &|| tokens.revoked_at(future)),
            ("expired", &|| tokens.expired()),
        ];
        let mut found = Vec::with_capacity(ways.len());
        for (way, record) in ways {
            let allocations = allocations(|| (0..1000).for_each(|_| record()));
            if allocations > 0 {
                found.push((way, allocations));
            }
        }
        found
    }

    /// A thread's first event on each counter.
    fn first_events(&self) -> [Stats; 3] {
        [allocated(|| self.data.observe()), allocated(|| self.full.observe("data")), allocated(|| self.tokens.issued())]
    }
}

fn check_recording() {
    let recorders = Recorders::new();
    recorders.first_events();
    assert_eq!(recorders.allocating_ways(), []);
    // Slots of seconds and of minutes rotate.
    for _ in 0..200 {
        recorders.clock.advance(31 * SECOND);
        let rotating = allocations(|| {
            recorders.data.observe();
            recorders.envelopes.observe(LONG);
            recorders.tokens.issued();
            recorders.tokens.revoked();
        });
        assert_eq!(rotating, 0);
    }
    assert_eq!(recorders.allocating_ways(), []);

    let envelopes = &recorders.envelopes;
    for new in ["new", "new, and of more than eight bytes"] {
        let twice = [(); 2].map(|()| allocations(|| envelopes.observe(new)));
        assert_eq!(twice, [1, 0], "{new:?}");
    }
}

/// What the first events of a new thread allocate. Its later ones must allocate nothing.
fn first_events_of_new_thread(recorders: &Recorders) -> [Stats; 3] {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let first = recorders.first_events();
            assert_eq!(recorders.allocating_ways(), []);
            first
        });
        thread.join().expect("no panic")
    })
}

fn check_first_events() {
    let recorders = Recorders::new();
    for first in first_events_of_new_thread(&recorders) {
        assert_eq!(first.allocations, 0, "in the slab: {first:?}");
    }

    let occupants = SlabOccupants::new();
    wait_until_quiet();
    let first = first_events_of_new_thread(&recorders);
    for first in first {
        let bytes = SHARD..=SHARD + slab_len() * 16;
        assert!(
            (1..=2).contains(&first.allocations) && bytes.contains(&first.bytes_allocated),
            "outside of the slab: {first:?}"
        );
    }
    println!(
        "a thread's first event on three counters, outside of the slab: {:?} allocations, {:?} bytes",
        first.map(|first| first.allocations),
        first.map(|first| first.bytes_allocated)
    );
    // The next thread takes over the shards of the one before.
    for first in first_events_of_new_thread(&recorders) {
        assert_eq!(first.allocations, 0, "in a shard of its own: {first:?}");
    }
    drop(occupants);
}

// Property 3

fn check_memory() {
    let clock = ManualClock::new();
    for (threads, slab) in [(0, 16), (16, 16), (17, 32), (32, 32), (100, 128)] {
        let (mut envelopes, mut tokens) = (None, None);
        let created = [
            allocated(|| {
                let builder = EnvelopeCounters::builder().clock(clock.clock());
                envelopes = Some(builder.preallocated_shards(threads).build());
            }),
            allocated(|| {
                let builder = TokenCounters::builder().clock(clock.clock());
                tokens = Some(builder.preallocated_shards(threads).build());
            }),
        ];
        let bytes = created.map(|created| created.bytes_allocated);
        println!("{threads} preallocated shards: envelopes and tokens take {bytes:?} bytes");
        assert!(bytes[0] <= (slab + 1) * SHARD + 7 * 1024 && bytes[1] <= (slab + 1) * SHARD + 1024);
        assert!(bytes.iter().all(|&bytes| bytes >= (slab + 1) * SHARD));
        assert!(slab > 32 || bytes.iter().all(|&bytes| bytes <= 48 * 1024));
        // A recording thread adds nothing.
        let (envelopes, tokens) = (envelopes.expect("created above"), tokens.expect("created above"));
        thread::scope(|scope| {
            let record = || assert_eq!(allocations(|| tokens.issued()), 0);
            scope.spawn(record).join().expect("no panic");
        });
        drop(envelopes);
    }
}

// Property 4

/// The allocations of each part of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    envelopes: usize,
    tokens: usize,
    cache: usize,
    snapshot: usize,
    json: usize,
    text: usize,
}

fn check_reading() {
    for aspects in [8, 64] {
        let reading = steady_reading(aspects);
        println!("{aspects} aspects: {reading:?}");
        assert_eq!((reading.tokens, reading.json), (0, 0));
        assert!(reading.text <= 6, "three families sort two alerts each");
        assert!(reading.cache <= 2);
        // A copy of each name, and B-tree nodes of 5 to 11 names.
        assert!(reading.envelopes <= aspects + aspects / 5 + 4);
        // The same again where reports are merged, the lists of reports, and the names of unmeasured sections.
        assert!(reading.snapshot <= 2 * reading.envelopes + 48);
    }
}

/// What reading allocates in steady state with so many aspects. It must not vary.
fn steady_reading(aspects: usize) -> Reading {
    let clock = ManualClock::new();
    let envelopes = counters::envelopes_on(&clock);
    let handles: Vec<_> = (0..aspects).map(|number| envelopes.aspect(&format!("aspect number {number}"))).collect();
    let tokens = counters::tokens_on(&clock);
    let cache = || {
        let counters = || CacheCounters { hits: 9, misses: 1, ..Default::default() };
        CacheSource::new(counters).clock(clock.clock())
    };
    let channels = vec![("public:a", "public:*"), ("public:b", "public:*"), ("x", "")];
    let rules = vec![
        AlertRule::new("quiet", Severity::Warning, |_| false),
        AlertRule::new("firing", Severity::Info, |_| true).description("always"),
    ];
    let aggregator = Aggregator::new()
        .source(envelopes.clone())
        .source(tokens.clone())
        .source(cache())
        .source(ChannelSource::new(Channels(channels)))
        .source(hit_rate(50.0))
        .clock(clock.clock())
        .with_alerts(rules.clone())
        .expect("valid rules");
    let cache = cache();

    let mut page = Vec::with_capacity(64 * 1024);
    let mut read = || {
        clock.advance(MINUTE);
        handles.iter().for_each(Aspect::observe);
        tokens.issued();
        let mut snapshot = None;
        let allocated = Reading {
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
        let snapshot = snapshot.expect("assigned above");
        let mut render = |format: Format| {
            page.clear();
            allocations(|| format.render_into(&mut page, &snapshot))
        };
        Reading { json: render(Format::Json), text: render(Format::Prometheus), ..allocated }
    };
    // The cache source keeps the readings of an hour, so their number is steady after 60.
    for _ in 0..70 {
        read();
    }
    let readings: Vec<_> = (0..1000).map(|_| read()).collect();
    for (number, reading) in readings.iter().enumerate() {
        assert_eq!(reading, &readings[0], "reading {number}");
    }
    readings[0]
}
