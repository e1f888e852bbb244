//! What is counted by many threads is there, to the last one, whenever and however it was counted.
//!
//! The laws:
//!
//! 1. Once a thread has been joined, all that it counted is in every snapshot, exactly once: by name or by handle, while
//!    the thread lived or from its thread-locals' destructors.
//! 2. A snapshot that is taken meanwhile holds all that was counted before it began, and nothing that had not begun to be
//!    counted when it ended.
//! 3. No token is ever seen gone that is not seen come.
//!
//! Clocks stand still unless a test moves them, so rates are as exact as totals. Nothing sleeps.

#![allow(
    clippy::float_cmp,
    reason = "that the numbers are exact is what is tested"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst, fence};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parsec_telemetry::{
    Aggregator, AlertRule, AlertRuleError, Aspect, CacheCounters, CacheSource, CacheStats,
    ChannelEntry, ChannelLister, ChannelSource, ChannelStats, CoarseClock, EnvelopeCounters,
    EnvelopeCountersBuilder, EnvelopeStats, FiringAlert, HistoryStats, ManualClock, PresenceStats,
    Severity, Snapshot, Source, TokenCounters, TokenCountersBuilder, TokenStats, UnknownSeverity,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn still_envelopes() -> EnvelopeCounters {
    let clock = ManualClock::new().clock();
    EnvelopeCounters::builder().clock(clock).build()
}

fn still_tokens() -> TokenCounters {
    let clock = ManualClock::new().clock();
    TokenCounters::builder().clock(clock).build()
}

/// Runs threads that are all alive at once, and joins them: even their destructors are done then, which the end of a
/// scope alone does not promise.
fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|number| {
                let work = &work;
                scope.spawn(move || work(number))
            })
            .collect();
        for handle in handles {
            handle.join().expect("no panic");
        }
    });
}

fn total(stats: &EnvelopeStats) -> u64 {
    stats.by_aspect.values().sum()
}

fn by_aspect<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

// Law 1

/// More threads than any machine's slab has places by default, all with shards of their own at the same time.
#[test]
fn every_count_of_64_threads_at_once_is_there() {
    let (threads, rounds) = (64, 300);
    let (envelopes, tokens) = (still_envelopes(), still_tokens());
    let data = envelopes.aspect("data");
    let all_here = Barrier::new(threads);
    at_once(threads, |number| {
        let own = format!("aspect {}", number % 10);
        for round in 0..rounds {
            data.observe();
            envelopes.observe("cursor");
            envelopes.observe(&own);
            tokens.issued();
            tokens.issued();
            if number % 2 == 0 {
                tokens.revoked();
            } else {
                tokens.expired();
            }
            if round == 0 {
                all_here.wait();
            }
        }
    });

    let all = 64 * 300;
    let stats = envelopes.snapshot();
    assert_eq!((total(&stats), stats.rate_per_second), (3 * all, 57_600.0));
    assert_eq!(
        (stats.by_aspect["data"], stats.by_aspect["cursor"]),
        (all, all)
    );
    for number in 0..10 {
        let sharers = if number < 4 { 7 } else { 6 };
        assert_eq!(stats.by_aspect[&format!("aspect {number}")], sharers * 300);
    }
    let expected = TokenStats {
        issued_last_hour: 2 * all,
        revoked_last_hour: all / 2,
        active_count: 64 * 300,
    };
    assert_eq!(tokens.snapshot(), expected);
}

#[test]
fn events_of_another_time_are_there_from_every_thread() {
    let threads = 64;
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    let tokens = TokenCounters::builder().clock(clock.clock()).build();
    clock.advance(Duration::from_secs(100));
    let now = clock.now();
    let (in_window, out_of_it) = (now - Duration::from_secs(59), now - Duration::from_secs(61));
    let (in_hour, out_of_hour) = (
        now - Duration::from_secs(90),
        now - Duration::from_secs(3601),
    );
    let all_here = Barrier::new(threads);
    at_once(threads, |_| {
        for round in 0..15 {
            envelopes.observe_at(in_window, "data");
            envelopes.aspect("data").observe_at(out_of_it);
            tokens.issued_at(in_hour);
            tokens.issued_at(out_of_hour);
            tokens.revoked_at(in_hour);
            if round == 0 {
                all_here.wait();
            }
        }
    });
    let stats = envelopes.snapshot();
    assert_eq!((total(&stats), stats.rate_per_second), (2 * 960, 16.0));
    let expected = TokenStats {
        issued_last_hour: 960,
        revoked_last_hour: 960,
        active_count: 960,
    };
    assert_eq!(tokens.snapshot(), expected);
}

/// Threads come and go; their shards are taken over, and what is in them stays.
#[test]
fn threads_that_have_ended_leave_their_counts() {
    let (envelopes, tokens) = (still_envelopes(), still_tokens());
    for wave in 1..=12 {
        let threads = 30;
        let all_here = Barrier::new(threads);
        at_once(threads, |number| {
            envelopes.observe("first");
            all_here.wait();
            envelopes.aspect(["even", "odd"][number % 2]).observe();
            tokens.issued();
            tokens.expired();
            tokens.issued();
        });
        let stats = envelopes.snapshot();
        let expected = [
            ("even", 15 * wave),
            ("first", 30 * wave),
            ("odd", 15 * wave),
        ];
        assert_eq!(stats.by_aspect, by_aspect(expected));
        assert_eq!(stats.rate_per_second, (60 * wave) as f64);
        let stats = tokens.snapshot();
        assert_eq!(stats.issued_last_hour, 60 * wave);
        assert_eq!(u64::try_from(stats.active_count), Ok(30 * wave));
    }
}

#[test]
fn a_thread_that_takes_over_a_shard_adds_to_the_same_second_and_to_later_ones() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
    clock.advance(Duration::from_secs(60));
    for _ in 0..60 {
        for _ in 0..5 {
            at_once(1, |_| envelopes.observe("data"));
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(envelopes.snapshot().rate_per_second, 5.0);
    clock.advance(Duration::from_secs(64 - 60));
    for _ in 0..56 {
        at_once(1, |_| envelopes.observe("data"));
    }
    // 56 of the last 60 seconds with five, and a burst of 56.
    assert_eq!(
        envelopes.snapshot().rate_per_second,
        (56.0 * 5.0 + 56.0) / 60.0
    );
}

#[test]
fn counts_on_the_shared_clock_are_all_there() {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    at_once(8, |_| {
        for _ in 0..1000 {
            envelopes.observe("data");
            tokens.issued();
        }
    });
    assert_eq!(envelopes.snapshot().by_aspect["data"], 8000);
    assert_eq!(tokens.snapshot().active_count, 8000);
}

// Law 1, in destructors

/// Something to do when the thread's own state is being torn down.
struct Farewell(Vec<Box<dyn FnOnce()>>);

impl Drop for Farewell {
    fn drop(&mut self) {
        for last_words in self.0.drain(..) {
            last_words();
        }
    }
}

thread_local! {
    static FAREWELL: RefCell<Farewell> = const { RefCell::new(Farewell(Vec::new())) };
    static LATER_FAREWELL: RefCell<Farewell> = const { RefCell::new(Farewell(Vec::new())) };
}

fn when_the_thread_ends(last_words: impl FnOnce() + 'static) {
    FAREWELL.with_borrow_mut(|farewell| farewell.0.push(Box::new(last_words)));
}

/// Thread-locals are torn down last come, first gone, on most systems. So it makes a difference who was first.
#[derive(Clone, Copy, Debug)]
enum First {
    /// The user's own: when it is torn down, the crate's may be gone.
    Users,
    /// The crate's: when the user's is torn down, it may be there still.
    Crates,
    /// The thread counts nothing before its destructors run.
    Nobody,
    /// A destructor makes another thread-local, whose destructor counts.
    UsersThatMakesAnother,
}

const ALL_ORDERS: [First; 4] = [
    First::Users,
    First::Crates,
    First::Nobody,
    First::UsersThatMakesAnother,
];

/// Has a thread count at its end, in the given order. `count` is called twice at least where the thread counts before.
fn at_the_end(first: First, count: &(impl Fn() + Clone + Send + 'static)) {
    let (before, last_words) = (count.clone(), count.clone());
    match first {
        First::Users => {
            when_the_thread_ends(last_words);
            before();
        }
        First::Crates => {
            before();
            when_the_thread_ends(last_words);
        }
        First::Nobody => {
            when_the_thread_ends(before);
            when_the_thread_ends(last_words);
        }
        First::UsersThatMakesAnother => {
            when_the_thread_ends(move || {
                LATER_FAREWELL.with_borrow_mut(|farewell| farewell.0.push(Box::new(last_words)));
            });
            before();
        }
    }
}

#[test]
fn envelopes_counted_in_destructors_are_there() {
    for first in ALL_ORDERS {
        let clock = ManualClock::new();
        let envelopes = EnvelopeCounters::builder().clock(clock.clock()).build();
        let data = envelopes.aspect("data");
        clock.advance(Duration::from_secs(60));
        let count = {
            let (envelopes, now) = (envelopes.clone(), clock.now());
            move || {
                data.observe();
                envelopes.observe("data");
                envelopes.observe("named in time or late");
                envelopes.aspect("a handle of the last hour").observe();
                envelopes.observe_at(now - Duration::from_secs(30), "late");
                data.observe_at(now - Duration::from_secs(90));
            }
        };
        // One after the other, so that each is given the number of the one before.
        for _ in 0..5 {
            at_once(1, |_| at_the_end(first, &count));
        }
        let stats = envelopes.snapshot();
        let expected = [
            ("a handle of the last hour", 10),
            ("data", 30),
            ("late", 10),
            ("named in time or late", 10),
        ];
        assert_eq!(stats.by_aspect, by_aspect(expected), "{first:?}");
        assert_eq!(stats.rate_per_second, 50.0 / 60.0, "{first:?}");
    }
}

#[test]
fn tokens_counted_in_destructors_are_there() {
    for first in ALL_ORDERS {
        let clock = ManualClock::new();
        let tokens = TokenCounters::builder().clock(clock.clock()).build();
        let count = {
            let (tokens, now) = (tokens.clone(), clock.now());
            move || {
                tokens.issued();
                tokens.issued();
                tokens.issued_at(now - Duration::from_secs(60));
                tokens.issued_at(now - Duration::from_secs(3601));
                tokens.revoked();
                tokens.revoked_at(now - Duration::from_secs(60));
                tokens.expired();
            }
        };
        for _ in 0..5 {
            at_once(1, |_| at_the_end(first, &count));
        }
        let expected = TokenStats {
            issued_last_hour: 30,
            revoked_last_hour: 20,
            active_count: 10,
        };
        assert_eq!(tokens.snapshot(), expected, "{first:?}");
    }
}

/// What is left to threads without state of their own is written by all of them at once.
#[test]
fn many_threads_that_end_at_once_lose_nothing() {
    let (envelopes, tokens) = (still_envelopes(), still_tokens());
    let threads = 64;
    let ending = Arc::new(Barrier::new(threads));
    at_once(threads, |number| {
        let (envelopes, tokens) = (envelopes.clone(), tokens.clone());
        let ending = Arc::clone(&ending);
        let last_words = move || {
            ending.wait();
            for _ in 0..2000 {
                envelopes.observe("data");
                tokens.issued();
                tokens.revoked();
                tokens.issued();
                tokens.expired();
                tokens.issued();
            }
        };
        // First come: last gone.
        when_the_thread_ends(last_words);
        if number % 4 != 0 {
            still_envelopes().observe("the crate's state is there");
        }
    });
    let stats = envelopes.snapshot();
    assert_eq!((total(&stats), stats.rate_per_second), (128_000, 128_000.0));
    let expected = TokenStats {
        issued_last_hour: 3 * 128_000,
        revoked_last_hour: 128_000,
        active_count: 128_000,
    };
    assert_eq!(tokens.snapshot(), expected);
}

/// The dying thread counts without a number while the next one counts with the number that it gave back.
#[test]
fn a_dying_thread_and_the_one_that_follows_it_do_not_overwrite_each_other() {
    let envelopes = still_envelopes();
    for _ in 0..20 {
        let (dying, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = thread::spawn({
            let (envelopes, dying, go_on) = (envelopes.clone(), dying.clone(), go_on.clone());
            move || {
                when_the_thread_ends({
                    let envelopes = envelopes.clone();
                    move || {
                        dying.wait();
                        for _ in 0..500 {
                            envelopes.observe("dying");
                        }
                        go_on.wait();
                    }
                });
                envelopes.observe("living");
            }
        });
        dying.wait();
        at_once(3, |_| {
            for _ in 0..500 {
                envelopes.observe("living");
            }
        });
        go_on.wait();
        first.join().expect("no panic");
    }
    let stats = envelopes.snapshot();
    let expected = [("dying", 20 * 500), ("living", 20 * 1501)];
    assert_eq!(stats.by_aspect, by_aspect(expected));
    assert_eq!(stats.rate_per_second, 20.0 * 2001.0);
}

// Law 2

/// How many events of a kind have begun to be counted, and how many have been.
#[derive(Default)]
struct Tally {
    started: AtomicU64,
    finished: AtomicU64,
}

impl Tally {
    /// The fence and that of [`started`](Self::started) are partners: who has seen the count sees the start as well.
    fn count(&self, count: impl FnOnce()) {
        self.started.fetch_add(1, SeqCst);
        fence(SeqCst);
        count();
        self.finished.fetch_add(1, SeqCst);
    }

    fn started(&self) -> u64 {
        fence(SeqCst);
        self.started.load(SeqCst)
    }

    fn finished(&self) -> u64 {
        self.finished.load(SeqCst)
    }
}

/// Runs `work` on some threads over and over, and `look` on this one until they have been at it for a while.
fn while_counting(threads: usize, work: impl Fn(usize) + Sync, mut look: impl FnMut()) {
    let (done, worked) = (AtomicBool::new(false), AtomicU64::new(0));
    let deadline = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        for number in 0..threads {
            let (work, done, worked) = (&work, &done, &worked);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    work(number);
                    worked.fetch_add(1, SeqCst);
                }
            });
        }
        // The threads are told to stop even if a look panics.
        let _stop = Finally(|| done.store(true, SeqCst));
        let mut looks = 0;
        while looks < 200 || worked.load(SeqCst) < 2000 {
            look();
            looks += 1;
            assert!(
                Instant::now() < deadline,
                "the threads do not come to count"
            );
        }
    });
}

struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_snapshot_meanwhile_holds_what_came_before_it_and_nothing_from_after_it() {
    const ASPECTS: [&str; 3] = ["data", "cursor", "an aspect with a long name"];
    let envelopes = still_envelopes();
    let handles = ASPECTS.map(|name| envelopes.aspect(name));
    let tallies: [Tally; 3] = Default::default();
    let mut seen_before = [0; 3];
    while_counting(
        4,
        |number| {
            for (at, tally) in tallies.iter().enumerate() {
                if number % 2 == 0 {
                    tally.count(|| handles[at].observe());
                } else {
                    tally.count(|| envelopes.observe(ASPECTS[at]));
                }
            }
        },
        || {
            let at_least: Vec<u64> = tallies.iter().map(Tally::finished).collect();
            let stats = envelopes.snapshot();
            let at_most: Vec<u64> = tallies.iter().map(Tally::started).collect();
            for (at, name) in ASPECTS.into_iter().enumerate() {
                let seen = stats.by_aspect[name];
                let range = at_least[at]..=at_most[at];
                assert!(range.contains(&seen), "{name}: {seen} outside of {range:?}");
                assert!(
                    seen >= seen_before[at],
                    "{name}: {seen} after {seen_before:?}"
                );
                seen_before[at] = seen;
            }
            // All within the first second, so the rate is a count too. (How exact a rate is, `windows.rs` tests.)
            let range = at_least.iter().sum::<u64>() as f64..=at_most.iter().sum::<u64>() as f64;
            let rate = stats.rate_per_second.round();
            assert!(range.contains(&rate), "rate: {rate} outside of {range:?}");
        },
    );
    let stats = envelopes.snapshot();
    for (name, tally) in ASPECTS.into_iter().zip(&tallies) {
        assert_eq!(stats.by_aspect[name], tally.finished());
    }
}

#[test]
fn a_snapshot_meanwhile_holds_what_threads_counted_that_have_ended() {
    let envelopes = still_envelopes();
    let tally = Tally::default();
    while_counting(
        2,
        |_| {
            // Too slow to do each time, but the shards must change hands while they are read.
            if tally.started() % 50 == 0 {
                at_once(1, |_| tally.count(|| envelopes.observe("data")));
            } else {
                tally.count(|| envelopes.observe("data"));
            }
        },
        || {
            let at_least = tally.finished();
            let seen = total(&envelopes.snapshot());
            let range = at_least..=tally.started();
            assert!(range.contains(&seen), "{seen} outside of {range:?}");
        },
    );
    assert_eq!(total(&envelopes.snapshot()), tally.finished());
}

// Law 3

/// Whether the active tokens that a snapshot shows are as many as there can have been.
struct ActiveTokens {
    tokens: TokenCounters,
    came: Tally,
    went: Tally,
}

impl ActiveTokens {
    const HELD: u64 = 3;

    /// With some tokens that never go.
    fn new() -> Self {
        let (tokens, came) = (still_tokens(), Tally::default());
        for _ in 0..Self::HELD {
            came.count(|| tokens.issued());
        }
        Self {
            tokens,
            came,
            went: Tally::default(),
        }
    }

    fn look(&self) {
        let (came_at_least, went_at_least) = (self.came.finished(), self.went.finished());
        let stats = self.tokens.snapshot();
        let (came_at_most, went_at_most) = (self.came.started(), self.went.started());
        let active = i128::from(stats.active_count);
        // Whatever the threads do, those that never go are there.
        let at_least =
            i128::from(Self::HELD).max(i128::from(came_at_least) - i128::from(went_at_most));
        let at_most = i128::from(came_at_most) - i128::from(went_at_least);
        let range = at_least..=at_most;
        assert!(range.contains(&active), "{active} outside of {range:?}");
        let range = came_at_least..=came_at_most;
        let issued = stats.issued_last_hour;
        assert!(
            range.contains(&issued),
            "issued: {issued} outside of {range:?}"
        );
    }
}

#[test]
fn no_token_is_seen_gone_that_is_not_seen_come() {
    let active = ActiveTokens::new();
    while_counting(
        4,
        |number| {
            active.came.count(|| active.tokens.issued());
            active.went.count(|| {
                if number % 2 == 0 {
                    active.tokens.revoked();
                } else {
                    active.tokens.expired();
                }
            });
        },
        || active.look(),
    );
    assert_eq!(active.tokens.snapshot().active_count, 3);
}

/// The same without a tally, which takes more time than what it tallies: so there is more to see in the time of a look.
#[test]
fn active_tokens_are_never_below_those_that_are_held() {
    let tokens = still_tokens();
    for _ in 0..3 {
        tokens.issued();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Finally(|| done.store(true, SeqCst));
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    tokens.issued();
                    tokens.revoked();
                    tokens.issued();
                    tokens.expired();
                }
            });
        }
        for _ in 0..3000 {
            let active = tokens.snapshot().active_count;
            assert!(
                active >= 3,
                "{active} active, and three are never given back"
            );
        }
    });
    assert_eq!(tokens.snapshot().active_count, 3);
}

/// Issued by one thread, given away, revoked by another: the one's shard may have been read before the other's.
#[test]
fn no_token_is_seen_gone_that_another_thread_issued_and_that_is_not_seen_come() {
    let active = ActiveTokens::new();
    let (issuers, gives): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (give, take) = mpsc::sync_channel::<()>(4);
            (std::sync::Mutex::new(take), give)
        })
        .map(|(take, give)| (give, take))
        .unzip();
    while_counting(
        4,
        |number| {
            let pair = number / 2;
            if number % 2 == 0 {
                active.came.count(|| active.tokens.issued());
                if issuers[pair].try_send(()).is_err() {
                    // Nobody takes it at the moment, so it goes as it came.
                    active.went.count(|| active.tokens.expired());
                }
            } else {
                let taken = gives[pair].lock().expect("no panic").try_recv();
                if taken.is_ok() {
                    active.went.count(|| active.tokens.revoked());
                }
            }
        },
        || active.look(),
    );
    let left = gives
        .iter()
        .map(|take| take.lock().expect("no panic").try_iter().count());
    let left = left.sum::<usize>() + 3;
    assert_eq!(
        usize::try_from(active.tokens.snapshot().active_count),
        Ok(left)
    );
}

// Names

#[test]
fn threads_that_bring_the_same_new_name_at_once_share_its_place() {
    let (threads, names) = (4, 60);
    let envelopes = still_envelopes();
    let next = Barrier::new(threads);
    let name = |number: usize| match number % 3 {
        0 => format!("a{number}"),
        1 => format!("an aspect by the name of {number}"),
        _ => format!("{number}{}", "ö".repeat(number % 40)),
    };
    let misnamed = AtomicU64::new(0);
    at_once(threads, |thread| {
        for number in 0..names {
            let name = name(number);
            next.wait();
            if thread % 2 == 0 {
                envelopes.observe(&name);
            } else {
                let aspect = envelopes.aspect(&name);
                aspect.observe();
                // A panic here would leave the others waiting.
                misnamed.fetch_add(u64::from(aspect.name() != name), SeqCst);
            }
        }
    });
    assert_eq!(misnamed.into_inner(), 0);
    let expected: BTreeMap<_, _> = (0..names).map(|number| (name(number), 4)).collect();
    assert_eq!(envelopes.snapshot().by_aspect, expected);
}

#[test]
fn when_the_places_run_out_among_threads_the_totals_stay_true() {
    for places in [0, 1, 7, 64, 100] {
        let clock = ManualClock::new().clock();
        let envelopes = EnvelopeCounters::builder()
            .clock(clock)
            .max_aspects(places)
            .build();
        let (threads, names) = (8, 120);
        let start = Barrier::new(threads);
        at_once(threads, |thread| {
            start.wait();
            for round in 0..3 {
                for number in 0..names {
                    // Each thread begins somewhere else, so that each finds places for names of its own at first.
                    let name = format!("aspect {}", (number + 15 * thread) % names);
                    if round % 2 == 0 {
                        envelopes.observe(&name);
                    } else {
                        envelopes.aspect(&name).observe();
                    }
                }
            }
        });
        let mut stats = envelopes.snapshot();
        assert_eq!(total(&stats), 8 * 120 * 3);
        assert_eq!(stats.rate_per_second, f64::from(8 * 120 * 3));
        // Who found a place found it with its first event, so has all of them there; the rest is the rest.
        let overflowed = stats.by_aspect.remove("__overflow__");
        assert_eq!(stats.by_aspect.len(), places);
        assert!(
            stats.by_aspect.values().all(|&count| count == 24),
            "{stats:?}"
        );
        assert_eq!(overflowed, Some((120 - places as u64) * 24));
    }
}

#[test]
fn a_name_is_in_the_snapshot_that_follows_its_first_event_whatever_else_is_being_named() {
    let envelopes = EnvelopeCounters::builder().max_aspects(1000).build();
    let (named, shown) = (AtomicU64::new(0), AtomicU64::new(0));
    while_counting(
        2,
        |_| {
            let number = named.fetch_add(1, SeqCst);
            if number < 1000 {
                envelopes.observe(&format!("n{number}"));
                shown.fetch_add(1, SeqCst);
            }
        },
        || {
            let at_least = shown.load(SeqCst);
            let stats = envelopes.snapshot();
            assert!(total(&stats) >= at_least);
            assert!(stats.by_aspect.values().all(|&count| count <= 1));
        },
    );
}

// Lives

#[test]
fn a_counter_may_be_dropped_while_threads_that_used_it_live_on() {
    let (tell, told) = mpsc::channel::<(EnvelopeCounters, TokenCounters, Aspect)>();
    let (reply, replied) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut kept = None;
        for (envelopes, tokens, aspect) in told {
            envelopes.observe("data");
            aspect.observe();
            tokens.issued();
            drop((envelopes, tokens));
            // A handle keeps what it counts in.
            kept = Some(aspect);
            reply.send(()).expect("the test waits");
        }
        let kept = kept.expect("there were some");
        kept.observe();
        kept.name().to_owned()
    });
    for _ in 0..50 {
        let (envelopes, tokens) = (still_envelopes(), still_tokens());
        let aspect = envelopes.aspect("data");
        tell.send((envelopes.clone(), tokens.clone(), aspect))
            .expect("the thread waits");
        replied.recv().expect("the thread counts");
        // Each is new to the thread: nothing of one before shows in it.
        assert_eq!(envelopes.snapshot().by_aspect, by_aspect([("data", 2)]));
        assert_eq!(tokens.snapshot().active_count, 1);
    }
    drop(tell);
    assert_eq!(thread.join().expect("no panic"), "data");
}

#[test]
fn a_counter_may_be_dropped_by_the_destructor_of_a_thread() {
    let data = at_the_last(still_envelopes());
    assert_eq!(data.name(), "data");
    data.observe();
}

/// Gives counters to a thread that counts in its destructor, and drops them there.
fn at_the_last(envelopes: EnvelopeCounters) -> Aspect {
    let data = envelopes.aspect("data");
    let thread = thread::spawn(move || {
        when_the_thread_ends(move || {
            envelopes.observe("data");
            drop(envelopes);
        });
    });
    thread.join().expect("no panic");
    data
}

#[test]
fn counters_do_not_see_each_other() {
    let counters: Vec<_> = (0..20).map(|_| still_envelopes()).collect();
    at_once(20, |number| {
        for (at, envelopes) in counters.iter().enumerate() {
            for _ in 0..=at {
                envelopes.observe(&format!("a{number}"));
            }
        }
    });
    for (at, envelopes) in counters.iter().enumerate() {
        let stats = envelopes.snapshot();
        assert_eq!(stats.by_aspect.len(), 20);
        assert!(
            stats
                .by_aspect
                .values()
                .all(|&count| count == at as u64 + 1)
        );
    }
}

#[test]
fn clones_share() {
    let clock = ManualClock::new();
    let envelopes = EnvelopeCounters::builder()
        .clock(clock.clone().clock())
        .build();
    let data = envelopes.clone().aspect("data");
    data.clone().observe();
    data.observe();
    envelopes.clone().observe("data");
    assert_eq!(envelopes.snapshot().by_aspect["data"], 3);
    assert_eq!(envelopes.clone().snapshot(), envelopes.snapshot());

    let tokens = TokenCounters::builder()
        .clock(clock.clock().clone())
        .build();
    tokens.clone().issued();
    tokens.clone().revoked();
    tokens.issued();
    assert_eq!(tokens.snapshot(), tokens.clone().snapshot());
    assert_eq!(tokens.snapshot().active_count, 1);

    // A clone of the clock is the same clock, for counters that were made before it.
    clock.clone().advance(Duration::from_secs(10));
    assert_eq!(clock.now(), clock.clone().now());
    assert_eq!(clock.now(), clock.clock().now());
    assert_eq!(envelopes.snapshot().rate_per_second, 0.3);
}

#[test]
fn builders_make_counters_of_their_own_each_time() {
    let builder = EnvelopeCounters::builder().max_aspects(1);
    let (one, other) = (builder.clone().build(), builder.build());
    one.observe("data");
    assert_eq!((total(&one.snapshot()), total(&other.snapshot())), (1, 0));
    let builder = TokenCounters::builder();
    let (one, other) = (builder.clone().build(), builder.build());
    one.issued();
    assert_eq!(
        (one.snapshot().active_count, other.snapshot().active_count),
        (1, 0)
    );
}

#[test]
fn public_types_can_be_sent_shared_and_cloned() {
    fn sent_and_shared<T: Send + Sync + 'static>() {}
    fn cloned_too<T: Clone + Send + Sync + 'static>() {}
    fn data<T>()
    where
        T: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync,
        T: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
    }

    struct Nothing;
    impl ChannelLister for Nothing {
        fn list(&self, _: &mut dyn FnMut(ChannelEntry<'_>)) {}
    }

    cloned_too::<EnvelopeCounters>();
    cloned_too::<EnvelopeCountersBuilder>();
    cloned_too::<Aspect>();
    cloned_too::<TokenCounters>();
    cloned_too::<TokenCountersBuilder>();
    cloned_too::<CoarseClock>();
    cloned_too::<ManualClock>();
    cloned_too::<ChannelEntry<'static>>();
    cloned_too::<CacheCounters>();
    cloned_too::<Severity>();
    cloned_too::<UnknownSeverity>();
    cloned_too::<AlertRule>();
    cloned_too::<AlertRuleError>();
    cloned_too::<FiringAlert>();
    cloned_too::<Aggregator>();
    sent_and_shared::<ChannelSource<Nothing>>();
    sent_and_shared::<CacheSource<fn() -> CacheCounters>>();
    sent_and_shared::<Box<dyn Source>>();
    sent_and_shared::<Arc<dyn Source>>();
    sent_and_shared::<Box<dyn ChannelLister>>();
    data::<ChannelStats>();
    data::<EnvelopeStats>();
    data::<PresenceStats>();
    data::<HistoryStats>();
    data::<TokenStats>();
    data::<CacheStats>();
    data::<Snapshot>();
    #[cfg(feature = "serve")]
    {
        cloned_too::<parsec_telemetry::Handler>();
        cloned_too::<parsec_telemetry::Server>();
    }
}
