//! What memory it takes, by what it grows with: bytes that were asked for and not given back, as the
//! allocator counts them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use parsec_telemetry::{
    Aggregator, ChannelEntry, ChannelLister, ChannelSource, CoarseClock, EnvelopeCounters, Format,
    ManualClock, Server, Snapshot, Source, TokenCounters,
};
use parsec_telemetry_peers::figures::Figures;
use parsec_telemetry_peers::http::Answer;
use parsec_telemetry_peers::{processor_time, processor_time_of_all};
use stats_alloc::{Region, Stats};

use crate::{ALLOCATOR, Result};

pub(crate) fn measure(figures: &mut Figures) -> Result<()> {
    // What the process keeps for itself, once, is not the counters'.
    drop(CoarseClock::shared());
    counted_by(1, 1, 64);
    threads(figures);
    one_after_another(figures);
    hours(figures);
    aspects(figures);
    patterns(figures);
    sources(figures);
    renders(figures);
    scrapers(figures)
}

fn during<T>(work: impl FnOnce() -> T) -> (T, Stats) {
    let region = Region::new(ALLOCATOR);
    let made = work();
    (made, region.change())
}

/// Bytes that what was made still holds.
fn held<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let (made, stats) = during(work);
    (
        made,
        stats.bytes_allocated as f64 - stats.bytes_deallocated as f64,
    )
}

/// Counters in which so many threads have counted, all of them alive at once.
fn counted_by(threads: usize, aspects: usize, max_aspects: usize) -> EnvelopeCounters {
    let clock = ManualClock::new().clock();
    let envelopes = EnvelopeCounters::builder()
        .clock(clock)
        .max_aspects(max_aspects)
        .build();
    let names: Vec<String> = (0..aspects)
        .map(|aspect| format!("aspect-{aspect}"))
        .collect();
    let all_here = Barrier::new(threads);
    let count = || {
        for name in &names {
            envelopes.observe(name);
        }
        all_here.wait();
    };
    thread::scope(|scope| {
        let small = || thread::Builder::new().stack_size(1 << 16);
        let spawn = |_| {
            small()
                .spawn_scoped(scope, count)
                .expect("the system has so many threads")
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        // Joined, so that what belongs to them is given back and not only their work done.
        for thread in running {
            thread.join().expect("no panic");
        }
    });
    envelopes
}

fn threads(figures: &mut Figures) {
    for aspects in [1, 64, 1_024] {
        for threads in [1, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096] {
            let (_counters, bytes) = held(|| counted_by(threads, aspects, aspects));
            let unit = if aspects == 1 { "aspect" } else { "aspects" };
            figures.add(
                "bytes by threads",
                &format!("{aspects} {unit}"),
                threads,
                vec![bytes],
            );
        }
    }
}

/// Threads that come and go: the next has the shard of the last.
fn one_after_another(figures: &mut Figures) {
    let (counters, mut bytes) = held(|| counted_by(1, 64, 64));
    let data = counters.aspect("aspect-0");
    let mut gone = 0;
    for until in [1, 10, 100, 1_000, 10_000] {
        let ((), more) = held(|| {
            for _ in gone..until {
                thread::scope(|scope| scope.spawn(|| data.observe()).join()).expect("no panic");
            }
        });
        gone = until;
        bytes += more;
        figures.add(
            "bytes by threads that have come and gone",
            "64 aspects",
            until,
            vec![bytes],
        );
    }
}

/// A count and a token every second of the clock, read each minute or never.
fn hours(figures: &mut Figures) {
    for (subject, is_read) in [("read", true), ("unread", false)] {
        let clock = ManualClock::new();
        let ((envelopes, tokens, aggregator), mut bytes) = held(|| {
            let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
            let tokens = TokenCounters::builder().clock(clock.clock()).build();
            let aggregator = Aggregator::new()
                .clock(clock.clock())
                .source(envelopes.clone())
                .source(tokens.clone());
            (envelopes, tokens, aggregator)
        });
        envelopes.observe("data");
        let mut gone = 0;
        for until in [1, 10, 100, 1_000] {
            let ((), more) = held(|| {
                for second in gone * 3_600..until * 3_600 {
                    envelopes.observe("data");
                    tokens.issued();
                    clock.advance(Duration::from_secs(1));
                    if is_read && second % 60 == 0 {
                        drop(aggregator.snapshot());
                    }
                }
            });
            gone = until;
            bytes += more;
            figures.add("bytes by hours", subject, until, vec![bytes]);
        }
    }
}

fn aspects(figures: &mut Figures) {
    for aspects in [1, 64, 256, 1_024, 4_096, 16_384] {
        let (_counters, bytes) = held(|| counted_by(1, aspects, aspects));
        figures.add("bytes by aspects", "one thread", aspects, vec![bytes]);
    }
}

struct Patterns(Vec<String>);

impl Patterns {
    fn new(patterns: usize) -> Self {
        Self(
            (0..patterns)
                .map(|pattern| format!("pattern-{pattern}"))
                .collect(),
        )
    }
}

impl ChannelLister for Patterns {
    fn list(&self, visit: &mut dyn FnMut(ChannelEntry<'_>)) {
        for pattern in &self.0 {
            visit(ChannelEntry {
                name: "a-channel",
                pattern,
            });
        }
    }
}

fn patterns(figures: &mut Figures) {
    for patterns in [1, 10, 100, 1_000, 10_000, 100_000] {
        let source = ChannelSource::new(Patterns::new(patterns));
        let (_stats, bytes) = held(|| source.channels());
        figures.add("bytes by patterns", "a snapshot", patterns, vec![bytes]);
    }
}

fn sources(figures: &mut Figures) {
    for sources in [1, 10, 100, 1_000] {
        for (subject, is_tokens) in [("envelopes", false), ("tokens", true)] {
            let clock = ManualClock::new();
            let (_aggregator, bytes) = held(|| {
                (0..sources).fold(Aggregator::new(), |all, _| {
                    if is_tokens {
                        all.source(TokenCounters::builder().clock(clock.clock()).build())
                    } else {
                        all.source(EnvelopeCounters::builder().clock(clock.clock()).build())
                    }
                })
            });
            figures.add("bytes by sources", subject, sources, vec![bytes]);
        }
    }
}

/// Of the second page, rendered into the first one's buffer.
fn renders(figures: &mut Figures) {
    for keys in [4, 100, 1_000, 10_000, 100_000] {
        let counts = (0..keys).map(|key| (format!("aspect-{key}"), 1_000 + key as u64));
        let mut snapshot = Snapshot::default();
        snapshot.envelopes.by_aspect = counts.collect();
        for (subject, format) in [
            ("JSON", Format::Json),
            ("text", Format::Prometheus),
            ("OpenMetrics", Format::OpenMetrics),
        ] {
            let mut page = format.render(&snapshot, &[]);
            let ((), again) = during(|| {
                page.clear();
                format.render_into(&mut page, &snapshot, &[]);
            });
            let allocations = again.allocations + again.reallocations;
            figures.add(
                "allocations of a render",
                subject,
                keys,
                vec![allocations as f64],
            );
        }
    }
}

/// Connections to one server that stay open, and each ask for a page at the same time as the others.
fn scrapers(figures: &mut Figures) -> Result<()> {
    const ROUNDS: usize = 50;
    let (aggregator, clock) = (counted_by(1, 8, 64), ManualClock::new());
    let aggregator = Aggregator::new().clock(clock.clock()).source(aggregator);
    for scrapers in [1, 4, 16, 64, 256] {
        let (port, ported) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = Server::builder(aggregator.clone())
            .max_connections(scrapers + 1)
            .build();
        thread::scope(|scope| -> Result<()> {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                    let _ = port.send(listener.local_addr()?.port());
                    server.serve(listener, async { drop(stopped.await) }).await
                })
            });
            let port = ported.recv()?;
            let mut first = vec![Scraper::connect(port)?];
            ask_all(&mut first)?;
            let (others, bytes) = held(|| -> Result<_> {
                let others = (0..scrapers)
                    .map(|_| Scraper::connect(port))
                    .collect::<Result<Vec<_>>>();
                let mut others = others?;
                ask_all(&mut others)?;
                Ok(others)
            });
            let mut all = others?;
            // Their own buffers are not the server's.
            let own: usize = all.iter().map(|scraper| scraper.buffer.capacity()).sum();
            let vector = all.capacity() * size_of::<Scraper>();
            figures.add(
                "bytes by scrapers",
                "a connection that is kept",
                scrapers,
                vec![bytes - (own + vector) as f64],
            );
            let mut samples = Vec::new();
            for _ in 0..ROUNDS {
                let (before, before_here) = (processor_time_of_all(), processor_time());
                ask_all(&mut all)?;
                let here = processor_time().saturating_sub(before_here);
                let took = processor_time_of_all()
                    .saturating_sub(before)
                    .saturating_sub(here);
                samples.push(took.as_secs_f64() * 1e6);
            }
            figures.add("time by scrapers", "all at once", scrapers, samples);
            drop(all);
            drop(stop);
            Ok(())
        })?;
    }
    Ok(())
}

struct Scraper {
    connection: TcpStream,
    buffer: Vec<u8>,
}

impl Scraper {
    fn connect(port: u16) -> Result<Self> {
        let connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_nodelay(true)?;
        Ok(Self {
            connection,
            buffer: vec![0; 1 << 14],
        })
    }

    fn receive(&mut self) -> Result<()> {
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|whole| filled < whole) {
            match self.connection.read(&mut self.buffer[filled..])? {
                0 => return Err("the server closed the connection".into()),
                read => filled += read,
            }
            whole = Answer::parse(&self.buffer[..filled])?.map(|answer| answer.head + answer.body);
        }
        Ok(())
    }
}

fn ask_all(scrapers: &mut [Scraper]) -> Result<()> {
    const REQUEST: &[u8] = b"GET /parsec/telemetry/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for scraper in &mut *scrapers {
        scraper.connection.write_all(REQUEST)?;
    }
    scrapers.iter_mut().try_for_each(Scraper::receive)
}
